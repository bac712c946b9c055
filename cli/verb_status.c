/* hisho status: what runs, what is missing, what the disk protects. */
#include <string.h>

#include "cli/client.h"
#include "cli/output.h"

/* Less than this is what a clock that is kept right is put right by. */
#define CLOCK_BEHIND_MS 5000

/* One sentence for a tenant whose audit log holds a later time than the host's clock shows. */
static void print_clock(const json_t *status)
{
	json_int_t behind = json_integer_value(json_object_get(status, "clock_behind_ms")), minutes = behind / 60000;
	const char *name = json_string_value(json_object_get(status, "name"));
	if (behind < CLOCK_BEHIND_MS || !name)
		return;
	putchar('\n');
	hs_print_safe(stdout, name, strlen(name));
	printf(_(": the clock of this host was set back by %lld d %lld h %lld min %lld s. Expiry is judged as if it had not been.\n"),
	       (long long)(minutes / 1440), (long long)(minutes / 60 % 24), (long long)(minutes % 60), (long long)(behind / 1000 % 60));
}

/* " (object: what is wrong with it)", where anything is. */
static void print_why(const json_t *why)
{
	const char *object = json_string_value(json_object_get(why, "object")),
		   *hint = json_string_value(json_object_get(why, "hint"));
	if (!object || !hint)
		return;
	const char *text = *hint ? _(hint) : json_string_value(json_object_get(why, "code"));
	fputs(" (", stdout);
	hs_print_safe(stdout, object, strlen(object));
	fputs(": ", stdout);
	hs_print_safe(stdout, text ? text : "", text ? strlen(text) : 0);
	putchar(')');
}

static void print_adapters(const json_t *list)
{
	size_t i;
	const json_t *a;
	json_array_foreach(list, i, a)
	{
		const char *id = json_string_value(json_object_get(a, "id")),
			   *device = json_string_value(json_object_get(a, "device"));
		printf("%-24s ", "adapter");
		hs_print_safe(stdout, id ? id : "", id ? strlen(id) : 0);
		printf(" %s", device ? device : _("not used"));
		print_why(json_object_get(a, "why"));
		putchar('\n');
	}
}

/* What computes the models, and why not the GPU: a line each, in this person's language. */
static void print_devices(const json_t *processes)
{
	static const char *const kinds[] = {"generator", "embedder", "reranker"};
	size_t i;
	const json_t *p;
	json_array_foreach(processes, i, p)
	{
		for (size_t k = 0; k < HS_ARRAY_LEN(kinds); k++) {
			const json_t *m = json_object_get(json_object_get(p, "detail"), kinds[k]),
				     *why = json_object_get(m, "why");
			const char *device = json_string_value(json_object_get(m, "device"));
			if (!device) /* of another kind of process, or an older one */
				continue;
			printf("%-24s ", kinds[k]);
			hs_print_safe(stdout, device, strlen(device));
			print_why(why);
			putchar('\n');
		}
		print_adapters(json_object_get(json_object_get(p, "detail"), "adapters"));
	}
}

static int run(struct hs_cli *cli, int argc, char **argv)
{
	int first, rc;
	if (!hs_cli_parse(cli, &hs_verb_status, NULL, 0, argc, argv, &first, &rc))
		return rc;
	struct hs_err err = HS_ERR_INIT;
	HS_REPLY_AUTO reply = {0};
	rc = cli->tenant ? hs_call(cli, "GET", "/v1/admin/status", NULL, &reply, &err)
			 : hs_call_host(cli, "GET", "/v1/status", NULL, &reply, &err);
	if (rc < 0)
		return hs_cli_fail(cli, &err);
	if (cli->json)
		return hs_print_json(reply.json);

	hs_print_fields(reply.json); /* then the lists as tables */
	const json_t *processes = json_object_get(reply.json, "processes");
	print_devices(processes);
	print_clock(reply.json);
	static const struct hs_column columns[] = {
		{.title = HS_N_("PROCESS"), .key = "name"},
		{.title = HS_N_("TENANT"), .key = "tenant"},
		{.title = HS_N_("STATE"), .key = "state"},
		{.title = HS_N_("PID"), .key = "pid", .right = true},
		{.title = HS_N_("RESTARTS"), .key = "restarts", .right = true},
	};
	if (json_array_size(processes) == 0)
		return HS_EXIT_OK;
	putchar('\n');
	rc = hs_print_table(cli, processes, columns, HS_ARRAY_LEN(columns));
	size_t i;
	json_t *process;
	json_array_foreach(processes, i, process)
		print_clock(json_object_get(process, "detail"));
	return rc;
}

const struct hs_verb hs_verb_status = {"status", run, "[--tenant NAME]",
				       HS_N_("what runs, what is missing, what the disk protects")};
