/* Normalising, tokenising and splitting any valid UTF-8: maps and tokens stay inside the text, on whole characters. */
#include "text/analyze.h"

#include <string.h>
#include <unistd.h>

#include "base/utf8.h"
#include "text/normalize.h"
#include "text/sentence.h"

static bool whole(const char *s, size_t n, size_t at)
{
	return at == n || (at < n && ((unsigned char)s[at] & 0xc0) != 0x80);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct hs_analyzer *analyzer;
	static struct hs_tagger *tagger;
	static struct hs_tokens words, bigrams;
	const char *s = (const char *)data;
	size_t at = 0;
	struct hs_sentence sentence;
	while (hs_sentence_next(s, size, &at, &sentence)) /* any bytes */
		hs_assert(sentence.start < sentence.end && sentence.end <= size && at <= size);
	if (!hs_utf8_valid(s, size, NULL))
		return 0;
	struct hs_norm norm = {0};
	hs_assert(hs_normalize(s, size, &norm) == 0 && hs_utf8_valid(norm.text, norm.len, NULL) && norm.map[norm.len] == size);
	for (size_t i = 0; i < norm.len; i++)
		hs_assert(norm.map[i] <= norm.map[i + 1] && whole(s, size, norm.map[i]));
	hs_norm_finish(&norm);
	if (!tagger && access(HS_DICT_DIR_DEFAULT, R_OK) == 0) {
		hs_assert(hs_analyzer_create(HS_DICT_DIR_DEFAULT, &analyzer, NULL) == 0 && hs_tagger_create(analyzer, &tagger) == 0);
	}
	if (!tagger)
		return 0;
	hs_tokens_clear(&words);
	hs_tokens_clear(&bigrams);
	hs_assert(hs_tokenize(tagger, s, size, &words, &bigrams) == 0);
	const struct hs_tokens *both[] = {&words, &bigrams};
	for (size_t k = 0; k < 2; k++) {
		for (size_t i = 0; i < both[k]->count; i++) {
			const struct hs_token *t = &both[k]->items[i];
			hs_assert(t->start < t->end && whole(s, size, t->start) && whole(s, size, t->end) && t->term_len > 0);
			hs_assert(hs_utf8_valid(both[k]->terms + t->term, t->term_len, NULL));
		}
	}
	return 0;
}
