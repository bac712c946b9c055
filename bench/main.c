#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "bench/bench.h"

static const struct {
	const char *name;
	bench_fn run;
	const char *what;
} benches[] = {
    {"contention", bench_contention, "tokens a second while a neighbour keeps a core busy"},
    {"decode", bench_decode, "tokens a second, one at a time, after a prompt of 64"},
    {"prefill", bench_prefill, "tokens a second of a prompt of 256"},
    {"embed", bench_embed, "tokens a second of passages"},
    {"gpu", bench_gpu, "a GPU's bandwidth, and what a model on it reaches of it; 77 where there is none"},
    {"http", bench_http, "the web server's CPU time a request over TLS, and memory of idle streams"},
    {"lookup", bench_lookup, "tokens a second of an answer that quotes, with drafts and without"},
    {"search", bench_search, "milliseconds a hybrid question over 10,000 passages"},
    {"start", bench_start, "milliseconds from opening a model to its first token, and what is resident"},
    {"ttft", bench_ttft, "milliseconds to the first token, passages kept and cold"},
    {"vfs", bench_vfs, "the encrypted database against plain SQLite"},
};

static void print_text(const char *name, const struct bench_report *r)
{
	printf("%s: %s\n", name, r->about);
	for (unsigned i = 0; i < r->count; i++) {
		const struct bench_figure *f = &r->figures[i];
		printf("  %-28s %10.1f %s", f->name, f->ours, f->unit);
		if (f->other > 0)
			printf("   %s %.1f   ratio %.2f", f->other_name, f->other, f->ours / f->other);
		printf("\n");
	}
}

static int print_json(const char *name, const struct bench_report *r)
{
	json_t *figures = json_array(), *all = json_object();
	for (unsigned i = 0; i < r->count; i++) {
		const struct bench_figure *f = &r->figures[i];
		json_t *o = json_pack("{s:s, s:s, s:f}", "name", f->name, "unit", f->unit, "ours", f->ours);
		if (f->other > 0)
			(void)json_object_update_new(o, json_pack("{s:s, s:f, s:f}", "against", f->other_name, "other",
								  f->other,                      /* a lack */
								  "ratio", f->ours / f->other)); /* of memory shows below */
		(void)json_array_append_new(figures, o);                                         /* the same */
	}
	int rc = json_object_set_new(all, "bench", json_string(name)) | json_object_set_new(all, "about", json_string(r->about)) |
		 json_object_set_new(all, "figures", figures);
	if (rc == 0)
		rc = json_dumpf(all, stdout, JSON_REAL_PRECISION(6));
	printf("\n");
	json_decref(all);
	return rc ? -ENOMEM : 0;
}

static int usage(void)
{
	fprintf(stderr,
		"usage: hisho-bench NAME [--json] [--peer LLAMA_BUILD_BIN_DIR] [--model FILE] [--threads N] [--rounds N]\n");
	for (size_t i = 0; i < HS_ARRAY_LEN(benches); i++)
		fprintf(stderr, "  %-10s %s\n", benches[i].name, benches[i].what);
	return 2;
}

static bool parse_count(const char *s, unsigned max, unsigned *ret)
{
	char *end;
	unsigned long v = strtoul(s, &end, 10);
	if (end == s || *end || v == 0 || v > max)
		return false;
	*ret = (unsigned)v;
	return true;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"json", no_argument, NULL, 'j'},         {"peer", required_argument, NULL, 'p'},
	    {"model", required_argument, NULL, 'm'},  {"threads", required_argument, NULL, 't'},
	    {"rounds", required_argument, NULL, 'r'}, {0}};
	struct bench_options o = {.rounds = 5};
	bool json = false;
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;)
		if (c == 'j')
			json = true;
		else if (c == 'p')
			o.peer = optarg;
		else if (c == 'm')
			o.model = optarg;
		else if (c == 't' ? !parse_count(optarg, 256, &o.threads)
				  : c != 'r' || !parse_count(optarg, BENCH_ROUNDS_MAX, &o.rounds))
			return usage();
	if (optind + 1 != argc)
		return usage();
	for (size_t i = 0; i < HS_ARRAY_LEN(benches); i++) {
		if (strcmp(argv[optind], benches[i].name) != 0)
			continue;
		struct bench_report r = {0};
		struct hs_err err = HS_ERR_INIT;
		char text[512];
		if (benches[i].run(&o, &r, &err) < 0) {
			bool skips = benches[i].run == bench_gpu && strncmp(err.code, "gpu.", 4) == 0;
			fprintf(skips ? stdout : stderr, "hisho-bench: %s\n", hs_err_text(&err, text, sizeof text));
			return skips ? 77 : 1;
		}
		if (!json)
			print_text(benches[i].name, &r);
		else if (print_json(benches[i].name, &r) < 0)
			return 1;
		return 0;
	}
	return usage();
}
