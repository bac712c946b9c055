#include "policy/file.h"

#include <errno.h>
#include <string.h>

#include "policy/grant.h"
#include "policy/rules.h"
#include "policy/node.h"

#define MEMBERS_MAX HS_POLICY_USERS_MAX
#define ATTRIBUTES_MAX 64

/* --- attributes: "key=value" --- */

static int take_attribute(struct hs_yaml *y, yaml_node_t *node, size_t index, void *into)
{
	struct hs_pf_attributes *as = into;
	struct hs_pf_name name;
	int rc = hs_yaml_name(y, node, &name);
	if (rc)
		return rc;
	const char *equals = strchr(name.s, '=');
	if (!equals || equals == name.s || !equals[1])
		return hs_yaml_fail(y, node, "policy.value", HS_N_("An attribute is written key=value."), name.s);
	char *key = hs_arena_strndup(y->arena, name.s, (size_t)(equals - name.s));
	if (!key)
		return -ENOMEM;
	for (size_t i = 0; i < index; i++)
		if (!strcmp(as->items[i].key, key))
			return hs_yaml_fail(y, node, "policy.duplicate", HS_N_("An attribute has one value."), key);
	as->items[index] = (struct hs_pf_attribute){.key = key, .value = equals + 1};
	as->n = index + 1;
	return 0;
}

static int take_attributes(struct hs_yaml *y, yaml_node_t *node, struct hs_pf_attributes *ret)
{
	size_t n;
	int rc = hs_yaml_sequence(y, node, ATTRIBUTES_MAX, &n);
	if (rc)
		return rc;
	ret->items = hs_arena_calloc(y->arena, n + 1, sizeof(*ret->items));
	return ret->items ? hs_yaml_items(y, node, take_attribute, ret) : -ENOMEM;
}

/* --- users --- */

static int user_name(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	struct hs_pf_user *u = into;
	int rc = hs_yaml_name(y, node, &u->name);
	/* Whatever looks like a public id would be looked up as one. */
	if (!rc && (!strncmp(u->name.s, "usr_", 4) || !strncmp(u->name.s, "local_", 6)))
		return hs_yaml_fail(y, node, "policy.value", HS_N_("A user's name must not begin like an identifier."), u->name.s);
	return rc;
}

static int user_display(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	struct hs_pf_name name;
	int rc = hs_yaml_name(y, node, &name);
	if (!rc)
		((struct hs_pf_user *)into)->display = name.s;
	return rc;
}

static int user_groups(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	return hs_yaml_names(y, node, HS_POLICY_GROUPS_MAX, &((struct hs_pf_user *)into)->groups);
}

static int user_attributes(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	return take_attributes(y, node, &((struct hs_pf_user *)into)->attributes);
}

static int user_suspended(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	return hs_yaml_bool(y, node, &((struct hs_pf_user *)into)->suspended);
}

static int user_expires(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	return hs_yaml_time(y, node, &((struct hs_pf_user *)into)->expires);
}

static const struct hs_yaml_key user_keys[] = {
	{"name", user_name, true},
	{"display", user_display, false},
	{"groups", user_groups, false},
	{"attributes", user_attributes, false},
	{"suspended", user_suspended, false},
	{"expires", user_expires, false},
};

static int take_user(struct hs_yaml *y, yaml_node_t *node, size_t index, void *into)
{
	struct hs_pf_user *u = &((struct hs_pf_user *)into)[index];
	u->display = "";
	return hs_yaml_mapping(y, node, user_keys, HS_ARRAY_LEN(user_keys), u);
}

/* --- groups, lists, roles: parties --- */

static int party_name(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	return hs_yaml_name(y, node, &((struct hs_pf_party *)into)->name);
}

static int party_users(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	return hs_yaml_names(y, node, MEMBERS_MAX, &((struct hs_pf_party *)into)->users);
}

static int party_groups(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	return hs_yaml_names(y, node, HS_POLICY_GROUPS_MAX, &((struct hs_pf_party *)into)->groups);
}

static const struct hs_yaml_key party_keys[] = {
	{"name", party_name, true},
	{"users", party_users, false},
	{"groups", party_groups, false},
};

static int take_party(struct hs_yaml *y, yaml_node_t *node, size_t index, void *into)
{
	return hs_yaml_mapping(y, node, party_keys, HS_ARRAY_LEN(party_keys), &((struct hs_pf_party *)into)[index]);
}

static int role_name(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	struct hs_pf_party *p = into;
	int rc = hs_yaml_name(y, node, &p->name);
	if (!rc && strcmp(p->name.s, "admin") && strcmp(p->name.s, "auditor"))
		return hs_yaml_fail(y, node, "policy.value", HS_N_("The roles are admin and auditor."), p->name.s);
	return rc;
}

static const struct hs_yaml_key role_keys[] = {
	{"role", role_name, true},
	{"users", party_users, false},
	{"groups", party_groups, false},
};

static int take_role(struct hs_yaml *y, yaml_node_t *node, size_t index, void *into)
{
	return hs_yaml_mapping(y, node, role_keys, HS_ARRAY_LEN(role_keys), &((struct hs_pf_party *)into)[index]);
}

/* --- rules --- */

static int rule_id(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	return hs_yaml_name(y, node, &((struct hs_pf_rule *)into)->id);
}

static int take_right(struct hs_yaml *y, yaml_node_t *node, size_t index, void *into)
{
	struct hs_pf_rule *r = into;
	size_t n;
	const char *s = hs_yaml_scalar(node, &n);
	uint32_t bit;
	if (s && !strcmp(s, "ask"))
		bit = 1u << HS_RIGHT_ASK;
	else if (s && !strcmp(s, "download"))
		bit = 1u << HS_RIGHT_DOWNLOAD;
	else
		return hs_yaml_fail(y, node, "policy.value", HS_N_("The rights are ask and download."), s ? s : "");
	r->rights |= bit;
	return 0;
}

static int rule_rights(struct hs_yaml *y, yaml_node_t *node, struct hs_pf_rule *r, bool deny)
{
	if (r->rights)
		return hs_yaml_fail(y, node, "policy.value", HS_N_("A rule either allows or denies; write two rules."), "");
	size_t n;
	int rc = hs_yaml_sequence(y, node, 2, &n);
	if (!rc && n == 0)
		return hs_yaml_fail(y, node, "policy.value", HS_N_("Name at least one right: ask, download."), "");
	r->deny = deny;
	return rc ? rc : hs_yaml_items(y, node, take_right, r);
}

static int rule_allow(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	return rule_rights(y, node, into, false);
}

static int rule_deny(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	return rule_rights(y, node, into, true);
}

static int who_users(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	return hs_yaml_names(y, node, MEMBERS_MAX, &((struct hs_pf_rule *)into)->users);
}

static int who_groups(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	return hs_yaml_names(y, node, HS_POLICY_GROUPS_MAX, &((struct hs_pf_rule *)into)->groups);
}

static int who_everyone(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	return hs_yaml_bool(y, node, &((struct hs_pf_rule *)into)->everyone);
}

static int who_attributes(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	return take_attributes(y, node, &((struct hs_pf_rule *)into)->attributes);
}

static const struct hs_yaml_key who_keys[] = {
	{"users", who_users, false},
	{"groups", who_groups, false},
	{"everyone", who_everyone, false},
	{"attributes", who_attributes, false},
};

static int rule_who(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	struct hs_pf_rule *r = into;
	int rc = hs_yaml_mapping(y, node, who_keys, HS_ARRAY_LEN(who_keys), r);
	if (!rc && !r->users.n && !r->groups.n && !r->everyone)
		return hs_yaml_fail(y, node, "policy.missing",
				    HS_N_("Say who: users, groups or everyone: true; attributes only narrow them."), "");
	return rc;
}

static int rule_collections(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	struct hs_pf_rule *r = into;
	int rc = hs_yaml_names(y, node, HS_POLICY_COLLECTIONS_MAX, &r->collections);
	if (rc)
		return rc;
	if (r->collections.n == 0)
		return hs_yaml_fail(y, node, "policy.value", HS_N_("Name at least one collection, or \"*\" for all."), "");
	for (size_t i = 0; i < r->collections.n; i++)
		if (!strcmp(r->collections.items[i].s, "*"))
			r->any_collection = true;
	return 0;
}

static int level_up_to(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	return hs_yaml_name(y, node, &((struct hs_pf_rule *)into)->up_to);
}

static int level_exact(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	return hs_yaml_name(y, node, &((struct hs_pf_rule *)into)->exact);
}

static int level_from(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	return hs_yaml_name(y, node, &((struct hs_pf_rule *)into)->from);
}

static const struct hs_yaml_key level_keys[] = {
	{"up_to", level_up_to, false},
	{"exact", level_exact, false},
	{"from", level_from, false},
};

static int rule_level(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	struct hs_pf_rule *r = into;
	int rc = hs_yaml_mapping(y, node, level_keys, HS_ARRAY_LEN(level_keys), r);
	if (!rc && !!r->up_to.s + !!r->exact.s + !!r->from.s != 1)
		return hs_yaml_fail(y, node, "policy.value", HS_N_("Write one of up_to, exact, from."), "");
	return rc;
}

static int rule_list(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	return hs_yaml_name(y, node, &((struct hs_pf_rule *)into)->list);
}

static int rule_expires(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	return hs_yaml_time(y, node, &((struct hs_pf_rule *)into)->expires);
}

static const struct hs_yaml_key rule_keys[] = {
	{"id", rule_id, true},
	{"allow", rule_allow, false},
	{"deny", rule_deny, false},
	{"who", rule_who, true},
	{"collections", rule_collections, false},
	{"level", rule_level, false},
	{"list", rule_list, false},
	{"expires", rule_expires, false},
};

static int take_rule(struct hs_yaml *y, yaml_node_t *node, size_t index, void *into)
{
	struct hs_pf_rule *r = &((struct hs_pf_rule *)into)[index];
	int rc = hs_yaml_mapping(y, node, rule_keys, HS_ARRAY_LEN(rule_keys), r);
	if (rc)
		return rc;
	if (!r->rights)
		return hs_yaml_fail(y, node, "policy.missing", HS_N_("A rule needs allow or deny with its rights."), r->id.s);
	/* What is left out of a denial denies more; what is left out of a permission must not permit more. */
	if (!r->deny && !r->collections.n)
		return hs_yaml_fail(y, node, "policy.missing", HS_N_("An allow rule must say for which collections; \"*\" is all."),
				    "collections");
	if (!r->deny && !r->up_to.s && !r->exact.s && !r->from.s)
		return hs_yaml_fail(y, node, "policy.missing", HS_N_("An allow rule must say for which levels."), "level");
	if (!r->collections.n)
		r->any_collection = true;
	return 0;
}

/* --- the whole file --- */

static int array(struct hs_yaml *y, yaml_node_t *node, size_t max, size_t size, void **ret_items, size_t *ret_n, hs_yaml_item_fn fn)
{
	size_t n;
	int rc = hs_yaml_sequence(y, node, max, &n);
	if (rc)
		return rc;
	void *items = hs_arena_calloc(y->arena, n + 1, size);
	if (!items)
		return -ENOMEM;
	rc = hs_yaml_items(y, node, fn, items);
	if (!rc) {
		*ret_items = items;
		*ret_n = n;
	}
	return rc;
}

static int top_version(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	size_t n;
	const char *s = hs_yaml_scalar(node, &n);
	if (!s || strcmp(s, "1"))
		return hs_yaml_fail(y, node, "policy.value", HS_N_("This Hisho reads policy files of version 1."), s ? s : "");
	return 0;
}

static int top_levels(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	struct hs_policy_file *f = into;
	int rc = hs_yaml_names(y, node, HS_POLICY_LEVELS_MAX, &f->levels);
	if (!rc && !f->levels.n)
		return hs_yaml_fail(y, node, "policy.value", HS_N_("Name at least one level, the most public first."), "");
	return rc;
}

static int top_collections(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	struct hs_policy_file *f = into;
	int rc = hs_yaml_names(y, node, HS_POLICY_COLLECTIONS_MAX, &f->collections);
	for (size_t i = 0; !rc && i < f->collections.n; i++)
		if (!strcmp(f->collections.items[i].s, "*"))
			return hs_yaml_fail(y, node, "policy.value", HS_N_("\"*\" means all collections and cannot name one."), "");
	return rc;
}

static int top_users(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	struct hs_policy_file *f = into;
	return array(y, node, HS_POLICY_USERS_MAX, sizeof(*f->users), (void **)&f->users, &f->n_users, take_user);
}

static int top_groups(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	struct hs_policy_file *f = into;
	return array(y, node, HS_POLICY_GROUPS_MAX, sizeof(*f->groups), (void **)&f->groups, &f->n_groups, take_party);
}

static int top_lists(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	struct hs_policy_file *f = into;
	return array(y, node, HS_POLICY_LISTS_MAX, sizeof(*f->lists), (void **)&f->lists, &f->n_lists, take_party);
}

static int top_roles(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	struct hs_policy_file *f = into;
	return array(y, node, 2, sizeof(*f->roles), (void **)&f->roles, &f->n_roles, take_role);
}

static int top_rules(struct hs_yaml *y, yaml_node_t *node, void *into)
{
	struct hs_policy_file *f = into;
	return array(y, node, HS_POLICY_RULES_MAX, sizeof(*f->rules), (void **)&f->rules, &f->n_rules, take_rule);
}

static const struct hs_yaml_key top_keys[] = {
	{"version", top_version, true}, {"levels", top_levels, false}, {"collections", top_collections, true},
	{"users", top_users, false},	{"groups", top_groups, false}, {"lists", top_lists, false},
	{"roles", top_roles, false},	{"rules", top_rules, false},
};

static int take_top(struct hs_yaml *y, yaml_node_t *root, void *into)
{
	return hs_yaml_mapping(y, root, top_keys, HS_ARRAY_LEN(top_keys), into);
}

int hs_policy_file_parse(const char *yaml, size_t n, struct hs_arena *arena, struct hs_policy_file *ret, struct hs_err *err)
{
	static struct hs_pf_name defaults[] = {{"公開", 0}, {"社外秘", 0}, {"秘", 0}, {"極秘", 0}};
	struct hs_policy_file f = {.levels = {.items = defaults, .n = HS_ARRAY_LEN(defaults)}};
	if (n > HS_POLICY_YAML_MAX)
		return hs_fail(err, EINVAL, "policy.limit", HS_N_("A policy file has at most 4 MiB."), "%zu bytes", n);
	int rc = hs_yaml_load(yaml, n, arena, err, take_top, &f);
	if (rc == -ENOMEM)
		return hs_fail_errno(err, rc, "policy.memory", "policy file");
	if (!rc)
		*ret = f;
	return rc;
}
