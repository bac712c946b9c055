#include "text/charset.h"

#include <errno.h>
#include <iconv.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"
#include "text/chartab.h"

static const char utf8[] = "UTF-8", utf16le[] = "UTF-16LE", utf16be[] = "UTF-16BE", eucjp[] = "EUC-JP-MS", cp932[] = "CP932",
		  iso2022jp[] = "ISO-2022-JP", cp1252[] = "WINDOWS-1252";

/* What people and programs write for a charset. */
static const struct {
	const char *name, *charset;
} names[] = {
	{"utf-8", utf8},	 {"utf8", utf8},	  {"us-ascii", utf8},	     {"ascii", utf8},
	{"shift_jis", cp932},	 {"shift-jis", cp932},	  {"sjis", cp932},	     {"x-sjis", cp932},
	{"windows-31j", cp932},	 {"cp932", cp932},	  {"ms932", cp932},	     {"ms_kanji", cp932},
	{"csshiftjis", cp932},	 {"cswindows31j", cp932}, {"euc-jp", eucjp},	     {"eucjp", eucjp},
	{"x-euc-jp", eucjp},	 {"euc-jp-ms", eucjp},	  {"eucjp-ms", eucjp},	     {"eucjp-win", eucjp},
	{"iso-2022-jp", iso2022jp}, {"csiso2022jp", iso2022jp}, {"jis", iso2022jp},  {"utf-16le", utf16le},
	{"utf-16be", utf16be},	 {"iso-8859-1", cp1252},  {"latin1", cp1252},	     {"windows-1252", cp1252},
};

static const char *known(const char *hint)
{
	if (!hint)
		return NULL;
	while (*hint == ' ' || *hint == '"' || *hint == '\'')
		hint++;
	size_t n = strcspn(hint, " \"';\t");
	for (size_t i = 0; i < HS_ARRAY_LEN(names); i++) {
		if (strlen(names[i].name) == n && strncasecmp(names[i].name, hint, n) == 0)
			return names[i].charset;
	}
	return NULL;
}

/* Strictly, by glibc. -EILSEQ where a byte does not fit. */
static int by_iconv(const char *charset, const uint8_t *data, size_t n, struct hs_buf *out)
{
	iconv_t cd = iconv_open("UTF-8", charset);
	if (cd == (iconv_t)-1)
		return -errno;
	size_t before = out->len;
	char *in = (char *)data; /* iconv reads only */
	int rc = 0;
	while (n > 0) {
		char block[8192], *to = block;
		size_t room = sizeof block;
		size_t got = iconv(cd, &in, &n, &to, &room);
		int why = errno;
		rc = hs_buf_append(out, block, sizeof block - room);
		if (rc == 0 && got == (size_t)-1 && why != E2BIG)
			rc = -EILSEQ; /* EINVAL: cut short inside a character */
		if (rc < 0)
			break;
	}
	(void)iconv_close(cd); /* frees memory only */
	if (rc < 0)
		out->len = before;
	return rc;
}

static int as_utf8(const uint8_t *data, size_t n, struct hs_buf *out)
{
	return hs_utf8_valid((const char *)data, n, NULL) ? hs_buf_append(out, data, n) : -EILSEQ;
}

static int as_utf16(const uint8_t *data, size_t n, bool big, struct hs_buf *out)
{
	if (n % 2)
		return -EILSEQ;
	size_t before = out->len;
	for (size_t i = 0; i < n;) {
		uint32_t cp = big ? (uint32_t)(data[i] << 8 | data[i + 1]) : (uint32_t)(data[i + 1] << 8 | data[i]);
		i += 2;
		if (cp >= 0xd800 && cp <= 0xdbff && i < n) {
			uint32_t low = big ? (uint32_t)(data[i] << 8 | data[i + 1]) : (uint32_t)(data[i + 1] << 8 | data[i]);
			if (low >= 0xdc00 && low <= 0xdfff) {
				cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
				i += 2;
			}
		}
		char bytes[4];
		size_t len = hs_utf8_encode(cp, bytes); /* 0 for a surrogate that is alone */
		int rc = len ? hs_buf_append(out, bytes, len) : -EILSEQ;
		if (rc < 0) {
			out->len = before;
			return rc;
		}
	}
	return 0;
}

enum jis_set { JIS_ASCII, JIS_KATAKANA, JIS_KANJI, JIS_SUPPLEMENT };

static bool jis_escape(const uint8_t *p, size_t n, enum jis_set *set, size_t *ret_len)
{
	static const struct {
		const char *bytes;
		enum jis_set set;
	} escapes[] = {
		{"\x1b(B", JIS_ASCII}, {"\x1b(J", JIS_ASCII},	{"\x1b(I", JIS_KATAKANA},
		{"\x1b$@", JIS_KANJI}, {"\x1b$B", JIS_KANJI},	{"\x1b$(B", JIS_KANJI},
		{"\x1b$(@", JIS_KANJI}, {"\x1b$(D", JIS_SUPPLEMENT}, {"\x1b&@", JIS_ASCII},
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(escapes); i++) {
		size_t len = strlen(escapes[i].bytes);
		if (len <= n && memcmp(p, escapes[i].bytes, len) == 0) {
			*set = escapes[i].set;
			*ret_len = len;
			return true;
		}
	}
	return false;
}

/*
 * ISO-2022-JP and its common extensions. The pairs become EUC-JP-MS, since glibc's own converter refuses the
 * characters of NEC and IBM (① ㈱ 髙) that real mail is full of.
 */
static int as_iso2022jp(const uint8_t *data, size_t n, struct hs_buf *out)
{
	HS_BUF_AUTO euc = HS_BUF_INIT;
	int rc = hs_buf_reserve(&euc, n + n / 2 + 1);
	enum jis_set set = JIS_ASCII;
	for (size_t i = 0; rc == 0 && i < n;) {
		size_t len;
		if (data[i] >= 0x80)
			return -EILSEQ;
		if (data[i] == 0x1b) {
			if (!jis_escape(data + i, n - i, &set, &len))
				return -EILSEQ;
			i += len;
		} else if (data[i] == '\n' || data[i] == '\r') {
			set = JIS_ASCII; /* lines start in ASCII, whatever was left open */
			rc = hs_buf_append_byte(&euc, data[i++]);
		} else if (set == JIS_ASCII || data[i] <= 0x20) {
			rc = hs_buf_append_byte(&euc, data[i++]);
		} else if (set == JIS_KATAKANA) {
			const uint8_t pair[2] = {0x8e, (uint8_t)(data[i++] | 0x80)};
			rc = hs_buf_append(&euc, pair, 2);
		} else {
			if (i + 1 >= n || data[i + 1] <= 0x20 || data[i + 1] >= 0x7f)
				return -EILSEQ;
			const uint8_t triple[3] = {0x8f, (uint8_t)(data[i] | 0x80), (uint8_t)(data[i + 1] | 0x80)};
			rc = set == JIS_SUPPLEMENT ? hs_buf_append(&euc, triple, 3) : hs_buf_append(&euc, triple + 1, 2);
			i += 2;
		}
	}
	return rc < 0 ? rc : by_iconv(eucjp, euc.data, euc.len, out);
}

/* Is it of EUC's shape? glibc's converter passes C1 bytes through, and CP932's lead bytes lie among them. */
static bool euc_shaped(const uint8_t *data, size_t n)
{
	for (size_t i = 0; i < n;) {
		size_t len = data[i] < 0x80 ? 1 : data[i] == 0x8f ? 3 : 2;
		if (len > n - i || (len > 1 && data[i] != 0x8e && data[i] != 0x8f && data[i] < 0xa1))
			return false;
		for (size_t k = 1; k < len; k++) {
			if (data[i + k] < 0xa1)
				return false;
		}
		i += len;
	}
	return true;
}

static int decode_as(const char *charset, const uint8_t *data, size_t n, struct hs_buf *out)
{
	if (charset == utf8)
		return as_utf8(data, n, out);
	if (charset == utf16le || charset == utf16be)
		return as_utf16(data, n, charset == utf16be, out);
	if (charset == iso2022jp)
		return as_iso2022jp(data, n, out);
	if (charset == eucjp && !euc_shaped(data, n))
		return -EILSEQ;
	return by_iconv(charset, data, n, out);
}

static int control_char(const char *text, size_t n, struct hs_err *err)
{
	const uint8_t *table = hs_chartab();
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c < 0x80 && (table[c] & HS_CHAR_CONTROL) && c != 0x1a && c != 0x1b && c != 0x08)
			return hs_fail(err, EILSEQ, "doc.binary", HS_N_("This is not a text file: it holds control characters."),
				       "character %zu is U+%04X", hs_utf8_count(text, i) + 1, c);
	}
	return 0;
}

/* Is what came out of a guess at UTF-16 writing, not chance: mostly Latin, kana and common kanji? */
static bool looks_written(const char *text, size_t n)
{
	size_t good = 0, all = 0;
	for (size_t i = 0; i < n;) {
		uint32_t cp = 0;
		size_t len = hs_utf8_decode(text + i, n - i, &cp);
		if (len == 0 || cp == 0)
			return false;
		good += (cp >= 0x20 && cp < 0x7f) || cp == '\n' || cp == '\r' || cp == '\t' || (cp >= 0x3000 && cp <= 0x30ff) ||
			(cp >= 0xff00 && cp <= 0xff9f) || (cp >= 0x4e00 && cp <= 0x9fa0);
		all++;
		i += len;
	}
	return all > 0 && good * 10 >= all * 9;
}

static int guess_utf16(const uint8_t *data, size_t n, struct hs_buf *out, const char **ret_charset)
{
	size_t before = out->len;
	/* The order that gives spaces and line ends; both orders of kanji are often valid. */
	size_t even = 0, odd = 0;
	for (size_t i = 0; i + 1 < n; i += 2) {
		even += data[i] == 0 || data[i] == 0x30;
		odd += data[i + 1] == 0 || data[i + 1] == 0x30;
	}
	const char *charset = even > odd ? utf16be : utf16le;
	int rc = decode_as(charset, data, n, out);
	if (rc == 0 && !looks_written((const char *)out->data + before, out->len - before)) {
		out->len = before;
		rc = -EILSEQ;
	}
	if (rc == 0)
		*ret_charset = charset;
	return rc;
}

/*
 * UTF-8 with some bytes broken: not to be taken for CP932, which accepts much of it as mojibake. True where at least ten
 * whole characters beyond ASCII stand for each bad byte; *ret_bad is the first.
 */
static bool broken_utf8(const uint8_t *data, size_t n, size_t *ret_bad)
{
	size_t good = 0, bad = 0;
	for (size_t i = 0; i < n;) {
		uint32_t cp;
		size_t len = hs_utf8_decode((const char *)data + i, n - i, &cp);
		if (len == 0 && bad++ == 0)
			*ret_bad = i;
		good += len > 1;
		i += len ? len : 1;
	}
	return bad > 0 && good >= bad * 10;
}

/*
 * Valid UTF-8 with several characters of three bytes, as kana and kanji are: bytes of another charset do not fall so by
 * chance, so a declaration that says otherwise is wrong. (Two-byte ones do: half-width katakana of CP932.)
 */
static bool surely_utf8(const uint8_t *data, size_t n)
{
	size_t threes = 0;
	for (size_t i = 0; i < n;) {
		uint32_t cp;
		size_t len = hs_utf8_decode((const char *)data + i, n - i, &cp);
		if (len == 0)
			return false;
		threes += len == 3;
		i += len;
	}
	return threes >= 3;
}

static size_t bom(const uint8_t *data, size_t n, const char **ret_charset)
{
	if (n >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0) {
		*ret_charset = utf8;
		return 3;
	}
	if (n >= 2 && data[0] == 0xff && data[1] == 0xfe) {
		*ret_charset = utf16le;
		return 2;
	}
	if (n >= 2 && data[0] == 0xfe && data[1] == 0xff) {
		*ret_charset = utf16be;
		return 2;
	}
	return 0;
}

static bool has_jis_escape(const uint8_t *data, size_t n)
{
	for (const uint8_t *p = data; (p = memchr(p, 0x1b, n - (size_t)(p - data))); p++) {
		if (n - (size_t)(p - data) >= 3 && (p[1] == '$' || p[1] == '('))
			return true;
	}
	return false;
}

static int no_charset(const uint8_t *data, size_t n, struct hs_err *err)
{
	size_t at = 0;
	if (memchr(data, 0, n))
		return hs_fail(err, EILSEQ, "doc.binary", HS_N_("This is not a text file: it holds NUL bytes."), "byte %zu",
			       (size_t)((const uint8_t *)memchr(data, 0, n) - data));
	if (broken_utf8(data, n, &at))
		return hs_fail(err, EILSEQ, "doc.charset", HS_N_("The file is UTF-8 but for some broken bytes; save it again as UTF-8."),
			       "byte %zu", at);
	(void)hs_utf8_valid((const char *)data, n, &at); /* false here: as_utf8 has failed */
	return hs_fail(err, EILSEQ, "doc.charset",
		       HS_N_("The file is in none of UTF-8, UTF-16, Shift_JIS, EUC-JP and ISO-2022-JP; save it as UTF-8."), "byte %zu", at);
}

int hs_charset_decode(const uint8_t *data, size_t n, const char *hint, struct hs_buf *out, const char **ret_charset,
		      struct hs_err *err)
{
	size_t before = out->len;
	const char *used = NULL;
	size_t skip = bom(data, n, &used);
	int rc = -EILSEQ;
	if (skip) {
		rc = decode_as(used, data + skip, n - skip, out);
		if (rc == -EILSEQ)
			return hs_fail(err, EILSEQ, "doc.charset", HS_N_("The file starts with the mark of this charset but does not keep to it."),
				       "%s", used);
	} else {
		bool nul = n > 0 && memchr(data, 0, n);
		size_t bad;
		const char *order[5] = {0};
		size_t count = 0;
		if (!nul) {
			order[count++] = surely_utf8(data, n) ? utf8 : known(hint);
			order[count++] = has_jis_escape(data, n) ? iso2022jp : NULL;
			order[count++] = utf8;
			if (!broken_utf8(data, n, &bad)) {
				order[count++] = eucjp;
				order[count++] = cp932;
			}
		}
		for (size_t i = 0; i < count && rc == -EILSEQ; i++) {
			used = order[i];
			if (used)
				rc = decode_as(used, data, n, out);
		}
		if (rc == -EILSEQ && n > 0 && n % 2 == 0)
			rc = guess_utf16(data, n, out, &used);
		if (rc == -EILSEQ)
			return no_charset(data, n, err);
	}
	if (rc == 0)
		rc = control_char((const char *)out->data + before, out->len - before, err);
	if (rc < 0) {
		out->len = before;
		return rc;
	}
	*ret_charset = used;
	return 0;
}

int hs_charset_prepare(void)
{
	static const char *const needed[] = {eucjp, cp932, cp1252};
	static iconv_t held[HS_ARRAY_LEN(needed)]; /* never closed: a converter that nothing holds is unloaded again */
	for (size_t i = 0; i < HS_ARRAY_LEN(needed); i++) {
		if (held[i])
			continue;
		iconv_t cd = iconv_open("UTF-8", needed[i]);
		if (cd == (iconv_t)-1)
			return -errno;
		held[i] = cd;
	}
	return 0;
}
