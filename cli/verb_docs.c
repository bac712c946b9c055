/* hisho docs list: what a tenant holds, by id; names are shown to those who may read them. rm is a signed submission as ingest
 * is. */
#include <stdlib.h>

#include "cli/client.h"
#include "cli/output.h"
#include "cli/submit.h"

static int docs_list(struct hs_cli *cli, int argc, char **argv);

static const struct hs_verb docs_verbs[] = {
	{"docs list", docs_list, "", HS_N_("list documents: with a token those its owner may read, without one every id")},
	{"docs rm", hs_docs_rm, "--sender KEYFILE FILE...", HS_N_("take documents back; holds from the next question on")},
};

static int docs_list(struct hs_cli *cli, int argc, char **argv)
{
	int first, rc;
	if (!hs_cli_parse(cli, &docs_verbs[0], NULL, 0, argc, argv, &first, &rc))
		return rc;
	struct hs_err err = HS_ERR_INIT;
	HS_REPLY_AUTO reply = {0};
	bool person = cli->url || cli->token_file || getenv("HISHO_TOKEN");
	rc = person ? hs_call_person(cli, "GET", "/v1/documents", NULL, &reply, &err)
		    : hs_call(cli, "GET", "/v1/admin/documents", NULL, &reply, &err);
	if (rc < 0)
		return hs_cli_fail(cli, &err);
	static const struct hs_column columns[] = {
		{.title = HS_N_("DOCUMENT"), .key = "id"},
		{.title = HS_N_("FORMAT"), .key = "format"},
		{.title = HS_N_("BYTES"), .key = "length", .right = true},
		{.title = HS_N_("UPDATED"), .key = "updated", .time = true},
		{.title = HS_N_("TITLE"), .key = "title"}, /* an admin, who does not read, is told no titles */
	};
	return hs_print_table(cli, json_object_get(reply.json, "data"), columns, HS_ARRAY_LEN(columns) - (person ? 0 : 1));
}

static int run(struct hs_cli *cli, int argc, char **argv)
{
	return hs_cli_dispatch(cli, "docs", docs_verbs, HS_ARRAY_LEN(docs_verbs), argc, argv);
}

const struct hs_verb hs_verb_docs = {"docs", run, "list|rm", HS_N_("documents of a tenant")};
