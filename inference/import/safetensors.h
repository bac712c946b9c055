/*
 * Safetensors, read-only, from untrusted files (https://github.com/huggingface/safetensors, "Format"): u64 length of the
 * header, the header (JSON: name to {dtype, shape, data_offsets}), the data. hs_safetensors_open validates everything before
 * it returns: sizes, kinds, shapes against extents, and that the tensors fill the data without a gap or an overlap.
 * Internal to import/.
 */
#ifndef HISHO_INFERENCE_SAFETENSORS_H
#define HISHO_INFERENCE_SAFETENSORS_H

#include "inference/import/read.h"

#define HS_SAFETENSORS_HEADER_MAX ((size_t)16 << 20)
#define HS_SAFETENSORS_TENSORS_MAX 16384u

enum hs_safetensor_kind { HS_ST_OTHER, HS_ST_F32, HS_ST_F16, HS_ST_BF16 };

struct hs_safetensor {
	const char *name; /* the header's */
	enum hs_safetensor_kind kind;
	uint32_t n_dims;
	uint64_t dims[4]; /* outermost first; unused ones are 1 */
	uint64_t elements;
	const uint8_t *data; /* of no alignment */
	uint64_t begin, end; /* in the data */
	bool used;           /* by the importer */
};

struct hs_safetensors {
	json_t *header;
	struct hs_safetensor *tensors; /* by their place */
	size_t n;
};

/* file outlives it. -EINVAL with err naming the tensor; -ENOMEM. */
int hs_safetensors_open(const struct hs_import_bytes *file, struct hs_safetensors *ret, struct hs_err *err) HS_MUST_CHECK;
void hs_safetensors_close(struct hs_safetensors *s);

struct hs_safetensor *hs_safetensors_find(const struct hs_safetensors *s, const char *name); /* NULL where absent */

/* n elements from `from` on as floats; the kind is not HS_ST_OTHER. */
void hs_safetensor_floats(const struct hs_safetensor *t, uint64_t from, size_t n, float *out);

#endif
