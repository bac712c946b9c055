#include "base/translate.h"

#include <assert.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "base/macros.h"
#include "base/wire.h"

/* msgfmt's form ("The Format of GNU MO Files" in gettext's manual), little-endian: sorted, terminated strings. */
static const uint8_t catalogue[] = {
#include "ja.mo.h"
};

enum { MO_N = 8, MO_MSGIDS = 12, MO_MSGSTRS = 16, MO_HEAD = 28 };

static const char *string_at(uint32_t table, uint32_t i)
{
	return (const char *)catalogue + hs_le32_load(catalogue + table + 8 * i + 4);
}

const char *hs_translate(const char *msgid, bool japanese)
{
	static_assert(sizeof catalogue > MO_HEAD, "msgfmt wrote a catalogue");
	if (!japanese || !msgid || !*msgid) /* "" is the catalogue's own head */
		return msgid;
	hs_assert(hs_le32_load(catalogue) == 0x950412de);
	uint32_t msgids = hs_le32_load(catalogue + MO_MSGIDS), msgstrs = hs_le32_load(catalogue + MO_MSGSTRS);
	uint32_t low = 0, high = hs_le32_load(catalogue + MO_N);
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		int order = strcmp(msgid, string_at(msgids, mid));
		if (order == 0)
			return string_at(msgstrs, mid);
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return msgid;
}

/* The weight after a language's name in thousandths: 1000 where none stands, 0 where what stands is none. */
static unsigned weight(const char *s, size_t len)
{
	size_t i = 0;
	while (i < len && (s[i] == ' ' || s[i] == ';'))
		i++;
	if (i == len)
		return 1000;
	if (len - i < 3 || (s[i] != 'q' && s[i] != 'Q') || s[i + 1] != '=' || (s[i + 2] != '0' && s[i + 2] != '1'))
		return 0;
	if (s[i + 2] == '1')
		return 1000;
	unsigned value = 0, place = 100;
	for (i += 4; i < len && s[i] >= '0' && s[i] <= '9'; i++, place /= 10)
		value += (unsigned)(s[i] - '0') * place;
	return value;
}

static bool names(const char *s, size_t len, const char *language)
{
	return len >= 2 && strncasecmp(s, language, 2) == 0 && (len == 2 || s[2] == '-' || s[2] == ';' || s[2] == ' ');
}

bool hs_wants_japanese(const char *s, size_t len)
{
	unsigned best = 0;
	bool japanese = false;
	for (size_t at = 0; at < len;) {
		const char *comma = memchr(s + at, ',', len - at);
		size_t end = comma ? (size_t)(comma - s) : len;
		while (at < end && s[at] == ' ')
			at++;
		const char *semicolon = memchr(s + at, ';', end - at);
		size_t name_end = semicolon ? (size_t)(semicolon - s) : end;
		bool is_japanese = names(s + at, end - at, "ja");
		if (is_japanese || names(s + at, end - at, "en")) {
			unsigned w = weight(s + name_end, end - name_end);
			if (w > best) {
				best = w;
				japanese = is_japanese;
			}
		}
		at = end + 1;
	}
	return japanese;
}
