/* The functions that every template may call. */
#include <errno.h>
#include <string.h>

#include "base/utf8.h"
#include "inference/template/value.h"

static struct hs_tvalue dict_of(struct hs_render *r, const struct hs_tcall *c, enum hs_tkind kind)
{
	struct hs_tdict *d = hs_t_dict(r);
	if (!d)
		return HS_TUNDEFINED;
	if (c->n > 1 || (c->n == 1 && c->args[0].kind != HS_T_DICT))
		return hs_t_fail(r, "names with values, or one mapping, are wanted");
	for (size_t i = 0; c->n && i < c->args[0].dict->n; i++)
		hs_t_put(r, d, c->args[0].dict->v[i].key, c->args[0].dict->v[i].value);
	for (size_t i = 0; i < c->n_named; i++)
		hs_t_put(r, d, c->named[i].key, c->named[i].value);
	return (struct hs_tvalue){.kind = (uint8_t)kind, .dict = d};
}

static struct hs_tvalue namespace(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return dict_of(r, c, HS_T_NAMESPACE);
}

static struct hs_tvalue dict(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	return dict_of(r, c, HS_T_DICT);
}

static struct hs_tvalue range(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	int64_t v[3] = {0, 0, 1};
	struct hs_tlist *l = hs_t_list(r);
	if (c->n < 1 || c->n > 3 || c->n_named)
		return hs_t_fail(r, "range takes one to three integers");
	for (size_t i = 0; i < c->n; i++)
		if (!hs_t_whole(&c->args[i], &v[c->n == 1 ? 1 : i]))
			return hs_t_fail(r, "range takes integers, not %s", hs_t_kind_name(&c->args[i]));
	if (v[2] == 0)
		return hs_t_fail(r, "range with a step of zero");
	for (int64_t i = v[0]; l && (v[2] > 0 ? i < v[1] : i > v[1]) && r->rc == 0;) {
		if (l->n == HS_TEMPLATE_RANGE_MAX) {
			hs_t_limit(r, "HS_TEMPLATE_RANGE_MAX");
			break;
		}
		hs_t_push(r, l, hs_t_int(i, 0));
		if (__builtin_add_overflow(i, v[2], &i))
			break;
	}
	if (l)
		l->range = true;
	return hs_t_list_value(l);
}

/* The template's own words; what it quotes of its inputs is left out of the error. */
static struct hs_tvalue raise_exception(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	char own[160];
	size_t len = 0;
	const struct hs_ttext *t = hs_t_str(r, &a[0]);
	if (r->rc < 0)
		return HS_TUNDEFINED;
	for (size_t i = 0; i < t->len && len < sizeof own - 1; i++)
		if (hs_tt_source_at(t, i) == 0)
			own[len++] = t->s[i];
	own[hs_utf8_cut(own, len)] = '\0';
	r->rc = hs_fail(&r->err, EINVAL, "template.raised", HS_N_("the chat template does not accept these messages"),
			"line %u: %s", r->line, own);
	return HS_TUNDEFINED;
}

static bool put_time(struct hs_render *r, struct hs_tbuilder *b, char kind, bool bare)
{
	static const char *const days[] = {"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"};
	static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
					     "July",    "August",   "September", "October", "November", "December"};
	const struct tm *t = &r->time;
	const char *name = NULL;
	size_t n = 0;
	int value = 0, width = 2;
	char out[16];
	switch (kind) {
	case 'A':
	case 'a':
		name = days[(unsigned)t->tm_wday % 7];
		n = kind == 'a' ? 3 : strlen(name);
		break;
	case 'B':
	case 'b':
	case 'h':
		name = months[(unsigned)t->tm_mon % 12];
		n = kind == 'B' ? strlen(name) : 3;
		break;
	case 'p':
		name = t->tm_hour < 12 ? "AM" : "PM";
		n = 2;
		break;
	case '%':
		name = "%";
		n = 1;
		break;
	case 'Y':
		value = t->tm_year + 1900;
		width = 4;
		break;
	case 'y':
		value = t->tm_year % 100;
		break;
	case 'm':
		value = t->tm_mon + 1;
		break;
	case 'd':
		value = t->tm_mday;
		break;
	case 'H':
		value = t->tm_hour;
		break;
	case 'I':
		value = (t->tm_hour + 11) % 12 + 1;
		break;
	case 'M':
		value = t->tm_min;
		break;
	case 'S':
		value = t->tm_sec;
		break;
	case 'j':
		value = t->tm_yday + 1;
		width = 3;
		break;
	default:
		return false;
	}
	if (!name) {
		n = (size_t)snprintf(out, sizeof out, "%0*d", bare ? 1 : width, value);
		name = out;
	}
	hs_tb_put(r, b, name, n, 0);
	return true;
}

static struct hs_tvalue strftime_now(struct hs_render *r, const struct hs_tcall *c, const struct hs_tvalue *a)
{
	struct hs_tbuilder b = {0};
	if (a[0].kind != HS_T_TEXT || !r->has_time)
		return hs_t_fail(r, "strftime_now wants a format and a time");
	const struct hs_ttext *t = a[0].text;
	for (size_t i = 0; i < t->len && r->rc == 0; i++) {
		if (t->s[i] != '%') {
			hs_tb_put_slice(r, &b, t, i, i + 1);
			continue;
		}
		bool bare = i + 1 < t->len && t->s[i + 1] == '-';
		i += bare ? 2 : 1;
		if (i >= t->len || !put_time(r, &b, t->s[i], bare))
			return hs_t_fail(r, "strftime_now does not know this format");
	}
	return hs_tb_value(r, &b);
}

const struct hs_tcallable *hs_t_function(const char *name)
{
	static const struct hs_tcallable functions[] = {
	    {"namespace", "*", namespace},
	    {"dict", "*", dict},
	    {"range", "*", range},
	    {"raise_exception", "message", raise_exception},
	    {"strftime_now", "format", strftime_now},
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(functions); i++)
		if (strcmp(functions[i].name, name) == 0)
			return &functions[i];
	return NULL;
}
