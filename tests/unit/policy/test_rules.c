#include "policy/rules.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/file.h"

#include "tests/unit/policy/fixture.h"

static const char good[] =
	"version: 1\n"
	"levels: [公開, 社外秘, 秘, 極秘]\n"
	"collections: [全社, 人事, 営業]\n"
	"users:\n"
	"  - name: sato\n"
	"    display: 佐藤 花子\n"
	"    groups: [人事部]\n"
	"    attributes: [勤務地=東京, 雇用=正社員]\n"
	"  - {name: suzuki, groups: [営業部]}\n"
	"groups:\n"
	"  - {name: 人事部}\n"
	"  - {name: 営業部}\n"
	"  - {name: 全社員, groups: [人事部, 営業部]}\n"
	"lists:\n"
	"  - {name: 給与, groups: [人事部]}\n"
	"roles:\n"
	"  - {role: auditor, users: [sato]}\n"
	"rules:\n"
	"  - id: 全社員は社外秘まで\n"
	"    allow: [ask, download]\n"
	"    who: {groups: [全社員]}\n"
	"    collections: [全社]\n"
	"    level: {up_to: 社外秘}\n"
	"  - id: 人事部\n"
	"    allow: [ask]\n"
	"    who: {groups: [人事部]}\n"
	"    collections: [\"*\"]\n"
	"    level: {up_to: 極秘}\n"
	"    expires: 2027-03-31\n";

struct refusal {
	const char *yaml, *code, *object; /* object: what the error must begin with */
};

#define HEAD "version: 1\ncollections: [c]\n"
#define USERS HEAD "users: [{name: u}]\n"

static const struct refusal refusals[] = {
	{"", "policy.yaml", "line 1"},
	{"version: [1", "policy.yaml", "line 2"},
	{"version: 1\ncollections: [c]\n---\nversion: 1\n", "policy.yaml", "line 4"},
	{"[]", "policy.value", "line 1"},
	{"version: 2\ncollections: []", "policy.value", "line 1: version"},
	{"version: 1\n", "policy.missing", "line 1: collections"},
	{HEAD "colections: [x]\n", "policy.key", "line 3: colections"},
	{HEAD "collections: [x]\n", "policy.key", "line 3: collections"},
	{HEAD "users:\n- name: a\n  nmae: b\n", "policy.key", "line 5: users[0]: nmae"},
	{HEAD "users:\n- name: a\n- name: a\n", "policy.duplicate", "line 5: users: a"},
	{HEAD "users:\n- display: a\n", "policy.missing", "line 4: users[0]: name"},
	{HEAD "users:\n- name: usr_a\n", "policy.value", "line 4: users[0].name: usr_a"},
	{HEAD "users:\n- name: ' a'\n", "policy.value", "line 4: users[0].name"},
	{HEAD "users:\n- name: \"a\\0b\"\n", "policy.value", "line 4: users[0].name"},
	{HEAD "users:\n- name: ''\n", "policy.value", "line 4: users[0].name"},
	{HEAD "users:\n- name: [a]\n", "policy.value", "line 4: users[0].name"},
	{HEAD "users:\n- {name: a, attributes: [x]}\n", "policy.value", "line 4: users[0].attributes[0]: x"},
	{HEAD "users:\n- {name: a, attributes: [x=1, x=2]}\n", "policy.duplicate", "line 4: users[0].attributes[1]: x"},
	{HEAD "users:\n- {name: a, suspended: yes}\n", "policy.value", "line 4: users[0].suspended"},
	{HEAD "users:\n- {name: a, expires: tomorrow}\n", "policy.value", "line 4: users[0].expires"},
	{HEAD "users:\n- {name: a,\n   groups: [g]}\n", "policy.unknown_name", "line 5: users.groups: g"},
	{HEAD "groups:\n- {name: g, users: [a]}\n", "policy.unknown_name", "line 4: groups: a"},
	{HEAD "groups:\n- {name: g, groups: [g]}\n", "policy.cycle", "line 4: groups.groups: g"},
	{HEAD "groups:\n- {name: a, groups: [b]}\n- {name: b, groups: [c]}\n- {name: c, groups: [a]}\n", "policy.cycle", "line 4:"},
	{HEAD "lists: [{name: l, groups: [x]}]\n", "policy.unknown_name", "line 3: lists: x"},
	{HEAD "roles: [{role: root}]\n", "policy.value", "line 3: roles[0].role: root"},
	{"version: 1\ncollections: ['*']\n", "policy.value", "line 2: collections"},
	{"version: 1\ncollections: [a, a]\n", "policy.duplicate", "line 2: collections: a"},
	{HEAD "levels: []\n", "policy.value", "line 3: levels"},
	{HEAD "levels: &x [a]\nusers: *x\n", "policy.yaml", "line 3"},
	{"&x [*x]", "policy.value", "line 1"},
	{"version: 1\ncollections: &x [a, *x]\n", "policy.yaml", "line 2: collections[1]"},
	{USERS "rules:\n- id: r\n  who: {users: [u]}\n", "policy.missing", "line 5: rules[0]: r"},
	{USERS "rules:\n- {id: r, allow: [ask]}\n", "policy.missing", "line 5: rules[0]: who"},
	{USERS "rules:\n- {id: r, allow: [ask], who: {users: [u]}, level: {up_to: 秘}}\n", "policy.missing",
	 "line 5: rules[0]: collections"},
	{USERS "rules:\n- {id: r, allow: [ask], who: {users: [u]}, collections: [c]}\n", "policy.missing", "line 5: rules[0]: level"},
	{USERS "rules:\n- {id: r, allow: [ask], deny: [ask], who: {users: [u]}}\n", "policy.value", "line 5: rules[0].deny"},
	{USERS "rules:\n- {id: r, deny: [write], who: {users: [u]}}\n", "policy.value", "line 5: rules[0].deny[0]: write"},
	{USERS "rules:\n- {id: r, deny: [], who: {users: [u]}}\n", "policy.value", "line 5: rules[0].deny"},
	{USERS "rules:\n- {id: r, deny: [ask], who: {attributes: [a=b]}}\n", "policy.missing", "line 5: rules[0].who"},
	{USERS "rules:\n- {id: r, deny: [ask], who: {everyone: false}}\n", "policy.missing", "line 5: rules[0].who"},
	{USERS "rules:\n- {id: r, deny: [ask], who: {users: [v]}}\n", "policy.unknown_name", "line 5: rules.who.users: v"},
	{USERS "rules:\n- {id: r, deny: [ask], who: {users: [u]}, collections: [d]}\n", "policy.unknown_name",
	 "line 5: rules.collections: d"},
	{USERS "rules:\n- {id: r, deny: [ask], who: {users: [u]}, level: {up_to: 機密}}\n", "policy.unknown_name",
	 "line 5: rules.level: 機密"},
	{USERS "rules:\n- {id: r, deny: [ask], who: {users: [u]}, level: {up_to: 秘, from: 秘}}\n", "policy.value",
	 "line 5: rules[0].level"},
	{USERS "rules:\n- {id: r, deny: [ask], who: {users: [u]}, list: x}\n", "policy.unknown_name", "line 5: rules.list: x"},
	{USERS "rules:\n- {id: r, deny: [ask], who: {users: [u]}}\n- {id: r, deny: [ask], who: {users: [u]}}\n",
	 "policy.duplicate", "line 6: rules.id: r"},
	{"version: 1\ncollections: [\"\xff\"]\n", "policy.yaml", "byte"},
};

static void every_mistake_is_named_and_nothing_changes(void **state)
{
	sqlite3 *db = db_open();
	must_apply(db, good);
	uint64_t before = epoch(db);
	for (size_t i = 0; i < HS_ARRAY_LEN(refusals); i++) {
		const struct refusal *r = &refusals[i];
		struct hs_policy_change change;
		struct hs_err err = HS_ERR_INIT;
		int rc = hs_policy_apply(db, r->yaml, strlen(r->yaml), "local_0", T0, false, &change, NULL, &err);
		if (rc != -EINVAL || strcmp(err.code, r->code) || strncmp(err.object, r->object, strlen(r->object)))
			fail_msg("case %zu: %d %s: %s (wanted %s: %s)", i, rc, err.code, err.object, r->code, r->object);
		assert_true(err.hint[0]);
	}
	assert_int_equal(epoch(db), before);
	struct hs_user u;
	assert_int_equal(hs_user_find(db, "sato", &u, NULL), 0);
	assert_int_equal(hs_user_find(db, "u", &u, NULL), -ENOENT);
	db_close(db);
}

static void applying_tells_what_changed(void **state)
{
	sqlite3 *db = db_open();
	struct hs_policy_change c;
	HS_BUF_AUTO diff = HS_BUF_INIT;
	uint64_t e0 = epoch(db);
	assert_int_equal(hs_policy_apply(db, good, strlen(good), "local_0", T0, true, &c, &diff, NULL), 0);
	assert_true(c.changed);
	assert_int_equal(c.version, 0);
	assert_int_equal(epoch(db), e0);
	assert_non_null(strstr(hs_buf_cstr(&diff), "+user sato\n"));
	assert_non_null(strstr(hs_buf_cstr(&diff), "+rule 人事部\n"));
	struct hs_user u;
	assert_int_equal(hs_user_find(db, "sato", &u, NULL), -ENOENT); /* a dry run keeps nothing */

	assert_int_equal(hs_policy_apply(db, good, strlen(good), "local_0", T0, false, &c, NULL, NULL), 0);
	assert_int_equal(c.version, 1);
	assert_int_equal(epoch(db), e0 + 1);
	assert_int_equal(hs_user_find(db, "sato", &u, NULL), 0);
	assert_int_equal(u.roles, HS_ROLE_AUDITOR);
	char id[HS_ID_LEN + 1];
	memcpy(id, u.id.s, sizeof(id));

	/* The same again changes nothing, the same with a comment is a version without an epoch. */
	assert_int_equal(hs_policy_apply(db, good, strlen(good), "local_0", T0, false, &c, NULL, NULL), 0);
	assert_false(c.changed);
	assert_int_equal(c.version, 0);
	assert_int_equal(epoch(db), e0 + 1);
	char commented[sizeof(good) + 16];
	(void)snprintf(commented, sizeof(commented), "%s# kept\n", good);
	assert_int_equal(hs_policy_apply(db, commented, strlen(commented), "local_0", T0, false, &c, NULL, NULL), 0);
	assert_false(c.changed);
	assert_int_equal(c.version, 2);
	assert_int_equal(epoch(db), e0 + 1);

	/* Another order of names is the same policy; another name is not. Ids of users stay. */
	static const char other[] = "version: 1\ncollections: [全社, 営業]\nusers: [{name: sato, display: 佐藤 花子}]\n";
	diff.len = 0;
	assert_int_equal(hs_policy_apply(db, other, strlen(other), "usr_x", T0, false, &c, &diff, NULL), 0);
	assert_true(c.changed);
	const char *lines = hs_buf_cstr(&diff);
	assert_non_null(strstr(lines, "-collection 人事\n"));
	assert_non_null(strstr(lines, "-user suzuki\n"));
	assert_non_null(strstr(lines, "~user sato\n")); /* lost attributes */
	assert_null(strstr(lines, "collection 全社"));
	assert_int_equal(hs_user_find(db, "sato", &u, NULL), 0);
	assert_string_equal(u.id.s, id);
	assert_int_equal(u.roles, 0);
	assert_int_equal(hs_user_find(db, "suzuki", &u, NULL), 0);
	assert_true(u.removed);

	HS_BUF_AUTO kept = HS_BUF_INIT;
	assert_int_equal(hs_policy_get(db, 1, &kept), 0);
	assert_string_equal(hs_buf_cstr(&kept), good);
	kept.len = 0;
	assert_int_equal(hs_policy_get(db, 0, &kept), 0);
	assert_string_equal(hs_buf_cstr(&kept), other);
	assert_int_equal(hs_policy_get(db, 99, &kept), -ENOENT);
	db_close(db);
}

static void classes_whose_names_are_gone_are_counted(void **state)
{
	sqlite3 *db = db_open();
	struct hs_policy_change c;
	must_apply(db, good);
	uint64_t before = epoch(db);
	uint32_t id = must_class(db, "人事", "極秘", "給与");
	assert_int_equal(epoch(db), before + 1);
	assert_int_equal(must_class(db, "人事", "極秘", "給与"), id);
	assert_int_equal(epoch(db), before + 1);
	assert_int_not_equal(must_class(db, "人事", "極秘", NULL), id);
	static const char other[] = "version: 1\ncollections: [全社]\n";
	assert_int_equal(hs_policy_apply(db, other, strlen(other), "local_0", T0, true, &c, NULL, NULL), 0);
	assert_int_equal(c.orphans, 2);
	db_close(db);
}

/* Users of `hisho user add` stand beside the file, may be named by it, and outlive it. */
static void added_users_and_the_file_live_together(void **state)
{
	sqlite3 *db = db_open();
	struct hs_id id;
	struct hs_user u;
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(hs_user_add(db, "tanaka", "田中", T0, &id, NULL), 0);
	assert_int_equal(hs_user_add(db, "tanaka", "", T0, &id, &err), -EEXIST);
	assert_string_equal(err.code, "user.exists");
	assert_int_equal(hs_user_add(db, "usr_x", "", T0, &id, NULL), -EINVAL);
	assert_int_equal(hs_user_add(db, "", "", T0, &id, NULL), -EINVAL);
	must_apply(db, HEAD "groups: [{name: g, users: [tanaka]}]\nroles: [{role: admin, groups: [g]}]\n");
	assert_int_equal(hs_user_find(db, id.s, &u, NULL), 0);
	assert_int_equal(u.roles, HS_ROLE_ADMIN);
	must_apply(db, HEAD);
	assert_int_equal(hs_user_find(db, "tanaka", &u, NULL), 0);
	assert_false(u.removed);
	assert_int_equal(u.roles, 0);
	/* Once the file has declared the user, it is the file that can remove them. */
	must_apply(db, HEAD "users: [{name: tanaka}]\n");
	assert_int_equal(hs_user_find(db, "tanaka", &u, NULL), 0);
	assert_string_equal(u.id.s, id.s);
	must_apply(db, HEAD);
	assert_int_equal(hs_user_find(db, "tanaka", &u, NULL), 0);
	assert_true(u.removed);
	db_close(db);
}

static void limits_hold(void **state)
{
	sqlite3 *db = db_open();
	struct hs_policy_change c;
	struct hs_err err = HS_ERR_INIT;
	HS_BUF_AUTO b = HS_BUF_INIT;
	assert_int_equal(hs_buf_append_str(&b, "version: 1\ncollections: [c]\nlevels: ["), 0);
	for (int i = 0; i <= HS_POLICY_LEVELS_MAX; i++)
		assert_int_equal(hs_buf_printf(&b, "l%d,", i), 0);
	assert_int_equal(hs_buf_append_str(&b, "]\n"), 0);
	assert_int_equal(hs_policy_apply(db, (char *)b.data, b.len, "x", T0, false, &c, NULL, &err), -EINVAL);
	assert_string_equal(err.code, "policy.limit");

	/* Nesting is bounded before anything of ours walks it. */
	b.len = 0;
	for (int i = 0; i < 100000; i++)
		assert_int_equal(hs_buf_append_byte(&b, '['), 0);
	assert_int_equal(hs_policy_apply(db, (char *)b.data, b.len, "x", T0, false, &c, NULL, &err), -EINVAL);

	/* The 4,097th class is refused by name. */
	must_apply(db, HEAD);
	assert_int_equal(sqlite3_exec(db,
				      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4096)"
				      " INSERT INTO classes SELECT i, 'old' || i, 'x', '' FROM n",
				      NULL, NULL, NULL),
			 SQLITE_OK);
	uint32_t id;
	assert_int_equal(hs_class_intern(db, "c", "秘", "", &id, &err), -ENOSPC);
	assert_string_equal(err.code, "class.limit");
	assert_int_equal(hs_class_intern(db, "d", "秘", "", &id, &err), -EINVAL);
	assert_string_equal(err.code, "class.collection");
	assert_int_equal(hs_class_intern(db, "c", "機密", "", &id, &err), -EINVAL);
	assert_string_equal(err.code, "class.level");
	assert_int_equal(hs_class_intern(db, "c", "秘", "l", &id, &err), -EINVAL);
	assert_string_equal(err.code, "class.list");
	db_close(db);
}

static void a_newer_schema_is_refused_by_name(void **state)
{
	sqlite3 *db = db_open();
	struct hs_err err = HS_ERR_INIT;
	assert_int_equal(hs_policy_schema_migrate(db, NULL), 0); /* again: nothing to do */
	/* From schema 1, which had no witness of the audit log. */
	assert_int_equal(sqlite3_exec(db, "DROP TABLE audit_witness; UPDATE policy_state SET schema = 1", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(hs_policy_schema_migrate(db, NULL), 0);
	assert_int_equal(sqlite3_exec(db, "SELECT seq FROM audit_witness", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "UPDATE policy_state SET schema = 99", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(hs_policy_schema_migrate(db, &err), -ENOTSUP);
	assert_string_equal(err.code, "policy.schema_newer");
	db_close(db);
}

/* What docs/policy.md shows is a policy that applies. */
static void the_documented_example_applies(void **state)
{
	const char *root = getenv("HISHO_SOURCE_ROOT");
	if (!root)
		skip(); /* run by hand, outside of meson */
	char path[4096];
	(void)snprintf(path, sizeof(path), "%s/docs/policy.md", root);
	HS_BUF_AUTO page = HS_BUF_INIT;
	assert_int_equal(hs_file_read(AT_FDCWD, path, 1 << 20, &page), 0);
	char *start = strstr(hs_buf_cstr(&page), "```yaml\n");
	assert_non_null(start);
	start += strlen("```yaml\n");
	char *end = strstr(start, "```");
	assert_non_null(end);
	*end = '\0';
	sqlite3 *db = db_open();
	must_apply(db, start);
	uint32_t pay = must_class(db, "人事", "極秘", "給与"), deals = must_class(db, "営業", "秘", "");
	struct {
		const char *user;
		uint32_t class_id;
		bool ask, download;
	} want[] = {{"sato", pay, true, false},	     {"tanaka", pay, true, false}, {"suzuki", pay, false, false},
		    {"suzuki", deals, true, false}, {"takahashi", deals, false, false}, {"kanri", deals, false, false},
		    {"tanaka", deals, true, true}};
	for (size_t i = 0; i < HS_ARRAY_LEN(want); i++) {
		struct hs_explanation e;
		assert_int_equal(hs_policy_explain(db, want[i].user, want[i].class_id, T0, NULL, NULL, &e, NULL), 0);
		if (e.ask != want[i].ask || e.download != want[i].download)
			fail_msg("%s, class %u: ask %d, download %d", want[i].user, want[i].class_id, e.ask, e.download);
	}
	db_close(db);
}

/* Let SQLite run out of memory at its Nth allocation, for every N: whole or not at all. */
static int allocations_left;
static sqlite3_mem_methods real_mem;

static void *counted_malloc(int n)
{
	return allocations_left >= 0 && allocations_left-- == 0 ? NULL : real_mem.xMalloc(n);
}

static void *counted_realloc(void *p, int n)
{
	return allocations_left >= 0 && allocations_left-- == 0 ? NULL : real_mem.xRealloc(p, n);
}

static void failing_memory_leaves_the_old_policy(void **state)
{
	allocations_left = -1;
	(void)sqlite3_shutdown();
	assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_mem), SQLITE_OK);
	sqlite3_mem_methods counted = real_mem;
	counted.xMalloc = counted_malloc;
	counted.xRealloc = counted_realloc;
	assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &counted), SQLITE_OK);
	sqlite3 *db = db_open();
	must_apply(db, HEAD);
	int failures = 0;
	struct hs_policy_change c;
	for (int n = 0;; n += 7) {
		allocations_left = n;
		uint64_t before;
		int rc = hs_policy_apply(db, good, strlen(good), "local_0", T0, false, &c, NULL, NULL);
		bool exhausted = allocations_left < 0;
		allocations_left = -1;
		before = epoch(db);
		if (!rc) {
			assert_int_equal(before, 3);
			if (!exhausted)
				break;
			must_apply(db, HEAD); /* SQLite did without the failed allocation: begin again */
			break;
		}
		failures++;
		assert_true(rc == -ENOMEM || rc == -EIO);
		assert_int_equal(before, 2);
		struct hs_user u;
		assert_int_equal(hs_user_find(db, "sato", &u, NULL), -ENOENT);
	}
	assert_true(failures > 3);
	db_close(db);
	(void)sqlite3_shutdown();
	assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &real_mem), SQLITE_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_mistake_is_named_and_nothing_changes),
		cmocka_unit_test(applying_tells_what_changed),
		cmocka_unit_test(classes_whose_names_are_gone_are_counted),
		cmocka_unit_test(added_users_and_the_file_live_together),
		cmocka_unit_test(limits_hold),
		cmocka_unit_test(a_newer_schema_is_refused_by_name),
		cmocka_unit_test(the_documented_example_applies),
		cmocka_unit_test(failing_memory_leaves_the_old_policy),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
