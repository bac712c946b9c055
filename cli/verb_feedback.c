/* hisho feedback list: what people think of answers, for who administers. Texts only where their person shares them. */
#include <string.h>

#include "base/buf.h"
#include "cli/client.h"
#include "cli/output.h"

static int feedback_list(struct hs_cli *cli, int argc, char **argv);

static const struct hs_verb feedback_verbs[] = {
    {"feedback list", feedback_list, "", HS_N_("thumbs and reasons; question and answer where their person shares them")},
};

static void print_text(const char *title, const json_t *text)
{
	printf("  %s ", title);
	hs_print_safe(stdout, json_string_value(text), json_string_length(text));
	putchar('\n');
}

static int feedback_list(struct hs_cli *cli, int argc, char **argv)
{
	uint32_t limit = 50;
	const struct hs_option options[] = {{"limit", HS_OPTION_COUNT, &limit, HS_N_("how many, the newest (50, at most 200)")}};
	int first, rc;
	if (!hs_cli_parse(cli, &feedback_verbs[0], options, HS_ARRAY_LEN(options), argc, argv, &first, &rc))
		return rc;
	struct hs_err err = HS_ERR_INIT;
	HS_REPLY_AUTO reply = {0};
	char path[64];
	(void)snprintf(path, sizeof path, "/v1/admin/feedback?limit=%u", limit); /* it fits */
	if (hs_call(cli, "GET", path, NULL, &reply, &err) < 0)
		return hs_cli_fail(cli, &err);
	static const struct hs_column columns[] = {
	    {.title = HS_N_("TIME"), .key = "created", .time = true},
	    {.title = HS_N_("MESSAGE"), .key = "message"},
	    {.title = HS_N_("USER"), .key = "user"},
	    {.title = HS_N_("THUMB"), .key = "value", .right = true},
	    {.title = HS_N_("REASON"), .key = "reason"},
	    {.title = HS_N_("COMMENT"), .key = "comment"},
	};
	const json_t *rows = json_object_get(reply.json, "data");
	rc = hs_print_table(cli, rows, columns, HS_ARRAY_LEN(columns));
	size_t i;
	json_t *row;
	json_array_foreach((json_t *)rows, i, row)
	{
		const json_t *question = json_object_get(row, "question"), *answer = json_object_get(row, "answer");
		if (cli->json || !json_is_string(question) || !json_is_string(answer))
			continue;
		printf("\n%s\n", json_string_value(json_object_get(row, "message")));
		print_text(_("Question:"), question);
		print_text(_("Answer:"), answer);
	}
	return rc;
}

static int run(struct hs_cli *cli, int argc, char **argv)
{
	return hs_cli_dispatch(cli, "feedback", feedback_verbs, HS_ARRAY_LEN(feedback_verbs), argc, argv);
}

const struct hs_verb hs_verb_feedback = {"feedback", run, "list", HS_N_("what people think of answers")};
