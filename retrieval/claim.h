/*
 * Inside this room: a sentence taken apart for the check: its words, numbers, modality, the cells where it is a row of a
 * table, and the things in it that something is said of or with (numbers, names, nouns), each with what stands around it.
 */
#ifndef HISHO_RETRIEVAL_CLAIM_H
#define HISHO_RETRIEVAL_CLAIM_H

#include "retrieval/polarity.h"
#include "retrieval/quantity.h"
#include "text/normalize.h"

#define HS_CLAIM_CELLS_MAX 64
#define HS_CLAIM_AROUND 12 /* words looked at on either side of a thing */

enum hs_thing_kind {
	HS_THING_NUMBER,
	HS_THING_NAME, /* a run of nouns with a proper one among them */
	HS_THING_NOUN, /* any other run of content words */
};

enum { /* classes of case particles; the rest are numbers of no name */
       HS_PARTICLE_SUBJECT = 1,
       HS_PARTICLE_TOPIC = 20, /* は and も stand for any of them, mostly for the subject's */
};

struct hs_near {       /* a word beside a thing */
	uint64_t word; /* its lemma; of a number, value and unit; of a particle, its class */
	float weight;  /* 1 for the nearest, less further off */
	int side;      /* -1 before, 1 behind; 0: the particle that the thing carries */
	uint32_t token;
};

struct hs_thing {
	enum hs_thing_kind kind;
	enum hs_name_kind name; /* of a name, its first proper noun's */
	uint64_t key;           /* the same for the same thing; of a name, its first proper noun */
	uint32_t quantity;      /* index, of a number */
	uint32_t first, last;   /* tokens, inclusive */
	uint32_t cell;          /* of a row */
	bool whole_cell;        /* nothing else stands in its cell */
	uint32_t chain;         /* things of one kind that are only enumerated (A、B や C) have the same */
	struct hs_near near[2 * HS_CLAIM_AROUND + 1];
	uint32_t n_near;
};

struct hs_cell {
	uint32_t start, end; /* bytes of the sentence */
	uint32_t first, n;   /* its tokens */
	bool counts;         /* it is a number, and not a text with one in it */
};

struct hs_claim {
	uint32_t start, end; /* bytes of the passage */
	struct hs_norm norm;
	struct hs_tokens tokens;
	struct hs_word *words;
	struct hs_quantities quantities;
	uint32_t modality; /* enum hs_modality bits */
	bool passive;      /* れる, られる */
	bool open;         /* a question for a thing: 誰, 何, いつ ... and not whether */
	uint32_t focus;    /* of a sentence that is checked: hs_claim_focus, or tokens.count where all of it is asserted */
	struct hs_cell *cells;
	size_t n_cells; /* 0: no row */
	struct hs_thing *things;
	size_t n_things;
};

/* -ENOMEM, -EMSGSIZE, -EILSEQ: ret is untouched. */
int hs_claim_init(struct hs_tagger *t, const char *text, size_t n, struct hs_claim *ret) HS_MUST_CHECK;
void hs_claim_finish(struct hs_claim *c); /* wipes; takes a zeroed one */

/*
 * The numbers of a row that carry no unit are, besides, those with the unit that their column's header gives in brackets:
 * 金額(百万円). Cell k of the row stands under cell k - shift.
 */
int hs_claim_read_units(struct hs_claim *row, const struct hs_claim *header, size_t shift) HS_MUST_CHECK;

/*
 * The first token of what the sentence says its topic is (起点は直江津です, 買収したのはA社です), tokens.count where it says no
 * such thing: the nominal predicate at its end, whose words have no place of their own in a sentence that says the same with a
 * verb.
 */
uint32_t hs_claim_focus(const struct hs_claim *c);

bool hs_claim_has(const struct hs_claim *c, uint64_t lemma);

/* Two spellings of one number: without a unit on one side (a cell of a table), the value decides. */
bool hs_same_quantity(const struct hs_quantity *a, const struct hs_quantity *b);

#endif
