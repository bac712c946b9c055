#include "daemon/infer/status.h"

static int put_pair(struct hs_buf *out, const char *key, const char *value)
{
	int rc = hs_buf_printf(out, "\"%s\":", key);
	return rc < 0 ? rc : hs_buf_append_json(out, value);
}

static int put_why(const struct hs_err *why, struct hs_buf *out)
{
	int rc = hs_buf_append_str(out, ",\"why\":{");
	if (rc == 0)
		rc = put_pair(out, "code", why->code);
	if (rc == 0)
		rc = hs_buf_append_byte(out, ',');
	if (rc == 0)
		rc = put_pair(out, "object", why->object);
	if (rc == 0)
		rc = hs_buf_append_byte(out, ',');
	if (rc == 0)
		rc = put_pair(out, "hint", why->hint);
	return rc < 0 ? rc : hs_buf_append_byte(out, '}');
}

static int put_model(const struct hs_served_model *m, const char *kind, struct hs_buf *out)
{
	struct hs_model_device d;
	if (!m->model)
		return 0;
	const struct hs_model_info *i = hs_model_info(m->model);
	hs_model_device(m->model, &d);
	int rc = hs_buf_printf(out, ",\"%s\":{\"architecture\":\"%s\",\"context\":%u,\"bytes\":%llu,\"prefill_rate\":%.1f,", kind,
			       i->architecture, i->context, (unsigned long long)i->file_bytes, (double)m->prefill_rate);
	if (rc == 0 && !i->encoder && !d.gpu)
		rc = hs_buf_printf(out, "\"kv_bytes_a_token\":%u,", i->kv_bytes);
	if (rc == 0)
		rc = put_pair(out, "device", d.name);
	if (rc == 0 && d.gpu)
		rc = hs_buf_printf(out, ",\"gpu_bytes\":%llu", (unsigned long long)d.memory_bytes);
	if (rc == 0 && d.n_pages)
		rc = hs_buf_printf(out, ",\"pages\":%u,\"pages_used\":%u,\"page_tokens\":%u,\"page_bytes\":%llu", d.n_pages,
				   d.n_pages_used, d.page_tokens, (unsigned long long)d.page_bytes);
	if (rc == 0 && d.why.num)
		rc = put_why(&d.why, out);
	return rc < 0 ? rc : hs_buf_append_byte(out, '}');
}

/* ,"adapters":[..]: what they are, or why they cannot be used. The CPU computes what is adapted, wherever the model is. */
static int put_adapters(const struct hs_models *m, struct hs_buf *out)
{
	int rc = m->n_adapters ? hs_buf_append_str(out, ",\"adapters\":[") : 0;
	for (uint32_t i = 0; i < m->n_adapters && rc == 0; i++) {
		const struct hs_served_adapter *a = &m->adapters[i];
		rc = hs_buf_append_str(out, i ? ",{" : "{");
		if (rc == 0)
			rc = put_pair(out, "id", a->id);
		if (rc == 0 && a->adapter)
			rc = hs_buf_printf(out, ",\"rank\":%u,\"bytes\":%llu,\"device\":\"cpu\"",
					   hs_adapter_info(a->adapter)->rank,
					   (unsigned long long)hs_adapter_info(a->adapter)->file_bytes);
		if (rc == 0 && !a->adapter)
			rc = put_why(&a->why, out);
		if (rc == 0)
			rc = hs_buf_append_byte(out, '}');
	}
	return rc == 0 && m->n_adapters ? hs_buf_append_byte(out, ']') : rc;
}

int hs_put_served_models(const struct hs_models *m, struct hs_buf *out)
{
	int rc = put_model(&m->generator, "generator", out);
	if (rc == 0)
		rc = put_model(&m->embedder, "embedder", out);
	if (rc == 0)
		rc = put_model(&m->reranker, "reranker", out);
	return rc < 0 ? rc : put_adapters(m, out);
}
