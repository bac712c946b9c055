#include "daemon/tenant/intake.h"

#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "base/utf8.h"
#include "base/wire.h"
#include "crypto/blob.h"
#include "crypto/manifest.h"
#include "crypto/payload.h"
#include "daemon/child.h"
#include "daemon/tenant/embedder.h"
#include "daemon/tenant/extract_client.h"
#include "ingest/chunk.h"
#include "policy/classes.h"
#include "policy/senders.h"
#include "retrieval/jobs.h"

#define RETRY_MS 5000

/*
 * Disk space that a document takes until it is indexed, in multiples: of the submission when it is accepted (its row, in the
 * write-ahead log and in the database), then of the document (the blob) and of its text (blob, rows, words, both again in the log).
 */
#define ROOM_ACCEPTED 3
#define ROOM_ORIGINAL 2
#define ROOM_TEXT 6

/*
 * Lanes: documents on their way at one time. While one is extracted and the words of another are made, the writer indexes a third;
 * those that wait for the writer together share a transaction. Where one of these fails, each has a transaction of its own.
 */
#define LANES 16
#define BESIDE_MAX (512u << 10)  /* bytes of a submission that goes beside others; a larger one goes alone */
#define WORDS_TEXT_MAX (1u << 20) /* bytes of a text whose words are made before the writer's turn: they take memory */

#define LONG (2 * HS_STAGE_STEP) /* passages; a document of more is indexed by steps, and whoever else writes comes in between */

enum state { IDLE, BEGINNING, BEGUN, EXTRACTING, PREPARING, READY, FINISHING };

struct lane { /* one submission in work */
	struct hs_intake *intake;
	struct hs_tenant *tenant;
	enum state state; /* loop thread */
	struct hs_job job; /* of the preparer */
	int64_t working; /* atomic: key of the job in work, until words find its document; 0: none */
	int rc;
	struct hs_err err;
	bool taken;   /* a job was begun; false: there was none */
	bool ended;   /* and is done or failed already */
	bool refused; /* by the extractor: err is its word */
	struct hs_store_job row;
	struct hs_manifest manifest;
	struct hs_buf plain; /* the opened payload */
	struct hs_payload payload;
	struct hs_buf extracted;
	struct hs_document document;
	struct hs_chunks chunks;
	struct hs_words *words;
	struct hs_id filed, blobs[2]; /* public id; the files that were written */
	/* the writer's */
	struct hs_put put;
	char title[HS_STORE_TITLE_MAX + 1];
	uint8_t text_hash[HS_STORE_HASH_LEN];
	struct hs_stage *stage; /* of a long document */
	bool staged, goes_on;   /* all its steps were made; its turn comes again */
};

struct hs_intake {
	struct hs_tenant *tenant;
	struct lane lanes[LANES];
	bool beginning, finishing; /* a job of that kind is with the writer */
	bool alone;    /* what was begun last goes alone; the writer's while beginning */
	bool kicked;   /* while nothing could be begun */
	bool stranded; /* a job may stand as running on disk that nobody runs */
	uv_async_t kick_signal;
	uv_timer_t retry;
	unsigned open_handles;
	uint64_t open, failed; /* atomic */
	bool hurry; /* atomic: what jobs waited for may be back */
	struct hs_job begin_job, finish_job;

	/* the begin job's: the writer's while beginning */
	struct lane *seeking[LANES];
	size_t n_seeking;
	int rc;
	struct hs_err err;
	bool freeing; /* the stranded ones, too */
	bool beside;  /* others are in work */

	/* the finish job's: the writer's while finishing */
	struct lane *ending[LANES];
	size_t n_ending;
};

/* --- admission --- */

static int split(const void *data, size_t len, const uint8_t **ret_manifest, size_t *ret_manifest_len,
		 const uint8_t **ret_ciphertext, size_t *ret_ciphertext_len, struct hs_err *err)
{
	struct hs_wire w = hs_wire_over(data, len);
	uint32_t n = hs_wire_u32(&w);
	const uint8_t *manifest = n <= HS_MANIFEST_MAX ? hs_wire_bytes(&w, n) : NULL;
	if (!manifest)
		return hs_fail(err, EPROTO, "submission.form", HS_N_("The body is not a submission. Make it with: hisho seal"),
			       "manifest length");
	*ret_manifest = manifest;
	*ret_manifest_len = n;
	*ret_ciphertext = w.data + w.at;
	*ret_ciphertext_len = w.len - w.at;
	return 0;
}

static int check_class(sqlite3 *db, const struct hs_manifest *m, const struct hs_sender *sender, struct hs_err *err)
{
	uint32_t class_id;
	if (m->operation != HS_MANIFEST_PUT)
		return 0;
	int rc = hs_sender_may_file(db, &sender->id, m->collection, err);
	return rc < 0 ? rc : hs_class_intern(db, m->collection, m->level, m->access_list, &class_id, err);
}

int hs_intake_admit(struct hs_intake *i, const void *data, size_t len, struct hs_id *ret_job, struct hs_id *ret_sender,
		    bool *ret_known, struct hs_err *err)
{
	sqlite3 *db = hs_store_db(i->tenant->store);
	int64_t now = hs_tenant_now(i->tenant);
	const uint8_t *signed_manifest, *ciphertext;
	size_t manifest_len, ciphertext_len;
	struct hs_manifest m;
	struct hs_sender sender;
	uint8_t hash[32];
	int rc = split(data, len, &signed_manifest, &manifest_len, &ciphertext, &ciphertext_len, err);
	if (rc == 0)
		rc = hs_manifest_open(signed_manifest, manifest_len, &m, err);
	if (rc == 0)
		rc = hs_manifest_check(&m, &i->tenant->id, now, err);
	if (rc == 0 && m.operation == HS_MANIFEST_PUT) /* what is deleted needs little, and is never refused for want of room */
		rc = hs_tenant_room(i->tenant, ROOM_ACCEPTED * (uint64_t)len, err);
	if (rc == 0)
		rc = hs_sender_by_key(db, m.sender, &sender, err);
	if (rc < 0)
		return rc;
	(void)crypto_generichash(hash, sizeof hash, ciphertext, ciphertext_len, NULL, 0); /* fails for wrong lengths only */
	rc = hs_manifest_check_ciphertext(&m, ciphertext_len, hash, err);
	if (rc == 0)
		rc = check_class(db, &m, &sender, err);
	if (rc < 0)
		return rc;
	struct hs_submission s = {.sender = &sender.id, .source = m.source, .source_len = strlen(m.source), .sequence = m.sequence,
				  .id = m.submission.s};
	hs_manifest_hash(signed_manifest, manifest_len, s.manifest_hash);
	rc = hs_submission_admit(db, &s, now, err);
	*ret_sender = sender.id;
	*ret_known = rc == -EALREADY;
	if (rc < 0)
		return rc;
	return hs_store_job_add(i->tenant->store, m.operation == HS_MANIFEST_PUT ? "put" : "delete", sender.id.s, m.source, data,
				len, now, ret_job, err);
}

/* --- opening, on the writer thread --- */

static int take_plain(void *ctx, const void *data, size_t n)
{
	return hs_buf_append(ctx, data, n);
}

static int open_submission(struct lane *l, const struct hs_buf *detail)
{
	const uint8_t *signed_manifest, *ciphertext;
	size_t manifest_len, ciphertext_len;
	int rc = split(detail->data, detail->len, &signed_manifest, &manifest_len, &ciphertext, &ciphertext_len, &l->err);
	if (rc == 0)
		rc = hs_manifest_open(signed_manifest, manifest_len, &l->manifest, &l->err);
	if (rc < 0 || l->manifest.operation == HS_MANIFEST_DELETE)
		return rc;
	l->plain.limit = HS_PAYLOAD_CONTENT_MAX + 65536;
	struct hs_age_decrypt *d;
	rc = hs_age_decrypt_create(l->tenant->age_key, take_plain, &l->plain, &d, &l->err);
	if (rc < 0)
		return rc;
	rc = hs_age_decrypt_push(d, ciphertext, ciphertext_len, &l->err);
	if (rc == 0)
		rc = hs_age_decrypt_finish(d, &l->err);
	hs_age_decrypt_destroy(d);
	if (rc == -EMSGSIZE)
		(void)hs_fail(&l->err, EFBIG, "doc.too_large", HS_N_("The document is larger than is taken in. Split it."), "%u bytes",
			      HS_PAYLOAD_CONTENT_MAX);
	return rc < 0 ? rc : hs_payload_parse(l->plain.data, l->plain.len, &l->payload, &l->err);
}

/*
 * Whose fault was it? What the extractor says is said of the document, but that it crashed or ran out of memory may be the
 * machine's doing. What this process could not do with a document that was read is the host's where the system says so.
 */
static enum hs_store_job_blame blame_for(const struct lane *l)
{
	if (l->rc == -ECONNRESET)
		return HS_STORE_JOB_LOST;
	bool of_document = l->refused && strncmp(l->err.code, "doc.", 4) == 0;
	if (of_document && (strcmp(l->err.code, "doc.extractor_crashed") == 0 || strcmp(l->err.code, "doc.extractor_memory") == 0))
		return HS_STORE_JOB_SUSPECT;
	if (of_document && l->rc != -ENOMEM)
		return HS_STORE_JOB_DOCUMENT;
	static const char *const own_limits[] = {"index.memory", "index.documents", "index.ordinals", "class.limit"};
	for (size_t k = 0; k < HS_ARRAY_LEN(own_limits); k++) {
		if (strcmp(l->err.code, own_limits[k]) == 0) /* the tenant's, not the host's: waiting does not help */
			return HS_STORE_JOB_DOCUMENT;
	}
	static const int hosts[] = {ENOSPC, EDQUOT, EIO, ENOMEM, ENOTCONN, EBUSY, EAGAIN, EMFILE, ENFILE};
	for (size_t k = 0; k < HS_ARRAY_LEN(hosts); k++) {
		if (l->rc == -hosts[k])
			return HS_STORE_JOB_HOST;
	}
	return HS_STORE_JOB_DOCUMENT;
}

/* In one transaction of its own: l->err is why. */
static int fail_job(struct lane *l)
{
	struct hs_store *s = l->tenant->store;
	struct hs_err err = HS_ERR_INIT;
	int rc = hs_store_begin(s, &err);
	if (rc < 0)
		return rc;
	rc = hs_store_job_failed(s, l->row.key, &l->err, blame_for(l), hs_tenant_now(l->tenant), &err);
	if (rc == 0)
		return hs_store_commit(s, &err);
	hs_store_rollback(s);
	return rc;
}

static int delete_document(struct lane *l)
{
	struct hs_store *s = l->tenant->store;
	struct hs_id document;
	int rc = hs_store_begin(s, &l->err);
	if (rc < 0)
		return rc;
	rc = hs_store_by_source(s, l->row.by, l->manifest.source, &document, NULL);
	if (rc == -ENOENT) /* deleted before, or never filed: what was asked for holds */
		document.s[0] = '\0', rc = 0;
	else if (rc == 0)
		rc = hs_store_delete(s, &document, hs_tenant_now(l->tenant), &l->err);
	if (rc == 0)
		rc = hs_store_job_done(s, l->row.key, document.s, hs_tenant_now(l->tenant), &l->err);
	if (rc == 0)
		return hs_store_commit(s, &l->err);
	hs_store_rollback(s);
	return rc;
}

static void count_open(struct hs_intake *i)
{
	uint64_t open, failed;
	if (hs_store_job_counts(hs_store_db(i->tenant->store), &open, &failed, NULL) < 0)
		return; /* what was last seen stands */
	__atomic_store_n(&i->open, open, __ATOMIC_RELAXED);
	__atomic_store_n(&i->failed, failed, __ATOMIC_RELAXED);
}

/* A job whose end could not be written is begun again. None runs here while that is done: all that say so are stranded. */
static int free_stranded(struct hs_intake *i)
{
	sqlite3 *db = hs_store_db(i->tenant->store);
	int rc = i->freeing ? hs_store_jobs_reopen(db, hs_tenant_now(i->tenant), &i->err) : 0;
	return rc == 0 && __atomic_exchange_n(&i->hurry, false, __ATOMIC_RELAXED) ? hs_store_jobs_hurry(db, &i->err) : rc;
}

/* For the lanes that wait for one, in the open transaction. */
static int take_jobs(struct hs_intake *i, struct hs_buf details[static LANES])
{
	bool room = hs_tenant_room(i->tenant, 0, NULL) == 0; /* without it only deletions go on; the others wait unbegun */
	bool beside = i->beside;
	int rc = 0;
	for (size_t k = 0; rc == 0 && k < i->n_seeking && !i->alone; k++) {
		struct lane *l = i->seeking[k];
		rc = hs_store_job_begin(i->tenant->store, room ? NULL : "delete", beside ? BESIDE_MAX : 0,
					hs_tenant_now(i->tenant), &l->row, &details[k], &i->err);
		if (rc < 0)
			break;
		l->taken = beside = true;
		i->alone = l->row.attempts > 1 || details[k].len > BESIDE_MAX;
	}
	return rc == -ENOENT || rc == -EBUSY ? 0 : rc;
}

static void open_begun(struct lane *l, const struct hs_buf *detail)
{
	__atomic_store_n(&l->working, l->row.key, __ATOMIC_RELAXED);
	l->rc = open_submission(l, detail);
	if (l->rc == 0 && l->manifest.operation == HS_MANIFEST_DELETE) {
		l->rc = delete_document(l);
		l->ended = l->rc == 0;
	}
	if (l->rc < 0) {
		(void)hs_fail_errno(&l->err, l->rc, "submission.open", l->row.id.s);
		l->rc = fail_job(l);
		l->ended = true;
	}
}

static void run_begin(struct hs_job *job, void *context)
{
	struct hs_intake *i = HS_CONTAINER_OF(job, struct hs_intake, begin_job);
	struct hs_store *s = i->tenant->store;
	struct hs_buf details[LANES] = {0};
	count_open(i);
	i->rc = hs_store_begin_unsynced(s, &i->err); /* a power cut leaves them as they were, waiting */
	if (i->rc == 0) {
		i->rc = free_stranded(i);
		if (i->rc == 0)
			i->rc = take_jobs(i, details);
		if (i->rc == 0)
			i->rc = hs_store_commit(s, &i->err);
		else
			hs_store_rollback(s);
	}
	for (size_t k = 0; k < i->n_seeking; k++) {
		if (i->rc == 0 && i->seeking[k]->taken)
			open_begun(i->seeking[k], &details[k]);
		hs_buf_wipe(&details[k]);
	}
}

/* --- what is indexed --- */

/* One of a single chunk lies beside its row, synced by the transaction; a larger one is a file that stands before its row does. */
static int put_blob(struct lane *l, const void *data, size_t n, struct hs_id *ret)
{
	struct hs_tenant *t = l->tenant;
	struct hs_blob_info info;
	struct hs_blob_row row = {.id = hs_id_new("blb_")};
	HS_BUF_AUTO sealed = HS_BUF_INIT;
	bool inside = n <= HS_BLOB_CHUNK;
	int rc = inside ? hs_blob_seal(row.id.s, t->blob_key, t->key_generation, data, n, &sealed, &info, &l->err)
			: hs_blob_put(t->blobs, row.id.s, t->blob_key, t->key_generation, data, n, &info, &l->err);
	if (rc < 0)
		return rc;
	_Static_assert(sizeof info.wrapped <= sizeof row.wrapped && sizeof info.hash == sizeof row.hash, "one blob, two rooms");
	memcpy(row.wrapped, info.wrapped, sizeof info.wrapped);
	memcpy(row.hash, info.hash, sizeof info.hash);
	row.wrapped_len = sizeof info.wrapped;
	row.length = info.length;
	row.key_generation = info.key_generation;
	rc = hs_store_blob_add(t->store, &row, inside ? sealed.data : NULL, sealed.len, &l->err);
	if (rc < 0 && !inside)
		hs_ignore(hs_blob_remove(t->blobs, row.id.s)); /* without its row nothing can open it anyway */
	if (rc == 0)
		*ret = row.id;
	return rc;
}

static const char *choose_title(struct lane *l, const struct hs_document *d, char *out, size_t cap)
{
	const struct hs_payload *p = &l->payload;
	const char *slash = memrchr(p->name, '/', p->name_len);
	const char *title = slash ? slash + 1 : p->name;
	size_t len = (size_t)(p->name + p->name_len - title);
	if (p->title_len > 0) {
		title = p->title;
		len = p->title_len;
	} else if (d->title && *d->title) {
		title = d->title;
		len = strlen(title);
	}
	if (len >= cap) /* between characters: half a one would spoil every list that it stands in */
		len = hs_utf8_cut(title, cap - 1);
	(void)snprintf(out, cap, "%.*s", (int)len, title);
	return out;
}

/* What is to be put, but for what the last transaction adds. */
static int describe(struct lane *l)
{
	const struct hs_document *d = &l->document;
	uint32_t class_id;
	int rc = hs_class_intern(hs_store_db(l->tenant->store), l->manifest.collection, l->manifest.level, l->manifest.access_list,
				 &class_id, &l->err);
	if (rc < 0)
		return rc;
	(void)crypto_generichash(l->text_hash, sizeof l->text_hash, (const uint8_t *)d->text, d->len, NULL, 0); /* lengths are right */
	l->put = (struct hs_put){.class_id = class_id, .title = choose_title(l, d, l->title, sizeof l->title), .sender = l->row.by,
				 .source = l->manifest.source, .submission = l->manifest.submission.s,
				 .expires = l->manifest.document_expires, .content_mac = l->manifest.content_mac,
				 .text_hash = l->text_hash, .read = d, .chunks = l->chunks.items, .n_chunks = l->chunks.count,
				 .words = l->words};
	return 0;
}

/* l->blobs: the files that were written, for the caller to remove where the transaction does not stand. */
static int put_document(struct lane *l)
{
	struct hs_store *s = l->tenant->store;
	struct hs_id version, existing;
	int rc = l->stage ? 0 : describe(l);
	if (rc == 0)
		rc = put_blob(l, l->extracted.data, l->extracted.len, &l->blobs[0]);
	if (rc == 0)
		rc = put_blob(l, l->payload.content, l->payload.content_len, &l->blobs[1]);
	if (rc < 0)
		return rc;
	bool known = hs_store_by_source(s, l->row.by, l->manifest.source, &existing, NULL) == 0;
	l->put.document = known ? &existing : NULL;
	l->put.now_ms = hs_tenant_now(l->tenant);
	l->put.canonical = &l->blobs[0];
	l->put.original = &l->blobs[1];
	l->put.stage = l->stage;
	return hs_store_put(s, &l->put, &l->filed, &version, &l->err);
}

/*
 * Was something newer accepted from the source meanwhile? Jobs that are tried again come late: what a sender deleted or
 * replaced must not come back.
 */
static int is_superseded(struct lane *l, bool *ret)
{
	struct hs_id sender = {0};
	uint64_t newest;
	(void)snprintf(sender.s, sizeof sender.s, "%s", l->row.by); /* ids fit */
	int rc = hs_source_sequence(hs_store_db(l->tenant->store), &sender, l->manifest.source, strlen(l->manifest.source), &newest);
	if (rc == 0)
		*ret = newest > l->manifest.sequence;
	return rc;
}

/*
 * err is the extractor's word. The sender knows which document it was, and who lists jobs need not: "NAME: row 7" is kept as
 * "row 7".
 */
static void take_refusal(struct lane *l)
{
	l->refused = true;
	char *object = l->err.object;
	size_t n = l->payload.name_len;
	if (n == 0 || strncmp(object, l->payload.name, n) != 0)
		return;
	n += strspn(object + n, ": ");
	memmove(object, object + n, strlen(object + n) + 1);
}

/* Decode, cut into passages, make their words: on the preparer's thread. */
static void run_prepare(struct hs_job *job, void *context)
{
	struct lane *l = HS_CONTAINER_OF(job, struct lane, job);
	struct hs_tagger *tagger = context;
	char title[HS_STORE_TITLE_MAX + 1];
	l->rc = hs_document_decode(l->extracted.data, l->extracted.len, &l->document, &l->err);
	if (l->rc < 0) {
		take_refusal(l);
		return;
	}
	const struct hs_chunk_options options = {.title = choose_title(l, &l->document, title, sizeof title)};
	l->rc = hs_chunk(&l->document, &options, &l->chunks, &l->err);
	/* What fails here is told of when the document is put: words are made anew there. */
	if (l->rc == 0 && l->document.len <= WORDS_TEXT_MAX)
		hs_ignore(hs_words_create(tagger, title, &l->document, l->chunks.items, l->chunks.count, &l->words));
}

/* --- indexing, on the writer thread --- */

static uint64_t room_for(const struct lane *l)
{
	return ROOM_ORIGINAL * (uint64_t)l->payload.content_len + ROOM_TEXT * (uint64_t)l->document.len;
}

/* In the open transaction. */
static int put_and_end(struct lane *l)
{
	bool superseded = false;
	int rc = is_superseded(l, &superseded);
	if (rc == 0 && !superseded)
		rc = put_document(l);
	return rc < 0 ? rc : hs_store_job_done(l->tenant->store, l->row.key, l->filed.s, hs_tenant_now(l->tenant), &l->err);
}

static void remove_blobs(struct lane *l)
{
	for (int k = 0; k < 2; k++) {
		if (*l->blobs[k].s)
			hs_ignore(hs_blob_remove(l->tenant->blobs, l->blobs[k].s)); /* its key went with the row */
		l->blobs[k].s[0] = '\0';
	}
	l->filed.s[0] = '\0';
}

/* Several in one transaction: all stand, or none does and nothing is left of them. err: of the one that failed. */
static int index_together(struct lane *const *lanes, size_t n, struct hs_err *err)
{
	struct hs_store *s = lanes[0]->tenant->store;
	uint64_t room = 0;
	for (size_t k = 0; k < n; k++)
		room += room_for(lanes[k]);
	int rc = hs_tenant_room(lanes[0]->tenant, room, err);
	if (rc == 0)
		rc = hs_store_begin(s, err);
	if (rc < 0)
		return rc;
	for (size_t k = 0; k < n && rc == 0; k++) {
		rc = put_and_end(lanes[k]);
		if (rc < 0 && err != &lanes[k]->err) {
			*err = lanes[k]->err;
			lanes[k]->err = HS_ERR_INIT;
		}
	}
	if (rc == 0)
		rc = hs_store_commit(s, err);
	else
		hs_store_rollback(s);
	for (size_t k = 0; k < n && rc < 0; k++)
		remove_blobs(lanes[k]);
	return rc;
}

/* rc and err hold what was said of it so far; index where that was good, and end the job either way. */
static void finish_alone(struct lane *l)
{
	if (l->rc == 0)
		l->rc = index_together(&l, 1, &l->err);
	if (l->rc < 0) {
		(void)hs_fail_errno(&l->err, l->rc, "job.index", l->row.id.s);
		l->rc = fail_job(l);
	}
}

/* Where it fails, what was staged is never put, and goes with the next purge. */
static int step(struct lane *l)
{
	struct hs_store *s = l->tenant->store;
	bool more = false;
	int rc = l->stage ? 0 : hs_tenant_room(l->tenant, room_for(l), &l->err);
	if (rc == 0)
		rc = hs_store_begin(s, &l->err);
	if (rc < 0)
		return rc;
	if (!l->stage)
		rc = describe(l);
	if (rc == 0 && !l->stage)
		rc = hs_stage_create(s, &l->put, &l->stage);
	if (rc == 0)
		rc = hs_stage_step(l->stage, &more, &l->err);
	if (rc == 0)
		rc = hs_store_commit(s, &l->err);
	else
		hs_store_rollback(s);
	l->staged = !more;
	return rc;
}

static bool is_long(const struct lane *l)
{
	return l->rc == 0 && l->chunks.count > LONG;
}

/* One step, or its end. Of several that are long, one after the other. */
static void go_on(struct lane *l)
{
	bool steps = !l->staged;
	if (steps)
		l->rc = step(l);
	l->goes_on = l->rc == 0 && steps; /* the end is a turn of its own */
	if (l->goes_on)
		return;
	finish_alone(l);
	hs_stage_destroy(l->stage);
	l->stage = NULL;
}

static void run_finish(struct hs_job *job, void *context)
{
	struct hs_intake *i = HS_CONTAINER_OF(job, struct hs_intake, finish_job);
	struct lane *good[LANES], *lengthy = NULL;
	size_t n = 0;
	for (size_t k = 0; k < i->n_ending; k++) {
		struct lane *l = i->ending[k];
		l->goes_on = is_long(l);
		if (l->goes_on && (!lengthy || l->stage))
			lengthy = l;
		else if (l->rc == 0 && !l->goes_on)
			good[n++] = l;
	}
	struct hs_err err = HS_ERR_INIT;
	bool stand = n > 1 && index_together(good, n, &err) == 0; /* where they do not, each one tells for itself */
	for (size_t k = 0; k < i->n_ending; k++) {
		if (!i->ending[k]->goes_on && (!stand || i->ending[k]->rc < 0))
			finish_alone(i->ending[k]);
	}
	if (lengthy)
		go_on(lengthy);
}

/* --- words for what failed --- */

/* A code, or the beginning of codes where it ends in a full stop. Those of documents stand in text/document.c. */
static const struct {
	const char *code, *hint;
} hints[] = {
	{"job.interrupted", HS_N_("The appliance ended several times while it worked on this document. File it again, alone.")},
	{"job.", HS_N_("The document was read and could not be indexed. File it again; the appliance's log names the reason.")},
	{"extract.",
	 HS_N_("The program that reads documents was away. The document is read again by itself; if it failed, file it again.")},
	{"index.memory", HS_N_("The index would outgrow the memory that this tenant may take: raise the limit or delete documents.")},
	{"index.documents", HS_N_("The tenant holds as many documents as it can.")},
	{"index.ordinals", HS_N_("The tenant holds as many passages as one index can: start another tenant.")},
	{"index.", HS_N_("The document does not fit into the index as it is. Split it and file the parts.")},
	{"disk.full", HS_N_("The disk is full. Free some space.")},
	{"store.full", HS_N_("The disk is full; nothing was lost. Make room and try again.")},
	{"tenant.disk_low", HS_N_("The disk is nearly full, so no documents are taken in. Make room where the state directory lies.")},
	{"store.", HS_N_("The database refused an operation; see the disk's health.")},
	{"blob.", HS_N_("The document could not be stored; see the disk's health, then file it again.")},
	{"class.limit", HS_N_("A tenant has at most 4096 combinations of collection, level and list.")},
	{"class.", HS_N_("The tenant has no such collection, level or list. Correct the policy or the filing, and file it again.")},
	{"age.", HS_N_("The submission does not open with this tenant's key. Seal it for this tenant and file it again.")},
	{"submission.", HS_N_("The submission is not whole. Seal the document and file it again.")},
	{"manifest.", HS_N_("The submission is not whole. Seal the document and file it again.")},
};

const char *hs_intake_hint(const char *code)
{
	const char *of_document = hs_document_hint(code);
	for (size_t i = 0; i < HS_ARRAY_LEN(hints) && !*of_document; i++) {
		size_t n = strlen(hints[i].code);
		if (hints[i].code[n - 1] == '.' ? strncmp(hints[i].code, code, n) == 0 : strcmp(hints[i].code, code) == 0)
			return hints[i].hint;
	}
	return of_document;
}

/* --- the loop's part --- */

static void next(struct hs_intake *i);
static void extract_some(struct hs_intake *i);

static void forget_submission(struct lane *l)
{
	__atomic_store_n(&l->working, 0, __ATOMIC_RELAXED);
	hs_words_destroy(l->words);
	l->words = NULL;
	hs_chunks_finish(&l->chunks);
	hs_document_finish(&l->document);
	hs_buf_wipe(&l->plain);
	hs_buf_wipe(&l->extracted);
	memset(&l->payload, 0, sizeof l->payload);
	memset(l->blobs, 0, sizeof l->blobs);
	memset(&l->filed, 0, sizeof l->filed);
	memset(&l->put, 0, sizeof l->put);
	l->err = HS_ERR_INIT;
	l->rc = 0;
	l->taken = l->ended = l->refused = l->staged = l->goes_on = false;
	l->state = IDLE;
}

static bool any(const struct hs_intake *i, enum state state)
{
	for (size_t k = 0; k < LANES; k++) {
		if (i->lanes[k].state == state)
			return true;
	}
	return false;
}

static bool in_work(const struct hs_intake *i)
{
	for (size_t k = 0; k < LANES; k++) {
		if (i->lanes[k].state > BEGINNING)
			return true;
	}
	return false;
}

static void finish_some(struct hs_intake *i);

static void on_retry(uv_timer_t *timer)
{
	finish_some(timer->data);
	next(timer->data);
}

/* The writer is full or stopping, or what ended could not be written: the row waits on disk, and is looked at again. */
static void try_later(struct hs_intake *i)
{
	i->kicked = false;
	(void)uv_timer_start(&i->retry, on_retry, RETRY_MS, 0); /* fails only on a closing handle */
}

/* The one that went alone ended. */
static void free_lanes(struct hs_intake *i)
{
	if (!i->beginning && !in_work(i))
		i->alone = false;
}

static void rest(struct hs_intake *i)
{
	free_lanes(i);
	if (i->kicked)
		next(i);
	else if (!i->beginning && !in_work(i) && hs_intake_open(i) > 0)
		(void)uv_timer_start(&i->retry, on_retry, RETRY_MS, 0); /* cannot fail with a callback */
}

static void finished(struct hs_job *job)
{
	struct hs_intake *i = HS_CONTAINER_OF(job, struct hs_intake, finish_job);
	bool lost = false;
	i->finishing = false;
	for (size_t k = 0; k < i->n_ending; k++) {
		struct lane *l = i->ending[k];
		if (l->goes_on) {
			l->state = READY;
			continue;
		}
		if (l->rc < 0) { /* even the failure could not be written. Its object may be an extractor's words: not for a log */
			hs_log("intake: the end of %s could not be written: %s", l->row.id.s, strerror(-l->rc));
			lost = i->stranded = true;
		}
		forget_submission(l);
	}
	finish_some(i);
	if (lost) {
		free_lanes(i);
		try_later(i);
		return;
	}
	i->kicked = true;
	hs_embedder_kick(i->tenant->embedder);
	rest(i);
}

/* Whatever waits for the writer goes to it together. */
static void finish_some(struct hs_intake *i)
{
	if (i->finishing || !any(i, READY))
		return;
	i->n_ending = 0;
	for (size_t k = 0; k < LANES; k++) {
		if (i->lanes[k].state == READY) {
			i->lanes[k].state = FINISHING;
			i->ending[i->n_ending++] = &i->lanes[k];
		}
	}
	i->finish_job = (struct hs_job){.run = run_finish, .done = finished};
	i->finishing = true;
	if (hs_worker_push(i->tenant->writer, &i->finish_job) == 0)
		return;
	i->finishing = false;
	for (size_t k = 0; k < i->n_ending; k++)
		i->ending[k]->state = READY;
	try_later(i);
}

static void ready(struct lane *l)
{
	l->state = READY;
	finish_some(l->intake);
}

static void prepared(struct hs_job *job)
{
	ready(HS_CONTAINER_OF(job, struct lane, job));
}

static void extracted(void *ctx, int rc, struct hs_buf *out, const struct hs_err *err)
{
	struct lane *l = ctx;
	l->rc = rc;
	if (rc < 0) {
		l->err = *err;
		take_refusal(l);
		ready(l);
	} else {
		l->extracted = *out;
		*out = HS_BUF_INIT;
		l->state = PREPARING;
		l->job = (struct hs_job){.run = run_prepare, .done = prepared};
		rc = hs_worker_push(l->tenant->preparer, &l->job); /* fails while the process ends: the job is begun again */
		if (rc < 0) { /* else the lane is the preparer's from here on */
			l->rc = rc;
			ready(l);
		}
	}
	extract_some(l->intake);
}

/* As many as the extractors take; the others' turn comes when one of these ended. */
static void extract_some(struct hs_intake *i)
{
	for (size_t k = 0; k < LANES && !hs_extract_client_busy(i->tenant->extract); k++) {
		struct lane *l = &i->lanes[k];
		const struct hs_payload *p = &l->payload;
		if (l->state != BEGUN)
			continue;
		l->state = EXTRACTING;
		int rc = hs_extract(i->tenant->extract, p->content, p->content_len, (struct hs_slice){p->name, p->name_len},
				    (struct hs_slice){p->media, p->media_len}, extracted, l, &l->err);
		if (rc < 0) { /* else it may have ended already, and told so */
			l->rc = rc;
			ready(l);
		}
	}
}

static void begun(struct hs_job *job)
{
	struct hs_intake *i = HS_CONTAINER_OF(job, struct hs_intake, begin_job);
	bool later = i->rc < 0;
	i->beginning = false;
	if (i->rc < 0)
		hs_log("intake: no job could be begun: %s", strerror(-i->rc));
	else if (i->freeing)
		i->stranded = false;
	for (size_t k = 0; k < i->n_seeking; k++) {
		struct lane *l = i->seeking[k];
		bool goes_on = i->rc == 0 && l->taken && !l->ended;
		if (i->rc == 0 && l->taken && l->rc < 0) {
			hs_log("intake: the end of %s could not be written: %s", l->row.id.s, strerror(-l->rc));
			later = i->stranded = true;
			goes_on = false;
		} else if (i->rc == 0 && l->taken) {
			i->kicked = true; /* there may be more */
		}
		if (goes_on)
			l->state = BEGUN;
		else
			forget_submission(l);
	}
	i->err = HS_ERR_INIT;
	extract_some(i);
	finish_some(i); /* what found no place with the writer */
	free_lanes(i);
	if (later)
		try_later(i);
	else
		rest(i);
}

/* All idle lanes seek a job. One that goes alone, or a job that nobody runs, waits until no other is in work. */
static void next(struct hs_intake *i)
{
	bool beside = in_work(i);
	if (i->beginning || !any(i, IDLE) || (beside && (i->alone || i->stranded))) {
		i->kicked = true;
		return;
	}
	i->kicked = false;
	(void)uv_timer_stop(&i->retry); /* cannot fail */
	i->n_seeking = 0;
	for (size_t k = 0; k < LANES; k++) {
		if (i->lanes[k].state == IDLE) {
			i->lanes[k].state = BEGINNING;
			i->seeking[i->n_seeking++] = &i->lanes[k];
		}
	}
	i->beside = beside;
	i->freeing = i->stranded;
	i->alone = false;
	i->begin_job = (struct hs_job){.run = run_begin, .done = begun};
	i->beginning = true;
	if (hs_worker_push(i->tenant->writer, &i->begin_job) == 0)
		return;
	i->beginning = false;
	for (size_t k = 0; k < i->n_seeking; k++)
		i->seeking[k]->state = IDLE;
	try_later(i);
}

static void on_kick(uv_async_t *handle)
{
	next(handle->data);
}

void hs_intake_kick(struct hs_intake *i)
{
	(void)uv_async_send(&i->kick_signal); /* fails only on a closing handle */
}

void hs_intake_hurry(struct hs_intake *i)
{
	__atomic_store_n(&i->hurry, true, __ATOMIC_RELAXED);
	hs_intake_kick(i);
}

void hs_intake_strand(struct hs_intake *i)
{
	i->stranded = true;
}

bool hs_intake_works_on(const struct hs_intake *i, int64_t key)
{
	for (size_t k = 0; k < LANES; k++) {
		if (__atomic_load_n(&i->lanes[k].working, __ATOMIC_RELAXED) == key)
			return true;
	}
	return false;
}

uint64_t hs_intake_failed(const struct hs_intake *i)
{
	return i ? __atomic_load_n(&i->failed, __ATOMIC_RELAXED) : 0;
}

uint64_t hs_intake_open(const struct hs_intake *i)
{
	return i ? __atomic_load_n(&i->open, __ATOMIC_RELAXED) : 0;
}

int hs_intake_create(struct hs_tenant *t, struct hs_intake **ret)
{
	struct hs_intake *i = calloc(1, sizeof *i);
	if (!i)
		return -ENOMEM;
	i->tenant = t;
	i->err = HS_ERR_INIT;
	for (size_t k = 0; k < LANES; k++) {
		i->lanes[k].intake = i;
		i->lanes[k].tenant = t;
		i->lanes[k].err = HS_ERR_INIT;
	}
	int rc = uv_async_init(t->loop, &i->kick_signal, on_kick);
	if (rc < 0) {
		free(i);
		return rc;
	}
	(void)uv_timer_init(t->loop, &i->retry); /* cannot fail */
	i->kick_signal.data = i->retry.data = i;
	i->open_handles = 2;
	*ret = i;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct hs_intake *i = handle->data;
	if (--i->open_handles == 0) {
		for (size_t k = 0; k < LANES; k++)
			forget_submission(&i->lanes[k]);
		free(i);
	}
}

void hs_intake_destroy(struct hs_intake *i)
{
	if (!i)
		return;
	for (size_t k = 0; k < LANES; k++) { /* before the store goes; the writer has ended */
		hs_stage_destroy(i->lanes[k].stage);
		i->lanes[k].stage = NULL;
	}
	uv_close((uv_handle_t *)&i->kick_signal, on_closed);
	uv_close((uv_handle_t *)&i->retry, on_closed);
}
