/* What the files of the store share: its struct, the reader's, and the parts that each of them does. */
#ifndef HISHO_RETRIEVAL_INTERNAL_H
#define HISHO_RETRIEVAL_INTERNAL_H

#include <pthread.h>

#include "base/buf.h"
#include "policy/classes.h"
#include "retrieval/index.h"
#include "retrieval/rank.h"
#include "retrieval/statements.h"
#include "retrieval/store.h"

/* Merging: so many segments of a level become one of the next. Small ones at once, large ones in hs_store_maintain. */
#define HS_MERGE_FANOUT 8
#define HS_MERGE_INLINE_BYTES (4u << 20)

struct hs_store {
	struct hs_analyzer *analyzer;
	struct hs_store_options options;
	sqlite3 *db;
	struct hs_fts *fts; /* of db */
	struct hs_statements statements;
	struct hs_tagger *tagger;
	struct hs_buf head; /* whose tokens head_words and head_bigrams hold */
	struct hs_tokens head_words, head_bigrams, text_words, text_bigrams;

	pthread_mutex_t lock;   /* of live, counters */
	struct hs_index *live;  /* what searches take */
	uint64_t dirty;

	/* The open transaction. */
	bool open;
	struct hs_index *work;
	struct hs_postings_builder *builder;
	uint64_t builder_chunks;
	uint64_t work_dirty;
	int64_t model_before;
	uint8_t model_hash_before[HS_STORE_HASH_LEN];
	int changes_before; /* sqlite3_total_changes */

	struct hs_stage *stage; /* or NULL */

	uint64_t commit_seq;
	bool synced; /* how the connection commits */
	int64_t generation;
	int64_t model;                        /* vector_models.id; 0: none */
	uint8_t model_hash[HS_STORE_HASH_LEN];
	uint32_t open_extent[HS_CLASSES_MAX + 1]; /* extent + 1 of each class that has room; 0: none */
	uint32_t free_hint;                   /* no unused extent number lies below */
};

struct hs_reader {
	struct hs_store *store;
	sqlite3 *db;
	struct hs_statements statements;
	struct hs_tagger *tagger;
	struct hs_ranker *ranker;
	int stop;
};

/* load.c: the index from the database, into s->live. */
int hs_store_load(struct hs_store *s, struct hs_err *err) HS_MUST_CHECK;
int hs_store_load_vectors(struct hs_store *s, struct hs_index *x, struct hs_err *err) HS_MUST_CHECK; /* of s->model */
int hs_store_check_generation(struct hs_store *s, struct hs_err *err) HS_MUST_CHECK;
void hs_store_find_open_extents(struct hs_store *s, const struct hs_index *x);

/* place.c: ordinals for a document's chunks, ascending, in the class's extents of the open transaction. */
int hs_store_allocate(struct hs_store *s, uint32_t class_id, uint32_t n, uint32_t *ordinals, struct hs_err *err) HS_MUST_CHECK;

/* segment.c: what the open transaction built becomes a segment; segments merge. */
int hs_store_flush(struct hs_store *s, struct hs_err *err) HS_MUST_CHECK;
int hs_store_merge(struct hs_store *s, uint64_t max_bytes, bool *ret_merged, struct hs_err *err) HS_MUST_CHECK;
int hs_store_rewrite_dead(struct hs_store *s, uint32_t max_segments, bool *ret_any, struct hs_err *err) HS_MUST_CHECK;

/* documents.c: the ordinals whose passages were staged; in merging they count as alive. 0: none. */
size_t hs_store_staged(const struct hs_store *s, const uint32_t **ret);

/* A passage's tokens. The head's are of an earlier passage where both have the same head. */
struct hs_passage_tokens {
	const struct hs_tokens *head_words, *head_bigrams, *text_words, *text_bigrams;
};

/* place.c: tokenise and index one chunk at an ordinal: postings and FTS5. */
struct hs_placed {
	const struct hs_passage_tokens *tokens; /* NULL: made here */
	const char *head, *text;
	size_t head_len, text_len;
	uint32_t ordinal;
	uint32_t length[HS_FIELDS]; /* out */
};
/* documents.c: of passage i, made ahead; NULL where w is NULL. */
const struct hs_passage_tokens *hs_words_of(const struct hs_words *w, size_t i);
int hs_store_index_chunk(struct hs_store *s, struct hs_placed *p, struct hs_err *err) HS_MUST_CHECK;
int hs_store_unindex_fts(struct hs_store *s, uint32_t ordinal, const char *head, const char *text,
			 struct hs_err *err) HS_MUST_CHECK;

/* place.c: kill a document's chunks in the open transaction's index, and mark their rows dead. */
int hs_store_kill_chunks(struct hs_store *s, int64_t document, struct hs_err *err) HS_MUST_CHECK;

/* Of the open transaction: the writing functions refuse without one (-EINVAL "store.no_transaction"). */
int hs_store_check_open(struct hs_store *s, struct hs_err *err) HS_MUST_CHECK;

struct hs_index *hs_store_snapshot(struct hs_store *s); /* a reference */

#endif
