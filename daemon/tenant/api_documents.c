/* Documents: filing, listing, opening at a cited place; jobs and progress. */
#include <errno.h>
#include <string.h>

#include "base/translate.h"
#include "base/utf8.h"
#include "crypto/blob.h"
#include "daemon/tenant/api.h"
#include "daemon/tenant/intake.h"
#include "policy/classes.h"
#include "retrieval/jobs.h"
#include "text/document.h"

#define LIST_MAX 1000
#define LIST_DEFAULT 100

/* How much of a document is shown around a citation to one who may ask and not download, in bytes on each side. */
#define CITED_AROUND 600
#define CITED_MAX 16384 /* bytes of a range that they may name: no citation is longer, and a whole document is a download */

int hs_api_submit(struct hs_exchange *x, struct hs_write_context *c)
{
	struct hs_id job, sender;
	bool known = false;
	int rc = hs_intake_admit(x->tenant->intake, x->body.data, x->body.len, &job, &sender, &known, &x->err);
	if (known)
		return hs_exchange_reply(x, json_pack("{s:b}", "known", 1));
	if (rc < 0)
		return rc;
	const char *id = hs_arena_strndup(x->arena, job.s, HS_ID_LEN);
	if (!id)
		return -ENOMEM;
	hs_exchange_audit(x, "document.submit", id, HS_AUDIT_ALLOWED);
	x->entry.detail = hs_arena_strndup(x->arena, sender.s, HS_ID_LEN);
	hs_intake_kick(x->tenant->intake); /* it begins after this transaction: the writer is one thread */
	x->status = 202;
	return hs_exchange_reply(x, json_pack("{s:s, s:b}", "job", id, "known", 0));
}

struct list {
	struct hs_exchange *x;
	sqlite3 *db;
	json_t *rows;
};

static int list_row(void *ctx, const struct hs_document_row *row)
{
	struct list *l = ctx;
	struct hs_class class;
	int rc = hs_class_get(l->db, row->class_id, &class);
	if (rc < 0)
		return rc;
	json_t *j = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:i, s:b}", "id", row->document.s, "version",
			      row->version.s, "title", row->title, "collection", class.collection, "level", class.level, "list", class.list,
			      "format", row->format, "created", (json_int_t)row->created, "updated", (json_int_t)row->updated, "expires",
			      (json_int_t)row->expires, "length", (json_int_t)row->length, "pages", (int)row->n_pages, "download",
			      hs_grant_allows(l->x->grant, row->class_id, HS_RIGHT_DOWNLOAD));
	return json_array_append_new(l->rows, j) < 0 ? -ENOMEM : 0;
}

static int take_limit(struct hs_exchange *x, size_t *ret)
{
	const char *text = hs_exchange_query(x, "limit");
	unsigned long limit = text ? strtoul(text, NULL, 10) : LIST_DEFAULT;
	if (limit < 1 || limit > LIST_MAX)
		return hs_fail(&x->err, EINVAL, "request.parameter", HS_N_("The value is of the wrong type or out of range."), "limit");
	*ret = limit;
	return 0;
}

int hs_api_documents(struct hs_exchange *x, struct hs_read_context *c)
{
	const char *after = hs_exchange_query(x, "after");
	size_t limit;
	int rc = take_limit(x, &limit);
	if (rc < 0)
		return rc;
	struct list l = {x, hs_reader_db(c->reader), json_array()};
	rc = hs_store_list(c->reader, x->grant, hs_tenant_now(x->tenant), after ? after : "", limit, list_row, &l, &x->err);
	if (rc < 0) {
		json_decref(l.rows);
		return rc;
	}
	return hs_exchange_reply(x, json_pack("{s:o}", "data", l.rows));
}

static int open_blob_row(struct hs_exchange *x, struct hs_reader *reader, const struct hs_blob_row *row, size_t max,
			 struct hs_buf *out)
{
	struct hs_tenant *t = x->tenant;
	struct hs_blob_info info = {.length = row->length, .key_generation = row->key_generation};
	if (row->wrapped_len != sizeof info.wrapped)
		return hs_fail(&x->err, EBADMSG, "blob.damaged", "", "%s", row->id.s);
	memcpy(info.wrapped, row->wrapped, sizeof info.wrapped);
	memcpy(info.hash, row->hash, sizeof info.hash);
	if (!row->inside)
		return hs_blob_get(t->blobs, row->id.s, t->blob_key, &info, max, out, &x->err);
	HS_BUF_AUTO sealed = HS_BUF_INIT;
	int rc = hs_store_blob_bytes(reader, &row->id, &sealed, &x->err);
	return rc < 0 ? rc : hs_blob_unseal(row->id.s, t->blob_key, &info, sealed.data, sealed.len, max, out, &x->err);
}

static bool take_offset(const char *text, uint32_t *ret)
{
	char *end;
	errno = 0;
	unsigned long v = strtoul(text, &end, 10);
	if (errno || *end || end == text || v > UINT32_MAX)
		return false;
	*ret = (uint32_t)v;
	return true;
}

/* The cited range with what stands around it: whole for who may download, a window for who may only ask. */
static int reply_source(struct hs_exchange *x, const struct hs_version_row *row, const struct hs_document *d, uint32_t start,
			uint32_t end, bool whole)
{
	size_t from = whole ? 0 : start > CITED_AROUND ? hs_utf8_cut(d->text, start - CITED_AROUND) : 0;
	size_t to = whole || d->len - end <= CITED_AROUND ? d->len : hs_utf8_cut(d->text, end + CITED_AROUND);
	uint32_t page = 0;
	for (size_t i = 0; i < d->n_blocks && d->blocks[i].start <= start; i++)
		page = d->blocks[i].page;
	return hs_exchange_reply(x, json_pack("{s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:i, s:s%, s:b}", "document",
					      row->document.s, "version", row->version.s, "title", row->title, "format",
					      row->format, "present", row->present, "start", (json_int_t)start, "end",
					      (json_int_t)end, "text_start", (json_int_t)from, "length", (json_int_t)d->len,
					      "page", (int)page, "text", d->text + from, to - from, "whole", whole));
}

int hs_api_source(struct hs_exchange *x, struct hs_read_context *c)
{
	const char *version = hs_exchange_query(x, "version");
	const char *start_text = hs_exchange_query(x, "start"), *end_text = hs_exchange_query(x, "end");
	bool original = hs_exchange_query(x, "original") != NULL;
	struct hs_version_row *row = hs_arena_alloc(x->arena, sizeof *row);
	uint32_t start = 0, end = 0;
	if (!row)
		return -ENOMEM;
	if ((start_text && !take_offset(start_text, &start)) || (end_text && !take_offset(end_text, &end)))
		return hs_fail(&x->err, EINVAL, "request.parameter", HS_N_("The value is of the wrong type or out of range."), "start, end");
	bool ranged = start_text && end_text;
	int rc = hs_store_version(c->reader, x->grant, ranged && !original ? HS_RIGHT_ASK : HS_RIGHT_DOWNLOAD,
				  hs_tenant_now(x->tenant), version ? version : x->params[0], row, &x->err);
	if (rc == 0 && strcmp(row->document.s, x->params[0]) != 0)
		rc = hs_fail(&x->err, ENOENT, "doc.unknown", HS_N_("There is no such document."), "%.64s", x->params[0]);
	if (rc < 0)
		return rc;
	hs_exchange_audit(x, original ? "document.download" : "document.read", hs_arena_strndup(x->arena, row->version.s, HS_ID_LEN),
			  HS_AUDIT_ALLOWED);
	if (original) {
		x->reply_type = "application/octet-stream";
		return open_blob_row(x, c->reader, &row->original, SIZE_MAX / 4, &x->reply);
	}
	HS_CLEANUP(hs_buf_wipe) struct hs_buf encoded = HS_BUF_INIT;
	rc = open_blob_row(x, c->reader, &row->canonical, SIZE_MAX / 4, &encoded);
	if (rc < 0)
		return rc;
	struct hs_document d = {0};
	rc = hs_document_decode(encoded.data, encoded.len, &d, &x->err);
	if (rc == 0 && ranged && (start >= end || end > d.len || hs_utf8_cut(d.text, start) != start || hs_utf8_cut(d.text, end) != end))
		rc = hs_fail(&x->err, EINVAL, "doc.range", HS_N_("The range is not one of this version's text."), "%u-%u", start, end);
	bool whole = hs_grant_allows(x->grant, row->class_id, HS_RIGHT_DOWNLOAD);
	if (rc == 0 && !whole && end - start > CITED_MAX)
		rc = hs_fail(&x->err, EINVAL, "doc.range", HS_N_("The range is longer than a citation."), "%u-%u", start, end);
	if (rc == 0) {
		rc = reply_source(x, row, &d, start, ranged ? end : (uint32_t)d.len, whole);
	}
	hs_document_finish(&d);
	return rc;
}

static const char *state_name(enum hs_store_job_state state)
{
	static const char *const names[] = {"waiting", "running", "done", "failed"};
	return (size_t)state < HS_ARRAY_LEN(names) ? names[state] : "failed";
}

static json_t *error_json(const struct hs_store_job *job, bool with_object, bool japanese)
{
	const char *hint = hs_translate(hs_intake_hint(job->error_code), japanese);
	return with_object ? json_pack("{s:s, s:s, s:s}", "code", job->error_code, "object", job->error_object, "hint", hint)
			   : json_pack("{s:s, s:s}", "code", job->error_code, "hint", hint);
}

static json_t *job_json(const struct hs_store_job *job)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "id", job->id.s, "kind", job->kind, "state", state_name(job->state),
			 "sender", job->by, "source", job->source, "document", job->document, "created", (json_int_t)job->created,
			 "updated", (json_int_t)job->updated);
}

int hs_api_job(struct hs_exchange *x, struct hs_read_context *c)
{
	struct hs_store_job job;
	int rc = hs_store_job_get(hs_reader_db(c->reader), x->params[0], NULL, &job, &x->err);
	if (rc < 0)
		return rc;
	if (job.state == HS_STORE_JOB_DONE && hs_intake_works_on(x->tenant->intake, job.key))
		job.state = HS_STORE_JOB_RUNNING;
	json_t *j = job_json(&job);
	if (j && *job.error_code && json_object_set_new(j, "error", error_json(&job, true, x->japanese)) < 0) {
		json_decref(j);
		j = NULL;
	}
	return hs_exchange_reply(x, j);
}

int hs_api_job_dismiss(struct hs_exchange *x, struct hs_write_context *c)
{
	int rc = hs_store_job_dismiss(hs_store_db(x->tenant->store), x->params[0], &x->err);
	if (rc < 0)
		return rc;
	hs_intake_kick(x->tenant->intake); /* which counts anew */
	hs_exchange_audit(x, "job.dismiss", x->params[0], HS_AUDIT_ALLOWED);
	return hs_exchange_reply(x, json_pack("{s:s, s:b}", "id", x->params[0], "dismissed", 1));
}

struct failed_rows {
	json_t *rows;
	bool japanese;
};

static int failed_row(void *ctx, const struct hs_store_job *job)
{
	struct failed_rows *f = ctx;
	json_t *j = job_json(job);
	if (j && json_object_set_new(j, "error", error_json(job, false, f->japanese)) < 0) {
		json_decref(j);
		j = NULL;
	}
	return json_array_append_new(f->rows, j) < 0 ? -ENOMEM : 0; /* refuses NULL as well */
}

/* The jobs that failed. What their error was about is told to who asks for one by its id: the list tells codes. */
int hs_api_jobs(struct hs_exchange *x, struct hs_read_context *c)
{
	const char *after = hs_exchange_query(x, "after");
	size_t limit;
	int rc = take_limit(x, &limit);
	if (rc < 0)
		return rc;
	json_t *rows = json_array();
	struct failed_rows f = {rows, x->japanese};
	rc = rows ? hs_store_jobs_failed(hs_reader_db(c->reader), after ? after : "", limit, failed_row, &f, &x->err) : -ENOMEM;
	if (rc < 0) {
		json_decref(rows);
		return rc;
	}
	return hs_exchange_reply(x, json_pack("{s:o}", "data", rows));
}

int hs_api_progress(struct hs_exchange *x, struct hs_read_context *c)
{
	uint64_t open, failed;
	struct hs_store_progress p;
	int rc = hs_store_job_counts(hs_reader_db(c->reader), &open, &failed, &x->err);
	if (rc < 0)
		return rc;
	hs_store_progress(x->tenant->store, &p);
	return hs_exchange_reply(x, json_pack("{s:I, s:I, s:I, s:I, s:I}", "waiting", (json_int_t)open, "failed", (json_int_t)failed,
					      "documents", (json_int_t)p.documents, "chunks", (json_int_t)p.chunks, "vectors",
					      (json_int_t)p.vectors));
}
