/*
 * Any text as a schema: it is refused with a code, or it is a grammar. Then the rest of the input chooses bytes among those that
 * may stand: what can end is JSON, and the stack holds.
 */
#include <stdint.h>
#include <string.h>

#include <jansson.h>

#include "inference/grammar/grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_MAX 600

static void walk(const struct hs_grammar *g, const uint8_t *choices, size_t n)
{
	struct hs_grammar_state s, next, key;
	char text[TEXT_MAX];
	size_t len = 0;
	hs_grammar_begin(g, &s);
	while (len < TEXT_MAX && !hs_grammar_is_over(g, &s)) {
		uint8_t wanted = n ? choices[len % n] : '"';
		bool found = false;
		for (unsigned i = 0; i < 256 && !found; i++) { /* the next one that may stand */
			hs_grammar_copy(&next, &s);
			found = hs_grammar_byte(g, &next, (uint8_t)(wanted + i));
			if (found)
				text[len] = (char)(wanted + i);
		}
		hs_assert(found || hs_grammar_may_end(g, &s)); /* no dead ends */
		if (!found)
			break;
		len++;
		hs_grammar_copy(&s, &next);
		hs_assert(s.depth <= HS_ARRAY_LEN(s.frames));
		hs_assert(hs_grammar_key(g, &s, 16, &key) <= sizeof key);
	}
	if (!hs_grammar_may_end(g, &s))
		return;
	json_t *value = json_loadb(text, len, JSON_DECODE_ANY, NULL);
	hs_assert(value);
	json_decref(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hs_grammar *g = NULL;
	struct hs_err err = HS_ERR_INIT;
	const uint8_t *end = memchr(data, '\0', size);
	size_t n = end ? (size_t)(end - data) : size;
	int rc = hs_grammar_schema((const char *)data, n, &g, &err);
	hs_assert(rc == 0 || (err.num == -rc && strncmp(err.code, "grammar.", 8) == 0));
	if (rc == 0)
		walk(g, data + n, size - n);
	hs_grammar_destroy(g);
	return 0;
}
