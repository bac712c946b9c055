#include "daemon/tenant/intake.h"

#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "base/clock.h"
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

enum state { IDLE, BEGINNING, EXTRACTING, FINISHING };

struct hs_intake {
	struct hs_tenant *tenant;
	enum state state;
	bool kicked; /* while it worked */
	bool stranded; /* a job may stand as running on disk that nobody runs */
	uv_async_t kick_signal;
	uv_timer_t retry;
	unsigned open_handles;
	uint64_t open, failed; /* atomic */
	int64_t working; /* atomic: key of the job in work, until words find its document; 0: none */
	bool hurry; /* atomic: what jobs waited for may be back */

	/* the one submission in work */
	struct hs_job job;
	int rc;
	struct hs_err err;
	bool taken; /* a job was begun; false: there was none */
	bool ended; /* and is done or failed already */
	bool refused; /* by the extractor: err is its word */
	struct hs_store_job row;
	struct hs_manifest manifest;
	struct hs_buf plain; /* the opened payload */
	struct hs_payload payload;
	struct hs_buf extracted;
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
	int64_t now = hs_now_ms();
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
	return hs_store_job_add(db, m.operation == HS_MANIFEST_PUT ? "put" : "delete", sender.id.s, m.source, data, len, now, ret_job,
				err);
}

/* --- opening, on the writer thread --- */

static int take_plain(void *ctx, const void *data, size_t n)
{
	return hs_buf_append(ctx, data, n);
}

static int open_submission(struct hs_intake *i, const struct hs_buf *detail)
{
	const uint8_t *signed_manifest, *ciphertext;
	size_t manifest_len, ciphertext_len;
	int rc = split(detail->data, detail->len, &signed_manifest, &manifest_len, &ciphertext, &ciphertext_len, &i->err);
	if (rc == 0)
		rc = hs_manifest_open(signed_manifest, manifest_len, &i->manifest, &i->err);
	if (rc < 0 || i->manifest.operation == HS_MANIFEST_DELETE)
		return rc;
	i->plain.limit = HS_PAYLOAD_CONTENT_MAX + 65536;
	struct hs_age_decrypt *d;
	rc = hs_age_decrypt_create(i->tenant->age_key, take_plain, &i->plain, &d, &i->err);
	if (rc < 0)
		return rc;
	rc = hs_age_decrypt_push(d, ciphertext, ciphertext_len, &i->err);
	if (rc == 0)
		rc = hs_age_decrypt_finish(d, &i->err);
	hs_age_decrypt_destroy(d);
	if (rc == -EMSGSIZE)
		(void)hs_fail(&i->err, EFBIG, "doc.too_large", HS_N_("The document is larger than is taken in. Split it."), "%u bytes",
			      HS_PAYLOAD_CONTENT_MAX);
	return rc < 0 ? rc : hs_payload_parse(i->plain.data, i->plain.len, &i->payload, &i->err);
}

/*
 * Whose fault was it? What the extractor says is said of the document, but that it crashed or ran out of memory may be the
 * machine's doing. What this process could not do with a document that was read is the host's where the system says so.
 */
static enum hs_store_job_blame blame_for(const struct hs_intake *i)
{
	if (i->rc == -ECONNRESET)
		return HS_STORE_JOB_LOST;
	bool of_document = i->refused && strncmp(i->err.code, "doc.", 4) == 0;
	if (of_document && (strcmp(i->err.code, "doc.extractor_crashed") == 0 || strcmp(i->err.code, "doc.extractor_memory") == 0))
		return HS_STORE_JOB_SUSPECT;
	if (of_document && i->rc != -ENOMEM)
		return HS_STORE_JOB_DOCUMENT;
	static const char *const own_limits[] = {"index.memory", "index.documents", "index.ordinals", "class.limit"};
	for (size_t k = 0; k < HS_ARRAY_LEN(own_limits); k++) {
		if (strcmp(i->err.code, own_limits[k]) == 0) /* the tenant's, not the host's: waiting does not help */
			return HS_STORE_JOB_DOCUMENT;
	}
	static const int hosts[] = {ENOSPC, EDQUOT, EIO, ENOMEM, ENOTCONN, EBUSY, EAGAIN, EMFILE, ENFILE};
	for (size_t k = 0; k < HS_ARRAY_LEN(hosts); k++) {
		if (i->rc == -hosts[k])
			return HS_STORE_JOB_HOST;
	}
	return HS_STORE_JOB_DOCUMENT;
}

/* In one transaction of its own: i->err is why. */
static int fail_job(struct hs_intake *i)
{
	struct hs_store *s = i->tenant->store;
	struct hs_err err = HS_ERR_INIT;
	int rc = hs_store_begin(s, &err);
	if (rc < 0)
		return rc;
	rc = hs_store_job_failed(hs_store_db(s), i->row.key, &i->err, blame_for(i), hs_now_ms(), &err);
	if (rc == 0)
		return hs_store_commit(s, &err);
	hs_store_rollback(s);
	return rc;
}

static int delete_document(struct hs_intake *i)
{
	struct hs_store *s = i->tenant->store;
	struct hs_id document;
	int rc = hs_store_begin(s, &i->err);
	if (rc < 0)
		return rc;
	rc = hs_store_by_source(s, i->row.by, i->manifest.source, &document, NULL);
	if (rc == -ENOENT) /* deleted before, or never filed: what was asked for holds */
		document.s[0] = '\0', rc = 0;
	else if (rc == 0)
		rc = hs_store_delete(s, &document, hs_now_ms(), &i->err);
	if (rc == 0)
		rc = hs_store_job_done(hs_store_db(s), i->row.key, document.s, hs_now_ms(), &i->err);
	if (rc == 0)
		return hs_store_commit(s, &i->err);
	hs_store_rollback(s);
	return rc;
}

static void count_open(struct hs_intake *i)
{
	uint64_t open, failed;
	if (hs_store_job_counts(hs_store_db(i->tenant->store), &open, &failed, NULL) == 0)
		__atomic_store_n(&i->open, open, __ATOMIC_RELAXED);
	__atomic_store_n(&i->failed, failed, __ATOMIC_RELAXED);
}

/* A job whose end could not be written is begun again. None runs here while one is sought: all that say so are stranded. */
static int free_stranded(struct hs_intake *i)
{
	sqlite3 *db = hs_store_db(i->tenant->store);
	int rc = i->stranded ? hs_store_jobs_reopen(db, hs_now_ms(), &i->err) : 0;
	return rc == 0 && __atomic_exchange_n(&i->hurry, false, __ATOMIC_RELAXED) ? hs_store_jobs_hurry(db, &i->err) : rc;
}

static void run_begin(struct hs_job *job, void *context)
{
	struct hs_intake *i = HS_CONTAINER_OF(job, struct hs_intake, job);
	struct hs_store *s = i->tenant->store;
	HS_BUF_AUTO detail = HS_BUF_INIT;
	bool room = hs_tenant_room(i->tenant, 0, NULL) == 0; /* without it only deletions go on; the others wait unbegun */
	i->taken = i->ended = i->refused = false;
	count_open(i);
	i->rc = hs_store_begin(s, &i->err);
	if (i->rc < 0)
		return;
	i->rc = free_stranded(i);
	if (i->rc == 0)
		i->rc = hs_store_job_begin(hs_store_db(s), room ? NULL : "delete", hs_now_ms(), &i->row, &detail, &i->err);
	bool none = i->rc == -ENOENT;
	if (none)
		i->rc = 0;
	if (i->rc == 0)
		i->rc = hs_store_commit(s, &i->err);
	else
		hs_store_rollback(s);
	if (i->rc < 0)
		return;
	i->stranded = false;
	if (none)
		return;
	i->taken = true;
	__atomic_store_n(&i->working, i->row.key, __ATOMIC_RELAXED);
	i->rc = open_submission(i, &detail);
	if (i->rc == 0 && i->manifest.operation == HS_MANIFEST_DELETE) {
		i->rc = delete_document(i);
		i->ended = i->rc == 0;
	}
	if (i->rc < 0) {
		(void)hs_fail_errno(&i->err, i->rc, "submission.open", i->row.id.s);
		i->rc = fail_job(i);
		i->ended = true;
	}
}

/* --- indexing, on the writer thread --- */

static int put_blob(struct hs_intake *i, const void *data, size_t n, struct hs_id *ret)
{
	struct hs_tenant *t = i->tenant;
	struct hs_blob_info info;
	struct hs_blob_row row = {.id = hs_id_new("blb_")};
	int rc = hs_blob_put(t->blobs, row.id.s, t->blob_key, t->key_generation, data, n, &info, &i->err);
	if (rc < 0)
		return rc;
	_Static_assert(sizeof info.wrapped <= sizeof row.wrapped && sizeof info.hash == sizeof row.hash, "one blob, two rooms");
	memcpy(row.wrapped, info.wrapped, sizeof info.wrapped);
	memcpy(row.hash, info.hash, sizeof info.hash);
	row.wrapped_len = sizeof info.wrapped;
	row.length = info.length;
	row.key_generation = info.key_generation;
	rc = hs_store_blob_add(t->store, &row, &i->err);
	if (rc < 0)
		hs_ignore(hs_blob_remove(t->blobs, row.id.s)); /* without its row nothing can open it anyway */
	else
		*ret = row.id;
	return rc;
}

static const char *choose_title(struct hs_intake *i, const struct hs_document *d, char *out, size_t cap)
{
	const struct hs_payload *p = &i->payload;
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

/* blobs: the files that were written, for the caller to remove where the transaction does not stand. */
static int put_document(struct hs_intake *i, const struct hs_document *d, const struct hs_chunks *chunks,
			struct hs_id *ret_document, struct hs_id blobs[static 2])
{
	struct hs_store *s = i->tenant->store;
	sqlite3 *db = hs_store_db(s);
	struct hs_id version, existing;
	uint8_t text_hash[HS_STORE_HASH_LEN];
	char title[HS_STORE_TITLE_MAX + 1];
	uint32_t class_id;
	(void)crypto_generichash(text_hash, sizeof text_hash, (const uint8_t *)d->text, d->len, NULL, 0); /* lengths are right */
	int rc = hs_class_intern(db, i->manifest.collection, i->manifest.level, i->manifest.access_list, &class_id, &i->err);
	if (rc == 0)
		rc = put_blob(i, i->extracted.data, i->extracted.len, &blobs[0]);
	if (rc == 0)
		rc = put_blob(i, i->payload.content, i->payload.content_len, &blobs[1]);
	if (rc < 0)
		return rc;
	bool known = hs_store_by_source(s, i->row.by, i->manifest.source, &existing, NULL) == 0;
	const struct hs_put put = {.document = known ? &existing : NULL, .class_id = class_id,
				   .title = choose_title(i, d, title, sizeof title), .sender = i->row.by, .source = i->manifest.source,
				   .submission = i->manifest.submission.s, .expires = i->manifest.document_expires, .now_ms = hs_now_ms(),
				   .content_mac = i->manifest.content_mac, .text_hash = text_hash, .canonical = &blobs[0],
				   .original = &blobs[1], .read = d, .chunks = chunks->items, .n_chunks = chunks->count};
	return hs_store_put(s, &put, ret_document, &version, &i->err);
}

/*
 * Was something newer accepted from the source meanwhile? Jobs that are tried again come late: what a sender deleted or
 * replaced must not come back.
 */
static int is_superseded(struct hs_intake *i, bool *ret)
{
	struct hs_id sender = {0};
	uint64_t newest;
	(void)snprintf(sender.s, sizeof sender.s, "%s", i->row.by); /* ids fit */
	int rc = hs_source_sequence(hs_store_db(i->tenant->store), &sender, i->manifest.source, strlen(i->manifest.source), &newest);
	if (rc == 0)
		*ret = newest > i->manifest.sequence;
	return rc;
}

/*
 * err is the extractor's word. The sender knows which document it was, and who lists jobs need not: "NAME: row 7" is kept as
 * "row 7".
 */
static void take_refusal(struct hs_intake *i)
{
	i->refused = true;
	char *object = i->err.object;
	size_t n = i->payload.name_len;
	if (n == 0 || strncmp(object, i->payload.name, n) != 0)
		return;
	n += strspn(object + n, ": ");
	memmove(object, object + n, strlen(object + n) + 1);
}

static int index_document(struct hs_intake *i)
{
	struct hs_store *s = i->tenant->store;
	struct hs_document d = {0};
	struct hs_chunks chunks = {0};
	struct hs_id document = {0}, blobs[2] = {0};
	char title[HS_STORE_TITLE_MAX + 1];
	int rc = hs_document_decode(i->extracted.data, i->extracted.len, &d, &i->err);
	if (rc < 0)
		take_refusal(i);
	if (rc == 0) {
		const struct hs_chunk_options options = {.title = choose_title(i, &d, title, sizeof title)};
		rc = hs_chunk(&d, &options, &chunks, &i->err);
	}
	if (rc == 0)
		rc = hs_tenant_room(i->tenant, ROOM_ORIGINAL * (uint64_t)i->payload.content_len + ROOM_TEXT * (uint64_t)d.len, &i->err);
	if (rc == 0)
		rc = hs_store_begin(s, &i->err);
	if (rc == 0) {
		bool superseded = false;
		rc = is_superseded(i, &superseded);
		if (rc == 0 && !superseded)
			rc = put_document(i, &d, &chunks, &document, blobs);
		if (rc == 0)
			rc = hs_store_job_done(hs_store_db(s), i->row.key, document.s, hs_now_ms(), &i->err);
		if (rc == 0)
			rc = hs_store_commit(s, &i->err);
		else
			hs_store_rollback(s);
		for (int k = 0; k < 2 && rc < 0; k++) {
			if (*blobs[k].s)
				hs_ignore(hs_blob_remove(i->tenant->blobs, blobs[k].s)); /* its key went with the row */
		}
	}
	hs_chunks_finish(&chunks);
	hs_document_finish(&d);
	return rc;
}

/* rc and err hold what extraction said; index where it went well, and end the job either way. */
static void run_finish(struct hs_job *job, void *context)
{
	struct hs_intake *i = HS_CONTAINER_OF(job, struct hs_intake, job);
	if (i->rc == 0)
		i->rc = index_document(i);
	if (i->rc < 0) {
		(void)hs_fail_errno(&i->err, i->rc, "job.index", i->row.id.s);
		i->rc = fail_job(i);
	}
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

static void forget_submission(struct hs_intake *i)
{
	__atomic_store_n(&i->working, 0, __ATOMIC_RELAXED);
	hs_buf_wipe(&i->plain);
	hs_buf_wipe(&i->extracted);
	memset(&i->payload, 0, sizeof i->payload);
	i->err = HS_ERR_INIT;
}

static void on_retry(uv_timer_t *timer)
{
	next(timer->data);
}

/* The writer is full or stopping, or what ended could not be written: the row waits on disk, and is looked at again. */
static void try_later(struct hs_intake *i)
{
	forget_submission(i);
	i->state = IDLE;
	i->kicked = false;
	(void)uv_timer_start(&i->retry, on_retry, RETRY_MS, 0); /* fails only on a closing handle */
}

static void rest(struct hs_intake *i)
{
	forget_submission(i);
	i->state = IDLE;
	if (i->kicked)
		next(i);
	else if (hs_intake_open(i) > 0)
		(void)uv_timer_start(&i->retry, on_retry, RETRY_MS, 0); /* cannot fail with a callback */
}

static void finished(struct hs_job *job)
{
	struct hs_intake *i = HS_CONTAINER_OF(job, struct hs_intake, job);
	if (i->rc < 0) { /* even the failure could not be written. Its object may be an extractor's words: not for a log */
		hs_log("intake: the end of %s could not be written: %s", i->row.id.s, strerror(-i->rc));
		i->stranded = true;
		try_later(i);
		return;
	}
	i->kicked = true;
	hs_embedder_kick(i->tenant->embedder);
	rest(i);
}

static void push(struct hs_intake *i, enum state state, void (*run)(struct hs_job *, void *), void (*done)(struct hs_job *))
{
	i->state = state;
	i->job = (struct hs_job){.run = run, .done = done};
	if (hs_worker_push(i->tenant->writer, &i->job) < 0) {
		i->stranded = i->stranded || state == FINISHING;
		try_later(i);
	}
}

static void extracted(void *ctx, int rc, struct hs_buf *out, const struct hs_err *err)
{
	struct hs_intake *i = ctx;
	i->rc = rc;
	if (rc < 0) {
		i->err = *err;
		take_refusal(i);
	} else {
		i->extracted = *out;
		*out = HS_BUF_INIT;
	}
	push(i, FINISHING, run_finish, finished);
}

static void begun(struct hs_job *job)
{
	struct hs_intake *i = HS_CONTAINER_OF(job, struct hs_intake, job);
	if (i->rc < 0) {
		hs_log("intake: no job could be begun or ended: %s", strerror(-i->rc));
		i->stranded = i->stranded || i->taken;
		try_later(i);
		return;
	}
	if (!i->taken) {
		rest(i);
		return;
	}
	if (i->ended) {
		i->kicked = true;
		rest(i);
		return;
	}
	const struct hs_payload *p = &i->payload;
	i->state = EXTRACTING;
	int rc = hs_extract(i->tenant->extract, p->content, p->content_len, (struct hs_slice){p->name, p->name_len},
			    (struct hs_slice){p->media, p->media_len}, extracted, i, &i->err);
	if (rc < 0) {
		i->rc = rc;
		push(i, FINISHING, run_finish, finished);
	}
}

static void next(struct hs_intake *i)
{
	if (i->state != IDLE) {
		i->kicked = true;
		return;
	}
	i->kicked = false;
	(void)uv_timer_stop(&i->retry); /* cannot fail */
	push(i, BEGINNING, run_begin, begun);
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
	return __atomic_load_n(&i->working, __ATOMIC_RELAXED) == key;
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
		forget_submission(i);
		free(i);
	}
}

void hs_intake_destroy(struct hs_intake *i)
{
	if (!i)
		return;
	uv_close((uv_handle_t *)&i->kick_signal, on_closed);
	uv_close((uv_handle_t *)&i->retry, on_closed);
}
