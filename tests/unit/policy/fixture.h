/* A tenant's policy tables in memory, and short forms over them. */
#ifndef HISHO_TESTS_POLICY_FIXTURE_H
#define HISHO_TESTS_POLICY_FIXTURE_H

#include <stdio.h>
#include <string.h>

#include <sqlite3.h>

#include "policy/classes.h"
#include "policy/principal.h"
#include "policy/rules.h"
#include "policy/schema.h"
#include "tests/unit/test.h"

#define T0 1800000000000LL /* the tests' now: 2027-01-15 */

static inline sqlite3 *db_open(void)
{
	sqlite3 *db;
	assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
	assert_int_equal(hs_policy_schema_migrate(db, NULL), 0);
	return db;
}

/* Statements that were left open show here: close refuses them. */
static inline void db_close(sqlite3 *db)
{
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static inline void must_apply(sqlite3 *db, const char *yaml)
{
	struct hs_policy_change change;
	struct hs_err err = HS_ERR_INIT;
	int rc = hs_policy_apply(db, yaml, strlen(yaml), "local_0", T0, false, &change, NULL, &err);
	if (rc)
		fail_msg("%s: %s: %s", err.code, err.object, err.hint);
}

static inline uint32_t must_class(sqlite3 *db, const char *collection, const char *level, const char *list)
{
	uint32_t id;
	struct hs_err err = HS_ERR_INIT;
	if (hs_class_intern(db, collection, level, list, &id, &err))
		fail_msg("%s: %s", err.code, err.object);
	return id;
}

static inline uint64_t epoch(sqlite3 *db)
{
	uint64_t e = 0;
	assert_int_equal(hs_policy_epoch(db, &e), 0);
	return e;
}

/* The principal of a user, by a token made for the occasion. */
static inline struct hs_principal must_sign_in(sqlite3 *db, const char *user)
{
	static const uint8_t key[HS_GATE_KEY_LEN] = {7};
	struct hs_gate *g = hs_gate_create("ten_test", key);
	struct hs_credential c;
	struct hs_principal p;
	assert_non_null(g);
	assert_int_equal(hs_token_add(g, db, user, HS_SCOPE_ALL, "", T0 + 1000000000LL, T0, &c, NULL), 0);
	assert_int_equal(hs_authenticate(g, db, &c, T0, &p, NULL), 0);
	hs_gate_destroy(g);
	return p;
}

#endif
