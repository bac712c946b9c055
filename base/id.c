#include "base/id.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";

void hs_random(void *out, size_t n)
{
	uint8_t *p = out;
	while (n > 0) {
		ssize_t got = getrandom(p, n, 0);
		if (got < 0) {
			hs_assert(errno == EINTR);
			continue;
		}
		p += got;
		n -= (size_t)got;
	}
}

void hs_base32(const uint8_t *data, size_t n, char *out)
{
	uint32_t bits = 0;
	unsigned have = 0;
	for (size_t i = 0; i < n; i++) {
		bits = bits << 8 | data[i];
		have += 8;
		while (have >= 5) {
			have -= 5;
			*out++ = alphabet[bits >> have & 31];
		}
	}
	if (have > 0)
		*out++ = alphabet[bits << (5 - have) & 31];
	*out = '\0';
}

bool hs_base32_decode(const char *s, size_t n, uint8_t *out, size_t bytes)
{
	if (n != (bytes * 8 + 4) / 5)
		return false;
	uint32_t bits = 0;
	unsigned have = 0;
	for (size_t i = 0; i < n; i++) {
		const char *at = s[i] ? strchr(alphabet, s[i]) : NULL;
		if (!at)
			return false;
		bits = (bits & 0xff) << 5 | (uint32_t)(at - alphabet);
		have += 5;
		if (have >= 8) {
			have -= 8;
			*out++ = (uint8_t)(bits >> have);
		}
	}
	return (bits & ((1u << have) - 1)) == 0;
}

struct hs_id hs_id_new(const char prefix[static HS_ID_PREFIX_MAX])
{
	struct hs_id id;
	uint8_t raw[16];
	hs_random(raw, sizeof raw);
	memcpy(id.s, prefix, HS_ID_PREFIX_MAX);
	hs_base32(raw, sizeof raw, id.s + HS_ID_PREFIX_MAX);
	return id;
}

bool hs_id_valid(const char *s, size_t n, const char prefix[static HS_ID_PREFIX_MAX])
{
	if (n != HS_ID_LEN || strncmp(s, prefix, HS_ID_PREFIX_MAX) != 0)
		return false;
	for (size_t i = HS_ID_PREFIX_MAX; i < n; i++) {
		if (!s[i] || !strchr(alphabet, s[i]))
			return false;
	}
	return true;
}
