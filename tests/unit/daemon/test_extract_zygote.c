#include "daemon/extract/zygote.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "tests/unit/test.h"

#include "tests/unit/daemon/extract_asker.h"

static struct asker asker;
static struct hs_zygote *zygote;
static int null_fd;

/* A reader that does what the document says. */
static int obey(const struct hs_extract_input *in, struct hs_document *ret, struct hs_err *err)
{
	if (in->len >= 5 && memcmp(in->data, "crash", 5) == 0)
		abort();
	if (in->len >= 4 && memcmp(in->data, "hang", 4) == 0) {
		for (;;)
			pause();
	}
	if (in->len >= 4 && memcmp(in->data, "spin", 4) == 0) {
		for (volatile unsigned i = 0;; i++)
			;
	}
	if (in->len >= 4 && memcmp(in->data, "exit", 4) == 0)
		_exit(9);
	if (in->len >= 3 && memcmp(in->data, "fds", 3) == 0) { /* nothing of the parent's may be open: another's document lies there */
		for (int fd = 5; fd < 1024; fd++) {
			if (fcntl(fd, F_GETFD) >= 0)
				abort();
		}
		struct stat st; /* and what a library prints goes nowhere */
		for (int fd = 0; fd <= 2; fd++) {
			if (fstat(fd, &st) < 0 || st.st_rdev != makedev(1, 3))
				abort();
		}
	}
	return hs_extract_document(in, ret, err);
}

static void open_zygote(uint64_t timeout_ms, uint64_t cpu_seconds)
{
	memset(&asker, 0, sizeof asker);
	assert_int_equal(uv_loop_init(&asker.loop), 0);
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_true(null_fd >= 0);
	const struct hs_zygote_options options = {.self = HS_PROCESS_EXTRACT, .reader = obey, .input_max = 1 << 20,
						  .timeout_ms = timeout_ms, .cpu_seconds = cpu_seconds, .null_fd = null_fd};
	assert_int_equal(hs_zygote_create(&asker.loop, &options, &zygote), 0);
	int fds[2];
	assert_int_equal(hs_channel_pair(fds), 0);
	assert_int_equal(hs_zygote_attach(zygote, "ten_x", fds[0]), 0);
	asker_open(&asker, HS_PROCESS_EXTRACT, fds[1]);
}

static void close_zygote(void)
{
	hs_zygote_destroy(zygote);
	hs_channel_destroy(asker.channel);
	while (uv_run(&asker.loop, UV_RUN_DEFAULT))
		;
	assert_int_equal(uv_loop_close(&asker.loop), 0);
	assert_int_equal(close(null_fd), 0);
}

static void test_documents(void **state)
{
	open_zygote(60000, 0);
	struct hs_document d = {0};
	int pipes[12]; /* more than run at one time */
	for (int i = 0; i < 12; i++)
		pipes[i] = asker_send(&asker, (uint64_t)i + 1, "a.txt", "秘書です。", strlen("秘書です。"));
	asker_wait(&asker, 12);
	assert_int_equal(asker.done, 12);
	for (int i = 0; i < 12; i++) {
		assert_int_equal(asker_decode(pipes[i], &d, NULL), 0);
		assert_string_equal(d.text, "秘書です。");
		hs_document_finish(&d);
	}
	assert_int_equal(hs_zygote_busy(zygote), 0);
	close_zygote();
}

static void test_child_holds_nothing_else(void **state)
{
	open_zygote(60000, 0);
	int other = asker_send(&asker, 1, "a.txt", "hang", 4), fd = asker_send(&asker, 2, "a.txt", "fds", 3);
	asker_wait(&asker, 1);
	assert_int_equal(asker.done, 1);
	assert_int_equal(close(other), 0);
	assert_int_equal(close(fd), 0);
	close_zygote();
}

static void test_failures_travel_on_the_pipe(void **state)
{
	open_zygote(60000, 0);
	struct hs_document d = {0};
	struct hs_err err = HS_ERR_INIT;
	int bad = asker_send(&asker, 1, "規程.txt", "a\0b", 3);
	asker_wait(&asker, 1);
	assert_int_equal(asker.done, 1);
	assert_int_equal(asker_decode(bad, &d, &err), -EILSEQ);
	assert_string_equal(err.code, "doc.binary");
	char *large = calloc(1, (1 << 20) + 1);
	assert_non_null(large);
	memset(large, 'a', (1 << 20) + 1);
	bad = asker_send(&asker, 2, "b.txt", large, (1 << 20) + 1);
	asker_wait(&asker, 2);
	assert_int_equal(asker_decode(bad, &d, &err), -EFBIG);
	assert_string_equal(err.code, "doc.too_large");
	free(large);
	close_zygote();
}

static void expect_error(const char *document, const char *code)
{
	struct hs_document d = {0};
	int fd = asker_send(&asker, 7, "a.txt", document, strlen(document));
	unsigned before = asker.errors;
	asker_wait(&asker, asker.done + before + 1);
	assert_int_equal(asker.errors, before + 1);
	assert_int_equal(asker.last, 7);
	assert_string_equal(asker.code, code);
	assert_true(asker_decode(fd, &d, NULL) < 0);
}

static void test_crashes_and_timeouts(void **state)
{
	open_zygote(400, 0);
	expect_error("crash", "doc.extractor_crashed");
	expect_error("exit", "doc.extractor_crashed");
	expect_error("hang", "doc.extractor_timeout");
	expect_error("spin", "doc.extractor_timeout");
	struct hs_document d = {0}; /* and the next document is read as if nothing had been */
	int fd = asker_send(&asker, 8, "a.txt", "ok", 2);
	asker_wait(&asker, 5);
	assert_int_equal(asker.done, 1);
	assert_int_equal(asker_decode(fd, &d, NULL), 0);
	hs_document_finish(&d);
	close_zygote();
}

static void test_processor_time(void **state)
{
	open_zygote(60000, 1);
	expect_error("spin", "doc.extractor_timeout");
	close_zygote();
}

static void test_cancel_and_gone(void **state)
{
	open_zygote(60000, 0);
	int fds[6];
	for (int i = 0; i < 6; i++)
		fds[i] = asker_send(&asker, 3, "a.txt", "hang", 4); /* one id for all: a careless peer */
	int ok = asker_send(&asker, 4, "a.txt", "ok", 2);
	while (hs_zygote_busy(zygote) < 7)
		uv_run(&asker.loop, UV_RUN_ONCE);
	assert_int_equal(hs_channel_send(asker.channel, HS_MSG_CANCEL, 3, 0, NULL, 0), 0);
	asker_wait(&asker, 1);
	assert_int_equal(asker.done, 1);
	assert_int_equal(asker.last, 4);
	for (int i = 0; i < 6; i++)
		assert_int_equal(close(fds[i]), 0);
	assert_int_equal(close(ok), 0);
	int fd = asker_send(&asker, 5, "a.txt", "hang", 4);
	while (hs_zygote_busy(zygote) == 0)
		uv_run(&asker.loop, UV_RUN_ONCE);
	hs_channel_destroy(asker.channel);
	asker.channel = NULL;
	while (hs_zygote_busy(zygote) > 0) /* the child of a tenant that is gone is killed */
		uv_run(&asker.loop, UV_RUN_ONCE);
	assert_int_equal(close(fd), 0);
	close_zygote();
}

static void test_malformed_and_full(void **state)
{
	open_zygote(60000, 0);
	const struct hs_frame f = {.type = HS_MSG_EXTRACT, .request = 1};
	assert_int_equal(hs_channel_send_frame(asker.channel, &f), 0);
	asker_wait(&asker, 1);
	assert_string_equal(asker.code, "message.malformed");
	int fds[HS_ZYGOTE_WAITING_MAX + 1];
	for (size_t i = 0; i <= HS_ZYGOTE_WAITING_MAX; i++)
		fds[i] = asker_send(&asker, i + 2, "a.txt", "hang", 4);
	asker_wait(&asker, 2);
	assert_string_equal(asker.code, "extract.busy");
	for (size_t i = 0; i <= HS_ZYGOTE_WAITING_MAX; i++)
		assert_int_equal(close(fds[i]), 0);
	close_zygote(); /* with all of them running and waiting */
}

int main(void)
{
	(void)signal(SIGPIPE, SIG_IGN); /* a known signal: cannot fail */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_documents),
		cmocka_unit_test(test_child_holds_nothing_else),
		cmocka_unit_test(test_failures_travel_on_the_pipe),
		cmocka_unit_test(test_crashes_and_timeouts),
		cmocka_unit_test(test_processor_time),
		cmocka_unit_test(test_cancel_and_gone),
		cmocka_unit_test(test_malformed_and_full),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
