/* Kanji numerals beside a counter: 二千二十四年, 第二十四条, 二〇二四年. Pure, over normalised UTF-8. */
#ifndef HISHO_TEXT_NUMERAL_H
#define HISHO_TEXT_NUMERAL_H

#include <stddef.h>
#include <stdint.h>

#define HS_NUMERAL_DIGITS_MAX 16

/*
 * Is s (n bytes follow) the start of a kanji numeral that may be written in digits? before: the character before it, or 0.
 * Returns the bytes of the numeral and the ASCII digits for it, terminated, or 0 where the text is left as it is:
 * words such as 一人, 十分, 三日月 stay what they are.
 */
size_t hs_numeral_parse(const char *s, size_t n, uint32_t before, char digits[static HS_NUMERAL_DIGITS_MAX + 1]);

/* The length of the whole run of kanji numeral characters at s, so that a refused run is passed over at once. */
size_t hs_numeral_run(const char *s, size_t n);

#endif
