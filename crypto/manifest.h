/*
 * The manifest of a submission: what a sender wants done with a sealed document, signed (docs/formats/manifest.md).
 *
 * Canonical binary fields, then the sender's public key, then an Ed25519 signature over all before it. Names and titles
 * travel only inside the ciphertext (crypto/payload.h). (sender, source) is the document: a put makes its next version, a
 * delete removes it. Whether the sender is registered and the sequence new is policy's (policy/senders.h).
 */
#ifndef HISHO_CRYPTO_MANIFEST_H
#define HISHO_CRYPTO_MANIFEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/id.h"
#include "crypto/signer.h"

#define HS_MANIFEST_FORMAT 1
#define HS_MANIFEST_SOURCE_MAX 128
#define HS_MANIFEST_LABEL_MAX 255 /* bytes of a collection's, level's or list's name */
#define HS_MANIFEST_MAX 2048      /* bytes of a whole signed manifest */
#define HS_MANIFEST_CIPHERTEXT_MAX (300ull * 1024 * 1024)

enum hs_manifest_operation {
	HS_MANIFEST_PUT = 1,
	HS_MANIFEST_DELETE = 2, /* length 0, hash of the empty string, no labels */
};

struct hs_manifest {
	enum hs_manifest_operation operation;
	struct hs_id tenant;                      /* "ten_..." */
	struct hs_id submission;                  /* "sub_..." */
	char source[HS_MANIFEST_SOURCE_MAX + 1];  /* UTF-8, 1.. bytes, no control character */
	uint64_t sequence;                        /* 1 .. INT64_MAX, rises per source */
	char collection[HS_MANIFEST_LABEL_MAX + 1];
	char level[HS_MANIFEST_LABEL_MAX + 1];
	char access_list[HS_MANIFEST_LABEL_MAX + 1]; /* "" for none */
	int64_t created;                          /* UTC ms */
	int64_t expires;                          /* of the submission: refused after; > created */
	int64_t document_expires;                 /* of the document: hidden after; 0: never */
	uint64_t length;                          /* of the ciphertext */
	uint8_t hash[32];                         /* BLAKE2b-256 of the ciphertext */
	uint8_t content_mac[HS_SIGNER_MAC_LEN];   /* decides "unchanged"; zeros for none */
	uint8_t sender[HS_SIGNER_PUBLIC_LEN];     /* set by sign and parse */
};

/* Encode and sign, appended to out. -EINVAL "manifest.field" names a field that is out of bounds. */
int hs_manifest_sign(const struct hs_manifest *m, const struct hs_signer *signer, struct hs_buf *out,
		     struct hs_err *err) HS_MUST_CHECK;

/*
 * Parse and check the signature; nothing of *ret is set before it held. Only the canonical form is taken.
 * -EPROTO "manifest.field" (names it); -ENOTSUP "manifest.version"; -EBADMSG "manifest.signature".
 */
int hs_manifest_open(const void *data, size_t len, struct hs_manifest *ret, struct hs_err *err) HS_MUST_CHECK;

/* Checks against the receiver: -EACCES "submission.foreign" (another tenant), -ESTALE "submission.expired". */
int hs_manifest_check(const struct hs_manifest *m, const struct hs_id *tenant, int64_t now_ms, struct hs_err *err) HS_MUST_CHECK;

/* Does the received ciphertext fit? -EBADMSG "submission.ciphertext". hash: BLAKE2b-256 of what came. */
int hs_manifest_check_ciphertext(const struct hs_manifest *m, uint64_t length, const uint8_t hash[static 32],
				 struct hs_err *err) HS_MUST_CHECK;

/* BLAKE2b-256 of the signed bytes: what the admission of a submission remembers. */
void hs_manifest_hash(const void *data, size_t len, uint8_t ret[static 32]);

#endif
