#include "inference/lora/lora.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "inference/quant/quant.h"

#define PARTS_MAX 3 /* products that one matrix of a file may hold */

/* A matrix of the base's file, by the place of its first part; the family's features say which of them it has. */
struct target {
	const char *name; /* between "blk.N." and ".weight" */
	unsigned feature, unless;
	size_t n_parts;
	enum hs_lora_place parts[PARTS_MAX];
};

static const struct target targets[] = {
    {"attn_q", 0, HS_F_FUSED_QKV, 1, {HS_LORA_Q}},
    {"attn_k", 0, HS_F_FUSED_QKV, 1, {HS_LORA_K}},
    {"attn_v", 0, HS_F_FUSED_QKV, 1, {HS_LORA_V}},
    {"attn_qkv", HS_F_FUSED_QKV, 0, 3, {HS_LORA_Q, HS_LORA_K, HS_LORA_V}},
    {"attn_output", 0, 0, 1, {HS_LORA_O}},
    {"ffn_gate", HS_F_GATED, HS_F_FUSED_GATE | HS_F_EXPERTS, 1, {HS_LORA_GATE}},
    {"ffn_up", 0, HS_F_FUSED_GATE | HS_F_EXPERTS, 1, {HS_LORA_UP}},
    {"ffn_up", HS_F_FUSED_GATE, HS_F_EXPERTS, 2, {HS_LORA_GATE, HS_LORA_UP}},
    {"ffn_down", 0, HS_F_EXPERTS, 1, {HS_LORA_DOWN}},
};

struct binding {
	const struct hs_gguf *g;
	const struct hs_weights *w;
	struct hs_lora *lora;
	struct hs_err *err;
	bool *bound; /* (tensors of the file) */
};

static int bad(struct hs_err *err, const char *hint, const char *object)
{
	return hs_fail(err, EINVAL, "adapter.invalid", hint, "%s", object);
}

static int unsupported(struct hs_err *err, const char *hint, const char *object)
{
	return hs_fail(err, ENOTSUP, "adapter.unsupported", hint, "%s", object);
}

static const struct hs_gguf_tensor *matrix_at(const struct hs_layer *l, enum hs_lora_place place)
{
	const struct hs_gguf_tensor *const of[HS_LORA_PLACES] = {
	    [HS_LORA_Q] = l->q,       [HS_LORA_K] = l->k,   [HS_LORA_V] = l->v,       [HS_LORA_O] = l->o,
	    [HS_LORA_GATE] = l->gate, [HS_LORA_UP] = l->up, [HS_LORA_DOWN] = l->down,
	};
	return of[place];
}

static bool is_text(const struct hs_gguf *g, const char *key, const char *value)
{
	struct hs_gguf_str s;
	return hs_gguf_get_str(g, key, &s) && s.len == strlen(value) && memcmp(s.s, value, s.len) == 0;
}

bool hs_lora_is(const struct hs_gguf *g)
{
	return is_text(g, "general.type", "adapter");
}

static int check_fields(struct binding *b)
{
	/* What would change when or on what the adapter works: ignored, it would give other answers than its maker's. */
	static const char *const refused[] = {"adapter.lora.prompt_prefix", "adapter.alora.invocation_tokens"};
	if (!hs_lora_is(b->g))
		return bad(b->err, HS_N_("this is no adapter: general.type must be \"adapter\""), "general.type");
	if (!is_text(b->g, "adapter.type", "lora"))
		return unsupported(b->err, HS_N_("of adapters, the engine knows \"lora\""), "adapter.type");
	if (!is_text(b->g, "general.architecture", b->w->arch->name))
		return bad(b->err, HS_N_("the adapter was made for a model of another architecture"), "general.architecture");
	for (size_t i = 0; i < HS_ARRAY_LEN(refused); i++)
		if (hs_gguf_has(b->g, refused[i]))
			return unsupported(b->err, HS_N_("the engine does not know what the adapter asks for here"), refused[i]);
	if (!hs_gguf_get_f32(b->g, "adapter.lora.alpha", &b->lora->alpha) || !isfinite(b->lora->alpha) || !(b->lora->alpha > 0))
		return bad(b->err, HS_N_("the field must be a finite number above 0"), "adapter.lora.alpha");
	return 0;
}

static bool all_finite(const struct hs_gguf_tensor *t, float *row)
{
	for (uint64_t r = 0; r < t->dims[1]; r++) {
		hs_tensor_row(t, r, row);
		for (uint64_t c = 0; c < t->dims[0]; c++)
			if (!isfinite(row[c]))
				return false;
	}
	return true;
}

static int check_values(struct binding *b, const struct hs_gguf_tensor *t, const char *name)
{
	if (t->type != HS_F32 && t->type != HS_F16 && t->type != HS_BF16 && t->type != HS_Q8_0)
		return unsupported(b->err, HS_N_("an adapter's tensors are F32, F16, BF16 or Q8_0"), name);
	float *row = calloc((size_t)t->dims[0], sizeof *row);
	if (!row)
		return hs_fail_errno(b->err, -ENOMEM, "adapter.load", name);
	bool finite = all_finite(t, row);
	free(row);
	return finite ? 0 : bad(b->err, HS_N_("the tensor holds what is no finite number"), name);
}

/* One of a pair: NULL where the file lacks it. */
static const struct hs_gguf_tensor *take(struct binding *b, const char *name)
{
	const struct hs_gguf_tensor *t = hs_gguf_find_tensor(b->g, name);
	if (t)
		b->bound[t - hs_gguf_tensor_at(b->g, 0)] = true;
	return t;
}

/* Rows [row, row + n) of a tensor. */
static struct hs_gguf_tensor rows_of(const struct hs_gguf_tensor *t, uint64_t row, uint64_t n)
{
	struct hs_gguf_tensor part = *t;
	size_t bytes = hs_tensor_type_bytes(t->type, t->dims[0]);
	part.data = t->data + row * bytes;
	part.bytes = n * bytes;
	part.dims[1] = n;
	return part;
}

static bool has_shape(const struct hs_gguf_tensor *t, uint64_t columns, uint64_t rows)
{
	return t->dims[0] == columns && t->dims[1] == rows && t->dims[2] == 1 && t->dims[3] == 1;
}

static int bind_target(struct binding *b, uint32_t layer, const struct target *target)
{
	char names[2][80];
	uint64_t rows = 0;
	for (int i = 0; i < 2; i++)
		(void)snprintf(names[i], sizeof names[i], "blk.%u.%s.weight.lora_%c", layer, target->name,
			       "ab"[i]); /* fits: our own words */
	const struct hs_gguf_tensor *a = take(b, names[0]), *up = take(b, names[1]);
	if (!a && !up)
		return 0;
	if (!a || !up)
		return bad(b->err, HS_N_("the tensor is missing"), a ? names[1] : names[0]);
	const struct hs_layer *l = &b->w->layers[layer];
	for (size_t i = 0; i < target->n_parts; i++)
		rows += matrix_at(l, target->parts[i])->dims[1];
	uint64_t columns = matrix_at(l, target->parts[0])->dims[0], rank = a->dims[1];
	if (rank == 0 || rank > HS_LORA_RANK_MAX)
		return unsupported(b->err, HS_N_("the adapter's rank is more than the engine takes: see docs/models.md"),
				   names[0]);
	if (!has_shape(a, columns, rank))
		return bad(b->err, HS_N_("the tensor's shape does not fit the model's"), names[0]);
	if (!has_shape(up, rank, rows))
		return bad(b->err, HS_N_("the tensor's shape does not fit the model's"), names[1]);
	int rc = check_values(b, a, names[0]);
	if (rc < 0 || (rc = check_values(b, up, names[1])) < 0)
		return rc;
	float scale = b->lora->alpha / (float)rank;
	uint64_t row = 0;
	for (size_t i = 0; i < target->n_parts; i++) {
		uint64_t n = matrix_at(l, target->parts[i])->dims[1];
		b->lora->layers[layer].of[target->parts[i]] =
		    (struct hs_lora_pair){.rank = (uint32_t)rank, .scale = scale, .a = *a, .b = rows_of(up, row, n)};
		row += n;
	}
	b->lora->rank_max = HS_MAX(b->lora->rank_max, (uint32_t)rank);
	b->lora->n_pairs++;
	b->lora->n_params += rank * (columns + rows);
	return 0;
}

static int bind_all(struct binding *b)
{
	unsigned features = b->w->features;
	for (uint32_t l = 0; l < b->lora->n_layers; l++)
		for (size_t i = 0; i < HS_ARRAY_LEN(targets); i++) {
			bool there = (features & targets[i].feature) == targets[i].feature && !(features & targets[i].unless) &&
				     matrix_at(&b->w->layers[l], targets[i].parts[0]);
			int rc = there ? bind_target(b, l, &targets[i]) : 0;
			if (rc < 0)
				return rc;
		}
	for (size_t i = 0; i < hs_gguf_tensor_count(b->g); i++) {
		const struct hs_gguf_tensor *t = hs_gguf_tensor_at(b->g, i);
		if (!b->bound[i])
			return hs_fail(b->err, ENOTSUP, "adapter.unsupported",
				       HS_N_("the model has no such matrix, or none that the engine adapts"), "%.*s",
				       (int)t->name.len, t->name.s);
	}
	return b->lora->n_pairs ? 0 : bad(b->err, HS_N_("the adapter adapts nothing"), "tensors");
}

int hs_lora_bind(const struct hs_gguf *g, const struct hs_weights *w, struct hs_lora **ret, struct hs_err *err)
{
	struct binding b = {.g = g, .w = w, .err = err};
	b.lora = calloc(1, sizeof *b.lora + w->hyper.n_layers * sizeof *b.lora->layers);
	b.bound = calloc(hs_gguf_tensor_count(g) + 1, sizeof *b.bound);
	int rc = b.lora && b.bound ? 0 : hs_fail_errno(err, -ENOMEM, "adapter.load", "tensors");
	if (rc == 0) {
		b.lora->n_layers = w->hyper.n_layers;
		rc = check_fields(&b);
	}
	if (rc == 0)
		rc = bind_all(&b);
	free(b.bound);
	if (rc < 0)
		hs_lora_destroy(b.lora);
	else
		*ret = b.lora;
	return rc;
}

void hs_lora_destroy(struct hs_lora *l)
{
	free(l);
}
