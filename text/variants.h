/* Old and variant forms of kanji that are written for the common one: 國 for 国, 髙 for 高. */
#ifndef HISHO_TEXT_VARIANTS_H
#define HISHO_TEXT_VARIANTS_H

#include <stdint.h>

/* The common form of cp, or 0 where it is none of the variants. Both are single characters of the BMP. */
uint32_t hs_variant_of(uint32_t cp);

#endif
