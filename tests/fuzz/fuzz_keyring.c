/*
 * Keyrings: as they come, and with the root's commitment and MAC made right, so that what lies behind them is reached.
 * docs/formats/keyring.md says where these are.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <sodium.h>

#include "crypto/keyring.h"

#define COMMITMENT_AT 48
#define MAC_LEN 32

static const uint8_t secret[HS_KEY_LEN] = {9};

static void try(const uint8_t *data, size_t size)
{
	struct hs_root root = {.kind = HS_ROOT_SECRET, .bytes = secret, .len = sizeof secret};
	struct hs_keyring *k = NULL;
	struct hs_err err;
	char path[64];
	int fd = memfd_create("keyring", MFD_CLOEXEC);
	if (fd < 0)
		return;
	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	if (write(fd, data, size) == (ssize_t)size && hs_keyring_open(AT_FDCWD, path, &root, &k, &err) == 0)
		hs_keyring_close(k);
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t copy[65536], mac_key[32];
	hs_assert(hs_crypto_init() == 0);
	try(data, size);
	if (size < COMMITMENT_AT + 32 + MAC_LEN || size > sizeof copy)
		return 0;
	memcpy(copy, data, size);
	copy[12] = HS_ROOT_SECRET; /* a passphrase would cost argon2id each time */
	hs_key_commit(secret, "root", 4, 0, copy + COMMITMENT_AT);
	(void)crypto_kdf_derive_from_key(mac_key, sizeof mac_key, 2, "hisho.rk", secret);
	(void)crypto_generichash(copy + size - MAC_LEN, MAC_LEN, copy, size - MAC_LEN, mac_key, sizeof mac_key);
	try(copy, size);
	return 0;
}
