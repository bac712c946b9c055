/* Adapters of the cpu backend: a pair's numbers as floats, A times alpha / rank, packed as weights are. */
#include <errno.h>
#include <stdlib.h>

#include "inference/cpu/cpu.h"

static int pack(const struct hs_gguf_tensor *t, float scale, struct hs_packed *out)
{
	size_t columns = (size_t)t->dims[0], rows = (size_t)t->dims[1];
	float *values = calloc(rows * columns, sizeof *values); /* not more than the base's matrix has */
	if (!values)
		return -ENOMEM;
	for (size_t r = 0; r < rows; r++) {
		hs_tensor_row(t, r, values + r * columns);
		for (size_t c = 0; c < columns; c++)
			values[r * columns + c] *= scale;
	}
	struct hs_gguf_tensor floats = *t;
	floats.type = HS_F32;
	floats.data = (const uint8_t *)values;
	floats.bytes = rows * columns * sizeof *values;
	int rc = hs_packed_init(out, &floats, NULL);
	for (uint32_t panel = 0; panel < out->n_panels && rc == 0; panel++)
		hs_packed_fill(out, &floats, panel);
	free(values);
	return rc;
}

int hs_cpu_adapter_open(struct hs_backend_model *m, const struct hs_lora *l, struct hs_backend_adapter **ret)
{
	struct hs_backend_adapter *a = calloc(1, sizeof *a + l->n_layers * sizeof *a->layers);
	int rc = a ? 0 : -ENOMEM;
	(void)m; /* floats are packed alike for every table of kernels */
	if (a)
		a->n_layers = l->n_layers;
	for (size_t i = 0; i < (size_t)l->n_layers * HS_LORA_PLACES && rc == 0; i++) {
		const struct hs_lora_pair *pair = &l->layers[i / HS_LORA_PLACES].of[i % HS_LORA_PLACES];
		struct hs_cpu_addition *to = &a->layers[i / HS_LORA_PLACES].of[i % HS_LORA_PLACES];
		if (!pair->rank)
			continue;
		rc = pack(&pair->a, pair->scale, &to->a);
		if (rc == 0)
			rc = pack(&pair->b, 1, &to->b);
	}
	if (rc == 0)
		*ret = a;
	else
		hs_cpu_adapter_close(a);
	return rc;
}

void hs_cpu_adapter_close(struct hs_backend_adapter *a)
{
	for (size_t i = 0; a && i < (size_t)a->n_layers * HS_LORA_PLACES; i++) {
		struct hs_cpu_addition *of = &a->layers[i / HS_LORA_PLACES].of[i % HS_LORA_PLACES];
		hs_packed_finish(&of->a);
		hs_packed_finish(&of->b);
	}
	free(a);
}
