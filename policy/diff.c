#include "policy/diff.h"

#include <errno.h>
#include <string.h>

#include "policy/db.h"

/*
 * Members are named, not numbered: numbers are given anew by each apply. Separators are control characters, which no name
 * holds. The order of the outer query is the byte order of the key, which is strcmp's.
 */
#define MEMBERS(table, column)                                                                                                \
	"(SELECT group_concat(x, char(31)) FROM (SELECT m.kind || coalesce(u.name, g.name) AS x FROM " table " m"               \
	" LEFT JOIN users u ON m.kind = 0 AND u.n = m.member LEFT JOIN policy_groups g ON m.kind = 1 AND g.n = m.member"        \
	" WHERE m." column " = o.n ORDER BY x))"

static const char dump_sql[] =
	"SELECT key, detail FROM ("
	"SELECT 'level ' || name AS key, rank AS detail FROM policy_levels"
	" UNION ALL SELECT 'collection ' || name, '' FROM policy_collections"
	" UNION ALL SELECT 'group ' || o.name, " MEMBERS("policy_group_members", "grp") " FROM policy_groups o"
	" UNION ALL SELECT 'list ' || o.name, " MEMBERS("policy_list_members", "list") " FROM policy_lists o"
	" UNION ALL SELECT 'role ' || CASE o.n WHEN 1 THEN 'admin' ELSE 'auditor' END, " MEMBERS("policy_role_members", "role")
	"  FROM (SELECT DISTINCT role AS n FROM policy_role_members) o"
	" UNION ALL SELECT 'user ' || o.name, o.display || char(30) || o.policy_suspended || char(30) || o.expires || char(30) ||"
	"  coalesce((SELECT group_concat(x, char(31)) FROM (SELECT key || '=' || value AS x FROM policy_attributes"
	"  WHERE user = o.n ORDER BY key)), '') FROM users o WHERE o.in_policy"
	" UNION ALL SELECT 'rule ' || o.id, o.deny || char(30) || o.rights || char(30) || o.everyone || char(30) || o.any_collection"
	"  || char(30) || o.lo || char(30) || o.hi || char(30) || coalesce((SELECT name FROM policy_lists WHERE n = o.list), '')"
	"  || char(30) || o.expires || char(30) || coalesce(" MEMBERS("policy_rule_members", "rule") ", '') || char(30) ||"
	"  coalesce((SELECT group_concat(x, char(31)) FROM (SELECT key || '=' || value AS x FROM policy_rule_attributes"
	"  WHERE rule = o.n ORDER BY key)), '') || char(30) ||"
	"  coalesce((SELECT group_concat(x, char(31)) FROM (SELECT c.name AS x FROM policy_rule_collections r"
	"  JOIN policy_collections c ON c.n = r.collection WHERE r.rule = o.n ORDER BY x)), '') FROM policy_rules o"
	") ORDER BY key";

int hs_policy_dump(sqlite3 *db, struct hs_buf *out)
{
	HS_PDB_STMT s = NULL;
	int rc = hs_pdb_query(db, &s, dump_sql, "");
	while (!rc && (rc = hs_pdb_step(s)) == 1) {
		rc = 0;
		for (int column = 0; !rc && column < 2; column++) {
			const void *text = sqlite3_column_text(s, column);
			size_t n = (size_t)sqlite3_column_bytes(s, column);
			rc = hs_buf_append(out, text, n);
			if (!rc)
				rc = hs_buf_append_byte(out, 0);
		}
	}
	return rc;
}

struct cursor {
	const char *key, *detail, *next, *end;
};

static bool cursor_next(struct cursor *c)
{
	if (c->next == c->end) {
		c->key = NULL;
		return false;
	}
	c->key = c->next;
	c->detail = c->key + strlen(c->key) + 1;
	c->next = c->detail + strlen(c->detail) + 1;
	return true;
}

static struct cursor cursor_over(const struct hs_buf *b)
{
	struct cursor c = {0}; /* an empty dump has no key, which is what the loop looks at */
	if (b->len) {
		c.next = (const char *)b->data;
		c.end = c.next + b->len;
		(void)cursor_next(&c);
	}
	return c;
}

int hs_policy_compare(const struct hs_buf *before, const struct hs_buf *after, struct hs_policy_change *change,
		      struct hs_buf *ret_lines)
{
	struct cursor a = cursor_over(before), b = cursor_over(after);
	while (a.key || b.key) {
		int order = !a.key ? 1 : !b.key ? -1 : strcmp(a.key, b.key);
		const char *key = order <= 0 ? a.key : b.key;
		char mark = 0;
		if (order < 0) {
			mark = '-';
			change->removed++;
		} else if (order > 0) {
			mark = '+';
			change->added++;
		} else if (strcmp(a.detail, b.detail)) {
			mark = '~';
			change->changed_rows++;
		}
		if (mark && ret_lines) {
			int rc = hs_buf_printf(ret_lines, "%c%s\n", mark, key);
			if (rc)
				return rc;
		}
		if (order <= 0)
			(void)cursor_next(&a);
		if (order >= 0)
			(void)cursor_next(&b);
	}
	change->changed = change->added || change->removed || change->changed_rows;
	return 0;
}
