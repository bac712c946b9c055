/*
 * The keyring: the file from which hisho-keyd gets every tenant's key (docs/formats/keyring.md).
 *
 * root secret (a 32-byte credential, or a passphrase through argon2id) -> master key of an epoch -> tenant keys; beside them
 * the appliance's Ed25519 signing key. Wrapped by XChaCha20-Poly1305 with key commitment, the whole file under a MAC.
 * Every change writes a new file and renames it over the old one. Destroying a tenant starts a new master epoch, re-wraps
 * the survivors and drops the old master, so that what is left of older files is of no use without the root *and* an old copy.
 *
 * One thread, one process. The lock is the caller's (hs_dir_lock).
 */
#ifndef HISHO_CRYPTO_KEYRING_H
#define HISHO_CRYPTO_KEYRING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/id.h"
#include "crypto/db.h"
#include "crypto/key.h"

#define HS_KEYRING_FORMAT 1
#define HS_KEYRING_TENANTS_MAX 4096
#define HS_KEYRING_NAME_MAX 63
#define HS_SIGN_PUBLIC_LEN 32
#define HS_SIGNATURE_LEN 64
#define HS_PASSPHRASE_MIN 12 /* bytes */
#define HS_PASSPHRASE_MAX 1024

struct hs_keyring;

enum hs_root_kind {
	HS_ROOT_SECRET = 1,     /* 32 random bytes: systemd credential or file */
	HS_ROOT_PASSPHRASE = 2, /* argon2id, moderate limits, salt in the file */
};

struct hs_root { /* the caller's; it wipes what it read */
	enum hs_root_kind kind;
	const uint8_t *bytes;
	size_t len;
};

struct hs_keyring_tenant {
	struct hs_id id; /* "ten_..." */
	char name[HS_KEYRING_NAME_MAX + 1];
	uint8_t db_uuid[HS_DB_UUID_LEN];
	uint32_t generation;
	int64_t created; /* UTC ms */
};

/* Read a root secret of exactly HS_KEY_LEN bytes from a file; *ret is guarded. -EINVAL "keyring.root" for another length. */
int hs_root_read(int dirfd, const char *path, struct hs_key **ret, struct hs_err *err) HS_MUST_CHECK;

/* Make a 0600 file of HS_KEY_LEN random bytes, where none is. -EEXIST. */
int hs_root_create(int dirfd, const char *path, struct hs_err *err) HS_MUST_CHECK;

/* -EEXIST "keyring.exists"; -EINVAL "keyring.root" (wrong length). */
int hs_keyring_create(int dirfd, const char *path, const struct hs_root *root, struct hs_keyring **ret,
		      struct hs_err *err) HS_MUST_CHECK;

/* What opens the keyring at path: its own word, good for choosing where to look for it, and proved by hs_keyring_open. */
int hs_keyring_kind(int dirfd, const char *path, enum hs_root_kind *ret, struct hs_err *err) HS_MUST_CHECK;

/*
 * -EACCES "keyring.root": not the root secret of this file; -ENOTSUP "keyring.format"; -EBADMSG "keyring.damaged";
 * -ENOENT "keyring.missing".
 */
int hs_keyring_open(int dirfd, const char *path, const struct hs_root *root, struct hs_keyring **ret,
		    struct hs_err *err) HS_MUST_CHECK;
void hs_keyring_close(struct hs_keyring *k); /* wipes; takes NULL */

/*
 * Add a tenant with a fresh key and db_uuid; on disk before it returns. id: "ten_...", made by the caller. name: [a-z0-9-],
 * starting with a letter. -EEXIST "tenant.exists" (id or name), -EINVAL "tenant.name", -ENOSPC "tenant.limit".
 */
int hs_keyring_add_tenant(struct hs_keyring *k, const struct hs_id *id, const char *name, int64_t now_ms,
			  struct hs_err *err) HS_MUST_CHECK;

/* By id or by name. -ENOENT "tenant.unknown". */
int hs_keyring_find_tenant(const struct hs_keyring *k, const char *id_or_name, struct hs_keyring_tenant *ret,
			   struct hs_err *err) HS_MUST_CHECK;

/* The tenant's key, for its process alone. *ret_key is the caller's. -ENOENT; -EBADMSG "keyring.damaged". */
int hs_keyring_unwrap_tenant(const struct hs_keyring *k, const char *id_or_name, struct hs_key **ret_key,
			     struct hs_keyring_tenant *ret, struct hs_err *err) HS_MUST_CHECK;

/* Forget a tenant's key under a new master epoch; on disk before it returns. */
int hs_keyring_destroy_tenant(struct hs_keyring *k, const char *id_or_name, struct hs_err *err) HS_MUST_CHECK;

/* In the order of adding, until fn returns non-zero, which is returned. */
int hs_keyring_each(const struct hs_keyring *k, int (*fn)(void *ctx, const struct hs_keyring_tenant *t), void *ctx) HS_MUST_CHECK;
size_t hs_keyring_count(const struct hs_keyring *k);
uint32_t hs_keyring_epoch(const struct hs_keyring *k);

/* The appliance's signing key (Ed25519, RFC 8032). */
void hs_keyring_public(const struct hs_keyring *k, uint8_t ret[static HS_SIGN_PUBLIC_LEN]);
int hs_keyring_sign(const struct hs_keyring *k, const void *data, size_t len, uint8_t ret[static HS_SIGNATURE_LEN]) HS_MUST_CHECK;

#endif
