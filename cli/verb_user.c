/* hisho user add|list|suspend|restore|link: the people of a tenant. */
#include <errno.h>

#include "cli/client.h"
#include "cli/output.h"

static int user_add(struct hs_cli *cli, int argc, char **argv);
static int user_list(struct hs_cli *cli, int argc, char **argv);
static int user_suspend(struct hs_cli *cli, int argc, char **argv);
static int user_restore(struct hs_cli *cli, int argc, char **argv);
static int user_link(struct hs_cli *cli, int argc, char **argv);

static const struct hs_verb user_verbs[] = {
	{"user add", user_add, "NAME [--display NAME]", HS_N_("add a user beside those of the policy file")},
	{"user list", user_list, "", HS_N_("list the users")},
	{"user suspend", user_suspend, "NAME",
	 HS_N_("let a user in no more, from now on, whatever the policy file says: sessions end, tokens rest")},
	{"user restore", user_restore, "NAME", HS_N_("let a suspended user in again; their tokens hold again")},
	{"user link", user_link, "NAME", HS_N_("print a sign-in link: once, within 10 minutes")},
};

static int user_add(struct hs_cli *cli, int argc, char **argv)
{
	const char *display = NULL;
	const struct hs_option options[] = {{"display", HS_OPTION_STRING, &display, HS_N_("the name that people read")}};
	int first, rc;
	if (!hs_cli_parse(cli, &user_verbs[0], options, HS_ARRAY_LEN(options), argc, argv, &first, &rc))
		return rc;
	if (argc - first != 1)
		return hs_cli_usage(&user_verbs[0], _("one name is needed"));
	struct hs_err err = HS_ERR_INIT;
	HS_REPLY_AUTO reply = {0};
	json_t *body = json_pack("{s:s, s:s}", "name", argv[first], "display", display ? display : argv[first]);
	if (hs_call(cli, "POST", "/v1/admin/users", body, &reply, &err) < 0)
		return hs_cli_fail(cli, &err);
	if (cli->json)
		return hs_print_json(reply.json);
	const char *id = json_string_value(json_object_get(reply.json, "id"));
	printf("%s\n", id ? id : argv[first]);
	return HS_EXIT_OK;
}

static int user_list(struct hs_cli *cli, int argc, char **argv)
{
	int first, rc;
	if (!hs_cli_parse(cli, &user_verbs[1], NULL, 0, argc, argv, &first, &rc))
		return rc;
	struct hs_err err = HS_ERR_INIT;
	HS_REPLY_AUTO reply = {0};
	if (hs_call(cli, "GET", "/v1/admin/users", NULL, &reply, &err) < 0)
		return hs_cli_fail(cli, &err);
	static const struct hs_column columns[] = {
		{.title = HS_N_("NAME"), .key = "name"},
		{.title = HS_N_("DISPLAY"), .key = "display"},
		{.title = HS_N_("SUSPENDED"), .key = "suspended"},
		{.title = HS_N_("ID"), .key = "id"},
	};
	return hs_print_table(cli, json_object_get(reply.json, "data"), columns, HS_ARRAY_LEN(columns));
}

static int set_state(struct hs_cli *cli, const struct hs_verb *verb, const char *act, int argc, char **argv)
{
	int first, rc;
	if (!hs_cli_parse(cli, verb, NULL, 0, argc, argv, &first, &rc))
		return rc;
	if (argc - first != 1)
		return hs_cli_usage(verb, _("one name is needed"));
	struct hs_err err = HS_ERR_INIT;
	HS_REPLY_AUTO reply = {0};
	HS_BUF_AUTO path = HS_BUF_INIT;
	const char *p = hs_path_of(&path, "/v1/admin/users/", argv[first], act, &err);
	if (!p || hs_call(cli, "POST", p, NULL, &reply, &err) < 0)
		return hs_cli_fail(cli, &err);
	return cli->json ? hs_print_json(reply.json) : HS_EXIT_OK;
}

static int user_suspend(struct hs_cli *cli, int argc, char **argv)
{
	return set_state(cli, &user_verbs[2], "/suspend", argc, argv);
}

static int user_restore(struct hs_cli *cli, int argc, char **argv)
{
	return set_state(cli, &user_verbs[3], "/restore", argc, argv);
}

static int user_link(struct hs_cli *cli, int argc, char **argv)
{
	int first, rc;
	if (!hs_cli_parse(cli, &user_verbs[4], NULL, 0, argc, argv, &first, &rc))
		return rc;
	if (argc - first != 1)
		return hs_cli_usage(&user_verbs[4], _("one name is needed"));
	struct hs_err err = HS_ERR_INIT;
	HS_REPLY_AUTO reply = {0};
	if (hs_call(cli, "POST", "/v1/admin/links", json_pack("{s:s}", "user", argv[first]), &reply, &err) < 0)
		return hs_cli_fail(cli, &err);
	if (cli->json)
		return hs_print_json(reply.json);
	const char *code = json_string_value(json_object_get(reply.json, "code"));
	const char *path = json_string_value(json_object_get(reply.json, "path"));
	HS_BUF_AUTO base = HS_BUF_INIT;
	if (!code || !path || hs_client_base(cli, &base, &err) < 0 || !hs_buf_cstr(&base))
		return hs_cli_fail(cli, &err);
	printf("%s%s#%s\n", (const char *)base.data, path, code);
	return HS_EXIT_OK;
}

static int run(struct hs_cli *cli, int argc, char **argv)
{
	return hs_cli_dispatch(cli, "user", user_verbs, HS_ARRAY_LEN(user_verbs), argc, argv);
}

const struct hs_verb hs_verb_user = {"user", run, "add|list|suspend|restore|link", HS_N_("users and their sign-in links")};
