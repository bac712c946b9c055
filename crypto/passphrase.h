/*
 * A passphrase on its way from a person to argon2id: read into guarded memory, without echo where it is typed.
 */
#ifndef HISHO_CRYPTO_PASSPHRASE_H
#define HISHO_CRYPTO_PASSPHRASE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "crypto/keyring.h"

struct hs_passphrase { /* in sodium_malloc memory; its only destructor wipes */
	size_t len;
	uint8_t bytes[HS_PASSPHRASE_MAX + 1]; /* one more, to see that a line is too long */
};
#define HS_PASSPHRASE_AUTO HS_CLEANUP(hs_passphrase_drop) struct hs_passphrase *

/*
 * One line of fd, without its end, as the bytes that were typed: nothing is normalised. Where fd is a terminal, prompt is shown
 * on standard error and echo is off; a signal that ends the process restores it first. -EINVAL "keyring.passphrase": longer than
 * HS_PASSPHRASE_MAX, shorter than HS_PASSPHRASE_MIN.
 */
int hs_passphrase_read(int fd, const char *prompt, struct hs_passphrase **ret, struct hs_err *err) HS_MUST_CHECK;
void hs_passphrase_destroy(struct hs_passphrase *p); /* takes NULL */
void hs_passphrase_drop(struct hs_passphrase **p);   /* for HS_CLEANUP */

#endif
