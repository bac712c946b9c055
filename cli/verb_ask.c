/* hisho ask: a question, its evidence, the answer as it comes, each sentence with its citations. */
#include <errno.h>
#include <string.h>

#include "cli/client.h"
#include "cli/output.h"

struct answer {
	const struct hs_cli *cli;
	bool began;
	char outcome[16];
};

static void print_cited(const json_t *c)
{
	const char *title = "", *context = "", *document = "";
	int n = 0, page = 0;
	(void)json_unpack((json_t *)c, "{s?i, s?s, s?s, s?s, s?i}", "n", &n, "title", &title, "context", &context, "document",
			  &document, "page", &page);
	printf("  [%d] ", n);
	hs_print_safe(stdout, title, strlen(title));
	if (*context) {
		fputs(" - ", stdout);
		hs_print_safe(stdout, context, strlen(context));
	}
	if (page)
		printf(" p.%d", page);
	putchar('\n');
}

static int on_event(void *ctx, json_t *event)
{
	struct answer *a = ctx;
	if (a->cli->json) {
		(void)json_dumpf(event, stdout, JSON_COMPACT); /* a failing standard output is noticed at exit */
		putchar('\n');
	}
	const json_t *error = json_object_get(event, "error");
	if (error) {
		const char *message = json_string_value(json_object_get(error, "message"));
		fprintf(stderr, "hisho: %s\n", message ? message : "?");
		memcpy(a->outcome, "failed", 7);
		return 0;
	}
	const json_t *more = json_object_get(event, "hisho");
	const char *outcome = json_string_value(json_object_get(more, "outcome"));
	if (outcome)
		(void)snprintf(a->outcome, sizeof a->outcome, "%s", outcome);
	if (a->cli->json)
		return 0;

	size_t i;
	json_t *c;
	const json_t *evidence = json_object_get(more, "evidence");
	if (json_array_size(evidence)) {
		printf("%s\n", _("Evidence:"));
		json_array_foreach((json_t *)evidence, i, c) print_cited(c);
		putchar('\n');
	}
	const char *text = json_string_value(
		json_object_get(json_object_get(json_array_get(json_object_get(event, "choices"), 0), "delta"), "content"));
	if (text && *text) {
		a->began = true;
		hs_print_safe(stdout, text, strlen(text));
		json_array_foreach(json_object_get(more, "citations"), i, c)
		{
			int n = (int)json_integer_value(json_object_get(c, "n"));
			char mark[16];
			(void)snprintf(mark, sizeof mark, "[%d]", n);
			if (!strstr(text, mark)) /* the server may have written it already */
				fputs(mark, stdout);
		}
	}
	(void)fflush(stdout);
	return 0;
}

/* "last" is the conversation that was used last; the page and this program share them. */
static int find_conversation(const struct hs_cli *cli, const char *which, json_t **ret, struct hs_err *err)
{
	if (strcmp(which, "last") != 0) {
		*ret = json_string(which);
		return 0;
	}
	HS_REPLY_AUTO reply = {0};
	int rc = hs_call_person(cli, "GET", "/v1/conversations?limit=1", NULL, &reply, err);
	if (rc < 0)
		return rc;
	json_t *id = json_object_get(json_array_get(json_object_get(reply.json, "data"), 0), "id");
	if (!json_is_string(id))
		return hs_fail(err, ENOENT, "cli.conversation", HS_N_("there is no conversation to go on with; begin one with "
								      "--conversation new"), "%s", which);
	*ret = json_incref(id);
	return 0;
}

static int run(struct hs_cli *cli, int argc, char **argv)
{
	uint32_t max_tokens = 0;
	const char *conversation = NULL;
	const struct hs_option options[] = {
		{"max-tokens", HS_OPTION_COUNT, &max_tokens, HS_N_("longest answer")},
		{"conversation", HS_OPTION_STRING, &conversation, HS_N_("keep it in a conversation: new, last or an id")},
	};
	int first, rc;
	if (!hs_cli_parse(cli, &hs_verb_ask, options, HS_ARRAY_LEN(options), argc, argv, &first, &rc))
		return rc;
	if (argc - first != 1)
		return hs_cli_usage(&hs_verb_ask, _("one question is needed (in quotes)"));
	json_t *body = json_pack("{s:s, s:b, s:[{s:s, s:s}]}", "model", "hisho", "stream", 1, "messages", "role", "user",
				 "content", argv[first]);
	if (body && max_tokens)
		(void)json_object_set_new(body, "max_tokens", json_integer(max_tokens)); /* absent means the default */
	struct hs_err err = HS_ERR_INIT;
	struct answer a = {.cli = cli};
	if (body && conversation) {
		json_t *id = NULL;
		if (find_conversation(cli, conversation, &id, &err) < 0) {
			json_decref(body);
			return hs_cli_fail(cli, &err);
		}
		if (json_object_set_new(body, "hisho", json_pack("{s:o}", "conversation", id)) < 0) {
			json_decref(body);
			body = NULL;
		}
	}
	if (!body)
		(void)hs_fail(&err, EINVAL, "cli.question", HS_N_("the question is not UTF-8"), "%s", "");
	if (!body || hs_call_person_stream(cli, "/v1/chat/completions", body, on_event, &a, &err) < 0) {
		if (a.began)
			putchar('\n');
		return hs_cli_fail(cli, &err);
	}
	if (!cli->json)
		putchar('\n');
	if (strcmp(a.outcome, "not_found") == 0)
		return HS_EXIT_NOT_FOUND;
	return strcmp(a.outcome, "failed") == 0 || !*a.outcome ? HS_EXIT_FAILED : HS_EXIT_OK;
}

const struct hs_verb hs_verb_ask = {"ask", run, "QUESTION", HS_N_("ask as the token's owner; answers carry citations")};
