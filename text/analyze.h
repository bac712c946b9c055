/*
 * Analysis: text to index tokens, by MeCab (words) and by character bigrams. The same calls serve index and query.
 *
 * An analyzer holds one MeCab model over one dictionary directory, and is shared by threads; each thread makes its own
 * tagger (one lattice a thread). Offsets in tokens are bytes of the text that was given in (before normalisation).
 */
#ifndef HISHO_TEXT_ANALYZE_H
#define HISHO_TEXT_ANALYZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define HS_DICT_HASH_LEN 32 /* BLAKE2b of the dictionary files: part of the index generation */

/* Where Debian's mecab-ipadic-utf8 lies; /var/lib/mecab/dic/debian moves when another dictionary is installed. */
#define HS_DICT_DIR_DEFAULT "/var/lib/mecab/dic/ipadic-utf8"

struct hs_analyzer;
struct hs_tagger;

enum hs_name_kind { /* kinds of proper nouns in the dictionary */
		    HS_NAME_NONE,
		    HS_NAME_GENERAL, /* 固有名詞,一般: works, events, ships ... */
		    HS_NAME_PERSON,
		    HS_NAME_PLACE,
		    HS_NAME_ORGANIZATION,
};

struct hs_token {
	uint32_t term, term_len; /* into hs_tokens.terms: the index term (base form of a word, or a bigram), UTF-8 */
	uint32_t start, end;     /* byte range in the source text, whole characters */
	bool content;            /* a content word outside the stop list; bigrams: always */
	uint8_t proper;          /* enum hs_name_kind; bigrams: none */
};

struct hs_tokens { /* zeroed, then owned by the caller; calls append; hs_tokens_clear to use the memory again */
	struct hs_token *items;
	size_t count, cap;
	char *terms;
	size_t terms_len, terms_cap;
};

/*
 * dict_dir: an ipadic-utf8 dictionary directory (always named: Debian's alternatives move the default).
 * Reads all of it once for the hash. -ENOENT "dict.missing", -EINVAL "dict.unusable".
 */
int hs_analyzer_create(const char *dict_dir, struct hs_analyzer **ret, struct hs_err *err) HS_MUST_CHECK;
void hs_analyzer_destroy(struct hs_analyzer *a); /* after its taggers */
void hs_analyzer_dict_hash(const struct hs_analyzer *a, uint8_t out[static HS_DICT_HASH_LEN]);

int hs_tagger_create(struct hs_analyzer *a, struct hs_tagger **ret) HS_MUST_CHECK;
void hs_tagger_destroy(struct hs_tagger *t);

/*
 * Words: normalise, segment, base form where the dictionary has one. Tokens come in text order and do not overlap, but
 * for the parts of one source character (㍿). All words are given (FTS5 phrases need them) and no punctuation; `content`
 * marks those that rank. text: valid UTF-8. -EILSEQ, -EMSGSIZE, -ENOMEM; appends nothing on failure.
 */
int hs_tokenize_words(struct hs_tagger *t, const char *text, size_t n, struct hs_tokens *ret) HS_MUST_CHECK;

/* Character bigrams over the normalised text, within runs of letters, digits and kana or kanji; a run of one gives itself. */
int hs_tokenize_bigrams(const char *text, size_t n, struct hs_tokens *ret) HS_MUST_CHECK;

/* Both at once, normalising once, in the tagger's reused memory: for indexing. */
int hs_tokenize(struct hs_tagger *t, const char *text, size_t n, struct hs_tokens *words,
		struct hs_tokens *bigrams) HS_MUST_CHECK;

void hs_tokens_clear(struct hs_tokens *tokens); /* empty, keeping the memory */
void hs_tokens_finish(struct hs_tokens *tokens);

#endif
