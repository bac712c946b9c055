/*
 * Signed heads of an audit log: where it ended at a moment, under hisho-keyd's key (docs/formats/audit.md).
 *
 * A signed note (C2SP signed-note) whose text is laid out as a checkpoint: an origin, a count, a hash, a time. The hash is the
 * chain's, so the origin says "chain"; a tree's heads will have another. More signatures may follow ours: those of witnesses.
 * To verify one needs the public key alone.
 */
#ifndef HISHO_POLICY_HEAD_H
#define HISHO_POLICY_HEAD_H

#include "base/buf.h"
#include "base/err.h"
#include "policy/audit.h"

#define HS_HEAD_PUBLIC_LEN 32
#define HS_HEAD_NOTE_MAX 4096     /* bytes of a note, witnesses' signatures included */
#define HS_HEAD_SIGNATURES_MAX 16 /* lines that are looked at */
#define HS_HEAD_KEY_NAME "hisho-keyd"
#define HS_HEAD_KEY_TEXT_MAX 80 /* bytes of a public key as text, terminated */

/* The bytes that are signed. tenant: its public id. */
int hs_head_text(const char *tenant, const struct hs_audit_head *head, struct hs_buf *out) HS_MUST_CHECK;

/* The whole note, appended. */
int hs_head_note(const char *tenant, const struct hs_audit_head *head, const uint8_t public[static HS_HEAD_PUBLIC_LEN],
		 const uint8_t signature[static HS_AUDIT_SIGNATURE_LEN], struct hs_buf *out) HS_MUST_CHECK;

/*
 * Parse a note and check the key's signature; nothing of *ret is set before it held. tenant: whose it must be.
 * -EBADMSG "audit.head": no note in its one form, another tenant's, or not signed by this key.
 */
int hs_head_open(const void *note, size_t len, const char *tenant, const uint8_t public[static HS_HEAD_PUBLIC_LEN],
		 struct hs_audit_head *ret, struct hs_err *err) HS_MUST_CHECK;

/* The note file in dirfd: 0, -ENOENT where there is none, or as hs_head_open. */
int hs_head_read(int dirfd, const char *name, const char *tenant, const uint8_t public[static HS_HEAD_PUBLIC_LEN],
		 struct hs_audit_head *ret, struct hs_err *err) HS_MUST_CHECK;

/* May `next` be signed after `last`? Not where it is an earlier one, or another one of the same sequence. */
bool hs_head_follows(const struct hs_audit_head *last, const struct hs_audit_head *next);

/* "hisho-keyd+<key id>+<key>", as `hisho audit key` prints it. */
void hs_head_key_format(const uint8_t public[static HS_HEAD_PUBLIC_LEN], char ret[static HS_HEAD_KEY_TEXT_MAX]);
bool hs_head_key_parse(const char *text, uint8_t ret[static HS_HEAD_PUBLIC_LEN]);

#endif
