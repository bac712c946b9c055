/* age files: hostile headers and payloads, in steps of any size. The identity is fixed, so a corpus may hold files sealed to it. */
#include <stddef.h>
#include <stdint.h>

#include "crypto/age.h"

static int drop(void *ctx, const void *data, size_t n)
{
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t bytes[HS_KEY_LEN] = {0x21, 0x43, 0x65};
	static struct hs_key *identity;
	struct hs_age_decrypt *d;
	struct hs_err err;
	if (!identity)
		identity = hs_key_copy(bytes);
	if (size < 1 || hs_age_decrypt_create(identity, drop, NULL, &d, &err) < 0)
		return 0;
	size_t step = (size_t)data[0] + 1;
	int rc = 0;
	for (size_t at = 1; rc == 0 && at < size; at += step)
		rc = hs_age_decrypt_push(d, data + at, HS_MIN(step, size - at), &err);
	if (rc == 0)
		rc = hs_age_decrypt_finish(d, &err);
	hs_assert(rc <= 0 && (rc == 0 || err.num == -rc));
	hs_age_decrypt_destroy(d);

	uint8_t public[HS_AGE_PUBLIC_LEN];
	struct hs_key *parsed = NULL;
	(void)!hs_age_recipient_parse((const char *)data, size, public, &err);
	if (hs_age_identity_parse((const char *)data, size, &parsed, &err) == 0)
		hs_key_destroy(parsed);
	return 0;
}
