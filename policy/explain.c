#include <errno.h>

#include "policy/db.h"
#include "policy/eval.h"
#include "policy/grant.h"
#include "policy/principal.h"
#include "policy/rules.h"

static int load_class(sqlite3 *db, uint32_t id, struct hs_view_class *ret)
{
	HS_PDB_STMT s = NULL;
	int rc = hs_pdb_query(db, &s, "SELECT " HS_VIEW_CLASS_SQL " FROM classes c WHERE c.id = ?", "i", (int64_t)id);
	if (!rc)
		rc = hs_pdb_step(s);
	if (rc <= 0)
		return rc ? rc : -ENOENT;
	*ret = hs_view_class_row(s, 0);
	return 0;
}

static void tell(const struct hs_view *v, const struct hs_view_class *c,
		 void (*rule_fn)(void *ctx, const struct hs_explained_rule *rule), void *ctx)
{
	for (size_t i = 0; i < v->n_rules; i++) {
		const struct hs_view_rule *r = &v->rules[i];
		struct hs_explained_rule told = {.id = r->id, .deny = r->deny, .rights = r->rights, .expired = r->expired};
		told.who = r->who;
		told.where = hs_view_where(r, c);
		told.matches = told.who && told.where && !told.expired;
		if (told.who || told.where)
			rule_fn(ctx, &told);
	}
}

int hs_policy_explain(sqlite3 *db, const char *user, uint32_t class_id, int64_t now_ms,
		      void (*rule_fn)(void *ctx, const struct hs_explained_rule *rule), void *ctx, struct hs_explanation *ret,
		      struct hs_err *err)
{
	HS_PDB_SAVEPOINT sp = {0};
	struct hs_user u;
	struct hs_view_class c;
	struct hs_view v;
	int rc = hs_pdb_begin(&sp, db);
	if (rc)
		return hs_fail_errno(err, rc, "policy.database", "explain");
	rc = hs_user_find(db, user, &u, err);
	if (rc)
		return rc;
	rc = load_class(db, class_id, &c);
	if (rc == -ENOENT)
		return hs_fail(err, ENOENT, "class.unknown", HS_N_("There is no such class."), "class %u", class_id);
	if (!rc)
		rc = hs_view_load(db, u.id.s, now_ms, true, &v);
	if (rc)
		return hs_fail_errno(err, rc, "policy.explain", u.id.s);
	enum hs_explain_why why[3];
	uint32_t rights = hs_view_judge(&v, &c, why);
	if (rule_fn)
		tell(&v, &c, rule_fn, ctx);
	hs_view_finish(&v);
	*ret = (struct hs_explanation){
		.ask = rights & (1u << HS_RIGHT_ASK),
		.download = rights & (1u << HS_RIGHT_DOWNLOAD),
		.ask_why = why[HS_RIGHT_ASK],
		.download_why = why[HS_RIGHT_DOWNLOAD],
	};
	return 0;
}
