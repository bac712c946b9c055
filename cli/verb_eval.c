/*
 * hisho eval: a BEIR set through the production pipeline, in an appliance of its own.
 *
 * init -> hishod -> tenant, policy, sender -> seal and file every document -> each query with a token -> figures. It speaks to
 * that appliance as a person would; nothing of the product is by-passed.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "cli/answers.h"
#include "cli/beir.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/submit.h"

#define START_MS 60000
#define VECTORS_MS (4 * 60 * 60 * 1000ull)
#define PASSAGES 200 /* asked for: 100 documents are ranked by their best passage */

extern char **environ;

static const char policy_text[] =
	"version: 1\n"
	"collections: [eval, held]\n"
	"users:\n- {name: asker}\n- {name: without}\n"
	"rules:\n"
	"- {id: all, allow: [ask], who: {users: [asker]}, collections: [eval, held], level: {up_to: 公開}}\n"
	"- {id: most, allow: [ask], who: {users: [without]}, collections: [eval], level: {up_to: 公開}}\n";

struct eval {
	struct hs_cli cli; /* of the throw-away appliance */
	char dir[PATH_MAX], self[PATH_MAX], hishod[PATH_MAX + 32];
	char key[PATH_MAX + 32], token[PATH_MAX + 32];
	char without[PATH_MAX + 32]; /* token of the person who may not read what is held back */
	const char *mode;
	pid_t server;
	struct hs_beir set;
	json_t *names; /* document id -> id of the set */
	json_t *run;
	double *ms; /* of each query */
	size_t n_ms;
	uint32_t n_answers; /* to ask for; 0: the ranking is measured */
	struct hs_answers_figures answers;
};

static void nap(unsigned ms)
{
	(void)nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000L},
			NULL); /* waking early is fine */
}

/* Run this same program with other arguments, its standard output thrown away (or the policy as its standard input). */
static int run_self(struct eval *e, char *const argv[], struct hs_err *err)
{
	posix_spawn_file_actions_t actions;
	pid_t pid;
	if (posix_spawn_file_actions_init(&actions) != 0)
		return hs_fail_errno(err, -ENOMEM, "eval.spawn", argv[1]);
	int rc = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	if (rc == 0)
		rc = posix_spawn(&pid, e->self, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	int status = 0;
	if (rc != 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return hs_fail(err, ECHILD, "eval.setup", HS_N_("a step of the set-up failed; its reason stands above"),
			       "hisho %s", argv[1]);
	return 0;
}

static int start_server(struct eval *e, struct hs_err *err)
{
	char log[PATH_MAX + 32];
	(void)snprintf(log, sizeof log, "%s/log", e->dir); /* fits */
	posix_spawn_file_actions_t actions;
	if (posix_spawn_file_actions_init(&actions) != 0)
		return hs_fail_errno(err, -ENOMEM, "eval.spawn", "hishod");
	int rc = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (rc == 0)
		rc = posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
	char *const argv[] = {(char *)"hishod", (char *)"--state", e->dir, NULL};
	if (rc == 0)
		rc = access(e->hishod, X_OK) == 0 ? posix_spawn(&e->server, e->hishod, &actions, NULL, argv, environ)
						  : posix_spawnp(&e->server, "hishod", &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (rc != 0)
		return hs_fail(err, rc, "eval.spawn", HS_N_("hishod is not installed beside hisho"), "hishod");
	for (uint64_t until = hs_monotonic_ms() + START_MS; hs_monotonic_ms() < until; nap(50)) {
		struct hs_err later = HS_ERR_INIT;
		HS_REPLY_AUTO reply = {0};
		if (hs_call_host(&e->cli, "GET", "/v1/status", NULL, &reply, &later) == 0)
			return 0;
		if (waitpid(e->server, NULL, WNOHANG) == e->server) {
			e->server = 0;
			break;
		}
	}
	return hs_fail(err, ETIMEDOUT, "eval.start", HS_N_("the appliance did not start; see its log"), "%s", log);
}

/* The same request until the tenant has opened. */
static int wait_tenant(struct eval *e, struct hs_err *err)
{
	int rc;
	uint64_t until = hs_monotonic_ms() + START_MS;
	do {
		*err = HS_ERR_INIT;
		HS_REPLY_AUTO reply = {0};
		rc = hs_call(&e->cli, "GET", "/v1/tenant", NULL, &reply, err);
		if (rc < 0)
			nap(50);
	} while (rc < 0 && hs_monotonic_ms() < until);
	return rc;
}

static int set_up(struct eval *e, const char *embedder, const char *generator, const char *reranker, struct hs_err *err)
{
	char format[PATH_MAX + 32], policy[PATH_MAX + 32];
	(void)snprintf(format, sizeof format, "%s/format", e->dir); /* all of these fit */
	(void)snprintf(policy, sizeof policy, "%s/policy.yaml", e->dir);
	bool fresh = access(format, F_OK) != 0;
	if (fresh) {
		char *argv[14] = {e->self, (char *)"init", (char *)"--dir", e->dir, (char *)"--listen", (char *)"127.0.0.1:0"};
		size_t n = 6;
		if (embedder) {
			argv[n++] = (char *)"--embedder";
			argv[n++] = (char *)embedder;
		}
		if (generator) {
			argv[n++] = (char *)"--generator";
			argv[n++] = (char *)generator;
		}
		if (reranker) {
			argv[n++] = (char *)"--reranker";
			argv[n++] = (char *)reranker;
		}
		int rc = run_self(e, argv, err);
		if (rc < 0)
			return rc;
	}
	int rc = start_server(e, err);
	if (rc < 0)
		return rc;
	char *const add[] = {e->self, (char *)"tenant", (char *)"add", (char *)"eval", (char *)"--dir", e->dir, NULL};
	if (fresh)
		rc = run_self(e, add, err);
	if (rc == 0)
		rc = wait_tenant(e, err);
	if (rc == 0)
		rc = hs_file_replace(AT_FDCWD, policy, policy_text, sizeof policy_text - 1, 0600);
	char *const apply[] = {e->self, (char *)"policy",   (char *)"apply", policy, (char *)"--dir",
			       e->dir,  (char *)"--tenant", (char *)"eval",  NULL};
	if (rc == 0)
		rc = run_self(e, apply, err);
	char *const token[] = {e->self,  (char *)"token", (char *)"add", (char *)"asker",    (char *)"--out",
			       e->token, (char *)"--dir", e->dir,        (char *)"--tenant", (char *)"eval",
			       NULL};
	if (rc == 0)
		rc = run_self(e, token, err);
	char *const second[] = {e->self,    (char *)"token", (char *)"add", (char *)"without",  (char *)"--out",
				e->without, (char *)"--dir", e->dir,        (char *)"--tenant", (char *)"eval",
				NULL};
	if (rc == 0)
		rc = run_self(e, second, err);
	if (rc < 0 || !fresh)
		return rc;
	char *const keygen[] = {e->self, (char *)"sender", (char *)"keygen", e->key, NULL};
	rc = run_self(e, keygen, err);
	struct hs_signer *signer = NULL;
	if (rc == 0)
		rc = hs_signer_load(AT_FDCWD, e->key, &signer, err);
	if (rc < 0)
		return rc;
	uint8_t public[HS_SIGNER_PUBLIC_LEN];
	char text[HS_SIGNER_TEXT_LEN + 1];
	hs_signer_public(signer, public);
	hs_signer_public_format(public, text);
	hs_signer_destroy(signer);
	HS_REPLY_AUTO reply = {0};
	return hs_call(&e->cli, "POST", "/v1/admin/senders", json_pack("{s:s, s:s}", "name", "eval", "key", text), &reply, err);
}

/* The document that a job made, once it has ended. */
static int job_document(struct eval *e, const char *job, const char *name, struct hs_err *err)
{
	char path[96];
	(void)snprintf(path, sizeof path, "/v1/jobs/%s", job); /* ids fit */
	for (;; nap(20)) {
		HS_REPLY_AUTO reply = {0};
		int rc = hs_call(&e->cli, "GET", path, NULL, &reply, err);
		if (rc < 0)
			return rc;
		const char *state = json_string_value(json_object_get(reply.json, "state"));
		const char *document = json_string_value(json_object_get(reply.json, "document"));
		if (state && strcmp(state, "failed") == 0)
			return hs_fail(err, EBADMSG, "eval.document", "", "%s", name);
		if (state && document && strcmp(state, "done") == 0)
			return json_object_set_new(e->names, document, json_string(name)) < 0 ? -ENOMEM : 0;
	}
}

static int file_corpus(struct eval *e, struct hs_err *err)
{
	struct hs_filing where = {.level = "公開", .list = ""};
	struct hs_filer *filer = NULL;
	json_t *held = hs_answers_held_documents(&e->set);
	int rc = held ? hs_filer_open(&e->cli, e->key, NULL, &filer, err) : -ENOMEM;
	json_t *jobs = json_array();
	struct hs_progress progress;
	size_t n = json_array_size(e->set.corpus);
	hs_progress_begin(&progress, 2 * n);
	for (size_t i = 0; i < n && rc >= 0; i++) {
		const json_t *row = json_array_get(e->set.corpus, i);
		const char *id = json_string_value(json_object_get(row, "_id")),
			   *text = json_string_value(json_object_get(row, "text"));
		const char *title = json_string_value(json_object_get(row, "title"));
		HS_BUF_AUTO name = HS_BUF_INIT;
		HS_BUF_AUTO manifest = HS_BUF_INIT;
		HS_BUF_AUTO ciphertext = HS_BUF_INIT;
		char job[48] = "";
		where.collection = json_object_get(held, id) ? "held" : "eval";
		rc = hs_buf_printf(&name, "%s.txt", id);
		if (rc == 0 && hs_buf_cstr(&name))
			rc = hs_filer_seal_text(filer, (const char *)name.data, title && *title ? title : id, *text ? text : " ",
						&where, &manifest, &ciphertext, err);
		if (rc == HS_UNCHANGED)
			continue;
		if (rc == 0)
			rc = hs_submit(&e->cli, &manifest, &ciphertext, job, sizeof job, err);
		if (rc == 0)
			rc = hs_filer_acknowledged(filer, job, NULL, err);
		if (rc == 0 && json_array_append_new(jobs, json_pack("[s, s]", job, id)) < 0)
			rc = -ENOMEM;
		hs_progress_show(&progress, i + 1, _("filed"));
	}
	hs_filer_close(filer);
	json_decref(held);
	for (size_t i = 0; i < json_array_size(jobs) && rc >= 0; i++) {
		const json_t *row = json_array_get(jobs, i);
		rc = job_document(e, json_string_value(json_array_get(row, 0)), json_string_value(json_array_get(row, 1)), err);
		hs_progress_show(&progress, n + i + 1, _("indexed"));
	}
	hs_progress_end(&progress);
	json_decref(jobs);
	return rc < 0 ? rc : 0;
}

/* The names of documents that an earlier run filed are kept beside the appliance. */
static int remember_names(struct eval *e, struct hs_err *err)
{
	char path[PATH_MAX + 32];
	(void)snprintf(path, sizeof path, "%s/names.json", e->dir); /* fits */
	json_t *before = json_load_file(path, 0, NULL);
	if (before && json_object_update_missing(e->names, before) < 0) {
		json_decref(before);
		return hs_fail_errno(err, -ENOMEM, "eval.names", path);
	}
	json_decref(before);
	return json_dump_file(e->names, path, JSON_COMPACT) < 0 ? hs_fail_errno(err, -EIO, "eval.names", path) : 0;
}

/* Vectors trail words; vector and hybrid runs wait for them. */
static int wait_vectors(struct eval *e, struct hs_err *err)
{
	struct hs_progress progress = {0};
	for (uint64_t until = hs_monotonic_ms() + VECTORS_MS; hs_monotonic_ms() < until; nap(500)) {
		HS_REPLY_AUTO reply = {0};
		int rc = hs_call(&e->cli, "GET", "/v1/progress", NULL, &reply, err);
		if (rc < 0)
			return rc;
		uint64_t chunks = (uint64_t)json_integer_value(json_object_get(reply.json, "chunks"));
		uint64_t vectors = (uint64_t)json_integer_value(json_object_get(reply.json, "vectors"));
		if (!progress.began)
			hs_progress_begin(&progress, chunks);
		hs_progress_show(&progress, vectors, _("vectors"));
		if (vectors >= chunks) {
			hs_progress_end(&progress);
			return 0;
		}
	}
	return hs_fail(err, ETIMEDOUT, "eval.vectors", "", "%s", e->dir);
}

static int ask_query(struct eval *e, const json_t *query, struct hs_err *err)
{
	const char *id = json_string_value(json_object_get(query, "_id")),
		   *text = json_string_value(json_object_get(query, "text"));
	HS_REPLY_AUTO reply = {0};
	uint64_t began = hs_monotonic_us();
	int rc = hs_call_person(&e->cli, "POST", "/v1/search",
				json_pack("{s:s, s:s, s:i}", "query", text, "mode", e->mode, "k", PASSAGES), &reply, err);
	if (rc < 0)
		return rc;
	e->ms[e->n_ms++] = (double)(hs_monotonic_us() - began) / 1000;
	json_t *ranked = json_array(), *seen = json_object(), *hit;
	size_t i;
	json_array_foreach(json_object_get(reply.json, "data"), i, hit)
	{
		const char *document = json_string_value(json_object_get(hit, "document"));
		const char *name = document ? json_string_value(json_object_get(e->names, document)) : NULL;
		if (!name || json_object_get(seen, name) || json_array_size(ranked) >= HS_BEIR_DEPTH)
			continue;
		(void)json_object_set_new(seen, name, json_true()); /* a repetition would only lower the figures */
		(void)json_array_append_new(ranked, json_string(name));
	}
	json_decref(seen);
	return json_object_set_new(e->run, id, ranked) < 0 ? hs_fail_errno(err, -ENOMEM, "eval.run", id) : 0;
}

static int write_run(const struct eval *e, const char *path, struct hs_err *err)
{
	HS_BUF_AUTO text = HS_BUF_INIT;
	const char *query;
	json_t *ranked, *name;
	size_t i;
	int rc = 0;
	json_object_foreach(e->run, query, ranked)
	{
		rc = rc < 0 ? rc : hs_buf_printf(&text, "%s\t", query);
		json_array_foreach(ranked, i, name)
		{
			if (rc == 0)
				rc = hs_buf_printf(&text, "%s%s", i ? " " : "", json_string_value(name));
		}
		if (rc == 0)
			rc = hs_buf_append_byte(&text, '\n');
	}
	if (rc == 0)
		rc = hs_file_replace(AT_FDCWD, path, text.data, text.len, 0644);
	return rc < 0 ? hs_fail_errno(err, rc, "cli.write", path) : 0;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

static double quantile(const struct eval *e, double q)
{
	return e->n_ms ? e->ms[(size_t)(q * (double)(e->n_ms - 1) + 0.5)] : 0;
}

static int ask_answer(void *ctx, bool held, const char *question, json_t **ret, struct hs_err *err)
{
	struct eval *e = ctx;
	struct hs_cli cli = e->cli;
	HS_REPLY_AUTO reply = {0};
	if (held)
		cli.token_file = e->without;
	int rc = hs_call_person(&cli, "POST", "/v1/chat/completions",
				json_pack("{s:[{s:s, s:s}]}", "messages", "role", "user", "content", question), &reply, err);
	if (rc == 0)
		*ret = json_incref(reply.json);
	return rc;
}

/* The generator's coming is awaited: without it Hisho would answer, too, in the documents' own sentences. */
static int wait_generator(struct eval *e, struct hs_err *err)
{
	for (uint64_t until = hs_monotonic_ms() + START_MS * 5; hs_monotonic_ms() < until; nap(200)) {
		HS_REPLY_AUTO reply = {0};
		int rc = hs_call(&e->cli, "GET", "/v1/admin/status", NULL, &reply, err);
		if (rc < 0)
			return rc;
		const char *generator = json_string_value(json_object_get(reply.json, "generator"));
		if (generator && *generator)
			return 0;
	}
	return hs_fail(err, ETIMEDOUT, "eval.generator", HS_N_("no chat model was loaded; name one with --generator"), "%s", e->dir);
}

static int print_answers(const struct eval *e)
{
	const struct hs_answers_figures *f = &e->answers;
	if (!e->cli.json) {
		printf("answers: asked %zu  answered %zu  contained %zu  evidence names the gold %zu, of these contained %zu  evidence "
		       "holds it %zu  cited span holds it %zu  held back %zu  silent %zu  median %.0f ms\n",
		       f->asked, f->answered, f->contained, f->found, f->contained_found, f->evident, f->cited, f->held, f->silent,
		       f->median_ms);
		return HS_EXIT_OK;
	}
	json_t *j = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "found", (json_int_t)f->found, "contained_found",
			      (json_int_t)f->contained_found, "asked", (json_int_t)f->asked, "answered",
			      (json_int_t)f->answered, "contained", (json_int_t)f->contained, "evident", (json_int_t)f->evident, "cited",
			      (json_int_t)f->cited, "held", (json_int_t)f->held, "silent", (json_int_t)f->silent, "median_ms",
			      f->median_ms);
	int rc = j ? hs_print_json(j) : HS_EXIT_FAILED;
	json_decref(j);
	return rc;
}

static int print_figures(struct eval *e)
{
	struct hs_beir_figures f;
	if (e->n_answers > 0)
		return print_answers(e);
	hs_beir_score(&e->set, e->run, &f);
	qsort(e->ms, e->n_ms, sizeof *e->ms, by_value);
	double p50 = quantile(e, 0.5), p95 = quantile(e, 0.95);
	if (!e->cli.json) {
		printf("queries %zu  R@1 %.1f  R@5 %.1f  R@10 %.1f  R@100 %.1f  MRR@10 %.1f  nDCG@10 %.1f  p50 %.1f ms  p95 %.1f "
		       "ms\n",
		       f.queries, 100 * f.recall_1, 100 * f.recall_5, 100 * f.recall_10, 100 * f.recall_100, 100 * f.mrr_10,
		       100 * f.ndcg_10, p50, p95);
		return HS_EXIT_OK;
	}
	json_t *j = json_pack("{s:s, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "mode", e->mode, "queries",
			      (json_int_t)f.queries, "recall_1", f.recall_1, "recall_5", f.recall_5, "recall_10", f.recall_10,
			      "recall_100", f.recall_100, "mrr_10", f.mrr_10, "ndcg_10", f.ndcg_10, "p50_ms", p50, "p95_ms", p95);
	int rc = j ? hs_print_json(j) : HS_EXIT_FAILED;
	json_decref(j);
	return rc;
}

static int evaluate(struct eval *e, const char *embedder, const char *generator, const char *reranker, const char *run_file,
		    struct hs_err *err)
{
	int rc = set_up(e, embedder, generator, reranker, err);
	if (rc == 0)
		rc = file_corpus(e, err);
	if (rc == 0)
		rc = remember_names(e, err);
	if (rc == 0 && strcmp(e->mode, "lexical") != 0)
		rc = wait_vectors(e, err);
	if (e->n_answers > 0) {
		if (rc == 0)
			rc = wait_generator(e, err);
		return rc < 0 ? rc : hs_answers_measure(&e->set, e->names, e->n_answers, ask_answer, e, &e->answers, err);
	}
	size_t i, n = json_array_size(e->set.queries);
	json_t *query;
	struct hs_progress progress;
	hs_progress_begin(&progress, n);
	if (rc == 0) {
		json_array_foreach(e->set.queries, i, query)
		{
			rc = ask_query(e, query, err);
			if (rc < 0)
				break;
			hs_progress_show(&progress, i + 1, _("asked"));
		}
	}
	hs_progress_end(&progress);
	if (rc == 0 && run_file)
		rc = write_run(e, run_file, err);
	return rc;
}

static void stop_server(struct eval *e)
{
	hs_client_close();
	if (e->server > 0) {
		(void)kill(e->server, SIGTERM); /* it may be gone already */
		(void)waitpid(e->server, NULL, 0);
	}
}

static int remove_dir(const char *dir)
{
	char *const argv[] = {(char *)"rm", (char *)"-rf", (char *)"--", (char *)dir, NULL};
	pid_t pid;
	return posix_spawnp(&pid, "rm", NULL, NULL, argv, environ) == 0 && waitpid(pid, NULL, 0) == pid ? 0 : -1;
}

/* Where the throw-away appliance lives, and the programs: beside this one in the build tree, or installed. */
static int find_places(struct eval *e, const char *keep, struct hs_err *err)
{
	ssize_t n = readlink("/proc/self/exe", e->self, sizeof e->self - 1);
	if (n < 0)
		return hs_fail_errno(err, -errno, "eval.self", "/proc/self/exe");
	e->self[n] = '\0';
	const char *slash = strrchr(e->self, '/');
	(void)snprintf(e->hishod, sizeof e->hishod, "%.*s/../daemon/hishod", (int)(slash - e->self), e->self); /* fits */
	if (keep) {
		if (hs_mkdirs(keep, 0700) < 0 || !realpath(keep, e->dir))
			return hs_fail_errno(err, -errno, "eval.keep", keep);
	} else {
		memcpy(e->dir, "/var/tmp/hisho-eval-XXXXXX", sizeof "/var/tmp/hisho-eval-XXXXXX");
		if (!mkdtemp(e->dir))
			return hs_fail_errno(err, -errno, "eval.dir", e->dir);
	}
	(void)snprintf(e->key, sizeof e->key, "%s/sender.key", e->dir); /* fit */
	(void)snprintf(e->token, sizeof e->token, "%s/asker.token", e->dir);
	(void)snprintf(e->without, sizeof e->without, "%s/without.token", e->dir);
	e->cli = (struct hs_cli){.dir = e->dir, .tenant = "eval", .token_file = e->token, .json = e->cli.json};
	return 0;
}

static int run(struct hs_cli *cli, int argc, char **argv)
{
	const char *run_file = NULL, *keep = NULL, *embedder = NULL, *generator = NULL, *reranker = NULL;
	struct eval e = {.mode = "hybrid", .cli.json = false};
	const struct hs_option options[] = {
		{"mode", HS_OPTION_STRING, &e.mode, HS_N_("lexical, vector or hybrid")},
		{"run", HS_OPTION_STRING, &run_file, HS_N_("write query<TAB>documents to this file")},
		{"keep", HS_OPTION_STRING, &keep, HS_N_("keep the appliance in this folder, and use what is there")},
		{"embedder", HS_OPTION_STRING, &embedder, HS_N_("embedder, for vector and hybrid")},
		{"generator", HS_OPTION_STRING, &generator, HS_N_("chat model")},
		{"reranker", HS_OPTION_STRING, &reranker, HS_N_("reranker of the best passages, within the time that a search has")},
		{"answers", HS_OPTION_COUNT, &e.n_answers, HS_N_("ask so many questions and judge the answers, in place of the ranking")},
	};
	int first, rc;
	if (!hs_cli_parse(cli, &hs_verb_eval, options, HS_ARRAY_LEN(options), argc, argv, &first, &rc))
		return rc;
	bool known = strcmp(e.mode, "lexical") == 0 || strcmp(e.mode, "vector") == 0 || strcmp(e.mode, "hybrid") == 0;
	if (argc - first != 1 || !known || (strcmp(e.mode, "lexical") != 0 && !embedder && !keep))
		return hs_cli_usage(&hs_verb_eval, _("a BEIR folder, a mode, and an embedder for vectors are needed"));
	struct hs_err err = HS_ERR_INIT;
	e.cli.json = cli->json;
	e.names = json_object();
	e.run = json_object();
	rc = hs_crypto_init();
	if (rc == 0)
		rc = hs_beir_load(argv[first], &e.set, &err);
	if (rc == 0)
		rc = find_places(&e, keep, &err);
	if (rc == 0) {
		e.ms = calloc(json_array_size(e.set.queries) + 1, sizeof *e.ms);
		rc = e.ms ? evaluate(&e, embedder, generator, reranker, run_file, &err)
			  : hs_fail_errno(&err, -ENOMEM, "cli.memory", "eval");
		stop_server(&e);
		if (!keep && remove_dir(e.dir) < 0)
			fprintf(stderr, "hisho: %s: %s\n", e.dir, _("could not be removed"));
	}
	int exit_code = rc < 0 ? hs_cli_fail(cli, &err) : print_figures(&e);
	free(e.ms);
	json_decref(e.names);
	json_decref(e.run);
	hs_beir_finish(&e.set);
	return exit_code;
}

const struct hs_verb hs_verb_eval = {"eval", run,
				     "SET --mode lexical|vector|hybrid [--run OUT.tsv] [--keep DIR] [--embedder FILE] [--reranker FILE] "
				     "[--answers N --generator FILE]",
				     HS_N_("measure retrieval on a BEIR folder, through the whole pipeline")};
