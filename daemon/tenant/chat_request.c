#include "daemon/tenant/chat_request.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "daemon/messages.h"

/* A question of fewer characters than this is read together with the one before it. */
#define SHORT_QUESTION 8

static void free_text(char **text)
{
	if (*text)
		explicit_bzero(*text, strlen(*text));
	free(*text);
	*text = NULL;
}

void hs_chat_request_finish(struct hs_chat_request *r)
{
	free_text(&r->question);
	free_text(&r->search);
	free_text(&r->style);
	free_text(&r->model);
	free_text(&r->schema);
}

static void decref(json_t **j)
{
	json_decref(*j);
}

static int unsupported(struct hs_err *err, const char *name)
{
	return hs_fail(err, EINVAL, "request.unsupported_parameter",
		       HS_N_("This parameter, or this value of it, is not supported. Leave it out."), "%s", name);
}

static int bad_messages(struct hs_err *err, const char *what)
{
	return hs_fail(err, EINVAL, "request.messages", HS_N_("The last message must be the user's question, as text."), "%s", what);
}

/* Numbers that clients send at their defaults are let through at those defaults only. */
static bool is_number(const json_t *v, double expected)
{
	return json_is_null(v) || (json_is_number(v) && json_number_value(v) == expected);
}

static int take_number(const json_t *v, const char *name, double least, double most, double *ret, struct hs_err *err)
{
	if (json_is_null(v))
		return 0;
	if (!json_is_number(v) || json_number_value(v) < least || json_number_value(v) > most)
		return hs_fail(err, EINVAL, "request.parameter", HS_N_("The value is of the wrong type or out of range."), "%s", name);
	*ret = json_number_value(v);
	return 0;
}

static int take_bool(const json_t *v, const char *name, bool *ret, struct hs_err *err)
{
	if (json_is_null(v))
		return 0;
	if (!json_is_boolean(v))
		return hs_fail(err, EINVAL, "request.parameter", HS_N_("The value is of the wrong type or out of range."), "%s", name);
	*ret = json_is_true(v);
	return 0;
}

/* What OpenAI's API has no word for. */
static int take_extension(const json_t *v, struct hs_chat_request *r, struct hs_err *err)
{
	const char *name;
	json_t *value;
	if (json_is_null(v))
		return 0;
	if (!json_is_object(v))
		return unsupported(err, "hisho");
	json_object_foreach((json_t *)v, name, value) {
		const char *text = json_string_value(value);
		if (strcmp(name, "conversation") != 0)
			return unsupported(err, "hisho");
		if (json_is_null(value))
			continue;
		r->fresh = text && strcmp(text, "new") == 0;
		if (r->fresh)
			r->conversation = hs_id_new("cnv_");
		else if (text && hs_id_valid(text, json_string_length(value), "cnv_"))
			memcpy(r->conversation.s, text, HS_ID_LEN + 1);
		else
			return hs_fail(err, EINVAL, "request.parameter",
				       HS_N_("Give the id of one of your conversations, or new."), "hisho.conversation");
	}
	return 0;
}

static int unchecked(struct hs_err *err, const char *what)
{
	return hs_fail(err, EINVAL, "request.response_format",
		       HS_N_("A JSON answer has texts only, which are checked against the documents. Use a json_schema of strings."), "%s", what);
}

/* hisho-infer judges the schema: what it makes a grammar of has texts only. Names come from the client. */
static int take_format(json_t *v, struct hs_chat_request *r, struct hs_err *err)
{
	const char *type = json_string_value(json_object_get(v, "type"));
	if (json_is_null(v) || (type && strcmp(type, "text") == 0))
		return 0;
	if (type && strcmp(type, "json_object") == 0)
		return unchecked(err, "json_object"); /* its names would be the model's own words */
	const json_t *named = json_object_get(v, "json_schema"), *schema = json_object_get(named, "schema");
	if (!type || strcmp(type, "json_schema") != 0)
		return unsupported(err, "response_format");
	if (!json_is_object(schema))
		return unchecked(err, "json_schema");
	r->schema = json_dumps(schema, JSON_COMPACT);
	if (r->schema && strlen(r->schema) > HS_MSG_SCHEMA_MAX)
		return unchecked(err, "json_schema: more than 16 KiB");
	return r->schema ? 0 : -ENOMEM;
}

static int take_parameter(const char *name, json_t *v, struct hs_chat_request *r, struct hs_err *err)
{
	double number;
	int rc;
	if (strcmp(name, "model") == 0) {
		if (!json_is_string(v) || json_string_length(v) > 256)
			return hs_fail(err, EINVAL, "request.parameter", HS_N_("The value is of the wrong type or out of range."), "model");
		r->model = strdup(json_string_value(v));
		return r->model ? 0 : -ENOMEM;
	}
	if (strcmp(name, "hisho") == 0)
		return take_extension(v, r, err);
	if (strcmp(name, "stream") == 0)
		return take_bool(v, name, &r->stream, err);
	if (strcmp(name, "stream_options") == 0) {
		if (json_is_null(v))
			return 0;
		if (!json_is_object(v))
			return unsupported(err, name);
		const char *key;
		json_t *option;
		json_object_foreach(v, key, option) {
			if (strcmp(key, "include_usage") != 0)
				return unsupported(err, "stream_options");
			rc = take_bool(option, "stream_options.include_usage", &r->include_usage, err);
			if (rc < 0)
				return rc;
		}
		return 0;
	}
	if (strcmp(name, "max_tokens") == 0 || strcmp(name, "max_completion_tokens") == 0) {
		number = r->max_tokens;
		rc = take_number(v, name, 1, 1e9, &number, err);
		r->max_tokens = (uint32_t)HS_MIN(number, (double)HS_ANSWER_TOKENS_MAX);
		return rc;
	}
	if (strcmp(name, "temperature") == 0) {
		number = r->temperature;
		rc = take_number(v, name, 0, 2, &number, err);
		r->temperature = (float)number;
		return rc;
	}
	if (strcmp(name, "top_p") == 0) {
		number = r->top_p;
		rc = take_number(v, name, 0.001, 1, &number, err);
		r->top_p = (float)number;
		return rc;
	}
	if (strcmp(name, "seed") == 0) {
		if (!json_is_null(v) && !json_is_integer(v))
			return hs_fail(err, EINVAL, "request.parameter", HS_N_("The value is of the wrong type or out of range."), "seed");
		r->seed = (uint64_t)json_integer_value(v);
		return 0;
	}
	if (strcmp(name, "n") == 0)
		return is_number(v, 1) ? 0 : unsupported(err, name);
	if (strcmp(name, "presence_penalty") == 0 || strcmp(name, "frequency_penalty") == 0)
		return is_number(v, 0) ? 0 : unsupported(err, name);
	if (strcmp(name, "response_format") == 0)
		return take_format(v, r, err);
	if (strcmp(name, "user") == 0 || strcmp(name, "messages") == 0)
		return 0; /* "user" names the client's own user: our principal comes from the credential */
	return json_is_null(v) ? 0 : unsupported(err, name);
}

/* The text of a message: a string, or parts of type text. */
static int take_content(const json_t *content, struct hs_buf *out, struct hs_err *err)
{
	if (json_is_string(content))
		return hs_buf_append(out, json_string_value(content), json_string_length(content));
	if (!json_is_array(content))
		return bad_messages(err, "content");
	size_t i;
	json_t *part;
	json_array_foreach(content, i, part) {
		const char *type = json_string_value(json_object_get(part, "type"));
		json_t *text = json_object_get(part, "text");
		if (!type || strcmp(type, "text") != 0 || !json_is_string(text))
			return unsupported(err, "messages.content");
		int rc = hs_buf_append(out, json_string_value(text), json_string_length(text));
		if (rc < 0)
			return rc;
	}
	return 0;
}

static char *take_text(struct hs_buf *b)
{
	const char *text = hs_buf_cstr(b);
	return text ? strdup(text) : NULL;
}

static int take_messages(const json_t *messages, struct hs_chat_request *r, struct hs_err *err)
{
	if (!json_is_array(messages) || json_array_size(messages) == 0 || json_array_size(messages) > HS_CHAT_MESSAGES_MAX)
		return bad_messages(err, "messages");
	HS_CLEANUP(hs_buf_wipe) struct hs_buf question = {.limit = HS_QUESTION_MAX};
	HS_CLEANUP(hs_buf_wipe) struct hs_buf previous = {.limit = HS_QUESTION_MAX};
	HS_CLEANUP(hs_buf_wipe) struct hs_buf style = {.limit = HS_STYLE_MAX};
	size_t i, last = json_array_size(messages) - 1;
	json_t *message;
	json_array_foreach(messages, i, message) {
		const char *role = json_string_value(json_object_get(message, "role"));
		if (!role)
			return bad_messages(err, "role");
		bool user = strcmp(role, "user") == 0;
		bool system = strcmp(role, "system") == 0 || strcmp(role, "developer") == 0;
		if (!user && !system && strcmp(role, "assistant") != 0)
			return unsupported(err, "messages.role");
		if (i == last && !user)
			return bad_messages(err, "role");
		if (!user && !system)
			continue; /* what was answered before is not evidence */
		struct hs_buf *into = system ? &style : i == last ? &question : &previous;
		if (into == &previous)
			previous.len = 0; /* only the turn just before the question counts */
		int rc = take_content(json_object_get(message, "content"), into, err);
		if (rc == -EMSGSIZE)
			return hs_fail(err, EINVAL, "request.too_long", HS_N_("The message is too long. Shorten it."), "%s", role);
		if (rc < 0)
			return rc;
	}
	r->question = take_text(&question);
	r->style = take_text(&style);
	if (!r->question || !r->style)
		return -ENOMEM;
	if (r->question[strspn(r->question, " \t\r\n")] == '\0')
		return bad_messages(err, "content");
	const char *before = hs_buf_cstr(&previous);
	return before ? hs_chat_request_follow(r, before) : -ENOMEM;
}

int hs_chat_request_follow(struct hs_chat_request *r, const char *previous)
{
	char *search = NULL;
	if (!*previous || !hs_question_refers_back(r->question))
		search = strdup(r->question);
	else if (asprintf(&search, "%s\n%s", previous, r->question) < 0)
		search = NULL;
	if (!search)
		return -ENOMEM;
	free_text(&r->search);
	r->search = search;
	return 0;
}

bool hs_question_refers_back(const char *question)
{
	static const char *const pointing[] = {"それ", "その", "そこ", "これ", "この", "あれ", "では", "じゃあ", "ほかに", "他に",
					       "さらに", "また", "もっと", "逆に", "and ", "what about", "how about", "it "};
	if (hs_utf8_count(question, strlen(question)) < SHORT_QUESTION)
		return true;
	for (size_t i = 0; i < HS_ARRAY_LEN(pointing); i++) {
		if (strncasecmp(question, pointing[i], strlen(pointing[i])) == 0)
			return true;
	}
	return false;
}

int hs_chat_request_parse(const void *json, size_t len, struct hs_chat_request *ret, struct hs_err *err)
{
	struct hs_chat_request r = {.max_tokens = HS_ANSWER_TOKENS_DEFAULT, .temperature = 0, .top_p = 1};
	json_error_t where;
	HS_CLEANUP(decref) json_t *root = json_loadb(json, len, JSON_REJECT_DUPLICATES, &where);
	if (!json_is_object(root))
		return hs_fail(err, EINVAL, "request.json", HS_N_("The body must be one JSON object in UTF-8."), "%s (line %d)",
			       root ? "not an object" : where.text, where.line);
	int rc = 0;
	const char *name;
	json_t *value;
	json_object_foreach(root, name, value) {
		rc = take_parameter(name, value, &r, err);
		if (rc < 0)
			break;
	}
	if (rc == 0 && r.schema && *r.conversation.s) /* a conversation keeps sentences, each under its own citation */
		rc = unsupported(err, "response_format in a conversation");
	if (rc == 0)
		rc = take_messages(json_object_get(root, "messages"), &r, err);
	if (rc == 0 && !r.model) {
		r.model = strdup("");
		rc = r.model ? 0 : -ENOMEM;
	}
	if (rc < 0) {
		hs_chat_request_finish(&r);
		return rc;
	}
	*ret = r;
	return 0;
}
