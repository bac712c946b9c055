/*
 * Blobs: files of any length under a fresh key each, readable by range (docs/formats/blob.md).
 *
 * Chunks of 64 KiB, each XChaCha20-Poly1305 with its index and finality in the nonce and the file's header in the AAD; so
 * chunks cannot be moved, dropped or appended, and the expected length is demanded as well. The blob's key is wrapped under
 * the tenant's blob key and bound to the blob's name; the wrapped key goes into the blob's row and nowhere else: deleting the
 * row destroys the blob.
 *
 * What fits into one chunk needs no file: hs_blob_seal gives the bytes that its file would hold, for a row that is synced with
 * the one that names it.
 */
#ifndef HISHO_CRYPTO_BLOB_H
#define HISHO_CRYPTO_BLOB_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "crypto/key.h"

#define HS_BLOB_FORMAT 1
#define HS_BLOB_CHUNK (64u * 1024u)
#define HS_BLOB_WRAPPED_LEN 104 /* nonce 24, key 32, tag 16, commitment 32 */
#define HS_BLOB_HASH_LEN 32
#define HS_BLOB_NAME_MAX 64
#define HS_BLOB_LENGTH_MAX (1ull << 40)

struct hs_blob_writer;
struct hs_blob;

struct hs_blob_info { /* what the row keeps */
	uint8_t wrapped[HS_BLOB_WRAPPED_LEN];
	uint8_t hash[HS_BLOB_HASH_LEN]; /* BLAKE2b-256 of the plaintext */
	uint64_t length;                /* of the plaintext */
	uint32_t key_generation;
};

/* Start a blob in dirfd. name: a public id ("blb_..."), 1..HS_BLOB_NAME_MAX bytes without '/'. dirfd stays the caller's, open. */
int hs_blob_writer_create(int dirfd, const char *name, const struct hs_key *blob_key, uint32_t key_generation,
			  struct hs_blob_writer **ret, struct hs_err *err) HS_MUST_CHECK;
int hs_blob_write(struct hs_blob_writer *w, const void *data, size_t n, struct hs_err *err) HS_MUST_CHECK;

/* Write the last chunk, sync, rename, sync the folder: the blob survives a crash. The writer is to be destroyed next. */
int hs_blob_commit(struct hs_blob_writer *w, struct hs_blob_info *ret, struct hs_err *err) HS_MUST_CHECK;

/* Takes NULL. A blob that was not committed is removed. */
void hs_blob_writer_destroy(struct hs_blob_writer *w);

/* Write a whole blob from memory. */
int hs_blob_put(int dirfd, const char *name, const struct hs_key *blob_key, uint32_t key_generation, const void *data, size_t n,
		struct hs_blob_info *ret, struct hs_err *err) HS_MUST_CHECK;

/*
 * Open for reading. -ENOENT "blob.missing"; -EBADMSG "blob.sealed" (key does not unwrap: another tenant's, another blob's),
 * "blob.damaged" (length or header differ); -ENOTSUP "blob.format".
 */
int hs_blob_open(int dirfd, const char *name, const struct hs_key *blob_key, const struct hs_blob_info *info,
		 struct hs_blob **ret, struct hs_err *err) HS_MUST_CHECK;
void hs_blob_close(struct hs_blob *b); /* takes NULL */
uint64_t hs_blob_length(const struct hs_blob *b);

/* Exactly n bytes from offset. -ERANGE past the end; -EBADMSG "blob.damaged". One thread at a time. */
int hs_blob_read(struct hs_blob *b, uint64_t offset, void *out, size_t n, struct hs_err *err) HS_MUST_CHECK;

/* A whole blob appended to out, its hash compared. -EFBIG where it is longer than max. */
int hs_blob_get(int dirfd, const char *name, const struct hs_key *blob_key, const struct hs_blob_info *info, size_t max,
		struct hs_buf *out, struct hs_err *err) HS_MUST_CHECK;

/* The bytes of a blob of at most HS_BLOB_CHUNK bytes, appended to out, in place of a file. */
int hs_blob_seal(const char *name, const struct hs_key *blob_key, uint32_t key_generation, const void *data, size_t n,
		 struct hs_buf *out, struct hs_blob_info *ret, struct hs_err *err) HS_MUST_CHECK;

/* What hs_blob_seal gave, appended to out, its hash compared. Refuses as hs_blob_open, hs_blob_read and hs_blob_get do. */
int hs_blob_unseal(const char *name, const struct hs_key *blob_key, const struct hs_blob_info *info, const void *sealed,
		   size_t sealed_len, size_t max, struct hs_buf *out, struct hs_err *err) HS_MUST_CHECK;

/* Remove the file; fine where it is missing. */
int hs_blob_remove(int dirfd, const char *name) HS_MUST_CHECK;

#endif
