/* Sentences of Japanese and English text: split at 。！？!? outside brackets, at line ends, at "." before a space. */
#ifndef HISHO_TEXT_SENTENCE_H
#define HISHO_TEXT_SENTENCE_H

#include <stdbool.h>
#include <stddef.h>

struct hs_sentence {
	size_t start, end; /* bytes of the text, trimmed of white space at both ends */
};

/*
 * The next sentence at or after *at (which moves past it). False at the end of the text. Pure, over valid UTF-8; a
 * sentence longer than HS_SENTENCE_MAX bytes is cut at a character boundary.
 */
#define HS_SENTENCE_MAX 4096
bool hs_sentence_next(const char *text, size_t n, size_t *at, struct hs_sentence *ret);

/* Is the sentence complete in a stream: does text[0..n) end with a sentence's end? */
bool hs_sentence_ended(const char *text, size_t n);

#endif
