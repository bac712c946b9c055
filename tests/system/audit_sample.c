/* Writes an audit log of each kind of record into a folder, for 11-audit-format.py to decode from the page alone. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "policy/audit.h"

int main(int argc, char **argv)
{
	static const uint8_t signature[HS_AUDIT_SIGNATURE_LEN] = {7, 7, 7};
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
	int rc = hs_audit_open(dir, "audit.log", "ten_sample", key, NULL, 1799999990000, &a, &err);
	if (!rc)
		rc = hs_audit_append(a, &ask, &seq, &err);
	if (!rc) {
		hs_audit_head(a, &head);
		rc = hs_audit_append_signature(a, &head, (const uint8_t *)"keyident", signature, 1800000000001, &err);
	}
	if (!rc)
		rc = hs_audit_append(a, &closing, &seq, &err);
	hs_audit_close(a);
	if (rc)
		fprintf(stderr, "%s: %s\n", err.code, err.object);
	return rc ? 1 : 0;
}
