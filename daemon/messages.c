#include "daemon/messages.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* Encoders chain with `||`: the first failure stops them and is lost in a bool, so it is told as -EMSGSIZE. */
static int told(bool failed)
{
	return failed ? -EMSGSIZE : 0;
}

static bool put_slice(struct hs_buf *b, struct hs_slice v)
{
	return hs_put_str(b, v.s, v.len) < 0;
}

static struct hs_slice take_slice(struct hs_wire *w, size_t max)
{
	struct hs_slice v;
	v.s = hs_wire_str(w, max, &v.len);
	return v;
}

static bool take_bool(struct hs_wire *w)
{
	uint8_t v = hs_wire_u8(w);
	if (v > 1)
		w->failed = true;
	return v == 1;
}

static uint32_t take_enum(struct hs_wire *w, uint32_t least, uint32_t most)
{
	uint8_t v = hs_wire_u8(w);
	if (v < least || v > most)
		w->failed = true;
	return w->failed ? least : v;
}

static uint32_t take_count(struct hs_wire *w, uint32_t max)
{
	uint32_t n = hs_wire_u32(w);
	if (n > max)
		w->failed = true;
	return w->failed ? 0 : n;
}

static float take_finite(struct hs_wire *w)
{
	float v = hs_wire_f32(w);
	if (!isfinite(v))
		w->failed = true;
	return w->failed ? 0 : v;
}

static bool take_raw(struct hs_wire *w, uint8_t *out, size_t n)
{
	const uint8_t *p = hs_wire_bytes(w, n);
	if (p)
		memcpy(out, p, n);
	return p;
}

static int checked(const struct hs_wire *w)
{
	return hs_wire_done(w) ? 0 : -EPROTO;
}

int hs_put_hello(struct hs_buf *b, const struct hs_hello *v)
{
	return told(hs_put_u16(b, v->version_min) || hs_put_u16(b, v->version_max) || hs_put_u8(b, (uint8_t)v->role) ||
		    put_slice(b, v->name));
}

int hs_get_hello(const void *data, size_t len, struct hs_hello *ret)
{
	struct hs_wire w = hs_wire_over(data, len);
	ret->version_min = hs_wire_u16(&w);
	ret->version_max = hs_wire_u16(&w);
	ret->role = take_enum(&w, 1, HS_PROCESS_MAX);
	ret->name = take_slice(&w, HS_MSG_NAME_MAX);
	return checked(&w);
}

int hs_put_error(struct hs_buf *b, const struct hs_err *err)
{
	const char *hint = err->hint ? err->hint : "";
	return told(hs_put_u32(b, (uint32_t)err->num) || hs_put_str(b, err->code, strlen(err->code)) ||
		    hs_put_str(b, err->object, strlen(err->object)) || hs_put_str(b, hint, strlen(hint)));
}

int hs_get_error(const void *data, size_t len, struct hs_msg_error *ret)
{
	struct hs_wire w = hs_wire_over(data, len);
	ret->num = hs_wire_u32(&w);
	ret->code = take_slice(&w, sizeof((struct hs_err *)0)->code - 1);
	ret->object = take_slice(&w, sizeof((struct hs_err *)0)->object - 1);
	ret->hint = take_slice(&w, 1024);
	if (ret->num == 0 || ret->num > 4095)
		return -EPROTO;
	return checked(&w);
}

int hs_put_start(struct hs_buf *b, const struct hs_msg_start *v)
{
	int rc = hs_put_u32(b, v->count);
	for (uint32_t i = 0; i < v->count && rc == 0; i++)
		rc = put_slice(b, v->items[i]);
	return told(rc);
}

int hs_get_start(const void *data, size_t len, struct hs_msg_start *ret)
{
	struct hs_wire w = hs_wire_over(data, len);
	ret->count = take_count(&w, HS_MSG_ARGUMENTS_MAX);
	for (uint32_t i = 0; i < ret->count; i++) {
		ret->items[i] = take_slice(&w, HS_MSG_ARGUMENT_MAX);
		if (ret->items[i].len && memchr(ret->items[i].s, 0, ret->items[i].len))
			w.failed = true;
	}
	return checked(&w);
}

int hs_put_ready(struct hs_buf *b, const struct hs_msg_ready *v)
{
	return told(hs_put_u32(b, v->pid) || put_slice(b, v->url));
}

int hs_get_ready(const void *data, size_t len, struct hs_msg_ready *ret)
{
	struct hs_wire w = hs_wire_over(data, len);
	ret->pid = hs_wire_u32(&w);
	ret->url = take_slice(&w, HS_MSG_URL_MAX);
	for (size_t i = 0; i < ret->url.len; i++) { /* it becomes a line of a file */
		if ((unsigned char)ret->url.s[i] <= 0x20 || (unsigned char)ret->url.s[i] >= 0x7f)
			w.failed = true;
	}
	return checked(&w);
}

int hs_put_channel(struct hs_buf *b, enum hs_process role, struct hs_slice name)
{
	return told(hs_put_u8(b, (uint8_t)role) || put_slice(b, name));
}

int hs_get_channel(const void *data, size_t len, enum hs_process *ret_role, struct hs_slice *ret_name)
{
	struct hs_wire w = hs_wire_over(data, len);
	*ret_role = take_enum(&w, 1, HS_PROCESS_MAX);
	*ret_name = take_slice(&w, HS_MSG_NAME_MAX);
	return checked(&w);
}

static int put_head(struct hs_buf *b, const struct hs_msg_head *v)
{
	return hs_put_u64(b, v->seq) || hs_put_u64(b, (uint64_t)v->time) || hs_buf_append(b, v->chain, sizeof v->chain);
}

static bool take_head(struct hs_wire *w, struct hs_msg_head *ret)
{
	ret->seq = hs_wire_u64(w);
	ret->time = (int64_t)hs_wire_u64(w);
	return take_raw(w, ret->chain, sizeof ret->chain);
}

int hs_put_head(struct hs_buf *b, const struct hs_msg_head *v)
{
	return told(put_head(b, v));
}

int hs_get_head(const void *data, size_t len, struct hs_msg_head *ret)
{
	struct hs_wire w = hs_wire_over(data, len);
	return take_head(&w, ret) ? checked(&w) : -EPROTO;
}

int hs_put_key(struct hs_buf *b, const struct hs_msg_key *v)
{
	return told(hs_put_u32(b, v->generation) || hs_buf_append(b, v->db_uuid, sizeof v->db_uuid) ||
		    hs_buf_append(b, v->key, sizeof v->key) || hs_buf_append(b, v->signer, sizeof v->signer) ||
		    put_head(b, &v->head));
}

int hs_get_key(const void *data, size_t len, struct hs_msg_key *ret)
{
	struct hs_wire w = hs_wire_over(data, len);
	ret->generation = hs_wire_u32(&w);
	if (!take_raw(&w, ret->db_uuid, sizeof ret->db_uuid) || !take_raw(&w, ret->key, sizeof ret->key) ||
	    !take_raw(&w, ret->signer, sizeof ret->signer) || !take_head(&w, &ret->head))
		return -EPROTO;
	return checked(&w);
}

int hs_put_extract(struct hs_buf *b, struct hs_slice name, struct hs_slice media)
{
	return told(put_slice(b, name) || put_slice(b, media));
}

int hs_get_extract(const void *data, size_t len, struct hs_slice *ret_name, struct hs_slice *ret_media)
{
	struct hs_wire w = hs_wire_over(data, len);
	*ret_name = take_slice(&w, 1024);
	*ret_media = take_slice(&w, HS_MSG_NAME_MAX);
	return checked(&w);
}

int hs_put_http_request(struct hs_buf *b, const struct hs_msg_http_request *v)
{
	return told(put_slice(b, v->method) || put_slice(b, v->path) || put_slice(b, v->query) || put_slice(b, v->credential) ||
		    put_slice(b, v->content_type) || put_slice(b, v->accept_language) || put_slice(b, v->peer) ||
		    hs_put_u8(b, v->cookie) || hs_put_u8(b, v->same_origin) || hs_put_u8(b, v->has_body) ||
		    hs_put_u64(b, v->content_length));
}

int hs_get_http_request(const void *data, size_t len, struct hs_msg_http_request *ret)
{
	struct hs_wire w = hs_wire_over(data, len);
	ret->method = take_slice(&w, 16);
	ret->path = take_slice(&w, HS_MSG_PATH_MAX);
	ret->query = take_slice(&w, HS_MSG_PATH_MAX);
	ret->credential = take_slice(&w, HS_MSG_CREDENTIAL_MAX);
	ret->content_type = take_slice(&w, HS_MSG_NAME_MAX);
	ret->accept_language = take_slice(&w, HS_MSG_NAME_MAX);
	ret->peer = take_slice(&w, 64);
	ret->cookie = take_bool(&w);
	ret->same_origin = take_bool(&w);
	ret->has_body = take_bool(&w);
	ret->content_length = hs_wire_u64(&w);
	return checked(&w);
}

int hs_put_http_response(struct hs_buf *b, const struct hs_msg_http_response *v)
{
	hs_assert(v->n_headers <= HS_MSG_HEADERS_MAX);
	bool failed = hs_put_u16(b, v->status) || hs_put_u8(b, v->stream) || hs_put_u32(b, v->n_headers);
	for (uint32_t i = 0; i < v->n_headers && !failed; i++)
		failed = put_slice(b, v->headers[i].name) || put_slice(b, v->headers[i].value);
	return told(failed);
}

int hs_get_http_response(const void *data, size_t len, struct hs_msg_http_response *ret)
{
	struct hs_wire w = hs_wire_over(data, len);
	ret->status = hs_wire_u16(&w);
	ret->stream = take_bool(&w);
	ret->n_headers = take_count(&w, HS_MSG_HEADERS_MAX);
	for (uint32_t i = 0; i < ret->n_headers; i++) {
		ret->headers[i].name = take_slice(&w, HS_MSG_NAME_MAX);
		ret->headers[i].value = take_slice(&w, HS_MSG_PATH_MAX);
	}
	if (ret->status < 200 || ret->status > 599)
		return -EPROTO;
	return checked(&w);
}

int hs_put_embed(struct hs_buf *b, const struct hs_msg_embed *v)
{
	hs_assert(v->count <= HS_MSG_EMBED_MAX);
	bool failed = hs_put_u8(b, (uint8_t)v->kind) || hs_put_u32(b, v->count);
	for (uint32_t i = 0; i < v->count && !failed; i++)
		failed = put_slice(b, v->texts[i]);
	return told(failed);
}

int hs_get_embed(const void *data, size_t len, struct hs_msg_embed *ret)
{
	struct hs_wire w = hs_wire_over(data, len);
	ret->kind = take_enum(&w, HS_EMBED_QUERY, HS_EMBED_PASSAGE);
	ret->count = take_count(&w, HS_MSG_EMBED_MAX);
	for (uint32_t i = 0; i < ret->count; i++)
		ret->texts[i] = take_slice(&w, HS_MSG_TEXT_MAX);
	return checked(&w);
}

int hs_put_rerank(struct hs_buf *b, const struct hs_msg_rerank *v)
{
	hs_assert(v->count <= HS_MSG_RERANK_MAX);
	bool failed = put_slice(b, v->question) || hs_put_u32(b, v->count);
	for (uint32_t i = 0; i < v->count && !failed; i++)
		failed = put_slice(b, v->passages[i]);
	return told(failed);
}

int hs_get_rerank(const void *data, size_t len, struct hs_msg_rerank *ret)
{
	struct hs_wire w = hs_wire_over(data, len);
	ret->question = take_slice(&w, HS_MSG_TEXT_MAX);
	ret->count = take_count(&w, HS_MSG_RERANK_MAX);
	for (uint32_t i = 0; i < ret->count; i++)
		ret->passages[i] = take_slice(&w, HS_MSG_TEXT_MAX);
	return checked(&w);
}

int hs_put_generate(struct hs_buf *b, const struct hs_msg_generate *v)
{
	hs_assert(v->n_segments <= HS_MSG_SEGMENTS_MAX);
	bool failed = hs_put_u32(b, v->max_tokens) || hs_put_u32(b, v->prompt_budget) || hs_put_f32(b, v->temperature) ||
		      hs_put_f32(b, v->top_p) || hs_put_u32(b, v->top_k) || hs_put_u64(b, v->seed) ||
		      hs_buf_append(b, v->cache_key, sizeof v->cache_key) || hs_put_u8(b, (uint8_t)v->form) || put_slice(b, v->schema) ||
		      hs_put_u32(b, v->n_segments);
	for (uint32_t i = 0; i < v->n_segments && !failed; i++) {
		const struct hs_segment *s = &v->segments[i];
		failed = hs_put_u8(b, (uint8_t)s->role) || hs_put_u8(b, (uint8_t)s->kind) || hs_put_u8(b, (uint8_t)s->scope) ||
			 hs_put_u8(b, s->priority) || put_slice(b, s->text);
	}
	return told(failed);
}

int hs_get_generate(const void *data, size_t len, struct hs_msg_generate *ret)
{
	struct hs_wire w = hs_wire_over(data, len);
	ret->max_tokens = hs_wire_u32(&w);
	ret->prompt_budget = hs_wire_u32(&w);
	ret->temperature = take_finite(&w);
	ret->top_p = take_finite(&w);
	ret->top_k = hs_wire_u32(&w);
	ret->seed = hs_wire_u64(&w);
	(void)take_raw(&w, ret->cache_key, sizeof ret->cache_key); /* a failure is sticky */
	ret->form = take_enum(&w, HS_FORM_FREE, HS_FORM_SCHEMA);
	ret->schema = take_slice(&w, HS_MSG_SCHEMA_MAX);
	ret->n_segments = take_count(&w, HS_MSG_SEGMENTS_MAX);
	for (uint32_t i = 0; i < ret->n_segments; i++) {
		struct hs_segment *s = &ret->segments[i];
		s->role = take_enum(&w, HS_SEGMENT_SYSTEM, HS_SEGMENT_ASSISTANT);
		s->kind = take_enum(&w, HS_SEGMENT_INSTRUCTION, HS_SEGMENT_DATA);
		s->scope = take_enum(&w, HS_CACHE_NONE, HS_CACHE_USER);
		s->priority = hs_wire_u8(&w);
		s->text = take_slice(&w, HS_MSG_TEXT_MAX);
	}
	return checked(&w);
}

int hs_put_kept(struct hs_buf *b, const struct hs_msg_kept *v)
{
	hs_assert(v->n_segments <= HS_MSG_SEGMENTS_MAX);
	return told(hs_put_u32(b, v->prompt_tokens) || hs_put_u32(b, v->budget_tokens) || hs_put_f32(b, v->prefill_rate) ||
		    hs_put_u32(b, v->queue_position) || hs_put_u32(b, v->n_segments) ||
		    hs_buf_append(b, v->kept, v->n_segments));
}

int hs_get_kept(const void *data, size_t len, struct hs_msg_kept *ret)
{
	struct hs_wire w = hs_wire_over(data, len);
	ret->prompt_tokens = hs_wire_u32(&w);
	ret->budget_tokens = hs_wire_u32(&w);
	ret->prefill_rate = take_finite(&w);
	ret->queue_position = hs_wire_u32(&w);
	ret->n_segments = take_count(&w, HS_MSG_SEGMENTS_MAX);
	for (uint32_t i = 0; i < ret->n_segments; i++)
		ret->kept[i] = take_bool(&w);
	return checked(&w);
}

int hs_put_done(struct hs_buf *b, const struct hs_msg_done *v)
{
	return told(hs_put_u8(b, (uint8_t)v->reason) || hs_put_u32(b, v->prompt_tokens) || hs_put_u32(b, v->answer_tokens) ||
		    hs_put_u32(b, v->prefill_ms) || hs_put_u32(b, v->decode_ms) || hs_put_f32(b, v->mean_logprob) ||
		    hs_put_f32(b, v->least_logprob));
}

int hs_get_done(const void *data, size_t len, struct hs_msg_done *ret)
{
	struct hs_wire w = hs_wire_over(data, len);
	ret->reason = take_enum(&w, HS_DONE_END, HS_DONE_CANCELLED);
	ret->prompt_tokens = hs_wire_u32(&w);
	ret->answer_tokens = hs_wire_u32(&w);
	ret->prefill_ms = hs_wire_u32(&w);
	ret->decode_ms = hs_wire_u32(&w);
	ret->mean_logprob = take_finite(&w);
	ret->least_logprob = take_finite(&w);
	return checked(&w);
}

int hs_put_models(struct hs_buf *b, const struct hs_msg_models *v)
{
	hs_assert(v->count <= HS_MSG_MODELS_MAX);
	bool failed = hs_put_u32(b, v->count);
	for (uint32_t i = 0; i < v->count && !failed; i++) {
		const struct hs_msg_model *model = &v->items[i];
		failed = put_slice(b, model->id) || put_slice(b, model->architecture) || hs_put_u8(b, model->encoder) ||
			 hs_put_u8(b, model->scores) ||
			 hs_put_u32(b, model->dimensions) || hs_put_u32(b, model->context) ||
			 hs_put_f32(b, model->prefill_rate) || hs_buf_append(b, model->hash, sizeof model->hash);
	}
	return told(failed);
}

int hs_get_models(const void *data, size_t len, struct hs_msg_models *ret)
{
	struct hs_wire w = hs_wire_over(data, len);
	ret->count = take_count(&w, HS_MSG_MODELS_MAX);
	for (uint32_t i = 0; i < ret->count; i++) {
		struct hs_msg_model *model = &ret->items[i];
		model->id = take_slice(&w, HS_MSG_NAME_MAX);
		model->architecture = take_slice(&w, HS_MSG_NAME_MAX);
		model->encoder = take_bool(&w);
		model->scores = take_bool(&w);
		model->dimensions = hs_wire_u32(&w);
		model->context = hs_wire_u32(&w);
		model->prefill_rate = take_finite(&w);
		(void)take_raw(&w, model->hash, sizeof model->hash); /* a failure is sticky */
	}
	return checked(&w);
}
