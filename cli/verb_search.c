/* hisho search: passages that this person may read, best first. */
#include <string.h>

#include "cli/client.h"
#include "cli/output.h"

static int run(struct hs_cli *cli, int argc, char **argv)
{
	const char *mode = "hybrid";
	uint32_t k = 10;
	const struct hs_option options[] = {
		{"mode", HS_OPTION_STRING, &mode, HS_N_("hybrid, lexical, vector or phrase")},
		{"k", HS_OPTION_COUNT, &k, HS_N_("how many passages (10)")},
	};
	int first, rc;
	if (!hs_cli_parse(cli, &hs_verb_search, options, HS_ARRAY_LEN(options), argc, argv, &first, &rc))
		return rc;
	if (argc - first != 1)
		return hs_cli_usage(&hs_verb_search, _("one question is needed (in quotes)"));
	struct hs_err err = HS_ERR_INIT;
	HS_REPLY_AUTO reply = {0};
	json_t *body = json_pack("{s:s, s:s, s:I}", "query", argv[first], "mode", mode, "k", (json_int_t)k);
	if (hs_call_person(cli, "POST", "/v1/search", body, &reply, &err) < 0)
		return hs_cli_fail(cli, &err);
	if (cli->json)
		return hs_print_json(reply.json);
	size_t i;
	json_t *hit;
	json_array_foreach(json_object_get(reply.json, "data"), i, hit)
	{
		const char *title = "", *context = "", *text = "", *document = "";
		int page = 0;
		(void)json_unpack(hit, "{s?s, s?s, s?s, s?s, s?i}", "title", &title, "context", &context, "text", &text,
				  "document", &document, "page", &page);
		printf("%zu. ", i + 1);
		hs_print_safe(stdout, title, strlen(title));
		if (*context) {
			fputs(" - ", stdout);
			hs_print_safe(stdout, context, strlen(context));
		}
		if (page)
			printf(" p.%d", page);
		printf("  (%s)\n", document);
		hs_print_safe(stdout, text, strlen(text));
		fputs("\n\n", stdout);
	}
	return HS_EXIT_OK;
}

const struct hs_verb hs_verb_search = {"search", run, "[--mode MODE] [--k N] QUESTION",
				       HS_N_("passages that the token's owner may read, best first")};
