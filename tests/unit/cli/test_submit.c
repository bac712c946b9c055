/* What a sender remembers: acknowledged is not settled, a failed document is filed again, old and torn lines are understood. */
#include "cli/submit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "crypto/age.h"
#include "crypto/signer.h"
#include "tests/unit/test.h"

#define JOB_1 "job_abcdefghijklmnopqrstuvwxyz"
#define JOB_2 "job_bbcdefghijklmnopqrstuvwxyz"

static struct {
	char dir[32], key[64], tenant[64], document[64], state[160];
	struct hs_filer *filer;
} w;

static const struct hs_filing where = {.collection = "c", .level = "社外秘", .list = ""};

#define must(call)                                                                                                     \
	do {                                                                                                           \
		struct hs_err err_ = HS_ERR_INIT, *err = &err_;                                                        \
		int rc_ = (call);                                                                                      \
		if (rc_ < 0)                                                                                           \
			fail_msg("%s: %d %s: %s", #call, rc_, err->code, err->object);                                 \
	} while (0)

static void write_file(const char *path, const char *text)
{
	assert_int_equal(hs_file_replace(AT_FDCWD, path, text, strlen(text), 0600), 0);
}

static void open_filer(void)
{
	must(hs_filer_open(NULL, w.key, w.tenant, &w.filer, err));
}

static void reopen(void)
{
	hs_filer_close(w.filer);
	open_filer();
}

static int setup(void **state)
{
	memset(&w, 0, sizeof w);
	memcpy(w.dir, "/tmp/hisho-submit-XXXXXX", 25);
	if (hs_crypto_init() < 0 || !mkdtemp(w.dir))
		return -1;
	(void)snprintf(w.key, sizeof w.key, "%s/key", w.dir);
	(void)snprintf(w.tenant, sizeof w.tenant, "%s/tenant", w.dir);
	(void)snprintf(w.document, sizeof w.document, "%s/document.txt", w.dir);
	struct hs_signer *s = hs_signer_create();
	must(hs_signer_save(s, AT_FDCWD, w.key, err));
	hs_signer_destroy(s);
	struct hs_key *age = hs_key_create();
	uint8_t public[HS_AGE_PUBLIC_LEN];
	char recipient[HS_AGE_RECIPIENT_TEXT_LEN + 1], text[256];
	const struct hs_id id = hs_id_new("ten_");
	hs_age_public(age, public);
	hs_age_recipient_format(public, recipient);
	hs_key_destroy(age);
	(void)snprintf(text, sizeof text, "{\"id\": \"%s\", \"recipient\": \"%s\"}", id.s, recipient);
	write_file(w.tenant, text);
	write_file(w.document, "日当は二千円とする。");
	(void)snprintf(w.state, sizeof w.state, "%s.%s.state", w.key, id.s + HS_ID_PREFIX_MAX);
	open_filer();
	return 0;
}

static int teardown(void **state)
{
	hs_filer_close(w.filer);
	const char *const files[] = {w.key, w.tenant, w.document, w.state};
	for (size_t i = 0; i < HS_ARRAY_LEN(files); i++)
		(void)unlink(files[i]); /* not all were made */
	return rmdir(w.dir);
}

static int seal(void)
{
	HS_BUF_AUTO manifest = HS_BUF_INIT;
	HS_BUF_AUTO ciphertext = HS_BUF_INIT;
	struct hs_err err = HS_ERR_INIT;
	return hs_filer_seal(w.filer, w.document, "document.txt", &where, false, &manifest, &ciphertext, &err);
}

static struct hs_ticket acknowledge(const char *job)
{
	struct hs_ticket t = {0};
	must(hs_filer_acknowledged(w.filer, job, &t, err));
	return t;
}

static int count(void *ctx, const struct hs_ticket *ticket)
{
	unsigned *n = ctx;
	++*n;
	assert_true(strncmp(ticket->job, "job_", 4) == 0);
	return 0;
}

static unsigned unsettled(void)
{
	unsigned n = 0;
	assert_int_equal(hs_filer_unsettled(w.filer, count, &n), 0);
	return n;
}

static void test_a_job_that_is_done_settles_it(void **state)
{
	struct hs_ticket found;
	assert_int_equal(seal(), HS_FILED);
	struct hs_ticket t = acknowledge(JOB_1);
	assert_string_equal(t.job, JOB_1);
	reopen();
	assert_int_equal(unsettled(), 1);
	assert_int_equal(seal(), HS_UNCHANGED); /* on its way: not filed twice, */
	assert_true(hs_filer_ticket(w.filer, w.document, &found)); /* and asked for */
	assert_string_equal(found.job, JOB_1);
	must(hs_filer_settle(w.filer, &found, true, err));
	assert_int_equal(unsettled(), 0);
	reopen();
	assert_int_equal(unsettled(), 0);
	assert_int_equal(seal(), HS_UNCHANGED);
	assert_false(hs_filer_ticket(w.filer, w.document, &found));
}

static void test_what_failed_is_filed_again_under_a_higher_sequence(void **state)
{
	assert_int_equal(seal(), HS_FILED);
	struct hs_ticket t = acknowledge(JOB_1);
	reopen();
	must(hs_filer_settle(w.filer, &t, false, err));
	assert_int_equal(seal(), HS_FILED); /* in this run, */
	reopen();
	assert_int_equal(unsettled(), 0);
	assert_int_equal(seal(), HS_FILED); /* and in the next */
	struct hs_ticket again = acknowledge(JOB_2);
	assert_true(again.sequence > t.sequence);

	/* The older job's end, told late, says nothing about the newer one. */
	must(hs_filer_settle(w.filer, &t, false, err));
	reopen();
	assert_int_equal(unsettled(), 1);
	assert_int_equal(seal(), HS_UNCHANGED);
}

static void test_what_was_sealed_for_another_does_not_count_as_filed(void **state)
{
	assert_int_equal(seal(), HS_FILED);
	must(hs_filer_set_aside(w.filer, err));
	reopen();
	assert_int_equal(unsettled(), 0);
	assert_int_equal(seal(), HS_FILED);
}

static void test_without_a_job_there_is_nothing_to_wait_for(void **state)
{
	assert_int_equal(seal(), HS_FILED);
	struct hs_ticket t = acknowledge("");
	assert_string_equal(t.job, "");
	reopen();
	assert_int_equal(unsettled(), 0);
	assert_int_equal(seal(), HS_UNCHANGED);
	assert_int_equal(seal(), HS_UNCHANGED);
	(void)acknowledge("not a job\nsrc_x"); /* of an appliance that is not one: no line of its making */
	reopen();
	assert_int_equal(unsettled(), 0);
}

static void append(const char *text)
{
	HS_FD_AUTO fd = open(w.state, O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(hs_fd_write_all(fd, text, strlen(text)), 0);
}

/* Lines of three words are of the version before; a cut one, or one with more behind it, is passed over. */
static void test_lines_of_other_shapes(void **state)
{
	assert_int_equal(seal(), HS_FILED);
	struct hs_ticket t = acknowledge(JOB_1);
	char line[256];
	hs_filer_close(w.filer);
	(void)snprintf(line, sizeof line, "%s %llu %s\n", t.source, (unsigned long long)t.sequence + 1, t.mac);
	append(line);
	open_filer();
	assert_int_equal(unsettled(), 0);
	assert_int_equal(seal(), HS_UNCHANGED);
	for (int i = 0; i < 3; i++) { /* cut within the job, behind the job, before it: none is a word about anything */
		static const char *const ends[] = {"- job_cut", "- " JOB_1, "-"};
		hs_filer_close(w.filer);
		(void)snprintf(line, sizeof line, "%s %llu %s", t.source, (unsigned long long)t.sequence + 2, ends[i]);
		append(line);
		open_filer();
		assert_int_equal(seal(), HS_UNCHANGED);
		reopen();
		assert_int_equal(seal(), HS_UNCHANGED);
		assert_int_equal(unsettled(), 0);
	}
	(void)snprintf(line, sizeof line, "%s %llu - " JOB_1 " more\n", t.source, (unsigned long long)t.sequence + 2);
	append(line);
	reopen();
	assert_int_equal(unsettled(), 0);
	assert_int_equal(seal(), HS_UNCHANGED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_a_job_that_is_done_settles_it, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_what_failed_is_filed_again_under_a_higher_sequence, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_what_was_sealed_for_another_does_not_count_as_filed, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_without_a_job_there_is_nothing_to_wait_for, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_lines_of_other_shapes, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
