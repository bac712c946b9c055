#include "cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 32

/* One line of help; the option column is wide enough for the longest of ours. */
static void print_option(const struct hs_option *o)
{
	char left[48];
	static const char *const value[] = {"", " TEXT", " N", " TEXT"};
	(void)snprintf(left, sizeof left, "--%s%s", o->name, value[o->kind]);
	printf("  %-26s %s\n", left, _(o->help));
}

static void print_help(const struct hs_verb *verb, const struct hs_option *options, size_t n, const struct hs_option *common,
		       size_t n_common)
{
	printf("hisho %s %s\n\n%s\n\n", verb->name, verb->arguments, _(verb->summary));
	for (size_t i = 0; i < n; i++)
		print_option(&options[i]);
	if (n)
		putchar('\n');
	for (size_t i = 0; i < n_common; i++)
		print_option(&common[i]);
}

int hs_cli_usage(const struct hs_verb *verb, const char *why)
{
	fprintf(stderr, "hisho %s: %s\n%s: hisho %s %s\n", verb->name, why, _("usage"), verb->name, verb->arguments);
	return HS_EXIT_USAGE;
}

static bool store(const struct hs_option *o, const char *value)
{
	switch (o->kind) {
	case HS_OPTION_FLAG:
		*(bool *)o->to = true;
		return true;
	case HS_OPTION_STRING:
		*(const char **)o->to = value;
		return true;
	case HS_OPTION_COUNT: {
		char *end;
		errno = 0;
		unsigned long v = strtoul(value, &end, 10);
		if (errno || *end || end == value || v == 0 || v > UINT32_MAX || *value == '-')
			return false;
		*(uint32_t *)o->to = (uint32_t)v;
		return true;
	}
	case HS_OPTION_LIST: {
		struct hs_option_list *list = o->to;
		if (list->count == HS_OPTION_LIST_MAX)
			return false;
		list->items[list->count++] = value;
		return true;
	}
	}
	return false;
}

bool hs_cli_parse(struct hs_cli *cli, const struct hs_verb *verb, const struct hs_option *options, size_t n, int argc,
		  char **argv, int *ret_first, int *ret_exit)
{
	bool help = false;
	const struct hs_option common[] = {
		{"dir", HS_OPTION_STRING, &cli->dir, HS_N_("state directory of the appliance")},
		{"tenant", HS_OPTION_STRING, &cli->tenant, HS_N_("name of the tenant")},
		{"url", HS_OPTION_STRING, &cli->url, HS_N_("address of the appliance, where not this host's admin socket")},
		{"token-file", HS_OPTION_STRING, &cli->token_file, HS_N_("file that holds the API token (or set HISHO_TOKEN)")},
		{"cacert", HS_OPTION_STRING, &cli->cacert, HS_N_("PEM file of the certificate to trust")},
		{"json", HS_OPTION_FLAG, &cli->json, HS_N_("print JSON")},
		{"help", HS_OPTION_FLAG, &help, HS_N_("show this help")},
	};
	struct option longs[OPTIONS_MAX + 1] = {0};
	hs_assert(n + HS_ARRAY_LEN(common) <= OPTIONS_MAX);
	for (size_t i = 0; i < n + HS_ARRAY_LEN(common); i++) {
		const struct hs_option *o = i < n ? &options[i] : &common[i - n];
		longs[i] =
			(struct option){o->name, o->kind == HS_OPTION_FLAG ? no_argument : required_argument, NULL, (int)i + 256};
	}

	optind = 0; /* glibc: start over, also with its permutation state */
	int c;
	while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		if (c == 'h') {
			help = true;
			continue;
		}
		size_t i = (size_t)c - 256;
		if (c < 256 || i >= n + HS_ARRAY_LEN(common)) { /* getopt has said what was wrong */
			*ret_exit = HS_EXIT_USAGE;
			return false;
		}
		const struct hs_option *o = i < n ? &options[i] : &common[i - n];
		if (!store(o, optarg)) {
			fprintf(stderr, "hisho %s: --%s: %s: %s\n", verb->name, o->name, optarg,
				_("not a value that this option takes"));
			*ret_exit = HS_EXIT_USAGE;
			return false;
		}
	}
	if (help) {
		print_help(verb, options, n, common, HS_ARRAY_LEN(common));
		*ret_exit = HS_EXIT_OK;
		return false;
	}
	*ret_first = optind;
	return true;
}

int hs_cli_dispatch(struct hs_cli *cli, const char *parent, const struct hs_verb *verbs, size_t n, int argc, char **argv)
{
	if (argc > 1) {
		for (size_t i = 0; i < n; i++) {
			/* Sub-verbs carry their parent's name for the usage line: "tenant add". */
			const char *name =
				verbs[i].name + (strncmp(verbs[i].name, parent, strlen(parent)) == 0 ? strlen(parent) + 1 : 0);
			if (strcmp(argv[1], name) == 0)
				return verbs[i].run(cli, argc - 1, argv + 1);
		}
	}
	bool help = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
	FILE *out = help ? stdout : stderr;
	for (size_t i = 0; i < n; i++) {
		char left[160];
		(void)snprintf(left, sizeof left, "hisho %s %s", verbs[i].name, verbs[i].arguments);
		fprintf(out, "%-50s %s\n", left, _(verbs[i].summary));
	}
	return help ? HS_EXIT_OK : HS_EXIT_USAGE;
}

int hs_cli_fail(const struct hs_cli *cli, const struct hs_err *err)
{
	char text[512];
	(void)hs_err_text(err, text, sizeof text);
	if (cli->json) {
		json_t *j = json_pack("{s:{s:s, s:s, s:s}}", "error", "code", err->code, "object", err->object, "message", text);
		if (j)
			(void)json_dumpf(j, stderr, JSON_COMPACT); /* nothing better can be said where standard error fails */
		json_decref(j);
		fputc('\n', stderr);
	} else {
		fprintf(stderr, "hisho: %s\n", text);
	}
	return HS_EXIT_FAILED;
}
