#include "text/analyze.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <mecab.h>
#include <sodium.h>

#include "base/file.h"
#include "base/utf8.h"
#include "text/chartab.h"
#include "text/normalize.h"

#define PIECE_MAX 4096   /* bytes given to MeCab at once: a lattice grows with its sentence */
#define ASCII_RUN_MAX 64 /* longer runs of ASCII letters and digits never reach MeCab: each letter would be a node */
#define TERM_MAX 255     /* bytes of a term; what is longer is cut at a character */
#define STEM_MIN_CHARS 4 /* katakana words at least this long lose a final ー: サーバー is サーバ, but キー stays */

struct hs_analyzer {
	mecab_model_t *model;
	uint8_t hash[HS_DICT_HASH_LEN];
};

struct hs_tagger {
	mecab_t *mecab;
	mecab_lattice_t *lattice;
	struct hs_norm norm;
};

static const char *const dict_files[] = {"char.bin", "dicrc", "matrix.bin", "sys.dic", "unk.dic"};

/* One file into the hash: its name and length first, so that bytes cannot move between files unseen. */
static int hash_file(crypto_generichash_state *state, int dir, const char *name)
{
	HS_FD_AUTO fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	(void)crypto_generichash_update(state, (const unsigned char *)name, strlen(name) + 1); /* cannot fail for a live state */
	uint64_t total = 0;
	uint8_t block[65536];
	for (;;) {
		ssize_t got = read(fd, block, sizeof block);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			break;
		(void)crypto_generichash_update(state, block, (size_t)got);
		total += (uint64_t)got;
	}
	uint8_t length[8];
	for (int i = 0; i < 8; i++)
		length[i] = (uint8_t)(total >> 8 * i);
	(void)crypto_generichash_update(state, length, sizeof length);
	return 0;
}

static int hash_dictionary(const char *dir_path, uint8_t out[static HS_DICT_HASH_LEN], struct hs_err *err)
{
	HS_FD_AUTO dir = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return hs_fail(err, errno, "dict.missing",
			       HS_N_("The MeCab dictionary folder cannot be opened; install mecab-ipadic-utf8."), "%s", dir_path);
	crypto_generichash_state state;
	if (sodium_init() < 0 || crypto_generichash_init(&state, NULL, 0, HS_DICT_HASH_LEN) != 0)
		return hs_fail(err, EIO, "dict.unusable", "", "libsodium");
	for (size_t i = 0; i < HS_ARRAY_LEN(dict_files); i++) {
		int rc = hash_file(&state, dir, dict_files[i]);
		if (rc < 0)
			return hs_fail(err, -rc, "dict.missing",
				       HS_N_("A file of the MeCab dictionary cannot be read; install mecab-ipadic-utf8 again."), "%s/%s",
				       dir_path, dict_files[i]);
	}
	(void)crypto_generichash_final(&state, out, HS_DICT_HASH_LEN);
	return 0;
}

int hs_analyzer_create(const char *dict_dir, struct hs_analyzer **ret, struct hs_err *err)
{
	struct hs_analyzer *a = calloc(1, sizeof *a);
	if (!a)
		return -ENOMEM;
	int rc = hash_dictionary(dict_dir, a->hash, err); /* before the model: a failed load leaks inside libmecab */
	if (rc < 0)
		goto failed;
	char *argv[] = {"mecab", "-r", "/dev/null", "-d", (char *)dict_dir}; /* libmecab does not write to its arguments */
	a->model = mecab_model_new((int)HS_ARRAY_LEN(argv), argv);
	if (!a->model) {
		rc = hs_fail(err, EINVAL, "dict.unusable", HS_N_("MeCab refuses this dictionary; it must be a compiled ipadic in UTF-8."), "%s",
			     dict_dir);
		goto failed;
	}
	const mecab_dictionary_info_t *info = mecab_model_dictionary_info(a->model);
	if (!info || !info->charset || (strcasecmp(info->charset, "utf8") != 0 && strcasecmp(info->charset, "utf-8") != 0)) {
		rc = hs_fail(err, EINVAL, "dict.unusable", HS_N_("The MeCab dictionary is not in UTF-8."), "%s", dict_dir);
		goto failed;
	}
	*ret = a;
	return 0;
failed:
	hs_analyzer_destroy(a);
	return rc;
}

void hs_analyzer_destroy(struct hs_analyzer *a)
{
	if (!a)
		return;
	if (a->model)
		mecab_model_destroy(a->model);
	free(a);
}

void hs_analyzer_dict_hash(const struct hs_analyzer *a, uint8_t out[static HS_DICT_HASH_LEN])
{
	memcpy(out, a->hash, HS_DICT_HASH_LEN);
}

int hs_tagger_create(struct hs_analyzer *a, struct hs_tagger **ret)
{
	struct hs_tagger *t = calloc(1, sizeof *t);
	if (!t)
		return -ENOMEM;
	t->mecab = mecab_model_new_tagger(a->model);
	t->lattice = mecab_model_new_lattice(a->model);
	if (!t->mecab || !t->lattice) {
		hs_tagger_destroy(t);
		return -ENOMEM;
	}
	*ret = t;
	return 0;
}

void hs_tagger_destroy(struct hs_tagger *t)
{
	if (!t)
		return;
	if (t->lattice)
		mecab_lattice_destroy(t->lattice);
	if (t->mecab)
		mecab_destroy(t->mecab);
	hs_norm_finish(&t->norm);
	free(t);
}

void hs_tokens_clear(struct hs_tokens *tokens)
{
	tokens->count = 0;
	tokens->terms_len = 0;
}

void hs_tokens_finish(struct hs_tokens *tokens)
{
	free(tokens->items);
	free(tokens->terms);
	*tokens = (struct hs_tokens){0};
}

static int push(struct hs_tokens *tokens, const char *term, size_t len, uint32_t start, uint32_t end, bool content)
{
	if (tokens->count == tokens->cap) {
		size_t cap = tokens->cap ? tokens->cap * 2 : 256;
		struct hs_token *items = realloc(tokens->items, cap * sizeof *items);
		if (!items)
			return -ENOMEM;
		tokens->items = items;
		tokens->cap = cap;
	}
	if (len > tokens->terms_cap - tokens->terms_len) {
		size_t cap = HS_MAX(tokens->terms_cap * 2, tokens->terms_len + len + 1024);
		if (cap > UINT32_MAX)
			return -EMSGSIZE;
		char *terms = realloc(tokens->terms, cap);
		if (!terms)
			return -ENOMEM;
		tokens->terms = terms;
		tokens->terms_cap = cap;
	}
	memcpy(tokens->terms + tokens->terms_len, term, len);
	tokens->items[tokens->count++] = (struct hs_token){
	    .term = (uint32_t)tokens->terms_len, .term_len = (uint32_t)len, .start = start, .end = end, .content = content};
	tokens->terms_len += len;
	return 0;
}

/* Words so common in questions and documents that they only cost time: base forms, as the dictionary gives them. */
static const char *const stop_words[] = {
    "する", "ある", "いる", "なる", "れる", "られる", "せる", "できる", "こと", "もの",
    "ため", "よう", "の",   "何",   "どこ", "どの",   "いつ", "誰",     "それ", "これ",
};

static bool is_stop_word(const char *s, size_t n)
{
	if (n > 9)
		return false;
	for (size_t i = 0; i < HS_ARRAY_LEN(stop_words); i++) {
		if (strlen(stop_words[i]) == n && memcmp(stop_words[i], s, n) == 0)
			return true;
	}
	return false;
}

/* Nouns, verbs, adjectives, adverbs, prefixes and adnominals rank; particles, auxiliaries, fillers and the like do not. */
static bool is_content(const char *feature)
{
	static const char *const kinds[] = {"名詞,", "動詞,", "形容詞,", "副詞,", "接頭詞,", "連体詞,"};
	for (size_t i = 0; i < HS_ARRAY_LEN(kinds); i++) {
		if (strncmp(feature, kinds[i], strlen(kinds[i])) == 0)
			return true;
	}
	return false;
}

/* Field 7 of ipadic's features: the base form. NULL where the dictionary names none. */
static const char *base_form(const char *feature, size_t *ret_len)
{
	for (int commas = 0; commas < 6; feature++) {
		if (*feature == '\0')
			return NULL;
		commas += *feature == ',';
	}
	size_t len = strcspn(feature, ",");
	if (len == 0 || (len == 1 && *feature == '*'))
		return NULL;
	*ret_len = len;
	return feature;
}

static uint32_t char_at(const char *s, size_t n, size_t *ret_len)
{
	uint32_t cp = 0;
	*ret_len = hs_utf8_decode(s, n, &cp);
	hs_assert(*ret_len > 0); /* normalised text is our own and valid */
	return cp;
}

static bool has_word_char(const char *s, size_t n)
{
	for (size_t i = 0, len; i < n; i += len) {
		if (hs_char_flags(char_at(s + i, n - i, &len)) & HS_CHAR_WORD)
			return true;
	}
	return false;
}

/* サーバー and サーバ are one term. Returns the length without the final ー. */
static size_t stem_katakana(const char *s, size_t n)
{
	if (n < STEM_MIN_CHARS * 3 || memcmp(s + n - 3, "ー", 3) != 0)
		return n;
	for (size_t i = 0, len; i < n; i += len) {
		if (!(hs_char_flags(char_at(s + i, n - i, &len)) & HS_CHAR_KATAKANA))
			return n;
	}
	return n - 3;
}

static enum hs_name_kind name_kind(const char *feature)
{
	static const char proper[] = "名詞,固有名詞,";
	static const struct {
		const char *class;
		enum hs_name_kind kind;
	} kinds[] = {{"人名", HS_NAME_PERSON}, {"地域", HS_NAME_PLACE}, {"組織", HS_NAME_ORGANIZATION}};
	if (strncmp(feature, proper, sizeof proper - 1) != 0)
		return HS_NAME_NONE;
	for (size_t i = 0; i < HS_ARRAY_LEN(kinds); i++)
		if (strncmp(feature + sizeof proper - 1, kinds[i].class, strlen(kinds[i].class)) == 0)
			return kinds[i].kind;
	return HS_NAME_GENERAL;
}

static int push_word(struct hs_tokens *out, const struct hs_norm *norm, size_t start, size_t end, const char *feature)
{
	const char *surface = norm->text + start, *term = surface;
	size_t len = end - start;
	if (!has_word_char(surface, len))
		return 0;
	bool content = true;
	if (feature) {
		size_t base_len;
		const char *base = base_form(feature, &base_len);
		if (base)
			term = base, len = base_len;
		content = is_content(feature) && !is_stop_word(term, len);
	}
	if (len > TERM_MAX)
		len = hs_utf8_cut(term, TERM_MAX);
	len = stem_katakana(term, len);
	uint32_t from, to;
	hs_norm_source(norm, start, end, &from, &to);
	int rc = push(out, term, len, from, to, content);
	if (rc == 0 && feature)
		out->items[out->count - 1].proper = (uint8_t)name_kind(feature);
	return rc;
}

static int segment_piece(struct hs_tagger *t, size_t start, size_t end, struct hs_tokens *out)
{
	const struct hs_norm *norm = &t->norm;
	mecab_lattice_set_sentence2(t->lattice, norm->text + start, end - start);
	if (!mecab_parse_lattice(t->mecab, t->lattice))
		return -EIO;
	for (const mecab_node_t *node = mecab_lattice_get_bos_node(t->lattice); node; node = node->next) {
		if (node->stat == MECAB_BOS_NODE || node->stat == MECAB_EOS_NODE)
			continue;
		size_t at = (size_t)(node->surface - norm->text);
		int rc = push_word(out, norm, at, at + node->length, node->feature);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static bool ascii_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* A long run of ASCII letters and digits: letters apart from digits, as the dictionary has it, at most TERM_MAX bytes each. */
static int segment_ascii(const struct hs_norm *norm, size_t start, size_t end, struct hs_tokens *out)
{
	while (start < end) {
		size_t stop = start + 1;
		bool digit = norm->text[start] <= '9';
		while (stop < end && stop - start < TERM_MAX && (norm->text[stop] <= '9') == digit)
			stop++;
		int rc = push_word(out, norm, start, stop, NULL);
		if (rc < 0)
			return rc;
		start = stop;
	}
	return 0;
}

/*
 * The end of the next piece for MeCab from start on: behind 。 or a line end, before a long ASCII run (whose end goes to
 * *ret_ascii_end), at PIECE_MAX bytes at the latest, there behind the last space or comma that was seen.
 */
static size_t piece_end(const struct hs_norm *norm, size_t start, size_t *ret_ascii_end)
{
	const char *text = norm->text;
	size_t i = start, good = 0;
	*ret_ascii_end = 0;
	while (i < norm->len && i - start < PIECE_MAX) {
		unsigned char c = (unsigned char)text[i];
		if (c == '\n')
			return i + 1;
		if (ascii_alnum((char)c)) {
			size_t stop = i + 1;
			while (stop < norm->len && ascii_alnum(text[stop]))
				stop++;
			if (stop - i > ASCII_RUN_MAX) {
				*ret_ascii_end = stop;
				return i;
			}
			i = stop;
			continue;
		}
		if (c == 0xe3 && norm->len - i >= 3 && text[i + 1] == '\x80' && text[i + 2] == '\x82')
			return i + 3;
		bool comma = c == 0xe3 && norm->len - i >= 3 && text[i + 1] == '\x80' && text[i + 2] == '\x81';
		i += c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
		if (c == ' ' || comma)
			good = i;
	}
	return i < norm->len && good > start ? good : i;
}

static int segment(struct hs_tagger *t, struct hs_tokens *out)
{
	size_t at = 0;
	int rc = 0;
	while (rc == 0 && at < t->norm.len) {
		size_t ascii_end, end = piece_end(&t->norm, at, &ascii_end);
		if (end > at)
			rc = segment_piece(t, at, end, out);
		if (rc == 0 && ascii_end)
			rc = segment_ascii(&t->norm, end, ascii_end, out);
		at = ascii_end ? ascii_end : end;
	}
	return rc;
}

static int bigrams_of(const struct hs_norm *norm, struct hs_tokens *out)
{
	size_t last = 0, last_len = 0; /* the word character before, where there is one */
	bool paired = false;           /* it has entered a bigram */
	for (size_t i = 0;;) {
		size_t len = 0;
		bool word = i < norm->len && (hs_char_flags(char_at(norm->text + i, norm->len - i, &len)) & HS_CHAR_WORD);
		uint32_t from, to;
		int rc = 0;
		if (last_len && (word || !paired)) {
			size_t end = word ? i + len : last + last_len;
			hs_norm_source(norm, last, end, &from, &to);
			rc = push(out, norm->text + last, end - last, from, to, true);
		}
		if (rc < 0)
			return rc;
		if (i == norm->len)
			return 0;
		paired = word && last_len;
		last = i;
		last_len = word ? len : 0;
		i += len;
	}
}

static void take_back(struct hs_tokens *tokens, size_t count, size_t terms_len)
{
	tokens->count = count;
	tokens->terms_len = terms_len;
}

int hs_tokenize(struct hs_tagger *t, const char *text, size_t n, struct hs_tokens *words, struct hs_tokens *bigrams)
{
	int rc = hs_normalize_into(text, n, HS_NORM_RULES_ALL, &t->norm);
	if (rc < 0)
		return rc;
	size_t count = words->count, terms_len = words->terms_len;
	rc = segment(t, words);
	if (rc < 0) {
		take_back(words, count, terms_len);
		return rc;
	}
	if (!bigrams)
		return 0;
	size_t bigram_count = bigrams->count, bigram_terms_len = bigrams->terms_len;
	rc = bigrams_of(&t->norm, bigrams);
	if (rc < 0) {
		take_back(words, count, terms_len);
		take_back(bigrams, bigram_count, bigram_terms_len);
	}
	return rc;
}

int hs_tokenize_words(struct hs_tagger *t, const char *text, size_t n, struct hs_tokens *ret)
{
	return hs_tokenize(t, text, n, ret, NULL);
}

int hs_tokenize_bigrams(const char *text, size_t n, struct hs_tokens *ret)
{
	struct hs_norm norm = {0};
	int rc = hs_normalize_into(text, n, HS_NORM_RULES_ALL, &norm);
	size_t count = ret->count, terms_len = ret->terms_len;
	if (rc == 0)
		rc = bigrams_of(&norm, ret);
	if (rc < 0)
		take_back(ret, count, terms_len);
	hs_norm_finish(&norm);
	return rc;
}
