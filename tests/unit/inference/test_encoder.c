#include "inference/import/encoder.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "inference/engine.h"
#include "tests/unit/inference/encoders.h"
#include "tests/unit/inference/support.h"
#include "tests/unit/test.h"

static int convert(const struct encoder_folder *f, const struct hs_encoder_options *o, struct hs_buf *out, struct hs_err *err)
{
	struct hs_encoder_files files = encoder_folder_files(f);
	struct hs_gguf_writer *w = hs_gguf_writer_create();
	struct hs_arena *memory = hs_arena_create((size_t)1 << 28);
	*err = HS_ERR_INIT;
	assert_true(w && memory);
	int rc = hs_encoder_convert(&files, o, memory, w, err);
	if (rc == 0)
		rc = hs_gguf_write_buf(w, out);
	hs_gguf_writer_destroy(w);
	hs_arena_destroy(memory);
	return rc;
}

static const struct hs_encoder_options plain = {.type = HS_F32, .name = "tiny"};

/* Every tensor comes back byte for byte under its name, and the engine takes the file. */
static void test_round_trip(void **state)
{
	for (unsigned kind = 0; kind < ENCODER_KINDS; kind++) {
		struct encoder_folder f = {0};
		HS_BUF_AUTO made = HS_BUF_INIT;
		struct hs_gguf *want = NULL, *got = NULL;
		struct hs_weights *w = NULL;
		struct hs_err err;
		assert_true(encoder_folder_make(&f, kind));
		if (convert(&f, &plain, &made, &err) < 0)
			fail_msg("kind %u: %s: %s", kind, err.object, err.hint);
		assert_int_equal(hs_gguf_open_memory(f.gguf.data, f.gguf.len, &want, &err), 0);
		assert_int_equal(hs_gguf_open_memory(made.data, made.len, &got, &err), 0);
		assert_int_equal(hs_gguf_tensor_count(want), hs_gguf_tensor_count(got));
		for (size_t i = 0; i < hs_gguf_tensor_count(want); i++) {
			const struct hs_gguf_tensor *t = hs_gguf_tensor_at(want, i);
			char name[80];
			snprintf(name, sizeof name, "%.*s", (int)t->name.len, t->name.s);
			const struct hs_gguf_tensor *u = hs_gguf_find_tensor(got, name);
			assert_non_null(u);
			assert_int_equal(t->bytes, u->bytes);
			assert_memory_equal(t->data, u->data, t->bytes);
		}
		assert_int_equal(hs_weights_bind(got, &w, &err), 0);
		assert_int_equal(w->hyper.n_labels, encoder_ranks(kind) ? 1 : 0);
		assert_int_equal(w->hyper.context, 64);
		hs_weights_destroy(w);
		hs_gguf_close(want);
		hs_gguf_close(got);
		encoder_folder_finish(&f);
	}
}

static void write_file(const char *folder, const char *name, const struct hs_buf *b)
{
	char path[128];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	HS_FD_AUTO fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0 && hs_fd_write_all(fd, b->data, b->len) == 0);
}

static void load(const char *path, struct hs_model **m)
{
	struct hs_err err = HS_ERR_INIT;
	struct hs_model_options o = {.n_threads = 2};
	if (hs_model_load(path, &o, m, &err) < 0)
		fail_msg("%s: %s", err.object, err.hint);
}

/* From a folder: the same scores as the model that it was made of, packed or one at a time, whatever stands beside. */
static void test_scores(void **state)
{
	static const char *const passages[] = {"b", "aaaa bbbb", "cab",
					       "a b c d e f g h i j k l m n o p q r s t u v w x y z a b c", "zz"};
	enum { N = HS_ARRAY_LEN(passages) };
	size_t lens[N];
	float packed[N], alone[N], want[N];
	char folder[] = "/tmp/hisho-encoder-XXXXXX", path[64], made[64];
	struct encoder_folder f = {0};
	struct hs_model *m = NULL, *reference = NULL;
	struct hs_err err = HS_ERR_INIT;
	assert_non_null(mkdtemp(folder));
	assert_true(encoder_folder_make(&f, ENCODER_XLMR_RANK));
	f.gguf.len = 0; /* the same with the file's own way to put a pair together */
	write_file(folder, "config.json", &f.config);
	write_file(folder, "model.safetensors", &f.tensors);
	write_file(folder, "tokenizer.json", &f.tokenizer);
	snprintf(made, sizeof made, "%s/made.gguf", folder);
	if (hs_encoder_import(folder, made, &plain, &err) < 0)
		fail_msg("%s: %s", err.object, err.hint);
	load(made, &m);
	assert_true(hs_model_info(m)->scores);
	for (size_t i = 0; i < N; i++)
		lens[i] = strlen(passages[i]);
	assert_int_equal(hs_score(m, "ab", 2, passages, lens, N, NULL, NULL, packed), 0);
	for (size_t i = 0; i < N; i++)
		assert_int_equal(hs_score(m, "ab", 2, &passages[i], &lens[i], 1, NULL, NULL, &alone[i]), 0);
	assert_memory_equal(packed, alone, sizeof packed);
	assert_true(packed[0] != packed[1] && packed[1] != packed[2]);
	struct hs_model_options o = {.n_threads = 1, .reference = true};
	assert_int_equal(hs_model_load(made, &o, &reference, &err), 0);
	assert_int_equal(hs_score(reference, "ab", 2, passages, lens, N, NULL, NULL, want), 0);
	for (size_t i = 0; i < N; i++)
		assert_true(fabsf(want[i] - packed[i]) < 1e-3f);
	/* A question longer than the context leaves half of it to the passage. */
	static char longest[4000];
	memset(longest, 'a', sizeof longest);
	float cut[2];
	assert_int_equal(hs_score(m, longest, sizeof longest, passages, lens, 2, NULL, NULL, cut), 0);
	assert_true(cut[0] != cut[1]);
	assert_int_equal(hs_score(m, "ab", 2, passages, lens, 0, NULL, NULL, cut), 0);
	assert_int_equal(hs_embed(m, passages, lens, 1, NULL, NULL, cut), -EINVAL);
	hs_model_destroy(m);
	hs_model_destroy(reference);
	static const char *const names[] = {"config.json", "model.safetensors", "tokenizer.json", "made.gguf"};
	for (size_t i = 0; i < HS_ARRAY_LEN(names); i++) {
		snprintf(path, sizeof path, "%s/%s", folder, names[i]);
		assert_int_equal(unlink(path), 0);
	}
	assert_int_equal(rmdir(folder), 0);
	encoder_folder_finish(&f);
}

/* Halves and bytes of the same weights, and a vocabulary from the SentencePiece model. */
static void test_types_and_sentencepiece(void **state)
{
	struct encoder_folder f = {0};
	struct hs_err err;
	assert_true(encoder_folder_make(&f, ENCODER_MODERN));
	for (int i = 0; i < 2; i++) {
		struct hs_encoder_options o = {.type = i ? HS_Q8_0 : HS_F16, .name = "tiny", .query_prefix = "q: "};
		HS_BUF_AUTO made = HS_BUF_INIT;
		struct hs_gguf *g = NULL, *want = NULL;
		struct hs_gguf_str prefix;
		f.tokenizer.len = 0;
		if (convert(&f, &o, &made, &err) < 0)
			fail_msg("%s: %s", err.object, err.hint);
		assert_int_equal(hs_gguf_open_memory(made.data, made.len, &g, &err), 0);
		assert_int_equal(hs_gguf_open_memory(f.gguf.data, f.gguf.len, &want, &err), 0);
		const struct hs_gguf_tensor *t = hs_gguf_find_tensor(g, "blk.1.attn_output.weight"),
					    *u = hs_gguf_find_tensor(want, "blk.1.attn_output.weight");
		assert_int_equal(t->type, o.type);
		float row[32], own[32], most = 0, off = 0;
		hs_tensor_row(t, 5, row);
		hs_tensor_row(u, 5, own);
		for (size_t k = 0; k < 32; k++) {
			most = fmaxf(most, fabsf(own[k]));
			off = fmaxf(off, fabsf(own[k] - row[k]));
		}
		assert_true(off <= most * (i ? 1.15f / 254 : 1.01f / 2048));
		assert_true(hs_gguf_get_str(g, "hisho.embed.query_prefix", &prefix) && prefix.len == 3);
		struct hs_tokenizer *a = NULL, *b = NULL;
		HS_BUF_AUTO x = HS_BUF_INIT;
		HS_BUF_AUTO y = HS_BUF_INIT;
		assert_int_equal(hs_tokenizer_create(g, &a, &err) | hs_tokenizer_create(want, &b, &err), 0);
		assert_string_equal(ids_text(a, "ab  c~ あ", 10, &x), ids_text(b, "ab  c~ あ", 10, &y));
		hs_tokenizer_destroy(a);
		hs_tokenizer_destroy(b);
		hs_gguf_close(g);
		hs_gguf_close(want);
	}
	encoder_folder_finish(&f);
}

static void replace(struct hs_buf *b, const char *from, const char *to)
{
	HS_BUF_AUTO out = HS_BUF_INIT;
	uint8_t *at = memmem(b->data, b->len, from, strlen(from));
	assert_non_null(at);
	size_t before = (size_t)(at - b->data), after = before + strlen(from);
	assert_int_equal(hs_buf_append(&out, b->data, before) | hs_buf_append_str(&out, to) |
			     hs_buf_append(&out, b->data + after, b->len - after),
			 0);
	b->len = 0;
	assert_int_equal(hs_buf_append(b, out.data, out.len), 0);
}

enum which { CONFIG, TENSORS, TOKENIZER, MODULES, POOLING };

/* A lie in one place is refused, and the error names it. Tensors' headers keep their length: `to` is as long as `from`. */
static void test_lies(void **state)
{
	static const struct {
		enum which file;
		const char *from, *to, *object;
	} lies[] = {
	    {CONFIG, "\"hidden_size\": 32", "\"hidden_size\": 0", "hidden_size"},
	    {CONFIG, "\"hidden_size\": 32", "\"hidden_size\": 64", "word_embeddings"},
	    {CONFIG, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", "encoder.layer.2"},
	    {CONFIG, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", "encoder.layer.1"},
	    {CONFIG, "\"vocab_size\": 37", "\"vocab_size\": \"37\"", "vocab_size"},
	    {CONFIG, "\"vocab_size\": 37", "\"vocab_size\": 1e3", "vocab_size"},
	    {CONFIG, "\"max_position_embeddings\": 64", "\"max_position_embeddings\": 65", "position_embeddings"},
	    {CONFIG, "\"layer_norm_eps\": 1e-5", "\"layer_norm_eps\": -1", "layer_norm_eps"},
	    {CONFIG, "\"hidden_act\": \"gelu\"", "\"hidden_act\": \"relu\"", "hidden_act"},
	    {CONFIG, "\"model_type\": \"bert\"", "\"model_type\": \"deberta-v2\"", "deberta-v2"},
	    {CONFIG, "\"model_type\": \"bert\"", "\"model_type\": \"bert\", \"model_type\": \"bert\"", "config.json"},
	    {CONFIG, "\"model_type\": \"bert\"", "\"is_decoder\": true, \"model_type\": \"bert\"", "is_decoder"},
	    {CONFIG, "{\"model_type", "[{\"model_type", "config.json"},
	    {TENSORS, "\"F32\"", "\"F23\"", "dtype"},
	    {TENSORS, "\"F32\"", "\"I32\"", "word_embeddings"},
	    {TENSORS, "\"F32\"", "\"F16\"", "word_embeddings"},
	    {TENSORS, "[37, 32]", "[32, 37]", "word_embeddings"},
	    {TENSORS, "[37, 32]", "[37,-32]", "word_embeddings"},
	    {TENSORS, "[37, 32]", "[37, .2]", "model.safetensors"},
	    {TENSORS, "[37, 32]", "[0 , 32]", "word_embeddings"},
	    {TENSORS, "\"data_offsets\": [0, 4736]", "\"data_offsets\": [4, 4740]", "word_embeddings"},
	    {TENSORS, "\"data_offsets\": [0, 4736]", "\"data_offsets\": [4736, 0]", "word_embeddings"},
	    {TENSORS, "\"data_offsets\": [4736, ", "\"data_offsets\": [4732, ", "position_embeddings"},
	    {TENSORS, "token_type_embeddings", "token_type_embeddingz", "token_type_embedding"},
	    {TOKENIZER, "\"Unigram\"", "\"BPE\"", "BPE"},
	    {TOKENIZER, "\"unk_id\": 0", "\"unk_id\": -1", "unk_id"},
	    {TOKENIZER, "\"normalizer\": null", "\"normalizer\": {\"type\": \"NFKC\"}", "NFKC"},
	    {TOKENIZER, "\"normalizer\": null", "\"normalizer\": {\"type\": \"Strip\"}", "Strip"},
	    {TOKENIZER, "\"normalizer\": null", "\"normalizer\": {\"type\": \"Precompiled\", \"precompiled_charsmap\": \"?\"}",
	     "precompiled_charsmap"},
	    {TOKENIZER, "\"Metaspace\"", "\"ByteLevel\"", "ByteLevel"},
	    {TOKENIZER, "\"TemplateProcessing\"", "\"ByteLevel\"", "post_processor ByteLevel"},
	    {TOKENIZER, "[\"a\", ", "[\"\", ", "token 4"},
	    {TOKENIZER, "[\"a\", ", "[7, ", "model.vocab"},
	    {TOKENIZER, "{\"id\": 1, ", "{\"id\": 4, ", "token 4"},
	    {TOKENIZER, "{\"id\": 1, ", "{\"id\": 2000000, ", "id"},
	    {TOKENIZER, "{\"id\": 1, \"content\": \"<s>\"", "{\"id\": 200, \"content\": \"<x>\"", "vocab_size"},
	    {TOKENIZER, "\"ids\": [1]", "\"ids\": [1, 1]", "post_processor single"},
	    {MODULES, "models.Pooling", "models.Dense", "Dense"},
	    {POOLING, "\"pooling_mode_cls_token\": false", "\"pooling_mode_cls_token\": true", "1_Pooling"},
	    {POOLING, "\"pooling_mode_mean_tokens\": true", "\"pooling_mode_mean_tokens\": 1", "pooling_mode_mean_tokens"},
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(lies); i++) {
		struct encoder_folder f = {0};
		struct hs_buf *const files[] = {&f.config, &f.tensors, &f.tokenizer, &f.modules, &f.pooling};
		HS_BUF_AUTO made = HS_BUF_INIT;
		struct hs_err err;
		assert_true(encoder_folder_make(&f, ENCODER_BERT));
		replace(files[lies[i].file], lies[i].from, lies[i].to);
		int rc = convert(&f, &plain, &made, &err);
		if (rc != -EINVAL && rc != -ENOTSUP)
			fail_msg("%s for %s: %d", lies[i].to, lies[i].from, rc);
		if (!strstr(err.object, lies[i].object) && !strstr(err.hint, lies[i].object))
			fail_msg("%s for %s: %s: %s", lies[i].to, lies[i].from, err.object, err.hint);
		encoder_folder_finish(&f);
	}
}

/* Cut anywhere, each file is refused. */
static void test_truncated(void **state)
{
	struct encoder_folder f = {0};
	struct hs_buf *const files[] = {&f.config, &f.tensors, &f.tokenizer, &f.modules, &f.pooling};
	assert_true(encoder_folder_make(&f, ENCODER_BERT));
	for (size_t i = 0; i < HS_ARRAY_LEN(files); i++) {
		size_t whole = files[i]->len, step = whole / 61 + 1;
		for (size_t len = 1; len < whole; len += step) {
			HS_BUF_AUTO made = HS_BUF_INIT;
			struct hs_err err;
			files[i]->len = len;
			assert_true(convert(&f, &plain, &made, &err) < 0 && err.num > 0);
		}
		files[i]->len = whole;
	}
	f.tokenizer.len = 0;
	for (size_t len = 1; len < f.sentencepiece.len - 6; len++) { /* the format has no end: what is whole so far may do */
		HS_BUF_AUTO made = HS_BUF_INIT;
		struct hs_err err;
		struct encoder_folder part = f;
		part.sentencepiece.len = len;
		if (convert(&part, &plain, &made, &err) < 0)
			assert_true(err.num > 0);
	}
	encoder_folder_finish(&f);
}

/* A weight that is no number, or that a half cannot hold, is refused with its tensor's name. */
static void test_numbers(void **state)
{
	static const uint32_t bits[] = {0x7fc00000, 0x7f800000, 0x47c35000}; /* NaN, infinity, 100000 */
	for (size_t i = 0; i < HS_ARRAY_LEN(bits); i++) {
		struct encoder_folder f = {0};
		HS_BUF_AUTO made = HS_BUF_INIT;
		struct hs_err err;
		struct hs_encoder_options o = {.type = HS_F16, .name = "tiny"};
		assert_true(encoder_folder_make(&f, ENCODER_BERT));
		hs_le32_store(f.tensors.data + 8 + encoder_folder_header(&f), bits[i]);
		assert_int_equal(convert(&f, &o, &made, &err), -EINVAL);
		assert_non_null(strstr(err.object, "word_embeddings"));
		encoder_folder_finish(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trip), cmocka_unit_test(test_scores),    cmocka_unit_test(test_types_and_sentencepiece),
	    cmocka_unit_test(test_lies),       cmocka_unit_test(test_truncated), cmocka_unit_test(test_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
