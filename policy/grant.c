#include "policy/grant.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/id.h"
#include "base/wire.h"
#include "policy/classes.h"
#include "policy/db.h"
#include "policy/eval.h"
#include "policy/resolve.h"

struct hs_grant {
	char principal[HS_ID_LEN + 1];
	uint64_t epoch;
	int64_t resolved, expires;
	size_t n;
	uint32_t *ids;   /* ascending: classes with HS_RIGHT_ASK */
	uint8_t *rights; /* 1u << enum hs_right bits, beside ids */
};

void hs_grant_destroy(struct hs_grant *g)
{
	if (!g)
		return;
	free(g->ids);
	free(g->rights);
	free(g);
}

bool hs_grant_allows(const struct hs_grant *g, uint32_t class_id, enum hs_right right)
{
	if (right != HS_RIGHT_ASK && right != HS_RIGHT_DOWNLOAD)
		return false;
	size_t lo = 0, hi = g->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (g->ids[mid] < class_id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < g->n && g->ids[lo] == class_id && (g->rights[lo] >> right) & 1;
}

size_t hs_grant_classes(const struct hs_grant *g, const uint32_t **ret_ids)
{
	*ret_ids = g->ids;
	return g->n;
}

const char *hs_grant_principal(const struct hs_grant *g)
{
	return g->principal;
}

uint64_t hs_grant_epoch(const struct hs_grant *g)
{
	return g->epoch;
}

bool hs_grant_current(const struct hs_grant *g, uint64_t epoch_now, int64_t now_ms)
{
	/* A clock before the moment of resolving was set back: nothing that it says about the expiry holds. */
	return epoch_now == g->epoch && now_ms < g->expires && now_ms >= g->resolved;
}

void hs_grant_hash(const struct hs_grant *g, uint8_t out[static HS_GRANT_HASH_LEN])
{
	crypto_generichash_state state;
	uint8_t number[5];
	(void)crypto_generichash_init(&state, NULL, 0, HS_GRANT_HASH_LEN);
	(void)crypto_generichash_update(&state, (const unsigned char *)"hisho-grant", sizeof("hisho-grant"));
	(void)crypto_generichash_update(&state, (const unsigned char *)g->principal, sizeof(g->principal));
	for (size_t i = 0; i < g->n; i++) {
		hs_le32_store(number, g->ids[i]);
		number[4] = g->rights[i];
		(void)crypto_generichash_update(&state, number, sizeof(number));
	}
	(void)crypto_generichash_final(&state, out, HS_GRANT_HASH_LEN);
}

static int judge_classes(sqlite3 *db, const struct hs_view *v, struct hs_grant *g)
{
	HS_PDB_STMT s = NULL;
	int64_t n;
	int rc = hs_pdb_int(db, &n, "SELECT count(*) FROM classes", "");
	if (rc)
		return rc;
	if (n > HS_CLASSES_MAX)
		return -EIO;
	g->ids = calloc((size_t)n + 1, sizeof(*g->ids));
	g->rights = calloc((size_t)n + 1, sizeof(*g->rights));
	if (!g->ids || !g->rights)
		return -ENOMEM;
	rc = hs_pdb_query(db, &s, "SELECT c.id, " HS_VIEW_CLASS_SQL " FROM classes c ORDER BY c.id", "");
	while (!rc && (rc = hs_pdb_step(s)) == 1) {
		rc = 0;
		enum hs_explain_why why[3];
		struct hs_view_class c = hs_view_class_row(s, 1);
		uint32_t rights = hs_view_judge(v, &c, why);
		if (!rights)
			continue;
		hs_assert(g->n < (size_t)n);
		g->ids[g->n] = (uint32_t)sqlite3_column_int64(s, 0);
		g->rights[g->n++] = (uint8_t)rights;
	}
	return rc;
}

static int resolve(sqlite3 *db, const struct hs_principal *who, int64_t now, struct hs_grant *g)
{
	struct hs_view v;
	int rc = hs_policy_epoch(db, &g->epoch);
	if (rc)
		return rc;
	rc = hs_principal_recheck(db, who, now);
	if (rc == -EACCES || !(who->scopes & HS_SCOPE_ASK))
		return 0; /* a grant of nothing */
	if (rc)
		return rc;
	rc = hs_view_load(db, who->user, now, false, &v);
	if (rc)
		return rc;
	rc = judge_classes(db, &v, g);
	if (v.ends < g->expires)
		g->expires = v.ends;
	if (who->expires < g->expires)
		g->expires = who->expires;
	hs_view_finish(&v);
	return rc;
}

int hs_policy_resolve(sqlite3 *db, const struct hs_principal *who, int64_t now_ms, struct hs_grant **ret, struct hs_err *err)
{
	HS_PDB_SAVEPOINT sp = {0};
	struct hs_grant *g = calloc(1, sizeof(*g));
	if (!g)
		return hs_fail_errno(err, -ENOMEM, "policy.memory", "grant");
	_Static_assert(sizeof(g->principal) == sizeof(who->user), "both hold a user's public id");
	memcpy(g->principal, who->user, sizeof(g->principal));
	g->resolved = now_ms;
	g->expires = now_ms + HS_GRANT_MAX_AGE_MS;
	int rc = hs_pdb_begin(&sp, db); /* one snapshot: rules, classes and epoch belong together */
	if (!rc)
		rc = resolve(db, who, now_ms, g);
	if (rc) {
		hs_grant_destroy(g);
		return hs_fail_errno(err, rc, "policy.resolve", who->user);
	}
	*ret = g;
	return 0;
}
