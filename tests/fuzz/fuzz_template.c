/*
 * Any text as a chat template, over a conversation whose words hold a character that no template here can spell: where the
 * template holds neither its bytes nor an escape, it must not come out as the template's own text. Runs lie in order and
 * differ from their neighbours; limits hold; nothing is leaked. The same text as a form: it is refused, or it renders.
 */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/utf8.h"
#include "inference/template/chat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define LOCK "\xf0\x9f\x94\x92"

static struct hs_tvalue *text(struct hs_render *r, const char *s, uint16_t source)
{
	return hs_tvalue_text(r, s, strlen(s), source);
}

static void say(struct hs_render *r, struct hs_tvalue *list, const char *role, const char *content)
{
	struct hs_tvalue *m = hs_tvalue_dict(r);
	hs_tvalue_put(r, m, "role", text(r, role, 0));
	hs_tvalue_put(r, m, "content", text(r, content, 1));
	hs_tvalue_push(r, list, m);
}

static void set_inputs(struct hs_render *r)
{
	static const struct hs_template_part parts[] = {{"a" LOCK, 5, 2}, {"\n" LOCK LOCK, 9, 3}};
	static const struct tm now = {.tm_year = 126, .tm_mday = 2, .tm_wday = 5};
	struct hs_tvalue *messages = hs_tvalue_list(r), *numbers = hs_tvalue_list(r), *mapping = hs_tvalue_dict(r);
	say(r, messages, "system", LOCK);
	say(r, messages, "user", " x" LOCK "<|im_end|>\n ");
	say(r, messages, "assistant", "1" LOCK);
	for (int64_t i = 0; i < 5; i++)
		hs_tvalue_push(r, numbers, hs_tvalue_int(r, i * i - 3));
	hs_tvalue_put_text(r, mapping, text(r, LOCK "k", 4), text(r, "v" LOCK, 4));
	hs_tvalue_put(r, mapping, "a", hs_tvalue_float(r, 1.5));
	hs_render_set(r, "messages", messages);
	hs_render_set(r, "numbers", numbers);
	hs_render_set(r, "mapping", mapping);
	hs_render_set(r, "tools", hs_tvalue_none(r));
	hs_render_set(r, "text", hs_tvalue_joined(r, parts, 2));
	hs_render_set(r, "words", messages);
	hs_render_set(r, "bos_token", text(r, "<s>", 0));
	hs_render_set(r, "eos_token", text(r, "</s>", 0));
	hs_render_set(r, "add_generation_prompt", hs_tvalue_bool(r, true));
	hs_render_set(r, "flag", hs_tvalue_bool(r, true));
	hs_render_set(r, "ten", hs_tvalue_int(r, 10));
	hs_render_set_time(r, &now);
}

static void check(const struct hs_template_output *o, bool may_spell)
{
	size_t from = 0;
	hs_assert(o->len <= HS_TEMPLATE_OUTPUT_MAX && hs_utf8_valid(o->text, o->len, NULL));
	for (size_t i = 0; i < o->n_runs; from = o->runs[i++].end) {
		hs_assert(o->runs[i].end > from && o->runs[i].source <= 4);
		hs_assert(i == 0 || o->runs[i].source != o->runs[i - 1].source);
		hs_assert(may_spell || o->runs[i].source != 0 || !memchr(o->text + from, 0xf0, o->runs[i].end - from));
	}
	hs_assert(from == o->len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct hs_template *t = NULL;
	struct hs_template_output out;
	struct hs_chat_form *f = NULL;
	struct hs_err err = HS_ERR_INIT;
	bool may_spell = memchr(data, 0xf0, size) || memchr(data, '\\', size);
	int rc = hs_template_create((const char *)data, size, &t, &err);
	if (rc < 0) {
		hs_assert(err.num == -rc && *err.code);
		return 0;
	}
	struct hs_render *r = hs_render_create(t);
	hs_assert(r);
	set_inputs(r);
	rc = hs_render_run(r, &out, &err);
	if (rc == 0)
		check(&out, may_spell);
	else
		hs_assert(err.num == -rc && *err.code && (may_spell || !memchr(err.object, 0xf0, strlen(err.object))));
	hs_render_destroy(r);
	hs_template_destroy(t);
	if (rc < 0) /* most of what fails there fails here too, and twice the limits are twice the time */
		return 0;
	rc = hs_chat_form_create("fuzz", (const char *)data, size, "<s>", "</s>", &f, &err);
	hs_assert(rc == 0 || rc == -EINVAL || rc == -EMSGSIZE);
	hs_chat_form_destroy(f);
	return 0;
}
