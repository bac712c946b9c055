#include "policy/resolve.h"

#include <errno.h>

#include "base/clock.h"
#include "tests/unit/policy/fixture.h"

#define DAY (24 * 3600 * 1000LL)

static struct hs_grant *must_resolve(sqlite3 *db, const struct hs_principal *p, int64_t now)
{
	struct hs_grant *g = NULL;
	assert_int_equal(hs_policy_resolve(db, p, now, &g, NULL), 0);
	return g;
}

/* What a user may do with a class now: 0, 1 ask, 3 ask and download. */
static int may(sqlite3 *db, const struct hs_principal *p, uint32_t class_id, int64_t now)
{
	struct hs_grant *g = must_resolve(db, p, now);
	int rights = hs_grant_allows(g, class_id, HS_RIGHT_ASK) + 2 * hs_grant_allows(g, class_id, HS_RIGHT_DOWNLOAD);
	hs_grant_destroy(g);
	return rights;
}

static const char company[] =
	"version: 1\n"
	"collections: [全社, 人事, 営業]\n"
	"users:\n"
	"  - {name: sato, groups: [人事部], attributes: [雇用=正社員]}\n"
	"  - {name: suzuki, groups: [営業一課], attributes: [雇用=正社員]}\n"
	"  - {name: hakken, groups: [営業一課], attributes: [雇用=派遣], expires: 2027-03-31}\n"
	"  - {name: kanri}\n"
	"groups:\n"
	"  - {name: 人事部}\n"
	"  - {name: 営業一課}\n"
	"  - {name: 営業部, groups: [営業一課]}\n"
	"  - {name: 全社員, groups: [人事部, 営業部]}\n"
	"lists: [{name: 給与, groups: [人事部]}]\n"
	"roles: [{role: admin, users: [kanri]}]\n"
	"rules:\n"
	"  - {id: everyone, allow: [ask, download], who: {everyone: true}, collections: [全社], level: {up_to: 社外秘}}\n"
	"  - {id: sales, allow: [ask], who: {groups: [営業部]}, collections: [営業], level: {up_to: 秘}}\n"
	"  - {id: hr, allow: [ask, download], who: {groups: [人事部]}, collections: ['*'], level: {up_to: 極秘}}\n"
	"  - {id: temps, deny: [ask], who: {everyone: true, attributes: [雇用=派遣]}, level: {from: 社外秘}}\n"
	"  - {id: project, allow: [ask], who: {users: [suzuki]}, collections: [人事], level: {exact: 秘}, expires: 2027-01-31}\n"
	"  - {id: no-copies, deny: [download], who: {users: [suzuki]}, collections: [全社]}\n";

static void deny_wins_and_absence_denies(void **state)
{
	sqlite3 *db = db_open();
	must_apply(db, company);
	uint32_t notice = must_class(db, "全社", "公開", ""), rules = must_class(db, "全社", "社外秘", "");
	uint32_t board = must_class(db, "全社", "極秘", ""), deals = must_class(db, "営業", "秘", "");
	uint32_t pay = must_class(db, "人事", "極秘", "給与"), hr = must_class(db, "人事", "秘", "");
	struct hs_principal sato = must_sign_in(db, "sato"), suzuki = must_sign_in(db, "suzuki");
	struct hs_principal hakken = must_sign_in(db, "hakken"), kanri = must_sign_in(db, "kanri");

	assert_int_equal(may(db, &sato, notice, T0), 3);
	assert_int_equal(may(db, &sato, pay, T0), 3);   /* on the list, through a group */
	assert_int_equal(may(db, &sato, board, T0), 3); /* "*" and up to 極秘 */
	assert_int_equal(may(db, &suzuki, notice, T0), 1); /* may ask, may not download */
	assert_int_equal(may(db, &suzuki, deals, T0), 1);  /* through a nested group */
	assert_int_equal(may(db, &suzuki, board, T0), 0);  /* absence */
	assert_int_equal(may(db, &suzuki, pay, T0), 0);
	assert_int_equal(may(db, &suzuki, hr, T0), 1);     /* exact level, until it expires */
	assert_int_equal(may(db, &hakken, notice, T0), 3);
	assert_int_equal(may(db, &hakken, rules, T0), 0);  /* a denial of asking denies downloading too */
	assert_int_equal(may(db, &hakken, deals, T0), 0);
	assert_int_equal(may(db, &kanri, notice, T0), 0);  /* administers, does not read */
	assert_int_equal(may(db, &sato, 0, T0), 0);
	assert_int_equal(may(db, &sato, 4096, T0), 0);

	/* The list is a condition, not a permission: someone with a rule for everything is still not on it. */
	must_apply(db, "version: 1\ncollections: [全社, 人事, 営業]\nusers: [{name: suzuki}]\nlists: [{name: 給与}]\nrules:\n"
		       "- {id: all, allow: [ask], who: {everyone: true}, collections: ['*'], level: {up_to: 極秘}}\n");
	assert_int_equal(may(db, &suzuki, hr, T0), 1);
	assert_int_equal(may(db, &suzuki, pay, T0), 0);
	/* sato is no longer named: nothing, by the old credential too. */
	assert_int_equal(may(db, &sato, notice, T0), 0);
	/* A list, a collection and a level that are no longer declared: nobody. */
	must_apply(db, "version: 1\ncollections: [人事]\nlevels: [公開, 秘]\nusers: [{name: suzuki}]\nrules:\n"
		       "- {id: all, allow: [ask], who: {everyone: true}, collections: ['*'], level: {from: 公開}}\n");
	assert_int_equal(may(db, &suzuki, hr, T0), 1);
	assert_int_equal(may(db, &suzuki, pay, T0), 0);
	assert_int_equal(may(db, &suzuki, notice, T0), 0);
	db_close(db);
}

static void time_ends_rules_accounts_and_grants(void **state)
{
	sqlite3 *db = db_open();
	must_apply(db, company);
	uint32_t hr = must_class(db, "人事", "秘", ""), notice = must_class(db, "全社", "公開", "");
	struct hs_principal suzuki = must_sign_in(db, "suzuki"), hakken = must_sign_in(db, "hakken");
	suzuki.expires = hakken.expires = INT64_MAX;
	assert_int_equal(sqlite3_exec(db, "UPDATE tokens SET expires = 9e18", NULL, NULL, NULL), SQLITE_OK);
	int64_t end; /* 2027-01-31 24:00 in Japan */
	assert_true(hs_time_parse("2027-01-31T15:00:00Z", 20, &end));
	assert_int_equal(may(db, &suzuki, hr, end - 1), 1);
	assert_int_equal(may(db, &suzuki, hr, end), 0);
	assert_true(hs_time_parse("2027-03-31T15:00:00Z", 20, &end));
	assert_int_equal(may(db, &hakken, notice, end - 1), 3);
	assert_int_equal(may(db, &hakken, notice, end), 0);

	/* A grant lives a minute, and no longer than the rule that gave it. */
	struct hs_grant *g = must_resolve(db, &suzuki, T0);
	uint64_t e = epoch(db);
	assert_int_equal(hs_grant_epoch(g), e);
	assert_true(hs_grant_current(g, e, T0));
	assert_true(hs_grant_current(g, e, T0 + HS_GRANT_MAX_AGE_MS - 1));
	assert_false(hs_grant_current(g, e, T0 + HS_GRANT_MAX_AGE_MS));
	assert_false(hs_grant_current(g, e, T0 - 1)); /* the clock was set back */
	assert_false(hs_grant_current(g, e + 1, T0));
	assert_string_equal(hs_grant_principal(g), suzuki.user);
	hs_grant_destroy(g);
	assert_true(hs_time_parse("2027-01-31T15:00:00Z", 20, &end));
	g = must_resolve(db, &suzuki, end - 1000);
	assert_true(hs_grant_current(g, e, end - 1));
	assert_false(hs_grant_current(g, e, end));
	hs_grant_destroy(g);
	suzuki.expires = T0 + 10; /* the credential ends first */
	g = must_resolve(db, &suzuki, T0);
	assert_false(hs_grant_current(g, e, T0 + 10));
	hs_grant_destroy(g);
	db_close(db);
}

static void every_change_raises_the_epoch(void **state)
{
	sqlite3 *db = db_open();
	struct hs_id id;
	uint64_t e = epoch(db);
	must_apply(db, company);
	assert_int_equal(epoch(db), ++e);
	(void)must_class(db, "全社", "秘", "");
	assert_int_equal(epoch(db), ++e);
	assert_int_equal(hs_user_add(db, "x", NULL, T0, &id, NULL), 0);
	assert_int_equal(epoch(db), ++e);
	assert_int_equal(hs_user_suspend(db, "x", true, NULL), 0);
	assert_int_equal(epoch(db), ++e);
	struct hs_principal p = must_sign_in(db, "sato");
	assert_int_equal(epoch(db), e);
	assert_int_equal(hs_token_revoke(db, p.credential.s, T0, NULL), 0);
	assert_int_equal(epoch(db), ++e);
	db_close(db);
}

static void suspended_and_scopeless_get_nothing(void **state)
{
	sqlite3 *db = db_open();
	must_apply(db, company);
	uint32_t notice = must_class(db, "全社", "公開", "");
	struct hs_principal sato = must_sign_in(db, "sato"), suzuki = must_sign_in(db, "suzuki");
	assert_int_equal(may(db, &sato, notice, T0), 3);
	assert_int_equal(hs_user_suspend(db, "sato", true, NULL), 0);
	assert_int_equal(may(db, &sato, notice, T0), 0);
	assert_int_equal(hs_user_suspend(db, sato.user, false, NULL), 0);
	assert_int_equal(may(db, &sato, notice, T0), 3);
	struct hs_principal narrow = sato;
	narrow.scopes = HS_SCOPE_INGEST | HS_SCOPE_ADMIN;
	assert_int_equal(may(db, &narrow, notice, T0), 0);
	struct hs_principal forged = sato; /* another's credential with one's own name */
	memcpy(forged.user, suzuki.user, sizeof(forged.user));
	assert_int_equal(may(db, &forged, notice, T0), 0);
	assert_int_equal(hs_token_revoke(db, sato.credential.s, T0, NULL), 0);
	assert_int_equal(may(db, &sato, notice, T0), 0);

	static const uint8_t key[HS_GATE_KEY_LEN] = {7};
	struct hs_gate *gate = hs_gate_create("ten_test", key);
	struct hs_principal local;
	assert_int_equal(hs_principal_local(gate, db, 0, &local), 0);
	local.scopes = HS_SCOPE_ALL;
	assert_int_equal(may(db, &local, notice, T0), 0);
	hs_gate_destroy(gate);
	db_close(db);
}

static void grants_list_classes_and_hash_what_is_seen(void **state)
{
	sqlite3 *db = db_open();
	must_apply(db, company);
	uint32_t notice = must_class(db, "全社", "公開", ""), deals = must_class(db, "営業", "秘", "");
	(void)must_class(db, "人事", "極秘", "給与");
	struct hs_principal suzuki = must_sign_in(db, "suzuki"), sato = must_sign_in(db, "sato");
	struct hs_grant *a = must_resolve(db, &suzuki, T0), *b = must_resolve(db, &suzuki, T0 + 5), *c = must_resolve(db, &sato, T0);
	const uint32_t *ids;
	assert_int_equal(hs_grant_classes(a, &ids), 2);
	assert_int_equal(ids[0], notice);
	assert_int_equal(ids[1], deals);
	uint8_t ha[HS_GRANT_HASH_LEN], hb[HS_GRANT_HASH_LEN], hc[HS_GRANT_HASH_LEN];
	hs_grant_hash(a, ha);
	hs_grant_hash(b, hb);
	hs_grant_hash(c, hc);
	assert_memory_equal(ha, hb, sizeof(ha));
	assert_memory_not_equal(ha, hc, sizeof(ha));
	hs_grant_destroy(a);
	hs_grant_destroy(b);
	hs_grant_destroy(c);
	hs_grant_destroy(NULL);
	db_close(db);
}

/* --- explaining --- */

struct told {
	char lines[4096];
};

static void tell(void *ctx, const struct hs_explained_rule *r)
{
	struct told *t = ctx;
	size_t at = strlen(t->lines);
	(void)snprintf(t->lines + at, sizeof(t->lines) - at, "%s%s%s%s%s\n", r->id, r->deny ? " deny" : "", r->matches ? " matches" : "",
		       r->who && !r->where ? " other class" : "", !r->who ? " other person" : "");
}

static void explaining_names_rules(void **state)
{
	sqlite3 *db = db_open();
	must_apply(db, company);
	uint32_t rules = must_class(db, "全社", "社外秘", ""), pay = must_class(db, "人事", "極秘", "給与");
	struct hs_explanation e;
	struct hs_err err = HS_ERR_INIT;
	struct told t = {0};
	assert_int_equal(hs_policy_explain(db, "hakken", rules, T0, tell, &t, &e, NULL), 0);
	assert_false(e.ask);
	assert_int_equal(e.ask_why, HS_WHY_DENIED);
	assert_string_equal(t.lines, "everyone matches\nsales other class\nhr other person\ntemps deny matches\n"
				     "no-copies deny other person\n");
	assert_int_equal(hs_policy_explain(db, "suzuki", rules, T0, NULL, NULL, &e, NULL), 0);
	assert_true(e.ask);
	assert_int_equal(e.download_why, HS_WHY_DENIED);
	assert_int_equal(hs_policy_explain(db, "suzuki", pay, T0, NULL, NULL, &e, NULL), 0);
	assert_int_equal(e.ask_why, HS_WHY_NOT_ON_LIST);
	assert_int_equal(hs_policy_explain(db, "kanri", rules, T0, NULL, NULL, &e, NULL), 0);
	assert_int_equal(e.ask_why, HS_WHY_ADMIN);
	assert_int_equal(hs_policy_explain(db, "nobody", rules, T0, NULL, NULL, &e, &err), -ENOENT);
	assert_string_equal(err.code, "user.unknown");
	assert_int_equal(hs_policy_explain(db, "sato", 99, T0, NULL, NULL, &e, &err), -ENOENT);
	assert_string_equal(err.code, "class.unknown");
	assert_int_equal(hs_user_suspend(db, "sato", true, NULL), 0);
	assert_int_equal(hs_policy_explain(db, "sato", rules, T0, NULL, NULL, &e, NULL), 0);
	assert_int_equal(e.ask_why, HS_WHY_SUSPENDED);
	db_close(db);
}

/* --- random policies against a judge that knows only the page's words --- */

#define USERS 5
#define GROUPS 5
#define LISTS 3
#define COLLECTIONS 3
#define LEVELS 4
#define RULES 7

struct model_rule {
	bool deny, everyone, any_collection;
	unsigned rights, users, groups, collections; /* bit sets */
	int level_op, level; /* 0 any, 1 up to, 2 exact, 3 from */
	int list;            /* -1 any */
	int attribute;       /* -1 none */
	bool expired;
};

struct model {
	unsigned direct[USERS];        /* groups of a user */
	unsigned nested[GROUPS];       /* groups within a group: only later ones, so there is no cycle */
	unsigned list_users[LISTS], list_groups[LISTS];
	int attribute[USERS];
	bool suspended[USERS], admin[USERS];
	struct model_rule rules[RULES];
};

static uint32_t seed;

static unsigned roll(unsigned n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

static unsigned bits(unsigned n, unsigned one_in)
{
	unsigned set = 0;
	for (unsigned i = 0; i < n; i++)
		if (roll(one_in) == 0)
			set |= 1u << i;
	return set;
}

static struct model model_roll(void)
{
	struct model m = {0};
	for (int u = 0; u < USERS; u++) {
		m.direct[u] = bits(GROUPS, 3);
		m.attribute[u] = (int)roll(3);
		m.suspended[u] = roll(8) == 0;
		m.admin[u] = roll(10) == 0;
	}
	for (unsigned g = 0; g < GROUPS; g++)
		m.nested[g] = bits(GROUPS, 3) & ~((2u << g) - 1);
	for (int l = 0; l < LISTS; l++) {
		m.list_users[l] = bits(USERS, 3);
		m.list_groups[l] = bits(GROUPS, 4);
	}
	for (int r = 0; r < RULES; r++) {
		struct model_rule *x = &m.rules[r];
		x->deny = roll(3) == 0;
		x->rights = 1 + roll(3);
		x->everyone = roll(4) == 0;
		x->users = bits(USERS, 3);
		x->groups = bits(GROUPS, 3);
		if (!x->users && !x->groups)
			x->everyone = true;
		x->collections = bits(COLLECTIONS, 2);
		x->any_collection = !x->collections;
		x->level_op = 1 + (int)roll(3);
		x->level = (int)roll(LEVELS);
		x->list = (int)roll(LISTS + 3) - 3;
		x->attribute = (int)roll(6) - 3;
		x->expired = roll(6) == 0;
	}
	return m;
}

static void put_names(struct hs_buf *b, const char *key, char prefix, unsigned set)
{
	assert_int_equal(hs_buf_printf(b, "%s: [", key), 0);
	for (int i = 0; set >> i; i++)
		if ((set >> i) & 1)
			assert_int_equal(hs_buf_printf(b, "%c%d, ", prefix, i), 0);
	assert_int_equal(hs_buf_append_str(b, "]"), 0);
}

static void model_write(const struct model *m, struct hs_buf *b)
{
	unsigned admins = 0;
	assert_int_equal(hs_buf_append_str(b, "version: 1\nlevels: [v0, v1, v2, v3]\ncollections: [c0, c1, c2]\nusers:\n"), 0);
	for (int u = 0; u < USERS; u++) {
		assert_int_equal(hs_buf_printf(b, "- {name: u%d, suspended: %s, attributes: [a=%d], ", u,
					       m->suspended[u] ? "true" : "false", m->attribute[u]),
				 0);
		put_names(b, "groups", 'g', m->direct[u]);
		assert_int_equal(hs_buf_append_str(b, "}\n"), 0);
		admins |= (unsigned)m->admin[u] << u;
	}
	assert_int_equal(hs_buf_append_str(b, "groups:\n"), 0);
	for (int g = 0; g < GROUPS; g++) {
		assert_int_equal(hs_buf_printf(b, "- {name: g%d, ", g), 0);
		put_names(b, "groups", 'g', m->nested[g]);
		assert_int_equal(hs_buf_append_str(b, "}\n"), 0);
	}
	assert_int_equal(hs_buf_append_str(b, "lists:\n"), 0);
	for (int l = 0; l < LISTS; l++) {
		assert_int_equal(hs_buf_printf(b, "- {name: l%d, ", l), 0);
		put_names(b, "users", 'u', m->list_users[l]);
		assert_int_equal(hs_buf_append_str(b, ", "), 0);
		put_names(b, "groups", 'g', m->list_groups[l]);
		assert_int_equal(hs_buf_append_str(b, "}\n"), 0);
	}
	assert_int_equal(hs_buf_append_str(b, "roles:\n- {role: admin, "), 0);
	put_names(b, "users", 'u', admins);
	assert_int_equal(hs_buf_append_str(b, "}\nrules:\n"), 0);
	static const char *const op[] = {"", "up_to", "exact", "from"};
	for (int r = 0; r < RULES; r++) {
		const struct model_rule *x = &m->rules[r];
		assert_int_equal(hs_buf_printf(b, "- {id: r%d, %s: [%s%s%s], who: {everyone: %s, ", r, x->deny ? "deny" : "allow",
					       x->rights & 1 ? "ask" : "", x->rights == 3 ? ", " : "",
					       x->rights & 2 ? "download" : "", x->everyone ? "true" : "false"),
				 0);
		put_names(b, "users", 'u', x->users);
		assert_int_equal(hs_buf_append_str(b, ", "), 0);
		put_names(b, "groups", 'g', x->groups);
		if (x->attribute >= 0)
			assert_int_equal(hs_buf_printf(b, ", attributes: [a=%d]", x->attribute), 0);
		assert_int_equal(hs_buf_append_str(b, "}, "), 0);
		if (x->any_collection)
			assert_int_equal(hs_buf_append_str(b, "collections: ['*']"), 0);
		else
			put_names(b, "collections", 'c', x->collections);
		assert_int_equal(hs_buf_printf(b, ", level: {%s: v%d}", op[x->level_op], x->level), 0);
		if (x->list >= 0)
			assert_int_equal(hs_buf_printf(b, ", list: l%d", x->list), 0);
		if (x->expired)
			assert_int_equal(hs_buf_append_str(b, ", expires: 2020-01-01"), 0);
		assert_int_equal(hs_buf_append_str(b, "}\n"), 0);
	}
}

/* Is user u in group g, directly or through a group within it? */
static bool model_in(const struct model *m, int u, int g)
{
	if ((m->direct[u] >> g) & 1)
		return true;
	for (int h = g + 1; h < GROUPS; h++)
		if (((m->nested[g] >> h) & 1) && model_in(m, u, h))
			return true;
	return false;
}

static bool model_in_any(const struct model *m, int u, unsigned groups)
{
	for (int g = 0; g < GROUPS; g++)
		if (((groups >> g) & 1) && model_in(m, u, g))
			return true;
	return false;
}

static int model_may(const struct model *m, int u, int c, int v, int l)
{
	bool allow[2] = {false, false}, deny[2] = {false, false};
	if (m->suspended[u] || m->admin[u])
		return 0;
	if (l >= 0 && !((m->list_users[l] >> u) & 1) && !model_in_any(m, u, m->list_groups[l]))
		return 0;
	for (int r = 0; r < RULES; r++) {
		const struct model_rule *x = &m->rules[r];
		if (x->expired || (x->list >= 0 && x->list != l) || (x->attribute >= 0 && x->attribute != m->attribute[u]))
			continue;
		if (!x->everyone && !((x->users >> u) & 1) && !model_in_any(m, u, x->groups))
			continue;
		if (!x->any_collection && !((x->collections >> c) & 1))
			continue;
		if (x->level_op == 1 ? v > x->level : x->level_op == 2 ? v != x->level : v < x->level)
			continue;
		for (int right = 0; right < 2; right++)
			if ((x->rights >> right) & 1)
				*(x->deny ? &deny[right] : &allow[right]) = true;
	}
	bool ask = allow[0] && !deny[0];
	bool download = ask && allow[1] && !deny[1];
	return ask + 2 * download;
}

static void random_policies_agree_with_the_model(void **state)
{
	sqlite3 *db = db_open();
	size_t granted = 0, seen = 0;
	for (uint32_t round = 0; round < 50; round++) {
		HS_BUF_AUTO yaml = HS_BUF_INIT;
		seed = round;
		struct model m = model_roll();
		model_write(&m, &yaml);
		must_apply(db, hs_buf_cstr(&yaml));
		for (int u = 0; u < USERS; u++) {
			char name[16];
			struct hs_user found;
			(void)snprintf(name, sizeof(name), "u%d", u);
			assert_int_equal(hs_user_find(db, name, &found, NULL), 0);
			/* Straight to the account: suspended ones cannot sign in, which is another test. */
			assert_int_equal(sqlite3_exec(db,
						      "INSERT OR REPLACE INTO tokens SELECT substr('tok_' || id, 1, 30), n, x'00', 15,"
						      " '', 0, 9e18, 0"
						      " FROM users",
						      NULL, NULL, NULL),
					 SQLITE_OK);
			struct hs_principal p = {.scopes = HS_SCOPE_ASK, .kind = HS_CREDENTIAL_TOKEN, .expires = INT64_MAX};
			memcpy(p.user, found.id.s, sizeof(p.user));
			(void)snprintf(p.credential.s, sizeof(p.credential.s), "tok_%.26s", found.id.s);
			/* Classes first: making one raises the epoch. */
			uint32_t ids[COLLECTIONS][LEVELS][LISTS + 1];
			for (int k = 0; k < COLLECTIONS * LEVELS * (LISTS + 1); k++) {
				char c[8], v[8], l[8];
				int ci = k % COLLECTIONS, vi = k / COLLECTIONS % LEVELS, li = k / COLLECTIONS / LEVELS;
				(void)snprintf(c, sizeof(c), "c%d", ci);
				(void)snprintf(v, sizeof(v), "v%d", vi);
				(void)snprintf(l, sizeof(l), li == LISTS ? "" : "l%d", li);
				ids[ci][vi][li] = must_class(db, c, v, l);
			}
			struct hs_grant *g = must_resolve(db, &p, T0);
			size_t mine = 0;
			const uint32_t *listed;
			for (int k = 0; k < COLLECTIONS * LEVELS * (LISTS + 1); k++) {
				int ci = k % COLLECTIONS, vi = k / COLLECTIONS % LEVELS, li = k / COLLECTIONS / LEVELS;
				uint32_t id = ids[ci][vi][li];
				int want = model_may(&m, u, ci, vi, li == LISTS ? -1 : li);
				int got = hs_grant_allows(g, id, HS_RIGHT_ASK) + 2 * hs_grant_allows(g, id, HS_RIGHT_DOWNLOAD);
				struct hs_explanation e;
				assert_int_equal(hs_policy_explain(db, name, id, T0, NULL, NULL, &e, NULL), 0);
				if (got != want || e.ask + 2 * e.download != want)
					fail_msg("seed %u user %d class c%d v%d l%d: model %d, grant %d, explained %d\n%s", round, u,
						 ci, vi, li, want, got, e.ask + 2 * e.download, hs_buf_cstr(&yaml));
				assert_int_equal(e.ask, e.ask_why == HS_WHY_ALLOWED);
				assert_int_equal(e.download, e.download_why == HS_WHY_ALLOWED);
				mine += want != 0;
				seen++;
			}
			assert_int_equal(hs_grant_classes(g, &listed), mine);
			granted += mine;
			hs_grant_destroy(g);
		}
	}
	/* Policies that grant nearly all or nothing would prove little. */
	assert_true(granted > seen / 20 && granted < seen - seen / 20);
	db_close(db);
}

/* Let SQLite fail at every Nth step: a grant or an error, never more than the policy gives. */
static int steps_left;

static int interrupting(void *ctx)
{
	return steps_left-- <= 0;
}

static void failing_reads_give_no_grant(void **state)
{
	sqlite3 *db = db_open();
	must_apply(db, company);
	uint32_t notice = must_class(db, "全社", "公開", ""), pay = must_class(db, "人事", "極秘", "給与");
	struct hs_principal suzuki = must_sign_in(db, "suzuki");
	sqlite3_progress_handler(db, 1, interrupting, NULL);
	int failed = 0;
	for (int n = 0; n < 100000; n++) {
		struct hs_grant *g = NULL;
		steps_left = n;
		int rc = hs_policy_resolve(db, &suzuki, T0, &g, NULL);
		if (!rc) {
			assert_true(hs_grant_allows(g, notice, HS_RIGHT_ASK));
			assert_false(hs_grant_allows(g, pay, HS_RIGHT_ASK));
			hs_grant_destroy(g);
			break;
		}
		assert_int_equal(rc, -EINTR);
		assert_null(g);
		failed++;
	}
	assert_true(failed > 50);
	sqlite3_progress_handler(db, 0, NULL, NULL);
	db_close(db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(deny_wins_and_absence_denies),
		cmocka_unit_test(time_ends_rules_accounts_and_grants),
		cmocka_unit_test(every_change_raises_the_epoch),
		cmocka_unit_test(suspended_and_scopeless_get_nothing),
		cmocka_unit_test(grants_list_classes_and_hash_what_is_seen),
		cmocka_unit_test(explaining_names_rules),
		cmocka_unit_test(random_policies_agree_with_the_model),
		cmocka_unit_test(failing_reads_give_no_grant),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
