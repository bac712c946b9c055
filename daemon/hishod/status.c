/* `hisho status`: fresh words of every process, put together; and the metrics. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "daemon/hishod/keeper.h"

struct status_wait {
	struct status_wait *next;
	struct keeper *keeper;
	struct hs_responder *responder; /* NULL: its client went away */
	void (*reply)(struct keeper *k, struct hs_responder *r);
	uint64_t round;
	uv_timer_t timer;
};

/* Does a thief of the disk read anything? */
static void protection(struct keeper *k, const char **ret_answer, const char **ret_why)
{
	const char *root = json_string_value(json_object_get(k->keyd.status, "root"));
	*ret_answer = "no";
	if (!root) {
		*ret_answer = "unknown";
		*ret_why = "the keyring's process has not told";
	} else if (strcmp(root, "passphrase") == 0) {
		*ret_answer = "yes";
		*ret_why = "the root secret is a passphrase and is not stored";
	} else if (strcmp(root, "file") == 0) {
		*ret_why = "the root secret lies in keys/root, beside the data";
	} else if (access("/sys/class/tpm/tpm0", F_OK) != 0) {
		*ret_why = "the host has no TPM: the key of systemd's credentials lies on the same disk";
	} else {
		*ret_answer = "yes, where the credential is bound to the TPM";
		*ret_why = "a TPM is there; check that systemd-creds used it (--with-key=tpm2 or host+tpm2)";
	}
}

/* The separations that any process lacks, each once. */
static char *missing_parts(struct keeper *k)
{
	json_t *missing = json_object();
	HS_BUF_AUTO text = HS_BUF_INIT;
	for (struct proc *p = k->procs; p && missing; p = p->next) {
		const char *part;
		json_t *there;
		json_object_foreach(json_object_get(p->status, "jail"), part, there) {
			if (json_is_false(there))
				(void)json_object_set_new(missing, part, json_true()); /* one name less in a listing */
		}
	}
	const char *part;
	json_t *value;
	int rc = 0;
	json_object_foreach(missing, part, value) {
		if (rc == 0)
			rc = hs_buf_printf(&text, "%s%s", text.len ? ", " : "", part);
	}
	if (rc == 0 && text.len == 0)
		rc = hs_buf_append_str(&text, "none");
	json_decref(missing);
	const char *s = rc == 0 ? hs_buf_cstr(&text) : NULL;
	return s ? strdup(s) : NULL;
}

static json_t *processes(struct keeper *k)
{
	json_t *list = json_array();
	for (struct proc *p = k->procs; p && list; p = p->next) {
		const char *state = p->tenant && p->tenant->sealed ? "sealed" : hs_proc_state_name(p);
		json_t *row =
		    json_pack("{s:s, s:s, s:s, s:i, s:i}", "name", p->program, "tenant", p->tenant ? p->tenant->name : "",
			      "state", state, "pid", p->pid, "restarts", (int)p->restarts);
		if (row && p->status)
			(void)json_object_set(row, "detail", p->status); /* a shorter row shows it */
		if (json_array_insert_new(list, 0, row) < 0)
			break;
	}
	return list;
}

static json_t *build(struct keeper *k)
{
	const char *answer, *why;
	protection(k, &answer, &why);
	char *missing = missing_parts(k);
	json_t *status = json_pack("{s:s, s:s, s:b, s:s, s:s, s:s, s:o}", "version", HS_VERSION, "state_directory", k->state,
				   "ready", k->serving, "protects_against_disk_theft", answer, "why", why, "missing_separations",
				   missing ? missing : "unknown", "processes", processes(k));
	free(missing);
	return status;
}

static void free_wait(uv_handle_t *handle)
{
	free(handle->data);
}

static void finish(struct status_wait *w)
{
	struct status_wait **at = &w->keeper->status_waits;
	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	if (w->responder)
		w->reply(w->keeper, w->responder);
	uv_close((uv_handle_t *)&w->timer, free_wait);
}

static void on_wait_over(uv_timer_t *timer)
{
	finish(timer->data);
}

static bool all_told(const struct keeper *k, uint64_t round)
{
	for (const struct proc *p = k->procs; p; p = p->next) {
		if (p->state == PROC_READY && p->control && p->status_round < round)
			return false;
	}
	return true;
}

/* What every process says now, or what it said before where it does not answer in time. */
static void ask(struct keeper *k, struct hs_responder *r, void (*reply)(struct keeper *k, struct hs_responder *r))
{
	struct status_wait *w = calloc(1, sizeof *w);
	if (!w) {
		reply(k, r); /* what was told before */
		return;
	}
	w->keeper = k;
	w->responder = r;
	w->reply = reply;
	w->round = ++k->status_round;
	w->timer.data = w;
	(void)uv_timer_init(&k->loop, &w->timer);                              /* cannot fail */
	(void)uv_timer_start(&w->timer, on_wait_over, HS_STATUS_WAIT_MS, 0); /* cannot fail: has a callback */
	w->next = k->status_waits;
	k->status_waits = w;
	for (struct proc *p = k->procs; p; p = p->next) {
		if (p->state == PROC_READY && p->control)
			(void)hs_channel_send(p->control, HS_MSG_STATUS, w->round, 0, NULL, 0); /* gone() tells a failure */
	}
	if (all_told(k, w->round))
		finish(w);
}

void hs_status_reply(struct proc *p, const struct hs_frame *f)
{
	json_t *status = json_loadb((const char *)f->payload, f->payload_len, JSON_REJECT_DUPLICATES, NULL);
	if (json_is_object(status)) {
		json_decref(p->status);
		p->status = status;
	} else {
		json_decref(status);
	}
	p->status_round = HS_MIN(f->request, p->keeper->status_round);
	for (struct status_wait *w = p->keeper->status_waits, *next; w; w = next) {
		next = w->next;
		if (all_told(p->keeper, w->round))
			finish(w);
	}
}

void hs_status_forget_waiter(struct keeper *k, struct hs_responder *r)
{
	for (struct status_wait *w = k->status_waits; w; w = w->next) {
		if (w->responder == r)
			w->responder = NULL;
	}
}

void hs_status_free(struct keeper *k)
{
	while (k->status_waits) {
		k->status_waits->responder = NULL;
		finish(k->status_waits);
	}
}

/* --- metrics: Prometheus' text, numbers only --- */

static const struct series {
	const char *name, *type, *help, *key, *less; /* less: subtracted, or NULL */
} tenant_series[] = {
	{"hisho_documents", "gauge", "Documents that are filed.", "documents", NULL},
	{"hisho_passages", "gauge", "Passages in the index.", "chunks", NULL},
	{"hisho_vectors_behind", "gauge", "Passages that have no vector yet, where there is an embedding model.", "chunks", "vectors"},
	{"hisho_jobs_waiting", "gauge", "Submissions that wait to be filed or are being filed.", "waiting_jobs", NULL},
	{"hisho_jobs_failed", "gauge", "Submissions that could not be filed.", "failed_jobs", NULL},
	{"hisho_disk_free_bytes", "gauge", "Room on the disk when something was last taken in.", "disk_free", NULL},
	{"hisho_questions_total", "counter", "Questions, however they ended.", "questions", NULL},
	{"hisho_not_found_total", "counter", "Questions that the documents do not answer.", "not_found", NULL},
	{"hisho_answers_failed_total", "counter", "Answers that ended with an error or without their client.", "failed_answers", NULL},
	{"hisho_reranked_total", "counter", "Searches whose passages a reranker put in order.", "reranked", NULL},
	{"hisho_rerank_missed_total", "counter",
	 "Searches that kept the fused order: the reranker was away, slow or late.", "rerank_missed", NULL},
	{"hisho_denied_total", "counter", "Refused: credentials, rights, documents.", "denied", NULL},
	{"hisho_prompt_tokens_total", "counter", "Tokens of prompts.", "prompt_tokens", NULL},
	{"hisho_tokens_today", "gauge", "Tokens of this day's (UTC) limit, taken.", "tokens_today", NULL},
	{"hisho_answers_open", "gauge", "Questions that wait or are being answered.", "answers_open", NULL},
	{"hisho_limit_refused_total", "counter", "Refused or ended by a limit of the tenant's.", "limit_refused", NULL},
	{"hisho_limit_tokens_per_day", "gauge", "The limit; 0: none.", "limit_tokens_per_day", NULL},
	{"hisho_limit_tokens_per_minute", "gauge", "The limit; 0: none.", "limit_tokens_per_minute", NULL},
	{"hisho_limit_context_tokens", "gauge", "The limit of a prompt and its answer.", "limit_context", NULL},
	{"hisho_limit_generation_seconds", "gauge", "The limit of one answer's computing.", "limit_generation_seconds", NULL},
	{"hisho_limit_queue", "gauge", "The limit of questions that wait.", "limit_queue", NULL},
	{"hisho_limit_generations", "gauge", "The limit of answers at one time.", "limit_generations", NULL},
	{"hisho_answer_tokens_total", "counter", "Tokens that the model wrote.", "answer_tokens", NULL},
};

/* Of hisho-infer. */
static const struct {
	const char *name, *type, *help, *model, *key; /* model: in whose part of the status, or NULL */
} infer_series[] = {
	{"hisho_prefilled_tokens_total", "counter", "Tokens of prompts that were computed, kept prefixes left out.", NULL, "prefilled"},
	{"hisho_decode_passes_total", "counter", "Passes in which answers were written, a token or more each.", NULL, "decode_passes"},
	{"hisho_decode_answers_total", "counter", "Answers that took part in these passes: by the passes, the mean batch.", NULL,
	 "decoded"},
	{"hisho_embedded_texts_total", "counter", "Texts that were embedded.", NULL, "embedded"},
	{"hisho_gpu_bytes", "gauge", "Memory of the GPU that the chat model takes, pages included.", "generator", "gpu_bytes"},
	{"hisho_gpu_embedder_bytes", "gauge", "Memory of the GPU that the embedding model takes.", "embedder", "gpu_bytes"},
	{"hisho_kv_pages", "gauge", "Pages of keys and values of the chat model.", "generator", "pages"},
	{"hisho_kv_pages_used", "gauge", "Those that answers and kept prefixes hold.", "generator", "pages_used"},
	{"hisho_kv_page_bytes", "gauge", "Memory of one of them.", "generator", "page_bytes"},
};

static json_int_t number(const struct proc *p, const char *key)
{
	return json_integer_value(json_object_get(p->status, key)); /* 0 where it is not told */
}

static int put_tenants(struct hs_buf *b, const struct keeper *k, const struct series *s)
{
	int rc = hs_buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", s->name, s->help, s->name, s->type);
	for (const struct proc *p = k->procs; p && rc == 0; p = p->next) {
		if (!p->tenant || p->state != PROC_READY || !json_object_get(p->status, s->key))
			continue;
		json_int_t value = number(p, s->key);
		if (s->less) {
			const char *embedder = json_string_value(json_object_get(p->status, "embedder"));
			value = embedder && *embedder ? value - number(p, s->less) : 0;
		}
		rc = hs_buf_printf(b, "%s{tenant=\"%s\"} %lld\n", s->name, p->tenant->name, (long long)value);
	}
	return rc;
}

/* A series of infer that it does not tell has no sample: of a GPU where there is none. */
static int put_infer(struct hs_buf *b, const struct keeper *k)
{
	int rc = 0;
	for (size_t i = 0; i < HS_ARRAY_LEN(infer_series) && rc == 0 && k->infer.state == PROC_READY; i++) {
		const json_t *from = infer_series[i].model ? json_object_get(k->infer.status, infer_series[i].model) : k->infer.status;
		const json_t *value = json_object_get(from, infer_series[i].key);
		if (value)
			rc = hs_buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n%s{program=\"%s\",tenant=\"\"} %lld\n", infer_series[i].name,
					   infer_series[i].help, infer_series[i].name, infer_series[i].type, infer_series[i].name,
					   k->infer.program, (long long)json_integer_value(value));
	}
	if (rc < 0 || !json_object_get(json_object_get(k->infer.status, "generator"), "pages"))
		return rc;
	rc = hs_buf_append_str(b, "# HELP hisho_kv_pages_held Pages of keys and values that are the tenant's.\n"
				  "# TYPE hisho_kv_pages_held gauge\n");
	for (const struct tenant *t = k->tenants; t && rc == 0; t = t->next)
		rc = hs_buf_printf(b, "hisho_kv_pages_held{tenant=\"%s\"} %lld\n", t->name,
				   (long long)json_integer_value(
				       json_object_get(json_object_get(k->infer.status, "pages_of"), t->id.s)));
	return rc;
}

static void reply_metrics(struct keeper *k, struct hs_responder *r)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	int rc = hs_buf_append_str(&b, "# HELP hisho_process_up Whether the process serves.\n# TYPE hisho_process_up gauge\n");
	for (struct proc *p = k->procs; p && rc == 0; p = p->next)
		rc = hs_buf_printf(&b, "hisho_process_up{program=\"%s\",tenant=\"%s\"} %d\n", p->program, p->tenant ? p->tenant->name : "",
				   p->state == PROC_READY);
	if (rc == 0)
		rc = hs_buf_append_str(
		    &b,
		    "# HELP hisho_process_restarts_total Starts after a death.\n# TYPE hisho_process_restarts_total counter\n");
	for (struct proc *p = k->procs; p && rc == 0; p = p->next)
		rc = hs_buf_printf(&b, "hisho_process_restarts_total{program=\"%s\",tenant=\"%s\"} %u\n", p->program,
				   p->tenant ? p->tenant->name : "", p->restarts);
	for (size_t i = 0; i < HS_ARRAY_LEN(tenant_series) && rc == 0; i++)
		rc = put_tenants(&b, k, &tenant_series[i]);
	if (rc == 0)
		rc = put_infer(&b, k);
	if (rc == 0)
		hs_responder_answer(r, 200, "text/plain; version=0.0.4", b.data, b.len);
	else
		hs_admin_reply(r, 500, NULL);
}

static void reply_status(struct keeper *k, struct hs_responder *r)
{
	hs_admin_reply(r, 200, build(k));
}

void hs_status_ask(struct keeper *k, struct hs_responder *r)
{
	ask(k, r, reply_status);
}

void hs_status_metrics(struct keeper *k, struct hs_responder *r)
{
	ask(k, r, reply_metrics);
}
