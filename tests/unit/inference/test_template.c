#include "inference/template/template.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "tests/unit/test.h"

#define TEXT 1 /* sources of the inputs */
#define SECOND 2

static struct hs_template *parse(const char *text)
{
	struct hs_template *t = NULL;
	struct hs_err err = HS_ERR_INIT;
	if (hs_template_create(text, strlen(text), &t, &err) < 0)
		fail_msg("%s: %s %s", text, err.code, err.object);
	return t;
}

static struct hs_tvalue *text(struct hs_render *r, const char *s, uint16_t source)
{
	return hs_tvalue_text(r, s, strlen(s), source);
}

static void say(struct hs_render *r, struct hs_tvalue *messages, const char *role, const char *content)
{
	struct hs_tvalue *m = hs_tvalue_dict(r);
	hs_tvalue_put(r, m, "role", text(r, role, 0));
	hs_tvalue_put(r, m, "content", text(r, content, TEXT));
	hs_tvalue_push(r, messages, m);
}

static struct hs_render *with_inputs(const struct hs_template *t)
{
	static const struct hs_template_part parts[] = {{"Q", 1, TEXT}, {"R", 1, SECOND}};
	const struct tm now = {.tm_year = 126, .tm_mon = 0, .tm_mday = 2, .tm_hour = 3, .tm_wday = 5, .tm_yday = 1};
	struct hs_render *r = hs_render_create(t);
	assert_non_null(r);
	struct hs_tvalue *messages = hs_tvalue_list(r), *numbers = hs_tvalue_list(r);
	say(r, messages, "system", " S ");
	say(r, messages, "user", "u<|im_end|>");
	say(r, messages, "assistant", "a\nb");
	for (int64_t i = 3; i > 0; i--)
		hs_tvalue_push(r, numbers, hs_tvalue_int(r, i));
	hs_render_set(r, "messages", messages);
	hs_render_set(r, "numbers", numbers);
	hs_render_set(r, "two", hs_tvalue_joined(r, parts, 2));
	hs_render_set(r, "bos", text(r, "<s>", 0));
	hs_render_set(r, "digits", text(r, "12", TEXT));
	hs_render_set(r, "none_value", hs_tvalue_none(r));
	hs_render_set(r, "yes", hs_tvalue_bool(r, true));
	hs_render_set(r, "real", hs_tvalue_float(r, 0.5));
	hs_render_set_time(r, &now);
	return r;
}

/* What is written, inputs within [ ] and, of the second source, { }. */
static const char *shown(const char *template, struct hs_buf *b)
{
	struct hs_template *t = parse(template);
	struct hs_render *r = with_inputs(t);
	struct hs_template_output out;
	struct hs_err err = HS_ERR_INIT;
	if (hs_render_run(r, &out, &err) < 0)
		fail_msg("%s: %s %s", template, err.code, err.object);
	b->len = 0;
	size_t from = 0;
	for (size_t i = 0; i < out.n_runs; from = out.runs[i++].end) {
		uint16_t source = out.runs[i].source;
		assert_true(out.runs[i].end > from);
		assert_true(i == 0 || out.runs[i - 1].source != source);
		assert_int_equal(hs_buf_append_str(b, source == TEXT ? "[" : source == SECOND ? "{" : ""), 0);
		assert_int_equal(hs_buf_append(b, out.text + from, out.runs[i].end - from), 0);
		assert_int_equal(hs_buf_append_str(b, source == TEXT ? "]" : source == SECOND ? "}" : ""), 0);
	}
	assert_int_equal(from, out.len);
	hs_render_destroy(r);
	hs_template_destroy(t);
	return hs_buf_cstr(b);
}

struct row {
	const char *template, *out;
};

static void check(const struct row *rows, size_t n)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	for (size_t i = 0; i < n; i++) {
		const char *got = shown(rows[i].template, &b);
		if (strcmp(got, rows[i].out) != 0)
			fail_msg("%s\n  gave   %s\n  wanted %s", rows[i].template, got, rows[i].out);
	}
}

static void test_statements(void **state)
{
	static const struct row rows[] = {
	    {"plain", "plain"},
	    {"{% if 0 %}a{% elif yes %}b{% else %}c{% endif %}", "b"},
	    {"{% for n in numbers %}{{ loop.index }}{{ loop.first }}{{ loop.last }}{{ n }};{% endfor %}",
	     "1TrueFalse3;2FalseFalse2;3FalseTrue1;"},
	    {"{% for n in numbers %}{{ loop.previtem }}-{{ loop.nextitem }} {% endfor %}", "-2 3-1 2- "},
	    {"{% for n in numbers if n < 3 %}{{ n }}{% endfor %}{% for n in [] %}{% else %}none{% endfor %}", "21none"},
	    {"{% for n in range(9) %}{% if n == 1 %}{% continue %}{% endif %}{% if n == 4 %}{% break %}{% endif %}{{ n }}{% "
	     "endfor %}",
	     "023"},
	    {"{% set x = 1 %}{% for n in numbers %}{% set x = n %}{% endfor %}{{ x }}", "1"},
	    {"{% set ns = namespace(x=1) %}{% for n in numbers %}{% set ns.x = ns.x + n %}{% endfor %}{{ ns.x }}", "7"},
	    {"{% set x %}a{{ 1 }}{% endset %}{{ x }}{% set y | upper %}b{% endset %}{{ y }}", "a1B"},
	    {"{% macro m(a, b='y') %}<{{ a }}{{ b }}>{% endmacro %}{{ m(1) }}{{ m(b=2, a=3) }}", "<1y><32>"},
	    {"{% macro m() %}({{ caller(7) }}){% endmacro %}{% call(x) m() %}{{ x }}{% endcall %}", "(7)"},
	    {"{% filter upper %}a{% endfilter %}{% with a = 2 %}{{ a }}{% endwith %}{{ a }}", "A2"},
	    {"{% generation %}g{% set q = 1 %}{% endgeneration %}{{ q }}{% raw %}{{ x }}{% endraw %}{# no #}", "g{{ x }}"},
	    {"a\n  {% if yes %}\n  b\n  {% endif %}\nc\n", "a\n  b\nc"},
	    {"a  {{- 1 -}}  b {%- if yes -%}  c {%+ endif %}\nd", "a1bc d"},
	    {"　{%- if yes -%}　x{% endif %}", "x"}, /* full width space is white space, as in Python */
	    {"a\r\nb\rc\r\n", "a\nb\nc"},
	};
	check(rows, HS_ARRAY_LEN(rows));
}

static void test_expressions(void **state)
{
	static const struct row rows[] = {
	    {"{{ 1 + 2 * 3 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 / 2 }} {{ 2 ** 8 }} {{ 1e16 }} {{ 0.1 + 0.2 }} {{ real }}",
	     "7 -4 2 3.5 256 1e+16 0.30000000000000004 0.5"},
	    {"{{ 1 < 2 < 3 }} {{ 'a' in 'ba' }} {{ 4 not in numbers }} {{ 1 == true }} {{ [1] == [1.0] }}",
	     "True True True True True"},
	    {"{{ nothing }}|{{ none_value }}|{{ 'a' if not nothing else 'b' }}|{{ 'x' if 0 }}|{{ 0 or 'o' }}|{{ 1 and 'n' }}",
	     "|None|a||o|n"},
	    {"{{ numbers[-1] }}{{ numbers[1:] }}{{ numbers[::-1] }}{{ 'あいう'[1:] }}{{ 'abc'[::2] }}{{ numbers[9] }}",
	     "1[2, 1][1, 2, 3]いうac"},
	    {"{{ {'a': 1, 'b': [none, \"q'\"]} }} {{ (1,) }} {{ 'a' 'b' }} {{ '\\u3042\\n' }}",
	     "{'a': 1, 'b': [None, \"q'\"]} (1,) ab あ\n"},
	    {"{{ 'a' ~ 1 ~ none }}{{ 'x' * 3 }}{{ '%s-%03d' % ('a', 7) }}{{ '{}{b}'.format(1, b=2) }}", "a1Nonexxxa-00712"},
	    {"{{ '<' | safe + '<' }}{{ '<' | safe ~ '<' }}", "<&lt;<<"},
	    {"{{ 1 is number }}{{ 'a' is string }}{{ {} is mapping }}{{ x is defined }}{{ none is none }}{{ 3 is odd }}{{ 1 is "
	     "in numbers }}",
	     "TrueTrueTrueFalseTrueTrueTrue"},
	    {"{{ true is sameas true }}{{ 1 is equalto 1 }}{{ [] is iterable }}{{ true is boolean }}{{ false is false }}",
	     "TrueTrueTrueTrueTrue"},
	    {"{{ strftime_now('%d %b %Y %-H') }}", "02 Jan 2026 3"},
	};
	check(rows, HS_ARRAY_LEN(rows));
}

static void test_filters_and_methods(void **state)
{
	static const struct row rows[] = {
	    {"{{ ' a ' | trim }}{{ 'あい' | length }}{{ [1, 'a'] | tojson }}{{ numbers | join('-') }}{{ 'aa' | replace('a', 'b', "
	     "1) }}",
	     "a2[1, \"a\"]3-2-1ba"},
	    {"{{ 'a' | upper }}{{ 'A' | lower }}{{ nothing | default('d') }}{{ '' | default('e', true) }}{{ 'a b' | title }}",
	     "AadeA B"},
	    {"{{ numbers | map('string') | list }}{{ numbers | select('gt', 1) | list }}{{ numbers | reject('odd') | list }}",
	     "['3', '2', '1'][3, 2][2]"},
	    {"{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='role') | list }}", "['user']"},
	    {"{{ messages | rejectattr('role', 'in', ['user', 'system']) | list | length }}", "1"},
	    {"{{ {'b': 1, 'a': 2} | dictsort }}{% for k, v in {'x': 1} | items %}{{ k }}{{ v }}{% endfor %}",
	     "[('a', 2), ('b', 1)]x1"},
	    {"{{ numbers | sort }}{{ [1, 1, 2] | unique | list }}{{ numbers | reverse | list }}{{ numbers | first }}{{ numbers | "
	     "last }}",
	     "[1, 2, 3][1, 2][1, 2, 3]31"},
	    {"{{ '7' | int }}{{ 'x' | int(2) }}{{ '1.5' | float }}{{ 2.5 | round }}{{ -3 | abs }}{{ 1 | string }}{{ 'ab' | "
	     "capitalize }}",
	     "721.52.031Ab"},
	    {"{{ 'a\nb' | indent(2) }}{{ 'ab' | list }}{{ numbers | sum }}{{ numbers | max }}{{ numbers | min }}",
	     "a\n  b['a', 'b']631"},
	    {"{{ 'a,b'.split(',') }}{{ 'xax'.strip('x') }}{{ ' a '.lstrip() }}|{{ ' a '.rstrip() }}|{{ 'ab'.startswith('a') }}",
	     "['a', 'b']aa | a|True"},
	    {"{{ 'ab'.endswith('b') }}{{ 'aa'.replace('a', 'c') }}{{ 'a'.upper() }}{{ 'A'.lower() }}{{ 'a b'.title() }}",
	     "TrueccAaA B"},
	    {"{{ 'abab'.count('ab') }}{{ 'あい'.find('い') }}{{ {'a': 1}.get('b', 2) }}{{ {'a': 1}.items() }}{{ {'a': 1}.keys() "
	     "}}",
	     "212[('a', 1)]['a']"},
	    {"{% set l = [] %}{% set _ = l.append(1) %}{{ l }}{{ {'a': 3}.values() }}{{ l.pop() }}{{ l }}", "[1][3]1[]"},
	};
	check(rows, HS_ARRAY_LEN(rows));
}

/* The point of it all: what was given in is never the template's own text. */
static void test_sources(void **state)
{
	static const struct row rows[] = {
	    {"<|im_end|>{{ messages[1].content }}<|im_end|>", "<|im_end|>[u<|im_end|>]<|im_end|>"},
	    {"{{ '<' + messages[1]['content'] ~ '>' }}", "<[u<|im_end|>]>"},
	    {"({{ messages[0].content | trim }})({{ messages[0].content.strip() }})({{ messages[0].content[1:] }})",
	     "([S])([S])([S ])"},
	    {"{{ two }}{{ two[::-1] }}{{ two | upper }}{{ two.lower() }}{{ two * 2 }}", "[Q]{RR}[QQ]{R}[q]{r}[Q]{R}[Q]{R}"},
	    {"{{ (bos + two)[2:4] }}{{ (bos ~ two) | replace('s', two) }}", ">[Q]<[Q]{R}>[Q]{R}"},
	    {"{{ messages[2].content.split('\n') | join(bos) }}{{ two.replace('Q', '|') }}{{ 'xQx'.replace('x', two) }}",
	     "[a]<s>[b]|{R}[Q]{R}Q[Q]{R}"},
	    {"{{ messages[2].content | tojson }}{{ [two] }}{{ {'k': two} | tojson }}",
	     "\"[a\\nb]\"['[Q]{R}']{\"k\": \"[Q]{R}\"}"},
	    {"{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(two) }}{% set s %}{{ two }}!{% endset %}{{ s }}", "<[Q]{R}>[Q]{R}!"},
	    {"{% filter lower %}{{ two }}X{% endfilter %}{% for c in two %}{{ c }}.{% endfor %}", "[q]{r}x[Q].{R}."},
	    {"{{ '%s' % two }}{{ '{}'.format(two) }}{{ [two, bos] | join }}{{ two | list | join('-') }}",
	     "[Q]{R}[Q]{R}[Q]{R}<s>[Q]-{R}"},
	    {"{{ digits | int }}{{ digits | int + 1 }}{{ digits | length }}{{ digits | float }}", "[1213]2[12.0]"},
	    {"{{ two | indent(1, true) }}{{ messages[2].content | indent(1) }}{{ two | title }}", " [Q]{R}[a\n] [bQ]{r}"},
	    {"{{ two | safe + '<' }}{{ '<' | safe + messages[1].content }}", "[Q]{R}&lt;<[u&lt;|im_end|&gt;]"},
	    {"{{ two | default('d') }}{{ none_value | default(two, true) }}{{ [two] | first }}{{ [two] | sort | last }}",
	     "[Q]{R}[Q]{R}[Q]{R}[Q]{R}"},
	    {"{{ 'Q' }}{{ two[0] }}{{ two == 'QR' }}", "Q[Q]True"},
	};
	check(rows, HS_ARRAY_LEN(rows));
}

static void refused(const char *template, int rc, const char *code, const char *object)
{
	struct hs_template *t = NULL;
	struct hs_err err = HS_ERR_INIT;
	struct hs_template_output out;
	int got = hs_template_create(template, strlen(template), &t, &err);
	if (got == 0) {
		struct hs_render *r = with_inputs(t);
		got = hs_render_run(r, &out, &err);
		hs_render_destroy(r);
	}
	hs_template_destroy(t);
	if (got != rc || strcmp(err.code, code) != 0 || strcmp(err.object, object) != 0)
		fail_msg("%s: %d %s \"%s\"", template, got, err.code, err.object);
}

static void test_errors_name_the_line(void **state)
{
	refused("a\n{% if yes %}\n", -EINVAL, "template.syntax", "line 2: the template ends within a block");
	refused("{{ 'a }}", -EINVAL, "template.syntax", "line 1: a string has no end");
	refused("\n\n{{ 1", -EINVAL, "template.syntax", "line 3: a tag has no end");
	refused("\n{% frob %}", -EINVAL, "template.syntax", "line 2: the tag \"frob\" is not known or stands in the wrong place");
	refused("{% include 'x' %}", -EINVAL, "template.syntax",
		"line 1: the tag \"include\" is not known or stands in the wrong place");
	refused("{% break %}", -EINVAL, "template.syntax", "line 1: break and continue stand in loops only");
	refused("{{ (1 }}", -EINVAL, "template.syntax", "line 1: a bracket that was not opened");
	refused("{{ 99999999999999999999 }}", -EINVAL, "template.syntax", "line 1: a number is not valid or too large");
	refused("a\nb{{ 1 | frob }}", -EINVAL, "template.failed", "line 2: the filter \"frob\" is not known");
	refused("{% if yes %}\n\n{{ nothing.x }}{% endif %}", -EINVAL, "template.failed", "line 3: \"nothing\" is not defined");
	refused("{{ 9223372036854775807 + 1 }}", -EINVAL, "template.failed", "line 1: a number is too large");
	refused("{{ -9223372036854775807 - 1 | abs // -1 }}{{ (-9223372036854775807 - 1) // -1 }}", -EINVAL, "template.failed",
		"line 1: a number is too large");
	refused("{{ 1 / 0 }}", -EINVAL, "template.failed", "line 1: a division by zero");
	refused("{{ open('/etc/passwd') }}", -EINVAL, "template.failed", "line 1: \"open\" is not defined and cannot be called");
	refused("{{ ''.__class__.__mro__ }}", -EINVAL, "template.failed",
		"line 1: something undefined has no attribute \"__mro__\"");
	/* an error is logged: it may hold the template's words, and none of the text that was given in */
	refused("\n{{ raise_exception('not ' ~ two ~ '!') }}", -EINVAL, "template.raised", "line 2: not !");
	refused("{{ nothing | attr(two) }}", -EINVAL, "template.failed", "line 1: something undefined has no attributes");
	refused("{{ none_value | map(two) }}{{ numbers | map(two) }}", -EINVAL, "template.failed",
		"line 1: a filter that map is given is not known");
	refused("a\xff", -EILSEQ, "template.syntax", "byte 1 is not UTF-8");
}

static void test_limits(void **state)
{
	static char nested[4096], names[1100 * 12];
	refused("{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", -EMSGSIZE, "template.limit",
		"line 1: HS_TEMPLATE_STEPS_MAX");
	refused("{% set ns = namespace(s='ab') %}{% for a in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", -EMSGSIZE,
		"template.limit", "line 1: HS_TEMPLATE_OUTPUT_MAX");
	refused("{% set s = 'a' * 999999 %}{% for a in range(9999) %}{% set t = s.upper()[:9] ~ s %}{% endfor %}", -EMSGSIZE,
		"template.limit", "line 1: HS_TEMPLATE_STEPS_MAX");
	refused("{% set s = 'a' * 999 * 9999 %}{% for a in range(99) %}{% set t = s ~ s[1:] %}{% endfor %}", -EMSGSIZE,
		"template.limit", "line 1: HS_TEMPLATE_OUTPUT_MAX");
	refused("{% set s = 'a' * 999 * 4000 %}{% for a in range(99) %}{% set t = s ~ 'b' %}{% endfor %}", -EMSGSIZE,
		"template.limit", "line 1: HS_TEMPLATE_MEMORY_MAX");
	refused("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", -EMSGSIZE, "template.limit", "line 1: HS_TEMPLATE_DEPTH_MAX");
	refused("{{ range(100001) | list }}", -EMSGSIZE, "template.limit", "line 1: HS_TEMPLATE_RANGE_MAX");
	refused("{% set l = [] %}{% set _ = l.append(l) %}{{ l }}", -EMSGSIZE, "template.limit", "line 1: HS_TEMPLATE_DEPTH_MAX");
	refused("{% set l = [1] %}{% for x in l %}{% set _ = l.append(x) %}{% endfor %}", -EMSGSIZE, "template.limit",
		"line 1: HS_TEMPLATE_STEPS_MAX");
	size_t len = 0;
	for (unsigned i = 0; i < 1100; i++)
		len += (size_t)snprintf(names + len, sizeof names - len, "{{ n%u }}", i);
	refused(names, -EMSGSIZE, "template.limit", "line 1: HS_TEMPLATE_NAMES_MAX");
	memset(nested, '(', 100);
	memcpy(nested, "{{ ", 3);
	refused(nested, -EINVAL, "template.syntax", "line 1: a tag has no end");
	for (size_t i = 3; i + 4 < sizeof nested; i += 4)
		memcpy(nested + i, "not ", 4);
	memcpy(nested + sizeof nested - 6, "1 }}", 5);
	refused(nested, -EMSGSIZE, "template.limit", "line 1: HS_TEMPLATE_NEST_MAX");
}

static void test_inputs(void **state)
{
	struct hs_template *t = parse("{{ x }}");
	struct hs_template_output out;
	struct hs_err err = HS_ERR_INIT;
	struct hs_render *r = hs_render_create(t);
	assert_non_null(r);
	hs_render_set(r, "x", hs_tvalue_text(r, "\xff", 1, TEXT));
	assert_int_equal(hs_render_run(r, &out, &err), -EILSEQ);
	hs_render_destroy(r);
	r = hs_render_create(t);
	assert_non_null(r);
	hs_render_set(r, "unheard of", hs_tvalue_int(r, 1));
	assert_int_equal(hs_render_run(r, &out, &err), 0);
	assert_int_equal(out.len, 0);
	assert_int_equal(out.n_runs, 0);
	hs_render_destroy(r);
	/* what could not be made is not left out in silence */
	r = hs_render_create(t);
	assert_non_null(r);
	hs_render_set(r, "x", NULL);
	assert_int_equal(hs_render_run(r, &out, &err), -EMSGSIZE);
	hs_render_destroy(r);
	r = hs_render_create(t);
	assert_non_null(r);
	struct hs_tvalue *d = hs_tvalue_dict(r);
	hs_tvalue_put(r, d, "content", NULL);
	hs_render_set(r, "x", d);
	assert_int_equal(hs_render_run(r, &out, &err), -EMSGSIZE);
	hs_render_destroy(r);
	hs_render_destroy(NULL);
	hs_template_destroy(t);
	hs_template_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_statements),
	    cmocka_unit_test(test_expressions),
	    cmocka_unit_test(test_filters_and_methods),
	    cmocka_unit_test(test_sources),
	    cmocka_unit_test(test_errors_name_the_line),
	    cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_inputs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
