/* hisho status: what runs, what is missing, what the disk protects. */
#include "cli/client.h"
#include "cli/output.h"

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
	return hs_print_table(cli, processes, columns, HS_ARRAY_LEN(columns));
}

const struct hs_verb hs_verb_status = {"status", run, "[--tenant NAME]",
				       HS_N_("what runs, what is missing, what the disk protects")};
