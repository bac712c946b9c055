/*
 * What tests/system/26-token-ids.py asks of the tokenisers: texts on standard input, each ended by a byte 0; a line for each.
 *
 * usage: token_ids MODEL.gguf        the ids of each text, then "=" where they stream back to it, else "!"
 *        token_ids --split PRE       the ends of the words, in bytes
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "inference/gguf/gguf.h"
#include "inference/tok/split.h"
#include "inference/tok/tokenizer.h"

static void split(const struct hs_split_rule *rule, const char *text, size_t n)
{
	struct hs_split walk;
	size_t at = 0;
	hs_split_begin(&walk, rule, text, n);
	for (size_t len; (len = hs_split_next(&walk)) > 0; at += len)
		printf("%s%zu", at ? " " : "", at + len);
	putchar('\n');
}

static int encode(const struct hs_tokenizer *t, const char *text, size_t n)
{
	struct hs_tok_ids ids = {0};
	struct hs_detok d = {0};
	HS_BUF_AUTO back = HS_BUF_INIT;
	int rc = hs_tok_encode(t, text, n, &ids);
	for (size_t i = 0; rc == 0 && i < ids.count; i++) {
		printf("%s%" PRId32, i ? " " : "", ids.ids[i]);
		rc = hs_detok_push(&d, t, ids.ids[i], &back);
	}
	if (rc == 0)
		rc = hs_detok_flush(&d, &back);
	if (rc == 0 && back.len == n && (n == 0 || memcmp(back.data, text, n) == 0))
		puts(" =");
	else
		puts(" !");
	hs_tok_ids_finish(&ids);
	return rc;
}

static int fail(const struct hs_err *err)
{
	fprintf(stderr, "%s: %s (%s)\n", err->code, err->object, err->hint);
	return 1;
}

int main(int argc, char **argv)
{
	bool splitting = argc == 3 && strcmp(argv[1], "--split") == 0;
	if (argc != 2 && !splitting) {
		fputs("usage: token_ids {MODEL.gguf | --split PRE} <TEXTS\n", stderr);
		return 2;
	}
	const struct hs_split_rule *rule = splitting ? hs_split_find(argv[2], strlen(argv[2])) : NULL;
	struct hs_err err = HS_ERR_INIT;
	struct hs_gguf *g = NULL;
	struct hs_tokenizer *t = NULL;
	HS_BUF_AUTO in = HS_BUF_INIT;
	if (splitting && !rule) {
		fputs("unknown\n", stderr);
		return 1;
	}
	if (!splitting && (hs_gguf_open(argv[argc - 1], &g, &err) < 0 || hs_tokenizer_create(g, &t, &err) < 0))
		return fail(&err);
	if (hs_fd_read_all(STDIN_FILENO, 1u << 30, &in) < 0)
		return 1;
	int rc = 0;
	for (size_t at = 0, n; rc == 0 && at < in.len; at += n + 1) {
		const char *text = (const char *)in.data + at;
		n = strnlen(text, in.len - at);
		if (splitting)
			split(rule, text, n);
		else
			rc = encode(t, text, n);
	}
	hs_tokenizer_destroy(t);
	hs_gguf_close(g);
	return rc < 0;
}
