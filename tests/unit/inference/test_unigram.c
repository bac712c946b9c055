/* Unigram against SentencePiece's own ids, on published vocabularies: $HISHO_DATA/tokenizers/{NAME.model,NAME.ids,lines.txt}. */
#include <fcntl.h>

#include "base/wire.h"
#include "tests/unit/inference/support.h"
#include "tests/unit/test.h"

#define PIECES_MAX 300000

static uint64_t varint(struct hs_wire *w)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t c = hs_wire_u8(w);
		v |= (uint64_t)(c & 127) << shift;
		if (c < 128)
			break;
	}
	return v;
}

/* One field of a protocol buffer; bytes of a nested one in *ret_nested. */
static uint64_t field(struct hs_wire *w, unsigned *ret_number, struct hs_wire *ret_nested)
{
	uint64_t tag = varint(w), v = 0;
	*ret_number = (unsigned)(tag >> 3);
	if ((tag & 7) == 0) {
		v = varint(w);
	} else if ((tag & 7) == 5) {
		v = hs_wire_u32(w);
	} else if ((tag & 7) == 1) {
		v = hs_wire_u64(w);
	} else {
		size_t n = (size_t)varint(w);
		*ret_nested = hs_wire_over(hs_wire_bytes(w, n), w->failed ? 0 : n);
	}
	return v;
}

static struct hs_tokenizer *read_model(const char *path)
{
	HS_BUF_AUTO file = HS_BUF_INIT;
	struct hs_gguf_str *texts = calloc(PIECES_MAX, sizeof *texts);
	float *scores = calloc(PIECES_MAX, sizeof *scores);
	int32_t *kinds = calloc(PIECES_MAX, sizeof *kinds);
	struct hs_gguf_writer *w = hs_gguf_writer_create();
	struct hs_err err;
	size_t n = 0;
	assert_true(texts && scores && kinds && w);
	assert_int_equal(hs_file_read(AT_FDCWD, path, 64u << 20, &file), 0);
	struct hs_wire wire = hs_wire_over(file.data, file.len);
	while (!wire.failed && wire.at < wire.len && n < PIECES_MAX) {
		unsigned number;
		struct hs_wire piece = {0};
		(void)field(&wire, &number, &piece);
		if (number != 1)
			continue;
		kinds[n] = 1;
		while (!piece.failed && piece.at < piece.len) {
			struct hs_wire nested = {0};
			uint64_t v = field(&piece, &number, &nested);
			uint32_t bits = (uint32_t)v;
			if (number == 1)
				texts[n] = (struct hs_gguf_str){(const char *)nested.data, nested.len};
			else if (number == 2)
				memcpy(&scores[n], &bits, sizeof bits);
			else if (number == 3)
				kinds[n] = (int32_t)v;
		}
		n++;
	}
	hs_gguf_put_str(w, "tokenizer.ggml.model", "llama"); /* as converters declare these vocabularies */
	hs_gguf_put_str_array(w, "tokenizer.ggml.tokens", texts, n);
	hs_gguf_put_f32_array(w, "tokenizer.ggml.scores", scores, n);
	hs_gguf_put_i32_array(w, "tokenizer.ggml.token_type", kinds, n);
	struct hs_tokenizer *t = make_tokenizer(w, &err);
	hs_gguf_writer_destroy(w);
	free(texts);
	free(scores);
	free(kinds);
	return t;
}

static void check(const char *name)
{
	const char *root = getenv("HISHO_DATA");
	char path[512];
	if (!root) {
		print_message("# no $HISHO_DATA with tokenizers/\n");
		skip();
	}
	snprintf(path, sizeof path, "%s/tokenizers/%s.model", root, name);
	struct hs_tokenizer *t = read_model(path);
	assert_non_null(t);
	snprintf(path, sizeof path, "%s/tokenizers/lines.txt", root);
	FILE *lines = fopen(path, "re");
	snprintf(path, sizeof path, "%s/tokenizers/%s.ids", root, name);
	FILE *golden = fopen(path, "re");
	assert_true(lines && golden);
	char *line = NULL, *want = NULL;
	size_t line_cap = 0, want_cap = 0, count = 0;
	ssize_t n;
	HS_BUF_AUTO b = HS_BUF_INIT;
	while ((n = getline(&line, &line_cap, lines)) > 0) {
		ssize_t k = getline(&want, &want_cap, golden);
		assert_true(k > 0);
		want[k - 1] = 0;
		assert_string_equal(ids_text(t, line, (size_t)n - (line[n - 1] == '\n'), &b), want);
		count++;
	}
	assert_true(count >= 400);
	free(line);
	free(want);
	fclose(lines);
	fclose(golden);
	hs_tokenizer_destroy(t);
}

static void test_48k(void **state)
{
	check("llm-jp-v2.2-48k");
}

static void test_100k(void **state)
{
	check("llm-jp-v3.1-100k");
}

static void test_196k(void **state)
{
	check("llm-jp-v4.0-alpha-196k");
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_48k), cmocka_unit_test(test_100k), cmocka_unit_test(test_196k)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
