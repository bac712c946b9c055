/*
 * hisho ingest: folders and files, sealed here, handed in, followed until words find them.
 *
 *   what earlier runs left unsettled is asked for
 *   walk -> skip what is unchanged -> seal and sign -> POST -> acknowledged (written down) -> ask for the job until it ended
 *     -> settled (written down): done, or to be filed again
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/file.h"
#include "cli/client.h"
#include "cli/collections.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/submit.h"
#include "cli/walk.h"

#define POLL_MS 200
#define ON_THEIR_WAY_BYTES (64u * 1024u * 1024u) /* of submissions; a larger one goes alone */
#define FOLLOW_SECONDS_DEFAULT 3600

struct job {
	struct hs_ticket ticket;
	char *name;
};

struct sending { /* a submission on its way */
	struct hs_ticket ticket;
	uint64_t size;   /* of the file */
	size_t body_len;
	char name[];
};

struct ingest {
	const struct hs_cli *cli;
	struct hs_filer *filer;
	struct hs_collections *collections;
	struct hs_filing given; /* of the options */
	bool again;
	struct hs_progress progress;
	uint64_t bytes_done, bytes_total;
	size_t n_files, n_filed, n_unchanged, n_failed;
	json_t *errors; /* for --json */
	struct job *jobs;
	size_t n_jobs, cap_jobs;
	bool told_waiting;
	struct hs_posts *posts;
	struct sending *sent[HS_POSTS_MAX];
	size_t n_sent, bytes_sent;
	bool ended; /* by an error of more than one file */
	struct hs_err err; /* what ended the run while jobs were asked for */
};

static void say(struct ingest *g, const char *name, const char *how, const char *text)
{
	hs_progress_end(&g->progress);
	fputs("hisho: ", stderr);
	hs_print_safe(stderr, name, strlen(name));
	fprintf(stderr, ": %s%s\n", how, text);
	g->progress.shown = g->progress.last != 0;
}

static void report(struct ingest *g, const char *name, const struct hs_err *err)
{
	g->n_failed++;
	char text[512];
	(void)hs_err_text(err, text, sizeof text);
	if (!g->cli->json)
		say(g, name, "", text);
	else /* a list that could not grow still leaves the count and the exit status */
		(void)json_array_append_new(g->errors,
					    json_pack("{s:s, s:s, s:s}", "file", name, "code", err->code, "message", text));
}

/* Once a run: what one job waits for, the others wait for, too. */
static void report_waiting(struct ingest *g, const char *name, const struct hs_err *why)
{
	char text[512];
	if (!why->num || g->told_waiting || g->cli->json)
		return;
	g->told_waiting = true;
	say(g, name, _("waits: "), hs_err_text(why, text, sizeof text));
}

static int add_job(struct ingest *g, const struct hs_ticket *ticket, const char *name)
{
	if (!*ticket->job)
		return 0;
	if (g->n_jobs == g->cap_jobs) {
		size_t cap = g->cap_jobs ? g->cap_jobs * 2 : 64;
		struct job *more = realloc(g->jobs, cap * sizeof *more);
		if (!more)
			return -ENOMEM;
		g->jobs = more;
		g->cap_jobs = cap;
	}
	struct job *j = &g->jobs[g->n_jobs];
	j->ticket = *ticket;
	j->name = strdup(name);
	if (!j->name)
		return -ENOMEM;
	g->n_jobs++;
	return 0;
}

static int count_file(void *ctx, const struct hs_walk_file *file, const struct hs_err *err)
{
	struct ingest *g = ctx;
	g->n_files++;
	g->bytes_total += err ? 0 : file->size;
	return 0;
}

/* What ends the whole run rather than one file: nobody there, no right, no disk for our own notes or the appliance's. */
static bool is_fatal(const struct hs_err *err)
{
	return strncmp(err->code, "cli.", 4) == 0 || strncmp(err->code, "auth.", 5) == 0 ||
	       strncmp(err->code, "sender.", 7) == 0 || strncmp(err->code, "tenant.", 7) == 0;
}

static int file_failed(struct ingest *g, const char *name, int rc, struct hs_err *err)
{
	if (!err->num)
		(void)hs_fail_errno(err, rc, "file.failed", name);
	bool fatal = is_fatal(err);
	if (!(fatal && g->ended)) /* what ends the run is said once */
		report(g, name, err);
	g->ended = g->ended || fatal;
	return fatal ? rc : 0;
}

static void show_progress(struct ingest *g, uint64_t size, size_t n_busy)
{
	char words[128];
	g->bytes_done += size;
	int n = snprintf(words, sizeof words, "%zu / %zu", g->n_filed + g->n_unchanged + g->n_failed, g->n_files);
	if (n_busy && n > 0)
		(void)snprintf(words + n, sizeof words - (size_t)n, _(", the appliance is busy: %zu wait"), n_busy);
	hs_progress_show(&g->progress, HS_MIN(g->bytes_done, g->progress.total), words);
}

static void on_busy(void *ctx, size_t n)
{
	show_progress(ctx, 0, n);
}

static void forget_sending(struct ingest *g, struct sending *x)
{
	size_t i = 0;
	while (g->sent[i] != x)
		i++;
	g->sent[i] = g->sent[--g->n_sent];
	g->bytes_sent -= x->body_len;
	free(x);
}

/* Wait until one submission was acknowledged or refused. Non-zero ends the run. */
static int take_answer(struct ingest *g)
{
	HS_REPLY_AUTO reply = {0};
	struct hs_err err = HS_ERR_INIT;
	void *tag = NULL;
	int rc = hs_posts_wait(g->posts, &tag, &reply, &err);
	struct sending *x = tag;
	if (!x)
		return rc < 0 ? file_failed(g, "", rc, &err) : 0;
	if (rc > 0) {
		rc = hs_filer_acknowledge(g->filer, &x->ticket, hs_submission_job(&reply), &err);
		g->n_filed += rc == 0;
		if (rc == 0)
			rc = add_job(g, &x->ticket, x->name);
	}
	if (rc < 0)
		rc = file_failed(g, x->name, rc, &err);
	show_progress(g, x->size, 0);
	forget_sending(g, x);
	return rc;
}

/* Also after what ended the run: what was acknowledged is written down. */
static int take_answers(struct ingest *g)
{
	int rc = 0;
	while (g->n_sent > 0 && hs_posts_count(g->posts) > 0) {
		size_t before = g->n_sent;
		int now = take_answer(g);
		rc = rc ? rc : now;
		if (g->n_sent == before) /* no more answers come */
			break;
	}
	return rc;
}

/* Two of one source go one after the other: their sequence must rise. */
static bool must_wait(const struct ingest *g, const struct hs_ticket *ticket, size_t len)
{
	if (g->n_sent == HS_POSTS_MAX || (g->n_sent > 0 && g->bytes_sent + len > ON_THEIR_WAY_BYTES))
		return true;
	for (size_t i = 0; i < g->n_sent; i++) {
		if (strcmp(g->sent[i]->ticket.source, ticket->source) == 0)
			return true;
	}
	return false;
}

/* Put what was just sealed on its way. *ret_end: the run ends, and it was said why. */
static int send_sealed(struct ingest *g, const struct hs_walk_file *file, const struct hs_buf *manifest,
		       const struct hs_buf *ciphertext, int *ret_end, struct hs_err *err)
{
	const struct hs_ticket ticket = hs_filer_sealed(g->filer);
	HS_BUF_AUTO body = HS_BUF_INIT;
	int rc = hs_submission_body(manifest, ciphertext, &body);
	if (rc < 0)
		return rc;
	while (must_wait(g, &ticket, body.len)) {
		*ret_end = take_answer(g);
		if (*ret_end)
			return 0;
	}
	size_t n = strlen(file->name) + 1;
	struct sending *x = calloc(1, sizeof *x + n);
	if (!x)
		return -ENOMEM;
	x->ticket = ticket;
	x->size = file->size;
	x->body_len = body.len;
	memcpy(x->name, file->name, n);
	rc = hs_posts_add(g->posts, "/v1/documents", HS_SUBMISSION_TYPE, &body, x, err);
	if (rc < 0) {
		free(x);
		return rc;
	}
	g->sent[g->n_sent++] = x;
	g->bytes_sent += x->body_len;
	return 0;
}

static int take_file(void *ctx, const struct hs_walk_file *file, const struct hs_err *walk_err)
{
	struct ingest *g = ctx;
	if (walk_err) {
		report(g, file->name, walk_err);
		return 0;
	}
	struct hs_filing where = g->given;
	hs_collections_find(g->collections, file->relative, &where);
	struct hs_err err = HS_ERR_INIT;
	if (!where.collection || !where.level) {
		(void)hs_fail(&err, EINVAL, "file.collection",
			      HS_N_("say where it belongs: --collection and --level, or a line in collections.yaml"), "%s",
			      file->name);
		report(g, file->name, &err);
		return 0;
	}
	HS_BUF_AUTO manifest = HS_BUF_INIT;
	HS_BUF_AUTO ciphertext = HS_BUF_INIT;
	int end = 0;
	int rc = hs_filer_seal(g->filer, file->path, file->name, &where, g->again, &manifest, &ciphertext, &err);
	struct hs_ticket ticket;
	if (rc == HS_UNCHANGED) {
		g->n_unchanged++;
		rc = hs_filer_ticket(g->filer, file->path, &ticket) ? add_job(g, &ticket, file->name) : 0;
	} else if (rc == HS_FILED) {
		rc = send_sealed(g, file, &manifest, &ciphertext, &end, &err);
		if (rc == 0)
			return end;
	}
	if (rc < 0)
		end = file_failed(g, file->name, rc, &err);
	show_progress(g, file->size, 0);
	return end;
}

enum ending { GOES_ON, DONE, FAILED, UNKNOWN };

/* Has a job ended? ret_why says why it failed, or why it waits to be begun again; its hint lives in *ret_reply. */
static int look_at(struct ingest *g, const struct hs_ticket *ticket, enum ending *ret, struct hs_reply *ret_reply,
		   struct hs_err *ret_why, struct hs_err *err)
{
	char path[96];
	(void)snprintf(path, sizeof path, "/v1/jobs/%s", ticket->job);
	int rc = hs_call(g->cli, "GET", path, NULL, ret_reply, err);
	if (rc < 0 && err->num == ENOENT) {
		*ret = UNKNOWN;
		(void)hs_fail(ret_why, ENOENT, "job.unknown", HS_N_("the appliance does not know the job any more; file the document again"),
			      "%s", ticket->job);
		*err = HS_ERR_INIT;
		return 0;
	}
	if (rc < 0)
		return rc;
	const char *state = json_string_value(json_object_get(ret_reply->json, "state"));
	*ret = state && strcmp(state, "done") == 0 ? DONE : state && strcmp(state, "failed") == 0 ? FAILED : GOES_ON;
	const json_t *e = json_object_get(ret_reply->json, "error");
	if (*ret == FAILED || (*ret == GOES_ON && e)) {
		const char *code = json_string_value(json_object_get(e, "code"));
		const char *object = json_string_value(json_object_get(e, "object"));
		const char *hint = json_string_value(json_object_get(e, "hint")); /* in the language that was asked for */
		(void)hs_fail(ret_why, EBADMSG, code ? code : "job.failed", hint, "%s", object ? object : ticket->job);
	}
	return 0;
}

/* A job of an earlier run: where it failed, or nobody knows it any more, its document counts as never filed. */
static int settle_earlier(void *ctx, const struct hs_ticket *ticket)
{
	struct ingest *g = ctx;
	HS_REPLY_AUTO reply = {0};
	struct hs_err why = HS_ERR_INIT;
	enum ending ending = GOES_ON;
	int rc = look_at(g, ticket, &ending, &reply, &why, &g->err);
	if (rc < 0 || ending == GOES_ON)
		return rc;
	return hs_filer_settle(g->filer, ticket, ending == DONE, &g->err);
}

/* Ask for one job; *ret_ended where there is no more to ask. */
static int follow_one(struct ingest *g, const struct job *j, bool *ret_ended)
{
	HS_REPLY_AUTO reply = {0};
	struct hs_err why = HS_ERR_INIT;
	enum ending ending = GOES_ON;
	int rc = look_at(g, &j->ticket, &ending, &reply, &why, &g->err);
	*ret_ended = ending != GOES_ON;
	if (rc == 0 && ending == GOES_ON)
		report_waiting(g, j->name, &why);
	if (rc < 0 || ending == GOES_ON)
		return rc;
	if (ending != DONE)
		report(g, j->name, &why);
	return hs_filer_settle(g->filer, &j->ticket, ending == DONE, &g->err);
}

static int follow(struct ingest *g, uint32_t seconds)
{
	hs_progress_begin(&g->progress, g->n_jobs);
	uint64_t until = hs_monotonic_ms() + seconds * 1000ull;
	size_t at = 0;
	while (at < g->n_jobs) {
		bool ended = false;
		if (follow_one(g, &g->jobs[at], &ended) < 0)
			return hs_cli_fail(g->cli, &g->err);
		if (ended) {
			hs_progress_show(&g->progress, ++at, _("indexed"));
			continue;
		}
		if (hs_monotonic_ms() > until) {
			struct hs_err err = HS_ERR_INIT;
			(void)hs_fail(&err, ETIMEDOUT, "cli.follow",
				      HS_N_("filed, and still being indexed; the next run asks for them again; see hisho status --tenant"),
				      "%zu", g->n_jobs - at);
			return hs_cli_fail(g->cli, &err);
		}
		(void)nanosleep(&(struct timespec){.tv_nsec = POLL_MS * 1000000L}, NULL); /* an early wake only asks early */
	}
	hs_progress_end(&g->progress);
	return 0;
}

static int ingest_argument(struct ingest *g, const char *argument, const char *collections_file, struct hs_err *err)
{
	char path[PATH_MAX];
	int n = collections_file ? snprintf(path, sizeof path, "%s", collections_file)
				 : snprintf(path, sizeof path, "%s/%s", argument, HS_COLLECTIONS_FILE);
	if (n < 0 || n >= (int)sizeof path)
		return hs_fail(err, ENAMETOOLONG, "file.path", "", "%s", argument);
	struct hs_err missing = HS_ERR_INIT;
	int rc = hs_collections_load(path, &g->collections, &missing);
	if (rc < 0 && (collections_file || (rc != -ENOENT && rc != -ENOTDIR))) {
		*err = missing;
		return rc;
	}
	rc = hs_walk(argument, take_file, g, err);
	hs_collections_destroy(g->collections);
	g->collections = NULL;
	return rc;
}

static int finish(struct ingest *g, int exit_code)
{
	if (exit_code == HS_EXIT_OK && g->n_failed)
		exit_code = g->n_filed + g->n_unchanged ? HS_EXIT_PARTLY : HS_EXIT_FAILED;
	if (g->cli->json) {
		json_t *j = json_pack("{s:I, s:I, s:I, s:I, s:O}", "files", (json_int_t)g->n_files, "filed",
				      (json_int_t)g->n_filed, "unchanged", (json_int_t)g->n_unchanged, "failed",
				      (json_int_t)g->n_failed, "errors", g->errors);
		if (j && hs_print_json(j) != HS_EXIT_OK)
			exit_code = HS_EXIT_FAILED;
		json_decref(j);
	} else {
		printf(_("%zu filed, %zu unchanged, %zu failed\n"), g->n_filed, g->n_unchanged, g->n_failed);
	}
	json_decref(g->errors);
	hs_posts_destroy(g->posts);
	for (size_t i = 0; i < g->n_sent; i++)
		free(g->sent[i]);
	hs_filer_close(g->filer);
	for (size_t i = 0; i < g->n_jobs; i++)
		free(g->jobs[i].name);
	free(g->jobs);
	return exit_code;
}

static int run(struct hs_cli *cli, int argc, char **argv)
{
	const char *sender = NULL, *collections = NULL, *tenant_file = NULL, *expires = NULL;
	bool no_follow = false;
	uint32_t seconds = FOLLOW_SECONDS_DEFAULT;
	struct ingest g = {.cli = cli, .given.list = "", .err = HS_ERR_INIT};
	const struct hs_option options[] = {
		{"sender", HS_OPTION_STRING, &sender, HS_N_("key file of the sender (hisho sender keygen)")},
		{"collection", HS_OPTION_STRING, &g.given.collection, HS_N_("collection of what collections.yaml does not name")},
		{"level", HS_OPTION_STRING, &g.given.level, HS_N_("level of the same")},
		{"list", HS_OPTION_STRING, &g.given.list, HS_N_("named access list of the same")},
		{"expires", HS_OPTION_STRING, &expires, HS_N_("hide the documents after this date")},
		{"collections", HS_OPTION_STRING, &collections, HS_N_("the file to use in place of FOLDER/collections.yaml")},
		{"to", HS_OPTION_STRING, &tenant_file, HS_N_("JSON of `hisho tenant info`, in place of asking the appliance")},
		{"again", HS_OPTION_FLAG, &g.again, HS_N_("file unchanged documents too")},
		{"no-wait", HS_OPTION_FLAG, &no_follow, HS_N_("do not wait until words find the documents")},
		{"wait", HS_OPTION_COUNT, &seconds,
		 HS_N_("wait at most so many seconds for a busy appliance, and until words find the documents (3600)")},
	};
	int first, rc;
	if (!hs_cli_parse(cli, &hs_verb_ingest, options, HS_ARRAY_LEN(options), argc, argv, &first, &rc))
		return rc;
	if (first == argc || !sender)
		return hs_cli_usage(&hs_verb_ingest, _("a sender's key (--sender) and files or folders are needed"));
	if (expires && !hs_time_parse(expires, strlen(expires), &g.given.expires))
		return hs_cli_usage(&hs_verb_ingest, _("--expires takes a date such as 2027-03-31"));
	struct hs_err err = HS_ERR_INIT;
	g.errors = json_array();
	rc = hs_filer_open(cli, sender, tenant_file, &g.filer, &err);
	if (rc == 0) {
		rc = hs_filer_unsettled(g.filer, settle_earlier, &g);
		err = g.err;
	}
	for (int i = first; i < argc && rc == 0; i++)
		rc = hs_walk(argv[i], count_file, &g, &err);
	hs_progress_begin(&g.progress, g.bytes_total);
	if (rc == 0)
		rc = hs_posts_create(cli, seconds, on_busy, &g, &g.posts);
	for (int i = first; i < argc && rc == 0; i++)
		rc = ingest_argument(&g, argv[i], collections, &err);
	int last = g.posts ? take_answers(&g) : 0;
	rc = rc ? rc : last;
	hs_progress_end(&g.progress);
	if (rc < 0) /* a fatal error of one file was reported with its name already */
		return finish(&g, err.num ? hs_cli_fail(cli, &err) : HS_EXIT_FAILED);
	return finish(&g, no_follow ? HS_EXIT_OK : follow(&g, seconds));
}

const struct hs_verb hs_verb_ingest = {"ingest", run, "--sender KEYFILE [--collection C --level L] FILE|FOLDER...",
				       HS_N_("seal and file documents; what is unchanged is skipped")};
