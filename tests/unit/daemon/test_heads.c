#include "daemon/tenant/heads.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "base/file.h"
#include "policy/head.h"
#include "tests/unit/test.h"

/* A tenant of nothing but a log, a recorder and heads; keyd is this test, and answers as `answer` says. */
enum answer { SIGNS, SIGNS_WRONGLY, REFUSES, SILENT };

static struct {
	uv_loop_t loop;
	char path[40];
	struct hs_tenant tenant;
	struct hs_channel *keyd, *ours;
	uint8_t public[32], secret[64];
	enum answer answer;
	unsigned asked;
	uint64_t last_asked;
	bool finished;
} w;

static void on_frame(void *ctx, struct hs_frame *f)
{
	struct hs_msg_head asked;
	uint8_t reply[HS_HEAD_PUBLIC_LEN + HS_AUDIT_SIGNATURE_LEN];
	struct hs_err err = HS_ERR_INIT;
	HS_BUF_AUTO text = HS_BUF_INIT;
	assert_int_equal(f->type, HS_MSG_HEAD_SIGN);
	assert_int_equal(hs_get_head(f->payload, f->payload_len, &asked), 0);
	w.asked++;
	w.last_asked = asked.seq;
	struct hs_audit_head head = {.seq = asked.seq, .time = asked.time};
	memcpy(head.chain, asked.chain, sizeof head.chain);
	assert_int_equal(hs_head_text("ten_a", &head, &text), 0);
	memcpy(reply, w.public, sizeof w.public);
	crypto_sign_detached(reply + HS_HEAD_PUBLIC_LEN, NULL, text.data, text.len, w.secret);
	reply[HS_HEAD_PUBLIC_LEN] ^= w.answer == SIGNS_WRONGLY;
	if (w.answer == REFUSES) {
		(void)hs_fail(&err, ESTALE, "audit.head", "", "ten_a");
		assert_int_equal(hs_channel_send_error(w.keyd, f->request, &err), 0);
	} else if (w.answer != SILENT) {
		assert_int_equal(hs_channel_send(w.keyd, HS_MSG_HEAD_SIGNED, f->request, 0, reply, sizeof reply), 0);
	}
}

static void on_answer(void *ctx, struct hs_frame *f)
{
	hs_heads_frame(w.tenant.heads, f);
}

static void on_gone(void *ctx, const struct hs_err *why)
{
}

static int setup(void **state)
{
	static const uint8_t seed[crypto_sign_SEEDBYTES] = {1}, key[HS_AUDIT_KEY_LEN] = {2};
	static struct hs_write_context context;
	static void *contexts[] = {&context};
	static const struct hs_channel_events theirs = {.frame = on_frame, .gone = on_gone},
					      ours = {.frame = on_answer, .gone = on_gone};
	const struct hs_channel_options a = {HS_PROCESS_KEYD, HS_PROCESS_TENANT, ""},
					b = {HS_PROCESS_TENANT, HS_PROCESS_KEYD, "ten_a"};
	int pair[2];
	memset(&w, 0, sizeof w);
	memcpy(w.path, "/tmp/hisho-heads-XXXXXX", 24);
	if (sodium_init() < 0 || !mkdtemp(w.path) || uv_loop_init(&w.loop) < 0 || hs_channel_pair(pair) < 0)
		return -1;
	crypto_sign_seed_keypair(w.public, w.secret, seed);
	w.tenant = (struct hs_tenant){.loop = &w.loop, .id = {"ten_a"}, .blobs = -1, .owner_lock = -1};
	w.tenant.dir = open(w.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	memcpy(w.tenant.signer, w.public, sizeof w.public);
	if (hs_audit_open(w.tenant.dir, HS_TENANT_AUDIT, "ten_a", key, NULL, 0, 1, &w.tenant.audit, NULL) < 0 ||
	    hs_worker_create(&w.loop, 1, contexts, 16, &w.tenant.recorder) < 0 || hs_heads_create(&w.tenant, &w.tenant.heads) < 0 ||
	    hs_channel_create(&w.loop, pair[0], &a, &theirs, NULL, &w.keyd) < 0)
		return -1;
	return hs_channel_create(&w.loop, pair[1], &b, &ours, NULL, &w.ours);
}

static int teardown(void **state)
{
	static const char *const names[] = {HS_TENANT_AUDIT, HS_TENANT_AUDIT ".mark", HS_TENANT_HEAD};
	hs_worker_destroy(w.tenant.recorder);
	hs_heads_destroy(w.tenant.heads);
	hs_audit_close(w.tenant.audit);
	hs_channel_destroy(w.keyd);
	hs_channel_destroy(w.ours);
	uv_run(&w.loop, UV_RUN_DEFAULT);
	for (size_t i = 0; i < HS_ARRAY_LEN(names); i++)
		(void)unlinkat(w.tenant.dir, names[i], 0); /* not each is there */
	hs_close(&w.tenant.dir);
	return uv_loop_close(&w.loop) || rmdir(w.path);
}

/* A record, while the recorder has nothing to do. */
static void append(void)
{
	const struct hs_audit_entry e = {.principal = "usr_a", .action = "ask", .object = "", .time = 5};
	uint64_t seq = 0;
	assert_int_equal(hs_audit_append(w.tenant.audit, &e, &seq, NULL), 0);
	hs_heads_count(w.tenant.heads, seq);
}

static void on_stop(uv_timer_t *timer)
{
	uv_stop(timer->loop);
}

/* Run the loop until `until` holds or so long; what must not happen is given a short while. */
static void run_until(bool (*until)(void), unsigned ms)
{
	uv_timer_t timer;
	uv_timer_init(&w.loop, &timer);
	uv_timer_start(&timer, on_stop, ms, 0);
	while (!(until && until()) && uv_is_active((uv_handle_t *)&timer))
		uv_run(&w.loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&w.loop, UV_RUN_NOWAIT);
}

static bool has_note(void)
{
	return w.tenant.signed_head.seq == w.last_asked && w.last_asked > 0;
}

static bool has_asked(void)
{
	return w.asked > 0;
}

static bool has_finished(void)
{
	return w.finished;
}

static void finished(void *ctx)
{
	assert_false(w.finished);
	w.finished = true;
}

static uint64_t noted(void)
{
	struct hs_audit_head head;
	return hs_head_read(w.tenant.dir, HS_TENANT_HEAD, "ten_a", w.public, &head, NULL) == 0 ? head.seq : 0;
}

static void a_start_signs_what_is_there(void **state)
{
	append();
	append();
	hs_heads_attach(w.tenant.heads, w.ours);
	hs_heads_start(w.tenant.heads);
	run_until(has_note, 10000);
	assert_int_equal(noted(), 2);
	assert_int_equal(w.asked, 1);
}

static void an_empty_or_unchanged_log_asks_for_nothing(void **state)
{
	hs_heads_attach(w.tenant.heads, w.ours);
	hs_heads_finish(w.tenant.heads, finished, NULL);
	run_until(has_finished, 10000);
	assert_true(w.finished);
	append();
	hs_audit_head(w.tenant.audit, &w.tenant.signed_head);
	w.finished = false;
	hs_heads_finish(w.tenant.heads, finished, NULL);
	run_until(has_finished, 10000);
	assert_int_equal(w.asked, 0);
}

static void a_thousand_records_are_signed_without_waiting(void **state)
{
	hs_heads_attach(w.tenant.heads, w.ours);
	for (int i = 0; i < HS_HEADS_RECORDS - 1; i++)
		append();
	run_until(has_asked, 50);
	assert_int_equal(w.asked, 0);
	append();
	run_until(has_note, 10000);
	assert_int_equal(noted(), HS_HEADS_RECORDS);
	append();
	run_until(NULL, 50);
	assert_int_equal(w.asked, 1);
}

static void what_does_not_verify_is_not_kept(void **state)
{
	append();
	w.answer = SIGNS_WRONGLY;
	hs_heads_attach(w.tenant.heads, w.ours);
	hs_heads_finish(w.tenant.heads, finished, NULL);
	run_until(has_finished, 10000);
	w.answer = REFUSES;
	w.finished = false;
	hs_heads_finish(w.tenant.heads, finished, NULL);
	run_until(has_finished, 10000);
	assert_true(w.finished);
	assert_int_equal(w.asked, 2);
	assert_int_equal(noted(), 0);
}

static void an_end_signs_first_and_waits_for_nobody_for_ever(void **state)
{
	append();
	hs_heads_attach(w.tenant.heads, w.ours);
	hs_heads_finish(w.tenant.heads, finished, NULL);
	run_until(has_finished, 10000);
	assert_int_equal(noted(), 1);
	append();
	w.answer = SILENT;
	w.finished = false;
	hs_heads_finish(w.tenant.heads, finished, NULL);
	run_until(has_finished, 30000);
	assert_true(w.finished);
	assert_int_equal(noted(), 1);
	/* keyd goes away while it is asked, and is not there at all */
	w.finished = false;
	hs_heads_finish(w.tenant.heads, finished, NULL);
	hs_heads_attach(w.tenant.heads, NULL);
	run_until(has_finished, 30000);
	assert_true(w.finished);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_start_signs_what_is_there),
	    TEST(an_empty_or_unchanged_log_asks_for_nothing),
	    TEST(a_thousand_records_are_signed_without_waiting),
	    TEST(what_does_not_verify_is_not_kept),
	    TEST(an_end_signs_first_and_waits_for_nobody_for_ever),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
