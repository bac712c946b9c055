#include "crypto/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "base/file.h"
#include "base/wire.h"

#define HEADER_LEN 24
#define TAG_LEN 16
#define SEALED_CHUNK (HS_BLOB_CHUNK + TAG_LEN)
#define NONCE_LEN 24
#define WRAPPED_KEY_LEN (HS_KEY_LEN + TAG_LEN)

_Static_assert(NONCE_LEN + WRAPPED_KEY_LEN + HS_COMMIT_LEN == HS_BLOB_WRAPPED_LEN, "a wrapped key has the length that rows expect");

static const uint8_t magic[8] = {'H', 'i', 's', 'h', 'o', 'B', 'L', '\n'};

struct hs_blob_writer {
	int dirfd; /* the caller's */
	int fd;
	char name[HS_BLOB_NAME_MAX + 1], temporary[HS_BLOB_NAME_MAX + 8];
	const struct hs_key *blob_key;
	struct hs_key *key;
	struct hs_blob_info info;
	uint8_t header[HEADER_LEN];
	crypto_generichash_state hash;
	uint64_t index;
	size_t have;    /* bytes waiting in chunk */
	bool committed, failed;
	uint8_t chunk[HS_BLOB_CHUNK], sealed[SEALED_CHUNK];
};

struct hs_blob {
	int fd;
	char name[HS_BLOB_NAME_MAX + 1];
	struct hs_key *key;
	struct hs_blob_info info;
	uint8_t header[HEADER_LEN];
	uint64_t loaded; /* index of what chunk holds; UINT64_MAX: nothing */
	uint8_t chunk[HS_BLOB_CHUNK], sealed[SEALED_CHUNK];
};

static bool name_ok(const char *name)
{
	size_t n = strnlen(name, HS_BLOB_NAME_MAX + 1);
	return n >= 1 && n <= HS_BLOB_NAME_MAX && name[0] != '.' && !strchr(name, '/');
}

static void make_header(uint32_t key_generation, uint8_t out[static HEADER_LEN])
{
	memcpy(out, magic, sizeof magic);
	hs_le32_store(out + 8, HS_BLOB_FORMAT);
	hs_le32_store(out + 12, key_generation);
	hs_le32_store(out + 16, HS_BLOB_CHUNK);
	hs_le32_store(out + 20, 0);
}

/* Every blob has a key of its own, under which a chunk is sealed once: its place can be its nonce. */
static void chunk_nonce(uint64_t index, bool final, uint8_t out[static NONCE_LEN])
{
	memset(out, 0, NONCE_LEN);
	hs_le64_store(out, index);
	out[8] = final;
}

static size_t wrap_aad(const char *name, uint32_t key_generation, uint8_t out[static 16 + HS_BLOB_NAME_MAX])
{
	size_t n = strlen(name);
	memcpy(out, "hisho-blob:", 11);
	hs_le32_store(out + 11, key_generation);
	memcpy(out + 15, name, n);
	return 15 + n;
}

static void wrap(const struct hs_key *under, const char *name, const struct hs_key *key, struct hs_blob_info *info)
{
	uint8_t aad[16 + HS_BLOB_NAME_MAX];
	size_t aad_len = wrap_aad(name, info->key_generation, aad);
	randombytes_buf(info->wrapped, NONCE_LEN);
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(info->wrapped + NONCE_LEN, NULL, key->bytes, HS_KEY_LEN, aad, aad_len, NULL,
							 info->wrapped, under->bytes); /* cannot fail at this length */
	hs_key_commit(key->bytes, name, (uint8_t)strlen(name), info->key_generation, info->wrapped + NONCE_LEN + WRAPPED_KEY_LEN);
}

static struct hs_key *unwrap(const struct hs_key *under, const char *name, const struct hs_blob_info *info)
{
	uint8_t aad[16 + HS_BLOB_NAME_MAX], commitment[HS_COMMIT_LEN];
	size_t aad_len = wrap_aad(name, info->key_generation, aad);
	HS_KEY_AUTO key = hs_key_create();
	if (!key || crypto_aead_xchacha20poly1305_ietf_decrypt(key->bytes, NULL, NULL, info->wrapped + NONCE_LEN, WRAPPED_KEY_LEN, aad,
							       aad_len, info->wrapped, under->bytes) != 0)
		return NULL;
	hs_key_commit(key->bytes, name, (uint8_t)strlen(name), info->key_generation, commitment);
	if (sodium_memcmp(commitment, info->wrapped + NONCE_LEN + WRAPPED_KEY_LEN, HS_COMMIT_LEN) != 0)
		return NULL;
	struct hs_key *ret = key;
	key = NULL;
	return ret;
}

static int fail_io(struct hs_err *err, int rc, const char *name)
{
	if (rc == -ENOSPC || rc == -EDQUOT)
		return hs_fail(err, ENOSPC, "disk.full", HS_N_("The disk is full. Free some space."), "%s", name);
	return hs_fail_errno(err, rc, "blob.write", name);
}

/* --- writing --- */

int hs_blob_writer_create(int dirfd, const char *name, const struct hs_key *blob_key, uint32_t key_generation,
			  struct hs_blob_writer **ret, struct hs_err *err)
{
	if (!name_ok(name))
		return hs_fail(err, EINVAL, "blob.name", "", "%s", name);
	struct hs_blob_writer *w = hs_crypto_init() == 0 ? aligned_alloc(_Alignof(struct hs_blob_writer), sizeof *w) : NULL;
	if (!w)
		return hs_fail_errno(err, -ENOMEM, "blob.write", name);
	memset(w, 0, sizeof *w);
	w->dirfd = dirfd;
	w->fd = -1;
	w->info.key_generation = key_generation;
	w->key = hs_key_create();
	w->blob_key = hs_key_copy(blob_key->bytes);
	(void)snprintf(w->name, sizeof w->name, "%s", name); /* both fit: name_ok */
	(void)snprintf(w->temporary, sizeof w->temporary, "%s.new", name);
	int rc = w->key && w->blob_key ? 0 : -ENOMEM;
	if (rc == 0) {
		/* What a crash left under this name was never acknowledged. */
		w->fd = openat(dirfd, w->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
		rc = w->fd < 0 ? -errno : 0;
	}
	if (rc == 0) {
		make_header(key_generation, w->header);
		(void)crypto_generichash_init(&w->hash, NULL, 0, HS_BLOB_HASH_LEN); /* constant lengths */
		rc = hs_fd_write_all(w->fd, w->header, sizeof w->header);
	}
	if (rc < 0) {
		hs_blob_writer_destroy(w);
		return fail_io(err, rc, name);
	}
	*ret = w;
	return 0;
}

static int put_chunk(struct hs_blob_writer *w, bool final)
{
	uint8_t nonce[NONCE_LEN];
	unsigned long long sealed_len;
	chunk_nonce(w->index++, final, nonce);
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(w->sealed, &sealed_len, w->chunk, w->have, w->header, sizeof w->header, NULL,
							 nonce, w->key->bytes); /* cannot fail at this length */
	w->have = 0;
	return hs_fd_write_all(w->fd, w->sealed, (size_t)sealed_len);
}

int hs_blob_write(struct hs_blob_writer *w, const void *data, size_t n, struct hs_err *err)
{
	const uint8_t *p = data;
	if (w->failed || w->committed)
		return hs_fail_errno(err, -EIO, "blob.write", w->name);
	if (n > HS_BLOB_LENGTH_MAX - w->info.length)
		return hs_fail(err, EFBIG, "blob.length", "", "%s", w->name);
	w->info.length += n;
	(void)crypto_generichash_update(&w->hash, p, n); /* cannot fail */
	while (n > 0) {
		if (w->have == HS_BLOB_CHUNK) { /* full, and more follows: it is not the last */
			int rc = put_chunk(w, false);
			if (rc < 0) {
				w->failed = true;
				return fail_io(err, rc, w->name);
			}
		}
		size_t part = HS_MIN(n, HS_BLOB_CHUNK - w->have);
		memcpy(w->chunk + w->have, p, part);
		w->have += part;
		p += part;
		n -= part;
	}
	return 0;
}

int hs_blob_commit(struct hs_blob_writer *w, struct hs_blob_info *ret, struct hs_err *err)
{
	if (w->failed || w->committed)
		return hs_fail_errno(err, -EIO, "blob.write", w->name);
	w->failed = true; /* until all has worked */
	int rc = put_chunk(w, true);
	if (rc == 0 && fsync(w->fd) < 0)
		rc = -errno;
	if (rc == 0 && renameat(w->dirfd, w->temporary, w->dirfd, w->name) < 0)
		rc = -errno;
	if (rc == 0) {
		w->committed = true; /* it has its name: destroy must not remove it, synced or not */
		rc = fsync(w->dirfd) < 0 ? -errno : 0;
	}
	if (rc < 0)
		return fail_io(err, rc, w->name);
	(void)crypto_generichash_final(&w->hash, w->info.hash, HS_BLOB_HASH_LEN); /* once a writer */
	wrap(w->blob_key, w->name, w->key, &w->info);
	*ret = w->info;
	return 0;
}

void hs_blob_writer_destroy(struct hs_blob_writer *w)
{
	if (!w)
		return;
	hs_close(&w->fd);
	if (!w->committed && *w->temporary)
		(void)unlinkat(w->dirfd, w->temporary, 0); /* best effort: its name says that it was never whole */
	hs_key_destroy(w->key);
	hs_key_destroy((struct hs_key *)(uintptr_t)w->blob_key);
	sodium_memzero(w, sizeof *w);
	free(w);
}

int hs_blob_put(int dirfd, const char *name, const struct hs_key *blob_key, uint32_t key_generation, const void *data, size_t n,
		struct hs_blob_info *ret, struct hs_err *err)
{
	struct hs_blob_writer *w = NULL;
	int rc = hs_blob_writer_create(dirfd, name, blob_key, key_generation, &w, err);
	if (rc == 0)
		rc = hs_blob_write(w, data, n, err);
	if (rc == 0)
		rc = hs_blob_commit(w, ret, err);
	hs_blob_writer_destroy(w);
	return rc;
}

/* --- reading --- */

static int damaged(struct hs_err *err, const char *name, const char *what)
{
	return hs_fail(err, EBADMSG, "blob.damaged", HS_N_("A stored document is damaged or was changed. Restore a backup."), "%s: %s",
		       name, what);
}

static uint64_t chunks_of(uint64_t length)
{
	return length == 0 ? 1 : (length + HS_BLOB_CHUNK - 1) / HS_BLOB_CHUNK;
}

static int bad_key(struct hs_err *err, const char *name)
{
	return hs_fail(err, EBADMSG, "blob.sealed", HS_N_("The key of a stored document does not open under this tenant's key."),
		       "%s", name);
}

/* found: the beginning of len bytes that should be this blob, the header or less. */
static int check_start(const char *name, const struct hs_blob_info *info, const uint8_t *found, size_t n, uint64_t len,
		       const uint8_t header[static HEADER_LEN], struct hs_err *err)
{
	if (n < HEADER_LEN || sodium_memcmp(found, magic, sizeof magic) != 0)
		return damaged(err, name, "header");
	if (hs_le32_load(found + 8) != HS_BLOB_FORMAT)
		return hs_fail(err, ENOTSUP, "blob.format", HS_N_("Another version of Hisho wrote this blob. Install that version."),
			       "%s: format %u, known: %d", name, hs_le32_load(found + 8), HS_BLOB_FORMAT);
	if (sodium_memcmp(found, header, HEADER_LEN) != 0)
		return damaged(err, name, "header");
	return len == HEADER_LEN + info->length + chunks_of(info->length) * TAG_LEN ? 0 : damaged(err, name, "length");
}

static int check_file(struct hs_blob *b, struct hs_err *err)
{
	struct stat st;
	uint8_t found[HEADER_LEN];
	ssize_t got = pread(b->fd, found, sizeof found, 0);
	if (got < 0 || fstat(b->fd, &st) < 0)
		return hs_fail_errno(err, -errno, "blob.read", b->name);
	return check_start(b->name, &b->info, found, (size_t)got, (uint64_t)st.st_size, b->header, err);
}

int hs_blob_open(int dirfd, const char *name, const struct hs_key *blob_key, const struct hs_blob_info *info, struct hs_blob **ret,
		 struct hs_err *err)
{
	if (!name_ok(name) || info->length > HS_BLOB_LENGTH_MAX)
		return hs_fail(err, EINVAL, "blob.name", "", "%s", name);
	struct hs_blob *b = hs_crypto_init() == 0 ? calloc(1, sizeof *b) : NULL;
	if (!b)
		return hs_fail_errno(err, -ENOMEM, "blob.read", name);
	b->info = *info;
	b->loaded = UINT64_MAX;
	(void)snprintf(b->name, sizeof b->name, "%s", name); /* fits: name_ok */
	make_header(info->key_generation, b->header);
	b->key = unwrap(blob_key, name, info);
	b->fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	int rc;
	if (b->fd < 0)
		rc = errno == ENOENT ? hs_fail(err, ENOENT, "blob.missing", "", "%s", name) : hs_fail_errno(err, -errno, "blob.read", name);
	else if (!b->key)
		rc = bad_key(err, name);
	else
		rc = check_file(b, err);
	if (rc < 0) {
		hs_blob_close(b);
		return rc;
	}
	*ret = b;
	return 0;
}

void hs_blob_close(struct hs_blob *b)
{
	if (!b)
		return;
	hs_close(&b->fd);
	hs_key_destroy(b->key);
	sodium_memzero(b, sizeof *b);
	free(b);
}

uint64_t hs_blob_length(const struct hs_blob *b)
{
	return b->info.length;
}

static int load(struct hs_blob *b, uint64_t index, struct hs_err *err)
{
	uint8_t nonce[NONCE_LEN];
	bool final = index + 1 == chunks_of(b->info.length);
	size_t plain = final ? (size_t)(b->info.length - index * HS_BLOB_CHUNK) : HS_BLOB_CHUNK, have = 0;
	if (b->loaded == index)
		return 0;
	b->loaded = UINT64_MAX;
	while (have < plain + TAG_LEN) {
		ssize_t got = pread(b->fd, b->sealed + have, plain + TAG_LEN - have,
				    (off_t)(HEADER_LEN + index * SEALED_CHUNK + have));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return hs_fail_errno(err, -errno, "blob.read", b->name);
		if (got == 0)
			return damaged(err, b->name, "cut short");
		have += (size_t)got;
	}
	chunk_nonce(index, final, nonce);
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(b->chunk, NULL, NULL, b->sealed, have, b->header, sizeof b->header, nonce,
						       b->key->bytes) != 0)
		return damaged(err, b->name, "authentication");
	b->loaded = index;
	return 0;
}

int hs_blob_read(struct hs_blob *b, uint64_t offset, void *out, size_t n, struct hs_err *err)
{
	uint8_t *to = out;
	if (offset > b->info.length || n > b->info.length - offset)
		return hs_fail(err, ERANGE, "blob.range", "", "%s", b->name);
	while (n > 0) {
		int rc = load(b, offset / HS_BLOB_CHUNK, err);
		if (rc < 0)
			return rc;
		size_t within = (size_t)(offset % HS_BLOB_CHUNK), part = HS_MIN(n, HS_BLOB_CHUNK - within);
		memcpy(to, b->chunk + within, part);
		to += part;
		offset += part;
		n -= part;
	}
	return 0;
}

/* Behind out->len lie info->length bytes, which become its own where they are those that were sealed. */
static int take_whole(const char *name, const struct hs_blob_info *info, struct hs_buf *out, struct hs_err *err)
{
	uint8_t hash[HS_BLOB_HASH_LEN];
	(void)crypto_generichash(hash, sizeof hash, info->length ? out->data + out->len : NULL, info->length, NULL, 0); /* constants */
	if (sodium_memcmp(hash, info->hash, sizeof hash) != 0)
		return damaged(err, name, "hash");
	out->len += (size_t)info->length;
	return 0;
}

int hs_blob_get(int dirfd, const char *name, const struct hs_key *blob_key, const struct hs_blob_info *info, size_t max,
		struct hs_buf *out, struct hs_err *err)
{
	struct hs_blob *b = NULL;
	if (info->length > max)
		return hs_fail(err, EFBIG, "blob.length", "", "%s", name);
	int rc = hs_blob_open(dirfd, name, blob_key, info, &b, err);
	if (rc < 0)
		return rc;
	rc = hs_buf_reserve(out, (size_t)info->length);
	if (rc < 0)
		rc = hs_fail_errno(err, rc, "blob.read", name);
	else if (info->length == 0)
		rc = load(b, 0, err); /* even of nothing, the end must authenticate */
	else
		rc = hs_blob_read(b, 0, out->data + out->len, (size_t)info->length, err);
	hs_blob_close(b);
	return rc < 0 ? rc : take_whole(name, info, out, err);
}

/* --- in place of a file --- */

int hs_blob_seal(const char *name, const struct hs_key *blob_key, uint32_t key_generation, const void *data, size_t n,
		 struct hs_buf *out, struct hs_blob_info *ret, struct hs_err *err)
{
	uint8_t nonce[NONCE_LEN], header[HEADER_LEN];
	struct hs_blob_info info = {.length = n, .key_generation = key_generation};
	if (!name_ok(name) || n > HS_BLOB_CHUNK)
		return hs_fail(err, EINVAL, "blob.name", "", "%s", name);
	HS_KEY_AUTO key = hs_crypto_init() == 0 ? hs_key_create() : NULL;
	int rc = key ? hs_buf_reserve(out, HEADER_LEN + n + TAG_LEN) : -ENOMEM;
	if (rc < 0)
		return hs_fail_errno(err, rc, "blob.write", name);
	make_header(key_generation, header);
	memcpy(out->data + out->len, header, sizeof header);
	chunk_nonce(0, true, nonce);
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(out->data + out->len + HEADER_LEN, NULL, data, n, header, sizeof header, NULL,
							 nonce, key->bytes); /* cannot fail at this length */
	out->len += HEADER_LEN + n + TAG_LEN;
	(void)crypto_generichash(info.hash, sizeof info.hash, n ? data : NULL, n, NULL, 0); /* constant lengths */
	wrap(blob_key, name, key, &info);
	*ret = info;
	return 0;
}

int hs_blob_unseal(const char *name, const struct hs_key *blob_key, const struct hs_blob_info *info, const void *sealed,
		   size_t sealed_len, size_t max, struct hs_buf *out, struct hs_err *err)
{
	uint8_t nonce[NONCE_LEN], header[HEADER_LEN];
	if (!name_ok(name) || info->length > HS_BLOB_CHUNK)
		return hs_fail(err, EINVAL, "blob.name", "", "%s", name);
	if (info->length > max)
		return hs_fail(err, EFBIG, "blob.length", "", "%s", name);
	HS_KEY_AUTO key = hs_crypto_init() == 0 ? unwrap(blob_key, name, info) : NULL;
	if (!key)
		return bad_key(err, name);
	make_header(info->key_generation, header);
	int rc = check_start(name, info, sealed, sealed_len, sealed_len, header, err);
	if (rc < 0)
		return rc;
	rc = hs_buf_reserve(out, (size_t)info->length);
	if (rc < 0)
		return hs_fail_errno(err, rc, "blob.read", name);
	uint8_t none; /* an empty blob has a tag and no byte */
	chunk_nonce(0, true, nonce);
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(info->length ? out->data + out->len : &none, NULL, NULL,
						       (const uint8_t *)sealed + HEADER_LEN, sealed_len - HEADER_LEN, header,
						       sizeof header, nonce, key->bytes) != 0)
		return damaged(err, name, "authentication");
	return take_whole(name, info, out, err);
}

int hs_blob_remove(int dirfd, const char *name)
{
	if (!name_ok(name))
		return -EINVAL;
	return unlinkat(dirfd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}
