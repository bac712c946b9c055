/* The policy file: any bytes are applied whole or refused with a reason; whoever it does not name is granted nothing. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/macros.h"
#include "policy/classes.h"
#include "policy/resolve.h"
#include "policy/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static sqlite3 *db;
	static struct hs_principal stranger = {.scopes = HS_SCOPE_ALL, .kind = HS_CREDENTIAL_TOKEN, .expires = INT64_MAX};
	struct hs_policy_change change;
	struct hs_err err = HS_ERR_INIT;
	HS_BUF_AUTO diff = HS_BUF_INIT;
	uint64_t before = 0, after = 0;
	const uint32_t *ids;
	if (!db) {
		struct hs_id id;
		hs_assert(sqlite3_open(":memory:", &db) == SQLITE_OK && !hs_policy_schema_migrate(db, NULL));
		hs_assert(!hs_user_add(db, "stranger", NULL, 1, &id, NULL));
		memcpy(stranger.user, id.s, sizeof(stranger.user));
		memcpy(stranger.credential.s, "tok_x", 6);
		hs_assert(!sqlite3_exec(db,
					"INSERT INTO tokens SELECT 'tok_x', n, x'00', 15, '', 0, 9e18, 0 FROM users;"
					"INSERT INTO classes VALUES (1, 'c', '秘', ''), (2, 'c', '秘', 'l')",
					NULL, NULL, NULL));
	}
	hs_assert(!hs_policy_epoch(db, &before));
	int rc = hs_policy_apply(db, (const char *)data, size, "fuzz", 1800000000000LL, false, &change, &diff, &err);
	hs_assert(!hs_policy_epoch(db, &after));
	if (rc) {
		hs_assert(rc == -err.num && err.code[0] && after == before);
		return 0;
	}
	hs_assert(after == before + change.changed && sqlite3_get_autocommit(db));
	struct hs_grant *g;
	hs_assert(!hs_policy_resolve(db, &stranger, 1800000000000LL, &g, NULL));
	size_t n = hs_grant_classes(g, &ids);
	/* Granted only where the file both declares the class and has a rule that allows something. */
	hs_assert(n == 0 || memmem(data, size, "allow", 5));
	hs_assert(!hs_grant_allows(g, 3, HS_RIGHT_ASK));
	hs_grant_destroy(g);
	return 0;
}
