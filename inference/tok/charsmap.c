#include "inference/tok/charsmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "base/wire.h"

#define CHARSMAP_MAX (64u * 1024u * 1024u)
#define RULE_MAX 256u /* bytes of a key, and of a replacement: a hostile map costs no more than this for each character */

int hs_charsmap_init(struct hs_charsmap *m, const uint8_t *data, size_t n, struct hs_err *err)
{
	uint32_t trie_len = n >= 4 ? hs_le32_load(data) : 0;
	*m = (struct hs_charsmap){0};
	if (n < 8 || n > CHARSMAP_MAX || trie_len % 4 || trie_len == 0 || trie_len >= n - 4 || data[n - 1] != 0)
		return hs_fail(err, EINVAL, "tok.invalid", HS_N_("the sizes inside the character map do not fit together"),
			       "tokenizer.ggml.precompiled_charsmap");
	size_t bad;
	if (!hs_utf8_valid((const char *)data + 4 + trie_len, n - 4 - trie_len, &bad))
		return hs_fail(err, EINVAL, "tok.invalid", HS_N_("a replacement is not valid UTF-8"),
			       "tokenizer.ggml.precompiled_charsmap, replacement %zu", bad);
	m->blob = malloc(n);
	if (!m->blob)
		return hs_fail_errno(err, -ENOMEM, "tok.load", "character map");
	memcpy(m->blob, data, n);
	hs_trie_over(&m->trie, m->blob + 4, trie_len / 4);
	m->replacements = (const char *)m->blob + 4 + trie_len;
	m->replacements_len = n - 4 - trie_len;
	return 0;
}

void hs_charsmap_finish(struct hs_charsmap *m)
{
	free(m->blob);
	hs_trie_finish(&m->trie);
	*m = (struct hs_charsmap){0};
}

size_t hs_charsmap_match(const struct hs_charsmap *m, const char *text, size_t n, struct hs_gguf_str *ret)
{
	size_t place = hs_trie_root(&m->trie), longest = 0;
	for (size_t i = 0; i < n && i < RULE_MAX; i++) {
		uint32_t value;
		bool has_value;
		if (!hs_trie_step(&m->trie, &place, (uint8_t)text[i], &value, &has_value))
			break;
		/* a hostile map may end a key or begin a replacement inside a character: no match */
		bool whole = i + 1 == n || ((uint8_t)text[i + 1] & 0xc0) != 0x80;
		if (!has_value || !whole || value >= m->replacements_len || ((uint8_t)m->replacements[value] & 0xc0) == 0x80)
			continue;
		size_t len = strnlen(m->replacements + value, RULE_MAX + 1); /* the last byte is 0 */
		if (len > RULE_MAX)
			continue;
		longest = i + 1;
		*ret = (struct hs_gguf_str){.s = m->replacements + value, .len = len};
	}
	return longest;
}

static int compare_from(const struct hs_charsmap_rule *a, const struct hs_charsmap_rule *b)
{
	const struct hs_trie_key x = {.text = a->from}, y = {.text = b->from};
	return hs_trie_key_compare(&x, &y);
}

static int compare_rule(const void *a, const void *b)
{
	const struct hs_charsmap_rule *x = a, *y = b;
	int order = compare_from(x, y);
	return order ? order : (x->order > y->order) - (x->order < y->order);
}

int hs_charsmap_write(struct hs_charsmap_rule *rules, size_t n, struct hs_buf *out)
{
	struct hs_trie_key *keys = calloc(n ? n : 1, sizeof *keys);
	HS_BUF_AUTO texts = HS_BUF_INIT;
	struct hs_trie trie = {0};
	size_t used = 0;
	if (!keys)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		rules[i].order = i;
	qsort(rules, n, sizeof *rules, compare_rule);
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (used && compare_from(&rules[i], &rules[i - 1]) == 0)
			continue;
		keys[used++] = (struct hs_trie_key){.text = rules[i].from, .value = (uint32_t)texts.len};
		bool fits = rules[i].from.len <= RULE_MAX && rules[i].to.len <= RULE_MAX;
		rc = !fits || memchr(rules[i].to.s, 0, rules[i].to.len) ? -EINVAL
									: hs_buf_append(&texts, rules[i].to.s, rules[i].to.len);
		if (rc == 0)
			rc = hs_buf_append_byte(&texts, 0);
	}
	if (rc == 0 && texts.len == 0)
		rc = hs_buf_append_byte(&texts, 0);
	if (rc == 0 && texts.len > INT32_MAX)
		rc = -EFBIG;
	if (rc == 0)
		rc = hs_trie_build(&trie, keys, used);
	if (rc == 0)
		rc = hs_put_u32(out, (uint32_t)(trie.n_units * 4));
	for (size_t i = 0; rc == 0 && i < trie.n_units; i++)
		rc = hs_put_u32(out, trie.units[i]);
	if (rc == 0)
		rc = hs_buf_append(out, texts.data, texts.len);
	hs_trie_finish(&trie);
	free(keys);
	return rc;
}
