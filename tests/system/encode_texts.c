/*
 * What an encoder makes of standard input, a line a text: encode_texts MODEL.gguf prints each text's embedding, or, where
 * lines hold a question, a tab and a passage, each pair's score. "exact" behind it: in double precision.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inference/engine.h"

int main(int argc, char **argv)
{
	struct hs_err err = HS_ERR_INIT;
	struct hs_model *m = NULL;
	char *line = NULL, text[1024];
	size_t cap = 0;
	struct hs_model_options o = {.exact = argc > 2 && strcmp(argv[2], "exact") == 0};
	if (argc < 2 || hs_model_load(argv[1], &o, &m, &err) < 0) {
		fprintf(stderr, "%s\n", hs_err_text(&err, text, sizeof text));
		return 1;
	}
	const struct hs_model_info *info = hs_model_info(m);
	float *out = calloc(info->n_embd, sizeof *out);
	int rc = out ? 0 : -1;
	for (ssize_t n; rc == 0 && (n = getline(&line, &cap, stdin)) > 0;) {
		line[n - 1] = 0;
		char *tab = strchr(line, '\t');
		const char *passage = tab ? tab + 1 : line;
		size_t len = strlen(passage);
		if (tab)
			rc = hs_score(m, line, (size_t)(tab - line), &passage, &len, 1, NULL, NULL, out);
		else
			rc = hs_embed(m, &passage, &len, 1, NULL, NULL, out);
		for (uint32_t i = 0; rc == 0 && i < (tab ? 1 : info->n_embd); i++)
			printf(i ? " %.9g" : "%.9g", (double)out[i]);
		putchar('\n');
	}
	free(out);
	free(line);
	hs_model_destroy(m);
	return rc < 0;
}
