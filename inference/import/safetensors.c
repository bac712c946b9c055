#include "inference/import/safetensors.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/wire.h"
#include "inference/quant/half.h"

static const struct {
	const char *name;
	uint8_t bytes;
	enum hs_safetensor_kind kind;
} dtypes[] = {
    {"F32", 4, HS_ST_F32},
    {"F16", 2, HS_ST_F16},
    {"BF16", 2, HS_ST_BF16},
    {"F64", 8},
    {"I64", 8},
    {"I32", 4},
    {"I16", 2},
    {"I8", 1},
    {"U64", 8},
    {"U32", 4},
    {"U16", 2},
    {"U8", 1},
    {"BOOL", 1},
};

static int read_shape(struct hs_safetensor *t, const json_t *shape, struct hs_err *err)
{
	size_t n = json_array_size(shape);
	if (!json_is_array(shape) || n > HS_ARRAY_LEN(t->dims))
		return hs_import_bad(err, HS_N_("a shape is a list of at most four numbers"), "tensor %s", t->name);
	t->n_dims = (uint32_t)n;
	t->elements = 1;
	for (size_t i = 0; i < HS_ARRAY_LEN(t->dims); i++) {
		const json_t *dim = json_array_get(shape, i);
		json_int_t v = i < n ? json_integer_value(dim) : 1;
		if ((i < n && !json_is_integer(dim)) || v < 1 || (uint64_t)v > (uint64_t)INT64_MAX / 8 / t->elements)
			return hs_import_bad(err, HS_N_("the shape's numbers are zero, negative or too large"), "tensor %s",
					     t->name);
		t->dims[i] = (uint64_t)v;
		t->elements *= (uint64_t)v;
	}
	return 0;
}

static int read_tensor(struct hs_safetensor *t, const char *name, const json_t *entry, const uint8_t *data, size_t len,
		       struct hs_err *err)
{
	const char *dtype = hs_import_text(entry, "dtype");
	const json_t *offsets = json_object_get(entry, "data_offsets"), *begin = json_array_get(offsets, 0),
		     *end = json_array_get(offsets, 1);
	size_t row = 0;
	t->name = name;
	while (row < HS_ARRAY_LEN(dtypes) && !(dtype && strcmp(dtype, dtypes[row].name) == 0))
		row++;
	if (row == HS_ARRAY_LEN(dtypes))
		return hs_import_bad(err, HS_N_("the dtype is missing or not known"), "tensor %s", name);
	t->kind = dtypes[row].kind;
	int rc = read_shape(t, json_object_get(entry, "shape"), err);
	if (rc < 0)
		return rc;
	if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) || json_integer_value(begin) < 0 ||
	    json_integer_value(end) < json_integer_value(begin) || (uint64_t)json_integer_value(end) > len)
		return hs_import_bad(err, HS_N_("data_offsets are not two places within the file"), "tensor %s", name);
	t->begin = (uint64_t)json_integer_value(begin);
	t->end = (uint64_t)json_integer_value(end);
	if (t->end - t->begin != t->elements * dtypes[row].bytes)
		return hs_import_bad(err, HS_N_("data_offsets do not fit the shape and the dtype"), "tensor %s", name);
	t->data = data + t->begin;
	return 0;
}

static int compare_place(const void *a, const void *b)
{
	const struct hs_safetensor *x = a, *y = b;
	return (x->begin > y->begin) - (x->begin < y->begin);
}

static int read_tensors(struct hs_safetensors *s, const uint8_t *data, size_t len, struct hs_err *err)
{
	const char *name;
	json_t *entry;
	size_t count = json_object_size(s->header);
	if (count > HS_SAFETENSORS_TENSORS_MAX)
		return hs_import_bad(err, HS_N_("more than 16384 tensors"), "%s", "model.safetensors");
	s->tensors = calloc(count + 1, sizeof *s->tensors);
	if (!s->tensors)
		return hs_fail_errno(err, -ENOMEM, "import.read", "model.safetensors");
	json_object_foreach(s->header, name, entry)
	{
		if (strcmp(name, "__metadata__") == 0)
			continue;
		int rc = read_tensor(&s->tensors[s->n], name, entry, data, len, err);
		if (rc < 0)
			return rc;
		s->n++;
	}
	qsort(s->tensors, s->n, sizeof *s->tensors, compare_place);
	uint64_t at = 0;
	for (size_t i = 0; i < s->n; at = s->tensors[i++].end)
		if (s->tensors[i].begin != at)
			return hs_import_bad(err, HS_N_("the data overlap another tensor's, or leave a gap"), "tensor %s",
					     s->tensors[i].name);
	return at == len ? 0 : hs_import_bad(err, HS_N_("bytes behind the last tensor"), "%s", "model.safetensors");
}

int hs_safetensors_open(const struct hs_import_bytes *file, struct hs_safetensors *ret, struct hs_err *err)
{
	uint64_t n = file->len >= 8 ? hs_le64_load(file->data) : 0;
	const uint8_t *bytes = file->data;
	if (n < 2 || n > file->len - 8)
		return hs_import_bad(err, HS_N_("the header is longer than the file, or there is none"), "%s",
				     "model.safetensors");
	struct hs_safetensors s = {0};
	int rc = hs_import_json(&(struct hs_import_bytes){bytes + 8, (size_t)n}, HS_SAFETENSORS_HEADER_MAX, "model.safetensors",
				&s.header, err);
	if (rc == 0)
		rc = read_tensors(&s, bytes + 8 + n, file->len - 8 - (size_t)n, err);
	if (rc < 0) {
		hs_safetensors_close(&s);
		return rc;
	}
	*ret = s;
	return 0;
}

void hs_safetensors_close(struct hs_safetensors *s)
{
	free(s->tensors);
	json_decref(s->header);
	*s = (struct hs_safetensors){0};
}

struct hs_safetensor *hs_safetensors_find(const struct hs_safetensors *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (strcmp(s->tensors[i].name, name) == 0)
			return &s->tensors[i];
	return NULL;
}

void hs_safetensor_floats(const struct hs_safetensor *t, uint64_t from, size_t n, float *out)
{
	if (t->kind == HS_ST_F32) {
		for (size_t i = 0; i < n; i++)
			out[i] = hs_float_from_bits(hs_le32_load(t->data + 4 * (from + i)));
		return;
	}
	for (size_t i = 0; i < n; i++) {
		uint16_t bits = hs_load_u16(t->data + 2 * (from + i));
		out[i] = t->kind == HS_ST_F16 ? hs_half_to_float(bits) : hs_bf16_to_float(bits);
	}
}
