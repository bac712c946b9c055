#include "crypto/age.h"

#include <errno.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/wait.h>

#include <sodium.h>

#include "crypto/agefile.h"
#include "tests/unit/test.h"
#include "tests/unit/crypto/folder.h"

extern char **environ;

static const uint8_t identity_bytes[HS_KEY_LEN] = {0x21, 0x43, 0x65};

static int gather(void *ctx, const void *data, size_t n)
{
	return hs_buf_append(ctx, data, n);
}

static void encrypt(const uint8_t *recipients, size_t n_recipients, const uint8_t *data, size_t n, size_t step, struct hs_buf *out)
{
	struct hs_age_encrypt *e;
	assert_int_equal(hs_age_encrypt_create(recipients, n_recipients, gather, out, &e, NULL), 0);
	for (size_t at = 0; at < n; at += step)
		assert_int_equal(hs_age_encrypt_push(e, data + at, HS_MIN(step, n - at)), 0);
	assert_int_equal(hs_age_encrypt_finish(e), 0);
	assert_true(hs_age_encrypt_push(e, "x", 1) < 0);
	hs_age_encrypt_destroy(e);
}

static int decrypt(const struct hs_key *identity, const uint8_t *data, size_t n, size_t step, struct hs_buf *out,
		   struct hs_err *err)
{
	struct hs_age_decrypt *d;
	int rc = hs_age_decrypt_create(identity, gather, out, &d, err);
	for (size_t at = 0; rc == 0 && at < n; at += step)
		rc = hs_age_decrypt_push(d, data + at, HS_MIN(step, n - at), err);
	if (rc == 0)
		rc = hs_age_decrypt_finish(d, err);
	hs_age_decrypt_destroy(d);
	return rc;
}

static void test_lengths_and_steps(void **state)
{
	HS_KEY_AUTO id = hs_key_copy(identity_bytes);
	HS_KEY_AUTO other = hs_key_create();
	uint8_t recipients[64];
	hs_age_public(other, recipients);
	hs_age_public(id, recipients + 32);
	const size_t lengths[] = {0, 1, 65535, 65536, 65537, 131072, 150000};
	uint8_t *data = malloc(150000);
	randombytes_buf(data, 150000);
	for (size_t i = 0; i < HS_ARRAY_LEN(lengths); i++) {
		HS_BUF_AUTO sealed = HS_BUF_INIT;
		HS_BUF_AUTO plain = HS_BUF_INIT;
		struct hs_err err = HS_ERR_INIT;
		encrypt(recipients, 2, data, lengths[i], 10007, &sealed);
		size_t steps[] = {sealed.len, 4099, i < 2 ? 1 : 65552};
		for (size_t s = 0; s < 3; s++) {
			plain.len = 0;
			assert_int_equal(decrypt(id, sealed.data, sealed.len, steps[s], &plain, &err), 0);
			assert_int_equal(plain.len, lengths[i]);
			assert_memory_equal(plain.data ? plain.data : data, data, lengths[i]);
		}
	}
	free(data);
}

static void test_keys_as_text(void **state)
{
	HS_KEY_AUTO id = hs_key_copy(identity_bytes);
	HS_KEY_AUTO back = NULL;
	uint8_t public[32], again[32];
	char recipient[HS_AGE_RECIPIENT_TEXT_LEN + 1], secret[HS_AGE_IDENTITY_TEXT_LEN + 1];
	struct hs_err err = HS_ERR_INIT;
	hs_age_public(id, public);
	hs_age_recipient_format(public, recipient);
	hs_age_identity_format(id, secret);
	assert_int_equal(strlen(recipient), HS_AGE_RECIPIENT_TEXT_LEN);
	assert_int_equal(strlen(secret), HS_AGE_IDENTITY_TEXT_LEN);
	assert_int_equal(hs_age_recipient_parse(recipient, 62, again, &err), 0);
	assert_memory_equal(public, again, 32);
	assert_int_equal(hs_age_identity_parse(secret, 74, &back, &err), 0);
	assert_memory_equal(back->bytes, identity_bytes, 32);
	for (size_t i = 0; i < 62; i++) {
		char kept = recipient[i];
		recipient[i] = kept == 'q' ? 'p' : 'q';
		assert_int_equal(hs_age_recipient_parse(recipient, 62, again, &err), -EINVAL);
		recipient[i] = kept;
		assert_int_equal(hs_age_recipient_parse(recipient, i, again, &err), -EINVAL);
	}
	assert_string_equal(err.code, "age.recipient");
	HS_KEY_AUTO none = NULL;
	secret[0] = 'a';
	assert_int_equal(hs_age_identity_parse(secret, 74, &none, &err), -EINVAL);
	assert_null(strstr(err.object, "AGE")); /* a wrong secret is not repeated */
	assert_int_equal(hs_age_identity_parse(recipient, 62, &none, &err), -EINVAL);
}

static void test_every_changed_byte_and_cut_is_told(void **state)
{
	HS_KEY_AUTO id = hs_key_copy(identity_bytes);
	uint8_t public[32];
	HS_BUF_AUTO sealed = HS_BUF_INIT;
	HS_BUF_AUTO plain = HS_BUF_INIT;
	struct hs_err err = HS_ERR_INIT;
	hs_age_public(id, public);
	encrypt(public, 1, (const uint8_t *)"confidential", 12, 12, &sealed);
	for (size_t i = 0; i < sealed.len; i++) {
		sealed.data[i] ^= 1;
		err = HS_ERR_INIT;
		plain.len = 0;
		assert_true(decrypt(id, sealed.data, sealed.len, 13, &plain, &err) < 0);
		assert_int_equal(strncmp(err.code, "age.", 4), 0);
		assert_int_equal(plain.len, 0);
		sealed.data[i] ^= 1;
		assert_true(decrypt(id, sealed.data, i, 13, &plain, &err) < 0);
	}
	assert_int_equal(hs_buf_append(&sealed, "x", 1), 0);
	assert_int_equal(decrypt(id, sealed.data, sealed.len, 13, &plain, &err), -EBADMSG);
	HS_KEY_AUTO other = hs_key_create();
	assert_int_equal(decrypt(other, sealed.data, sealed.len - 1, 13, &plain, &err), -ENOKEY);
	assert_string_equal(err.code, "age.recipient");
}

static void test_chunks_cut_doubled_and_emptied(void **state)
{
	HS_KEY_AUTO id = hs_key_copy(identity_bytes);
	uint8_t public[32], *data = calloc(1, 200000);
	HS_BUF_AUTO sealed = HS_BUF_INIT;
	HS_BUF_AUTO bad = HS_BUF_INIT;
	HS_BUF_AUTO plain = HS_BUF_INIT;
	struct hs_err err = HS_ERR_INIT;
	hs_age_public(id, public);
	encrypt(public, 1, data, 131072, 131072, &sealed);
	size_t payload = sealed.len - 2 * 65552, start = payload - 16;
	/* Ends after a chunk that is not the last. */
	assert_int_equal(decrypt(id, sealed.data, payload + 65552, 1000, &plain, &err), -EBADMSG);
	assert_string_equal(err.object, "cut short");
	/* Ends with the nonce; ends within the nonce; a last chunk without its tag. */
	assert_int_equal(decrypt(id, sealed.data, payload, 1000, &plain, &err), -EBADMSG);
	assert_int_equal(decrypt(id, sealed.data, start + 5, 1000, &plain, &err), -EBADMSG);
	assert_int_equal(decrypt(id, sealed.data, start, 1000, &plain, &err), -EBADMSG);
	assert_int_equal(decrypt(id, sealed.data, payload + 65552 + 15, 1000, &plain, &err), -EBADMSG);
	/* Bytes after a full last chunk; the last chunk twice; chunks exchanged. */
	assert_int_equal(hs_buf_append(&bad, sealed.data, sealed.len), 0);
	assert_int_equal(hs_buf_append(&bad, "more", 4), 0);
	assert_int_equal(decrypt(id, bad.data, bad.len, 1000, &plain, &err), -EBADMSG);
	assert_string_equal(err.object, "bytes after the last chunk");
	bad.len = sealed.len;
	assert_int_equal(hs_buf_append(&bad, sealed.data + payload + 65552, 65552), 0);
	assert_int_equal(decrypt(id, bad.data, bad.len, 1000, &plain, &err), -EBADMSG);
	bad.len = payload;
	assert_int_equal(hs_buf_append(&bad, sealed.data + payload + 65552, 65552), 0);
	assert_int_equal(hs_buf_append(&bad, sealed.data + payload, 65552), 0);
	assert_int_equal(decrypt(id, bad.data, bad.len, 1000, &plain, &err), -EBADMSG);
	free(data);
}

/*
 * Malformed files that authenticate: a builder of our own, from the specification, that can be told to do wrong.
 */
struct forge {
	const char *version, *before, *between, *type, *extra; /* text around the stanza */
	const char *mac_start;                                 /* instead of "--- " */
	bool padded_share, padded_body, short_body, long_line, crlf, wrong_mac;
	const uint8_t *share;                                  /* instead of a fresh one */
	bool empty_last; /* a full chunk that is not the last, then an empty last one */
};

static void append(struct hs_buf *b, const void *data, size_t n)
{
	assert_int_equal(hs_buf_append(b, data, n), 0);
}

static void text(struct hs_buf *b, const char *s)
{
	append(b, s, strlen(s));
}

static void base64(struct hs_buf *b, const uint8_t *data, size_t n, bool padded)
{
	char out[128];
	sodium_bin2base64(out, sizeof out, data, n,
			  padded ? sodium_base64_VARIANT_ORIGINAL : sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
	text(b, out);
}

static void forge(const struct forge *f, const struct hs_key *id, struct hs_buf *b)
{
	static const uint8_t zero_nonce[12], file_key[16] = {5};
	uint8_t public[32], scalar[32] = {77}, share[32], wrap[32], body[32], mac[32], nonce[16] = {3}, key[32], chunk_nonce[12];
	static uint8_t chunk[65536], sealed[65552];
	hs_age_public(id, public);
	crypto_scalarmult_curve25519_base(share, scalar);
	assert_true(hs_age_wrap_key(scalar, public, share, public, wrap));
	crypto_aead_chacha20poly1305_ietf_encrypt(body, NULL, file_key, 16, NULL, 0, NULL, zero_nonce, wrap);
	text(b, f->version ? f->version : HS_AGE_VERSION_LINE);
	text(b, f->before ? f->before : "");
	text(b, f->type ? f->type : "-> X25519 ");
	base64(b, f->share ? f->share : share, 32, f->padded_share);
	text(b, f->extra ? f->extra : "");
	text(b, f->crlf ? "\r\n" : "\n");
	base64(b, body, f->short_body ? 31 : 32, f->padded_body);
	text(b, f->long_line ? "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n" : "\n");
	text(b, f->between ? f->between : "");
	text(b, "---");
	hs_age_header_mac(file_key, b->data, b->len, mac);
	mac[0] ^= f->wrong_mac;
	text(b, f->mac_start ? f->mac_start : " ");
	base64(b, mac, 32, false);
	text(b, "\n");
	append(b, nonce, sizeof nonce);
	hs_age_hkdf(file_key, 16, nonce, sizeof nonce, "payload", key);
	unsigned long long n;
	if (f->empty_last) {
		hs_age_chunk_nonce(0, false, chunk_nonce);
		crypto_aead_chacha20poly1305_ietf_encrypt(sealed, &n, chunk, sizeof chunk, NULL, 0, NULL, chunk_nonce, key);
		append(b, sealed, (size_t)n);
	}
	hs_age_chunk_nonce(f->empty_last, true, chunk_nonce);
	crypto_aead_chacha20poly1305_ietf_encrypt(sealed, &n, chunk, f->empty_last ? 0 : 5, NULL, 0, NULL, chunk_nonce, key);
	append(b, sealed, (size_t)n);
}

static void test_malformed_headers(void **state)
{
	static const uint8_t zeros[32], low_order[32] = {1};
	static const struct {
		const char *what;
		struct forge f;
		int rc;
		const char *code;
	} cases[] = {
		{"well made", {0}, 0, ""},
		{"an unknown stanza before", {.before = "-> grease a b\nAAAA\n"}, 0, ""},
		{"an unknown stanza with an empty body", {.before = "-> grease\n\n"}, 0, ""},
		{"an unknown stanza of a full line and an empty one",
		 {.before = "-> grease\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n\n"}, 0, ""},
		{"another version", {.version = "age-encryption.org/v2\n"}, -EPROTO, "age.version"},
		{"no age file", {.version = "something else\n"}, -EPROTO, "age.header"},
		{"armour", {.version = "-----BEGIN AGE ENCRYPTED FILE-----\n"}, -EPROTO, "age.armor"},
		{"carriage return in the version", {.version = "age-encryption.org/v1\r\n"}, -EPROTO, "age.version"},
		{"carriage return in the stanza", {.crlf = true}, -EPROTO, "age.header"},
		{"padded share", {.padded_share = true}, -EPROTO, "age.header"},
		{"padded body", {.padded_body = true}, -EPROTO, "age.header"},
		{"short body", {.short_body = true}, -EPROTO, "age.header"},
		{"a body line too long", {.long_line = true}, -EPROTO, "age.header"},
		{"an extra argument", {.extra = " more"}, -EPROTO, "age.header"},
		{"a space at the end", {.extra = " "}, -EPROTO, "age.header"},
		{"two spaces", {.type = "-> X25519  "}, -EPROTO, "age.header"},
		{"a wrong start", {.type = "->X25519 "}, -EPROTO, "age.header"},
		{"a lower-case type", {.type = "-> x25519 "}, -ENOKEY, "age.recipient"},
		{"a share of zeros", {.share = zeros}, -EPROTO, "age.header"},
		{"a share of low order", {.share = low_order}, -EPROTO, "age.header"},
		{"a stanza without arguments", {.before = "-> \nAAAA\n"}, -EPROTO, "age.header"},
		{"a stanza with a control character", {.before = "-> a\x01\nAAAA\n"}, -EPROTO, "age.header"},
		{"a stanza with a letter beyond ASCII", {.before = "-> \xc3\xa9\nAAAA\n"}, -EPROTO, "age.header"},
		{"a stanza without a body", {.before = "-> a\n"}, -EPROTO, "age.header"},
		{"a full last body line", {.before = "-> a\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"}, -EPROTO,
		 "age.header"},
		{"two short body lines", {.before = "-> a\nAAAA\nAAAA\n"}, -EPROTO, "age.header"},
		{"base64 that is not canonical", {.before = "-> a\nAB\n"}, -EPROTO, "age.header"},
		{"a passphrase beside a key", {.between = "-> scrypt AAAAAAAAAAAAAAAAAAAAAA 10\nAAAA\n"}, -EPROTO, "age.header"},
		{"a wrong MAC", {.wrong_mac = true}, -EBADMSG, "age.mac"},
		{"a MAC line without its space", {.mac_start = ""}, -EPROTO, "age.header"},
		{"a MAC line with two spaces", {.mac_start = "  "}, -EPROTO, "age.header"},
		{"an empty last chunk", {.empty_last = true}, -EBADMSG, "age.payload"},
	};
	HS_KEY_AUTO id = hs_key_copy(identity_bytes);
	for (size_t i = 0; i < HS_ARRAY_LEN(cases); i++) {
		HS_BUF_AUTO b = HS_BUF_INIT;
		HS_BUF_AUTO plain = HS_BUF_INIT;
		forge(&cases[i].f, id, &b);
		for (size_t step = 1; step < 3000; step += 997) {
			struct hs_err err = HS_ERR_INIT;
			int rc = decrypt(id, b.data, b.len, step, &plain, &err);
			if (rc != cases[i].rc || strcmp(err.code, cases[i].code) != 0)
				fail_msg("%s: %d %s %s", cases[i].what, rc, err.code, err.object);
		}
	}
}

static void test_limits(void **state)
{
	HS_KEY_AUTO id = hs_key_copy(identity_bytes);
	HS_BUF_AUTO b = HS_BUF_INIT;
	HS_BUF_AUTO plain = HS_BUF_INIT;
	struct hs_err err = HS_ERR_INIT;
	text(&b, HS_AGE_VERSION_LINE);
	while (b.len < 70000)
		text(&b, "-> grease\nAAAA\n");
	assert_int_equal(decrypt(id, b.data, b.len, 4096, &plain, &err), -EPROTO);
	b.len = 0;
	while (b.len < 70000)
		text(&b, "x"); /* a line without end */
	assert_int_equal(decrypt(id, b.data, b.len, 4096, &plain, &err), -EPROTO);
	assert_string_equal(err.object, "not an age file");
	assert_int_equal(decrypt(id, b.data, 0, 1, &plain, &err), -EPROTO);
	struct hs_age_encrypt *e;
	static const uint8_t low_order[32];
	assert_int_equal(hs_age_encrypt_create(low_order, 1, gather, &plain, &e, &err), -EINVAL);
	assert_int_equal(hs_age_encrypt_create(low_order, 0, gather, &plain, &e, &err), -EINVAL);
	assert_int_equal(hs_age_encrypt_create(low_order, HS_AGE_RECIPIENTS_MAX + 1, gather, &plain, &e, &err), -EINVAL);
}

static int no_sink(void *ctx, const void *data, size_t n)
{
	int *left = ctx;
	return (*left)-- > 0 ? 0 : -ENOSPC;
}

static void test_a_failing_sink_is_told(void **state)
{
	HS_KEY_AUTO id = hs_key_copy(identity_bytes);
	uint8_t public[32];
	static uint8_t data[200000];
	HS_BUF_AUTO sealed = HS_BUF_INIT;
	hs_age_public(id, public);
	encrypt(public, 1, data, sizeof data, sizeof data, &sealed);
	for (int fails_at = 0; fails_at < 5; fails_at++) {
		int left = fails_at;
		struct hs_age_encrypt *e = NULL;
		int rc = hs_age_encrypt_create(public, 1, no_sink, &left, &e, NULL);
		if (rc == 0)
			rc = hs_age_encrypt_push(e, data, sizeof data);
		if (rc == 0)
			rc = hs_age_encrypt_finish(e);
		assert_int_equal(rc, -ENOSPC);
		hs_age_encrypt_destroy(e);
		struct hs_age_decrypt *d;
		left = fails_at;
		assert_int_equal(hs_age_decrypt_create(id, no_sink, &left, &d, NULL), 0);
		rc = hs_age_decrypt_push(d, sealed.data, sealed.len, NULL);
		if (rc == 0)
			rc = hs_age_decrypt_finish(d, NULL);
		assert_int_equal(rc, fails_at < 4 ? -ENOSPC : 0);
		hs_age_decrypt_destroy(d);
	}
}

static int run(char *const argv[])
{
	pid_t pid;
	int status;
	posix_spawn_file_actions_t quiet;
	assert_int_equal(posix_spawn_file_actions_init(&quiet), 0);
	assert_int_equal(posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0), 0);
	int rc = posix_spawnp(&pid, argv[0], &quiet, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&quiet);
	if (rc != 0)
		return -1;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_the_age_program_opens_ours_and_we_open_its(void **state)
{
	struct folder *f = *state;
	char *version[] = {"age", "--version", NULL};
	if (run(version) != 0) {
		print_message("# skipped: the age program is not installed\n");
		skip();
	}
	HS_KEY_AUTO id = hs_key_copy(identity_bytes);
	uint8_t public[32];
	char recipient[HS_AGE_RECIPIENT_TEXT_LEN + 1], secret[HS_AGE_IDENTITY_TEXT_LEN + 1];
	hs_age_public(id, public);
	hs_age_recipient_format(public, recipient);
	hs_age_identity_format(id, secret);
	assert_int_equal(folder_write(f, "identity", secret, strlen(secret)), 0);
	char identity_path[PATH_MAX + 256], sealed_path[PATH_MAX + 256], plain_path[PATH_MAX + 256];
	(void)snprintf(identity_path, sizeof identity_path, "%s", folder_path(f, "identity"));
	(void)snprintf(sealed_path, sizeof sealed_path, "%s", folder_path(f, "sealed"));
	(void)snprintf(plain_path, sizeof plain_path, "%s", folder_path(f, "plain"));
	const size_t lengths[] = {0, 12, 65536, 100000};
	uint8_t *data = malloc(100000);
	randombytes_buf(data, 100000);
	for (size_t i = 0; i < HS_ARRAY_LEN(lengths); i++) {
		HS_BUF_AUTO sealed = HS_BUF_INIT;
		HS_BUF_AUTO plain = HS_BUF_INIT;
		struct hs_err err = HS_ERR_INIT;
		encrypt(public, 1, data, lengths[i], 4096, &sealed);
		assert_int_equal(folder_write(f, "sealed", sealed.data, sealed.len), 0);
		char *open[] = {"age", "-d", "-i", identity_path, "-o", plain_path, sealed_path, NULL};
		assert_int_equal(run(open), 0);
		int rc = folder_read(f, "plain", &plain);
		assert_true(rc == 0 || (rc == -ENOENT && lengths[i] == 0)); /* age makes no file for nothing */
		assert_int_equal(plain.len, lengths[i]);
		assert_memory_equal(plain.data ? plain.data : data, data, plain.len);

		assert_int_equal(folder_write(f, "plain", data, lengths[i]), 0);
		assert_int_equal(unlink(sealed_path), 0);
		char *seal[] = {"age", "-r", recipient, "-o", sealed_path, plain_path, NULL};
		assert_int_equal(run(seal), 0);
		assert_int_equal(folder_read(f, "sealed", &sealed), 0);
		plain.len = 0;
		assert_int_equal(decrypt(id, sealed.data, sealed.len, 4096, &plain, &err), 0);
		assert_int_equal(plain.len, lengths[i]);
		assert_memory_equal(plain.data ? plain.data : data, data, plain.len);
		assert_int_equal(unlink(plain_path), 0);
	}
	free(data);
}

static void test_hkdf_vector(void **state) /* RFC 5869, A.3: no salt, no info, first 32 bytes */
{
	static const uint8_t expected[32] = {
		0x8d, 0xa4, 0xe7, 0x75, 0xa5, 0x63, 0xc1, 0x8f, 0x71, 0x5f, 0x80, 0x2a, 0x06, 0x3c, 0x5a, 0x31,
		0xb8, 0xa1, 0x1f, 0x5c, 0x5e, 0xe1, 0x87, 0x9e, 0xc3, 0x45, 0x4e, 0x5f, 0x3c, 0x73, 0x8d, 0x2d,
	};
	uint8_t ikm[22], out[32];
	memset(ikm, 0x0b, sizeof ikm);
	hs_age_hkdf(ikm, sizeof ikm, NULL, 0, "", out);
	assert_memory_equal(out, expected, sizeof out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hkdf_vector),
		cmocka_unit_test(test_lengths_and_steps),
		cmocka_unit_test(test_keys_as_text),
		cmocka_unit_test(test_every_changed_byte_and_cut_is_told),
		cmocka_unit_test(test_chunks_cut_doubled_and_emptied),
		cmocka_unit_test(test_malformed_headers),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_a_failing_sink_is_told),
		cmocka_unit_test_setup_teardown(test_the_age_program_opens_ours_and_we_open_its, folder_setup, folder_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
