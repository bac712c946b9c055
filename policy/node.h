/*
 * Inside this room: YAML into a schema of tables, every node with its line.
 *
 * libyaml makes the tree (it bounds nesting itself); this walks it with a table of keys a mapping, so that an unknown, doubled
 * or missing key and a value of the wrong kind are refused with line and field. Aliases are refused: nothing here needs them,
 * and they multiply. libcyaml stands on the same parser but drops the lines once it has loaded, and an undeclared group must
 * be reported with its line too.
 */
#ifndef HISHO_POLICY_NODE_H
#define HISHO_POLICY_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <yaml.h>

#include "base/arena.h"
#include "base/err.h"
#include "policy/file.h"

struct hs_yaml {
	yaml_document_t *doc;
	struct hs_arena *arena;
	struct hs_err *err;
	bool *seen;     /* by node index: a node met twice is an alias */
	char path[160]; /* "rules[2].who.groups" */
};

struct hs_yaml_key {
	const char *key;
	int (*take)(struct hs_yaml *y, yaml_node_t *node, void *into); /* into: what the mapping was given */
	bool required;
};

typedef int (*hs_yaml_item_fn)(struct hs_yaml *y, yaml_node_t *node, size_t index, void *into);

/* Load one document and give its root to take. */
int hs_yaml_load(const char *yaml, size_t n, struct hs_arena *arena, struct hs_err *err,
		 int (*take)(struct hs_yaml *y, yaml_node_t *root, void *into), void *into) HS_MUST_CHECK;

int hs_yaml_mapping(struct hs_yaml *y, yaml_node_t *node, const struct hs_yaml_key *keys, size_t n_keys, void *into) HS_MUST_CHECK;

/* Number of items; then each. what: a limit's code where there are more than max. */
int hs_yaml_sequence(struct hs_yaml *y, yaml_node_t *node, size_t max, size_t *ret_n) HS_MUST_CHECK;
int hs_yaml_items(struct hs_yaml *y, yaml_node_t *node, hs_yaml_item_fn fn, void *into) HS_MUST_CHECK;

/* A name as hs_policy_name_ok wants it. */
int hs_yaml_name(struct hs_yaml *y, yaml_node_t *node, struct hs_pf_name *ret) HS_MUST_CHECK;
int hs_yaml_names(struct hs_yaml *y, yaml_node_t *node, size_t max, struct hs_pf_names *ret) HS_MUST_CHECK;
int hs_yaml_bool(struct hs_yaml *y, yaml_node_t *node, bool *ret) HS_MUST_CHECK;

/* RFC 3339, or a bare date: through the end of that day in Japan. */
int hs_yaml_time(struct hs_yaml *y, yaml_node_t *node, int64_t *ret_ms) HS_MUST_CHECK;

/* The scalar's bytes, terminated; NULL where the node is no scalar. */
const char *hs_yaml_scalar(const yaml_node_t *node, size_t *ret_len);

/* Fail at a node: "line N: path: what". */
int hs_yaml_fail(struct hs_yaml *y, const yaml_node_t *node, const char *code, const char *hint, const char *what);

#endif
