/*
 * The tenant process: one tenant's key, database, policy and audit log, and everything that is done with them.
 *
 *   loop thread     channels, requests, timers; never SQLite, files or MeCab
 *   reader threads  authenticate, resolve the grant, search, read: one hs_reader and tagger each
 *   writer thread   the one writer of the database: policy, submissions, index, conversations
 *   preparer thread cuts documents into passages and makes their words, before the writer's turn
 *   recorder thread the audit log, for what only reads: never behind a document that is being indexed
 *
 * A request (hs_exchange) runs on a reader, then on the writer where it writes, or on the recorder where what it read is audited,
 * and is answered from the loop.
 */
#ifndef HISHO_DAEMON_TENANT_TENANT_H
#define HISHO_DAEMON_TENANT_TENANT_H

#include <stdint.h>

#include <jansson.h>
#include <uv.h>

#include "base/err.h"
#include "crypto/age.h"
#include "crypto/key.h"
#include "crypto/keyring.h"
#include "crypto/token.h"
#include "daemon/tenant/denials.h"
#include "daemon/tenant/usage.h"
#include "daemon/tenant/worker.h"
#include "policy/audit.h"
#include "policy/head.h"
#include "policy/principal.h"
#include "retrieval/search.h"

#define HS_TENANT_READERS 3
#define HS_TENANT_QUEUE_MAX 256 /* jobs that wait for a reader, the writer, the recorder; beyond it requests are refused as busy */
#define HS_TENANT_CHATS_MAX 64 /* answers being made at one time, of all people; beyond it 429 */
#define HS_TENANT_CHATS_PER_USER_MAX 32
#define HS_TENANT_UPLOADS_MAX 32 /* submissions on their way at one time; beyond it 429 */
#define HS_TENANT_UPLOAD_BYTES_MAX (512u * 1024u * 1024u) /* of their bodies, which are in memory; beyond it 429 */
#define HS_TENANT_BODY_BYTES_MAX (64u * 1024u * 1024u) /* of all other bodies in memory; beyond it 429 */

#define HS_TENANT_FREE_FLOOR (64u * 1024u * 1024u) /* bytes free on the disk; below it nothing is taken in or indexed */

#define HS_TENANT_DB "index.db"
#define HS_TENANT_AUDIT "audit.log"
#define HS_TENANT_HEAD "audit.log.head" /* signed: policy/head.h */
#define HS_TENANT_BLOBS "blobs"

struct hs_embedder;
struct hs_exchange;
struct hs_extract_client;
struct hs_heads;
struct hs_infer_client;
struct hs_intake;
struct hs_filing;

/* A reader thread's own, and the recorder's. */
struct hs_read_context {
	struct hs_tenant *tenant;
	struct hs_reader *reader;
	struct hs_tagger *tagger;
};

/* The writer thread's own. */
struct hs_write_context {
	struct hs_tenant *tenant;
};

/* Since the start; for /metrics. */
struct hs_tenant_counts {
	uint64_t questions, not_found, failed; /* failed: ended with an error, or its client left */
	uint64_t denied;                       /* as in denials.h, written or not */
	uint64_t prompt_tokens, answer_tokens;
	uint64_t reranked, rerank_missed;
};

struct hs_tenant {
	uv_loop_t *loop;
	struct hs_id id;
	char name[HS_KEYRING_NAME_MAX + 1];
	char tag[HS_TOKEN_TAG_LEN + 1]; /* in credentials */
	char recipient[HS_AGE_RECIPIENT_TEXT_LEN + 1]; /* to whom submissions are sealed */
	int dir, blobs, owner_lock; /* STATE/tenants/<id>, blobs/ in it, and its lock; -1: not open */
	char path[512]; /* of dir */

	struct hs_key *db_key, *blob_key, *audit_key, *age_key, *credential_key;
	uint8_t db_uuid[HS_DB_UUID_LEN];
	uint32_t key_generation;
	uint8_t signer[HS_HEAD_PUBLIC_LEN];  /* keyd's public key */
	struct hs_audit_head signed_head;    /* the last that keyd signed; seq 0: none. Loop thread once it is open */

	bool rebuild; /* where dictionary or normaliser changed: index anew instead of not opening */
	struct hs_analyzer *analyzer;
	struct hs_store *store;
	struct hs_gate *gate;
	struct hs_audit *audit; /* of the writer and the recorder: under its lock */
	bool keep_queries;      /* the tenant opted into full query text in its audit log */

	struct hs_read_context readers_own[HS_TENANT_READERS], recorder_own;
	struct hs_write_context writer_own;
	struct hs_tagger *preparer_own;
	struct hs_worker *readers, *writer, *recorder, *preparer;
	struct hs_infer_client *infer;
	struct hs_extract_client *extract;
	struct hs_intake *intake;
	struct hs_filing *filing;
	struct hs_embedder *embedder;
	struct hs_heads *heads;

	/* what requests hold; loop thread only */
	struct hs_exchange *chats[HS_TENANT_CHATS_MAX];
	unsigned uploads, reranks;
	size_t upload_bytes; /* promised by those on their way */
	size_t body_bytes;
	struct hs_denials denials;
	struct hs_tenant_counts counts;
	struct hs_limits limits; /* as hishod gave them */
	struct hs_usage usage;
	bool usage_open;
	bool disk_low; /* atomic: hs_tenant_room said no last time */
	uint64_t disk_free; /* atomic: bytes that it last saw */
};

/*
 * Open everything that a tenant's key opens: folder, lock, database, store, audit log, threads. Blocks; called once, before
 * requests are served. dict: the MeCab dictionary's folder. On failure everything is closed again.
 */
int hs_tenant_open(struct hs_tenant *t, const struct hs_key *key, const char *dict, struct hs_err *err) HS_MUST_CHECK;

/* Finish the workers' jobs, close, wipe the keys: safe on what is half open, and twice. The loop must run on. */
void hs_tenant_close(struct hs_tenant *t);

/* Is there room for so many bytes above the floor? -ENOSPC "tenant.disk_low". Blocks; any thread but the loop's. */
int hs_tenant_room(struct hs_tenant *t, uint64_t bytes, struct hs_err *err) HS_MUST_CHECK;

/*
 * The time by which expiry is judged, of whatever kind, and by which rows are dated: hs_audit_now of the host's clock. Records
 * keep the host's own time, and so do deadlines of what is under way. Any thread.
 */
int64_t hs_tenant_now(const struct hs_tenant *t);

/* What `hisho status` shows of a tenant: counts and states, no content. Loop thread. NULL out of memory. */
json_t *hs_tenant_status(struct hs_tenant *t);

/* A credential of this tenant as text (NULL: out of memory), and back (false: not a credential of ours). */
char *hs_tenant_credential_format(const struct hs_tenant *t, struct hs_arena *arena, const struct hs_credential *c) HS_MUST_CHECK;
bool hs_tenant_credential_parse(const struct hs_tenant *t, const char *s, size_t n, struct hs_credential *ret) HS_MUST_CHECK;

#endif
