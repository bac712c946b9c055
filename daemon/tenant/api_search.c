/* POST /v1/search: {"query", "mode", "k"} to passages, best first. */
#include <errno.h>
#include <string.h>

#include "base/utf8.h"
#include "daemon/tenant/api.h"
#include "daemon/tenant/retrieve.h"

#define K_DEFAULT 10

struct search {
	struct hs_retrieval retrieval; /* first: retrieve.c finds it by the exchange's handler state */
};

static bool mode_by_name(const char *name, enum hs_search_mode *ret)
{
	static const struct {
		const char *name;
		enum hs_search_mode mode;
	} modes[] = {
		{"lexical", HS_SEARCH_LEXICAL}, {"vector", HS_SEARCH_VECTOR}, {"hybrid", HS_SEARCH_HYBRID}, {"phrase", HS_SEARCH_PHRASE},
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(modes); i++) {
		if (strcmp(name, modes[i].name) == 0) {
			*ret = modes[i].mode;
			return true;
		}
	}
	return false;
}

static json_t *hit_json(const struct hs_hit *hit)
{
	return json_pack("{s:s, s:s, s:i, s:i, s:i, s:s, s:s, s:s%}", "document", hit->document.s, "version", hit->version.s, "start",
			 (int)hit->start, "end", (int)hit->end, "page", (int)hit->page, "title", hit->title, "context", hit->context,
			 "text", hit->text, hit->text_len);
}

static int reply_hits(struct hs_exchange *x, const struct hs_results *results, bool reranked)
{
	json_t *list = json_array();
	struct hs_audit_chunk *chunks = hs_arena_calloc(x->arena, results->count, sizeof *chunks);
	if (!list || !chunks) {
		json_decref(list);
		return -ENOMEM;
	}
	for (size_t i = 0; i < results->count; i++) {
		const struct hs_hit *hit = &results->hits[i];
		if (json_array_append_new(list, hit_json(hit)) < 0) {
			json_decref(list);
			return -ENOMEM;
		}
		(void)snprintf(chunks[i].version, sizeof chunks[i].version, "%s", hit->version.s); /* ids fit */
		chunks[i].start = hit->start;
		chunks[i].end = hit->end;
	}
	x->entry.chunks = chunks;
	x->entry.n_chunks = results->count;
	return hs_exchange_reply(x, json_pack("{s:o, s:b, s:b}", "data", list, "vectors_used", (int)results->vectors_used,
					     "reranked", (int)reranked));
}

static int run_audit(struct hs_exchange *x, struct hs_read_context *c)
{
	return hs_exchange_record(x, c, NULL);
}

static void finish(struct search *s)
{
	struct hs_exchange *x = s->retrieval.x;
	hs_retrieval_finish(&s->retrieval);
	x->handler_state = NULL;
	x->on_gone = NULL;
	free(s);
}

static void found(struct hs_retrieval *r, int rc)
{
	struct search *s = HS_CONTAINER_OF(r, struct search, retrieval);
	struct hs_exchange *x = r->x;
	if (rc == 0) {
		hs_exchange_audit(x, "search", "", HS_AUDIT_ALLOWED);
		x->entry.query = r->text;
		x->entry.query_len = strlen(r->text);
		x->entry.keep_query = x->tenant->keep_queries;
		rc = reply_hits(x, &r->results, r->reranked);
	}
	finish(s);
	if (rc == 0)
		rc = hs_exchange_on_recorder(x, run_audit, hs_exchange_answer);
	if (rc < 0)
		hs_exchange_answer(x, rc);
	hs_exchange_release(x);
}

static void gone(struct hs_exchange *x)
{
	struct search *s = x->handler_state;
	if (!s || x->busy)
		return; /* the job on the reader ends by itself */
	finish(s);
	hs_exchange_release(x);
}

int hs_api_search(struct hs_exchange *x)
{
	json_t *body;
	int rc = hs_exchange_json(x, &body);
	if (rc < 0)
		return rc;
	const char *query = json_string_value(json_object_get(body, "query"));
	const char *mode = json_string_value(json_object_get(body, "mode"));
	const json_t *k = json_object_get(body, "k");
	enum hs_search_mode parsed = HS_SEARCH_HYBRID;
	json_int_t n = k ? json_integer_value(k) : K_DEFAULT;
	const char *text = query ? hs_arena_strndup(x->arena, query, strlen(query)) : NULL;
	bool mode_known = !json_object_get(body, "mode") || (mode && mode_by_name(mode, &parsed));
	json_decref(body);
	if (!text || !*text || strlen(text) > HS_SEARCH_TEXT_MAX)
		return hs_fail(&x->err, EINVAL, "search.text", HS_N_("Give the question as \"query\", up to 8,192 bytes."), "query");
	if (!mode_known)
		return hs_fail(&x->err, EINVAL, "search.mode", HS_N_("The modes are lexical, vector, hybrid and phrase."), "mode");
	if (n < 1 || n > HS_SEARCH_K_MAX)
		return hs_fail(&x->err, EINVAL, "search.k", HS_N_("Ask for 1 to 200 passages."), "k");
	struct search *s = calloc(1, sizeof *s);
	if (!s)
		return -ENOMEM;
	s->retrieval = (struct hs_retrieval){.x = x, .text = text, .mode = parsed, .k = (uint32_t)n, .done = found};
	x->handler_state = s;
	x->on_gone = gone;
	hs_exchange_hold(x);
	rc = hs_retrieve(&s->retrieval);
	if (rc < 0) {
		finish(s);
		hs_exchange_release(x);
	}
	return rc;
}
