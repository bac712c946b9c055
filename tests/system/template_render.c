/*
 * Renders templates for 25-templates.py: a JSON object a line in ({"template", "context", "time": seconds UTC}), a JSON object
 * a line out ({"runs": [[source, text], ...]} or {"error": code, "object": text}). Texts of the context are data, of source 1,
 * but for the roles of messages and the variables whose names end in "_token", which are the template's side. A line
 * {"builtins": true} is answered with {"name": template, ...}, the forms of our own; {"form": template} with what a form of
 * it writes around the assistant's turns ({"begin", "end"}), or why it is refused.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "inference/template/chat.h"

static struct hs_tvalue *value(struct hs_render *r, const json_t *j, uint16_t source)
{
	struct hs_tvalue *out;
	const char *key;
	json_t *member;
	size_t i;
	switch (json_typeof(j)) {
	case JSON_NULL:
		return hs_tvalue_none(r);
	case JSON_TRUE:
	case JSON_FALSE:
		return hs_tvalue_bool(r, json_is_true(j));
	case JSON_INTEGER:
		return hs_tvalue_int(r, json_integer_value(j));
	case JSON_REAL:
		return hs_tvalue_float(r, json_real_value(j));
	case JSON_STRING:
		return hs_tvalue_text(r, json_string_value(j), json_string_length(j), source);
	case JSON_ARRAY:
		out = hs_tvalue_list(r);
		json_array_foreach(j, i, member) hs_tvalue_push(r, out, value(r, member, source));
		return out;
	default:
		out = hs_tvalue_dict(r);
		json_object_foreach((json_t *)(uintptr_t)j, key, member) hs_tvalue_put_text(
		    r, out, hs_tvalue_text(r, key, strlen(key), source), value(r, member, strcmp(key, "role") == 0 ? 0 : source));
		return out;
	}
}

static json_t *failure(const struct hs_err *err)
{
	return json_pack("{s:s, s:s}", "error", err->code, "object", err->object);
}

static json_t *run(const struct hs_template *t, const json_t *ask)
{
	struct hs_render *r = hs_render_create(t);
	struct hs_template_output out;
	struct hs_err err = HS_ERR_INIT;
	const char *name;
	json_t *member, *ret, *runs = json_array();
	time_t seconds = (time_t)json_integer_value(json_object_get(ask, "time"));
	struct tm now;
	hs_assert(r && runs && gmtime_r(&seconds, &now));
	hs_render_set_time(r, &now);
	json_object_foreach(json_object_get(ask, "context"), name, member)
	{
		size_t n = strlen(name);
		bool own = n > 6 && strcmp(name + n - 6, "_token") == 0;
		hs_render_set(r, name, value(r, member, own ? 0 : 1));
	}
	if (hs_render_run(r, &out, &err) < 0) {
		ret = failure(&err);
	} else {
		size_t from = 0;
		for (size_t i = 0; i < out.n_runs; from = out.runs[i++].end)
			json_array_append_new(
			    runs, json_pack("[i, s%]", (int)out.runs[i].source, out.text + from, out.runs[i].end - from));
		ret = json_pack("{s:O}", "runs", runs);
	}
	json_decref(runs);
	hs_render_destroy(r);
	return ret;
}

static json_t *builtins(void)
{
	json_t *all = json_object();
	hs_assert(all);
	for (size_t i = 0; i < hs_chat_n_builtins; i++)
		json_object_set_new(all, hs_chat_builtins[i].name, json_string(hs_chat_builtins[i].text));
	return all;
}

static json_t *form(const json_t *text)
{
	struct hs_chat_form *f = NULL;
	struct hs_err err = HS_ERR_INIT;
	hs_assert(json_is_string(text));
	if (hs_chat_form_create("form", json_string_value(text), json_string_length(text), "<s>", "</s>", &f, &err) < 0)
		return failure(&err);
	json_t *ret = json_pack("{s:s, s:s}", "begin", hs_chat_form_turn_begin(f), "end", hs_chat_form_turn_end(f));
	hs_chat_form_destroy(f);
	return ret;
}

static json_t *answer_to(const json_t *ask)
{
	struct hs_err err = HS_ERR_INIT;
	struct hs_template *t = NULL;
	const json_t *text = json_object_get(ask, "template");
	if (json_object_get(ask, "builtins"))
		return builtins();
	if (json_object_get(ask, "form"))
		return form(json_object_get(ask, "form"));
	hs_assert(json_is_string(text));
	int rc = hs_template_create(json_string_value(text), json_string_length(text), &t, &err);
	json_t *answer = rc < 0 ? failure(&err) : run(t, ask);
	hs_template_destroy(t);
	return answer;
}

int main(void)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;
	while ((n = getline(&line, &cap, stdin)) > 0) {
		json_t *ask = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, NULL);
		hs_assert(ask);
		json_t *answer = answer_to(ask);
		hs_assert(answer && json_dumpf(answer, stdout, JSON_COMPACT) == 0 && putchar('\n') != EOF && fflush(stdout) == 0);
		json_decref(answer);
		json_decref(ask);
	}
	free(line);
	return 0;
}
