/*
 * Chat templates: the Jinja programs that GGUF files carry, run by an interpreter that can do nothing but write text.
 *
 * The language is Jinja2's (https://jinja.palletsprojects.com/en/3.1.x/templates/) as chat templates meet it: trim_blocks and
 * lstrip_blocks on, no autoescape, break and continue, {% generation %}, a tojson that escapes nothing for HTML, and the
 * functions raise_exception and strftime_now. No file, no import, no clock, no attribute of the host: a template sees the
 * values that it is given. Templates come from untrusted files, so every resource has a limit below.
 *
 * Every byte that comes out knows where it came from: source 0 is the template's own text, any other number is a text that
 * the caller gave in under it. The number follows its bytes through slices, trims, joins, replacements, macros and JSON, so
 * that what a document says can never pass for what the template says. The output is runs of one source each: the caller
 * reads special tokens in runs of source 0 and nowhere else.
 *
 * A parsed template is immutable and shared by threads. A rendering owns all that it makes and wipes it at its end.
 */
#ifndef HISHO_INFERENCE_TEMPLATE_H
#define HISHO_INFERENCE_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/err.h"

#define HS_TEMPLATE_SOURCE_MAX (256u << 10) /* bytes of a template */
#define HS_TEMPLATE_PARSED_MAX (48u << 20)  /* bytes that its parsed form may take */
#define HS_TEMPLATE_NAMES_MAX 1024u         /* different names in a template */
#define HS_TEMPLATE_NEST_MAX 200u           /* expressions and blocks within each other */
#define HS_TEMPLATE_STEPS_MAX 4000000u      /* of one rendering: a step is an operation, or 64 bytes looked at */
#define HS_TEMPLATE_DEPTH_MAX 1200u         /* operations within each other, macro calls counted in */
#define HS_TEMPLATE_MEMORY_MAX (128u << 20) /* bytes of one rendering, its inputs not counted */
#define HS_TEMPLATE_OUTPUT_MAX (16u << 20)  /* bytes */
#define HS_TEMPLATE_RANGE_MAX 100000u       /* numbers of one range() */

struct hs_template;

/*
 * -EINVAL "template.syntax" naming the line; -EMSGSIZE "template.limit" naming the limit; -EILSEQ where it is not UTF-8;
 * -ENOMEM.
 */
int hs_template_create(const char *text, size_t n, struct hs_template **ret, struct hs_err *err) HS_MUST_CHECK;
void hs_template_destroy(struct hs_template *t); /* takes NULL */

/*
 * One rendering. Values are made from it and live as long as it does; the bytes of texts stay the caller's and must outlive
 * it. A function that cannot make a value returns NULL, and takes NULL where another one could not: only hs_render_run needs
 * to be checked.
 */
struct hs_render;
struct hs_tvalue;

struct hs_render *hs_render_create(const struct hs_template *t) HS_MUST_CHECK; /* NULL on -ENOMEM */
void hs_render_destroy(struct hs_render *r);                                   /* takes NULL; wipes */
void hs_render_set_time(struct hs_render *r, const struct tm *now); /* of strftime_now; without it, that function fails */

struct hs_tvalue *hs_tvalue_none(struct hs_render *r);
struct hs_tvalue *hs_tvalue_bool(struct hs_render *r, bool b);
struct hs_tvalue *hs_tvalue_int(struct hs_render *r, int64_t i);
struct hs_tvalue *hs_tvalue_float(struct hs_render *r, double d);
struct hs_tvalue *hs_tvalue_text(struct hs_render *r, const char *s, size_t n, uint16_t source); /* UTF-8 */
struct hs_template_part {
	const char *s;
	size_t len;
	uint16_t source;
};
/* One text of several parts: a message made of segments. */
struct hs_tvalue *hs_tvalue_joined(struct hs_render *r, const struct hs_template_part *parts, size_t n);
struct hs_tvalue *hs_tvalue_list(struct hs_render *r);
void hs_tvalue_push(struct hs_render *r, struct hs_tvalue *list, struct hs_tvalue *v);
struct hs_tvalue *hs_tvalue_dict(struct hs_render *r);
void hs_tvalue_put(struct hs_render *r, struct hs_tvalue *dict, const char *key, struct hs_tvalue *v); /* key: of source 0 */
void hs_tvalue_put_text(struct hs_render *r, struct hs_tvalue *dict, struct hs_tvalue *key, struct hs_tvalue *v);

/* A variable of the template, by name. */
void hs_render_set(struct hs_render *r, const char *name, struct hs_tvalue *v);

struct hs_template_run {
	size_t end; /* offset in the text where it ends; it begins where the one before ends */
	uint16_t source;
};

struct hs_template_output { /* owned by the rendering */
	const char *text;
	size_t len;
	const struct hs_template_run *runs; /* neighbours differ in source; none is empty */
	size_t n_runs;
};

/*
 * Once a rendering. -EINVAL "template.failed" naming the line and what was wrong, "template.raised" with what the template
 * says itself (its own words only: none of a text that it was given); -EMSGSIZE "template.limit" naming the limit; -EILSEQ
 * where an input is not UTF-8; -ENOMEM.
 */
int hs_render_run(struct hs_render *r, struct hs_template_output *ret, struct hs_err *err) HS_MUST_CHECK;

#endif
