/* Writes an audit log, its signed head and the signer's key into a folder, for 11-audit-format.py to decode from the page alone. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "base/file.h"
#include "policy/head.h"

int main(int argc, char **argv)
{
	static const uint8_t seed[crypto_sign_SEEDBYTES] = {7, 7, 7};
	uint8_t public[crypto_sign_PUBLICKEYBYTES], secret[crypto_sign_SECRETKEYBYTES], signature[HS_AUDIT_SIGNATURE_LEN];
	HS_BUF_AUTO text = HS_BUF_INIT;
	HS_BUF_AUTO note = HS_BUF_INIT;
	char signer[HS_HEAD_KEY_TEXT_MAX];
	uint8_t key[HS_AUDIT_KEY_LEN], answer[HS_AUDIT_CHAIN_LEN];
	struct hs_err err = HS_ERR_INIT;
	struct hs_audit *a = NULL;
	struct hs_audit_head head;
	uint64_t seq = 0;
	HS_FD_AUTO dir = argc == 2 ? open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (dir < 0) {
		fprintf(stderr, "usage: audit_sample FOLDER\n");
		return 2;
	}
	memset(key, 3, sizeof(key));
	memset(answer, 9, sizeof(answer));
	const struct hs_audit_chunk chunks[] = {{"ver_aaaaaaaaaaaaaaaaaaaaaaaaaa", 10, 250}, {"ver_bbbbbbbbbbbbbbbbbbbbbbbbbb", 0, 77}};
	struct hs_audit_entry ask = {.principal = "usr_x", .action = "ask", .object = "", .decision = HS_AUDIT_ALLOWED,
				     .request = "req_1", .commit_seq = 12, .time = 1800000000000, .query = "日当はいくらですか",
				     .query_len = strlen("日当はいくらですか"), .keep_query = true, .chunks = chunks, .n_chunks = 2};
	struct hs_audit_entry closing = {.principal = "usr_x", .action = "answer", .object = "", .decision = HS_AUDIT_FAILED,
					 .reason = "infer.gone", .request = "req_1", .about = 1, .commit_seq = 13,
					 .time = 1799999999000, .answer_hash = answer, .detail = "sentences=2"};
	int rc = hs_audit_open(dir, "audit.log", "ten_sample", key, NULL, 0, 1799999990000, &a, &err);
	if (!rc)
		rc = hs_audit_append(a, &ask, &seq, &err);
	if (!rc)
		rc = hs_audit_append(a, &closing, &seq, &err);
	if (!rc) {
		hs_audit_head(a, &head);
		rc = hs_head_text("ten_sample", &head, &text);
	}
	hs_audit_close(a);
	(void)crypto_sign_seed_keypair(public, secret, seed); /* cannot fail */
	if (!rc)
		rc = crypto_sign_detached(signature, NULL, text.data, text.len, secret);
	if (!rc)
		rc = hs_head_note("ten_sample", &head, public, signature, &note);
	if (!rc)
		rc = hs_file_replace(dir, "audit.log.head", note.data, note.len, 0600);
	hs_head_key_format(public, signer);
	if (!rc)
		rc = hs_file_replace(dir, "key", signer, strlen(signer), 0600);
	if (rc)
		fprintf(stderr, "%s: %s\n", err.code, err.object);
	return rc ? 1 : 0;
}
