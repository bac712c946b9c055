/* hisho policy apply|show|explain: who may ask from what. */
#include <errno.h>
#include <fcntl.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/client.h"
#include "cli/output.h"

#define POLICY_MAX (4u * 1024u * 1024u)

static int policy_apply(struct hs_cli *cli, int argc, char **argv);
static int policy_show(struct hs_cli *cli, int argc, char **argv);
static int policy_explain(struct hs_cli *cli, int argc, char **argv);

static const struct hs_verb policy_verbs[] = {
	{"policy apply", policy_apply, "[--dry-run] FILE.yaml",
	 HS_N_("apply a policy file, whole or not at all; holds from the next question on")},
	{"policy show", policy_show, "", HS_N_("print the policy that is in force")},
	{"policy explain", policy_explain, "--as USER DOCUMENT-ID", HS_N_("why may, or may not, this user read that document")},
};

static int policy_apply(struct hs_cli *cli, int argc, char **argv)
{
	bool dry_run = false;
	const struct hs_option options[] = {
		{"dry-run", HS_OPTION_FLAG, &dry_run, HS_N_("check and show the difference, change nothing")}};
	int first, rc;
	if (!hs_cli_parse(cli, &policy_verbs[0], options, HS_ARRAY_LEN(options), argc, argv, &first, &rc))
		return rc;
	if (argc - first != 1)
		return hs_cli_usage(&policy_verbs[0], _("one file is needed"));
	struct hs_err err = HS_ERR_INIT;
	HS_BUF_AUTO yaml = HS_BUF_INIT;
	HS_REPLY_AUTO reply = {0};
	rc = strcmp(argv[first], "-") == 0 ? hs_fd_read_all(STDIN_FILENO, POLICY_MAX, &yaml)
					   : hs_file_read(AT_FDCWD, argv[first], POLICY_MAX, &yaml);
	if (rc < 0) {
		(void)hs_fail_errno(&err, rc, "cli.file", argv[first]);
		return hs_cli_fail(cli, &err);
	}
	const char *path = dry_run ? "/v1/admin/policy?dry_run=1" : "/v1/admin/policy";
	if (hs_call_bytes(cli, "POST", path, "application/yaml", yaml.data, yaml.len, &reply, &err) < 0)
		return hs_cli_fail(cli, &err);
	if (cli->json)
		return hs_print_json(reply.json);
	const char *diff = json_string_value(json_object_get(reply.json, "diff"));
	if (diff)
		hs_print_safe(stdout, diff, strlen(diff));
	json_int_t orphans = json_integer_value(json_object_get(reply.json, "orphans"));
	if (orphans > 0)
		fprintf(stderr,
			_("%lld classes of documents can be granted to nobody any more: their collection, level or list is "
			  "gone\n"),
			orphans);
	return HS_EXIT_OK;
}

static int policy_show(struct hs_cli *cli, int argc, char **argv)
{
	int first, rc;
	if (!hs_cli_parse(cli, &policy_verbs[1], NULL, 0, argc, argv, &first, &rc))
		return rc;
	struct hs_err err = HS_ERR_INIT;
	HS_REPLY_AUTO reply = {0};
	if (hs_call(cli, "GET", "/v1/admin/policy", NULL, &reply, &err) < 0)
		return hs_cli_fail(cli, &err);
	hs_print_safe(stdout, (const char *)reply.body.data, reply.body.len);
	return HS_EXIT_OK;
}

static int policy_explain(struct hs_cli *cli, int argc, char **argv)
{
	const char *user = NULL;
	const struct hs_option options[] = {{"as", HS_OPTION_STRING, &user, HS_N_("the user, by name or id")}};
	int first, rc;
	if (!hs_cli_parse(cli, &policy_verbs[2], options, HS_ARRAY_LEN(options), argc, argv, &first, &rc))
		return rc;
	if (argc - first != 1 || !user)
		return hs_cli_usage(&policy_verbs[2], _("a user (--as) and one document are needed"));
	struct hs_err err = HS_ERR_INIT;
	HS_BUF_AUTO path = HS_BUF_INIT;
	HS_REPLY_AUTO reply = {0};
	const char *p = NULL;
	if (hs_buf_append_str(&path, "/v1/admin/explain?user=") == 0 && hs_url_escape(&path, user) == 0 &&
	    hs_buf_append_str(&path, "&doc=") == 0 && hs_url_escape(&path, argv[first]) == 0)
		p = hs_buf_cstr(&path);
	if (!p)
		(void)hs_fail_errno(&err, -ENOMEM, "cli.memory", user);
	if (!p || hs_call(cli, "GET", p, NULL, &reply, &err) < 0)
		return hs_cli_fail(cli, &err);
	if (cli->json)
		return hs_print_json(reply.json);
	const char *ask_why = "", *download_why = "";
	int ask = 0, download = 0;
	(void)json_unpack(reply.json, "{s?b, s?b, s?s, s?s}", "ask", &ask, "download", &download, "ask_why", &ask_why,
			  "download_why", &download_why);
	printf("%-10s %s (%s)\n%-10s %s (%s)\n", _("ask"), ask ? _("yes") : _("no"), ask_why, _("download"),
	       download ? _("yes") : _("no"), download_why);
	static const struct hs_column columns[] = {
		{.title = HS_N_("RULE"), .key = "id"},         {.title = HS_N_("DENY"), .key = "deny"},
		{.title = HS_N_("MATCHES"), .key = "matches"}, {.title = HS_N_("PERSON"), .key = "who"},
		{.title = HS_N_("CLASS"), .key = "where"},     {.title = HS_N_("EXPIRED"), .key = "expired"},
	};
	const json_t *rules = json_object_get(reply.json, "rules");
	return json_array_size(rules) ? hs_print_table(cli, rules, columns, HS_ARRAY_LEN(columns)) : HS_EXIT_OK;
}

static int run(struct hs_cli *cli, int argc, char **argv)
{
	return hs_cli_dispatch(cli, "policy", policy_verbs, HS_ARRAY_LEN(policy_verbs), argc, argv);
}

const struct hs_verb hs_verb_policy = {"policy", run, "apply|show|explain", HS_N_("who may ask from what")};
