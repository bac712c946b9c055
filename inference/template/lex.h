/* The words of a template, with Jinja2's rules for white space around blocks. Internal to template/. */
#ifndef HISHO_INFERENCE_TEMPLATE_LEX_H
#define HISHO_INFERENCE_TEMPLATE_LEX_H

#include "base/arena.h"
#include "inference/template/template.h"

enum hs_tlex_kind {
	HS_TL_END,
	HS_TL_DATA,
	HS_TL_BLOCK_BEGIN,
	HS_TL_BLOCK_END,
	HS_TL_VAR_BEGIN,
	HS_TL_VAR_END,
	HS_TL_NAME,
	HS_TL_INT,
	HS_TL_FLOAT,
	HS_TL_TEXT, /* s, len: its escapes resolved */
	HS_TL_OP,   /* s, len: the operator */
};

struct hs_tlex {
	enum hs_tlex_kind kind;
	uint32_t line;
	const char *s;
	size_t len;
	union {
		int64_t i;
		double d;
	};
};

/*
 * All words, the last one HS_TL_END: *ret is the caller's to free, their resolved strings are the arena's. text must be
 * UTF-8 with \n as its line ends, and outlive the words. -EINVAL "template.syntax", -ENOMEM.
 */
int hs_tlex_all(struct hs_arena *arena, const char *text, size_t n, struct hs_tlex **ret, size_t *ret_n,
		struct hs_err *err) HS_MUST_CHECK;

/* Python's idea of white space, which includes U+3000. */
bool hs_t_is_space(uint32_t cp);

#endif
