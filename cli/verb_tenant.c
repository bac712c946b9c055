/* hisho tenant add|list|info|seal|unseal|rebuild|clock: the tenants of this host. */
#include <errno.h>

#include "cli/client.h"
#include "cli/output.h"

static int tenant_add(struct hs_cli *cli, int argc, char **argv);
static int tenant_list(struct hs_cli *cli, int argc, char **argv);
static int tenant_info(struct hs_cli *cli, int argc, char **argv);
static int tenant_seal(struct hs_cli *cli, int argc, char **argv);
static int tenant_unseal(struct hs_cli *cli, int argc, char **argv);
static int tenant_rebuild(struct hs_cli *cli, int argc, char **argv);
static int tenant_clock(struct hs_cli *cli, int argc, char **argv);

static const struct hs_verb tenant_verbs[] = {
	{"tenant add", tenant_add, "NAME", HS_N_("make a tenant: its key, its database")},
	{"tenant list", tenant_list, "", HS_N_("list the tenants and whether each is open")},
	{"tenant info", tenant_info, "", HS_N_("what a sender needs: id and public key of the tenant")},
	{"tenant seal", tenant_seal, "NAME", HS_N_("close a tenant: its process ends, its key leaves memory")},
	{"tenant unseal", tenant_unseal, "NAME", HS_N_("open a sealed tenant")},
	{"tenant rebuild", tenant_rebuild, "NAME",
	 HS_N_("index all texts anew, after another dictionary or version: a tenant that does not open")},
	{"tenant clock", tenant_clock, "",
	 HS_N_("judge expiry by the host's clock again, after it had been set forward by mistake")},
};

static int tenant_add(struct hs_cli *cli, int argc, char **argv)
{
	int first, rc;
	if (!hs_cli_parse(cli, &tenant_verbs[0], NULL, 0, argc, argv, &first, &rc))
		return rc;
	if (argc - first != 1)
		return hs_cli_usage(&tenant_verbs[0], _("one name is needed"));
	struct hs_err err = HS_ERR_INIT;
	HS_REPLY_AUTO reply = {0};
	if (hs_call_host(cli, "POST", "/v1/tenants", json_pack("{s:s}", "name", argv[first]), &reply, &err) < 0)
		return hs_cli_fail(cli, &err);
	if (cli->json)
		return hs_print_json(reply.json);
	const char *id = json_string_value(json_object_get(reply.json, "id"));
	printf("%s\n", id ? id : argv[first]);
	return HS_EXIT_OK;
}

static int tenant_list(struct hs_cli *cli, int argc, char **argv)
{
	int first, rc;
	if (!hs_cli_parse(cli, &tenant_verbs[1], NULL, 0, argc, argv, &first, &rc))
		return rc;
	struct hs_err err = HS_ERR_INIT;
	HS_REPLY_AUTO reply = {0};
	if (hs_call_host(cli, "GET", "/v1/tenants", NULL, &reply, &err) < 0)
		return hs_cli_fail(cli, &err);
	static const struct hs_column columns[] = {
		{.title = HS_N_("NAME"), .key = "name"},
		{.title = HS_N_("STATE"), .key = "state"},
		{.title = HS_N_("ID"), .key = "id"},
	};
	return hs_print_table(cli, json_object_get(reply.json, "data"), columns, HS_ARRAY_LEN(columns));
}

static int tenant_info(struct hs_cli *cli, int argc, char **argv)
{
	int first, rc;
	if (!hs_cli_parse(cli, &tenant_verbs[2], NULL, 0, argc, argv, &first, &rc))
		return rc;
	struct hs_err err = HS_ERR_INIT;
	HS_REPLY_AUTO reply = {0};
	if (hs_call(cli, "GET", "/v1/tenant", NULL, &reply, &err) < 0)
		return hs_cli_fail(cli, &err);
	if (cli->json)
		return hs_print_json(reply.json);
	static const char *const keys[] = {"name", "id", "recipient"};
	for (size_t i = 0; i < HS_ARRAY_LEN(keys); i++) {
		const char *value = json_string_value(json_object_get(reply.json, keys[i]));
		printf("%-10s %s\n", keys[i], value ? value : "-");
	}
	return HS_EXIT_OK;
}

static int post_act(struct hs_cli *cli, const struct hs_verb *verb, const char *act, int argc, char **argv)
{
	int first, rc;
	if (!hs_cli_parse(cli, verb, NULL, 0, argc, argv, &first, &rc))
		return rc;
	if (argc - first != 1)
		return hs_cli_usage(verb, _("one name is needed"));
	HS_BUF_AUTO path = HS_BUF_INIT;
	struct hs_err err = HS_ERR_INIT;
	HS_REPLY_AUTO reply = {0};
	const char *p = hs_path_of(&path, "/v1/tenants/", argv[first], act, &err);
	if (!p || hs_call_host(cli, "POST", p, NULL, &reply, &err) < 0)
		return hs_cli_fail(cli, &err);
	return cli->json && reply.json ? hs_print_json(reply.json) : HS_EXIT_OK;
}

static int tenant_rebuild(struct hs_cli *cli, int argc, char **argv)
{
	return post_act(cli, &tenant_verbs[5], "/rebuild", argc, argv);
}

static int tenant_clock(struct hs_cli *cli, int argc, char **argv)
{
	int first, rc;
	if (!hs_cli_parse(cli, &tenant_verbs[6], NULL, 0, argc, argv, &first, &rc))
		return rc;
	if (argc != first)
		return hs_cli_usage(&tenant_verbs[6], _("--tenant names it"));
	struct hs_err err = HS_ERR_INIT;
	HS_REPLY_AUTO reply = {0};
	if (hs_call(cli, "POST", "/v1/admin/clock", json_object(), &reply, &err) < 0)
		return hs_cli_fail(cli, &err);
	if (cli->json)
		return hs_print_json(reply.json);
	char from[32], to[32];
	hs_print_time(json_integer_value(json_object_get(reply.json, "from")), from);
	hs_print_time(json_integer_value(json_object_get(reply.json, "to")), to);
	printf(_("expiry was judged by %s, and is by %s\n"), from, to);
	return HS_EXIT_OK;
}

static int tenant_seal(struct hs_cli *cli, int argc, char **argv)
{
	return post_act(cli, &tenant_verbs[3], "/seal", argc, argv);
}

static int tenant_unseal(struct hs_cli *cli, int argc, char **argv)
{
	return post_act(cli, &tenant_verbs[4], "/unseal", argc, argv);
}

static int run(struct hs_cli *cli, int argc, char **argv)
{
	return hs_cli_dispatch(cli, "tenant", tenant_verbs, HS_ARRAY_LEN(tenant_verbs), argc, argv);
}

const struct hs_verb hs_verb_tenant = {"tenant", run, "add|list|info|seal|unseal|rebuild|clock",
				       HS_N_("make, list, close and open tenants")};
