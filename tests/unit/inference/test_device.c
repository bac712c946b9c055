/* Which device computes, and why: every way in which a plug-in can be wrong, and a device that is lost in the middle. */
#include "inference/cuda/load.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "inference/engine.h"
#include "tests/unit/inference/adapters.h"
#include "tests/unit/inference/support.h"
#include "tests/unit/inference/tiny.h"
#include "tests/unit/test.h"

static const struct hs_device_wish cuda0 = {.kind = HS_DEVICE_CUDA};

static void test_wishes(void **state)
{
	static const char *const bad[] = {"",        "gpu",     "CUDA:0",  "cuda:",    "cuda:-1",
					  "cuda: 1", "cuda:1x", "cuda:64", "cuda:0x1", "cuda:99999999999999999999",
					  "autocpu"};
	struct hs_device_wish w = {.kind = HS_DEVICE_CPU, .index = 77};
	for (size_t i = 0; i < HS_ARRAY_LEN(bad); i++)
		assert_false(hs_device_parse(bad[i], &w));
	assert_true(w.kind == HS_DEVICE_CPU && w.index == 77); /* untouched */
	assert_true(hs_device_parse("auto", &w) && w.kind == HS_DEVICE_AUTO);
	assert_true(hs_device_parse("cpu", &w) && w.kind == HS_DEVICE_CPU);
	assert_true(hs_device_parse("cuda", &w) && w.kind == HS_DEVICE_CUDA && w.index == 0);
	assert_true(hs_device_parse("cuda:63", &w) && w.kind == HS_DEVICE_CUDA && w.index == 63);
}

/* What opening says: the code, or "" where it opens. */
static const char *verdict(struct hs_device_wish wish, const char *plugin, struct hs_err *err)
{
	struct hs_gpu gpu = {.index = 77};
	*err = HS_ERR_INIT;
	int rc = hs_gpu_open(wish, plugin, &gpu, err);
	assert_true(rc == 0 ? gpu.plugin != NULL && gpu.index == wish.index : rc == -err->num && gpu.index == 77);
	assert_true(rc == 0 || (err->object[0] && err->hint[0]));
	return err->code;
}

static void test_each_fault_has_its_line(void **state)
{
	static const struct {
		const char *fault, *code;
	} rows[] = {
	    {"abi", "gpu.plugin_version"},          {"version", "gpu.plugin_version"},    {"sizes", "gpu.plugin_version"},
	    {"nothing", "gpu.plugin_broken"},       {"no_driver", "gpu.no_driver"},       {"old_driver", "gpu.old_driver"},
	    {"no_permission", "gpu.no_permission"}, {"architecture", "gpu.architecture"}, {"", ""}};
	struct hs_err err;
	for (size_t i = 0; i < HS_ARRAY_LEN(rows); i++) {
		setenv("HISHO_FAKE_CUDA", rows[i].fault, 1);
		assert_string_equal(verdict(cuda0, FAKE_CUDA, &err), rows[i].code);
	}
	assert_string_equal(verdict((struct hs_device_wish){HS_DEVICE_CUDA, 2}, FAKE_CUDA, &err), "gpu.no_device");
	assert_string_equal(verdict((struct hs_device_wish){HS_DEVICE_CPU, 0}, FAKE_CUDA, &err), "gpu.not_wanted");
	if (access("/dev/nvidiactl", F_OK) < 0) /* nobody asked for a GPU, and there is none: nothing is loaded */
		assert_string_equal(verdict((struct hs_device_wish){HS_DEVICE_AUTO, 0}, FAKE_CUDA, &err), "gpu.no_driver");
}

static void test_files_that_are_no_plugin(void **state)
{
	struct hs_err err;
	char path[] = "/tmp/hisho-plugin-XXXXXX";
	assert_string_equal(verdict(cuda0, "/nonexistent/hisho-cuda.so", &err), "gpu.plugin_missing");
	assert_string_equal(verdict(cuda0, "hisho-cuda.so", &err), "gpu.plugin_unsafe"); /* not by the search path */
	assert_string_equal(verdict(cuda0, "/tmp", &err), "gpu.plugin_unsafe");
	int fd = mkostemp(path, O_CLOEXEC);
	assert_int_equal(hs_fd_write_all(fd, "not an object", 13), 0);
	assert_string_equal(verdict(cuda0, path, &err), "gpu.plugin_broken");
	assert_int_equal(fchmod(fd, 0722), 0);
	assert_string_equal(verdict(cuda0, path, &err), "gpu.plugin_unsafe");
	assert_int_equal(fchmod(fd, 0602), 0);
	assert_string_equal(verdict(cuda0, path, &err), "gpu.plugin_unsafe");
	if (geteuid() == 0) {
		assert_true(fchmod(fd, 0600) == 0 && fchown(fd, 12345, 0) == 0);
		assert_string_equal(verdict(cuda0, path, &err), "gpu.plugin_unsafe"); /* of another user */
	}
	close(fd);
	unlink(path);
}

static void count_progress(void *arg, uint64_t done, uint64_t total)
{
	*(unsigned *)arg += done == total;
}

/* A tiny model on the fake device; NULL gpu: on the CPU. */
static struct hs_model *load_tiny(struct tiny t, const struct hs_gpu *gpu, unsigned *ends)
{
	HS_BUF_AUTO file = HS_BUF_INIT;
	struct hs_model *m = NULL;
	struct hs_err err;
	const struct hs_model_options options = {.n_threads = 1, .gpu = gpu, .progress = count_progress, .arg = ends};
	assert_int_equal(tiny_write(t, NULL, &file), 0);
	assert_int_equal(load_bytes(&file, &options, &m, &err), 0);
	return m;
}

static void open_fake(const char *fault, struct hs_gpu *gpu)
{
	struct hs_err err = HS_ERR_INIT;
	setenv("HISHO_FAKE_CUDA", "", 1);
	assert_int_equal(hs_gpu_open(cuda0, FAKE_CUDA, gpu, &err), 0);
	setenv("HISHO_FAKE_CUDA", fault, 1);
}

static void test_what_computes_is_told(void **state)
{
	static const struct {
		const char *fault, *name, *code;
	} rows[] = {
	    {"", "cuda:0 Fake \"one\"", ""}, {"unsupported", "cpu", "gpu.unsupported"}, {"too_large", "cpu", "gpu.memory"}};
	for (size_t i = 0; i < HS_ARRAY_LEN(rows); i++) {
		struct hs_gpu gpu;
		struct hs_model_device d;
		unsigned ends = 0;
		open_fake(rows[i].fault, &gpu);
		struct hs_model *m = load_tiny(TINY_F32, &gpu, &ends);
		hs_model_device(m, &d);
		assert_string_equal(d.name, rows[i].name);
		assert_string_equal(d.why.code, rows[i].code);
		assert_true(d.gpu == (i == 0) && (i == 0 ? d.n_pages == 5 : d.n_pages > 5) &&
			    d.memory_bytes == (i == 0 ? 1050 : 0));
		assert_int_equal(ends, i == 0);
		assert_int_equal(hs_model_pages_of(m, 3), i == 0 ? 2 : 0);
		hs_model_destroy(m);
	}
	const struct hs_err why = {.num = ENOENT, .code = "gpu.plugin_missing", .hint = ""};
	const struct hs_model_options options = {.n_threads = 1, .no_gpu = &why};
	struct hs_err err = HS_ERR_INIT;
	struct hs_model *m = NULL;
	assert_int_equal(hs_model_load("/nonexistent", &options, &m, &err), -ENOENT);
	assert_null(m);
}

/* The CPU computes what has an adapter, beside the device, in one call; each as if it were alone on a CPU. */
static void test_adapters_beside_a_device(void **state)
{
	static const hs_tok_id ids[] = {4, 9, 14, 19, 24, 29};
	struct hs_gpu gpu;
	struct hs_model *models[2]; /* on the CPU; on the device */
	float want[2][37];
	char path[32];
	open_fake("", &gpu);
	adapter_file(TINY_F32, &TINY_ADAPTER, path);
	for (int i = 0; i < 2; i++) {
		unsigned ends = 0;
		struct hs_err err = HS_ERR_INIT;
		struct hs_adapter *a = NULL;
		struct hs_sequence *s[2] = {NULL};
		models[i] = load_tiny(TINY_F32, i ? &gpu : NULL, &ends);
		assert_int_equal(hs_adapter_load(models[i], path, &a, &err), 0);
		assert_int_equal(hs_adapter_info(a)->rank, 5);
		assert_string_equal(hs_adapter_info(a)->name, "tiny");
		for (int k = 0; k < 2; k++)
			assert_int_equal(hs_sequence_create_adapted(models[i], k ? a : NULL, 16, &s[k]), 0);
		struct hs_step steps[2] = {{.sequence = s[0], .ids = ids, .n = 6, .n_logits = 1},
					   {.sequence = s[1], .ids = ids, .n = 6, .n_logits = 1}};
		assert_int_equal(hs_forward(steps, 2, NULL, NULL), 0);
		assert_memory_not_equal(steps[0].logits[0], steps[1].logits[0], sizeof want[0]);
		for (int k = 0; k < 2 && i == 0; k++)
			memcpy(want[k], steps[k].logits[0], sizeof want[k]);
		for (int k = 0; k < 2; k++) {
			assert_memory_equal(want[k], steps[k].logits[0], sizeof want[k]);
			assert_false(hs_sequence_is_lost(s[k]));
			hs_sequence_destroy(s[k]);
		}
		hs_adapter_destroy(a);
		hs_model_destroy(models[i]);
	}
	unlink(path);
}

/* Sequences on a lost device fail, those made anew compute on the CPU what it would have given from the start. */
static void test_a_lost_device(void **state)
{
	static const hs_tok_id ids[] = {4, 9, 14, 19, 24, 29};
	struct hs_gpu gpu;
	struct hs_model_device d;
	unsigned ends = 0;
	const float *logits, *want;
	float kept[37];
	struct hs_sequence *on_cpu = NULL, *old = NULL, *other = NULL, *new = NULL, *one_more = NULL;
	open_fake("lost", &gpu);
	struct hs_model *m = load_tiny(TINY_F32, &gpu, &ends), *cpu = load_tiny(TINY_F32, NULL, &ends);
	assert_int_equal(hs_sequence_create(cpu, 16, &on_cpu), 0);
	assert_int_equal(hs_sequence_forward(on_cpu, ids, 6, NULL, NULL, &want), 0);
	memcpy(kept, want, sizeof kept);

	assert_int_equal(hs_sequence_create(m, 16, &old), 0);
	assert_int_equal(hs_sequence_create(m, 16, &other), 0);
	hs_sequence_own(old, 1); /* the reference keeps no account */
	assert_int_equal(hs_sequence_forward(old, ids, 3, NULL, NULL, &logits), 0);
	assert_int_equal(hs_sequence_forward(other, ids, 3, NULL, NULL, &logits), 0);
	assert_false(hs_sequence_is_lost(old));
	assert_int_equal(hs_sequence_forward(old, ids + 3, 3, NULL, NULL, &logits), -ENODEV);
	assert_true(hs_sequence_is_lost(old) && hs_sequence_is_lost(other) && hs_sequence_len(old) == 3);
	hs_model_device(m, &d);
	assert_string_equal(d.name, "cpu");
	assert_string_equal(d.why.code, "gpu.lost");
	assert_string_equal(d.why.object, "cuda:0 Fake \"one\"");
	assert_false(d.gpu);

	assert_int_equal(hs_sequence_forward(other, ids + 3, 3, NULL, NULL, &logits), -ENODEV);
	assert_int_equal(hs_sequence_create(m, 16, &new), 0);
	hs_sequence_copy(new, old, 3); /* of what is lost nothing is taken */
	assert_int_equal(hs_sequence_len(new), 0);
	struct hs_step mixed[] = {{.sequence = new, .ids = ids, .n = 6, .n_logits = 1}, {.sequence = other, .ids = ids, .n = 1}};
	assert_int_equal(hs_forward(mixed, 2, NULL, NULL), -ENODEV);
	assert_int_equal(hs_sequence_forward(new, ids, 6, NULL, NULL, &logits), 0);
	assert_memory_equal(logits, kept, sizeof kept);
	hs_sequence_truncate(other, 1);
	hs_sequence_destroy(old);
	hs_sequence_destroy(other); /* the last of the device */
	assert_int_equal(hs_sequence_create(m, 16, &one_more), 0);
	hs_sequence_destroy(one_more);
	hs_sequence_destroy(new);
	hs_sequence_destroy(on_cpu);
	hs_model_destroy(m);
	hs_model_destroy(cpu);
}

static void test_embedding_goes_on(void **state)
{
	struct tiny t = TINY_F32;
	struct hs_gpu gpu;
	struct hs_model_device d;
	unsigned ends = 0;
	const char *const texts[] = {"abc", "hello"};
	const size_t lens[] = {3, 5};
	float got[80], want[80];
	t.arch = "bert";
	t.kv_heads = t.heads;
	open_fake("lost", &gpu);
	struct hs_model *m = load_tiny(t, &gpu, &ends), *cpu = load_tiny(t, NULL, &ends);
	assert_int_equal(hs_embed(m, texts, lens, 2, NULL, NULL, got), 0);
	assert_int_equal(hs_embed(cpu, texts, lens, 2, NULL, NULL, want), 0);
	assert_memory_equal(got, want, sizeof got);
	hs_model_device(m, &d);
	assert_string_equal(d.why.code, "gpu.lost");
	hs_model_destroy(m);
	hs_model_destroy(cpu);
}

static void test_no_memory_ends_the_request_only(void **state)
{
	struct hs_gpu gpu;
	struct hs_model_device d;
	struct hs_sequence *s = NULL;
	unsigned ends = 0;
	open_fake("no_pages", &gpu);
	struct hs_model *m = load_tiny(TINY_F32, &gpu, &ends);
	assert_int_equal(hs_sequence_create(m, 16, &s), -ENOMEM);
	assert_null(s);
	setenv("HISHO_FAKE_CUDA", "", 1);
	assert_int_equal(hs_sequence_create(m, 16, &s), 0);
	hs_sequence_destroy(s);
	hs_model_device(m, &d);
	assert_true(d.gpu && d.why.num == 0);
	hs_model_destroy(m);
}

int main(void)
{
	if (chmod(FAKE_CUDA, 0755) < 0) /* whatever the umask of the build was */
		return 1;
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_wishes),
	    cmocka_unit_test(test_each_fault_has_its_line),
	    cmocka_unit_test(test_files_that_are_no_plugin),
	    cmocka_unit_test(test_what_computes_is_told),
	    cmocka_unit_test(test_adapters_beside_a_device),
	    cmocka_unit_test(test_a_lost_device),
	    cmocka_unit_test(test_embedding_goes_on),
	    cmocka_unit_test(test_no_memory_ends_the_request_only),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
