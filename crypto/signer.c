#include "crypto/signer.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "base/file.h"
#include "base/id.h"

#define PREFIX_LEN 6
#define BODY_LEN 52
#define CHECK_LEN 6
static const char public_prefix[] = "hspk1_", secret_prefix[] = "hssk1_";

struct hs_signer { /* in guarded memory, as a whole */
	uint8_t seed[crypto_sign_SEEDBYTES];
	uint8_t secret[crypto_sign_SECRETKEYBYTES];
	uint8_t public[HS_SIGNER_PUBLIC_LEN];
};

static struct hs_signer *from_seed(const uint8_t seed[static crypto_sign_SEEDBYTES])
{
	struct hs_signer *s = hs_crypto_init() < 0 ? NULL : sodium_malloc(sizeof *s);
	if (!s)
		return NULL;
	memcpy(s->seed, seed, sizeof s->seed);
	hs_assert(crypto_sign_seed_keypair(s->public, s->secret, s->seed) == 0);
	return s;
}

struct hs_signer *hs_signer_create(void)
{
	uint8_t seed[crypto_sign_SEEDBYTES];
	hs_random(seed, sizeof seed);
	struct hs_signer *s = from_seed(seed);
	sodium_memzero(seed, sizeof seed);
	return s;
}

void hs_signer_destroy(struct hs_signer *s)
{
	sodium_free(s); /* wipes, and takes NULL */
}

/* prefix, 32 bytes in base32, "_", check over all before it. */
static void format(const char prefix[static PREFIX_LEN], const uint8_t bytes[static 32], char ret[static HS_SIGNER_TEXT_LEN + 1])
{
	uint8_t hash[crypto_generichash_BYTES_MIN];
	char check[32];
	memcpy(ret, prefix, PREFIX_LEN);
	hs_base32(bytes, 32, ret + PREFIX_LEN);
	(void)crypto_generichash(hash, sizeof hash, (const uint8_t *)ret, PREFIX_LEN + BODY_LEN, NULL, 0); /* lengths are right */
	hs_base32(hash, 4, check);
	ret[PREFIX_LEN + BODY_LEN] = '_';
	memcpy(ret + PREFIX_LEN + BODY_LEN + 1, check, CHECK_LEN);
	ret[HS_SIGNER_TEXT_LEN] = '\0';
}

/* Only the text that format makes is taken: it is made again and compared. */
static bool parse(const char prefix[static PREFIX_LEN], const char *s, size_t n, uint8_t ret[static 32])
{
	char again[HS_SIGNER_TEXT_LEN + 1];
	uint8_t bytes[32];
	bool ok = n == HS_SIGNER_TEXT_LEN && strncmp(s, prefix, PREFIX_LEN) == 0 &&
		  hs_base32_decode(s + PREFIX_LEN, BODY_LEN, bytes, sizeof bytes);
	if (ok) {
		format(prefix, bytes, again);
		ok = sodium_memcmp(again, s, HS_SIGNER_TEXT_LEN) == 0;
	}
	if (ok)
		memcpy(ret, bytes, sizeof bytes);
	sodium_memzero(again, sizeof again);
	sodium_memzero(bytes, sizeof bytes);
	return ok;
}

int hs_signer_save(const struct hs_signer *s, int dirfd, const char *path, struct hs_err *err)
{
	char text[HS_SIGNER_TEXT_LEN + 2];
	format(secret_prefix, s->seed, text);
	text[HS_SIGNER_TEXT_LEN] = '\n';
	int rc = 0;
	HS_FD_AUTO fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		rc = -errno;
	if (rc == 0)
		rc = hs_fd_write_all(fd, text, HS_SIGNER_TEXT_LEN + 1);
	if (rc == 0 && fsync(fd) < 0)
		rc = -errno;
	sodium_memzero(text, sizeof text);
	if (rc == -EEXIST)
		return hs_fail(err, EEXIST, "sender.exists",
			       HS_N_("A file of that name is there already. A key is never overwritten."), "%s", path);
	return rc < 0 ? hs_fail_errno(err, rc, "sender.file", path) : 0;
}

int hs_signer_load(int dirfd, const char *path, struct hs_signer **ret, struct hs_err *err)
{
	HS_CLEANUP(hs_buf_wipe) struct hs_buf b = {.limit = 64 * 1024};
	uint8_t seed[crypto_sign_SEEDBYTES];
	int rc = hs_file_read(dirfd, path, 4096, &b);
	if (rc == -ENOENT)
		return hs_fail(err, ENOENT, "sender.missing",
			       HS_N_("There is no such key file. Make one with: hisho sender keygen"), "%s", path);
	if (rc < 0 && rc != -EFBIG)
		return hs_fail_errno(err, rc, "sender.file", path);
	size_t n = b.len > 0 && b.data[b.len - 1] == '\n' ? b.len - 1 : b.len;
	if (rc < 0 || !parse(secret_prefix, (const char *)b.data, n, seed))
		return hs_fail(err, EPROTO, "sender.file", HS_N_("This is not a sender's key file."), "%s", path);
	struct hs_signer *s = from_seed(seed);
	sodium_memzero(seed, sizeof seed);
	if (!s)
		return -ENOMEM;
	*ret = s;
	return 0;
}

void hs_signer_public(const struct hs_signer *s, uint8_t ret[static HS_SIGNER_PUBLIC_LEN])
{
	memcpy(ret, s->public, HS_SIGNER_PUBLIC_LEN);
}

void hs_signer_public_format(const uint8_t key[static HS_SIGNER_PUBLIC_LEN], char ret[static HS_SIGNER_TEXT_LEN + 1])
{
	format(public_prefix, key, ret);
}

/* A point of small order verifies anything: libsodium's conversion to X25519 refuses those, and what is no point at all. */
static bool usable_point(const uint8_t key[static HS_SIGNER_PUBLIC_LEN])
{
	uint8_t ignored[crypto_scalarmult_curve25519_BYTES];
	return crypto_sign_ed25519_pk_to_curve25519(ignored, key) == 0;
}

int hs_signer_public_parse(const char *s, size_t n, uint8_t ret[static HS_SIGNER_PUBLIC_LEN], struct hs_err *err)
{
	uint8_t key[HS_SIGNER_PUBLIC_LEN];
	if (!parse(public_prefix, s, n, key) || !usable_point(key))
		return hs_fail(err, EINVAL, "sender.key",
			       HS_N_("This is not a sender's public key. It begins with hspk1_ and is printed by: hisho sender keygen"),
			       "%.*s", (int)HS_MIN(n, (size_t)80), s);
	memcpy(ret, key, sizeof key);
	return 0;
}

void hs_signer_sign(const struct hs_signer *s, const void *data, size_t len, uint8_t ret[static HS_SIGNER_SIGNATURE_LEN])
{
	hs_assert(crypto_sign_detached(ret, NULL, data, len, s->secret) == 0);
}

void hs_signer_content_mac(const struct hs_signer *s, const void *source, size_t source_len, const uint8_t content_hash[static 32],
			   uint8_t ret[static HS_SIGNER_MAC_LEN])
{
	static const char domain[] = "hisho-content-mac";
	uint8_t key[32], length[8];
	hs_assert(crypto_generichash(key, sizeof key, (const uint8_t *)domain, sizeof domain, s->seed, sizeof s->seed) == 0);
	for (size_t i = 0; i < sizeof length; i++)
		length[i] = (uint8_t)((uint64_t)source_len >> 8 * i);
	crypto_generichash_state h;
	hs_assert(crypto_generichash_init(&h, key, sizeof key, HS_SIGNER_MAC_LEN) == 0);
	hs_assert(crypto_generichash_update(&h, length, sizeof length) == 0);
	hs_assert(crypto_generichash_update(&h, source, source_len) == 0);
	hs_assert(crypto_generichash_update(&h, content_hash, 32) == 0);
	hs_assert(crypto_generichash_final(&h, ret, HS_SIGNER_MAC_LEN) == 0);
	sodium_memzero(key, sizeof key);
}
