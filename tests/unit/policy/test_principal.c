#include "policy/principal.h"

#include <errno.h>

#include "tests/unit/policy/fixture.h"

#define MINUTE (60 * 1000LL)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)

struct world {
	sqlite3 *db;
	struct hs_gate *gate;
};

static int setup(void **state)
{
	static struct world w;
	static const uint8_t key[HS_GATE_KEY_LEN] = {1, 2, 3};
	w.db = db_open();
	w.gate = hs_gate_create("ten_a", key);
	must_apply(w.db, "version: 1\ncollections: [c]\nusers: [{name: sato}, {name: kanri}, {name: kansa}]\n"
			 "roles: [{role: admin, users: [kanri]}, {role: auditor, users: [kansa]}]\n");
	*state = &w;
	return w.gate ? 0 : -1;
}

static int teardown(void **state)
{
	struct world *w = *state;
	hs_gate_destroy(w->gate);
	db_close(w->db);
	return 0;
}

static struct hs_credential must_token(struct world *w, const char *user, uint32_t scopes, int64_t life)
{
	struct hs_credential c;
	assert_int_equal(hs_token_add(w->gate, w->db, user, scopes, "試験", T0 + life, T0, &c, NULL), 0);
	return c;
}

static int enter(struct world *w, const struct hs_credential *c, int64_t now, struct hs_principal *ret)
{
	struct hs_err err = HS_ERR_INIT;
	struct hs_principal p;
	int rc = hs_authenticate(w->gate, w->db, c, now, ret ? ret : &p, &err);
	if (rc) {
		/* Whatever the reason, the answer is the same to the letter. */
		assert_int_equal(rc, -EACCES);
		assert_string_equal(err.code, "auth.refused");
		assert_string_equal(err.object, "credential");
	}
	return rc;
}

static void a_token_names_its_user(void **state)
{
	struct world *w = *state;
	struct hs_credential c = must_token(w, "sato", HS_SCOPE_ASK | HS_SCOPE_INGEST, DAY);
	struct hs_principal p;
	struct hs_user u;
	assert_int_equal(enter(w, &c, T0, &p), 0);
	assert_int_equal(hs_user_find(w->db, "sato", &u, NULL), 0);
	assert_string_equal(p.user, u.id.s);
	assert_string_equal(p.name, "sato");
	assert_string_equal(p.tenant, "ten_a");
	assert_int_equal(p.scopes, HS_SCOPE_ASK | HS_SCOPE_INGEST);
	assert_int_equal(p.epoch, epoch(w->db));
	assert_int_equal(p.expires, T0 + DAY);
	assert_false(p.touch);
}

static void nothing_else_enters(void **state)
{
	struct world *w = *state;
	struct hs_credential good = must_token(w, "sato", HS_SCOPE_ASK, DAY), bad;
	for (size_t i = 0; i < HS_SECRET_LEN; i++) {
		bad = good;
		bad.secret[i] ^= 1;
		assert_int_equal(enter(w, &bad, T0, NULL), -EACCES);
	}
	bad = good;
	bad.id = hs_id_new("tok_");
	assert_int_equal(enter(w, &bad, T0, NULL), -EACCES);
	for (int kind = HS_CREDENTIAL_NONE; kind <= HS_CREDENTIAL_PEER + 1; kind++) {
		bad = good;
		bad.kind = (enum hs_credential_kind)kind;
		assert_int_equal(enter(w, &bad, T0, NULL), kind == HS_CREDENTIAL_TOKEN ? 0 : -EACCES);
	}
	memset(bad.id.s, 'x', sizeof(bad.id.s)); /* no terminator */
	bad.kind = HS_CREDENTIAL_TOKEN;
	assert_int_equal(enter(w, &bad, T0, NULL), -EACCES);
	assert_int_equal(enter(w, &good, T0 + DAY - 1, NULL), 0);
	assert_int_equal(enter(w, &good, T0 + DAY, NULL), -EACCES);

	/* The table alone authenticates nothing: under another key, or as another tenant, the rows are noise. */
	static const uint8_t other[HS_GATE_KEY_LEN] = {9};
	static const uint8_t same[HS_GATE_KEY_LEN] = {1, 2, 3};
	struct hs_gate *thief = hs_gate_create("ten_a", other), *foreign = hs_gate_create("ten_b", same);
	struct hs_principal p;
	assert_int_equal(hs_authenticate(thief, w->db, &good, T0, &p, NULL), -EACCES);
	assert_int_equal(hs_authenticate(foreign, w->db, &good, T0, &p, NULL), -EACCES);
	hs_gate_destroy(thief);
	hs_gate_destroy(foreign);
	hs_gate_destroy(NULL);

	/* Neither is what the table holds a secret. */
	sqlite3_stmt *s;
	assert_int_equal(sqlite3_prepare_v2(w->db, "SELECT hash FROM tokens WHERE id = ?", -1, &s, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_bind_text(s, 1, good.id.s, -1, SQLITE_STATIC), SQLITE_OK);
	assert_int_equal(sqlite3_step(s), SQLITE_ROW);
	bad = good;
	memcpy(bad.secret, sqlite3_column_blob(s, 0), HS_SECRET_LEN);
	assert_memory_not_equal(bad.secret, good.secret, HS_SECRET_LEN);
	assert_int_equal(sqlite3_finalize(s), SQLITE_OK);
	assert_int_equal(enter(w, &bad, T0, NULL), -EACCES);
}

static void revoking_suspending_and_removing_hold_at_once(void **state)
{
	struct world *w = *state;
	struct hs_credential a = must_token(w, "sato", HS_SCOPE_ASK, DAY), b = must_token(w, "sato", HS_SCOPE_ASK, DAY);
	struct hs_principal p;
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(enter(w, &b, T0, &p), 0);
	assert_int_equal(hs_principal_recheck(w->db, &p, T0), 0);
	assert_int_equal(hs_token_revoke(w->db, a.id.s, T0, NULL), 0);
	assert_int_equal(enter(w, &a, T0, NULL), -EACCES);
	assert_int_equal(enter(w, &b, T0, NULL), 0);
	assert_int_equal(hs_token_revoke(w->db, "tok_none", T0, &err), -ENOENT);
	assert_string_equal(err.code, "token.unknown");

	assert_int_equal(hs_user_suspend(w->db, "sato", true, NULL), 0);
	assert_int_equal(enter(w, &b, T0, NULL), -EACCES);
	assert_int_equal(hs_principal_recheck(w->db, &p, T0), -EACCES);
	assert_int_equal(hs_user_suspend(w->db, "sato", false, NULL), 0);
	assert_int_equal(enter(w, &b, T0, NULL), 0);
	assert_int_equal(hs_user_suspend(w->db, "nobody", true, NULL), -ENOENT);

	/* The file suspends too, and whoever it no longer names stays out even if their name comes back. */
	must_apply(w->db, "version: 1\ncollections: [c]\nusers: [{name: sato, suspended: true}]\n");
	assert_int_equal(enter(w, &b, T0, NULL), -EACCES);
	must_apply(w->db, "version: 1\ncollections: [c]\nusers: [{name: sato}]\n");
	assert_int_equal(enter(w, &b, T0, NULL), 0);
	must_apply(w->db, "version: 1\ncollections: [c]\n");
	assert_int_equal(enter(w, &b, T0, NULL), -EACCES);
	must_apply(w->db, "version: 1\ncollections: [c]\nusers: [{name: sato}]\n");
	assert_int_equal(enter(w, &b, T0, NULL), -EACCES);
}

static void scopes_need_their_role(void **state)
{
	struct world *w = *state;
	struct hs_credential c;
	struct hs_principal p;
	struct hs_err err = HS_ERR_INIT;
	struct {
		const char *user;
		uint32_t scopes;
	} cases[] = {{"sato", HS_SCOPE_ASK | HS_SCOPE_INGEST},
		     {"kanri", HS_SCOPE_ASK | HS_SCOPE_INGEST | HS_SCOPE_ADMIN},
		     {"kansa", HS_SCOPE_ASK | HS_SCOPE_INGEST | HS_SCOPE_AUDIT}};
	for (size_t i = 0; i < HS_ARRAY_LEN(cases); i++) {
		c = must_token(w, cases[i].user, HS_SCOPE_ALL, DAY);
		assert_int_equal(enter(w, &c, T0, &p), 0);
		assert_int_equal(p.scopes, cases[i].scopes);
	}
	assert_int_equal(hs_token_add(w->gate, w->db, "sato", 0, "", T0 + 1, T0, &c, &err), -EINVAL);
	assert_string_equal(err.code, "token.scopes");
	assert_int_equal(hs_token_add(w->gate, w->db, "sato", 1u << 9, "", T0 + 1, T0, &c, NULL), -EINVAL);
	assert_int_equal(hs_token_add(w->gate, w->db, "sato", HS_SCOPE_ASK, "", T0, T0, &c, &err), -EINVAL);
	assert_string_equal(err.code, "token.expires");
	assert_int_equal(hs_token_add(w->gate, w->db, "nobody", HS_SCOPE_ASK, "", T0 + 1, T0, &c, NULL), -ENOENT);
	for (int i = 1; i < HS_TOKENS_PER_USER_MAX; i++)
		(void)must_token(w, "kansa", HS_SCOPE_ASK, DAY);
	assert_int_equal(hs_token_add(w->gate, w->db, "kansa", HS_SCOPE_ASK, "", T0 + 1, T0, &c, &err), -ENOSPC);
	assert_string_equal(err.code, "token.limit");
}

static void a_code_buys_one_session_for_ten_minutes(void **state)
{
	struct world *w = *state;
	struct hs_credential code, session, again;
	struct hs_principal p;
	assert_int_equal(hs_code_add(w->gate, w->db, "kanri", T0, &code, NULL), 0);
	assert_int_equal(enter(w, &code, T0, NULL), -EACCES); /* opens nothing itself */
	struct hs_credential wrong = code;
	wrong.secret[3] ^= 4;
	assert_int_equal(hs_code_redeem(w->gate, w->db, &wrong, T0, &session, NULL), -EACCES); /* and does not burn it */
	assert_int_equal(hs_code_redeem(w->gate, w->db, &code, T0 + 10 * MINUTE, &session, NULL), -EACCES);
	assert_int_equal(hs_code_redeem(w->gate, w->db, &code, T0 + 10 * MINUTE - 1, &session, NULL), 0);
	assert_int_equal(hs_code_redeem(w->gate, w->db, &code, T0, &again, NULL), -EACCES);
	assert_int_equal(enter(w, &session, T0 + 10 * MINUTE, &p), 0);
	assert_int_equal(p.scopes, HS_SCOPE_ASK | HS_SCOPE_ADMIN);
	assert_int_equal(p.kind, HS_CREDENTIAL_SESSION);
	/* A session's secret is no token's, nor a code's. */
	session.kind = HS_CREDENTIAL_CODE;
	assert_int_equal(hs_code_redeem(w->gate, w->db, &session, T0, &again, NULL), -EACCES);

	assert_int_equal(hs_code_add(w->gate, w->db, "sato", T0, &code, NULL), 0);
	assert_int_equal(hs_user_suspend(w->db, "sato", true, NULL), 0);
	assert_int_equal(hs_user_suspend(w->db, "sato", false, NULL), 0);
	assert_int_equal(hs_code_redeem(w->gate, w->db, &code, T0, &session, NULL), -EACCES); /* suspension burned it */
}

static void sessions_idle_end_and_rotate(void **state)
{
	struct world *w = *state;
	struct hs_credential code, s;
	struct hs_principal p;
	assert_int_equal(hs_code_add(w->gate, w->db, "sato", T0, &code, NULL), 0);
	assert_int_equal(hs_code_redeem(w->gate, w->db, &code, T0, &s, NULL), 0);
	assert_int_equal(enter(w, &s, T0 + 30 * MINUTE, NULL), -EACCES);
	int64_t now = T0;
	for (; now < T0 + 12 * HOUR - 29 * MINUTE; now += 29 * MINUTE) {
		assert_int_equal(enter(w, &s, now, &p), 0);
		assert_int_equal(p.touch, now > T0);
		assert_int_equal(hs_session_touch(w->db, &s.id, now), 0);
	}
	assert_int_equal(hs_session_touch(w->db, &s.id, T0 + 12 * HOUR - 1), 0);
	assert_int_equal(enter(w, &s, T0 + 12 * HOUR - 1, NULL), 0);
	assert_int_equal(enter(w, &s, T0 + 12 * HOUR, NULL), -EACCES); /* however busy */
	assert_int_equal(enter(w, &s, T0 - DAY, NULL), -EACCES);       /* a clock set back by a day revives nothing */

	assert_int_equal(hs_code_add(w->gate, w->db, "sato", T0, &code, NULL), 0);
	assert_int_equal(hs_code_redeem(w->gate, w->db, &code, T0, &s, NULL), 0);
	assert_int_equal(enter(w, &s, T0, &p), 0);
	assert_int_equal(hs_session_end(w->db, &s.id), 0);
	assert_int_equal(enter(w, &s, T0, NULL), -EACCES);
	assert_int_equal(hs_principal_recheck(w->db, &p, T0), -EACCES);

	/* The 33rd session pushes the oldest out. */
	struct hs_credential sessions[HS_SESSIONS_PER_USER_MAX + 1];
	for (size_t i = 0; i < HS_ARRAY_LEN(sessions); i++) {
		assert_int_equal(hs_code_add(w->gate, w->db, "sato", T0 + (int64_t)i, &code, NULL), 0);
		assert_int_equal(hs_code_redeem(w->gate, w->db, &code, T0 + (int64_t)i, &sessions[i], NULL), 0);
	}
	assert_int_equal(enter(w, &sessions[0], T0 + MINUTE, NULL), -EACCES);
	assert_int_equal(enter(w, &sessions[1], T0 + MINUTE, NULL), 0);
	assert_int_equal(enter(w, &sessions[HS_SESSIONS_PER_USER_MAX], T0 + MINUTE, NULL), 0);
	assert_int_equal(hs_credentials_sweep(w->db, T0 + DAY), 0);
	assert_int_equal(enter(w, &sessions[1], T0 + MINUTE, NULL), -EACCES);
}

static void a_session_by_token_can_do_no_more_than_the_token(void **state)
{
	struct world *w = *state;
	struct hs_credential token = must_token(w, "kanri", HS_SCOPE_ASK | HS_SCOPE_INGEST, HOUR), s, t;
	struct hs_principal p, q;
	assert_int_equal(enter(w, &token, T0, &p), 0);
	assert_int_equal(hs_session_add(w->gate, w->db, &p, T0, &s, NULL), 0);
	assert_int_equal(enter(w, &s, T0, &q), 0);
	assert_int_equal(q.scopes, HS_SCOPE_ASK);
	assert_int_equal(hs_session_touch(w->db, &s.id, T0 + HOUR - 1), 0);
	assert_int_equal(enter(w, &s, T0 + HOUR - 1, NULL), 0);
	assert_int_equal(enter(w, &s, T0 + HOUR, NULL), -EACCES);
	assert_int_equal(hs_session_add(w->gate, w->db, &q, T0, &t, NULL), -EINVAL); /* a session breeds no session */
	assert_int_equal(hs_token_revoke(w->db, token.id.s, T0, NULL), 0);
	assert_int_equal(enter(w, &s, T0, NULL), -EACCES);
	assert_int_equal(hs_session_add(w->gate, w->db, &p, T0, &t, NULL), -EACCES);
}

static int count(void *ctx, const struct hs_token_info *t)
{
	int *n = ctx;
	assert_string_equal(t->label, "試験");
	return ++*n == 2 ? 77 : 0;
}

static void tokens_are_listed_without_their_secrets(void **state)
{
	struct world *w = *state;
	int n = 0;
	(void)must_token(w, "sato", HS_SCOPE_ASK, DAY);
	assert_int_equal(hs_token_each(w->db, count, &n), 0);
	n = 0;
	(void)must_token(w, "kanri", HS_SCOPE_ASK, DAY);
	assert_int_equal(hs_token_each(w->db, count, &n), 77); /* what fn says ends the walk */
	assert_int_equal(hs_credentials_sweep(w->db, T0 + 40 * DAY), 0);
	n = 0;
	assert_int_equal(hs_token_each(w->db, count, &n), 0);
	assert_int_equal(n, 0);
}

static void the_admin_socket_administers(void **state)
{
	struct world *w = *state;
	struct hs_principal p;
	assert_int_equal(hs_principal_local(w->gate, w->db, 1000, &p), 0);
	assert_string_equal(p.user, "local_1000");
	assert_int_equal(p.scopes, HS_SCOPE_INGEST | HS_SCOPE_ADMIN | HS_SCOPE_AUDIT);
	assert_int_equal(hs_principal_recheck(w->db, &p, T0), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_token_names_its_user),
		TEST(nothing_else_enters),
		TEST(revoking_suspending_and_removing_hold_at_once),
		TEST(scopes_need_their_role),
		TEST(a_code_buys_one_session_for_ten_minutes),
		TEST(sessions_idle_end_and_rotate),
		TEST(a_session_by_token_can_do_no_more_than_the_token),
		TEST(tokens_are_listed_without_their_secrets),
		TEST(the_admin_socket_administers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
