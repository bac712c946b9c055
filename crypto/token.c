#include "crypto/token.h"

#include <string.h>

#include <sodium.h>

#define ID_LEN 26
#define SECRET_TEXT_LEN 52
#define CHECK_LEN 6 /* 30 bits */
#define SEPARATORS 4
#define KIND_LEN 3

static const struct {
	enum hs_token_kind kind;
	char text[KIND_LEN + 1];
	char prefix[HS_ID_PREFIX_MAX + 1];
} kinds[] = {
	{HS_TOKEN_API, "hsk", "tok_"},
	{HS_TOKEN_SESSION, "hss", "ses_"},
	{HS_TOKEN_CODE, "hsc", "cod_"},
};

void hs_token_wipe(struct hs_bearer *t)
{
	sodium_memzero(t, sizeof *t);
}

void hs_token_tag(const struct hs_id *tenant, char ret[static HS_TOKEN_TAG_LEN + 1])
{
	memcpy(ret, tenant->s + HS_ID_PREFIX_MAX, HS_TOKEN_TAG_LEN);
	ret[HS_TOKEN_TAG_LEN] = '\0';
}

static void check_of(const char *s, size_t n, char out[static CHECK_LEN + 1])
{
	uint8_t hash[crypto_generichash_BYTES_MIN];
	char text[32];
	(void)crypto_generichash(hash, sizeof hash, (const uint8_t *)s, n, NULL, 0); /* fails for wrong lengths only */
	hs_base32(hash, 4, text);
	memcpy(out, text, CHECK_LEN);
	out[CHECK_LEN] = '\0';
}

static bool tag_ok(const char *s, size_t n)
{
	if (n < 1 || n > HS_TOKEN_TAG_MAX)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9')))
			return false;
	}
	return true;
}

bool hs_token_format(const struct hs_bearer *t, char ret[static HS_TOKEN_TEXT_MAX + 1])
{
	size_t k = 0;
	while (k < HS_ARRAY_LEN(kinds) && kinds[k].kind != t->kind)
		k++;
	size_t tag_len = strnlen(t->tag, sizeof t->tag);
	if (k == HS_ARRAY_LEN(kinds) || !tag_ok(t->tag, tag_len) ||
	    !hs_id_valid(t->id.s, strnlen(t->id.s, sizeof t->id.s), kinds[k].prefix))
		return false;
	char secret[SECRET_TEXT_LEN + 1], check[CHECK_LEN + 1];
	hs_base32(t->secret, sizeof t->secret, secret);
	int n = snprintf(ret, HS_TOKEN_TEXT_MAX + 1, "%s_%s_%s_%s", kinds[k].text, t->tag, t->id.s + HS_ID_PREFIX_MAX, secret);
	check_of(ret, (size_t)n, check);
	(void)snprintf(ret + n, HS_TOKEN_TEXT_MAX + 1 - (size_t)n, "_%s", check); /* sized by HS_TOKEN_TEXT_MAX */
	sodium_memzero(secret, sizeof secret);
	return true;
}

struct parts {
	size_t kind;
	const char *tag, *id, *secret;
	size_t tag_len;
};

static bool take_apart(const char *s, size_t n, struct parts *ret)
{
	const size_t rest = ID_LEN + SECRET_TEXT_LEN + CHECK_LEN + SEPARATORS + KIND_LEN;
	if (n <= rest || n > HS_TOKEN_TEXT_MAX)
		return false;
	struct parts p = {.tag = s + KIND_LEN + 1, .tag_len = n - rest};
	while (p.kind < HS_ARRAY_LEN(kinds) && strncmp(s, kinds[p.kind].text, KIND_LEN) != 0)
		p.kind++;
	p.id = p.tag + p.tag_len + 1;
	p.secret = p.id + ID_LEN + 1;
	const char *check = p.secret + SECRET_TEXT_LEN + 1;
	if (p.kind == HS_ARRAY_LEN(kinds) || p.tag[-1] != '_' || p.id[-1] != '_' || p.secret[-1] != '_' || check[-1] != '_' ||
	    !tag_ok(p.tag, p.tag_len))
		return false;
	char expected[CHECK_LEN + 1];
	check_of(s, n - CHECK_LEN - 1, expected);
	if (sodium_memcmp(expected, check, CHECK_LEN) != 0)
		return false;
	*ret = p;
	return true;
}

bool hs_token_parse(const char *s, size_t n, struct hs_bearer *ret)
{
	struct parts p;
	if (!take_apart(s, n, &p))
		return false;
	struct hs_bearer t = {.kind = kinds[p.kind].kind};
	uint8_t raw_id[16];
	memcpy(t.tag, p.tag, p.tag_len);
	memcpy(t.id.s, kinds[p.kind].prefix, HS_ID_PREFIX_MAX);
	memcpy(t.id.s + HS_ID_PREFIX_MAX, p.id, ID_LEN);
	bool ok = hs_base32_decode(p.id, ID_LEN, raw_id, sizeof raw_id) &&
		  hs_base32_decode(p.secret, SECRET_TEXT_LEN, t.secret, sizeof t.secret);
	if (ok)
		*ret = t;
	hs_token_wipe(&t);
	return ok;
}

bool hs_token_peek(const char *s, size_t n, char ret_tag[static HS_TOKEN_TAG_MAX + 1])
{
	struct parts p;
	if (!take_apart(s, n, &p))
		return false;
	memcpy(ret_tag, p.tag, p.tag_len);
	ret_tag[p.tag_len] = '\0';
	return true;
}
