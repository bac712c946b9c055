#include "policy/senders.h"

#include <errno.h>

#include "tests/unit/policy/fixture.h"

static const uint8_t key_a[HS_SENDER_KEY_LEN] = {1}, key_b[HS_SENDER_KEY_LEN] = {2};

static void senders_are_known_by_their_key(void **state)
{
	sqlite3 *db = db_open();
	struct hs_id id, other;
	struct hs_sender s;
	struct hs_err err = HS_ERR_INIT;
	must_apply(db, "version: 1\ncollections: [総務, 営業]\n");
	const char *only[] = {"総務"}, *unknown[] = {"総務", "法務"};
	assert_int_equal(hs_sender_by_key(db, key_a, &s, &err), -EACCES);
	assert_string_equal(err.code, "sender.unknown");
	assert_int_equal(hs_sender_add(db, "fileserver", key_a, unknown, 2, T0, &id, &err), -EINVAL);
	assert_string_equal(err.code, "class.collection");
	assert_int_equal(hs_sender_by_key(db, key_a, &s, NULL), -EACCES); /* half a registration is none */
	assert_int_equal(hs_sender_add(db, "fileserver", key_a, only, 1, T0, &id, NULL), 0);
	assert_int_equal(hs_sender_add(db, "fileserver", key_b, NULL, 0, T0, &other, &err), -EEXIST);
	assert_int_equal(hs_sender_add(db, "other", key_a, NULL, 0, T0, &other, &err), -EEXIST);
	assert_string_equal(err.code, "sender.exists");
	assert_int_equal(hs_sender_add(db, "a\nb", key_b, NULL, 0, T0, &other, NULL), -EINVAL);
	assert_int_equal(hs_sender_by_key(db, key_a, &s, NULL), 0);
	assert_string_equal(s.id.s, id.s);
	assert_int_equal(hs_sender_may_file(db, &id, "総務", NULL), 0);
	assert_int_equal(hs_sender_may_file(db, &id, "営業", &err), -EACCES);
	assert_string_equal(err.code, "sender.collection");
	assert_int_equal(hs_sender_revoke(db, "fileserver", T0, NULL), 0);
	assert_int_equal(hs_sender_revoke(db, "nobody", T0, NULL), -ENOENT);
	assert_int_equal(hs_sender_by_key(db, key_a, &s, &err), -EACCES);
	assert_string_equal(err.code, "sender.revoked");
	assert_int_equal(hs_sender_may_file(db, &id, "総務", NULL), -EACCES);
	/* A revoked key does not come back under a new name. */
	assert_int_equal(hs_sender_add(db, "new", key_a, NULL, 0, T0, &other, NULL), -EEXIST);
	db_close(db);
}

static struct hs_submission submission(const struct hs_id *sender, const char *source, uint64_t sequence, struct hs_id *id)
{
	*id = hs_id_new("sub_");
	struct hs_submission s = {.sender = sender, .source = source, .source_len = strlen(source), .sequence = sequence, .id = id->s};
	memset(s.manifest_hash, (int)sequence, sizeof(s.manifest_hash));
	return s;
}

static void a_replay_brings_nothing_back(void **state)
{
	sqlite3 *db = db_open();
	struct hs_id a, b, id1, id2, id3;
	struct hs_err err = HS_ERR_INIT;
	uint64_t sequence;
	assert_int_equal(hs_sender_add(db, "a", key_a, NULL, 0, T0, &a, NULL), 0);
	assert_int_equal(hs_sender_add(db, "b", key_b, NULL, 0, T0, &b, NULL), 0);
	struct hs_submission put = submission(&a, "共有/規程.txt", 5, &id1);
	assert_int_equal(hs_submission_check(db, &put, NULL), 0);
	assert_int_equal(hs_submission_admit(db, &put, T0, NULL), 0);
	/* Sent again because the answer was lost: known, and nothing to do. */
	assert_int_equal(hs_submission_check(db, &put, &err), -EALREADY);
	assert_string_equal(err.code, "submission.known");
	/* The same id with another manifest is no repetition. */
	struct hs_submission forged = put;
	forged.manifest_hash[0] ^= 1;
	assert_int_equal(hs_submission_check(db, &forged, &err), -ESTALE);
	forged = put;
	forged.sender = &b;
	assert_int_equal(hs_submission_admit(db, &forged, T0, NULL), -ESTALE);

	struct hs_submission delete = submission(&a, "共有/規程.txt", 6, &id2);
	assert_int_equal(hs_submission_admit(db, &delete, T0, NULL), 0);
	struct hs_submission replay = submission(&a, "共有/規程.txt", 5, &id3);
	assert_int_equal(hs_submission_check(db, &replay, &err), -ESTALE);
	assert_string_equal(err.code, "submission.replayed");
	replay.sequence = 6;
	assert_int_equal(hs_submission_admit(db, &replay, T0, NULL), -ESTALE);
	assert_int_equal(hs_source_sequence(db, &a, put.source, put.source_len, &sequence), 0);
	assert_int_equal(sequence, 6);

	/* Sources count apart, and so do senders. */
	replay = submission(&a, "共有/規程.md", 1, &id3);
	assert_int_equal(hs_submission_admit(db, &replay, T0, NULL), 0);
	replay = submission(&b, "共有/規程.txt", 1, &id3);
	assert_int_equal(hs_submission_admit(db, &replay, T0, NULL), 0);
	assert_int_equal(hs_source_sequence(db, &b, "x", 1, &sequence), 0);
	assert_int_equal(sequence, 0);

	/* Rolled back with the job that it belongs to. */
	assert_int_equal(sqlite3_exec(db, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
	replay = submission(&a, "z", 9, &id3);
	assert_int_equal(hs_submission_admit(db, &replay, T0, NULL), 0);
	assert_int_equal(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(hs_submission_check(db, &replay, NULL), 0);

	assert_int_equal(hs_sender_revoke(db, a.s, T0, NULL), 0);
	assert_int_equal(hs_submission_admit(db, &replay, T0, &err), -EACCES);
	assert_string_equal(err.code, "sender.revoked");
	db_close(db);
}

static void shapes_are_checked(void **state)
{
	sqlite3 *db = db_open();
	struct hs_id a, id;
	assert_int_equal(hs_sender_add(db, "a", key_a, NULL, 0, T0, &a, NULL), 0);
	struct hs_submission s = submission(&a, "x", 0, &id);
	assert_int_equal(hs_submission_check(db, &s, NULL), -EINVAL);
	s.sequence = 1ull << 63;
	assert_int_equal(hs_submission_check(db, &s, NULL), -EINVAL);
	s.sequence = INT64_MAX;
	assert_int_equal(hs_submission_check(db, &s, NULL), 0);
	s.source_len = 0;
	assert_int_equal(hs_submission_check(db, &s, NULL), -EINVAL);
	s.source = "a\0b";
	s.source_len = 3;
	assert_int_equal(hs_submission_check(db, &s, NULL), -EINVAL);
	s.source = "\xff";
	s.source_len = 1;
	assert_int_equal(hs_submission_check(db, &s, NULL), -EINVAL);
	s = submission(&a, "x", 1, &id);
	s.id = "doc_mfrggzdfmztwq2lknnwg23tpob";
	assert_int_equal(hs_submission_check(db, &s, NULL), -EINVAL);
	db_close(db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(senders_are_known_by_their_key),
		cmocka_unit_test(a_replay_brings_nothing_back),
		cmocka_unit_test(shapes_are_checked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
