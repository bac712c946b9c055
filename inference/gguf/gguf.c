#include "inference/gguf/gguf.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/wire.h"

#define GGUF_MAGIC 0x46554747u /* "GGUF" */
#define GGUF_KVS_MAX 65536u
#define GGUF_TENSORS_MAX 65536u
#define GGUF_KEY_MAX 65535u /* the specification's own limit */
#define GGUF_TENSOR_NAME_MAX 64u
#define GGUF_NESTING_MAX 4
#define GGUF_ALIGNMENT_DEFAULT 32u
#define GGUF_ALIGNMENT_MAX (1u << 20)
#define GGUF_KV_LEN_MIN 14u     /* length, one character, type, one byte */
#define GGUF_TENSOR_LEN_MIN 33u /* length, one character, one dimension, type, offset */

enum value_type {
	V_U8,
	V_I8,
	V_U16,
	V_I16,
	V_U32,
	V_I32,
	V_F32,
	V_BOOL,
	V_STR,
	V_ARRAY,
	V_U64,
	V_I64,
	V_F64,
	V_COUNT,
};

static const uint8_t value_bytes[V_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8}; /* 0: of its own length */

struct kv {
	struct hs_gguf_str key;
	enum value_type type, element; /* element: of an array */
	uint64_t count;                /* of an array; 1 otherwise */
	const uint8_t *value;          /* the first element; a string with its length before it */
};

struct hs_gguf {
	void *mapping; /* NULL where the memory is the caller's */
	size_t mapping_len;
	size_t n_kvs, n_tensors;
	struct kv *kvs; /* sorted by key */
	struct hs_gguf_tensor *tensors;
	const struct hs_gguf_tensor **by_name; /* sorted by name */
};

struct type_row {
	enum hs_tensor_type type;
	const char *name;
	uint16_t block, bytes; /* elements and bytes of a block */
};

static const struct type_row type_rows[] = {
    {HS_F32, "F32", 1, 4},     {HS_F16, "F16", 1, 2},       {HS_Q4_0, "Q4_0", 32, 18},   {HS_Q5_0, "Q5_0", 32, 22},
    {HS_Q8_0, "Q8_0", 32, 34}, {HS_Q4_K, "Q4_K", 256, 144}, {HS_Q5_K, "Q5_K", 256, 176}, {HS_Q6_K, "Q6_K", 256, 210},
    {HS_BF16, "BF16", 1, 2},   {HS_MXFP4, "MXFP4", 32, 17},
};

static const struct type_row *find_type(uint32_t type)
{
	for (size_t i = 0; i < HS_ARRAY_LEN(type_rows); i++)
		if ((uint32_t)type_rows[i].type == type)
			return &type_rows[i];
	return NULL;
}

size_t hs_tensor_type_bytes(enum hs_tensor_type type, uint64_t n)
{
	const struct type_row *row = find_type((uint32_t)type);
	if (!row || n % row->block || n / row->block > SIZE_MAX / row->bytes)
		return 0;
	return (size_t)(n / row->block) * row->bytes;
}

const char *hs_tensor_type_name(enum hs_tensor_type type)
{
	const struct type_row *row = find_type((uint32_t)type);
	return row ? row->name : "unknown";
}

static int compare_str(const struct hs_gguf_str *a, const struct hs_gguf_str *b)
{
	size_t n = HS_MIN(a->len, b->len);
	int order = n ? memcmp(a->s, b->s, n) : 0;
	return order ? order : (a->len > b->len) - (a->len < b->len);
}

static int compare_kv(const void *a, const void *b)
{
	return compare_str(&((const struct kv *)a)->key, &((const struct kv *)b)->key);
}

static int bad(struct hs_err *err, const char *hint, const char *field, const struct hs_gguf_str *name)
{
	if (!name)
		return hs_fail(err, EINVAL, "gguf.invalid", hint, "%s", field);
	return hs_fail(err, EINVAL, "gguf.invalid", hint, "%s of %.*s", field, (int)HS_MIN(name->len, 100u), name->s);
}

/* A u64 length, then that many bytes. */
static struct hs_gguf_str read_str(struct hs_wire *w)
{
	uint64_t len = hs_wire_u64(w);
	if (!w->failed && len > w->len - w->at)
		w->failed = true;
	const uint8_t *p = w->failed ? NULL : hs_wire_bytes(w, (size_t)len);
	return (struct hs_gguf_str){.s = p ? (const char *)p : "", .len = p ? (size_t)len : 0};
}

/* Walk over an array's element type, count and elements. False where they are not all there or nest too deep. */
static bool skip_array(struct hs_wire *w, int depth, enum value_type *ret_element, uint64_t *ret_count, const uint8_t **ret_first)
{
	uint32_t element = hs_wire_u32(w);
	uint64_t count = hs_wire_u64(w);
	if (w->failed || element >= V_COUNT || depth > GGUF_NESTING_MAX)
		return false;
	*ret_element = (enum value_type)element;
	*ret_count = count;
	*ret_first = w->data + w->at;
	size_t each = value_bytes[element] ? value_bytes[element] : element == V_STR ? 8 : 12;
	if (count > (w->len - w->at) / each) /* so the loops below are bounded by the file's own size */
		return false;
	if (element == V_BOOL) {
		for (uint64_t i = 0; i < count; i++)
			if (hs_wire_u8(w) > 1)
				return false;
		return true;
	}
	if (value_bytes[element])
		return hs_wire_bytes(w, (size_t)count * each) || count == 0;
	for (uint64_t i = 0; i < count && !w->failed; i++) {
		if (element == V_STR) {
			(void)read_str(w); /* a failure is kept in w */
			continue;
		}
		enum value_type inner;
		uint64_t inner_count;
		const uint8_t *first;
		if (!skip_array(w, depth + 1, &inner, &inner_count, &first))
			return false;
	}
	return !w->failed;
}

static int read_kv(struct hs_wire *w, struct kv *kv, struct hs_err *err)
{
	kv->key = read_str(w);
	if (w->failed || kv->key.len == 0 || kv->key.len > GGUF_KEY_MAX || memchr(kv->key.s, 0, kv->key.len))
		return bad(err, HS_N_("a metadata key is empty, too long or cut short"), "key length", NULL);
	uint32_t type = hs_wire_u32(w);
	if (w->failed || type >= V_COUNT)
		return bad(err, HS_N_("the value's type is unknown"), "value type", &kv->key);
	kv->type = (enum value_type)type;
	kv->count = 1;
	kv->value = w->data + w->at;
	if (type == V_ARRAY) {
		if (!skip_array(w, 1, &kv->element, &kv->count, &kv->value))
			return bad(err, HS_N_("the array is longer than the file, nested too deep, or of an unknown type"),
				   "array", &kv->key);
	} else if (type == V_STR) {
		(void)read_str(w); /* a failure is kept in w */
	} else if (hs_wire_bytes(w, value_bytes[type]) && type == V_BOOL && kv->value[0] > 1) {
		return bad(err, HS_N_("a truth value is neither 0 nor 1"), "value", &kv->key);
	}
	if (w->failed)
		return bad(err, HS_N_("the value is longer than the file"), "value", &kv->key);
	return 0;
}

static int read_kvs(struct hs_gguf *g, struct hs_wire *w, uint64_t count, struct hs_err *err)
{
	if (count > GGUF_KVS_MAX || count > (w->len - w->at) / GGUF_KV_LEN_MIN)
		return bad(err, HS_N_("more metadata than the file could hold, or than the limit of 65536"), "metadata count",
			   NULL);
	g->kvs = calloc(count ? (size_t)count : 1, sizeof *g->kvs);
	if (!g->kvs)
		return hs_fail_errno(err, -ENOMEM, "gguf.read", "metadata");
	for (; g->n_kvs < count; g->n_kvs++) {
		int rc = read_kv(w, &g->kvs[g->n_kvs], err);
		if (rc < 0)
			return rc;
	}
	qsort(g->kvs, g->n_kvs, sizeof *g->kvs, compare_kv);
	for (size_t i = 1; i < g->n_kvs; i++)
		if (compare_kv(&g->kvs[i - 1], &g->kvs[i]) == 0)
			return bad(err, HS_N_("the key occurs twice"), "key", &g->kvs[i].key);
	return 0;
}

/* One tensor's description; its offset is left in *ret_offset, unchecked against the data. */
static int read_tensor(struct hs_wire *w, struct hs_gguf_tensor *t, uint64_t *ret_offset, struct hs_err *err)
{
	t->name = read_str(w);
	if (w->failed || t->name.len == 0 || t->name.len > GGUF_TENSOR_NAME_MAX || memchr(t->name.s, 0, t->name.len))
		return bad(err, HS_N_("a tensor's name is empty, longer than 64 bytes or cut short"), "tensor name length", NULL);
	t->n_dims = hs_wire_u32(w);
	if (w->failed || t->n_dims == 0 || t->n_dims > 4)
		return bad(err, HS_N_("a tensor has 1 to 4 dimensions"), "dimension count", &t->name);
	uint64_t elements = 1;
	for (uint32_t i = 0; i < 4; i++) {
		t->dims[i] = i < t->n_dims ? hs_wire_u64(w) : 1;
		if (w->failed || t->dims[i] == 0 || t->dims[i] > (uint64_t)INT64_MAX / elements)
			return bad(err, HS_N_("a dimension is zero or the product overflows"), "dimensions", &t->name);
		elements *= t->dims[i];
	}
	uint32_t type = hs_wire_u32(w);
	*ret_offset = hs_wire_u64(w);
	if (w->failed)
		return bad(err, HS_N_("the description is cut short"), "offset", &t->name);
	const struct type_row *row = find_type(type);
	if (!row)
		return hs_fail(err, ENOTSUP, "gguf.type_unsupported",
			       HS_N_("take a file quantised to F16, Q8_0, Q4_0, Q5_0, Q4_K, Q5_K or Q6_K"), "type %u of %.*s",
			       type, (int)t->name.len, t->name.s);
	t->type = row->type;
	if (t->dims[0] % row->block)
		return bad(err, HS_N_("a row is not a whole number of its type's blocks"), "dimensions", &t->name);
	t->bytes = hs_tensor_type_bytes(t->type, elements);
	if (t->bytes == 0)
		return bad(err, HS_N_("the size overflows"), "dimensions", &t->name);
	return 0;
}

static int compare_extent(const void *a, const void *b)
{
	const struct hs_gguf_tensor *const *x = a, *const *y = b;
	return ((*x)->data > (*y)->data) - ((*x)->data < (*y)->data);
}

static int compare_name(const void *a, const void *b)
{
	const struct hs_gguf_tensor *const *x = a, *const *y = b;
	return compare_str(&(*x)->name, &(*y)->name);
}

static int read_alignment(const struct hs_gguf *g, uint64_t *ret, struct hs_err *err)
{
	size_t ignored;
	*ret = GGUF_ALIGNMENT_DEFAULT;
	if (hs_gguf_get_u64(g, "general.alignment", ret)) {
		if (*ret < 8 || *ret > GGUF_ALIGNMENT_MAX || (*ret & (*ret - 1)))
			return bad(err, HS_N_("the alignment is not a power of two from 8 to 1048576"), "general.alignment",
				   NULL);
	} else if (hs_gguf_get_array_len(g, "general.alignment", &ignored)) {
		return bad(err, HS_N_("the alignment is not a number"), "general.alignment", NULL);
	}
	return 0;
}

/* Turn offsets into pointers: aligned, inside the file, no two overlapping, no two of one name. */
static int place_tensors(struct hs_gguf *g, const struct hs_wire *w, const uint64_t *offsets, struct hs_err *err)
{
	uint64_t alignment;
	int rc = read_alignment(g, &alignment, err);
	if (rc < 0 || g->n_tensors == 0)
		return rc;
	uint64_t start = ((uint64_t)w->at + alignment - 1) / alignment * alignment;
	for (size_t i = 0; i < g->n_tensors; i++) {
		struct hs_gguf_tensor *t = &g->tensors[i];
		if (offsets[i] % alignment)
			return bad(err, HS_N_("the offset is not aligned"), "offset", &t->name);
		if (start > w->len || offsets[i] > w->len - start || t->bytes > w->len - start - offsets[i])
			return bad(err, HS_N_("the data lie outside the file; it may be cut short: fetch it again"), "offset",
				   &t->name);
		t->data = w->data + start + offsets[i];
		g->by_name[i] = t;
	}
	qsort(g->by_name, g->n_tensors, sizeof *g->by_name, compare_extent);
	for (size_t i = 1; i < g->n_tensors; i++)
		if (g->by_name[i]->data < g->by_name[i - 1]->data + g->by_name[i - 1]->bytes)
			return bad(err, HS_N_("the data overlap another tensor's"), "offset", &g->by_name[i]->name);
	qsort(g->by_name, g->n_tensors, sizeof *g->by_name, compare_name);
	for (size_t i = 1; i < g->n_tensors; i++)
		if (compare_name(&g->by_name[i - 1], &g->by_name[i]) == 0)
			return bad(err, HS_N_("the name occurs twice"), "name", &g->by_name[i]->name);
	return 0;
}

static int read_tensors(struct hs_gguf *g, struct hs_wire *w, uint64_t count, struct hs_err *err)
{
	if (count > GGUF_TENSORS_MAX || count > (w->len - w->at) / GGUF_TENSOR_LEN_MIN)
		return bad(err, HS_N_("more tensors than the file could hold, or than the limit of 65536"), "tensor count", NULL);
	size_t n = count ? (size_t)count : 1;
	g->tensors = calloc(n, sizeof *g->tensors);
	g->by_name = calloc(n, sizeof *g->by_name);
	uint64_t *offsets = calloc(n, sizeof *offsets);
	int rc = 0;
	if (!g->tensors || !g->by_name || !offsets)
		rc = hs_fail_errno(err, -ENOMEM, "gguf.read", "tensors");
	for (; rc == 0 && g->n_tensors < count; g->n_tensors++)
		rc = read_tensor(w, &g->tensors[g->n_tensors], &offsets[g->n_tensors], err);
	if (rc == 0)
		rc = place_tensors(g, w, offsets, err);
	free(offsets);
	return rc;
}

static int read_file(struct hs_gguf *g, const void *data, size_t len, struct hs_err *err)
{
	struct hs_wire w = hs_wire_over(data, len);
	uint32_t magic = hs_wire_u32(&w), version = hs_wire_u32(&w);
	uint64_t n_tensors = hs_wire_u64(&w), n_kvs = hs_wire_u64(&w);
	if (w.failed || magic != GGUF_MAGIC)
		return bad(err, HS_N_("this is not a GGUF file"), "magic", NULL);
	if (version != 2 && version != 3)
		return hs_fail(err, ENOTSUP, "gguf.version_unsupported",
			       HS_N_("only GGUF versions 2 and 3, little-endian, can be read"), "version 0x%08x", version);
	int rc = read_kvs(g, &w, n_kvs, err);
	return rc < 0 ? rc : read_tensors(g, &w, n_tensors, err);
}

int hs_gguf_open_memory(const void *data, size_t len, struct hs_gguf **ret, struct hs_err *err)
{
	struct hs_gguf *g = calloc(1, sizeof *g);
	if (!g)
		return hs_fail_errno(err, -ENOMEM, "gguf.read", "memory");
	int rc = read_file(g, data, len, err);
	if (rc < 0) {
		hs_gguf_close(g);
		return rc;
	}
	*ret = g;
	return 0;
}

int hs_gguf_open_fd(int fd, const char *name, struct hs_gguf **ret, struct hs_err *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return hs_fail_errno(err, -errno, "gguf.open", name);
	if (!S_ISREG(st.st_mode) || st.st_size <= 0)
		return hs_fail(err, EINVAL, "gguf.open", HS_N_("not a file with content"), "%s", name);
	size_t len = (size_t)st.st_size;
	void *data = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED)
		return hs_fail_errno(err, -errno, "gguf.open", name);
	int rc = hs_gguf_open_memory(data, len, ret, err);
	if (rc < 0) {
		(void)munmap(data, len); /* the mapping is ours and whole */
		return rc;
	}
	(*ret)->mapping = data;
	(*ret)->mapping_len = len;
	return 0;
}

int hs_gguf_open(const char *path, struct hs_gguf **ret, struct hs_err *err)
{
	HS_FD_AUTO fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO in the models' folder must not hang us */
	if (fd < 0)
		return hs_fail_errno(err, -errno, "gguf.open", path);
	return hs_gguf_open_fd(fd, path, ret, err);
}

void hs_gguf_rest(const struct hs_gguf *g)
{
	if (g->mapping)
		(void)madvise(g->mapping, g->mapping_len, MADV_DONTNEED); /* only thrift: of a mapped file nothing is lost */
}

void hs_gguf_close(struct hs_gguf *g)
{
	if (!g)
		return;
	if (g->mapping)
		(void)munmap(g->mapping, g->mapping_len); /* the mapping is ours and whole */
	free(g->kvs);
	free(g->tensors);
	free(g->by_name);
	free(g);
}

size_t hs_gguf_tensor_count(const struct hs_gguf *g)
{
	return g->n_tensors;
}

const struct hs_gguf_tensor *hs_gguf_tensor_at(const struct hs_gguf *g, size_t index)
{
	return index < g->n_tensors ? &g->tensors[index] : NULL;
}

const struct hs_gguf_tensor *hs_gguf_find_tensor(const struct hs_gguf *g, const char *name)
{
	const struct hs_gguf_str key = {.s = name, .len = strlen(name)};
	size_t low = 0, high = g->n_tensors;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = compare_str(&g->by_name[mid]->name, &key);
		if (order == 0)
			return g->by_name[mid];
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

static const struct kv *find(const struct hs_gguf *g, const char *key)
{
	const struct kv want = {.key = {.s = key, .len = strlen(key)}};
	return bsearch(&want, g->kvs, g->n_kvs, sizeof *g->kvs, compare_kv);
}

static const struct kv *find_array(const struct hs_gguf *g, const char *key)
{
	const struct kv *kv = find(g, key);
	return kv && kv->type == V_ARRAY ? kv : NULL;
}

/* An integer of any width. *ret_negative says how to read the 64 bits. */
static bool load_integer(enum value_type type, const uint8_t *p, uint64_t *ret, bool *ret_negative)
{
	int64_t v = 0;
	switch (type) {
	case V_U8:
		v = p[0];
		break;
	case V_I8:
		v = (int8_t)p[0];
		break;
	case V_U16:
		v = hs_le16_load(p);
		break;
	case V_I16:
		v = (int16_t)hs_le16_load(p);
		break;
	case V_U32:
		v = hs_le32_load(p);
		break;
	case V_I32:
		v = (int32_t)hs_le32_load(p);
		break;
	case V_U64:
		*ret = hs_le64_load(p);
		*ret_negative = false;
		return true;
	case V_I64:
		v = (int64_t)hs_le64_load(p);
		break;
	default:
		return false;
	}
	*ret = (uint64_t)v;
	*ret_negative = v < 0;
	return true;
}

static bool load_float(enum value_type type, const uint8_t *p, float *ret)
{
	if (type == V_F32) {
		uint32_t bits = hs_le32_load(p);
		memcpy(ret, &bits, sizeof bits);
		return true;
	}
	if (type == V_F64) {
		uint64_t bits = hs_le64_load(p);
		double wide;
		memcpy(&wide, &bits, sizeof bits);
		*ret = (float)wide;
		return true;
	}
	return false;
}

bool hs_gguf_has(const struct hs_gguf *g, const char *key)
{
	return find(g, key) != NULL;
}

bool hs_gguf_get_u64(const struct hs_gguf *g, const char *key, uint64_t *ret)
{
	const struct kv *kv = find(g, key);
	uint64_t v;
	bool negative;
	if (!kv || !load_integer(kv->type, kv->value, &v, &negative) || negative)
		return false;
	*ret = v;
	return true;
}

bool hs_gguf_get_f32(const struct hs_gguf *g, const char *key, float *ret)
{
	const struct kv *kv = find(g, key);
	return kv && load_float(kv->type, kv->value, ret);
}

bool hs_gguf_get_bool(const struct hs_gguf *g, const char *key, bool *ret)
{
	const struct kv *kv = find(g, key);
	if (!kv || kv->type != V_BOOL)
		return false;
	*ret = kv->value[0] == 1;
	return true;
}

bool hs_gguf_get_str(const struct hs_gguf *g, const char *key, struct hs_gguf_str *ret)
{
	const struct kv *kv = find(g, key);
	if (!kv || kv->type != V_STR)
		return false;
	*ret = (struct hs_gguf_str){.s = (const char *)kv->value + 8, .len = (size_t)hs_le64_load(kv->value)};
	return true;
}

bool hs_gguf_get_array_len(const struct hs_gguf *g, const char *key, size_t *ret)
{
	const struct kv *kv = find_array(g, key);
	if (!kv)
		return false;
	*ret = (size_t)kv->count;
	return true;
}

bool hs_gguf_get_str_array(const struct hs_gguf *g, const char *key, struct hs_gguf_str *ret, size_t max)
{
	const struct kv *kv = find_array(g, key);
	if (!kv || kv->element != V_STR || kv->count > max)
		return false;
	const uint8_t *p = kv->value;
	for (size_t i = 0; i < kv->count; i++) {
		ret[i] = (struct hs_gguf_str){.s = (const char *)p + 8, .len = (size_t)hs_le64_load(p)};
		p += 8 + ret[i].len;
	}
	return true;
}

bool hs_gguf_get_f32_array(const struct hs_gguf *g, const char *key, float *ret, size_t max)
{
	const struct kv *kv = find_array(g, key);
	if (!kv || (kv->element != V_F32 && kv->element != V_F64) || kv->count > max)
		return false;
	for (size_t i = 0; i < kv->count; i++)
		(void)load_float(kv->element, kv->value + i * value_bytes[kv->element], &ret[i]); /* the kind was checked */
	return true;
}

bool hs_gguf_get_i32_array(const struct hs_gguf *g, const char *key, int32_t *ret, size_t max)
{
	const struct kv *kv = find_array(g, key);
	if (!kv || kv->count > max)
		return false;
	for (int pass = 0; pass < 2; pass++) /* first look whether all fit, so that a failure leaves ret untouched */
		for (size_t i = 0; i < kv->count; i++) {
			uint64_t v;
			bool negative;
			if (!load_integer(kv->element, kv->value + i * value_bytes[kv->element], &v, &negative))
				return false;
			if (negative ? (int64_t)v < INT32_MIN : v > INT32_MAX)
				return false;
			if (pass == 1)
				ret[i] = (int32_t)(int64_t)v;
		}
	return true;
}

bool hs_gguf_get_bool_array(const struct hs_gguf *g, const char *key, bool *ret, size_t max)
{
	const struct kv *kv = find_array(g, key);
	if (!kv || kv->element != V_BOOL || kv->count > max)
		return false;
	for (size_t i = 0; i < kv->count; i++)
		ret[i] = kv->value[i] == 1;
	return true;
}

bool hs_gguf_get_bytes(const struct hs_gguf *g, const char *key, const uint8_t **ret, size_t *ret_len)
{
	const struct kv *kv = find_array(g, key);
	if (!kv || (kv->element != V_U8 && kv->element != V_I8))
		return false;
	*ret = kv->value;
	*ret_len = (size_t)kv->count;
	return true;
}
