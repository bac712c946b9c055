#include "daemon/tenant/tenant.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/file.h"
#include "daemon/child.h"
#include "daemon/tenant/embedder.h"
#include "daemon/tenant/extract_client.h"
#include "daemon/tenant/heads.h"
#include "daemon/tenant/infer_client.h"
#include "daemon/tenant/filing.h"
#include "daemon/tenant/intake.h"
#include "daemon/tenant/sweep.h"
#include "policy/witness.h"
#include "retrieval/jobs.h"

static int connect_db(void *ctx, bool writer, sqlite3 **ret, struct hs_err *err)
{
	const struct hs_tenant *t = ctx;
	char path[600];
	(void)snprintf(path, sizeof path, "%s/%s", t->path, HS_TENANT_DB); /* t->path leaves room */
	struct hs_db_key key = {.key = t->db_key, .generation = t->key_generation};
	memcpy(key.uuid, t->db_uuid, sizeof key.uuid);
	return hs_db_open(path, &key, writer ? 0 : HS_DB_READER, ret, err);
}

static int create_db_where_missing(struct hs_tenant *t, struct hs_err *err)
{
	struct stat st;
	if (fstatat(t->dir, HS_TENANT_DB, &st, 0) == 0)
		return 0;
	if (errno != ENOENT)
		return hs_fail_errno(err, -errno, "tenant.folder", t->path);
	if (fstatat(t->dir, HS_TENANT_AUDIT, &st, 0) == 0)
		return hs_fail(err, EBADMSG, "tenant.database_missing",
			       HS_N_("The audit log is there and the database is not. Restore the tenant's folder from a backup."), "%s",
			       t->path);
	char path[600];
	(void)snprintf(path, sizeof path, "%s/%s", t->path, HS_TENANT_DB);
	struct hs_db_key key = {.key = t->db_key, .generation = t->key_generation};
	memcpy(key.uuid, t->db_uuid, sizeof key.uuid);
	return hs_db_create(path, &key, err);
}

static int derive_keys(struct hs_tenant *t, const struct hs_key *key)
{
	t->db_key = hs_key_derive(key, HS_SUBKEY_DB);
	t->blob_key = hs_key_derive(key, HS_SUBKEY_BLOB);
	t->audit_key = hs_key_derive(key, HS_SUBKEY_AUDIT);
	t->age_key = hs_key_derive(key, HS_SUBKEY_AGE);
	t->credential_key = hs_key_derive(key, HS_SUBKEY_CREDENTIAL);
	if (!t->db_key || !t->blob_key || !t->audit_key || !t->age_key || !t->credential_key)
		return -ENOMEM;
	uint8_t public[HS_AGE_PUBLIC_LEN];
	hs_age_public(t->age_key, public);
	hs_age_recipient_format(public, t->recipient);
	hs_token_tag(&t->id, t->tag);
	return 0;
}

static int open_folder(struct hs_tenant *t, struct hs_err *err)
{
	t->owner_lock = hs_dir_lock(t->path, err);
	if (t->owner_lock < 0)
		return t->owner_lock;
	t->dir = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->dir < 0)
		return hs_fail_errno(err, -errno, "tenant.folder", t->path);
	if (mkdirat(t->dir, HS_TENANT_BLOBS, 0700) < 0 && errno != EEXIST)
		return hs_fail_errno(err, -errno, "tenant.folder", t->path);
	t->blobs = openat(t->dir, HS_TENANT_BLOBS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return t->blobs < 0 ? hs_fail_errno(err, -errno, "tenant.folder", t->path) : 0;
}

static int recover_jobs(struct hs_tenant *t, struct hs_err *err)
{
	int rc = hs_store_begin(t->store, err);
	if (rc < 0)
		return rc;
	rc = hs_store_jobs_recover(hs_store_db(t->store), hs_tenant_now(t), err);
	if (rc == 0)
		rc = hs_credentials_sweep(hs_store_db(t->store), hs_tenant_now(t));
	if (rc == 0)
		rc = hs_store_commit(t->store, err);
	hs_store_rollback(t->store); /* where that is still to do */
	if (rc != -ENOSPC)
		return rc;
	hs_log("tenant %s: the disk is full; its jobs wait, questions are answered", t->name);
	hs_intake_strand(t->intake);
	*err = HS_ERR_INIT;
	return 0;
}

static int open_read_context(struct hs_tenant *t, struct hs_read_context *own, struct hs_err *err)
{
	own->tenant = t;
	int rc = hs_reader_create(t->store, &own->reader, err);
	return rc < 0 ? rc : hs_tagger_create(t->analyzer, &own->tagger);
}

static void close_read_context(struct hs_read_context *own)
{
	hs_tagger_destroy(own->tagger);
	hs_reader_destroy(own->reader);
	*own = (struct hs_read_context){0};
}

static int start_workers(struct hs_tenant *t, struct hs_err *err)
{
	void *contexts[HS_TENANT_READERS];
	int rc = open_read_context(t, &t->recorder_own, err);
	for (int i = 0; i < HS_TENANT_READERS && rc == 0; i++) {
		contexts[i] = &t->readers_own[i];
		rc = open_read_context(t, &t->readers_own[i], err);
	}
	t->writer_own.tenant = t;
	void *writer_context = &t->writer_own, *recorder_context = &t->recorder_own;
	if (rc == 0)
		rc = hs_worker_create(t->loop, HS_TENANT_READERS, contexts, HS_TENANT_QUEUE_MAX, &t->readers);
	if (rc == 0)
		rc = hs_worker_create(t->loop, 1, &writer_context, HS_TENANT_QUEUE_MAX, &t->writer);
	if (rc == 0)
		rc = hs_worker_create(t->loop, 1, &recorder_context, HS_TENANT_QUEUE_MAX, &t->recorder);
	if (rc == 0)
		rc = hs_tagger_create(t->analyzer, &t->preparer_own);
	void *preparer_context = t->preparer_own;
	if (rc == 0)
		rc = hs_worker_create(t->loop, 1, &preparer_context, HS_TENANT_QUEUE_MAX, &t->preparer);
	return rc;
}

/*
 * Log and database vouch for one another: neither may be older than the other knows it to have been. keyd's memory, and the note
 * beside the log, which may be a little older or newer than that, vouch for the log as well.
 */
static int open_audit(struct hs_tenant *t, struct hs_err *err)
{
	struct hs_audit_witness witnesses[3];
	size_t n = 0;
	int rc = hs_witness_read(hs_store_db(t->store), &witnesses[n].head);
	if (rc < 0 && rc != -ENOENT)
		return hs_fail_errno(err, rc, "audit.witness", t->name);
	if (rc == 0)
		witnesses[n++].is_signed = false;
	rc = hs_head_read(t->dir, HS_TENANT_HEAD, t->id.s, t->signer, &witnesses[n].head, err);
	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (rc == 0)
		witnesses[n++].is_signed = true;
	if (t->signed_head.seq > 0)
		witnesses[n++] = (struct hs_audit_witness){.head = t->signed_head, .is_signed = true};
	rc = hs_audit_open(t->dir, HS_TENANT_AUDIT, t->id.s, t->audit_key->bytes, witnesses, n, hs_now_ms(), &t->audit, err);
	if (rc == 0 && hs_audit_commit_high(t->audit) > hs_store_commit_seq(t->store))
		rc = hs_fail(err, EBADMSG, "tenant.rolled_back",
			     HS_N_("The database is older than its audit log says it was; put back the newest copy of both."), "%s", t->name);
	return rc;
}

static int open_usage(struct hs_tenant *t)
{
	bool bad;
	int rc = hs_usage_init(&t->usage, &t->limits, t->dir, hs_now_ms(), &bad);
	t->usage_open = rc == 0;
	if (rc == 0 && bad)
		hs_log("%s/" HS_USAGE_FILE " cannot be read: the tokens of today count as used up", t->path);
	return rc;
}

int hs_tenant_open(struct hs_tenant *t, const struct hs_key *key, const char *dict, struct hs_err *err)
{
	int rc = derive_keys(t, key);
	if (rc == 0)
		rc = open_folder(t, err);
	if (rc == 0)
		(void)hs_sweep_folder(t->dir); /* how many is nobody's concern */
	if (rc == 0)
		rc = open_usage(t);
	if (rc == 0)
		rc = create_db_where_missing(t, err);
	if (rc == 0)
		rc = hs_analyzer_create(dict, &t->analyzer, err);
	if (rc == 0) {
		const struct hs_store_options o = {.connect = connect_db, .connect_ctx = t, .analyzer = t->analyzer, .rebuild = t->rebuild};
		rc = hs_store_open(&o, &t->store, err);
	}
	if (rc == 0) {
		t->gate = hs_gate_create(t->id.s, t->credential_key->bytes);
		rc = t->gate ? 0 : -ENOMEM;
	}
	if (rc == 0)
		rc = open_audit(t, err);
	if (rc == 0)
		rc = recover_jobs(t, err);
	if (rc == 0)
		hs_ignore(hs_tenant_room(t, 0, NULL)); /* for the status: whoever takes something in asks again */
	if (rc == 0)
		rc = start_workers(t, err);
	if (rc < 0) {
		(void)hs_fail_errno(err, rc, "tenant.open", t->name);
		hs_tenant_close(t);
	}
	return rc;
}

void hs_tenant_close(struct hs_tenant *t)
{
	hs_worker_destroy(t->preparer); /* before the writer, to which it hands on */
	hs_worker_destroy(t->readers);
	hs_worker_destroy(t->writer);
	hs_worker_destroy(t->recorder);
	hs_intake_destroy(t->intake);
	hs_filing_destroy(t->filing);
	hs_embedder_destroy(t->embedder);
	hs_heads_destroy(t->heads);
	hs_infer_client_destroy(t->infer);
	hs_extract_client_destroy(t->extract);
	if (t->usage_open)
		hs_usage_finish(&t->usage);
	t->usage_open = false;
	for (int i = 0; i < HS_TENANT_READERS; i++)
		close_read_context(&t->readers_own[i]);
	close_read_context(&t->recorder_own);
	hs_tagger_destroy(t->preparer_own);
	hs_audit_close(t->audit);
	hs_gate_destroy(t->gate);
	hs_store_close(t->store);
	hs_analyzer_destroy(t->analyzer);
	t->readers = t->writer = t->recorder = t->preparer = NULL;
	t->preparer_own = NULL;
	t->intake = NULL;
	t->filing = NULL;
	t->embedder = NULL;
	t->heads = NULL;
	t->infer = NULL;
	t->extract = NULL;
	t->audit = NULL;
	t->gate = NULL;
	t->store = NULL;
	t->analyzer = NULL;
	hs_key_drop(&t->db_key);
	hs_key_drop(&t->blob_key);
	hs_key_drop(&t->audit_key);
	hs_key_drop(&t->age_key);
	hs_key_drop(&t->credential_key);
	hs_close(&t->blobs);
	hs_close(&t->dir);
	hs_close(&t->owner_lock);
}

int hs_tenant_room(struct hs_tenant *t, uint64_t bytes, struct hs_err *err)
{
	struct statvfs st;
	if (fstatvfs(t->dir, &st) < 0)
		return hs_fail_errno(err, -errno, "tenant.folder", t->path);
	uint64_t there = (uint64_t)st.f_bavail * st.f_frsize, needed = HS_TENANT_FREE_FLOOR + bytes;
	__atomic_store_n(&t->disk_free, there, __ATOMIC_RELAXED);
	__atomic_store_n(&t->disk_low, there < HS_TENANT_FREE_FLOOR, __ATOMIC_RELAXED);
	if (there >= needed)
		return 0;
	return hs_fail(err, ENOSPC, "tenant.disk_low",
		       HS_N_("The disk is nearly full, so no documents are taken in. Make room where the state directory lies."),
		       "%llu MiB free, %llu MiB needed", (unsigned long long)(there >> 20), (unsigned long long)(needed >> 20));
}

int64_t hs_tenant_now(const struct hs_tenant *t)
{
	return hs_audit_now(t->audit, hs_now_ms());
}

/* "limit_..": 0 where there is none. */
static json_t *limits_json(struct hs_tenant *t)
{
	unsigned answers = 0;
	for (size_t i = 0; i < HS_TENANT_CHATS_MAX; i++)
		answers += t->chats[i] != NULL;
	json_t *j = json_pack("{s:I, s:I, s:i}", "tokens_today", (json_int_t)hs_usage_today(&t->usage, hs_now_ms()), "limit_refused",
			      (json_int_t)hs_usage_refusals(&t->usage), "answers_open", (int)answers);
	for (size_t i = 0; i < HS_LIMIT_N && j; i++) {
		char key[48];
		(void)snprintf(key, sizeof key, "limit_%s", hs_limit_name((enum hs_limit)i)); /* fits */
		if (json_object_set_new(j, key, json_integer((json_int_t)t->limits.of[i])) < 0) {
			json_decref(j);
			return NULL;
		}
	}
	return j;
}

json_t *hs_tenant_status(struct hs_tenant *t)
{
	struct hs_store_progress p;
	hs_store_progress(t->store, &p);
	const struct hs_infer_models *m = hs_infer_client_models(t->infer);
	json_t *status = json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:s, s:s}", "id", t->id.s,
				   "name",
			 t->name, "tag", t->tag, "recipient", t->recipient, "documents", (json_int_t)p.documents, "chunks",
			 (json_int_t)p.chunks, "vectors", (json_int_t)p.vectors, "index_bytes", (json_int_t)p.memory, "dirty",
			 (json_int_t)p.dirty, "waiting_jobs", (json_int_t)hs_intake_open(t->intake), "failed_jobs",
			 (json_int_t)hs_intake_failed(t->intake), "waiting_reads", (json_int_t)hs_worker_waiting(t->readers),
			 "waiting_writes", (json_int_t)hs_worker_waiting(t->writer), "disk_low",
			 (int)__atomic_load_n(&t->disk_low, __ATOMIC_RELAXED), "generator", m->generator, "embedder", m->embedder);
	const struct hs_tenant_counts *n = &t->counts;
	int64_t host = hs_now_ms();
	json_t *counts = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "questions",
				   (json_int_t)n->questions, "not_found", (json_int_t)n->not_found, "failed_answers",
				   (json_int_t)n->failed, "denied", (json_int_t)n->denied, "prompt_tokens",
				   (json_int_t)n->prompt_tokens, "answer_tokens", (json_int_t)n->answer_tokens,
				   "disk_free", (json_int_t)__atomic_load_n(&t->disk_free, __ATOMIC_RELAXED), "clock_behind_ms",
				   (json_int_t)(hs_audit_now(t->audit, host) - host), "reranked", (json_int_t)n->reranked,
				   "rerank_missed", (json_int_t)n->rerank_missed, "reranker", m->reranker);
	json_t *limits = limits_json(t);
	bool whole = status && counts && limits && json_object_update(status, counts) == 0 && json_object_update(status, limits) == 0;
	json_decref(counts);
	json_decref(limits);
	if (!whole) {
		json_decref(status);
		return NULL;
	}
	return status;
}

char *hs_tenant_credential_format(const struct hs_tenant *t, struct hs_arena *arena, const struct hs_credential *c)
{
	struct hs_bearer token = {.kind = c->kind == HS_CREDENTIAL_SESSION ? HS_TOKEN_SESSION
				       : c->kind == HS_CREDENTIAL_CODE    ? HS_TOKEN_CODE
									  : HS_TOKEN_API,
				 .id = c->id};
	_Static_assert(sizeof token.secret == sizeof c->secret, "one secret, two rooms");
	memcpy(token.tag, t->tag, sizeof t->tag);
	memcpy(token.secret, c->secret, sizeof token.secret);
	char *text = hs_arena_alloc(arena, HS_TOKEN_TEXT_MAX + 1);
	bool ok = text && hs_token_format(&token, text);
	hs_token_wipe(&token);
	return ok ? text : NULL;
}

bool hs_tenant_credential_parse(const struct hs_tenant *t, const char *s, size_t n, struct hs_credential *ret)
{
	struct hs_bearer token;
	if (!hs_token_parse(s, n, &token))
		return false;
	bool ours = strcmp(token.tag, t->tag) == 0;
	if (ours) {
		ret->kind = token.kind == HS_TOKEN_SESSION ? HS_CREDENTIAL_SESSION
			    : token.kind == HS_TOKEN_CODE  ? HS_CREDENTIAL_CODE
							   : HS_CREDENTIAL_TOKEN;
		ret->id = token.id;
		memcpy(ret->secret, token.secret, sizeof ret->secret);
	}
	hs_token_wipe(&token);
	return ours;
}
