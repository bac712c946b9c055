#include "policy/head.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "base/file.h"
#include "tests/unit/test.h"

static uint8_t public[HS_HEAD_PUBLIC_LEN], secret[crypto_sign_SECRETKEYBYTES];
static const struct hs_audit_head sample = {.seq = 1234, .time = 1800000000000, .chain = {9, 8, 7}};

static int setup(void **state)
{
	const uint8_t seed[crypto_sign_SEEDBYTES] = {5};
	if (sodium_init() < 0)
		return -1;
	return crypto_sign_seed_keypair(public, secret, seed);
}

static void sign(const struct hs_audit_head *head, struct hs_buf *note)
{
	uint8_t signature[HS_AUDIT_SIGNATURE_LEN];
	HS_BUF_AUTO text = HS_BUF_INIT;
	assert_int_equal(hs_head_text("ten_a", head, &text), 0);
	assert_int_equal(crypto_sign_detached(signature, NULL, text.data, text.len, secret), 0);
	assert_int_equal(hs_head_note("ten_a", head, public, signature, note), 0);
}

static int open_note(const struct hs_buf *note, struct hs_audit_head *ret)
{
	struct hs_err err = HS_ERR_INIT;
	int rc = hs_head_open(note->data, note->len, "ten_a", public, ret, &err);
	if (rc < 0)
		assert_string_equal(err.code, "audit.head");
	return rc;
}

static void what_was_signed_opens_again(void **state)
{
	HS_BUF_AUTO note = HS_BUF_INIT;
	struct hs_audit_head got = {0};
	sign(&sample, &note);
	assert_int_equal(open_note(&note, &got), 0);
	assert_memory_equal(&got, &sample, sizeof got);
}

static void each_changed_byte_is_refused(void **state)
{
	HS_BUF_AUTO note = HS_BUF_INIT;
	struct hs_audit_head got = {.seq = 77};
	sign(&sample, &note);
	for (size_t i = 0; i < note.len; i++) {
		note.data[i] ^= 1;
		if (open_note(&note, &got) != -EBADMSG)
			fail_msg("byte %zu was changed", i);
		note.data[i] ^= 1;
	}
	for (size_t n = 0; n < note.len; n++) {
		const struct hs_buf cut = {.data = note.data, .len = n};
		if (open_note(&cut, &got) != -EBADMSG)
			fail_msg("cut to %zu bytes", n);
	}
	assert_int_equal(got.seq, 77);
}

static void another_key_tenant_or_form_is_refused(void **state)
{
	HS_BUF_AUTO note = HS_BUF_INIT;
	HS_BUF_AUTO bad = HS_BUF_INIT;
	struct hs_err err = HS_ERR_INIT;
	struct hs_audit_head got;
	uint8_t other[HS_HEAD_PUBLIC_LEN] = {1};
	sign(&sample, &note);
	assert_int_equal(hs_head_open(note.data, note.len, "ten_a", other, &got, &err), -EBADMSG);
	assert_int_equal(hs_head_open(note.data, note.len, "ten_b", public, &got, &err), -EBADMSG);
	/* The same meaning in another form, rightly signed: there is one form. */
	static const char text[] = "hisho-audit-chain/ten_a\n01\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\ntime 5\n";
	uint8_t marked[4 + HS_AUDIT_SIGNATURE_LEN];
	char line[128], key[HS_HEAD_KEY_TEXT_MAX];
	hs_head_key_format(public, key);
	for (int i = 0; i < 4; i++)
		marked[i] = (uint8_t)strtoul((char[]){key[11 + 2 * i], key[12 + 2 * i], '\0'}, NULL, 16);
	assert_int_equal(crypto_sign_detached(marked + 4, NULL, (const uint8_t *)text, sizeof text - 1, secret), 0);
	sodium_bin2base64(line, sizeof line, marked, sizeof marked, sodium_base64_VARIANT_ORIGINAL);
	assert_int_equal(hs_buf_printf(&bad, "%s\n\xe2\x80\x94 hisho-keyd %s\n", text, line), 0);
	assert_int_equal(open_note(&bad, &got), -EBADMSG);
	assert_int_equal(hs_buf_append_byte(&note, 0), 0);
	assert_int_equal(hs_head_open(note.data, note.len - 1, "ten_a", public, &got, NULL), 0);
	assert_int_equal(open_note(&note, &got), -EBADMSG);
	assert_int_equal(open_note(&(const struct hs_buf){0}, &got), -EBADMSG);
}

static void signatures_of_witnesses_may_stand_beside(void **state)
{
	static const char theirs[] = "\xe2\x80\x94 witness.example AAAAAAAA\n";
	HS_BUF_AUTO note = HS_BUF_INIT;
	HS_BUF_AUTO before = HS_BUF_INIT;
	struct hs_audit_head got;
	sign(&sample, &note);
	const char *gap = strstr(hs_buf_cstr(&note), "\n\n");
	size_t text_len = (size_t)(gap + 2 - (const char *)note.data);
	assert_int_equal(hs_buf_append(&before, note.data, text_len), 0);
	for (int i = 0; i < HS_HEAD_SIGNATURES_MAX - 1; i++)
		assert_int_equal(hs_buf_append_str(&before, theirs), 0);
	assert_int_equal(hs_buf_append(&before, note.data + text_len, note.len - text_len), 0);
	assert_int_equal(open_note(&before, &got), 0);
	assert_int_equal(hs_buf_append_str(&note, theirs), 0);
	assert_int_equal(open_note(&note, &got), 0);
	/* Theirs alone is not ours. */
	before.len = text_len;
	assert_int_equal(hs_buf_append_str(&before, theirs), 0);
	assert_int_equal(open_note(&before, &got), -EBADMSG);
}

static void a_key_is_one_text(void **state)
{
	char text[HS_HEAD_KEY_TEXT_MAX], bad[HS_HEAD_KEY_TEXT_MAX];
	uint8_t got[HS_HEAD_PUBLIC_LEN];
	hs_head_key_format(public, text);
	assert_true(hs_head_key_parse(text, got));
	assert_memory_equal(got, public, sizeof got);
	for (size_t i = 0; i < strlen(text); i++) {
		memcpy(bad, text, sizeof bad);
		bad[i] ^= 1;
		if (hs_head_key_parse(bad, got))
			fail_msg("byte %zu was changed", i);
		bad[i] = '\0';
		assert_false(hs_head_key_parse(bad, got));
	}
}

static void heads_go_forward(void **state)
{
	struct hs_audit_head none = {0}, next = sample;
	assert_true(hs_head_follows(&none, &sample));
	assert_true(hs_head_follows(&sample, &sample));
	next.chain[0] ^= 1;
	assert_false(hs_head_follows(&sample, &next));
	next.seq++;
	assert_true(hs_head_follows(&sample, &next));
	assert_false(hs_head_follows(&next, &sample));
}

static void a_file_is_bounded(void **state)
{
	char path[] = "/tmp/hisho-head-XXXXXX";
	HS_BUF_AUTO note = HS_BUF_INIT;
	struct hs_audit_head got;
	assert_non_null(mkdtemp(path));
	HS_FD_AUTO dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(hs_head_read(dir, "head", "ten_a", public, &got, NULL), -ENOENT);
	sign(&sample, &note);
	assert_int_equal(hs_file_replace(dir, "head", note.data, note.len, 0600), 0);
	assert_int_equal(hs_head_read(dir, "head", "ten_a", public, &got, NULL), 0);
	assert_int_equal(hs_buf_reserve(&note, HS_HEAD_NOTE_MAX), 0);
	memset(note.data, '\n', HS_HEAD_NOTE_MAX + 1);
	assert_int_equal(hs_file_replace(dir, "head", note.data, HS_HEAD_NOTE_MAX + 1, 0600), 0);
	assert_true(hs_head_read(dir, "head", "ten_a", public, &got, NULL) < 0);
	assert_int_equal(unlinkat(dir, "head", 0), 0);
	assert_int_equal(rmdir(path), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_signed_opens_again),
	    cmocka_unit_test(each_changed_byte_is_refused),
	    cmocka_unit_test(another_key_tenant_or_form_is_refused),
	    cmocka_unit_test(signatures_of_witnesses_may_stand_beside),
	    cmocka_unit_test(a_key_is_one_text),
	    cmocka_unit_test(heads_go_forward),
	    cmocka_unit_test(a_file_is_bounded),
	};
	return cmocka_run_group_tests(tests, setup, NULL);
}
