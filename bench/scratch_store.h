/*
 * A store without a daemon, for benches: a BEIR folder's documents in a database of the temporary directory, unencrypted, that
 * goes away with it. Document i lies in class i % n_classes, so that one can be hidden without filing again.
 *
 * Failures end the program: it is a bench.
 */
#ifndef HISHO_BENCH_SCRATCH_STORE_H
#define HISHO_BENCH_SCRATCH_STORE_H

#include "inference/engine.h"
#include "policy/resolve.h"
#include "retrieval/search.h"

#define SCRATCH_DIMENSIONS 384
#define SCRATCH_CLASSES_MAX 64

struct scratch_name { /* public id to the set's own */
	struct hs_id id;
	char own[64];
	uint32_t class_id;
};

struct scratch_store {
	struct hs_analyzer *analyzer;
	struct hs_store *store;
	struct hs_reader *reader;
	uint32_t classes[SCRATCH_CLASSES_MAX];
	uint32_t n_classes;
	struct scratch_name *names; /* by id */
	size_t n_names;
	char dir[32], path[64];
};

_Noreturn void scratch_die(const char *what, const struct hs_err *err);

/* n_classes: 1 to SCRATCH_CLASSES_MAX. chunk: characters a passage, 0: the default. */
void scratch_open(struct scratch_store *s, const char *set, uint32_t n_classes, uint32_t chunk);
void scratch_close(struct scratch_store *s);

const struct scratch_name *scratch_name(const struct scratch_store *s, const struct hs_id *id);

/* Good for HS_GRANT_MAX_AGE_MS. */
struct hs_grant *scratch_grant(struct scratch_store *s);

/* Every passage gets its vector. Returns how many. */
size_t scratch_embed(struct scratch_store *s, struct hs_model *model);

/* Texts behind a prefix to (n, SCRATCH_DIMENSIONS) vectors, to be freed. */
float *scratch_vectors(struct hs_model *model, const char *prefix, char **texts, size_t n);

#endif
