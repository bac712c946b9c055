/* The program `hisho`: the admin's and the sender's side of an appliance. */
#include <curl/curl.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/client.h"

static const struct hs_verb *const verbs[] = {
	&hs_verb_init,   &hs_verb_status, &hs_verb_tenant, &hs_verb_user,  &hs_verb_token,
	&hs_verb_sender, &hs_verb_policy, &hs_verb_ingest, &hs_verb_seal,  &hs_verb_docs,
	&hs_verb_search, &hs_verb_ask,    &hs_verb_feedback, &hs_verb_audit, &hs_verb_model, &hs_verb_eval,
};

static int help(FILE *out)
{
	fprintf(out, "hisho %s\n\n%s\n\n", HS_VERSION,
		_("Answers questions from encrypted documents, each to those who may read them."));
	for (size_t i = 0; i < HS_ARRAY_LEN(verbs); i++)
		fprintf(out, "  %-8s %s\n", verbs[i]->name, _(verbs[i]->summary));
	fprintf(out, "\n%s\n", _("hisho VERB --help shows a verb's options."));
	return out == stdout ? HS_EXIT_OK : HS_EXIT_USAGE;
}

/*
 * The reader's locale; where it is named but not installed (a bare machine has none), plain UTF-8 with its language, so that
 * LANG=ja_JP.UTF-8 speaks Japanese all the same.
 */
static void choose_language(void)
{
	if (setlocale(LC_ALL, ""))
		return;
	static const char *const names[] = {"LC_ALL", "LC_MESSAGES", "LANG"};
	for (size_t i = 0; i < HS_ARRAY_LEN(names); i++) {
		const char *value = getenv(names[i]);
		if (!value || !*value)
			continue;
		char language[8];
		(void)snprintf(language, sizeof language, "%.*s", (int)strcspn(value, "_.@"), value);
		if (setlocale(LC_ALL, "C.UTF-8"))
			(void)setenv("LANGUAGE", language, 0); /* without it the words are English, which is fine */
		return;
	}
}

int main(int argc, char **argv)
{
	choose_language();
	const char *localedir = getenv("HISHO_LOCALEDIR");
	(void)bindtextdomain("hisho", localedir && *localedir ? localedir : HS_LOCALEDIR);
	(void)bind_textdomain_codeset("hisho", "UTF-8");
	(void)textdomain("hisho");
	(void)signal(SIGPIPE, SIG_IGN); /* a server that closes early is an error to report, not a death */

	struct hs_cli cli = {
		.dir = getenv("HISHO_DIR"),
		.url = getenv("HISHO_URL"),
		.tenant = getenv("HISHO_TENANT"),
	};
	if (!cli.dir || !*cli.dir)
		cli.dir = "/var/lib/hisho";
	if (cli.url && !*cli.url)
		cli.url = NULL;

	if (argc < 2)
		return help(stderr);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0)
		return help(stdout);
	if (strcmp(argv[1], "--version") == 0) {
		printf("hisho %s\n", HS_VERSION);
		return HS_EXIT_OK;
	}
	if (strcmp(argv[1], "--verbs") == 0) { /* for shell completion */
		for (size_t i = 0; i < HS_ARRAY_LEN(verbs); i++)
			puts(verbs[i]->name);
		return HS_EXIT_OK;
	}
	for (size_t i = 0; i < HS_ARRAY_LEN(verbs); i++) {
		if (strcmp(argv[1], verbs[i]->name) != 0)
			continue;
		if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
			fprintf(stderr, "hisho: %s\n", _("libcurl cannot be initialised"));
			return HS_EXIT_FAILED;
		}
		int rc = verbs[i]->run(&cli, argc - 1, argv + 1);
		hs_client_close();
		curl_global_cleanup();
		if (fflush(stdout) != 0 && rc == HS_EXIT_OK) {
			perror("hisho: standard output");
			rc = HS_EXIT_FAILED;
		}
		return rc;
	}
	fprintf(stderr, "hisho: %s: %s\n\n", argv[1], _("no such verb"));
	return help(stderr);
}
