/*
 * A SentencePiece model: a ModelProto (https://github.com/google/sentencepiece, src/sentencepiece_model.proto) in Protocol
 * Buffers' wire format. Fields that mean nothing to a reader of texts are stepped over, as that format wants.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "inference/import/vocabulary.h"

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct field {
	uint64_t number, varint;
	unsigned kind;
	struct hs_wire bytes; /* of WIRE_BYTES and WIRE_32 */
};

static uint64_t read_varint(struct hs_wire *w)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t byte = hs_wire_u8(w);
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return v;
	}
	w->failed = true;
	return 0;
}

/* The next field of a message; false at its end, or where it is broken (w->failed). */
static bool next_field(struct hs_wire *w, struct field *f)
{
	if (w->failed || w->at == w->len)
		return false;
	uint64_t key = read_varint(w), n = 0;
	*f = (struct field){.number = key >> 3, .kind = (unsigned)(key & 7)};
	if (f->kind == WIRE_VARINT)
		f->varint = read_varint(w);
	else if (f->kind == WIRE_BYTES)
		n = read_varint(w);
	else if (f->kind == WIRE_32 || f->kind == WIRE_64)
		n = f->kind == WIRE_32 ? 4 : 8;
	else
		w->failed = true;
	if (!w->failed && n > w->len - w->at)
		w->failed = true;
	if (!w->failed && n)
		f->bytes = hs_wire_over(hs_wire_bytes(w, (size_t)n), (size_t)n);
	return !w->failed;
}

struct facts {
	uint64_t model_type, n_pieces;
	bool has_spaces_escaped;
	int32_t bos, eos, unk;
};

static int read_piece(struct hs_vocabulary *v, struct hs_wire piece, struct facts *facts, bool fairseq, struct hs_err *err)
{
	struct field f;
	struct hs_gguf_str text = {.s = ""};
	float score = 0;
	uint64_t kind = HS_VOCAB_NORMAL, number = facts->n_pieces++;
	while (next_field(&piece, &f)) {
		if (f.number == 1 && f.kind == WIRE_BYTES)
			text = (struct hs_gguf_str){f.bytes.len ? (const char *)f.bytes.data : "", f.bytes.len};
		else if (f.number == 2 && f.kind == WIRE_32)
			score = hs_wire_f32(&f.bytes);
		else if (f.number == 3 && f.kind == WIRE_VARINT)
			kind = f.varint;
	}
	if (piece.failed || kind < HS_VOCAB_NORMAL || kind > HS_VOCAB_BYTE)
		return hs_import_bad(err, HS_N_("a piece is cut short, or of an unknown kind"), "tokenizer.model, piece %llu",
				     (unsigned long long)number);
	if (fairseq && number < 3) /* <unk> <s> </s>: they stand elsewhere */
		return 0;
	return hs_vocabulary_set(v, number + fairseq, text, score, (enum hs_vocab_kind)kind, err);
}

static void read_trainer(struct hs_wire spec, struct facts *facts)
{
	struct field f;
	while (next_field(&spec, &f)) {
		if (f.kind != WIRE_VARINT)
			continue;
		if (f.number == 3)
			facts->model_type = f.varint;
		else if (f.number == 40)
			facts->unk = (int32_t)HS_MIN(f.varint, (uint64_t)INT32_MAX);
		else if (f.number == 41) /* -1, none, is a varint of 64 bits */
			facts->bos = f.varint > INT32_MAX ? HS_TOK_NONE : (int32_t)f.varint;
		else if (f.number == 42)
			facts->eos = f.varint > INT32_MAX ? HS_TOK_NONE : (int32_t)f.varint;
	}
}

static int read_normalizer(struct hs_vocabulary *v, struct hs_wire spec, struct facts *facts, struct hs_err *err)
{
	struct field f;
	while (next_field(&spec, &f)) {
		if (f.number == 2 && f.kind == WIRE_BYTES && f.bytes.len) {
			free(v->charsmap);
			v->charsmap = malloc(f.bytes.len);
			if (!v->charsmap)
				return hs_fail_errno(err, -ENOMEM, "import.read", "tokenizer.model");
			memcpy(v->charsmap, f.bytes.data, f.bytes.len);
			v->charsmap_len = f.bytes.len;
		} else if (f.number == 3 && f.kind == WIRE_VARINT) {
			v->prefix = f.varint != 0;
		} else if (f.number == 4 && f.kind == WIRE_VARINT) {
			v->collapse = f.varint != 0;
		} else if (f.number == 5 && f.kind == WIRE_VARINT) {
			facts->has_spaces_escaped = f.varint != 0;
		}
	}
	return spec.failed ? hs_import_bad(err, HS_N_("the file is cut short"), "%s", "tokenizer.model, normalizer_spec") : 0;
}

/* XLM-R's own: fairseq put its marks in front, and transformers a <mask> behind. */
static int set_fairseq(struct hs_vocabulary *v, struct facts *facts, struct hs_err *err)
{
	static const char *const names[] = {"<s>", "<pad>", "</s>", "<unk>", "<mask>"};
	int rc = 0;
	for (size_t i = 0; i < HS_ARRAY_LEN(names) && rc == 0; i++)
		rc = hs_vocabulary_set(v, i < 4 ? i : facts->n_pieces + 1, (struct hs_gguf_str){names[i], strlen(names[i])}, 0,
				       i == 3 ? HS_VOCAB_UNKNOWN : HS_VOCAB_CONTROL, err);
	facts->bos = 0;
	facts->eos = 2;
	facts->unk = 3;
	v->has_pair = true;
	v->before = (struct hs_pair_marks){.ids = {0}, .n = 1};
	v->between = (struct hs_pair_marks){.ids = {2, 2}, .n = 2};
	v->after = (struct hs_pair_marks){.ids = {2}, .n = 1};
	return rc;
}

int hs_vocabulary_read_sentencepiece(struct hs_vocabulary *v, const struct hs_import_bytes *file, bool fairseq,
				     struct hs_err *err)
{
	struct facts facts = {.model_type = 1, .has_spaces_escaped = true, .bos = 1, .eos = 2}; /* the format's defaults */
	struct hs_wire w = hs_wire_over(file->data, file->len);
	struct field f;
	int rc = 0;
	if (file->len > HS_TOKENIZER_FILE_MAX)
		return hs_import_bad(err, HS_N_("the file is larger than such files are"), "%s", "tokenizer.model");
	v->prefix = v->collapse = true;
	while (rc == 0 && next_field(&w, &f)) {
		if (f.kind != WIRE_BYTES)
			continue;
		if (f.number == 1)
			rc = read_piece(v, f.bytes, &facts, fairseq, err);
		else if (f.number == 2)
			read_trainer(f.bytes, &facts);
		else if (f.number == 3)
			rc = read_normalizer(v, f.bytes, &facts, err);
	}
	if (rc < 0)
		return rc;
	if (w.failed || facts.n_pieces == 0)
		return hs_import_bad(err, HS_N_("this is not a SentencePiece model, or it is cut short"), "%s",
				     "tokenizer.model");
	if (facts.model_type != 1)
		return hs_import_unsupported(err, HS_N_("vocabularies of Unigram and WordPiece can be imported only"),
					     "tokenizer.model, model_type %llu", (unsigned long long)facts.model_type);
	if (!facts.has_spaces_escaped)
		return hs_import_unsupported(err, HS_N_("spaces that are not escaped are not known"), "%s",
					     "tokenizer.model, escape_whitespaces");
	if (fairseq)
		rc = set_fairseq(v, &facts, err);
	v->bos = facts.bos;
	v->eos = facts.eos;
	v->unk = facts.unk;
	return rc;
}
