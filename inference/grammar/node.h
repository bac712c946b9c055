/* Inside grammar/: the nodes that schema.c makes and grammar.c walks. */
#ifndef HISHO_INFERENCE_GRAMMAR_NODE_H
#define HISHO_INFERENCE_GRAMMAR_NODE_H

#include "inference/grammar/grammar.h"

enum hs_node_kind {
	HS_NODE_TEXT, /* free text with citations */
	HS_NODE_STRING,
	HS_NODE_LITERALS, /* one of several texts */
	HS_NODE_OBJECT,   /* named properties, in order */
	HS_NODE_ARRAY,
};

struct hs_node {
	enum hs_node_kind kind;
	bool bounded;         /* string: at most `most` characters */
	uint32_t least, most; /* items of an array; characters of a string */
	uint32_t first, n;    /* of the grammar's texts (sorted), or of its properties */
	uint16_t child;       /* items of an array */
};

struct hs_text {
	uint32_t at, len; /* of the grammar's bytes */
};

struct hs_property {
	struct hs_text name; /* as JSON spells it, with the quotation mark that ends it */
	uint16_t node;
	bool required;
};

struct hs_grammar {
	struct hs_node *nodes; /* the first is the root */
	uint32_t n_nodes;
	struct hs_text *texts;
	uint32_t n_texts;
	struct hs_property *properties;
	uint32_t n_properties;
	char *bytes;
	uint32_t n_bytes;
	uint32_t citations[HS_GRAMMAR_CITATIONS_MAX]; /* sorted */
	uint32_t n_citations;
};

#endif
