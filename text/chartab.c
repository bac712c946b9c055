#include "text/chartab.h"

#include <pthread.h>

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/uscript.h>

#include "base/macros.h"
#include "text/variants.h"

static uint8_t table[0x10000];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static bool rule_char(uint32_t cp)
{
	static const uint16_t others[] = {
		0x2010, 0x2011, 0x2012, 0x2013, 0x2014, 0x2015, 0x2212,                         /* dashes */
		0x301c, 0x223c, 0x223e,                                                         /* waves */
		0x30fc,                                                                         /* long vowel */
		0x3007, 0x4e00, 0x4e8c, 0x4e09, 0x56db, 0x4e94, 0x516d, 0x4e03, 0x516b, 0x4e5d, /* 〇 一..九 */
		0x5341, 0x767e, 0x5343,                                                         /* 十 百 千 */
		',',
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(others); i++) {
		if (cp == others[i])
			return true;
	}
	return hs_variant_of(cp) != 0;
}

static uint8_t look_up(const UNormalizer2 *norm, uint32_t cp)
{
	uint8_t flags = 0;
	UChar32 c = (UChar32)cp;
	if (cp >= 0xd800 && cp <= 0xdfff)
		return 0;
	UErrorCode status = U_ZERO_ERROR;
	UChar in[2], out[40];
	int32_t n_in = cp > 0xffff ? 2 : 1;
	if (n_in == 1) {
		in[0] = (UChar)cp;
	} else {
		in[0] = (UChar)(0xd7c0 + (cp >> 10));
		in[1] = (UChar)(0xdc00 | (cp & 0x3ff));
	}
	int32_t n_out = unorm2_normalize(norm, in, n_in, out, HS_ARRAY_LEN(out), &status);
	if (U_SUCCESS(status) && n_out == n_in && out[0] == in[0] && (n_in == 1 || out[1] == in[1]))
		flags |= HS_CHAR_SELF;
	if (unorm2_hasBoundaryBefore(norm, c))
		flags |= HS_CHAR_BOUNDARY;
	if (U_GET_GC_MASK(c) & (U_GC_L_MASK | U_GC_N_MASK | U_GC_M_MASK))
		flags |= HS_CHAR_WORD;
	if ((cp >= 0x30a1 && cp <= 0x30fa) || cp == 0x30fc || (cp >= 0x31f0 && cp <= 0x31ff))
		flags |= HS_CHAR_KATAKANA;
	if (u_hasBinaryProperty(c, UCHAR_IDEOGRAPHIC))
		flags |= HS_CHAR_HAN;
	if (u_isUWhiteSpace(c) || cp == 0xfeff || cp == 0x200b)
		flags |= HS_CHAR_SPACE;
	if (rule_char(cp))
		flags |= HS_CHAR_RULE;
	if ((cp < 0x20 && cp != '\t' && cp != '\n' && cp != '\f' && cp != '\r') || (cp >= 0x7f && cp < 0xa0 && cp != 0x85))
		flags |= HS_CHAR_CONTROL;
	return flags;
}

static const UNormalizer2 *normalizer(void)
{
	UErrorCode status = U_ZERO_ERROR;
	const UNormalizer2 *norm = unorm2_getNFKCCasefoldInstance(&status);
	hs_assert(U_SUCCESS(status)); /* the data is compiled into ICU's own library */
	return norm;
}

static void build(void)
{
	const UNormalizer2 *norm = normalizer();
	for (uint32_t cp = 0; cp < 0x10000; cp++)
		table[cp] = look_up(norm, cp);
}

const uint8_t *hs_chartab(void)
{
	(void)pthread_once(&once, build); /* fails only for a bad once object */
	return table;
}

uint8_t hs_char_flags(uint32_t cp)
{
	return cp < 0x10000 ? hs_chartab()[cp] : look_up(normalizer(), cp);
}
