/* tokenizer.json: {model, normalizer, pre_tokenizer, post_processor, added_tokens}; its padding, truncation and decoder are not
 * ours. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "inference/import/vocabulary.h"

#define STEPS_MAX 16u /* of a Sequence */

static const char *type_of(const json_t *step)
{
	const char *type = hs_import_text(step, "type");
	return type ? type : "?";
}

static struct hs_gguf_str text_of(const json_t *s)
{
	return (struct hs_gguf_str){json_string_value(s), json_string_length(s)};
}

static int copy_text(struct hs_vocabulary *v, const char *lead, const char *s, size_t n, struct hs_gguf_str *ret,
		     struct hs_err *err)
{
	size_t before = strlen(lead);
	char *copy = hs_arena_alloc(v->arena, before + n + 1);
	if (!copy)
		return hs_fail_errno(err, -ENOMEM, "import.read", "tokenizer.json");
	memcpy(copy, lead, before);
	memcpy(copy + before, s, n);
	*ret = (struct hs_gguf_str){copy, before + n};
	return 0;
}

static int unsupported(struct hs_err *err, const char *where, const json_t *step)
{
	return hs_import_unsupported(
	    err, HS_N_("the tokeniser does this to texts and ours does not; guessing would give wrong tokens"),
	    "tokenizer.json, %s %s", where, type_of(step));
}

/* Standard base64, as JSON carries bytes; NULL out: only count. */
static int decode_base64(const char *s, size_t n, uint8_t *out, size_t *ret_len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t len = 0;
	uint32_t bits = 0;
	unsigned held = 0;
	while (n > 0 && s[n - 1] == '=')
		n--;
	for (size_t i = 0; i < n; i++) {
		const char *digit = s[i] ? strchr(digits, s[i]) : NULL;
		if (!digit)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)(digit - digits);
		held += 6;
		if (held < 8)
			continue;
		held -= 8;
		out[len++] = (uint8_t)(bits >> held);
	}
	*ret_len = len;
	return 0;
}

static int read_charsmap(struct hs_vocabulary *v, const json_t *step, struct hs_err *err)
{
	const json_t *text = json_object_get(step, "precompiled_charsmap");
	size_t n = json_string_length(text);
	if (json_is_null(text) || (json_is_string(text) && n == 0))
		return 0;
	if (!json_is_string(text) || v->charsmap)
		return hs_import_bad(err, HS_N_("not a text in base64, or the second one"), "%s", "precompiled_charsmap");
	v->charsmap = malloc(n / 4 * 3 + 3);
	if (!v->charsmap)
		return hs_fail_errno(err, -ENOMEM, "import.read", "precompiled_charsmap");
	if (decode_base64(json_string_value(text), n, v->charsmap, &v->charsmap_len) < 0)
		return hs_import_bad(err, HS_N_("not a text in base64, or the second one"), "%s", "precompiled_charsmap");
	return 0;
}

struct spaces { /* what the steps of a Unigram's pipeline do to spaces */
	bool stripped, words;
};

/* " " to the mark, as every SentencePiece vocabulary has it, or runs of spaces to one. */
static int read_replace(struct hs_vocabulary *v, const json_t *step, struct hs_err *err)
{
	const json_t *pattern = json_object_get(step, "pattern");
	bool to_mark = hs_import_is(step, "content", HS_SPACE_MARK), to_space = hs_import_is(step, "content", " ");
	if (hs_import_is(pattern, "String", " ") && to_mark)
		return 0;
	if (!hs_import_is(pattern, "Regex", " {2,}") || !(to_mark || to_space))
		return unsupported(err, "normalizer", step);
	v->collapse = true;
	return 0;
}

static int read_unigram_step(struct hs_vocabulary *v, const json_t *step, struct spaces *spaces, struct hs_err *err)
{
	if (hs_import_is(step, "type", "Precompiled"))
		return read_charsmap(v, step, err);
	if (hs_import_is(step, "type", "Replace"))
		return read_replace(v, step, err);
	if (hs_import_is(step, "type", "Strip")) {
		spaces->stripped = true;
		return 0;
	}
	if (!hs_import_is(step, "type", "Prepend") || !hs_import_is(step, "prepend", HS_SPACE_MARK))
		return unsupported(err, "normalizer", step);
	v->prefix = true;
	return 0;
}

static int read_wordpiece_step(struct hs_vocabulary *v, const json_t *step, struct spaces *spaces, struct hs_err *err)
{
	bool clean = true, apart = true;
	(void)spaces;
	if (!hs_import_is(step, "type", "BertNormalizer"))
		return unsupported(err, "normalizer", step);
	v->lowercase = true;
	int rc = hs_import_flag(step, "clean_text", &clean, err);
	if (rc == 0)
		rc = hs_import_flag(step, "handle_chinese_chars", &apart, err);
	if (rc == 0)
		rc = hs_import_flag(step, "lowercase", &v->lowercase, err);
	v->strip_accents = v->lowercase;
	if (rc == 0)
		rc = hs_import_flag(step, "strip_accents", &v->strip_accents, err);
	return rc == 0 && !(clean && apart) ? unsupported(err, "normalizer", step) : rc;
}

static int read_unigram_cut(struct hs_vocabulary *v, const json_t *step, struct spaces *spaces, struct hs_err *err)
{
	bool prefix = true;
	if (hs_import_is(step, "type", "WhitespaceSplit")) {
		spaces->words = v->collapse = true;
		return 0;
	}
	if (!hs_import_is(step, "type", "Metaspace") || !hs_import_is(step, "replacement", HS_SPACE_MARK))
		return unsupported(err, "pre_tokenizer", step);
	int rc = hs_import_flag(step, "add_prefix_space", &prefix, err);
	if (hs_import_text(step, "prepend_scheme"))
		prefix = !hs_import_is(step, "prepend_scheme", "never");
	v->prefix |= prefix;
	return rc;
}

static int read_wordpiece_cut(struct hs_vocabulary *v, const json_t *step, struct spaces *spaces, struct hs_err *err)
{
	(void)v;
	(void)spaces;
	return hs_import_is(step, "type", "BertPreTokenizer") ? 0 : unsupported(err, "pre_tokenizer", step);
}

typedef int (*step_fn)(struct hs_vocabulary *v, const json_t *step, struct spaces *spaces, struct hs_err *err);

/* A step, or the steps of a Sequence (one within another is refused), or nothing. */
static int read_steps(struct hs_vocabulary *v, const json_t *root, const char *key, const char *list_key, step_fn fn,
		      struct spaces *spaces, struct hs_err *err)
{
	const json_t *step = json_object_get(root, key), *list = json_object_get(step, list_key);
	size_t n = json_array_size(list);
	int rc = 0;
	if (!step || json_is_null(step))
		return 0;
	if (!hs_import_is(step, "type", "Sequence"))
		return fn(v, step, spaces, err);
	if (!json_is_array(list) || n > STEPS_MAX)
		return hs_import_bad(err, HS_N_("a Sequence is a list of at most 16 steps"), "tokenizer.json, %s", key);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = fn(v, json_array_get(list, i), spaces, err);
	return rc;
}

static int read_pipeline(struct hs_vocabulary *v, const json_t *root, struct hs_err *err)
{
	struct spaces spaces = {0};
	const json_t *normalizer = json_object_get(root, "normalizer"), *cut = json_object_get(root, "pre_tokenizer");
	if (v->wordpiece && (!json_is_object(normalizer) || !json_is_object(cut)))
		return hs_import_unsupported(err, HS_N_("a WordPiece vocabulary without BERT's own steps"), "%s",
					     "tokenizer.json, normalizer, pre_tokenizer");
	int rc = read_steps(v, root, "normalizer", "normalizers", v->wordpiece ? read_wordpiece_step : read_unigram_step, &spaces,
			    err);
	if (rc == 0)
		rc = read_steps(v, root, "pre_tokenizer", "pretokenizers", v->wordpiece ? read_wordpiece_cut : read_unigram_cut,
				&spaces, err);
	if (rc == 0 && spaces.stripped && !v->collapse)
		return hs_import_unsupported(err, HS_N_("spaces at the ends go while runs of spaces stay"), "%s",
					     "tokenizer.json, normalizer Strip");
	if (rc == 0 && spaces.words && !v->charsmap)
		return hs_import_unsupported(
		    err, HS_N_("words are cut at white space of any kind, and no character map makes it spaces"), "%s",
		    "tokenizer.json, pre_tokenizer WhitespaceSplit");
	return rc;
}

static bool spells_byte(struct hs_gguf_str s)
{
	return s.len == 6 && memcmp(s.s, "<0x", 3) == 0 && s.s[5] == '>';
}

static int read_unigram(struct hs_vocabulary *v, const json_t *model, struct hs_err *err)
{
	const json_t *list = json_object_get(model, "vocab");
	bool bytes = false;
	int64_t unk = -1;
	size_t n = json_array_size(list);
	int rc = hs_import_flag(model, "byte_fallback", &bytes, err);
	if (rc < 0 || (rc = hs_import_whole(model, "unk_id", 0, HS_VOCAB_TOKENS_MAX, false, &unk, err)) < 0)
		return rc;
	if (n == 0)
		return hs_import_bad(err, HS_N_("no list of pieces"), "%s", "tokenizer.json, model.vocab");
	v->unk = (int32_t)unk;
	for (size_t i = 0; i < n && rc == 0; i++) {
		const json_t *pair = json_array_get(list, i), *score = json_array_get(pair, 1);
		struct hs_gguf_str text = text_of(json_array_get(pair, 0));
		if (!text.s || !json_is_number(score))
			return hs_import_bad(err, HS_N_("a piece is a text and a score"), "tokenizer.json, model.vocab, %zu", i);
		rc = hs_vocabulary_set(v, i, text, (float)json_number_value(score),
				       (int64_t)i == unk            ? HS_VOCAB_UNKNOWN
				       : bytes && spells_byte(text) ? HS_VOCAB_BYTE
								    : HS_VOCAB_NORMAL,
				       err);
	}
	return rc;
}

static int read_wordpiece(struct hs_vocabulary *v, const json_t *model, struct hs_err *err)
{
	const json_t *entries = json_object_get(model, "vocab");
	const char *text, *unk = hs_import_text(model, "unk_token");
	json_t *id;
	int64_t longest = 100;
	int rc = hs_import_whole(model, "max_input_chars_per_word", 1, INT32_MAX, false, &longest, err);
	if (rc < 0)
		return rc;
	if (longest != 100 || !hs_import_is(model, "continuing_subword_prefix", "##"))
		return hs_import_unsupported(err, HS_N_("words of 100 characters, their later pieces marked ##, are known only"),
					     "%s", "tokenizer.json, model");
	json_object_foreach((json_t *)(uintptr_t)entries, text, id)
	{ /* the macro reads only */
		struct hs_gguf_str spelt;
		size_t n = strlen(text);
		bool goes_on = n > 2 && memcmp(text, "##", 2) == 0;
		if (!json_is_integer(id) || json_integer_value(id) < 0)
			return hs_import_bad(err, HS_N_("a piece's number is none"), "tokenizer.json, model.vocab, %s", text);
		bool unknown = unk && strcmp(text, unk) == 0;
		if (unknown)
			v->unk = (int32_t)HS_MIN(json_integer_value(id), INT32_MAX);
		rc = copy_text(v, goes_on ? "" : HS_SPACE_MARK, goes_on ? text + 2 : text, goes_on ? n - 2 : n, &spelt, err);
		if (rc == 0)
			rc = hs_vocabulary_set(v, (uint64_t)json_integer_value(id), spelt, 0,
					       unknown ? HS_VOCAB_UNKNOWN : HS_VOCAB_NORMAL, err);
		if (rc < 0)
			return rc;
	}
	return v->n ? 0 : hs_import_bad(err, HS_N_("no list of pieces"), "%s", "tokenizer.json, model.vocab");
}

/* An added token stands in the list of pieces, too, or behind it. */
static int read_added(struct hs_vocabulary *v, const json_t *root, struct hs_err *err)
{
	const json_t *list = json_object_get(root, "added_tokens");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *entry = json_array_get(list, i), *content = json_object_get(entry, "content");
		struct hs_gguf_str text = text_of(content);
		int64_t id = -1;
		bool special = false;
		int rc = hs_import_whole(entry, "id", 0, HS_VOCAB_TOKENS_MAX - 1, true, &id, err);
		if (rc == 0)
			rc = hs_import_flag(entry, "special", &special, err);
		if (rc == 0 && !text.s)
			rc = hs_import_bad(err, HS_N_("an added token has no content"), "tokenizer.json, added_tokens, %zu", i);
		bool known = rc == 0 && (uint64_t)id < v->n && v->kinds[id] != 0;
		if (known && v->wordpiece && v->texts[id].len == text.len + HS_SPACE_MARK_LEN) {
			v->texts[id].s += HS_SPACE_MARK_LEN; /* the beginning of no word: it stands alone */
			v->texts[id].len -= HS_SPACE_MARK_LEN;
		}
		enum hs_vocab_kind kind = id == v->unk ? HS_VOCAB_UNKNOWN : special ? HS_VOCAB_CONTROL : HS_VOCAB_USER;
		if (rc == 0)
			rc = hs_vocabulary_set(v, (uint64_t)id, text, 0, kind, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int push_mark(struct hs_pair_marks *m, json_int_t id, struct hs_err *err)
{
	if (m->n == HS_PAIR_MARKS_MAX || id < 0 || id >= (json_int_t)HS_VOCAB_TOKENS_MAX)
		return hs_import_bad(err, HS_N_("more than 4 tokens at one place, or a number of none"), "%s",
				     "tokenizer.json, post_processor");
	m->ids[m->n++] = (int32_t)id;
	return 0;
}

/* One form of a TemplateProcessing: marks (n_texts + 1 places), in front of A, between A and B, behind. */
static int read_form(const json_t *processor, const char *key, size_t n_texts, struct hs_pair_marks *marks, bool *second_type,
		     struct hs_err *err)
{
	const json_t *form = json_object_get(processor, key), *specials = json_object_get(processor, "special_tokens");
	size_t at = 0;
	for (size_t i = 0; i < json_array_size(form); i++) {
		const json_t *part = json_array_get(form, i), *sequence = json_object_get(part, "Sequence"),
			     *special = json_object_get(part, "SpecialToken");
		const char *name = hs_import_text(special, "id");
		const json_t *ids = name ? json_object_get(json_object_get(specials, name), "ids") : NULL;
		if (sequence && at < n_texts && hs_import_is(sequence, "id", at ? "B" : "A")) {
			*second_type |= at && json_integer_value(json_object_get(sequence, "type_id")) != 0;
			at++;
			continue;
		}
		if (json_array_size(ids) != 1 || !json_is_integer(json_array_get(ids, 0)))
			return hs_import_bad(err, HS_N_("neither a text nor one special token that the file knows"),
					     "tokenizer.json, post_processor %s, %zu", key, i);
		int rc = push_mark(&marks[at], json_integer_value(json_array_get(ids, 0)), err);
		if (rc < 0)
			return rc;
	}
	return at == n_texts ? 0 : hs_import_bad(err, HS_N_("a text is missing"), "tokenizer.json, post_processor %s", key);
}

static int read_template(struct hs_vocabulary *v, const json_t *processor, struct hs_err *err)
{
	struct hs_pair_marks one[2] = {0}, two[3] = {0};
	bool ignored = false;
	int rc = read_form(processor, "single", 1, one, &ignored, err);
	if (rc < 0)
		return rc;
	if (one[0].n > 1 || one[1].n > 1)
		return hs_import_unsupported(err, HS_N_("more than one special token at an end of a text"), "%s",
					     "tokenizer.json, post_processor single");
	v->bos = one[0].n ? one[0].ids[0] : HS_TOK_NONE;
	v->eos = one[1].n ? one[1].ids[0] : HS_TOK_NONE;
	if (json_array_size(json_object_get(processor, "pair")) == 0)
		return 0;
	rc = read_form(processor, "pair", 2, two, &v->second_type, err);
	v->has_pair = rc == 0;
	v->before = two[0];
	v->between = two[1];
	v->after = two[2];
	return rc;
}

static int read_post(struct hs_vocabulary *v, const json_t *processor, struct hs_err *err)
{
	bool roberta = hs_import_is(processor, "type", "RobertaProcessing"),
	     bert = hs_import_is(processor, "type", "BertProcessing");
	if (!processor || json_is_null(processor))
		return 0;
	if (hs_import_is(processor, "type", "TemplateProcessing"))
		return read_template(v, processor, err);
	if (!roberta && !bert)
		return unsupported(err, "post_processor", processor);
	const json_t *sep = json_array_get(json_object_get(processor, "sep"), 1),
		     *cls = json_array_get(json_object_get(processor, "cls"), 1);
	if (!json_is_integer(sep) || !json_is_integer(cls))
		return hs_import_bad(err, HS_N_("sep and cls are each a text and a number"), "%s",
				     "tokenizer.json, post_processor");
	int rc = push_mark(&v->before, json_integer_value(cls), err);
	for (int i = 0; i < (roberta ? 2 : 1) && rc == 0; i++)
		rc = push_mark(&v->between, json_integer_value(sep), err);
	if (rc == 0)
		rc = push_mark(&v->after, json_integer_value(sep), err);
	if (rc < 0)
		return rc;
	v->has_pair = true;
	v->second_type = bert;
	v->bos = v->before.ids[0];
	v->eos = v->after.ids[0];
	return 0;
}

int hs_vocabulary_read_json(struct hs_vocabulary *v, const struct hs_import_bytes *file, struct hs_err *err)
{
	int rc = hs_import_json(file, HS_TOKENIZER_FILE_MAX, "tokenizer.json", &v->json, err);
	if (rc < 0)
		return rc;
	const json_t *model = json_object_get(v->json, "model");
	v->wordpiece = hs_import_is(model, "type", "WordPiece");
	if (!v->wordpiece && !hs_import_is(model, "type", "Unigram"))
		return hs_import_unsupported(err, HS_N_("vocabularies of Unigram and WordPiece can be imported only"),
					     "tokenizer.json, model %s", type_of(model));
	rc = v->wordpiece ? read_wordpiece(v, model, err) : read_unigram(v, model, err);
	if (rc == 0)
		rc = read_added(v, v->json, err);
	if (rc == 0)
		rc = read_pipeline(v, v->json, err);
	return rc < 0 ? rc : read_post(v, json_object_get(v->json, "post_processor"), err);
}
