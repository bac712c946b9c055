/* Policy, explanations, the audit log, status: for those who administer and do not read documents. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/clock.h"
#include "daemon/tenant/api.h"
#include "policy/classes.h"
#include "policy/rules.h"

#define AUDIT_ROWS_MAX 10000 /* the newest, in one answer */
#define DOCUMENT_ROWS_MAX 1000

int hs_api_policy(struct hs_exchange *x, struct hs_read_context *c)
{
	x->reply_type = "application/yaml; charset=utf-8";
	int rc = hs_policy_get(hs_reader_db(c->reader), 0, &x->reply);
	return rc == -ENOENT ? hs_fail(&x->err, ENOENT, "policy.none",
				       HS_N_("No policy was applied yet. Run: hisho policy apply FILE"), "%s", x->tenant->name)
			     : rc;
}

int hs_api_policy_apply(struct hs_exchange *x, struct hs_write_context *c)
{
	const char *dry = hs_exchange_query(x, "dry_run");
	bool dry_run = dry && strcmp(dry, "1") == 0;
	struct hs_policy_change change;
	HS_BUF_AUTO diff = HS_BUF_INIT;
	int rc = hs_policy_apply(hs_store_db(x->tenant->store), (const char *)x->body.data, x->body.len, x->who.user,
				 hs_tenant_now(x->tenant), dry_run, &change, &diff, &x->err);
	if (rc < 0)
		return rc;
	char *hash = hs_arena_alloc(x->arena, 2 * HS_POLICY_HASH_LEN + 1);
	if (!hash || !hs_buf_cstr(&diff))
		return -ENOMEM;
	sodium_bin2hex(hash, 2 * HS_POLICY_HASH_LEN + 1, change.hash, HS_POLICY_HASH_LEN);
	hs_exchange_audit(x, dry_run ? "policy.check" : "policy.apply", "", HS_AUDIT_ALLOWED);
	x->entry.detail = hash;
	return hs_exchange_reply(x, json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s}", "changed", change.changed, "epoch",
					      (json_int_t)change.epoch, "version", (json_int_t)change.version, "added",
					      (json_int_t)change.added, "changed_rows", (json_int_t)change.changed_rows, "removed",
					      (json_int_t)change.removed, "orphans", (json_int_t)change.orphans, "hash", hash, "diff",
					      hs_buf_cstr(&diff)));
}

static const char *why_name(enum hs_explain_why why)
{
	static const char *const names[] = {"no_rule", "allowed", "denied", "not_on_list", "undeclared", "suspended", "admin"};
	return (size_t)why < HS_ARRAY_LEN(names) ? names[why] : "no_rule";
}

static void explained_rule(void *ctx, const struct hs_explained_rule *rule)
{
	json_t **rules = ctx;
	if (!*rules)
		return;
	json_t *row = json_pack("{s:s, s:b, s:b, s:b, s:b, s:b, s:b, s:b}", "id", rule->id, "deny", rule->deny, "ask",
				!!(rule->rights & 1u << HS_RIGHT_ASK), "download", !!(rule->rights & 1u << HS_RIGHT_DOWNLOAD), "matches",
				rule->matches, "expired", rule->expired, "who", rule->who, "where", rule->where);
	if (json_array_append_new(*rules, row) < 0) {
		json_decref(*rules);
		*rules = NULL; /* out of memory: the reply is refused whole */
	}
}

int hs_api_explain(struct hs_exchange *x, struct hs_read_context *c)
{
	const char *user = hs_exchange_query(x, "user"), *document = hs_exchange_query(x, "doc");
	if (!user || !document)
		return hs_fail(&x->err, EINVAL, "request.parameter", HS_N_("Name a user and a document."), "user, doc");
	sqlite3 *db = hs_reader_db(c->reader);
	struct hs_document_row row;
	struct hs_class class;
	int rc = hs_store_admin_find(c->reader, document, &row, &x->err);
	if (rc == 0)
		rc = hs_class_get(db, row.class_id, &class);
	if (rc < 0)
		return rc;
	json_t *rules = json_array();
	struct hs_explanation why;
	rc = hs_policy_explain(db, user, row.class_id, hs_tenant_now(x->tenant), explained_rule, &rules, &why, &x->err);
	if (rc < 0) {
		json_decref(rules);
		return rc;
	}
	const char *object = hs_arena_strndup(x->arena, row.document.s, HS_ID_LEN);
	const char *about = hs_arena_strndup(x->arena, user, strlen(user));
	if (!object || !about || !rules) {
		json_decref(rules);
		return -ENOMEM;
	}
	hs_exchange_audit(x, "policy.explain", object, HS_AUDIT_ALLOWED);
	x->entry.detail = about;
	return hs_exchange_reply(x, json_pack("{s:s, s:s, s:{s:s, s:s, s:s}, s:b, s:s, s:b, s:s, s:o}", "user", user, "document",
					      row.document.s, "class", "collection", class.collection, "level", class.level, "list",
					      class.list, "ask", why.ask, "ask_why", why_name(why.ask_why), "download", why.download,
					      "download_why", why_name(why.download_why), "rules", rules));
}

struct rows {
	json_t *list;
	size_t left;
};

static int append_row(struct rows *rows, json_t *row)
{
	if (rows->left == 0) {
		json_decref(row);
		return 1;
	}
	rows->left--;
	return json_array_append_new(rows->list, row) < 0 ? -ENOMEM : 0;
}

static int document_row(void *ctx, const struct hs_document_row *row)
{
	return append_row(ctx, json_pack("{s:s, s:s, s:i, s:s, s:I, s:I}", "id", row->document.s, "version", row->version.s, "class",
					 (int)row->class_id, "format", row->format, "updated", (json_int_t)row->updated, "length",
					 (json_int_t)row->length));
}

int hs_api_admin_documents(struct hs_exchange *x, struct hs_read_context *c)
{
	const char *after = hs_exchange_query(x, "after");
	struct rows rows = {json_array(), DOCUMENT_ROWS_MAX};
	int rc = hs_store_admin_list(c->reader, after ? after : "", DOCUMENT_ROWS_MAX, document_row, &rows, &x->err);
	if (rc < 0) {
		json_decref(rows.list);
		return rc;
	}
	return hs_exchange_reply(x, json_pack("{s:o}", "data", rows.list));
}

static const char *decision_name(enum hs_audit_decision decision)
{
	static const char *const names[] = {"denied", "allowed", "failed", "noted"};
	return (size_t)decision < HS_ARRAY_LEN(names) ? names[decision] : "denied";
}

struct newest { /* the log is read from its beginning, and its last records are wanted */
	json_t **ring; /* limit of them */
	size_t limit;
	uint64_t n; /* that passed */
};

/* In order, consumed. NULL: out of memory. */
static json_t *take_newest(struct newest *newest)
{
	json_t *list = json_array();
	for (size_t i = 0; i < newest->limit; i++) {
		json_t **row = &newest->ring[(newest->n + i) % newest->limit]; /* the next to be written over is the oldest */
		if (*row && json_array_append_new(list, *row) < 0) {
			json_decref(list);
			list = NULL; /* which takes no more; they are freed by being given to it */
		}
		*row = NULL;
	}
	return list;
}

static int audit_row(void *ctx, const struct hs_audit_shown *a)
{
	char time[HS_TIME_TEXT_LEN + 1];
	hs_time_format(a->time, time);
	json_t *chunks = json_array();
	for (size_t i = 0; chunks && i < a->n_chunks; i++) {
		if (json_array_append_new(chunks, json_pack("{s:s, s:i, s:i}", "version", a->chunks[i].version, "start",
							    (int)a->chunks[i].start, "end", (int)a->chunks[i].end)) < 0) {
			json_decref(chunks);
			return -ENOMEM;
		}
	}
	json_t *row = json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:s, s:o}", "seq", (json_int_t)a->seq, "time", time,
				"principal", a->principal, "action", a->action, "object", a->object, "decision",
				decision_name(a->decision), "about", (json_int_t)a->about, "reason", a->reason, "request", a->request,
				"detail", a->detail, "chunks", chunks);
	char hex[2 * HS_AUDIT_HMAC_LEN + 1];
	if (row && a->query)
		(void)json_object_set_new(row, "query", json_stringn(a->query, a->query_len)); /* a lost text is still in the log */
	if (row && a->query_hmac)
		(void)json_object_set_new(row, "query_hmac",
					  json_string(sodium_bin2hex(hex, sizeof hex, a->query_hmac, HS_AUDIT_HMAC_LEN)));
	if (row && a->answer_hash)
		(void)json_object_set_new(row, "answer_hash",
					  json_string(sodium_bin2hex(hex, sizeof hex, a->answer_hash, HS_AUDIT_CHAIN_LEN)));
	if (!row)
		return -ENOMEM;
	struct newest *newest = ctx;
	json_decref(newest->ring[newest->n % newest->limit]);
	newest->ring[newest->n++ % newest->limit] = row;
	return 0;
}

int hs_api_audit(struct hs_exchange *x, struct hs_read_context *c)
{
	const char *since = hs_exchange_query(x, "since"), *until = hs_exchange_query(x, "until");
	struct hs_audit_filter filter = {.principal = hs_exchange_query(x, "principal"), .action = hs_exchange_query(x, "action")};
	if ((since && !hs_time_parse(since, strlen(since), &filter.since)) ||
	    (until && !hs_time_parse(until, strlen(until), &filter.until)))
		return hs_fail(&x->err, EINVAL, "request.parameter", HS_N_("Give times as 2026-04-01 or 2026-04-01T09:00:00+09:00."),
			       "since, until");
	const char *text = hs_exchange_query(x, "limit");
	unsigned long limit = text ? strtoul(text, NULL, 10) : AUDIT_ROWS_MAX;
	if (limit < 1 || limit > AUDIT_ROWS_MAX)
		return hs_fail(&x->err, EINVAL, "request.parameter", HS_N_("The value is of the wrong type or out of range."), "limit");
	struct newest newest = {calloc(limit, sizeof(json_t *)), limit, 0};
	if (!newest.ring)
		return -ENOMEM;
	int rc = hs_audit_each(x->tenant->dir, HS_TENANT_AUDIT, x->tenant->audit_key->bytes, &filter, audit_row, &newest, &x->err);
	json_t *list = take_newest(&newest);
	free(newest.ring);
	if (rc < 0 || !list) {
		json_decref(list);
		return rc < 0 ? rc : -ENOMEM;
	}
	hs_exchange_audit(x, "audit.show", "", HS_AUDIT_ALLOWED);
	return hs_exchange_reply(x, json_pack("{s:o, s:b}", "data", list, "truncated", newest.n > limit));
}

/* On the loop: what models there are belongs to it. */
/* A word of who sets this host's clock, and of nobody else: it may make valid again what had expired. */
int hs_api_clock_set(struct hs_exchange *x, struct hs_write_context *c)
{
	if (x->who.kind != HS_CREDENTIAL_PEER)
		return hs_fail(&x->err, EPERM, "auth.scope", HS_N_("This credential does not permit that."), "%s", x->path);
	int64_t host = hs_now_ms(), judged = hs_audit_now(x->tenant->audit, host);
	char *from = hs_arena_alloc(x->arena, HS_TIME_TEXT_LEN + 1);
	if (!from)
		return -ENOMEM;
	hs_time_format(judged, from);
	hs_exchange_audit(x, "clock.set", "", HS_AUDIT_ALLOWED);
	x->entry.detail = from;
	x->entry.sets_clock = true;
	return hs_exchange_reply(x, json_pack("{s:I, s:I}", "from", (json_int_t)judged, "to", (json_int_t)host));
}

int hs_api_status(struct hs_exchange *x)
{
	int rc = hs_exchange_reply(x, hs_tenant_status(x->tenant));
	if (rc == 0)
		hs_exchange_answer(x, 0);
	return rc;
}
