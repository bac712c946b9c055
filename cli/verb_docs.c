/*
 * hisho docs list|failed|dismiss|rm: what a tenant holds, by id; names are shown to those who may read them, and to the sender, who
 * knows which file it was. rm is a signed submission as ingest is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/client.h"
#include "cli/output.h"
#include "cli/submit.h"
#include "cli/walk.h"

#define PAGE 1000 /* rows asked for at a time: the most that the appliance gives */

static int docs_list(struct hs_cli *cli, int argc, char **argv);
static int docs_failed(struct hs_cli *cli, int argc, char **argv);
static int docs_dismiss(struct hs_cli *cli, int argc, char **argv);
static int docs_rm(struct hs_cli *cli, int argc, char **argv);

static const struct hs_verb docs_verbs[] = {
	{"docs list", docs_list, "", HS_N_("list documents: with a token those its owner may read, without one every id")},
	{"docs failed", docs_failed, "[--sender KEYFILE FILE|FOLDER...]",
	 HS_N_("list what was filed and could not be taken, why, and what to do; with the sender's key and files, their names")},
	{"docs dismiss", docs_dismiss, "JOB...", HS_N_("what failed was seen: it is not listed or counted any more")},
	{"docs rm", docs_rm, "--sender KEYFILE FILE...", HS_N_("take documents back; holds from the next question on")},
};

/* Every page of a list: the rows of path, put together. */
static int list_all(const struct hs_cli *cli, bool person, const char *path, json_t *rows, struct hs_err *err)
{
	char at[160];
	const char *after = "";
	size_t from = 0, more = 0; /* the next page stands behind row from - 1 */
	do {
		HS_REPLY_AUTO reply = {0};
		(void)snprintf(at, sizeof at, "%s?limit=%d&after=%s", path, PAGE, after); /* ids are short and need no escape */
		int rc = person ? hs_call_person(cli, "GET", at, NULL, &reply, err) : hs_call(cli, "GET", at, NULL, &reply, err);
		if (rc < 0 && err->num == ENOENT && from > 0) { /* gone meanwhile: what was behind it is behind the one before it */
			*err = HS_ERR_INIT;
			from--;
		} else if (rc < 0) {
			return rc;
		} else {
			const json_t *page = json_object_get(reply.json, "data");
			more = json_array_size(page);
			if (json_array_extend(rows, (json_t *)page) < 0)
				return hs_fail(err, EPROTO, "cli.reply", "", "%s", path);
			from = json_array_size(rows);
		}
		after = from ? json_string_value(json_object_get(json_array_get(rows, from - 1), "id")) : "";
	} while (more > 0 && after && strlen(after) <= HS_ID_LEN);
	return 0;
}

static int docs_list(struct hs_cli *cli, int argc, char **argv)
{
	int first, rc;
	if (!hs_cli_parse(cli, &docs_verbs[0], NULL, 0, argc, argv, &first, &rc))
		return rc;
	struct hs_err err = HS_ERR_INIT;
	bool person = cli->url || cli->token_file || getenv("HISHO_TOKEN");
	json_t *rows = json_array();
	rc = list_all(cli, person, person ? "/v1/documents" : "/v1/admin/documents", rows, &err);
	static const struct hs_column columns[] = {
		{.title = HS_N_("DOCUMENT"), .key = "id"},
		{.title = HS_N_("FORMAT"), .key = "format"},
		{.title = HS_N_("BYTES"), .key = "length", .right = true},
		{.title = HS_N_("UPDATED"), .key = "updated", .time = true},
		{.title = HS_N_("TITLE"), .key = "title"}, /* an admin, who does not read, is told no titles */
	};
	rc = rc < 0 ? hs_cli_fail(cli, &err) : hs_print_table(cli, rows, columns, HS_ARRAY_LEN(columns) - (person ? 0 : 1));
	json_decref(rows);
	return rc;
}

/* --- failed --- */

struct naming {
	const struct hs_filer *filer;
	json_t *names; /* source -> name */
};

static int name_file(void *ctx, const struct hs_walk_file *file, const struct hs_err *walk_err)
{
	struct naming *n = ctx;
	char source[HS_FILER_SOURCE_LEN + 1];
	struct hs_err err = HS_ERR_INIT;
	if (walk_err || hs_filer_source(n->filer, file->path, source, &err) < 0)
		return 0; /* what cannot be looked at stays unnamed */
	return json_object_set_new(n->names, source, json_string(file->name)) < 0 ? -ENOMEM : 0;
}

static int name_files(const struct hs_cli *cli, const char *sender, char **paths, int n_paths, json_t *names, struct hs_err *err)
{
	struct hs_filer *filer = NULL;
	int rc = hs_filer_open(cli, sender, NULL, &filer, err);
	struct naming naming = {filer, names};
	for (int i = 0; i < n_paths && rc == 0; i++)
		rc = hs_walk(paths[i], name_file, &naming, err);
	hs_filer_close(filer);
	return rc;
}

static int docs_failed(struct hs_cli *cli, int argc, char **argv)
{
	const char *sender = NULL;
	const struct hs_option options[] = {
		{"sender", HS_OPTION_STRING, &sender, HS_N_("key file of the sender that filed them")}};
	int first, rc;
	if (!hs_cli_parse(cli, &docs_verbs[1], options, HS_ARRAY_LEN(options), argc, argv, &first, &rc))
		return rc;
	if ((first < argc) != (sender != NULL))
		return hs_cli_usage(&docs_verbs[1], _("names need both the sender's key (--sender) and the files or folders"));
	struct hs_err err = HS_ERR_INIT;
	json_t *rows = json_array(), *names = json_object();
	rc = sender ? name_files(cli, sender, argv + first, argc - first, names, &err) : 0;
	if (rc == 0)
		rc = list_all(cli, false, "/v1/jobs", rows, &err);
	size_t i;
	json_t *row;
	json_array_foreach(rows, i, row)
	{
		const char *source = json_string_value(json_object_get(row, "source"));
		json_t *name = source ? json_object_get(names, source) : NULL;
		const char *hint = json_string_value(json_object_get(json_object_get(row, "error"), "hint"));
		/* A row that is left without them shows less. */
		(void)json_object_set(row, "name", name ? name : json_object_get(row, "source"));
		(void)json_object_set_new(row, "what_to_do", json_string(hint && *hint ? _(hint) : ""));
	}
	static const struct hs_column columns[] = {
		{.title = HS_N_("JOB"), .key = "id"},
		{.title = HS_N_("FAILED"), .key = "updated", .time = true},
		{.title = HS_N_("CODE"), .key = "error.code"},
		{.title = HS_N_("DOCUMENT"), .key = "name"},
		{.title = HS_N_("WHAT TO DO"), .key = "what_to_do"},
	};
	rc = rc < 0 ? hs_cli_fail(cli, &err) : hs_print_table(cli, rows, columns, HS_ARRAY_LEN(columns));
	json_decref(rows);
	json_decref(names);
	return rc;
}

static int dismiss(const struct hs_cli *cli, const char *job, struct hs_err *err)
{
	HS_BUF_AUTO path = HS_BUF_INIT;
	HS_REPLY_AUTO reply = {0};
	const char *p = hs_path_of(&path, "/v1/jobs/", job, "", err);
	return p ? hs_call(cli, "DELETE", p, NULL, &reply, err) : -ENOMEM;
}

static int docs_dismiss(struct hs_cli *cli, int argc, char **argv)
{
	int first, rc;
	if (!hs_cli_parse(cli, &docs_verbs[2], NULL, 0, argc, argv, &first, &rc))
		return rc;
	if (first == argc)
		return hs_cli_usage(&docs_verbs[2], _("jobs are needed: hisho docs failed lists them"));
	int result = HS_EXIT_OK;
	for (int i = first; i < argc; i++) {
		struct hs_err err = HS_ERR_INIT;
		if (dismiss(cli, argv[i], &err) < 0)
			result = hs_cli_fail(cli, &err);
	}
	return result;
}

/* --- rm --- */

static int withdraw(const struct hs_cli *cli, struct hs_filer *filer, const char *path, json_t *done, struct hs_err *err)
{
	HS_BUF_AUTO manifest = HS_BUF_INIT;
	const struct hs_buf nothing = HS_BUF_INIT;
	char job[48] = "";
	int rc = hs_filer_withdraw(filer, path, &manifest, err);
	if (rc == 0)
		rc = hs_submit(cli, &manifest, &nothing, job, sizeof job, err);
	if (rc == 0)
		rc = hs_filer_acknowledged(filer, "", NULL, err);
	if (rc == 0)
		(void)json_array_append_new(done, json_pack("{s:s, s:s}", "file", path, "job", job)); /* told less, done all the same */
	return rc;
}

static int docs_rm(struct hs_cli *cli, int argc, char **argv)
{
	const char *sender = NULL;
	const struct hs_option options[] = {
		{"sender", HS_OPTION_STRING, &sender, HS_N_("key file of the sender that filed them")}};
	int first, rc;
	if (!hs_cli_parse(cli, &docs_verbs[3], options, HS_ARRAY_LEN(options), argc, argv, &first, &rc))
		return rc;
	if (first == argc || !sender)
		return hs_cli_usage(&docs_verbs[3], _("a sender's key (--sender) and the files are needed"));
	struct hs_err err = HS_ERR_INIT;
	struct hs_filer *filer = NULL;
	if (hs_filer_open(cli, sender, NULL, &filer, &err) < 0)
		return hs_cli_fail(cli, &err);
	int result = HS_EXIT_OK;
	json_t *done = json_array();
	for (int i = first; i < argc; i++) {
		err = HS_ERR_INIT;
		if (withdraw(cli, filer, argv[i], done, &err) < 0) {
			(void)hs_cli_fail(cli, &err);
			result = HS_EXIT_PARTLY;
		}
	}
	hs_filer_close(filer);
	if (result != HS_EXIT_OK && json_array_size(done) == 0)
		result = HS_EXIT_FAILED;
	if (cli->json && hs_print_json(done) != HS_EXIT_OK)
		result = HS_EXIT_FAILED;
	json_decref(done);
	return result;
}

static int run(struct hs_cli *cli, int argc, char **argv)
{
	return hs_cli_dispatch(cli, "docs", docs_verbs, HS_ARRAY_LEN(docs_verbs), argc, argv);
}

const struct hs_verb hs_verb_docs = {"docs", run, "list|failed|dismiss|rm", HS_N_("documents of a tenant")};
