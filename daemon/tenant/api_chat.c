/*
 * POST /v1/chat/completions: evidence first, then sentence by sentence.
 *
 *   RETRIEVING --(nothing to go by)--------------------------------------------.
 *       |                                                                      |
 *       |--(a model)--> ASKED --KEPT--> RECORDING --GO--> GENERATING --DONE--> CLOSING --> ended
 *       |                                   ^   |            |  ^                 ^
 *       '--(no model)-----------------------'   |            v  | one sentence    |
 *                                               '--(quotes)--checked, released ---'
 *
 * RECORDING writes the audit record of exactly the passages that the prompt holds; only then is anything shown. CLOSING
 * records the hash of what was released. Where the request names a conversation (chat_kept.c), RETRIEVING begins with its
 * last question, and CLOSING keeps question and answer in one transaction with its record: the writer may be busy for long,
 * and nothing that is shown before the end waits for it. Whatever state it is in, a client that goes away ends it: infer is
 * cancelled at once, and the closing record says so. The work on threads runs as jobs of the exchange, one at a time.
 */
#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "base/clock.h"
#include "daemon/child.h"
#include "daemon/tenant/answer.h"
#include "daemon/tenant/api.h"
#include "daemon/tenant/chat_events.h"
#include "daemon/tenant/chat_kept.h"
#include "daemon/tenant/infer_client.h"
#include "daemon/tenant/prompt.h"
#include "daemon/tenant/retrieve.h"

#define PASSAGES_SOUGHT 8
/* The evidence was chosen to fit already: a token a character and room for titles and instructions is enough for all of it. */
#define PROMPT_TOKENS_BESIDE 500
#define ANSWER_DEADLINE_MS (5 * 60 * 1000LL)
#define KEEP_ALIVE_MS 10000

enum state { RETRIEVING, ASKED, RECORDING, GENERATING, CLOSING };

struct chat {
	struct hs_retrieval retrieval; /* first: retrieve.c finds it by the exchange's handler state */
	struct hs_exchange *x;
	struct hs_exchange **place; /* in the tenant's chats */
	enum state state;
	struct hs_chat_request request;
	struct hs_id id;
	int64_t created;
	const char *model; /* in the arena */
	struct hs_kept kept; /* in what conversation, if any */
	bool no_room;        /* and yet it is not kept: the disk is nearly full */

	struct hs_answer answer;
	struct hs_buf arrived; /* text that came while a sentence is checked: the reader thread has the answer then */
	struct hs_msg_generate *prompt; /* in the arena */
	uint64_t generation;            /* infer's request; 0: none runs */
	bool generated;                 /* infer has nothing more to say */
	struct hs_msg_done counts;
	uint64_t taken;                 /* tokens of the tenant's limits */
	int64_t taken_day;
	uint64_t recorded;              /* seq of the question's audit record */
	uint8_t hash[HS_AUDIT_CHAIN_LEN]; /* of what was released, when it ended */

	struct hs_verdict verdict; /* of the sentence that is being checked */
	struct hs_err failed;      /* what ended it before its end */
	const char *why;           /* in its closing record; NULL: it ended well */
	int64_t deadline;
	uv_timer_t *tick;
	struct hs_buf out;
};

static struct chat *chat_of(struct hs_exchange *x)
{
	return HS_CONTAINER_OF((struct hs_retrieval *)x->handler_state, struct chat, retrieval);
}

static bool is_kept(const struct chat *c)
{
	return *c->kept.conversation.s && !c->no_room;
}

static struct hs_chat_head head_of(const struct chat *c)
{
	bool kept = is_kept(c);
	return (struct hs_chat_head){.id = c->id.s, .model = c->model, .created_ms = c->created,
				     .conversation = kept ? c->kept.conversation.s : NULL, .message = kept ? c->kept.answer.s : NULL,
				     .reranked = c->retrieval.reranked};
}

static void advance(struct chat *c);

static void close_timer(uv_handle_t *handle)
{
	free(handle);
}

static void free_chat(struct chat *c)
{
	struct hs_exchange *x = c->x;
	if (c->tick)
		uv_close((uv_handle_t *)c->tick, close_timer);
	hs_retrieval_finish(&c->retrieval);
	hs_chat_request_finish(&c->request);
	hs_answer_finish(&c->answer);
	hs_buf_wipe(&c->arrived);
	hs_buf_wipe(&c->out);
	x->handler_state = NULL;
	x->on_gone = NULL;
	*c->place = NULL;
	free(c);
	hs_exchange_release(x);
}

/* Send what is in c->out as a piece of the stream. */
static void flush_events(struct chat *c, int rc, bool last)
{
	struct hs_exchange *x = c->x;
	if (rc < 0) /* out of memory in the middle of a stream: the connection ends without its last event */
		hs_buf_wipe(&c->out);
	if (!x->ended)
		hs_exchange_content(x, c->out.data, c->out.len, last);
	hs_buf_wipe(&c->out);
}

/* --- the end --- */

static void count(struct hs_tenant_counts *n, const struct chat *c)
{
	n->questions++;
	n->failed += c->failed.num != 0;
	n->not_found += !c->failed.num && c->answer.outcome == HS_OUTCOME_NOT_FOUND;
	n->prompt_tokens += c->counts.prompt_tokens;
	n->answer_tokens += c->counts.answer_tokens;
}

static void finish_answer(struct chat *c)
{
	struct hs_exchange *x = c->x;
	const struct hs_answer *a = &c->answer;
	count(&x->tenant->counts, c);
	struct hs_chat_head head = head_of(c);
	head.refuses = a->json && a->outcome == HS_OUTCOME_NOT_FOUND;
	const struct hs_chat_usage usage = {c->counts.prompt_tokens, c->counts.answer_tokens};
	const char *reason = c->counts.reason == HS_DONE_LENGTH ? "length" : "stop";
	int rc = 0;
	if (c->failed.num) {
		if (!x->begun) {
			x->err = c->failed;
			hs_exchange_answer(x, -c->failed.num);
		} else {
			rc = hs_chat_event_error(&c->out, &c->failed, c->x->japanese);
			flush_events(c, rc, true);
		}
	} else if (c->request.stream) {
		if (a->outcome == HS_OUTCOME_NOT_FOUND)
			rc = hs_chat_event_sentence(&c->out, &head, hs_not_found_text, NULL, 0);
		if (rc == 0)
			rc = hs_chat_event_end(&c->out, &head, a->outcome, reason, c->request.include_usage ? &usage : NULL);
		flush_events(c, rc, true);
	} else {
		const char *text = a->outcome == HS_OUTCOME_NOT_FOUND ? hs_not_found_text : hs_answer_text(a);
		rc = hs_chat_whole(&x->reply, &head, text, a->citations, a->n_citations, a->evidence, a->n_evidence, a->outcome, reason,
				   &usage);
		hs_exchange_answer(x, rc);
	}
	free_chat(c);
}

static void tell_answer(struct hs_exchange *x, uint8_t hash[static HS_AUDIT_CHAIN_LEN])
{
	struct chat *c = chat_of(x);
	hs_exchange_audit(x, "answer", c->id.s, c->failed.num || x->gone ? HS_AUDIT_FAILED : HS_AUDIT_ALLOWED);
	x->entry.about = c->recorded;
	x->entry.request = c->id.s;
	x->entry.answer_hash = hash;
	x->entry.reason = c->why;
	x->entry.detail = hs_outcome_name(c->answer.outcome);
}

static int keep_answer(struct hs_exchange *x, struct hs_write_context *w)
{
	struct chat *c = chat_of(x);
	const struct hs_chat_head head = head_of(c);
	tell_answer(x, c->hash);
	return hs_kept_answer(&c->kept, x, c->request.question, &c->answer, &head, &c->counts, c->recorded, c->hash);
}

/* What the model did not use of what was taken for it. Where it was cut off, nobody knows how much that is. */
static void give_back(struct chat *c, uint64_t used)
{
	used = HS_MIN(used, c->taken);
	hs_usage_return(&c->x->tenant->usage, c->taken_day, c->taken - used);
	c->taken = used;
}

static void save_usage(struct chat *c)
{
	if (c->taken && hs_usage_save(&c->x->tenant->usage) < 0)
		hs_log("%s/" HS_USAGE_FILE " cannot be written", c->x->tenant->path); /* it holds more than was used */
}

static int record_kept_answer(struct hs_exchange *x, struct hs_write_context *w)
{
	struct chat *c = chat_of(x);
	save_usage(c);
	hs_answer_hash(&c->answer, c->hash);
	int rc = hs_exchange_transaction(x, w, keep_answer, NULL);
	if (rc == 0)
		return 0;
	c->failed = x->err; /* it cannot be kept: the record says so, and the client is told */
	(void)hs_fail_errno(&c->failed, rc, "conversation.keep", c->id.s); /* keeps the story where one was told */
	c->why = c->failed.code;
	c->answer.outcome = HS_OUTCOME_FAILED;
	tell_answer(x, c->hash);
	hs_ignore(hs_exchange_append_audit(x, NULL)); /* the first failure is the one to tell */
	return rc;
}

static int record_answer(struct hs_exchange *x, struct hs_read_context *r)
{
	struct chat *c = chat_of(x);
	save_usage(c);
	hs_answer_hash(&c->answer, c->hash);
	tell_answer(x, c->hash);
	return hs_exchange_append_audit(x, NULL);
}

static void answer_recorded(struct hs_exchange *x, int rc)
{
	struct chat *c = chat_of(x);
	if (rc < 0 && !c->failed.num)
		c->failed = x->err.num ? x->err : (struct hs_err){.num = -rc, .code = "audit.failed", .hint = ""};
	finish_answer(c);
}

static void close_answer(struct chat *c)
{
	if (c->state < GENERATING) /* it was not told to go */
		give_back(c, 0);
	c->state = CLOSING;
	c->why = c->x->gone ? "client.gone" : c->failed.num ? c->failed.code : NULL;
	if (!c->recorded) { /* nothing was shown: there is nothing to close */
		finish_answer(c);
		return;
	}
	int rc = is_kept(c) ? hs_exchange_on_writer(c->x, record_kept_answer, answer_recorded)
			    : hs_exchange_on_recorder(c->x, record_answer, answer_recorded);
	if (rc < 0 && is_kept(c)) { /* the writer is behind: it cannot be kept, and that is recorded */
		c->failed = c->x->err;
		c->why = c->failed.code;
		rc = hs_exchange_on_recorder(c->x, record_answer, answer_recorded);
	}
	if (rc < 0)
		answer_recorded(c->x, rc);
}

/* End early: with an error of ours, or because the client is gone. Waits for a job that still runs. */
static void fail(struct chat *c, int rc, const struct hs_err *err)
{
	if (c->state == CLOSING)
		return; /* its end is decided, and the writer may be reading it */
	if (!c->failed.num) {
		c->failed = err && err->num ? *err : HS_ERR_INIT;
		(void)hs_fail_errno(&c->failed, rc, "answer.failed", c->id.s);
		c->answer.outcome = HS_OUTCOME_FAILED;
	}
	hs_retrieval_cancel(&c->retrieval);
	if (c->generation)
		hs_infer_cancel(c->x->tenant->infer, c->generation);
	c->generation = 0;
	if (!c->x->busy)
		close_answer(c);
}

static void gone(struct hs_exchange *x)
{
	struct chat *c = chat_of(x);
	fail(c, -ECANCELED, NULL);
}

/* A quiet stream is kept open for proxies that give up on them, and nothing waits for ever. */
static void on_tick(uv_timer_t *timer)
{
	struct chat *c = timer->data;
	static const char comment[] = ": keep-alive\n\n";
	if (hs_now_ms() >= c->deadline)
		fail(c, -ETIMEDOUT, NULL);
	else if (c->x->begun && !c->x->ended)
		hs_exchange_content(c->x, comment, sizeof comment - 1, false);
}

static int start_ticking(struct chat *c)
{
	c->tick = calloc(1, sizeof *c->tick);
	if (!c->tick)
		return -ENOMEM;
	(void)uv_timer_init(c->x->tenant->loop, c->tick); /* cannot fail */
	c->tick->data = c;
	return uv_timer_start(c->tick, on_tick, KEEP_ALIVE_MS, KEEP_ALIVE_MS);
}

/* --- sentences --- */

/* The right to show a version, as it stands now: on a reader. */
static int may_show(struct hs_exchange *x, struct hs_reader *reader, const char *version)
{
	uint64_t epoch;
	int rc = hs_policy_epoch(hs_reader_db(reader), &epoch);
	if (rc == 0 && !hs_grant_current(x->grant, epoch, hs_tenant_now(x->tenant))) {
		struct hs_grant *fresh;
		rc = hs_policy_resolve(hs_reader_db(reader), &x->who, hs_tenant_now(x->tenant), &fresh, &x->err);
		if (rc < 0)
			return rc;
		hs_grant_destroy(x->grant);
		x->grant = fresh;
	}
	struct hs_version_row row;
	return rc < 0 ? rc : hs_store_version(reader, x->grant, HS_RIGHT_ASK, hs_tenant_now(x->tenant), version, &row, &x->err);
}

static int check_sentence(struct hs_exchange *x, struct hs_read_context *r)
{
	struct chat *c = chat_of(x);
	int rc = hs_answer_check(&c->answer, x->tenant->analyzer, &c->verdict);
	return rc < 0 || !c->verdict.supported ? rc : may_show(x, r->reader, c->verdict.version);
}

static void sentence_checked(struct hs_exchange *x, int rc)
{
	struct chat *c = chat_of(x);
	if (rc < 0) {
		fail(c, rc, &x->err);
		return;
	}
	if (c->failed.num) { /* it ended while this was checked */
		close_answer(c);
		return;
	}
	const struct hs_cited *citation = NULL;
	const char *text = NULL;
	rc = hs_answer_take(&c->answer, &c->verdict, &text, &citation);
	if (rc == 0 && text && c->request.stream) {
		const struct hs_chat_head head = head_of(c);
		rc = hs_chat_event_sentence(&c->out, &head, text, citation, citation ? 1 : 0);
		flush_events(c, rc, false);
	}
	if (rc < 0)
		fail(c, rc, NULL);
	else
		advance(c);
}

static int end_json(struct chat *c)
{
	struct hs_answer *a = &c->answer;
	int rc = hs_answer_end_json(a);
	if (rc == 0 && a->outcome == HS_OUTCOME_ANSWERED && c->request.stream) {
		const struct hs_chat_head head = head_of(c);
		rc = hs_chat_event_sentence(&c->out, &head, hs_answer_text(a), a->citations, a->n_citations);
		flush_events(c, rc, false);
	}
	return rc;
}

/* Check the next sentence, or close when there is none and none will come. */
static void advance(struct chat *c)
{
	if (c->x->busy || c->state != GENERATING)
		return;
	int rc = hs_answer_push(&c->answer, (const char *)c->arrived.data, c->arrived.len);
	hs_buf_wipe(&c->arrived);
	c->arrived.limit = HS_ANSWER_TEXT_MAX;
	if (rc < 0) {
		fail(c, rc, NULL);
		return;
	}
	bool more = hs_answer_next(&c->answer, c->generated);
	if (!more && c->generated) {
		rc = hs_answer_fall_back(&c->answer, &c->retrieval.evidence);
		if (rc < 0) {
			fail(c, rc, NULL);
			return;
		}
		more = hs_answer_next(&c->answer, true);
	}
	if (more) {
		rc = hs_exchange_on_reader(c->x, check_sentence, sentence_checked);
		if (rc < 0)
			fail(c, rc, &c->x->err);
	} else if (c->generated) {
		rc = c->answer.json ? end_json(c) : 0;
		if (rc < 0)
			fail(c, rc, NULL);
		else
			close_answer(c);
	}
}

static void on_text(void *ctx, const char *text, size_t len)
{
	struct chat *c = ctx;
	int rc = c->x->busy ? hs_buf_append(&c->arrived, text, len) : hs_answer_push(&c->answer, text, len);
	if (rc < 0)
		fail(c, rc, NULL);
	else
		advance(c);
}

static void on_done(void *ctx, int rc, const struct hs_msg_done *done, const struct hs_err *err)
{
	struct chat *c = ctx;
	c->generation = 0;
	if (rc == 0 && c->state != GENERATING) /* it was not told to go: what it would have to say nobody waits for */
		rc = -EPROTO;
	if (rc < 0) {
		struct hs_err told = err ? *err : HS_ERR_INIT;
		if (*hs_limit_hint(told.code)) { /* only the code came over */
			told.hint = hs_limit_hint(told.code);
			hs_usage_refused(&c->x->tenant->usage, told.code);
		} else if (strncmp(told.code, "grammar.", 8) == 0) {
			told.hint = HS_N_("The schema uses what is not understood here. docs/api.md lists what is.");
		}
		fail(c, rc, &told);
		return;
	}
	give_back(c, (uint64_t)done->prompt_tokens + done->answer_tokens);
	hs_usage_answered(&c->x->tenant->usage, (uint64_t)done->prefill_ms + done->decode_ms);
	c->counts = *done;
	c->generated = true;
	advance(c);
}

/* --- the question's record, then the evidence --- */

static int tell_question(struct hs_exchange *x)
{
	struct chat *c = chat_of(x);
	struct hs_answer *a = &c->answer;
	struct hs_audit_chunk *chunks = hs_arena_calloc(x->arena, a->n_evidence + 1, sizeof *chunks);
	if (!chunks)
		return -ENOMEM;
	for (size_t i = 0; i < a->n_evidence; i++) {
		(void)snprintf(chunks[i].version, sizeof chunks[i].version, "%s", a->evidence[i].version); /* ids fit */
		chunks[i].start = a->evidence[i].start;
		chunks[i].end = a->evidence[i].end;
	}
	hs_exchange_audit(x, "ask", c->id.s, HS_AUDIT_ALLOWED);
	x->entry.request = c->id.s;
	x->entry.query = c->request.question;
	x->entry.query_len = strlen(c->request.question);
	x->entry.keep_query = x->tenant->keep_queries;
	x->entry.chunks = chunks;
	x->entry.n_chunks = a->n_evidence;
	return 0;
}

/* Looked at again: the model may have waited for minutes since the grant was made. */
static int record_question(struct hs_exchange *x, struct hs_read_context *r)
{
	struct chat *c = chat_of(x);
	if (*c->kept.conversation.s) /* it is answered all the same, and the answer does not say that it is kept */
		c->no_room = hs_tenant_room(x->tenant, 0, NULL) < 0;
	int rc = c->taken ? hs_usage_save(&x->tenant->usage) : 0; /* the model begins when it is on disk */
	if (rc < 0)
		return hs_fail_errno(&x->err, rc, "tenant.usage", HS_USAGE_FILE);
	rc = tell_question(x);
	return rc < 0 ? rc : hs_exchange_record(x, r, &c->recorded);
}

static void question_recorded(struct hs_exchange *x, int rc)
{
	struct chat *c = chat_of(x);
	if (rc < 0 || c->failed.num) {
		fail(c, rc < 0 ? rc : -ECANCELED, &x->err);
		return;
	}
	if (c->request.stream) {
		const struct hs_chat_head head = head_of(c);
		hs_exchange_begin_stream(x, "text/event-stream");
		rc = hs_chat_event_evidence(&c->out, &head, c->answer.evidence, c->answer.n_evidence);
		flush_events(c, rc, false);
	}
	c->state = GENERATING;
	if (c->generation) {
		rc = hs_infer_go(x->tenant->infer, c->generation);
	} else {
		c->generated = true;
		rc = hs_answer_quote(&c->answer, &c->retrieval.evidence);
	}
	if (rc < 0)
		fail(c, rc, NULL);
	else
		advance(c);
}

static void record(struct chat *c)
{
	c->state = RECORDING;
	int rc = hs_exchange_on_recorder(c->x, record_question, question_recorded);
	if (rc < 0)
		fail(c, rc, &c->x->err);
}

/* A question may wait for the model for minutes: what was found for it must still be there, and still be allowed. */
static int check_evidence(struct hs_exchange *x, struct hs_read_context *r)
{
	const struct hs_answer *a = &chat_of(x)->answer;
	int rc = 0;
	for (size_t i = 0; i < a->n_evidence && rc == 0; i++)
		rc = may_show(x, r->reader, a->evidence[i].version);
	if (rc != -ENOENT)
		return rc;
	x->err = HS_ERR_INIT;
	return hs_fail(&x->err, ESTALE, "policy.changed", HS_N_("What may be read has changed meanwhile. Ask again."), "%s", x->path);
}

static void evidence_checked(struct hs_exchange *x, int rc)
{
	struct chat *c = chat_of(x);
	if (rc < 0 || c->failed.num)
		fail(c, rc < 0 ? rc : -ECANCELED, &x->err);
	else
		record(c);
}

static void on_kept(void *ctx, const struct hs_msg_kept *kept)
{
	struct chat *c = ctx;
	if (c->state != ASKED || kept->n_segments != c->prompt->n_segments) {
		fail(c, -EPROTO, NULL);
		return;
	}
	bool entered[HS_PROMPT_PASSAGES_MAX] = {false};
	uint32_t n = (uint32_t)c->answer.n_evidence;
	for (uint32_t i = 0; i < n; i++)
		entered[i] = kept->kept[hs_prompt_segment_of(i, n)];
	hs_answer_keep(&c->answer, entered);
	struct hs_err err = HS_ERR_INIT;
	uint64_t most = (uint64_t)kept->prompt_tokens + c->prompt->max_tokens;
	int rc = hs_usage_take(&c->x->tenant->usage, most, hs_now_ms(), &c->taken_day, &c->x->retry_s, &err);
	if (rc < 0) {
		fail(c, rc, &err);
		return;
	}
	c->taken = most;
	c->state = RECORDING;
	rc = hs_exchange_on_reader(c->x, check_evidence, evidence_checked);
	if (rc < 0)
		fail(c, rc, &c->x->err);
}

static const struct hs_infer_events events = {.kept = on_kept, .text = on_text, .done = on_done};

static int ask_model(struct chat *c)
{
	struct hs_prompt_passage passages[HS_PROMPT_PASSAGES_MAX];
	c->prompt = hs_arena_alloc(c->x->arena, sizeof *c->prompt);
	if (!c->prompt)
		return -ENOMEM;
	hs_answer_passages(&c->answer, passages);
	int rc = hs_prompt_build(c->x->arena, &c->request, passages, (uint32_t)c->answer.n_evidence, c->prompt);
	if (rc < 0)
		return rc;
	const uint32_t context = (uint32_t)c->x->tenant->limits.of[HS_LIMIT_CONTEXT];
	c->prompt->max_tokens = HS_MIN(c->prompt->max_tokens, context / 2);
	c->prompt->prompt_budget = HS_MIN(PROMPT_TOKENS_BESIDE + (uint32_t)c->retrieval.budget, context - c->prompt->max_tokens);
	hs_grant_hash(c->x->grant, c->prompt->cache_key);
	c->state = ASKED;
	return hs_infer_generate(c->x->tenant->infer, c->prompt, c->deadline, &events, c, &c->generation);
}

static void found(struct hs_retrieval *r, int rc)
{
	struct chat *c = HS_CONTAINER_OF(r, struct chat, retrieval);
	if (rc < 0 || c->failed.num) {
		fail(c, rc < 0 ? rc : -ECANCELED, &c->x->err);
		return;
	}
	rc = hs_answer_begin(&c->answer, c->x->arena, c->request.search, &r->results, &r->evidence);
	if (rc < 0) {
		fail(c, rc, NULL);
		return;
	}
	c->answer.json = c->request.schema != NULL;
	if (c->answer.json && !hs_infer_client_models(c->x->tenant->infer)->generates) {
		rc = hs_fail(&c->x->err, ENOENT, "model.none", HS_N_("no model of this kind is loaded"), "response_format");
		fail(c, rc, &c->x->err);
		return;
	}
	bool worth_asking = hs_answerable(&r->results, &r->evidence);
	if (worth_asking && hs_infer_client_models(c->x->tenant->infer)->generates) {
		rc = ask_model(c);
		if (rc < 0)
			fail(c, rc, NULL);
		return;
	}
	c->answer.quotable = !c->answer.json && hs_answerable_by_quotes(&r->results, &r->evidence);
	record(c);
}

/* A place among the tenant's chats, or NULL where this person's are too many. *ret_open: all of the tenant's. */
static struct hs_exchange **find_place(struct hs_exchange *x, unsigned *ret_open)
{
	struct hs_exchange **place = NULL;
	unsigned own = 0;
	*ret_open = 0;
	for (size_t i = 0; i < HS_TENANT_CHATS_MAX; i++) {
		struct hs_exchange **at = &x->tenant->chats[i];
		if (!*at)
			place = at;
		else if (strcmp((*at)->who.user, x->who.user) == 0)
			own++;
		*ret_open += *at != NULL;
	}
	return own < HS_TENANT_CHATS_PER_USER_MAX ? place : NULL;
}

static int look_up(struct hs_exchange *x, struct hs_read_context *r)
{
	struct chat *c = chat_of(x);
	return hs_kept_follow(&c->kept, x, r, &c->request);
}

static void looked_up(struct hs_exchange *x, int rc)
{
	struct chat *c = chat_of(x);
	if (rc == 0 && !c->failed.num) {
		c->retrieval.text = c->request.search;
		rc = hs_retrieve(&c->retrieval);
	}
	if (rc < 0 || c->failed.num)
		fail(c, rc < 0 ? rc : -ECANCELED, &x->err);
}

/* One question at a time: what is kept alternates. */
static bool being_answered(const struct hs_exchange *x, const struct hs_id *conversation)
{
	for (size_t i = 0; i < HS_TENANT_CHATS_MAX; i++) {
		struct hs_exchange *other = x->tenant->chats[i];
		if (other && other != x && strcmp(chat_of(other)->kept.conversation.s, conversation->s) == 0)
			return true;
	}
	return false;
}

int hs_api_chat(struct hs_exchange *x)
{
	unsigned open;
	struct hs_exchange **place = find_place(x, &open);
	int rc = hs_usage_queue(&x->tenant->usage, open, hs_now_ms(), &x->retry_s, &x->err);
	if (rc < 0)
		return rc;
	if (!place)
		return hs_fail(&x->err, EBUSY, "request.busy", HS_N_("The service is busy. Try again shortly."), "%s", x->path);
	struct chat *c = calloc(1, sizeof *c);
	if (!c)
		return -ENOMEM;
	rc = hs_chat_request_parse(x->body.data, x->body.len, &c->request, &x->err);
	if (rc < 0) {
		free(c);
		return rc;
	}
	const char *model = hs_infer_client_models(x->tenant->infer)->generator;
	model = *model ? model : "hisho-extract";
	if (*c->request.model && strcmp(c->request.model, "hisho") != 0 && strcmp(c->request.model, model) != 0) {
		(void)hs_fail(&x->err, ENOENT, "model_not_found", HS_N_("There is no such model here. Use hisho, or what /v1/models lists."),
			      "%.64s", c->request.model);
		hs_chat_request_finish(&c->request);
		free(c);
		return -ENOENT;
	}
	c->model = hs_arena_strndup(x->arena, model, strlen(model));
	c->kept = hs_kept_of(&c->request);
	if (*c->kept.conversation.s && being_answered(x, &c->kept.conversation)) {
		hs_chat_request_finish(&c->request);
		free(c);
		return hs_fail(&x->err, EBUSY, "conversation.busy", HS_N_("Wait until the question before is answered."), "%s", x->path);
	}
	c->x = x;
	c->place = place;
	*place = x;
	c->id = hs_id_new("ans_");
	c->created = hs_now_ms();
	c->failed = HS_ERR_INIT;
	c->deadline = c->created + ANSWER_DEADLINE_MS;
	c->arrived.limit = HS_ANSWER_TEXT_MAX;
	c->retrieval = (struct hs_retrieval){.x = x, .text = c->request.search, .mode = HS_SEARCH_HYBRID, .k = PASSAGES_SOUGHT,
					     .budget = hs_answer_budget(hs_infer_client_models(x->tenant->infer)->prefill_rate),
					     .done = found};
	x->handler_state = &c->retrieval;
	x->on_gone = gone;
	hs_exchange_hold(x);
	rc = c->model ? start_ticking(c) : -ENOMEM;
	if (rc == 0)
		rc = *c->kept.conversation.s ? hs_exchange_on_reader(x, look_up, looked_up) : hs_retrieve(&c->retrieval);
	if (rc < 0)
		free_chat(c);
	return rc;
}

int hs_api_models(struct hs_exchange *x)
{
	const struct hs_infer_models *m = hs_infer_client_models(x->tenant->infer);
	const char *names[] = {m->generates ? m->generator : "hisho-extract"};
	json_t *list = json_array();
	for (size_t i = 0; list && i < HS_ARRAY_LEN(names); i++) {
		if (json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:s}", "id", names[i], "object", "model", "created", 0,
							  "owned_by", "hisho")) < 0) {
			json_decref(list);
			list = NULL;
		}
	}
	int rc = list ? hs_exchange_reply(x, json_pack("{s:s, s:o}", "object", "list", "data", list)) : -ENOMEM;
	if (rc == 0)
		hs_exchange_answer(x, 0);
	return rc;
}
