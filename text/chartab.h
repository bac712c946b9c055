/*
 * What the rooms' text code asks of a character, answered from a table: built once from ICU's data, then read without a
 * call a character, because Japanese text is analysed a character at a time.
 */
#ifndef HISHO_TEXT_CHARTAB_H
#define HISHO_TEXT_CHARTAB_H

#include <stdbool.h>
#include <stdint.h>

enum hs_char_flag {
	HS_CHAR_SELF = 1u << 0,     /* NFKC with case fold leaves it as it is when it stands alone */
	HS_CHAR_BOUNDARY = 1u << 1, /* normalisation never joins it to what stands before it */
	HS_CHAR_WORD = 1u << 2,     /* letter, digit, mark: part of a word */
	HS_CHAR_KATAKANA = 1u << 3, /* full-width katakana or the long-vowel mark */
	HS_CHAR_HAN = 1u << 4,
	HS_CHAR_SPACE = 1u << 5,
	HS_CHAR_RULE = 1u << 6,     /* one of the normaliser's own rules may apply */
	HS_CHAR_CONTROL = 1u << 7,  /* no place in text: C0 and C1 without tab, line feed, form feed, carriage return */
};

/* The table for U+0000..U+FFFF; valid for the life of the process. Thread-safe. */
const uint8_t *hs_chartab(void);

/* Flags of any code point. */
uint8_t hs_char_flags(uint32_t cp);

#endif
