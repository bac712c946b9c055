#include "crypto/bech32.h"

#include <string.h>

#include <sodium.h>

#define DATA_LEN 52 /* 256 bits in groups of five */
#define CHECK_LEN 6

static const char alphabet[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

static uint32_t polymod_step(uint32_t sum, uint8_t value)
{
	static const uint32_t generator[5] = {0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3};
	uint32_t top = sum >> 25;
	sum = (sum & 0x1ffffff) << 5 ^ value;
	for (unsigned i = 0; i < 5; i++) {
		if (top >> i & 1)
			sum ^= generator[i];
	}
	return sum;
}

static uint32_t checksum(const char *prefix, const uint8_t *values, size_t n)
{
	uint32_t sum = 1;
	for (const char *p = prefix; *p; p++)
		sum = polymod_step(sum, (uint8_t)*p >> 5);
	sum = polymod_step(sum, 0);
	for (const char *p = prefix; *p; p++)
		sum = polymod_step(sum, (uint8_t)*p & 31);
	for (size_t i = 0; i < n; i++)
		sum = polymod_step(sum, values[i]);
	return sum;
}

void hs_bech32_encode(const char *prefix, const uint8_t bytes[static HS_BECH32_BYTES], char ret[static HS_BECH32_TEXT_MAX + 1])
{
	uint8_t values[DATA_LEN + CHECK_LEN] = {0};
	uint32_t bits = 0;
	unsigned have = 0;
	size_t n = 0, at = strlen(prefix);
	for (size_t i = 0; i < HS_BECH32_BYTES; i++) {
		bits = (bits << 8 | bytes[i]) & 0xfff;
		have += 8;
		while (have >= 5) {
			have -= 5;
			values[n++] = bits >> have & 31;
		}
	}
	values[n] = (uint8_t)(bits << (5 - have) & 31);
	uint32_t sum = checksum(prefix, values, sizeof values) ^ 1;
	for (unsigned i = 0; i < CHECK_LEN; i++)
		values[DATA_LEN + i] = sum >> (5 * (5 - i)) & 31;
	memcpy(ret, prefix, at);
	ret[at++] = '1';
	for (size_t i = 0; i < sizeof values; i++)
		ret[at++] = alphabet[values[i]];
	ret[at] = '\0';
	sodium_memzero(values, sizeof values);
}

bool hs_bech32_decode(const char *prefix, const char *s, size_t n, uint8_t ret[static HS_BECH32_BYTES])
{
	uint8_t values[DATA_LEN + CHECK_LEN], out[HS_BECH32_BYTES];
	size_t prefix_len = strlen(prefix), filled = 0;
	if (n != prefix_len + 1 + sizeof values || strncmp(s, prefix, prefix_len) != 0 || s[prefix_len] != '1')
		return false;
	for (size_t i = 0; i < sizeof values; i++) {
		const char *at = s[prefix_len + 1 + i] ? strchr(alphabet, s[prefix_len + 1 + i]) : NULL;
		if (!at)
			return false;
		values[i] = (uint8_t)(at - alphabet);
	}
	if (checksum(prefix, values, sizeof values) != 1)
		return false;
	uint32_t bits = 0;
	unsigned have = 0;
	for (size_t i = 0; i < DATA_LEN; i++) {
		bits = (bits << 5 | values[i]) & 0xfff;
		have += 5;
		if (have >= 8) {
			have -= 8;
			out[filled++] = (uint8_t)(bits >> have);
		}
	}
	if ((bits & ((1u << have) - 1)) != 0) /* four bits of padding */
		return false;
	memcpy(ret, out, sizeof out);
	sodium_memzero(out, sizeof out);
	sodium_memzero(values, sizeof values);
	return true;
}
