/* Tests: what may follow `is`. */
#include <string.h>

#include <unicode/uchar.h>

#include "base/utf8.h"
#include "inference/template/value.h"

#define TEST(name) static struct hs_tvalue name(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)

TEST(defined)
{
	return hs_t_bool(c->self.kind != HS_T_UNDEFINED);
}

TEST(undefined)
{
	return hs_t_bool(c->self.kind == HS_T_UNDEFINED);
}

TEST(none)
{
	return hs_t_bool(c->self.kind == HS_T_NONE);
}

TEST(boolean)
{
	return hs_t_bool(c->self.kind == HS_T_BOOL);
}

TEST(is_true)
{
	return hs_t_bool(c->self.kind == HS_T_BOOL && c->self.b);
}

TEST(is_false)
{
	return hs_t_bool(c->self.kind == HS_T_BOOL && !c->self.b);
}

TEST(integer)
{
	return hs_t_bool(c->self.kind == HS_T_INT);
}

TEST(is_float)
{
	return hs_t_bool(c->self.kind == HS_T_FLOAT);
}

TEST(number)
{
	return hs_t_bool(hs_t_is_number(&c->self));
}

TEST(string)
{
	return hs_t_bool(c->self.kind == HS_T_TEXT);
}

TEST(mapping)
{
	return hs_t_bool(c->self.kind == HS_T_DICT);
}

TEST(iterable)
{
	return hs_t_bool(c->self.kind == HS_T_UNDEFINED || c->self.kind == HS_T_TEXT || c->self.kind == HS_T_LIST ||
			 c->self.kind == HS_T_DICT);
}

TEST(sequence)
{
	return hs_t_bool(c->self.kind == HS_T_UNDEFINED || c->self.kind == HS_T_TEXT || c->self.kind == HS_T_DICT ||
			 (c->self.kind == HS_T_LIST && !c->self.list->lazy));
}

TEST(callable)
{
	return hs_t_bool(c->self.kind == HS_T_MACRO || c->self.kind == HS_T_FUNCTION || c->self.kind == HS_T_METHOD);
}

static struct hs_tvalue divided(struct hs_render *r, const struct hs_tvalue *v, int64_t by, int64_t rest)
{
	int64_t i;
	if (!hs_t_whole(v, &i) || by == 0)
		return hs_t_fail(r, "%s cannot be divided so", hs_t_kind_name(v));
	return hs_t_bool(by == -1 ? rest == 0 : (i % by != 0) == (rest != 0));
}

TEST(even)
{
	return divided(r, &c->self, 2, 0);
}

TEST(odd)
{
	return divided(r, &c->self, 2, 1);
}

TEST(divisibleby)
{
	int64_t by = 0;
	return hs_t_whole(&a[0], &by) ? divided(r, &c->self, by, 0) : hs_t_fail(r, "divisibleby wants an integer");
}

/* The same object: for what has no identity of its own, the same kind and value. */
TEST(sameas)
{
	const struct hs_tvalue *x = &c->self, *y = &a[0];
	if (x->kind != y->kind)
		return hs_t_bool(false);
	if (x->kind == HS_T_LIST || x->kind == HS_T_DICT)
		return hs_t_bool(x->list == y->list);
	return hs_t_bool(hs_t_equal(r, x, y));
}

TEST(eq)
{
	return hs_t_bool(hs_t_equal(r, &c->self, &a[0]));
}

TEST(ne)
{
	return hs_t_bool(!hs_t_equal(r, &c->self, &a[0]));
}

TEST(lt)
{
	return hs_t_bool(hs_t_compare(r, &c->self, &a[0]) < 0);
}

TEST(le)
{
	return hs_t_bool(hs_t_compare(r, &c->self, &a[0]) <= 0);
}

TEST(gt)
{
	return hs_t_bool(hs_t_compare(r, &c->self, &a[0]) > 0);
}

TEST(ge)
{
	return hs_t_bool(hs_t_compare(r, &c->self, &a[0]) >= 0);
}

TEST(in)
{
	return hs_t_bool(hs_t_contains(r, &a[0], &c->self));
}

static struct hs_tvalue has_case(struct hs_render *r, const struct hs_tvalue *v, bool upper)
{
	const struct hs_ttext *t = hs_t_str(r, v);
	uint32_t cp;
	bool any = false;
	for (size_t at = 0, len; at < t->len && hs_t_step(r, 1); at += len) {
		if (!(len = hs_utf8_decode(t->s + at, t->len - at, &cp)))
			break;
		if (upper ? u_islower((UChar32)cp) : u_isupper((UChar32)cp))
			return hs_t_bool(false);
		any = any || u_islower((UChar32)cp) || u_isupper((UChar32)cp);
	}
	return hs_t_bool(any);
}

TEST(lower)
{
	return has_case(r, &c->self, false);
}

TEST(upper)
{
	return has_case(r, &c->self, true);
}

TEST(escaped)
{
	return hs_t_bool(c->self.kind == HS_T_TEXT && c->self.text->markup);
}

TEST(known_filter)
{
	return hs_t_bool(c->self.kind == HS_T_TEXT && hs_t_filter(c->self.text->s, c->self.text->len));
}

TEST(known_test)
{
	return hs_t_bool(c->self.kind == HS_T_TEXT && hs_t_test(c->self.text->s, c->self.text->len));
}

const struct hs_tcallable *hs_t_test(const char *s, size_t n)
{
	static const struct hs_tcallable tests[] = {
	    {"defined", "", defined},
	    {"undefined", "", undefined},
	    {"none", "", none},
	    {"boolean", "", boolean},
	    {"true", "", is_true},
	    {"false", "", is_false},
	    {"integer", "", integer},
	    {"float", "", is_float},
	    {"number", "", number},
	    {"string", "", string},
	    {"mapping", "", mapping},
	    {"iterable", "", iterable},
	    {"sequence", "", sequence},
	    {"callable", "", callable},
	    {"even", "", even},
	    {"odd", "", odd},
	    {"divisibleby", "num", divisibleby},
	    {"sameas", "other", sameas},
	    {"eq", "other", eq},
	    {"equalto", "other", eq},
	    {"==", "other", eq},
	    {"ne", "other", ne},
	    {"!=", "other", ne},
	    {"lt", "other", lt},
	    {"lessthan", "other", lt},
	    {"<", "other", lt},
	    {"le", "other", le},
	    {"<=", "other", le},
	    {"gt", "other", gt},
	    {"greaterthan", "other", gt},
	    {">", "other", gt},
	    {"ge", "other", ge},
	    {">=", "other", ge},
	    {"in", "seq", in},
	    {"lower", "", lower},
	    {"upper", "", upper},
	    {"escaped", "", escaped},
	    {"filter", "", known_filter},
	    {"test", "", known_test},
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(tests); i++)
		if (strlen(tests[i].name) == n && memcmp(tests[i].name, s, n) == 0)
			return &tests[i];
	return NULL;
}
