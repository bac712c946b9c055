/*
 * The audit log of a tenant: an append-only file, each record chained to the one before (docs/formats/audit.md).
 *
 * What a record tells (principal, action, object, decision, details) is encrypted to the tenant's audit key; sequence,
 * time and commit sequence stand beside it in clear. chain = BLAKE2b-256("hisho-audit" || previous chain || record), over
 * the ciphertext, so the log is verified without keys, also after its key was destroyed.
 *
 * A record is on disk (fsync) before hs_audit_append returns: only then may what it tells of be released. Where it cannot
 * be written, the caller refuses the request. Beside the log "NAME" lies "NAME.mark": the last acknowledged sequence, chain
 * and clock in two alternating authenticated slots. With it, a tail that a crash tore (never acknowledged: cut, and a
 * record tells of the cut) is told from a log that someone shortened or changed (refused, for a person to look at).
 *
 * Disk space for what follows is held ahead, where the file system can: HS_AUDIT_RESERVE, renewed when half of it is used.
 *
 * One process: the file is locked. Where several threads use an open log, each call on it (but hs_audit_close) is made
 * between hs_audit_lock and hs_audit_unlock; what is read and written between the two belongs together.
 */
#ifndef HISHO_POLICY_AUDIT_H
#define HISHO_POLICY_AUDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define HS_AUDIT_FORMAT 1
#define HS_AUDIT_KEY_LEN 32
#define HS_AUDIT_CHAIN_LEN 32
#define HS_AUDIT_HMAC_LEN 32
#define HS_AUDIT_SIGNATURE_LEN 64
#define HS_AUDIT_TENANT_MAX 64
#define HS_AUDIT_RECORD_MAX (256u * 1024u) /* a whole record, framing included */
#define HS_AUDIT_RESERVE (8u * 1024u * 1024u) /* disk space held behind the log's end: some thousand searches on a full disk */
#define HS_AUDIT_CHUNKS_MAX 1024
#define HS_AUDIT_QUERY_MAX (64u * 1024u)

struct hs_audit;

enum hs_audit_decision {
	HS_AUDIT_DENIED = 0,
	HS_AUDIT_ALLOWED = 1,
	HS_AUDIT_FAILED = 2, /* allowed, then something broke */
	HS_AUDIT_NOTED = 3,  /* no decision: start, seal, cut */
};

struct hs_audit_head { /* where the log ends */
	uint64_t seq; /* 0: no record yet */
	int64_t time;
	uint8_t chain[HS_AUDIT_CHAIN_LEN];
};

struct hs_audit_witness { /* a head known from elsewhere: the log must contain it */
	struct hs_audit_head head;
	bool is_signed; /* by keyd (policy/head.h); else the database's copy (policy/witness.h). Names what is missed */
};

struct hs_audit_chunk { /* a passage that entered a prompt */
	char version[32]; /* "ver_..." */
	uint32_t start, end; /* bytes of the canonical text */
};

struct hs_audit_entry {
	const char *principal; /* public id; never a name */
	const char *action;    /* "ask", "answer", "read", "search", "policy.apply", "user.suspend", ... [a-z0-9._] */
	const char *object;    /* public id of what it was about; "" for none */
	enum hs_audit_decision decision;
	const char *reason;    /* code ("class.denied") or NULL */
	const char *request;   /* id that the records of one request share, or NULL */
	uint64_t about;        /* seq of the record that this one closes; 0: none */
	uint64_t commit_seq;   /* the database's, at this moment */
	int64_t time;          /* UTC ms, of the host's clock */
	bool sets_clock;       /* a person says that this time is right, however high an earlier one was */

	/* A question: an HMAC of the query, always; the text itself only where the tenant opted in. */
	const char *query;
	size_t query_len;
	bool keep_query;
	const struct hs_audit_chunk *chunks;
	size_t n_chunks;

	const uint8_t *answer_hash; /* HS_AUDIT_CHAIN_LEN bytes, or NULL */
	const char *detail;         /* a policy's hash, a token's id, a rule's id: never document text; or NULL */
};

/*
 * Open the log `name` in dirfd for appending; make it where it is missing and nobody witnessed a record of it.
 * tenant: its public id; an existing log of another tenant is refused. key: the tenant's audit key.
 * -EBADMSG "audit.chain", "audit.mark", "audit.truncated", "audit.witness", "audit.head" (a signed witness), "audit.key",
 * "audit.tenant": never repaired.
 * -ENOTSUP "audit.format"; -EBUSY "audit.locked"; else from the system.
 */
int hs_audit_open(int dirfd, const char *name, const char *tenant, const uint8_t key[static HS_AUDIT_KEY_LEN],
		  const struct hs_audit_witness *witnesses, size_t n_witnesses, int64_t now_ms, struct hs_audit **ret,
		  struct hs_err *err) HS_MUST_CHECK;
void hs_audit_close(struct hs_audit *a); /* wipes its keys; takes NULL */

void hs_audit_lock(struct hs_audit *a);
void hs_audit_unlock(struct hs_audit *a);

/*
 * Append one record and make it durable. 0, and *ret_seq (or NULL) its sequence. On any failure nothing is acknowledged and
 * the caller refuses the request: -ENOSPC and -EFBIG "audit.full" (later appends are tried again), -EMSGSIZE "audit.record"
 * (an entry over the limits), -EIO "audit.failed" (fsync failed or the tail could not be taken back: for good).
 */
int hs_audit_append(struct hs_audit *a, const struct hs_audit_entry *e, uint64_t *ret_seq, struct hs_err *err) HS_MUST_CHECK;

/*
 * The same for several, synced once: all are durable, or nobody is told of any. Their times do not descend, and none sets the
 * clock; together they take at most HS_AUDIT_RECORD_MAX. *ret_first (or NULL): the first one's sequence, which the others follow.
 */
int hs_audit_append_all(struct hs_audit *a, const struct hs_audit_entry *const *entries, size_t n, uint64_t *ret_first,
			struct hs_err *err) HS_MUST_CHECK;

void hs_audit_head(const struct hs_audit *a, struct hs_audit_head *ret);

/*
 * The time by which expiry is judged: host_ms, what the host's clock says; or, where that was set back, the highest time that was
 * recorded and what has passed since. It outlives a restart as the mark keeps it. Any thread, without the lock.
 */
int64_t hs_audit_now(const struct hs_audit *a, int64_t host_ms);

/* The highest commit sequence ever recorded: a database below it was rolled back, and must not be served. */
uint64_t hs_audit_commit_high(const struct hs_audit *a);

struct hs_audit_report {
	char tenant[HS_AUDIT_TENANT_MAX + 1];
	uint64_t records;
	struct hs_audit_head head; /* of the last good record */
	uint64_t good_bytes;       /* up to the end of the last good record */
	uint64_t torn_bytes;       /* an incomplete record behind it */
};

/* Verify without keys. 0, or -EBADMSG as hs_audit_open with ret filled as far as the log is good. */
int hs_audit_verify(int dirfd, const char *name, const struct hs_audit_witness *witnesses, size_t n_witnesses,
		    struct hs_audit_report *ret, struct hs_err *err) HS_MUST_CHECK;

struct hs_audit_filter { /* zeroed: everything */
	int64_t since, until;   /* UTC ms, inclusive and exclusive; 0: open */
	const char *principal;  /* or NULL */
	const char *action;     /* exact, or a prefix ending in '.' ("policy."), or NULL */
};

struct hs_audit_shown { /* valid during the callback */
	uint64_t seq, commit_seq, about;
	int64_t time;
	bool clock_back;
	enum hs_audit_decision decision;
	const char *principal, *action, *object, *reason, *request, *detail; /* "" where there is none */
	const char *query; /* NULL unless it was kept */
	size_t query_len;
	const uint8_t *query_hmac;  /* NULL where there is none */
	const uint8_t *answer_hash; /* NULL where there is none */
	const struct hs_audit_chunk *chunks;
	size_t n_chunks;
	const uint8_t *chain;
};

/* Walk the records that pass the filter, oldest first, verifying as it goes. fn stops the walk with non-zero, which is returned. */
int hs_audit_each(int dirfd, const char *name, const uint8_t key[static HS_AUDIT_KEY_LEN], const struct hs_audit_filter *filter,
		  int (*fn)(void *ctx, const struct hs_audit_shown *shown), void *ctx, struct hs_err *err) HS_MUST_CHECK;

/* The HMAC under which a query is recorded, to look for a known question. */
void hs_audit_query_hmac(const uint8_t key[static HS_AUDIT_KEY_LEN], const char *query, size_t n,
			 uint8_t out[static HS_AUDIT_HMAC_LEN]);

#endif
