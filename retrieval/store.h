/*
 * The tenant's store: documents, versions, chunks and their indexes, in one database (docs/formats/schema.md).
 *
 * One writer and any number of readers. The writer's functions (hs_store_*) belong to one thread; a reader (hs_reader)
 * is used by one thread at a time. All of them share the in-memory index, of which each search takes a snapshot.
 * The store neither opens files nor knows keys: it is given a function that opens connections.
 *
 * Writing happens inside hs_store_begin .. hs_store_commit. Several documents may share one transaction, which is much
 * faster; a document is found by words when its transaction has committed. Where a put fails, the caller rolls back.
 *
 * Integers (classes excepted) never leave the tenant process: what is shown are public ids.
 */
#ifndef HISHO_RETRIEVAL_STORE_H
#define HISHO_RETRIEVAL_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/id.h"
#include "policy/grant.h"
#include "text/analyze.h"
#include "text/document.h"

#define HS_STORE_HASH_LEN 32
#define HS_STORE_TITLE_MAX 1024          /* bytes; longer titles are cut at a character */
#define HS_STORE_SOURCE_MAX 128          /* bytes of a source id */
#define HS_STORE_CHUNKS_MAX 65536        /* of one document */
#define HS_STORE_ORDINALS_MAX (1u << 24) /* of one tenant, dead ones included */
#define HS_STORE_WRAPPED_MAX 256         /* bytes of a blob's wrapped key */
#define HS_STORE_DIMENSIONS_MAX 4096
#define HS_STORE_MEMORY_DEFAULT (2048ull * 1024 * 1024) /* of one tenant's index in memory */

struct hs_store;
struct hs_reader;

/* Open a connection on the tenant's database. writer: may write; else read only. The store closes it. */
typedef int (*hs_store_connect_fn)(void *ctx, bool writer, sqlite3 **ret, struct hs_err *err);

struct hs_store_options {
	hs_store_connect_fn connect;
	void *connect_ctx;
	struct hs_analyzer *analyzer; /* outlives the store */
	uint64_t memory_max;          /* 0: HS_STORE_MEMORY_DEFAULT; a larger index is refused: "index.memory" */
	bool rebuild;                 /* where dictionary or normaliser changed: index anew instead of refusing */
};

/*
 * Open, create or migrate. Loads the index into memory.
 * -ENOTSUP "store.schema_newer"; -ESTALE "index.generation" (dictionary or normaliser are not those that indexed);
 * -EBADMSG "index.segment" (a segment does not decode); -ENOMEM; -EIO.
 */
int hs_store_open(const struct hs_store_options *o, struct hs_store **ret, struct hs_err *err) HS_MUST_CHECK;
void hs_store_close(struct hs_store *s); /* after its readers; takes NULL */

/* The writer connection, for the policy's writing functions: on the writer's thread, between begin and commit. */
sqlite3 *hs_store_db(struct hs_store *s);

int hs_store_begin(struct hs_store *s, struct hs_err *err) HS_MUST_CHECK;
/*
 * For what may be forgotten: its commit outlives the process; a power cut may undo it until the next commit of the other kind.
 * hs_store_commit_seq does not count it: what the audit log says of the database must not be ahead of it.
 */
int hs_store_begin_unsynced(struct hs_store *s, struct hs_err *err) HS_MUST_CHECK;
int hs_store_commit(struct hs_store *s, struct hs_err *err) HS_MUST_CHECK; /* rolls back where it fails */
void hs_store_rollback(struct hs_store *s);                               /* nothing where no transaction is open */

/* Rises with every commit that is synced; the audit log copies it. */
uint64_t hs_store_commit_seq(struct hs_store *s);

/*
 * A blob that crypto/ sealed: its row holds the wrapped key, so deleting the row destroys the blob. Its bytes lie in a file, or
 * beside the row.
 */
struct hs_blob_row {
	struct hs_id id; /* "blb_..." */
	uint8_t wrapped[HS_STORE_WRAPPED_MAX];
	size_t wrapped_len;
	uint64_t length; /* of the plaintext */
	uint8_t hash[HS_STORE_HASH_LEN]; /* of the plaintext */
	uint32_t key_generation;
	bool inside; /* told by readers: the bytes lie beside the row */
};

/* sealed: the blob's bytes, which then need no file; NULL where they lie in one. */
int hs_store_blob_add(struct hs_store *s, const struct hs_blob_row *row, const void *sealed, size_t sealed_len,
		      struct hs_err *err) HS_MUST_CHECK;

/* A version of a document, read and chunked. The strings stay the caller's. */
struct hs_put {
	const struct hs_id *document; /* NULL: a new document; else its next version (-ENOENT "doc.unknown") */
	uint32_t class_id;            /* from hs_class_intern */
	const char *title;            /* UTF-8; "" where there is none */
	const char *sender, *source;  /* public id of the sender, id of the source within it; "" where there is none */
	const char *submission;       /* public id, or "" */
	int64_t expires;              /* UTC ms; 0: never */
	int64_t now_ms;
	const uint8_t *content_mac;   /* HS_STORE_HASH_LEN: the sender's HMAC that decides "unchanged", or NULL */
	const uint8_t *text_hash;     /* HS_STORE_HASH_LEN: of the canonical text */
	const struct hs_id *canonical; /* blob of the encoded hs_document */
	const struct hs_id *original;  /* blob of the received file, or NULL */
	const struct hs_document *read; /* text, format, charset, extractor, pages */
	const struct hs_chunk *chunks;
	size_t n_chunks;
	const struct hs_words *words; /* of exactly this title, text and these chunks; NULL: made here */
	const struct hs_stage *stage; /* that wrote the passages, all of them, of exactly these; NULL: written here */
};

/*
 * The words and bigrams of a document's passages, made on any thread before the transaction that places them. One tagger, one
 * thread. Takes memory of about 20 times the text.
 */
struct hs_words;
int hs_words_create(struct hs_tagger *t, const char *title, const struct hs_document *read, const struct hs_chunk *chunks,
		    size_t n_chunks, struct hs_words **ret) HS_MUST_CHECK;
void hs_words_destroy(struct hs_words *w); /* takes NULL */

/*
 * A long document is indexed by steps, so that others write in between: each step's passages are written as dead ones, which
 * nothing shows, and hs_store_put with the stage makes them the document's in the last transaction, which is short. What a stage
 * wrote and was never put goes with the next purge, also after a crash. One stage a store at a time; put, whose parts stay the
 * caller's, must outlive it. A stage whose step failed, or was not committed, is to be destroyed.
 */
#define HS_STAGE_STEP 512 /* passages: some 150 ms */

struct hs_stage;
int hs_stage_create(struct hs_store *s, const struct hs_put *put, struct hs_stage **ret) HS_MUST_CHECK;
void hs_stage_destroy(struct hs_stage *g); /* on the writer's thread; takes NULL */

/* The next HS_STAGE_STEP passages, in the open transaction, which the caller commits. */
int hs_stage_step(struct hs_stage *g, bool *ret_more, struct hs_err *err) HS_MUST_CHECK;

/* Index a version: chunks, postings, FTS5, rows; the version before is taken out of the indexes and kept for reading. */
int hs_store_put(struct hs_store *s, const struct hs_put *put, struct hs_id *ret_document, struct hs_id *ret_version,
		 struct hs_err *err) HS_MUST_CHECK;

/* Hide a document for good: holds from the commit on. Its content goes with the next hs_store_purge. -ENOENT "doc.unknown". */
int hs_store_delete(struct hs_store *s, const struct hs_id *document, int64_t now_ms, struct hs_err *err) HS_MUST_CHECK;

/* Move a document to another class: holds from the commit on; its index entries move with the next hs_store_maintain. */
int hs_store_reclassify(struct hs_store *s, const struct hs_id *document, uint32_t class_id, struct hs_err *err) HS_MUST_CHECK;

/* 0 lifts the expiry. */
int hs_store_set_expiry(struct hs_store *s, const struct hs_id *document, int64_t expires, struct hs_err *err) HS_MUST_CHECK;

/* The document that a sender filed under a source, not a deleted one. -ENOENT. ret_mac (or NULL): its content_mac, or zeros. */
int hs_store_by_source(struct hs_store *s, const char *sender, const char *source, struct hs_id *ret_document,
		       uint8_t *ret_mac) HS_MUST_CHECK;

/*
 * Work behind, each in transactions of its own (none may be open): merge postings, move reclassified documents' entries,
 * hide expired documents for good; take the words of what was deleted out of one segment. *ret_more: there is more to do.
 */
int hs_store_maintain(struct hs_store *s, int64_t now_ms, bool *ret_more, struct hs_err *err) HS_MUST_CHECK;

/*
 * Remove what deleted documents left: rows, chunks, words in postings and FTS5, vectors, blob rows; versions that were replaced
 * before `keep_since`; then empty the log. Nothing while a document is staged. forget (or NULL) is told each blob whose row is
 * gone, after the commit, to unlink its file.
 */
int hs_store_purge(struct hs_store *s, int64_t keep_since, void (*forget)(void *ctx, const char *blob_id), void *ctx,
		   struct hs_err *err) HS_MUST_CHECK;

/* --- vectors: made behind, for chunks that have none yet --- */

/*
 * The model whose vectors are sought and stored from the commit on; another model's are dropped by hs_store_maintain.
 * Between begin and commit; cheap where it is in use already.
 */
int hs_store_use_model(struct hs_store *s, const uint8_t hash[static HS_STORE_HASH_LEN], uint32_t dimensions,
		       struct hs_err *err) HS_MUST_CHECK;

struct hs_pending { /* a chunk to embed; its text is owned by the list */
	uint32_t ordinal;
	int64_t version;
	char *text; /* title, context and text, joined by line ends */
	size_t len;
};
struct hs_pending_list {
	struct hs_pending *items;
	size_t count;
};
/* At most max chunks without a vector of the used model, by ordinal from `from` on. */
int hs_store_pending(struct hs_store *s, uint32_t from, size_t max, struct hs_pending_list *ret, struct hs_err *err) HS_MUST_CHECK;
void hs_pending_list_finish(struct hs_pending_list *l);

/* vectors: (n, dimensions), L2-normalised. Chunks that are gone meanwhile are passed over. Between begin and commit. */
int hs_store_put_vectors(struct hs_store *s, const struct hs_pending *items, const float *vectors, size_t n,
			 struct hs_err *err) HS_MUST_CHECK;

struct hs_store_progress {
	uint64_t documents, chunks, vectors; /* live ones */
	uint64_t memory;                     /* bytes of the index */
	uint64_t dirty;                      /* deleted documents and replaced versions that wait for a purge */
};
/* For status and metrics, from any thread. Counts all documents: never shown to one who asks. */
void hs_store_progress(struct hs_store *s, struct hs_store_progress *ret);

/* --- reading --- */

int hs_reader_create(struct hs_store *s, struct hs_reader **ret, struct hs_err *err) HS_MUST_CHECK;
void hs_reader_destroy(struct hs_reader *r); /* takes NULL */
sqlite3 *hs_reader_db(struct hs_reader *r);  /* for the policy's reading functions, on the reader's thread */

struct hs_document_row {
	struct hs_id document, version; /* the present version */
	uint32_t class_id;
	char title[HS_STORE_TITLE_MAX + 1];
	char format[16];
	int64_t created, updated, expires;
	uint64_t length; /* of the canonical text, bytes */
	uint32_t n_chunks, n_pages;
};

/*
 * The documents that a grant sees, newest first. after: "" or the last public id of the page before: what is added meanwhile
 * stands in front, so nothing is shown twice or passed over. Returns what fn returned where that is not 0. -ESTALE "grant.stale";
 * -ENOENT "doc.unknown": after is gone, or not seen any more; go on from the one before it.
 */
int hs_store_list(struct hs_reader *r, const struct hs_grant *g, int64_t now_ms, const char *after, size_t limit,
		  int (*fn)(void *ctx, const struct hs_document_row *row), void *ctx, struct hs_err *err) HS_MUST_CHECK;

struct hs_version_row {
	struct hs_id document, version;
	uint32_t class_id;
	char title[HS_STORE_TITLE_MAX + 1];
	char format[16];
	uint64_t length;
	uint32_t n_pages;
	bool present; /* not replaced by a later one */
	uint8_t text_hash[HS_STORE_HASH_LEN];
	struct hs_blob_row canonical, original; /* original.wrapped_len 0 where none is kept */
};

/*
 * One version, or a document's present one, by public id, with the blobs that hold it: the last gate for opening a citation
 * (HS_RIGHT_ASK) or a source (HS_RIGHT_DOWNLOAD). -ENOENT "doc.unknown": missing, deleted, expired and forbidden alike.
 */
int hs_store_version(struct hs_reader *r, const struct hs_grant *g, enum hs_right right, int64_t now_ms, const char *id,
		     struct hs_version_row *ret, struct hs_err *err) HS_MUST_CHECK;

/* The sealed bytes of a blob that lies inside, appended. -ENOENT "blob.missing". */
int hs_store_blob_bytes(struct hs_reader *r, const struct hs_id *id, struct hs_buf *out, struct hs_err *err) HS_MUST_CHECK;

/* Ids and classes without titles, for those who administer and do not read. document: NULL for all. */
int hs_store_admin_list(struct hs_reader *r, const char *after, size_t limit,
			int (*fn)(void *ctx, const struct hs_document_row *row), void *ctx, struct hs_err *err) HS_MUST_CHECK;
int hs_store_admin_find(struct hs_reader *r, const char *document, struct hs_document_row *ret, struct hs_err *err) HS_MUST_CHECK;

#endif
