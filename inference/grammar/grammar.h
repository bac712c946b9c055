/*
 * Grammars: what an answer may be, byte by byte. Either JSON of a schema (grammar/schema.c says what of JSON Schema is
 * understood), or free text in which a citation marker, "[" and digits, names a supplied number.
 *
 * A grammar is a deterministic pushdown automaton over bytes: nodes, and a state that is a short stack of places in them. One
 * byte decides the next state, a state is plain memory that may be copied, and the stack is no deeper than HS_GRAMMAR_DEPTH_MAX
 * levels of the schema. Strings are whole characters of UTF-8; JSON is written compactly, with at most one space after a comma or
 * colon. Immutable once made.
 */
#ifndef HISHO_INFERENCE_GRAMMAR_H
#define HISHO_INFERENCE_GRAMMAR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define HS_GRAMMAR_SCHEMA_MAX (16u * 1024u) /* bytes of a schema */
#define HS_GRAMMAR_DEPTH_MAX 16u            /* objects and arrays within each other */
#define HS_GRAMMAR_NODES_MAX 1024u
#define HS_GRAMMAR_PROPERTIES_MAX 64u /* of one object */
#define HS_GRAMMAR_VALUES_MAX 256u    /* of one enum */
#define HS_GRAMMAR_ITEMS_MAX 65536u   /* of an array, and characters of a string, that a schema may name */
#define HS_GRAMMAR_CITATIONS_MAX 256u

struct hs_grammar;

/*
 * A schema, as JSON text. -EINVAL "grammar.schema" (no JSON, or it contradicts itself), -ENOTSUP "grammar.unsupported" (a keyword
 * or value that is not understood, by name), -E2BIG "grammar.limit"; -ENOMEM.
 */
int hs_grammar_schema(const char *json, size_t n, struct hs_grammar **ret, struct hs_err *err) HS_MUST_CHECK;
/* Free text that cites these numbers only; n 0: none. Numbers from 1. -E2BIG, -ENOMEM. */
int hs_grammar_citations(const uint32_t *ids, size_t n, struct hs_grammar **ret) HS_MUST_CHECK;
void hs_grammar_destroy(struct hs_grammar *g); /* takes NULL */

struct hs_grammar_frame { /* no padding: compared as bytes */
	uint16_t node;
	uint8_t phase, aux;
	uint32_t count;
	uint64_t set;
};

struct hs_grammar_state {
	uint32_t depth;  /* frames in use */
	uint32_t spaced; /* the one space before all was taken: SentencePiece begins with it */
	struct hs_grammar_frame frames[HS_GRAMMAR_DEPTH_MAX + 2];
};

void hs_grammar_begin(const struct hs_grammar *g, struct hs_grammar_state *ret);

/* Take a byte. False where it may not stand here; s is then of no more use. */
bool hs_grammar_byte(const struct hs_grammar *g, struct hs_grammar_state *s, uint8_t c);

/* Is what was taken whole? */
bool hs_grammar_may_end(const struct hs_grammar *g, const struct hs_grammar_state *s);

/* Nothing may follow but the end. */
bool hs_grammar_is_over(const struct hs_grammar *g, const struct hs_grammar_state *s);

bool hs_grammar_is_free(const struct hs_grammar *g); /* text with citations */

/* Copy; what lies above the stack is left out. */
void hs_grammar_copy(struct hs_grammar_state *to, const struct hs_grammar_state *from);

/*
 * Two states with the same key allow the same texts of at most `longest` bytes: the key is from with what such a text cannot
 * reach cut off. Returns its length in bytes, from ret's beginning.
 */
size_t hs_grammar_key(const struct hs_grammar *g, const struct hs_grammar_state *from, uint32_t longest,
		      struct hs_grammar_state *ret);

#endif
