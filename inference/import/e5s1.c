#include "inference/import/e5s1.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/utf8.h"
#include "base/wire.h"
#include "inference/import/read.h"
#include "inference/import/rules.h"

#define MAGIC 0x31533545u /* "E5S1" */
#define FILE_MAX ((size_t)4 << 30)
#define LAYERS_MAX 256
#define WIDTH_MAX 65536
#define PIECES_MAX (1u << 20)
#define PIECE_LEN_MAX 4096u
#define MAP_MAX 200000
#define TENSORS_MAX 16384
#define GROUP 32

struct entry { /* of the directory of tensors */
	const char *name;
	size_t name_len;
	uint8_t type;
	uint32_t elements;
	uint64_t offset, bytes;
};

struct source {
	const uint8_t *data;
	size_t len;
	int32_t hidden, layers, heads, ffn, vocab, positions, types;
	float eps;
	int32_t pieces, bos, eos, pad, unk;
	const uint8_t *offsets, *scores;
	const char *blob;
	size_t blob_len;
	struct entry *entries;
	size_t n_entries;
};

static int bad(struct hs_err *err, const char *hint, const char *field)
{
	return hs_fail(err, EINVAL, "e5s1.invalid", hint, "%s", field);
}

static int32_t read_i32(struct hs_wire *w)
{
	return (int32_t)hs_wire_u32(w);
}

static bool within(int32_t v, int32_t low, int32_t high)
{
	return v >= low && v <= high;
}

static int read_header(struct source *s, struct hs_wire *w, struct hs_err *err)
{
	if (hs_wire_u32(w) != MAGIC || hs_wire_u32(w) != 1)
		return bad(err, HS_N_("this is not an E5S1 file of version 1"), "magic");
	s->hidden = read_i32(w);
	s->layers = read_i32(w);
	s->heads = read_i32(w);
	s->ffn = read_i32(w);
	s->vocab = read_i32(w);
	s->positions = read_i32(w);
	s->types = read_i32(w);
	s->eps = hs_wire_f32(w);
	int32_t group = read_i32(w);
	s->pieces = read_i32(w);
	s->bos = read_i32(w);
	s->eos = read_i32(w);
	s->pad = read_i32(w);
	s->unk = read_i32(w);
	if (w->failed)
		return bad(err, HS_N_("the file is cut short"), "header");
	if (!within(s->hidden, GROUP, WIDTH_MAX) || s->hidden % GROUP || !within(s->ffn, GROUP, WIDTH_MAX) || s->ffn % GROUP)
		return bad(err, HS_N_("a width is out of range or no multiple of 32"), "hidden, ffn");
	if (!within(s->layers, 1, LAYERS_MAX) || !within(s->heads, 1, s->hidden) || s->hidden % s->heads)
		return bad(err, HS_N_("the counts are out of range"), "layers, heads");
	if (!within(s->positions, 1, WIDTH_MAX) || !within(s->types, 1, 16) || group != GROUP)
		return bad(err, HS_N_("the counts are out of range"), "positions, types, group");
	if (!(s->eps > 0 && s->eps < 1))
		return bad(err, HS_N_("not between 0 and 1"), "eps");
	if (!within(s->pieces, 1, PIECES_MAX) || !within(s->vocab, s->pieces, PIECES_MAX))
		return bad(err, HS_N_("more pieces than rows, or than 1048576"), "vocab, pieces");
	if (!within(s->bos, 0, s->pieces - 1) || !within(s->eos, 0, s->pieces - 1) || !within(s->pad, 0, s->pieces - 1) ||
	    !within(s->unk, 0, s->pieces - 1))
		return bad(err, HS_N_("not one of the pieces"), "bos, eos, pad, unk");
	return 0;
}

static int read_pieces(struct source *s, struct hs_wire *w, struct hs_err *err)
{
	uint64_t blob_len = hs_wire_u64(w);
	s->offsets = hs_wire_bytes(w, ((size_t)s->pieces + 1) * 4);
	s->scores = hs_wire_bytes(w, (size_t)s->pieces * 4);
	if (w->failed || blob_len > w->len - w->at)
		return bad(err, HS_N_("the pieces are longer than the file"), "pieces");
	s->blob_len = (size_t)blob_len;
	s->blob = (const char *)hs_wire_bytes(w, s->blob_len);
	for (int32_t i = 0; i < s->pieces; i++) {
		uint32_t from = hs_le32_load(s->offsets + 4 * (size_t)i), to = hs_le32_load(s->offsets + 4 * (size_t)i + 4);
		if (from > to || to > s->blob_len || to - from > PIECE_LEN_MAX || !hs_utf8_valid(s->blob + from, to - from, NULL))
			return hs_fail(err, EINVAL, "e5s1.invalid", HS_N_("the piece's bytes lie wrong or are not UTF-8"),
				       "piece %d", i);
	}
	return 0;
}

static int read_map(struct hs_wire *w, struct hs_norm_rules *rules, struct hs_err *err)
{
	int32_t n = read_i32(w);
	uint32_t bytes = hs_wire_u32(w);
	if (w->failed || !within(n, 0, MAP_MAX) || bytes > w->len - w->at)
		return bad(err, HS_N_("the normaliser's map is longer than the file"), "map");
	struct hs_wire map = hs_wire_over(hs_wire_bytes(w, bytes), bytes);
	for (int32_t i = 0; i < n; i++) {
		uint32_t from = hs_wire_u32(&map), to[255];
		uint8_t k = hs_wire_u8(&map);
		for (uint8_t j = 0; j < k; j++)
			to[j] = hs_wire_u32(&map);
		int rc = map.failed ? -EINVAL : hs_norm_rules_add(rules, &from, 1, to, k);
		if (rc == -EINVAL)
			return hs_fail(err, EINVAL, "e5s1.invalid", HS_N_("cut short, or not a character"), "map entry %d", i);
		if (rc < 0)
			return hs_fail_errno(err, rc, "e5s1.read", "map");
	}
	return hs_wire_done(&map) ? 0 : bad(err, HS_N_("bytes are left over"), "map");
}

static int read_directory(struct source *s, struct hs_wire *w, struct hs_err *err)
{
	int32_t n = read_i32(w);
	if (w->failed || !within(n, 1, TENSORS_MAX))
		return bad(err, HS_N_("no tensors, or more than 16384"), "tensors");
	s->entries = calloc((size_t)n, sizeof *s->entries);
	if (!s->entries)
		return hs_fail_errno(err, -ENOMEM, "e5s1.read", "tensors");
	for (; s->n_entries < (size_t)n; s->n_entries++) {
		struct entry *e = &s->entries[s->n_entries];
		e->name_len = hs_wire_u16(w);
		e->name = (const char *)hs_wire_bytes(w, e->name_len);
		e->type = hs_wire_u8(w);
		e->elements = hs_wire_u32(w);
		e->offset = hs_wire_u64(w);
		e->bytes = hs_wire_u64(w);
		if (w->failed)
			return bad(err, HS_N_("the directory is cut short"), "tensors");
		if (e->offset > s->len || e->bytes > s->len - e->offset)
			return hs_fail(err, EINVAL, "e5s1.invalid", HS_N_("the data lie outside the file"), "tensor %.*s",
				       (int)HS_MIN(e->name_len, 64u), e->name);
	}
	return 0;
}

/* Put the tensor called from as to, if it is exactly what the shape says. */
static int put_tensor(const struct source *s, struct hs_gguf_writer *w, const char *from, const char *to,
		      enum hs_tensor_type type, uint64_t columns, uint64_t rows, struct hs_err *err)
{
	const uint64_t dims[2] = {columns, rows};
	for (size_t i = 0; i < s->n_entries; i++) {
		const struct entry *e = &s->entries[i];
		if (e->name_len != strlen(from) || memcmp(e->name, from, e->name_len) != 0)
			continue;
		if (e->type != (type == HS_Q4_0) || e->elements != columns * rows ||
		    e->bytes != hs_tensor_type_bytes(type, columns * rows))
			break;
		hs_gguf_put_tensor(w, to, type, rows > 1 ? 2 : 1, dims, s->data + e->offset);
		return 0;
	}
	return hs_fail(err, EINVAL, "e5s1.invalid", HS_N_("the tensor is absent or of another shape"), "tensor %s", from);
}

struct tensor_name {
	const char *from, *to;
	bool of_ffn; /* its bias, or the rows of its matrix, are ffn wide */
	bool matrix; /* with .w and .b; otherwise a norm's pair of vectors */
};

static const struct tensor_name layer_names[] = {
	{"q", "attn_q", false, true},
	{"k", "attn_k", false, true},
	{"v", "attn_v", false, true},
	{"ao", "attn_output", false, true},
	{"aln", "attn_output_norm", false, false},
	{"fi", "ffn_up", true, true},
	{"fo", "ffn_down", false, true},
	{"oln", "layer_output_norm", false, false},
};

static int put_layer(const struct source *s, struct hs_gguf_writer *w, int32_t layer, struct hs_err *err)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < HS_ARRAY_LEN(layer_names); i++) {
		const struct tensor_name *t = &layer_names[i];
		char from[32], to[64];
		uint64_t rows = (uint64_t)(t->of_ffn ? s->ffn : s->hidden);
		uint64_t columns = (uint64_t)(strcmp(t->from, "fo") == 0 ? s->ffn : s->hidden);
		snprintf(from, sizeof from, "l%d.%s.w", layer, t->from);
		snprintf(to, sizeof to, "blk.%d.%s.weight", layer, t->to);
		rc = put_tensor(s, w, from, to, t->matrix ? HS_Q4_0 : HS_F32, columns, t->matrix ? rows : 1, err);
		if (rc < 0)
			return rc;
		snprintf(from, sizeof from, "l%d.%s.b", layer, t->from);
		snprintf(to, sizeof to, "blk.%d.%s.bias", layer, t->to);
		rc = put_tensor(s, w, from, to, HS_F32, rows, 1, err);
	}
	return rc;
}

static int put_tensors(const struct source *s, struct hs_gguf_writer *w, struct hs_err *err)
{
	uint64_t hidden = (uint64_t)s->hidden;
	int rc = put_tensor(s, w, "emb.word", "token_embd.weight", HS_Q4_0, hidden, (uint64_t)s->vocab, err);
	if (rc == 0)
		rc = put_tensor(s, w, "emb.pos", "position_embd.weight", HS_F32, hidden, (uint64_t)s->positions, err);
	if (rc == 0)
		rc = put_tensor(s, w, "emb.type", "token_types.weight", HS_F32, hidden, (uint64_t)s->types, err);
	if (rc == 0)
		rc = put_tensor(s, w, "emb.ln.w", "token_embd_norm.weight", HS_F32, hidden, 1, err);
	if (rc == 0)
		rc = put_tensor(s, w, "emb.ln.b", "token_embd_norm.bias", HS_F32, hidden, 1, err);
	for (int32_t i = 0; rc == 0 && i < s->layers; i++)
		rc = put_layer(s, w, i, err);
	return rc;
}

static void put_parameters(const struct source *s, struct hs_gguf_writer *w)
{
	hs_gguf_put_str(w, "general.architecture", "bert");
	hs_gguf_put_str(w, "general.name", "multilingual-e5-small");
	hs_gguf_put_str(w, "general.license", "mit");
	hs_gguf_put_u32(w, "general.file_type", 2); /* mostly Q4_0 */
	hs_gguf_put_u32(w, "bert.block_count", (uint32_t)s->layers);
	hs_gguf_put_u32(w, "bert.context_length", (uint32_t)s->positions);
	hs_gguf_put_u32(w, "bert.embedding_length", (uint32_t)s->hidden);
	hs_gguf_put_u32(w, "bert.feed_forward_length", (uint32_t)s->ffn);
	hs_gguf_put_u32(w, "bert.attention.head_count", (uint32_t)s->heads);
	hs_gguf_put_f32(w, "bert.attention.layer_norm_epsilon", s->eps);
	hs_gguf_put_bool(w, "bert.attention.causal", false);
	hs_gguf_put_u32(w, "bert.pooling_type", 1); /* the mean */
	hs_gguf_put_str(w, "hisho.embed.query_prefix", "query: ");
	hs_gguf_put_str(w, "hisho.embed.passage_prefix", "passage: ");
}

/* Rows beyond the pieces exist in the model and mean nothing: unused tokens. */
static int put_vocabulary(const struct source *s, struct hs_gguf_writer *w, struct hs_err *err)
{
	size_t n = (size_t)s->vocab;
	struct hs_gguf_str *texts = calloc(n, sizeof *texts);
	char(*unused)[24] = calloc(n - (size_t)s->pieces + 1, sizeof *unused);
	float *scores = calloc(n, sizeof *scores);
	int32_t *kinds = calloc(n, sizeof *kinds);
	int rc = texts && unused && scores && kinds ? 0 : hs_fail_errno(err, -ENOMEM, "e5s1.read", "pieces");
	for (int32_t i = 0; rc == 0 && i < s->vocab; i++) {
		if (i >= s->pieces) {
			char *name = unused[i - s->pieces];
			int len = snprintf(name, sizeof *unused, "[PAD%d]", i);
			texts[i] = (struct hs_gguf_str){name, (size_t)len};
			kinds[i] = 5;
			continue;
		}
		uint32_t from = hs_le32_load(s->offsets + 4 * (size_t)i), to = hs_le32_load(s->offsets + 4 * (size_t)i + 4);
		uint32_t bits = hs_le32_load(s->scores + 4 * (size_t)i);
		texts[i] = (struct hs_gguf_str){s->blob + from, to - from};
		memcpy(&scores[i], &bits, sizeof bits);
		bool mask = texts[i].len == 6 && memcmp(texts[i].s, "<mask>", 6) == 0;
		kinds[i] = i == s->unk ? 2 : i == s->bos || i == s->eos || i == s->pad || mask ? 3 : 1;
		if (!(scores[i] > -1e9f && scores[i] < 1e9f))
			rc = hs_fail(err, EINVAL, "e5s1.invalid", HS_N_("a score is not a number of sensible size"), "piece %d",
				     i);
	}
	if (rc == 0) {
		hs_gguf_put_str(w, "tokenizer.ggml.model", "t5");
		hs_gguf_put_str(w, "tokenizer.ggml.pre", "default");
		hs_gguf_put_str_array(w, "tokenizer.ggml.tokens", texts, n);
		hs_gguf_put_f32_array(w, "tokenizer.ggml.scores", scores, n);
		hs_gguf_put_i32_array(w, "tokenizer.ggml.token_type", kinds, n);
	}
	free(texts);
	free(unused);
	free(scores);
	free(kinds);
	return rc;
}

static int put_normaliser(const struct source *s, struct hs_gguf_writer *w, struct hs_norm_rules *rules, struct hs_err *err)
{
	HS_BUF_AUTO blob = HS_BUF_INIT;
	int rc = hs_norm_rules_compose(rules);
	if (rc == 0)
		rc = hs_norm_rules_write(rules, &blob);
	if (rc < 0)
		return hs_fail_errno(err, rc, "e5s1.read", "map");
	hs_gguf_put_u32(w, "tokenizer.ggml.token_type_count", (uint32_t)s->types);
	hs_gguf_put_u32(w, "tokenizer.ggml.bos_token_id", (uint32_t)s->bos);
	hs_gguf_put_u32(w, "tokenizer.ggml.eos_token_id", (uint32_t)s->eos);
	hs_gguf_put_u32(w, "tokenizer.ggml.unknown_token_id", (uint32_t)s->unk);
	hs_gguf_put_u32(w, "tokenizer.ggml.seperator_token_id", (uint32_t)s->eos); /* so spelt in the specification */
	hs_gguf_put_u32(w, "tokenizer.ggml.padding_token_id", (uint32_t)s->pad);
	hs_gguf_put_u32(w, "tokenizer.ggml.cls_token_id", (uint32_t)s->bos);
	hs_gguf_put_bool(w, "tokenizer.ggml.add_bos_token", true);
	hs_gguf_put_bool(w, "tokenizer.ggml.add_eos_token", true);
	hs_gguf_put_bool(w, "tokenizer.ggml.add_space_prefix", true);
	hs_gguf_put_bool(w, "tokenizer.ggml.remove_extra_whitespaces", true);
	hs_gguf_put_bytes(w, "tokenizer.ggml.precompiled_charsmap", blob.data, blob.len);
	return 0;
}

bool hs_e5s1_is(const void *head, size_t n)
{
	return n >= 4 && hs_le32_load(head) == MAGIC;
}

int hs_e5s1_convert(const void *data, size_t n, struct hs_gguf_writer *w, struct hs_err *err)
{
	struct source s = {.data = data, .len = n};
	struct hs_wire wire = hs_wire_over(data, n);
	struct hs_norm_rules rules = {0};
	int rc = read_header(&s, &wire, err);
	if (rc == 0)
		rc = read_pieces(&s, &wire, err);
	if (rc == 0)
		rc = read_map(&wire, &rules, err);
	if (rc == 0)
		rc = read_directory(&s, &wire, err);
	if (rc == 0) {
		put_parameters(&s, w);
		rc = put_vocabulary(&s, w, err);
	}
	if (rc == 0)
		rc = put_normaliser(&s, w, &rules, err);
	if (rc == 0)
		rc = put_tensors(&s, w, err);
	hs_norm_rules_finish(&rules);
	free(s.entries);
	return rc;
}

int hs_e5s1_import(const char *path_in, const char *path_out, hs_import_progress_fn progress, void *arg, struct hs_err *err)
{
	HS_BUF_AUTO data = HS_BUF_INIT;
	int rc = hs_file_read(AT_FDCWD, path_in, FILE_MAX, &data);
	if (rc < 0)
		return hs_fail_errno(err, rc, "model.import", path_in);
	struct hs_gguf_writer *w = hs_gguf_writer_create();
	if (!w)
		return hs_fail_errno(err, -ENOMEM, "model.import", path_in);
	rc = hs_e5s1_convert(data.data, data.len, w, err);
	if (rc == 0) {
		hs_gguf_writer_on_progress(w, progress, arg);
		rc = hs_import_save(w, path_out, err);
	}
	hs_gguf_writer_destroy(w);
	return rc;
}
