/* hisho audit show: the newest records of the audit log. */
#include <errno.h>
#include <string.h>

#include "cli/client.h"
#include "cli/output.h"

static int audit_show(struct hs_cli *cli, int argc, char **argv);

static const struct hs_verb audit_verbs[] = {
	{"audit show", audit_show, "[--limit N] [--since DATE] [--action NAME] [--who USER-ID]",
	 HS_N_("the newest records: who, what, which passages")},
};

static int add_filter(struct hs_buf *path, const char *key, const char *value)
{
	if (!value)
		return 0;
	int rc = hs_buf_printf(path, "%c%s=", memchr(path->data, '?', path->len) ? '&' : '?', key);
	return rc < 0 ? rc : hs_url_escape(path, value);
}

static int audit_show(struct hs_cli *cli, int argc, char **argv)
{
	uint32_t limit = 50;
	const char *since = NULL, *action = NULL, *who = NULL;
	const struct hs_option options[] = {
		{"limit", HS_OPTION_COUNT, &limit, HS_N_("how many records, the newest (50)")},
		{"since", HS_OPTION_STRING, &since, HS_N_("not before this date or time")},
		{"action", HS_OPTION_STRING, &action, HS_N_("only this action, such as ask or policy.apply")},
		{"who", HS_OPTION_STRING, &who, HS_N_("only this user's, by id")},
	};
	int first, rc;
	if (!hs_cli_parse(cli, &audit_verbs[0], options, HS_ARRAY_LEN(options), argc, argv, &first, &rc))
		return rc;
	struct hs_err err = HS_ERR_INIT;
	HS_BUF_AUTO path = HS_BUF_INIT;
	HS_REPLY_AUTO reply = {0};
	rc = hs_buf_append_str(&path, "/v1/admin/audit");
	if (rc == 0)
		rc = add_filter(&path, "since", since);
	if (rc == 0)
		rc = add_filter(&path, "action", action);
	if (rc == 0)
		rc = add_filter(&path, "principal", who);
	const char *p = rc == 0 ? hs_buf_cstr(&path) : NULL;
	if (!p)
		(void)hs_fail_errno(&err, -ENOMEM, "cli.memory", "audit");
	if (!p || hs_call(cli, "GET", p, NULL, &reply, &err) < 0)
		return hs_cli_fail(cli, &err);
	json_t *rows = json_object_get(reply.json, "data");
	while (json_array_size(rows) > limit) /* the log is read from its beginning */
		(void)json_array_remove(rows, 0);
	static const struct hs_column columns[] = {
		{.title = HS_N_("SEQ"), .key = "seq", .right = true}, {.title = HS_N_("TIME"), .key = "time"},
		{.title = HS_N_("WHO"), .key = "principal"},          {.title = HS_N_("ACTION"), .key = "action"},
		{.title = HS_N_("OBJECT"), .key = "object"},          {.title = HS_N_("DECISION"), .key = "decision"},
	};
	return hs_print_table(cli, rows, columns, HS_ARRAY_LEN(columns));
}

static int run(struct hs_cli *cli, int argc, char **argv)
{
	return hs_cli_dispatch(cli, "audit", audit_verbs, HS_ARRAY_LEN(audit_verbs), argc, argv);
}

const struct hs_verb hs_verb_audit = {"audit", run, "show", HS_N_("the audit log")};
