/*
 * Senders: registered Ed25519 keys that may file documents, and the sequence of each of their sources.
 *
 * A submission's manifest is signed by a sender and carries (source, sequence, submission id). The sequence of a source
 * only rises, so that a replayed manifest cannot bring back what was deleted. Signatures are checked by crypto/; here it
 * is decided whose key it is, whether it still stands, and whether the submission is new.
 */
#ifndef HISHO_POLICY_SENDERS_H
#define HISHO_POLICY_SENDERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "base/err.h"
#include "base/id.h"
#include "policy/schema.h"

#define HS_SENDER_KEY_LEN 32
#define HS_SENDERS_MAX 1024
#define HS_SOURCE_ID_MAX 128
#define HS_MANIFEST_HASH_LEN 32

struct hs_sender {
	struct hs_id id; /* "snd_..." */
	char name[HS_POLICY_NAME_MAX + 1];
	uint8_t key[HS_SENDER_KEY_LEN];
	int64_t created, revoked; /* revoked: 0 where it stands */
};

/*
 * Register a key. Writes. collections: those it may file under, or NULL and 0 for all. A key that was ever registered,
 * even if revoked since, is refused: -EEXIST "sender.exists". -EINVAL "sender.name", "class.collection".
 */
int hs_sender_add(sqlite3 *db, const char *name, const uint8_t key[static HS_SENDER_KEY_LEN], const char *const *collections,
		  size_t n_collections, int64_t now_ms, struct hs_id *ret, struct hs_err *err) HS_MUST_CHECK;

/* By id or name. Writes. */
int hs_sender_revoke(sqlite3 *db, const char *id_or_name, int64_t now_ms, struct hs_err *err) HS_MUST_CHECK;
int hs_sender_each(sqlite3 *db, int (*fn)(void *ctx, const struct hs_sender *s), void *ctx) HS_MUST_CHECK;

/* The standing sender of a key. -EACCES "sender.unknown" or "sender.revoked". */
int hs_sender_by_key(sqlite3 *db, const uint8_t key[static HS_SENDER_KEY_LEN], struct hs_sender *ret,
		     struct hs_err *err) HS_MUST_CHECK;

/* May the sender file under the collection? -EACCES "sender.collection". */
int hs_sender_may_file(sqlite3 *db, const struct hs_id *sender, const char *collection, struct hs_err *err) HS_MUST_CHECK;

struct hs_submission {
	const struct hs_id *sender;
	const char *source; /* 1..HS_SOURCE_ID_MAX bytes, UTF-8 */
	size_t source_len;
	uint64_t sequence;  /* 1 .. INT64_MAX */
	const char *id;     /* the submission's public id, "sub_..." */
	uint8_t manifest_hash[HS_MANIFEST_HASH_LEN];
};

/*
 * Is the submission new? Reads only: for an early answer before the blob is read.
 * 0: new; -EALREADY "submission.known": exactly this one was accepted before (acknowledge again, do nothing);
 * -ESTALE "submission.replayed": its sequence is not above the source's; -EINVAL "submission.id" | "submission.source".
 */
int hs_submission_check(sqlite3 *db, const struct hs_submission *s, struct hs_err *err) HS_MUST_CHECK;

/* The same, and remember it. Writes; call it in the transaction that commits the job, which alone decides. */
int hs_submission_admit(sqlite3 *db, const struct hs_submission *s, int64_t now_ms, struct hs_err *err) HS_MUST_CHECK;

/* The highest sequence accepted from a source; 0 where there is none. */
int hs_source_sequence(sqlite3 *db, const struct hs_id *sender, const char *source, size_t source_len,
		       uint64_t *ret) HS_MUST_CHECK;

#endif
