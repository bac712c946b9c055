#include "crypto/keyring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "base/file.h"
#include "base/wire.h"

#define NONCE_LEN 24
#define SEALED_LEN (NONCE_LEN + HS_KEY_LEN + 16)
#define MAC_LEN 32
#define ROOT_CONTEXT "hisho.rk" /* exactly crypto_kdf_CONTEXTBYTES */
#define FILE_MAX (512u + HS_KEYRING_TENANTS_MAX * 256u)

/* What argon2id may be told by a file: more would be an attack on this process, less would be an old, weak file. */
#define OPS_MIN 1
#define OPS_MAX 16
#define MEMORY_MIN (8u * 1024 * 1024)
#define MEMORY_MAX (1024u * 1024 * 1024)

static const uint8_t magic[8] = {'H', 'i', 's', 'h', 'o', 'K', 'R', '\n'};

enum root_subkey {
	ROOT_WRAP = 1,
	ROOT_MAC = 2,
};

struct sealed_key { /* a key under another */
	uint8_t bytes[SEALED_LEN]; /* nonce, key, tag */
	uint8_t commitment[HS_COMMIT_LEN];
};

struct entry {
	struct hs_keyring_tenant t;
	struct sealed_key key;
};

struct hs_keyring {
	int dirfd;
	char *path;
	enum hs_root_kind kind;
	uint8_t salt[crypto_pwhash_SALTBYTES];
	uint64_t ops, memory;
	uint8_t root_commitment[HS_COMMIT_LEN];
	struct hs_key *wrap, *mac; /* of the root */
	uint32_t epoch;
	struct hs_key *master;
	struct sealed_key master_sealed;
	struct hs_key *seed; /* of the signing key */
	uint8_t public[HS_SIGN_PUBLIC_LEN];
	struct sealed_key seed_sealed;
	struct entry *entries;
	size_t n, cap;
};

/* --- the root --- */

int hs_root_read(int dirfd, const char *path, struct hs_key **ret, struct hs_err *err)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	int rc = hs_crypto_init();
	if (rc == 0)
		rc = hs_file_read(dirfd, path, HS_KEY_LEN, &b);
	if (rc < 0 && rc != -EFBIG)
		return hs_fail_errno(err, rc, "keyring.root", path);
	if (rc == -EFBIG || b.len != HS_KEY_LEN) {
		hs_buf_wipe(&b);
		return hs_fail(err, EINVAL, "keyring.root", HS_N_("A root secret has exactly 32 bytes."), "%s", path);
	}
	struct hs_key *k = hs_key_copy(b.data);
	hs_buf_wipe(&b);
	if (!k)
		return hs_fail_errno(err, -ENOMEM, "keyring.root", path);
	*ret = k;
	return 0;
}

int hs_root_create(int dirfd, const char *path, struct hs_err *err)
{
	HS_KEY_AUTO k = hs_key_create();
	if (!k)
		return hs_fail_errno(err, -ENOMEM, "keyring.root", path);
	if (faccessat(dirfd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return hs_fail_errno(err, -EEXIST, "keyring.root", path);
	int rc = hs_file_replace(dirfd, path, k->bytes, HS_KEY_LEN, 0600);
	return rc < 0 ? hs_fail_errno(err, rc, "keyring.root", path) : 0;
}

/* The root key of what the person or the machine gave. -EINVAL, -ENOMEM. */
static int root_key(const struct hs_keyring *k, const struct hs_root *root, struct hs_key **ret)
{
	if (root->kind == HS_ROOT_SECRET) {
		if (root->len != HS_KEY_LEN)
			return -EINVAL;
		*ret = hs_key_copy(root->bytes);
		return *ret ? 0 : -ENOMEM;
	}
	if (root->kind != HS_ROOT_PASSPHRASE || root->len < HS_PASSPHRASE_MIN || root->len > HS_PASSPHRASE_MAX)
		return -EINVAL;
	*ret = hs_key_create();
	if (!*ret)
		return -ENOMEM;
	if (crypto_pwhash((*ret)->bytes, HS_KEY_LEN, (const char *)root->bytes, root->len, k->salt, k->ops, (size_t)k->memory,
			  crypto_pwhash_ALG_ARGON2ID13) != 0)
		return -ENOMEM; /* its only reason */
	return 0;
}

static int derive_root(struct hs_keyring *k, const struct hs_root *root, uint8_t commitment[static HS_COMMIT_LEN],
		       struct hs_err *err)
{
	HS_KEY_AUTO key = NULL;
	int rc = root_key(k, root, &key);
	if (rc == -EINVAL)
		return hs_fail(err, EINVAL, "keyring.root",
			       HS_N_("A root secret has 32 bytes, a passphrase between 12 and 1024."), "%zu bytes", root->len);
	k->wrap = hs_key_create();
	k->mac = hs_key_create();
	if (rc < 0 || !k->wrap || !k->mac)
		return hs_fail_errno(err, -ENOMEM, "keyring.open", k->path);
	hs_assert(crypto_kdf_derive_from_key(k->wrap->bytes, HS_KEY_LEN, ROOT_WRAP, ROOT_CONTEXT, key->bytes) == 0);
	hs_assert(crypto_kdf_derive_from_key(k->mac->bytes, HS_KEY_LEN, ROOT_MAC, ROOT_CONTEXT, key->bytes) == 0);
	hs_key_commit(key->bytes, "root", 4, 0, commitment);
	return 0;
}

/* --- sealing one key under another --- */

struct binding { /* what a sealed key is bound to */
	uint8_t aad[160];
	size_t aad_len;
	const char *scope; /* of the commitment */
	uint32_t generation;
};

static void bind_add(struct binding *b, const void *data, size_t n)
{
	hs_assert(n <= sizeof b->aad - b->aad_len);
	memcpy(b->aad + b->aad_len, data, n);
	b->aad_len += n;
}

static struct binding bind_named(const char *scope, uint32_t generation)
{
	struct binding b = {.scope = scope, .generation = generation};
	uint8_t number[4];
	hs_le32_store(number, generation);
	bind_add(&b, "hisho-keyring:", 14);
	bind_add(&b, scope, strlen(scope) + 1);
	bind_add(&b, number, sizeof number);
	return b;
}

static struct binding bind_tenant(const struct hs_keyring_tenant *t, uint32_t epoch)
{
	struct binding b = bind_named(t->id.s, t->generation);
	uint8_t number[4];
	hs_le32_store(number, epoch);
	bind_add(&b, number, sizeof number);
	bind_add(&b, t->db_uuid, sizeof t->db_uuid);
	return b;
}

static void seal_key(const struct hs_key *under, const struct binding *b, const struct hs_key *k, struct sealed_key *ret)
{
	randombytes_buf(ret->bytes, NONCE_LEN);
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(ret->bytes + NONCE_LEN, NULL, k->bytes, HS_KEY_LEN, b->aad, b->aad_len, NULL,
							 ret->bytes, under->bytes); /* cannot fail at this length */
	hs_key_commit(k->bytes, b->scope, (uint8_t)strlen(b->scope), b->generation, ret->commitment);
}

static struct hs_key *open_key(const struct hs_key *under, const struct binding *b, const struct sealed_key *s)
{
	uint8_t commitment[HS_COMMIT_LEN];
	HS_KEY_AUTO k = hs_key_create();
	if (!k || crypto_aead_xchacha20poly1305_ietf_decrypt(k->bytes, NULL, NULL, s->bytes + NONCE_LEN, SEALED_LEN - NONCE_LEN,
							     b->aad, b->aad_len, s->bytes, under->bytes) != 0)
		return NULL;
	hs_key_commit(k->bytes, b->scope, (uint8_t)strlen(b->scope), b->generation, commitment);
	if (sodium_memcmp(commitment, s->commitment, HS_COMMIT_LEN) != 0)
		return NULL;
	struct hs_key *ret = k;
	k = NULL;
	return ret;
}

/* --- the file --- */

static int put_sealed(struct hs_buf *b, const struct sealed_key *s)
{
	int rc = hs_buf_append(b, s->bytes, sizeof s->bytes);
	return rc ? rc : hs_buf_append(b, s->commitment, sizeof s->commitment);
}

static void get_bytes(struct hs_wire *w, void *out, size_t n)
{
	const uint8_t *p = hs_wire_bytes(w, n);
	if (p)
		memcpy(out, p, n);
}

static void get_sealed(struct hs_wire *w, struct sealed_key *s)
{
	get_bytes(w, s->bytes, sizeof s->bytes);
	get_bytes(w, s->commitment, sizeof s->commitment);
}

static int put_entry(struct hs_buf *b, const struct entry *e)
{
	if (hs_buf_append(b, e->t.id.s, HS_ID_LEN) || hs_put_str(b, e->t.name, strlen(e->t.name)) ||
	    hs_buf_append(b, e->t.db_uuid, HS_DB_UUID_LEN) || hs_put_u32(b, e->t.generation) ||
	    hs_put_u64(b, (uint64_t)e->t.created) || put_sealed(b, &e->key))
		return -ENOMEM;
	return 0;
}

static int encode(const struct hs_keyring *k, struct hs_buf *b)
{
	if (hs_buf_append(b, magic, sizeof magic) || hs_put_u32(b, HS_KEYRING_FORMAT) || hs_put_u32(b, k->kind) ||
	    hs_buf_append(b, k->salt, sizeof k->salt) || hs_put_u64(b, k->ops) || hs_put_u64(b, k->memory) ||
	    hs_buf_append(b, k->root_commitment, HS_COMMIT_LEN) || hs_put_u32(b, k->epoch) || put_sealed(b, &k->master_sealed) ||
	    hs_buf_append(b, k->public, sizeof k->public) || put_sealed(b, &k->seed_sealed) || hs_put_u32(b, (uint32_t)k->n))
		return -ENOMEM;
	for (size_t i = 0; i < k->n; i++) {
		if (put_entry(b, &k->entries[i]))
			return -ENOMEM;
	}
	uint8_t mac[MAC_LEN];
	(void)crypto_generichash(mac, sizeof mac, b->data, b->len, k->mac->bytes, HS_KEY_LEN); /* cannot fail at these lengths */
	return hs_buf_append(b, mac, sizeof mac);
}

static int store(const struct hs_keyring *k, struct hs_err *err)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	int rc = encode(k, &b);
	if (rc == 0)
		rc = hs_file_replace(k->dirfd, k->path, b.data, b.len, 0600);
	return rc < 0 ? hs_fail_errno(err, rc, rc == -ENOSPC ? "disk.full" : "keyring.write", k->path) : 0;
}

static int damaged(struct hs_err *err, const char *path, const char *field)
{
	return hs_fail(err, EBADMSG, "keyring.damaged", HS_N_("The keyring is damaged or was changed. Restore its backup."), "%s: %s",
		       path, field);
}

static bool name_ok(const char *s, size_t n)
{
	if (n < 1 || n > HS_KEYRING_NAME_MAX || s[0] < 'a' || s[0] > 'z')
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9') || s[i] == '-'))
			return false;
	}
	return true;
}

static int parse_head(struct hs_keyring *k, struct hs_wire *w, struct hs_err *err)
{
	uint8_t start[sizeof magic] = {0};
	get_bytes(w, start, sizeof start);
	if (sodium_memcmp(start, magic, sizeof magic) != 0)
		return damaged(err, k->path, "magic");
	uint32_t format = hs_wire_u32(w);
	if (format != HS_KEYRING_FORMAT)
		return hs_fail(err, ENOTSUP, "keyring.format", HS_N_("Another version of Hisho wrote this keyring. Install that version."),
			       "%s: format %u, known: %d", k->path, format, HS_KEYRING_FORMAT);
	k->kind = (enum hs_root_kind)hs_wire_u32(w);
	get_bytes(w, k->salt, sizeof k->salt);
	k->ops = hs_wire_u64(w);
	k->memory = hs_wire_u64(w);
	get_bytes(w, k->root_commitment, HS_COMMIT_LEN);
	if (w->failed || (k->kind != HS_ROOT_SECRET && k->kind != HS_ROOT_PASSPHRASE))
		return damaged(err, k->path, "root kind");
	if (k->kind == HS_ROOT_PASSPHRASE &&
	    (k->ops < OPS_MIN || k->ops > OPS_MAX || k->memory < MEMORY_MIN || k->memory > MEMORY_MAX))
		return damaged(err, k->path, "argon2id limits");
	return 0;
}

static int parse_entry(struct hs_wire *w, struct entry *e)
{
	size_t name_len;
	get_bytes(w, e->t.id.s, HS_ID_LEN);
	const char *name = hs_wire_str(w, HS_KEYRING_NAME_MAX, &name_len);
	get_bytes(w, e->t.db_uuid, HS_DB_UUID_LEN);
	e->t.generation = hs_wire_u32(w);
	e->t.created = (int64_t)hs_wire_u64(w);
	get_sealed(w, &e->key);
	if (w->failed || !hs_id_valid(e->t.id.s, HS_ID_LEN, "ten_") || !name_ok(name, name_len))
		return -EBADMSG;
	memcpy(e->t.name, name, name_len);
	return 0;
}

static int parse_body(struct hs_keyring *k, struct hs_wire *w, struct hs_err *err)
{
	k->epoch = hs_wire_u32(w);
	get_sealed(w, &k->master_sealed);
	get_bytes(w, k->public, sizeof k->public);
	get_sealed(w, &k->seed_sealed);
	uint32_t n = hs_wire_u32(w);
	if (w->failed || n > HS_KEYRING_TENANTS_MAX)
		return damaged(err, k->path, "tenants");
	k->entries = calloc(n ? n : 1, sizeof *k->entries);
	if (!k->entries)
		return hs_fail_errno(err, -ENOMEM, "keyring.open", k->path);
	k->cap = n ? n : 1;
	for (; k->n < n; k->n++) {
		if (parse_entry(w, &k->entries[k->n]) < 0)
			return damaged(err, k->path, "tenant entry");
	}
	return hs_wire_done(w) ? 0 : damaged(err, k->path, "length");
}

static int unseal(struct hs_keyring *k, struct hs_err *err)
{
	uint8_t public[crypto_sign_PUBLICKEYBYTES], secret[crypto_sign_SECRETKEYBYTES];
	struct binding master = bind_named("master", k->epoch), seed = bind_named("signing", 0);
	k->master = open_key(k->wrap, &master, &k->master_sealed);
	k->seed = open_key(k->wrap, &seed, &k->seed_sealed);
	if (!k->master || !k->seed)
		return damaged(err, k->path, "wrapped key");
	(void)crypto_sign_seed_keypair(public, secret, k->seed->bytes); /* cannot fail */
	sodium_memzero(secret, sizeof secret);
	return sodium_memcmp(public, k->public, sizeof public) == 0 ? 0 : damaged(err, k->path, "signing key");
}

static int load(struct hs_keyring *k, const struct hs_buf *file, const struct hs_root *root, struct hs_err *err)
{
	uint8_t commitment[HS_COMMIT_LEN], mac[MAC_LEN];
	if (file->len < sizeof magic + MAC_LEN)
		return damaged(err, k->path, "length");
	struct hs_wire w = hs_wire_over(file->data, file->len - MAC_LEN);
	int rc = parse_head(k, &w, err);
	if (rc < 0)
		return rc;
	if (root->kind != k->kind)
		return hs_fail(err, EACCES, "keyring.root",
			       k->kind == HS_ROOT_PASSPHRASE ? HS_N_("This keyring opens with its passphrase.")
							     : HS_N_("This keyring opens with its root secret."),
			       "%s", k->path);
	rc = derive_root(k, root, commitment, err);
	if (rc < 0)
		return rc;
	if (sodium_memcmp(commitment, k->root_commitment, HS_COMMIT_LEN) != 0)
		return hs_fail(err, EACCES, "keyring.root", HS_N_("The root secret or passphrase is not that of this keyring."), "%s",
			       k->path);
	(void)crypto_generichash(mac, sizeof mac, file->data, file->len - MAC_LEN, k->mac->bytes, HS_KEY_LEN); /* constant lengths */
	if (sodium_memcmp(mac, file->data + file->len - MAC_LEN, MAC_LEN) != 0)
		return damaged(err, k->path, "authentication");
	rc = parse_body(k, &w, err);
	return rc < 0 ? rc : unseal(k, err);
}

/* --- opening and making --- */

static struct hs_keyring *allocate(int dirfd, const char *path)
{
	struct hs_keyring *k = hs_crypto_init() == 0 ? calloc(1, sizeof *k) : NULL;
	if (!k)
		return NULL;
	k->dirfd = dirfd == AT_FDCWD ? AT_FDCWD : fcntl(dirfd, F_DUPFD_CLOEXEC, 3);
	k->path = strdup(path);
	if ((k->dirfd < 0 && k->dirfd != AT_FDCWD) || !k->path) {
		hs_keyring_close(k);
		return NULL;
	}
	return k;
}

void hs_keyring_close(struct hs_keyring *k)
{
	if (!k)
		return;
	hs_key_destroy(k->wrap);
	hs_key_destroy(k->mac);
	hs_key_destroy(k->master);
	hs_key_destroy(k->seed);
	if (k->dirfd >= 0)
		(void)close(k->dirfd); /* a folder: nothing to lose */
	free(k->entries);
	free(k->path);
	free(k);
}

static void close_auto(struct hs_keyring **k)
{
	hs_keyring_close(*k);
}
#define KEYRING_AUTO HS_CLEANUP(close_auto) struct hs_keyring *

int hs_keyring_create(int dirfd, const char *path, const struct hs_root *root, struct hs_keyring **ret, struct hs_err *err)
{
	uint8_t secret[crypto_sign_SECRETKEYBYTES];
	if (faccessat(dirfd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return hs_fail(err, EEXIST, "keyring.exists", HS_N_("There is a keyring already."), "%s", path);
	KEYRING_AUTO k = allocate(dirfd, path);
	if (!k)
		return hs_fail_errno(err, -ENOMEM, "keyring.create", path);
	k->kind = root->kind;
	if (root->kind == HS_ROOT_PASSPHRASE) {
		randombytes_buf(k->salt, sizeof k->salt);
		k->ops = crypto_pwhash_OPSLIMIT_MODERATE;
		k->memory = crypto_pwhash_MEMLIMIT_MODERATE;
	}
	int rc = derive_root(k, root, k->root_commitment, err);
	if (rc < 0)
		return rc;
	k->epoch = 1;
	k->master = hs_key_create();
	k->seed = hs_key_create();
	k->entries = calloc(1, sizeof *k->entries);
	k->cap = 1;
	if (!k->master || !k->seed || !k->entries)
		return hs_fail_errno(err, -ENOMEM, "keyring.create", path);
	struct binding master = bind_named("master", k->epoch), seed = bind_named("signing", 0);
	seal_key(k->wrap, &master, k->master, &k->master_sealed);
	seal_key(k->wrap, &seed, k->seed, &k->seed_sealed);
	(void)crypto_sign_seed_keypair(k->public, secret, k->seed->bytes); /* cannot fail */
	sodium_memzero(secret, sizeof secret);
	rc = store(k, err);
	if (rc < 0)
		return rc;
	*ret = k;
	k = NULL;
	return 0;
}

static int read_file(int dirfd, const char *path, struct hs_buf *file, struct hs_err *err)
{
	int rc = hs_file_read(dirfd, path, FILE_MAX, file);
	if (rc == -ENOENT)
		return hs_fail(err, ENOENT, "keyring.missing", HS_N_("The keyring is gone. Restore it from a backup: nothing opens without it."),
			       "%s", path);
	if (rc == -EFBIG)
		return damaged(err, path, "length");
	return rc < 0 ? hs_fail_errno(err, rc, "keyring.open", path) : 0;
}

int hs_keyring_kind(int dirfd, const char *path, enum hs_root_kind *ret, struct hs_err *err)
{
	HS_BUF_AUTO file = HS_BUF_INIT;
	struct hs_keyring head = {.path = (char *)path};
	int rc = read_file(dirfd, path, &file, err);
	if (rc < 0)
		return rc;
	struct hs_wire w = hs_wire_over(file.data, file.len);
	rc = parse_head(&head, &w, err);
	if (rc == 0)
		*ret = head.kind;
	return rc;
}

int hs_keyring_open(int dirfd, const char *path, const struct hs_root *root, struct hs_keyring **ret, struct hs_err *err)
{
	HS_BUF_AUTO file = HS_BUF_INIT;
	int rc = read_file(dirfd, path, &file, err);
	if (rc < 0)
		return rc;
	KEYRING_AUTO k = allocate(dirfd, path);
	if (!k)
		return hs_fail_errno(err, -ENOMEM, "keyring.open", path);
	rc = load(k, &file, root, err);
	if (rc < 0)
		return rc;
	*ret = k;
	k = NULL;
	return 0;
}

/* --- tenants --- */

static struct entry *find(const struct hs_keyring *k, const char *id_or_name)
{
	for (size_t i = 0; i < k->n; i++) {
		if (strcmp(k->entries[i].t.id.s, id_or_name) == 0 || strcmp(k->entries[i].t.name, id_or_name) == 0)
			return &k->entries[i];
	}
	return NULL;
}

static int unknown(struct hs_err *err, const char *id_or_name)
{
	return hs_fail(err, ENOENT, "tenant.unknown", HS_N_("There is no such tenant."), "%s", id_or_name);
}

int hs_keyring_add_tenant(struct hs_keyring *k, const struct hs_id *id, const char *name, int64_t now_ms, struct hs_err *err)
{
	struct entry e = {.t = {.id = *id, .generation = 1, .created = now_ms}};
	if (!hs_id_valid(id->s, strnlen(id->s, sizeof id->s), "ten_") || !name_ok(name, strlen(name)))
		return hs_fail(err, EINVAL, "tenant.name",
			       HS_N_("A tenant's name has up to 63 of a-z, 0-9 and -, and begins with a letter."), "%s", name);
	if (find(k, id->s) || find(k, name))
		return hs_fail(err, EEXIST, "tenant.exists", HS_N_("There is a tenant of this name already."), "%s", name);
	if (k->n >= HS_KEYRING_TENANTS_MAX)
		return hs_fail(err, ENOSPC, "tenant.limit", HS_N_("One host holds at most 4096 tenants."), "%s", name);
	HS_KEY_AUTO key = hs_key_create();
	struct entry *grown = realloc(k->entries, (k->n + 1) * sizeof *grown);
	if (!key || !grown) {
		k->entries = grown ? grown : k->entries;
		return hs_fail_errno(err, -ENOMEM, "tenant.add", name);
	}
	k->entries = grown;
	k->cap = k->n + 1;
	memcpy(e.t.name, name, strlen(name));
	randombytes_buf(e.t.db_uuid, sizeof e.t.db_uuid);
	struct binding b = bind_tenant(&e.t, k->epoch);
	seal_key(k->master, &b, key, &e.key);
	k->entries[k->n++] = e;
	int rc = store(k, err);
	if (rc < 0)
		k->n--;
	return rc;
}

int hs_keyring_find_tenant(const struct hs_keyring *k, const char *id_or_name, struct hs_keyring_tenant *ret, struct hs_err *err)
{
	const struct entry *e = find(k, id_or_name);
	if (!e)
		return unknown(err, id_or_name);
	*ret = e->t;
	return 0;
}

int hs_keyring_unwrap_tenant(const struct hs_keyring *k, const char *id_or_name, struct hs_key **ret_key,
			     struct hs_keyring_tenant *ret, struct hs_err *err)
{
	const struct entry *e = find(k, id_or_name);
	if (!e)
		return unknown(err, id_or_name);
	struct binding b = bind_tenant(&e->t, k->epoch);
	struct hs_key *key = open_key(k->master, &b, &e->key);
	if (!key)
		return damaged(err, k->path, e->t.name);
	*ret_key = key;
	if (ret)
		*ret = e->t;
	return 0;
}

/* Copy the entries but one, each key wrapped anew under `master` of `epoch`. */
static int rewrap(const struct hs_keyring *k, const struct entry *but, const struct hs_key *master, uint32_t epoch,
		  struct entry *out)
{
	size_t n = 0;
	for (size_t i = 0; i < k->n; i++) {
		const struct entry *e = &k->entries[i];
		if (e == but)
			continue;
		struct binding old = bind_tenant(&e->t, k->epoch), new = bind_tenant(&e->t, epoch);
		HS_KEY_AUTO key = open_key(k->master, &old, &e->key);
		if (!key)
			return -EBADMSG;
		out[n] = *e;
		seal_key(master, &new, key, &out[n++].key);
	}
	return 0;
}

int hs_keyring_destroy_tenant(struct hs_keyring *k, const char *id_or_name, struct hs_err *err)
{
	struct entry *gone = find(k, id_or_name);
	if (!gone)
		return unknown(err, id_or_name);
	struct hs_keyring next = *k; /* what the file shall say; k changes only when it does */
	next.epoch++;
	next.master = hs_key_create();
	next.entries = calloc(k->n, sizeof *next.entries);
	int rc = next.master && next.entries ? rewrap(k, gone, next.master, next.epoch, next.entries) : -ENOMEM;
	if (rc == 0) {
		struct binding b = bind_named("master", next.epoch);
		seal_key(next.wrap, &b, next.master, &next.master_sealed);
		next.n--;
		next.cap = k->n;
		rc = store(&next, err);
	} else {
		(void)hs_fail_errno(err, rc, "tenant.destroy", id_or_name); /* rc is told as it is */
	}
	if (rc < 0) {
		hs_key_destroy(next.master);
		free(next.entries);
		return rc;
	}
	hs_key_destroy(k->master);
	sodium_memzero(k->entries, k->n * sizeof *k->entries);
	free(k->entries);
	*k = next;
	return 0;
}

int hs_keyring_each(const struct hs_keyring *k, int (*fn)(void *ctx, const struct hs_keyring_tenant *t), void *ctx)
{
	for (size_t i = 0; i < k->n; i++) {
		int rc = fn(ctx, &k->entries[i].t);
		if (rc != 0)
			return rc;
	}
	return 0;
}

size_t hs_keyring_count(const struct hs_keyring *k)
{
	return k->n;
}

uint32_t hs_keyring_epoch(const struct hs_keyring *k)
{
	return k->epoch;
}

void hs_keyring_public(const struct hs_keyring *k, uint8_t ret[static HS_SIGN_PUBLIC_LEN])
{
	memcpy(ret, k->public, HS_SIGN_PUBLIC_LEN);
}

int hs_keyring_sign(const struct hs_keyring *k, const void *data, size_t len, uint8_t ret[static HS_SIGNATURE_LEN])
{
	uint8_t public[crypto_sign_PUBLICKEYBYTES], secret[crypto_sign_SECRETKEYBYTES];
	(void)crypto_sign_seed_keypair(public, secret, k->seed->bytes); /* cannot fail */
	int rc = crypto_sign_detached(ret, NULL, data, len, secret) == 0 ? 0 : -EIO;
	sodium_memzero(secret, sizeof secret);
	return rc;
}
