/* Python's "..." % values, for the conversions that templates use: %s %r %d %i %f %x %%, with flags, width and precision. */
#include <math.h>
#include <string.h>

#include "inference/template/value.h"

#define WIDTH_MAX 256

struct spec {
	bool left, zero, plus;
	int width, precision; /* -1: not given */
	char kind;
};

static size_t take_number(const struct hs_ttext *t, size_t at, int *ret)
{
	for (*ret = 0; at < t->len && t->s[at] >= '0' && t->s[at] <= '9'; at++)
		*ret = HS_MIN(*ret * 10 + (t->s[at] - '0'), WIDTH_MAX + 1);
	return at;
}

static size_t take_spec(const struct hs_ttext *t, size_t at, struct spec *ret)
{
	*ret = (struct spec){.width = -1, .precision = -1};
	for (; at < t->len && strchr("-0+", t->s[at]) && t->s[at]; at++) {
		ret->left |= t->s[at] == '-';
		ret->zero |= t->s[at] == '0';
		ret->plus |= t->s[at] == '+';
	}
	if (at < t->len && t->s[at] >= '1' && t->s[at] <= '9')
		at = take_number(t, at, &ret->width);
	if (at < t->len && t->s[at] == '.')
		at = take_number(t, at + 1, &ret->precision);
	ret->kind = at < t->len ? t->s[at] : '\0';
	return at + 1;
}

static void put_spaces(struct hs_render *r, struct hs_tbuilder *b, int n)
{
	for (; n > 0; n--)
		hs_tb_put(r, b, " ", 1, 0);
}

static void put_string(struct hs_render *r, struct hs_tbuilder *b, const struct spec *s, const struct hs_tvalue *v)
{
	struct hs_tbuilder made = {0};
	if (s->kind == 'r')
		hs_t_put_repr(r, &made, v);
	else
		hs_t_put_str(r, &made, v);
	const struct hs_ttext *t = hs_tb_text(r, &made);
	if (s->precision >= 0)
		t = hs_tt_slice(r, t, 0, hs_tt_offset(t, (size_t)s->precision));
	int missing = s->width - (int)HS_MIN(hs_tt_chars(r, t), (size_t)WIDTH_MAX);
	put_spaces(r, b, s->left ? 0 : missing);
	hs_tb_put_text(r, b, t);
	put_spaces(r, b, s->left ? missing : 0);
}

static void put_number(struct hs_render *r, struct hs_tbuilder *b, const struct spec *s, const struct hs_tvalue *v)
{
	char format[16], out[WIDTH_MAX * 2 + 400];
	int64_t i;
	if (!hs_t_is_number(v) || (s->kind == 'x' && !hs_t_whole(v, &i))) {
		hs_t_fail(r, "%%%c wants a number, not %s", s->kind, hs_t_kind_name(v));
		return;
	}
	(void)snprintf(format, sizeof format, "%%%s%s%s*.*%s%c", s->left ? "-" : "", s->zero ? "0" : "", s->plus ? "+" : "",
		       s->kind == 'f' ? "" : "ll", s->kind == 'i' ? 'd' : s->kind); /* fits */
	int n;
	if (s->kind == 'f') {
		n = snprintf(out, sizeof out, format, HS_MAX(s->width, 0), s->precision, hs_t_number(v));
	} else {
		double d = hs_t_number(v);
		if (!hs_t_whole(v, &i) && !(fabs(d) < 9e18)) {
			hs_t_fail(r, "a number is too large");
			return;
		}
		i = hs_t_whole(v, &i) ? i : (int64_t)d;
		n = snprintf(out, sizeof out, format, HS_MAX(s->width, 0), s->precision, (long long)i);
	}
	hs_tb_put(r, b, out, HS_MIN((size_t)HS_MAX(n, 0), sizeof out - 1), v->kind == HS_T_BOOL ? 0 : v->source);
}

struct hs_tvalue hs_t_percent(struct hs_render *r, const struct hs_ttext *format, const struct hs_tvalue *arg)
{
	const struct hs_tvalue *args = arg->kind == HS_T_LIST && arg->list->tuple ? arg->list->v : arg;
	size_t n_args = args == arg ? 1 : arg->list->n, next = 0, from = 0;
	struct hs_tbuilder b = {0};
	struct spec s;
	for (size_t at = 0; at < format->len && hs_t_step(r, 1);) {
		if (format->s[at] != '%') {
			at++;
			continue;
		}
		hs_tb_put_slice(r, &b, format, from, at);
		from = at = take_spec(format, at + 1, &s);
		if (s.kind == '%') {
			hs_tb_put(r, &b, "%", 1, hs_tt_source_at(format, at - 1));
			continue;
		}
		if (!strchr("srdifx", s.kind) || !s.kind || s.width > WIDTH_MAX || s.precision > WIDTH_MAX)
			return hs_t_fail(r, "%% knows %%s %%r %%d %%i %%f and %%x only");
		if (next >= n_args)
			return hs_t_fail(r, "%% has too few values");
		const struct hs_tvalue *v = &args[next++];
		if (strchr("sr", s.kind))
			put_string(r, &b, &s, v);
		else
			put_number(r, &b, &s, v);
	}
	hs_tb_put_slice(r, &b, format, HS_MIN(from, format->len), format->len);
	if (next < n_args && args != arg)
		return hs_t_fail(r, "%% has too many values");
	return hs_tb_value(r, &b);
}
