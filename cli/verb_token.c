/* hisho token add|list|revoke: API tokens. The secret is shown once and kept nowhere. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/file.h"
#include "cli/client.h"
#include "cli/output.h"

#define DAYS_DEFAULT 90

static int token_add(struct hs_cli *cli, int argc, char **argv);
static int token_list(struct hs_cli *cli, int argc, char **argv);
static int token_revoke(struct hs_cli *cli, int argc, char **argv);

static const struct hs_verb token_verbs[] = {
	{"token add", token_add, "USER [--scopes ask,ingest,admin,audit] [--days N] [--label TEXT] [--out FILE]",
	 HS_N_("make an API token of a user")},
	{"token list", token_list, "", HS_N_("list the tokens, never their secrets")},
	{"token revoke", token_revoke, "TOKEN-ID", HS_N_("end a token now")},
};

static int token_add(struct hs_cli *cli, int argc, char **argv)
{
	const char *scopes = "ask";
	const char *label = "", *out = NULL;
	uint32_t days = DAYS_DEFAULT;
	const struct hs_option options[] = {
		{"scopes", HS_OPTION_STRING, &scopes, HS_N_("what it is for: ask (default), ingest, admin, audit")},
		{"days", HS_OPTION_COUNT, &days, HS_N_("how long it is valid (90)")},
		{"label", HS_OPTION_STRING, &label, HS_N_("a note to tell it by")},
		{"out", HS_OPTION_STRING, &out, HS_N_("write it to this file, readable by you alone, instead of printing it")},
	};
	int first, rc;
	if (!hs_cli_parse(cli, &token_verbs[0], options, HS_ARRAY_LEN(options), argc, argv, &first, &rc))
		return rc;
	if (argc - first != 1)
		return hs_cli_usage(&token_verbs[0], _("one user is needed"));
	json_t *list = json_array();
	for (const char *at = scopes; *at;) { /* a name that is lost here grants less */
		size_t n = strcspn(at, ",");
		(void)json_array_append_new(list, json_stringn(at, n));
		at += n + (at[n] == ',');
	}
	json_t *body =
		json_pack("{s:s, s:o, s:s, s:I}", "user", argv[first], "scopes", list, "label", label, "days", (json_int_t)days);
	struct hs_err err = HS_ERR_INIT;
	HS_REPLY_AUTO reply = {0};
	if (hs_call(cli, "POST", "/v1/admin/tokens", body, &reply, &err) < 0)
		return hs_cli_fail(cli, &err);
	const char *token = json_string_value(json_object_get(reply.json, "token"));
	if (!token) {
		(void)hs_fail(&err, EPROTO, "cli.reply", "", "token");
		return hs_cli_fail(cli, &err);
	}
	if (out) {
		rc = hs_file_replace(AT_FDCWD, out, token, strlen(token), 0600);
		if (rc < 0) {
			(void)hs_fail_errno(&err, rc, "cli.write", out);
			return hs_cli_fail(cli, &err);
		}
		return HS_EXIT_OK;
	}
	if (cli->json)
		return hs_print_json(reply.json);
	printf("%s\n", token);
	return HS_EXIT_OK;
}

static int token_list(struct hs_cli *cli, int argc, char **argv)
{
	int first, rc;
	if (!hs_cli_parse(cli, &token_verbs[1], NULL, 0, argc, argv, &first, &rc))
		return rc;
	struct hs_err err = HS_ERR_INIT;
	HS_REPLY_AUTO reply = {0};
	if (hs_call(cli, "GET", "/v1/admin/tokens", NULL, &reply, &err) < 0)
		return hs_cli_fail(cli, &err);
	static const struct hs_column columns[] = {
		{.title = HS_N_("ID"), .key = "id"},
		{.title = HS_N_("USER"), .key = "user"},
		{.title = HS_N_("SCOPES"), .key = "scopes"},
		{.title = HS_N_("LABEL"), .key = "label"},
		{.title = HS_N_("EXPIRES"), .key = "expires", .time = true},
		{.title = HS_N_("REVOKED"), .key = "revoked", .time = true},
	};
	return hs_print_table(cli, json_object_get(reply.json, "data"), columns, HS_ARRAY_LEN(columns));
}

static int token_revoke(struct hs_cli *cli, int argc, char **argv)
{
	int first, rc;
	if (!hs_cli_parse(cli, &token_verbs[2], NULL, 0, argc, argv, &first, &rc))
		return rc;
	if (argc - first != 1)
		return hs_cli_usage(&token_verbs[2], _("one token id is needed"));
	struct hs_err err = HS_ERR_INIT;
	HS_BUF_AUTO path = HS_BUF_INIT;
	HS_REPLY_AUTO reply = {0};
	const char *p = hs_path_of(&path, "/v1/admin/tokens/", argv[first], "", &err);
	if (!p || hs_call(cli, "DELETE", p, NULL, &reply, &err) < 0)
		return hs_cli_fail(cli, &err);
	return cli->json && reply.json ? hs_print_json(reply.json) : HS_EXIT_OK;
}

static int run(struct hs_cli *cli, int argc, char **argv)
{
	return hs_cli_dispatch(cli, "token", token_verbs, HS_ARRAY_LEN(token_verbs), argc, argv);
}

const struct hs_verb hs_verb_token = {"token", run, "add|list|revoke", HS_N_("API tokens")};
