/*
 * hisho audit show: the newest records of the audit log. key: under which its heads are signed. verify: a log against its chain and
 * its signed head, here, with that key and nothing else.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "cli/client.h"
#include "cli/output.h"
#include "crypto/key.h"
#include "policy/head.h"

static int audit_show(struct hs_cli *cli, int argc, char **argv);
static int audit_key(struct hs_cli *cli, int argc, char **argv);
static int audit_verify(struct hs_cli *cli, int argc, char **argv);

static const struct hs_verb audit_verbs[] = {
	{"audit show", audit_show, "[--limit N] [--since DATE] [--action NAME] [--who USER-ID]",
	 HS_N_("the newest records: who, what, which passages")},
	{"audit key", audit_key, "", HS_N_("the public key under which heads of audit logs are signed")},
	{"audit verify", audit_verify, "--key KEY [--head FILE] [LOG]",
	 HS_N_("check a log's chain and its signed head; needs no other key")},
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
	rc = hs_buf_printf(&path, "/v1/admin/audit?limit=%u", limit);
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
	static const struct hs_column columns[] = {
		{.title = HS_N_("SEQ"), .key = "seq", .right = true}, {.title = HS_N_("TIME"), .key = "time"},
		{.title = HS_N_("WHO"), .key = "principal"},          {.title = HS_N_("ACTION"), .key = "action"},
		{.title = HS_N_("OBJECT"), .key = "object"},          {.title = HS_N_("DECISION"), .key = "decision"},
	};
	return hs_print_table(cli, rows, columns, HS_ARRAY_LEN(columns));
}

static int audit_key(struct hs_cli *cli, int argc, char **argv)
{
	int first, rc;
	if (!hs_cli_parse(cli, &audit_verbs[1], NULL, 0, argc, argv, &first, &rc))
		return rc;
	struct hs_err err = HS_ERR_INIT;
	HS_REPLY_AUTO reply = {0};
	if (hs_call_host(cli, "GET", "/v1/status", NULL, &reply, &err) < 0)
		return hs_cli_fail(cli, &err);
	const char *key = NULL;
	size_t i;
	json_t *process;
	json_array_foreach(json_object_get(reply.json, "processes"), i, process)
	{
		const char *told = json_string_value(json_object_get(json_object_get(process, "detail"), "audit_key"));
		key = told ? told : key;
	}
	if (!key) {
		(void)hs_fail(&err, EAGAIN, "audit.key_unknown", HS_N_("hisho-keyd does not answer; see hisho status"), "%s", cli->dir);
		return hs_cli_fail(cli, &err);
	}
	printf(cli->json ? "{\"key\": \"%s\"}\n" : "%s\n", key);
	return HS_EXIT_OK;
}

/* The log of --tenant in --dir. */
static int own_log(const struct hs_cli *cli, char path[static PATH_MAX], struct hs_err *err)
{
	HS_REPLY_AUTO reply = {0};
	int rc = hs_call(cli, "GET", "/v1/tenant", NULL, &reply, err);
	if (rc < 0)
		return rc;
	const char *id = json_string_value(json_object_get(reply.json, "id"));
	int n = snprintf(path, PATH_MAX, "%s/tenants/%s/audit.log", cli->dir, id ? id : "");
	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

struct verdict {
	struct hs_audit_report report;
	struct hs_audit_head head;
};

/* kept: a head that was kept elsewhere, or NULL for the one beside the log. */
static int verify(const char *path, const char *kept, const uint8_t *public, struct verdict *ret, struct hs_err *err)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char folder[PATH_MAX], note[NAME_MAX + 1];
	(void)snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : "."); /* path fits */
	if (snprintf(note, sizeof note, "%s.head", name) >= (int)sizeof note)
		return -ENAMETOOLONG;
	HS_FD_AUTO dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return hs_fail_errno(err, -errno, "audit.open", path);
	int rc = hs_audit_verify(dir, name, NULL, 0, &ret->report, err); /* whose is it? */
	if (rc < 0)
		return rc;
	rc = hs_head_read(kept ? AT_FDCWD : dir, kept ? kept : note, ret->report.tenant, public, &ret->head, err);
	if (rc == -ENOENT)
		return hs_fail(err, ENOENT, "audit.head",
			       HS_N_("There is no signed head: it was removed, or hisho-keyd has not signed one yet."), "%s",
			       kept ? kept : note);
	if (rc < 0)
		return rc;
	const struct hs_audit_witness witness = {.head = ret->head, .is_signed = true};
	return hs_audit_verify(dir, name, &witness, 1, &ret->report, err);
}

static int print_verdict(const struct hs_cli *cli, const struct verdict *v)
{
	char signed_at[HS_TIME_TEXT_LEN + 1], last[HS_TIME_TEXT_LEN + 1];
	hs_time_format(v->head.time, signed_at);
	hs_time_format(v->report.head.time, last);
	if (cli->json) {
		json_t *j = json_pack("{s:s, s:I, s:s, s:I, s:s}", "tenant", v->report.tenant, "records", (json_int_t)v->report.records,
				      "last", last, "signed", (json_int_t)v->head.seq, "signed_time", signed_at);
		int rc = hs_print_json(j);
		json_decref(j);
		return rc;
	}
	hs_print_safe(stdout, v->report.tenant, strlen(v->report.tenant));
	printf(_(": %llu records, unbroken, the last of %s; signed up to record %llu of %s\n"), (unsigned long long)v->report.records,
	       last, (unsigned long long)v->head.seq, signed_at);
	return HS_EXIT_OK;
}

static int audit_verify(struct hs_cli *cli, int argc, char **argv)
{
	const char *key = NULL, *kept = NULL;
	const struct hs_option options[] = {
		{"key", HS_OPTION_STRING, &key, HS_N_("the public key, as hisho audit key printed it; keep a copy elsewhere")},
		{"head", HS_OPTION_STRING, &kept, HS_N_("a signed head that was kept elsewhere, in place of LOG.head")},
	};
	int first, rc;
	if (!hs_cli_parse(cli, &audit_verbs[2], options, HS_ARRAY_LEN(options), argc, argv, &first, &rc))
		return rc;
	uint8_t public[HS_HEAD_PUBLIC_LEN];
	if (!key || !hs_head_key_parse(key, public) || argc - first > 1)
		return hs_cli_usage(&audit_verbs[2], _("--key takes what hisho audit key prints"));
	struct hs_err err = HS_ERR_INIT;
	char path[PATH_MAX];
	struct verdict v = {0};
	rc = hs_crypto_init();
	if (rc == 0 && first < argc)
		rc = snprintf(path, sizeof path, "%s", argv[first]) < (int)sizeof path ? 0 : -ENAMETOOLONG;
	else if (rc == 0)
		rc = own_log(cli, path, &err);
	if (rc == 0)
		rc = verify(path, kept, public, &v, &err);
	if (rc < 0) {
		(void)hs_fail_errno(&err, rc, "audit.verify", first < argc ? argv[first] : "");
		return hs_cli_fail(cli, &err);
	}
	return print_verdict(cli, &v);
}

static int run(struct hs_cli *cli, int argc, char **argv)
{
	return hs_cli_dispatch(cli, "audit", audit_verbs, HS_ARRAY_LEN(audit_verbs), argc, argv);
}

const struct hs_verb hs_verb_audit = {"audit", run, "show|key|verify", HS_N_("the audit log")};
