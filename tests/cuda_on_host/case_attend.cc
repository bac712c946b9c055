/*
 * Attention over pages: what is stored, then every query against sums in double of the very keys and values that the pages hold;
 * and a query alone gives the bits that it gives among others.
 */
#include "inference/quant/half.h"
#include "tests/cuda_on_host/device.h"

struct shape {
	enum hs_gpu_cache_type type;
	uint32_t dim, kv_heads, group;
	uint32_t before, tokens; /* positions that were there, and new ones */
	uint32_t window;
	bool causal, sinks;
	float cap;
};

struct scene {
	struct hs_gpu_attention a;
	std::vector<float> q, keys, values; /* of all positions */
	std::vector<float> sinks;
	std::vector<uint8_t> pool;
	std::vector<uint32_t> pages;
	uint32_t stride, kv_stride;
};

/* A number of the pages: keys (values) of a position. */
static double held(const struct scene *s, bool values, uint32_t position, uint32_t head, uint32_t c)
{
	const struct hs_gpu_cache *k = &s->a.cache;
	uint32_t width = hs_gpu_round(k->head_dim, 32), at = position % 16;
	const uint8_t *p = s->pool.data() + s->pages[1 + position / 16] * k->page_bytes + k->layer_at +
			   (size_t)(values * k->n_kv_heads + head) * hs_gpu_page_head_bytes(k->type, k->head_dim);
	if (k->type == HS_GPU_CACHE_F16)
		return (double)hs_load_half(p + (at * width + c) * 2);
	return (double)hs_load_half(p + (at * (width / 32) + c / 32) * 2) * (int8_t)p[16 * (width / 32) * 2 + at * width + c];
}

/* The pages hold what was stored, to the half's or the byte's precision, and zeros after each head. */
static const char *check_pages(const struct scene *s, uint32_t positions)
{
	const struct hs_gpu_cache *k = &s->a.cache;
	for (uint32_t i = 0; i < positions; i++)
		for (uint32_t head = 0; head < k->n_kv_heads; head++)
			for (uint32_t c = 0; c < k->head_dim; c++)
				for (int values = 0; values < 2; values++) {
					double want =
					    (double)(values ? s->values : s->keys)[i * s->kv_stride + head * k->head_dim + c];
					double off = fabs(held(s, values, i, head, c) - want);
					if (!(off <= (k->type == HS_GPU_CACHE_F16 ? 5e-4 * fabs(want) + 1e-7 : 0.0085)))
						return wrong("%s of position %u, head %u, column %u: %g instead of %g",
							     values ? "value" : "key", i, head, c, held(s, values, i, head, c),
							     want);
				}
	return nullptr;
}

static void look(const struct shape *z, const struct scene *s, uint32_t i, uint32_t h, double *out)
{
	uint32_t own = z->causal ? z->before + i : i, n = z->before + z->tokens, kv = h / z->group;
	double weights[512], top = z->sinks ? (double)s->sinks[h] : -1e300, total = 0;
	for (uint32_t p = 0; p < n; p++) {
		bool seen = z->causal ? p <= own && (!z->window || own - p < z->window)
				      : !z->window || (p > own ? p - own : own - p) <= z->window / 2;
		weights[p] = -1e300;
		if (!seen)
			continue;
		double score = 0;
		for (uint32_t c = 0; c < z->dim; c++)
			score += (double)s->q[i * s->stride + h * z->dim + c] * held(s, false, p, kv, c);
		score *= (double)s->a.scale;
		weights[p] = z->cap > 0 ? (double)z->cap * tanh(score / (double)z->cap) : score;
		top = fmax(top, weights[p]);
	}
	for (uint32_t p = 0; p < n; p++)
		total += weights[p] = exp(weights[p] - top);
	if (z->sinks)
		total += exp((double)s->sinks[h] - top);
	for (uint32_t c = 0; c < z->dim; c++) {
		out[c] = 0;
		for (uint32_t p = 0; p < n; p++)
			out[c] += weights[p] / total * held(s, true, p, kv, c);
	}
}

static struct scene make_scene(const struct shape *z)
{
	struct maker k = {z->dim * 5u + z->before + z->tokens};
	struct scene s = {};
	uint32_t n = z->before + z->tokens, heads = z->kv_heads * z->group, n_pages = (n + 15) / 16;
	struct hs_gpu_cache *c = &s.a.cache;
	s.stride = hs_gpu_round(heads * z->dim, 32);
	s.kv_stride = hs_gpu_round(z->kv_heads * z->dim, 32);
	s.q = make_floats(&k, z->tokens * s.stride, 2);
	s.keys = make_floats(&k, n * s.kv_stride, 1);
	s.values = make_floats(&k, n * s.kv_stride, 1);
	s.sinks = make_floats(&k, heads, 2);
	*c = {z->type, z->kv_heads, z->dim, nullptr, 0, 0};
	c->page_bytes = hs_gpu_page_bytes(z->type, z->dim, z->kv_heads, 2);
	c->layer_at = c->page_bytes / 2; /* the second layer of two */
	s.pages.push_back(9999);         /* of another sequence */
	for (uint32_t i = 0; i < n_pages; i++)
		s.pages.push_back(n_pages - i); /* not in order, and page 0 is nobody's */
	s.pool.resize((n_pages + 1) * c->page_bytes);
	c->pool = device_room<uint8_t>(s.pool.size()); /* poison where nothing is stored */
	std::vector<uint32_t> positions, starts;
	for (uint32_t i = 0; i < n; i++) {
		positions.push_back(i);
		starts.push_back(1);
	}
	s.a.q = device_array(s.q);
	s.a.stride = s.stride;
	s.a.n_heads = heads;
	s.a.longest = n;
	s.a.pages = device_array(s.pages);
	s.a.window = z->window;
	s.a.causal = z->causal;
	s.a.scale = 1 / sqrtf((float)z->dim);
	s.a.cap = z->cap;
	s.a.sinks = z->sinks ? device_array(s.sinks) : nullptr;
	if (hs_gpu_store(nullptr, c, device_array(s.keys), device_array(s.values), s.kv_stride, n, device_array(positions),
			 s.a.pages, device_array(starts)))
		s.a.n_heads = 0; /* which attention refuses */
	return s;
}

static int attend(const struct shape *z, struct scene *s, uint32_t a_view)
{
	std::vector<struct hs_gpu_view> views;
	for (uint32_t i = 0; i < z->tokens; i += a_view)
		views.push_back({i, z->tokens - i < a_view ? z->tokens - i : a_view, (z->causal ? z->before : 0) + i,
				 z->before + z->tokens, 1});
	s->a.views = device_array(views);
	s->a.n_views = (uint32_t)views.size();
	s->a.most_tokens = a_view;
	s->a.partial = device_room<float>(hs_gpu_partial_floats(&s->a));
	s->a.out = device_room<float>(s->q.size());
	return hs_gpu_attend(nullptr, &s->a);
}

static const char *view(const struct shape *z)
{
	struct scene s = make_scene(z);
	uint32_t heads = z->kv_heads * z->group, n = z->before + z->tokens;
	if (attend(z, &s, z->tokens > 1 ? z->tokens : 1))
		return "a launch was refused";
	std::vector<float> got = device_result(s.a.out, s.q.size());
	device_look(s.pool.data(), s.a.cache.pool, s.pool.size()); /* what nothing was stored to is poison */
	const char *failure = check_pages(&s, n);
	std::vector<double> want(s.q.size());
	for (uint32_t i = 0; i < z->tokens && !failure; i++)
		for (uint32_t h = 0; h < heads; h++)
			look(z, &s, i, h, want.data() + i * s.stride + h * z->dim);
	if (!failure)
		failure = compare("attention", got, want, z->type == HS_GPU_CACHE_F16 ? 5e-6 : 1e-3 /* bytes become halves */);
	if (failure || z->tokens == 1)
		return failure;
	if (attend(z, &s, 1))
		return "a launch of one token a view was refused";
	std::vector<float> alone = device_result(s.a.out, s.q.size());
	return memcmp(alone.data(), got.data(), got.size() * sizeof(float)) == 0 ? nullptr : "tokens alone have other bits";
}

static const char *views(const struct shape *shapes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *failure = view(&shapes[i]);
		if (failure)
			return wrong("shape %zu: %s", i, failure);
	}
	return nullptr;
}

static const char *one_token(void)
{
	static const struct shape shapes[] = {
	    {HS_GPU_CACHE_F16, 32, 2, 3, 149, 1, 0, true, false, 0}, {HS_GPU_CACHE_F16, 32, 1, 1, 0, 1, 0, true, true, 0},
	    {HS_GPU_CACHE_Q8, 64, 1, 4, 70, 1, 0, true, false, 5},   {HS_GPU_CACHE_F16, 32, 1, 4, 200, 1, 64, true, false, 0},
	    {HS_GPU_CACHE_F16, 24, 1, 18, 20, 1, 0, true, true, 0},
	};
	return views(shapes, sizeof shapes / sizeof shapes[0]);
}

static const char *more_tokens(void)
{
	static const struct shape shapes[] = {
	    {HS_GPU_CACHE_F16, 32, 2, 2, 60, 9, 0, true, false, 0},   {HS_GPU_CACHE_F16, 40, 1, 3, 100, 7, 30, true, true, 0},
	    {HS_GPU_CACHE_Q8, 32, 1, 2, 64, 5, 0, true, false, 0},    {HS_GPU_CACHE_F16, 32, 2, 1, 0, 40, 0, false, false, 0},
	    {HS_GPU_CACHE_F16, 32, 1, 1, 0, 50, 16, false, false, 0},
	};
	return views(shapes, sizeof shapes / sizeof shapes[0]);
}

static const char *wide_heads(void)
{
	static const struct shape shapes[] = {
	    {HS_GPU_CACHE_F16, 128, 1, 2, 66, 2, 0, true, false, 0},
	    {HS_GPU_CACHE_F16, 144, 1, 1, 65, 2, 0, true, false, 0},
	    {HS_GPU_CACHE_F16, 256, 1, 2, 66, 2, 0, true, false, 50},
	};
	return views(shapes, sizeof shapes / sizeof shapes[0]);
}

static const char *wiping(void)
{
	const uint64_t page_bytes = 4096;
	std::vector<uint8_t> pool(4 * page_bytes, 0xab);
	std::vector<uint32_t> pages = {3, 1};
	uint8_t *p = device_array(pool);
	if (hs_gpu_wipe(nullptr, p, page_bytes, device_array(pages), 2))
		return "the launch was refused";
	pool = device_result(p, pool.size());
	for (size_t i = 0; i < pool.size(); i++)
		if (pool[i] != (i / page_bytes % 2 ? 0 : 0xab))
			return wrong("byte %zu is %02x", i, pool[i]);
	return nullptr;
}

const std::vector<struct device_case> cases_of_attend = {
    {"one token", one_token}, {"more tokens", more_tokens}, {"wide heads", wide_heads}, {"wiping", wiping}};
