#include "policy/node.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "policy/db.h"

static unsigned line_of(const yaml_node_t *node)
{
	return (unsigned)node->start_mark.line + 1;
}

int hs_yaml_fail(struct hs_yaml *y, const yaml_node_t *node, const char *code, const char *hint, const char *what)
{
	return hs_fail(y->err, EINVAL, code, hint, "line %u: %s%s%s", line_of(node), y->path, y->path[0] && what[0] ? ": " : "",
		       what);
}

static int alias(struct hs_yaml *y, const yaml_node_t *node)
{
	return hs_yaml_fail(y, node, "policy.yaml", HS_N_("Anchors and aliases are not used here; write the value out."), "");
}

/* The node of an index, once. */
static int node_at(struct hs_yaml *y, int index, yaml_node_t **ret)
{
	yaml_node_t *node = yaml_document_get_node(y->doc, index);
	if (!node)
		return hs_fail(y->err, EINVAL, "policy.yaml", HS_N_("The file is no complete YAML document."), "%s", y->path);
	if (y->seen[index])
		return alias(y, node);
	y->seen[index] = true;
	*ret = node;
	return 0;
}

int hs_yaml_load(const char *yaml, size_t n, struct hs_arena *arena, struct hs_err *err,
		 int (*take)(struct hs_yaml *y, yaml_node_t *root, void *into), void *into)
{
	yaml_parser_t parser;
	yaml_document_t doc;
	if (!yaml_parser_initialize(&parser))
		return -ENOMEM;
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)yaml, n);
	int rc;
	if (!yaml_parser_load(&parser, &doc)) {
		size_t line = parser.error == YAML_READER_ERROR ? 0 : parser.problem_mark.line + 1;
		if (parser.error == YAML_MEMORY_ERROR)
			rc = -ENOMEM;
		else if (line)
			rc = hs_fail(err, EINVAL, "policy.yaml", HS_N_("The file is not valid YAML."), "line %zu: %s", line,
				     parser.problem ? parser.problem : "");
		else
			rc = hs_fail(err, EINVAL, "policy.yaml", HS_N_("The file is not valid UTF-8."), "byte %zu",
				     parser.problem_offset);
		yaml_parser_delete(&parser);
		return rc;
	}
	size_t n_nodes = (size_t)(doc.nodes.top - doc.nodes.start);
	struct hs_yaml y = {.doc = &doc, .arena = arena, .err = err};
	y.seen = hs_arena_calloc(arena, n_nodes + 1, sizeof(*y.seen));
	yaml_node_t *root = yaml_document_get_root_node(&doc);
	if (!y.seen) {
		rc = -ENOMEM;
	} else if (!root) {
		rc = hs_fail(err, EINVAL, "policy.yaml", HS_N_("The file is empty."), "line 1");
	} else {
		y.seen[1] = true; /* the root's index */
		rc = take(&y, root, into);
	}
	yaml_document_delete(&doc);
	if (!rc) {
		/* A second document would be silently ignored, and with it whatever its author meant to deny. */
		if (!yaml_parser_load(&parser, &doc)) {
			rc = hs_fail(err, EINVAL, "policy.yaml", HS_N_("The file is not valid YAML."), "line %zu: %s",
				     parser.problem_mark.line + 1, parser.problem ? parser.problem : "");
		} else {
			root = yaml_document_get_root_node(&doc);
			if (root)
				rc = hs_fail(err, EINVAL, "policy.yaml", HS_N_("A policy file holds one YAML document."),
					     "line %u", line_of(root));
			yaml_document_delete(&doc);
		}
	}
	yaml_parser_delete(&parser);
	return rc;
}

const char *hs_yaml_scalar(const yaml_node_t *node, size_t *ret_len)
{
	if (node->type != YAML_SCALAR_NODE)
		return NULL;
	*ret_len = node->data.scalar.length;
	return (const char *)node->data.scalar.value;
}

static const struct hs_yaml_key *find_key(const struct hs_yaml_key *keys, size_t n_keys, const char *s, size_t n)
{
	for (size_t i = 0; i < n_keys; i++)
		if (strlen(keys[i].key) == n && !strncmp(keys[i].key, s, n))
			return &keys[i];
	return NULL;
}

/* Grow the path by "name" or "[i]"; returns the length to cut back to. */
static size_t path_push(struct hs_yaml *y, const char *name, size_t index)
{
	size_t at = strlen(y->path);
	if (name)
		(void)snprintf(y->path + at, sizeof(y->path) - at, "%s%s", at ? "." : "", name);
	else
		(void)snprintf(y->path + at, sizeof(y->path) - at, "[%zu]", index);
	return at;
}

int hs_yaml_mapping(struct hs_yaml *y, yaml_node_t *node, const struct hs_yaml_key *keys, size_t n_keys, void *into)
{
	if (node->type != YAML_MAPPING_NODE)
		return hs_yaml_fail(y, node, "policy.value", HS_N_("A mapping (key: value) is wanted here."), "");
	hs_assert(n_keys <= 32);
	uint32_t met = 0;
	for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top; pair++) {
		yaml_node_t *key, *value;
		int rc = node_at(y, pair->key, &key);
		if (!rc)
			rc = node_at(y, pair->value, &value);
		if (rc)
			return rc;
		size_t n;
		const char *s = hs_yaml_scalar(key, &n);
		const struct hs_yaml_key *known = s ? find_key(keys, n_keys, s, n) : NULL;
		if (!known)
			return hs_yaml_fail(y, key, "policy.key", HS_N_("Unknown key; docs/policy.md lists those that there are."),
					    s ? s : "");
		uint32_t bit = 1u << (known - keys);
		if (met & bit)
			return hs_yaml_fail(y, key, "policy.key", HS_N_("The key stands twice."), s);
		met |= bit;
		size_t cut = path_push(y, known->key, 0);
		rc = known->take(y, value, into);
		if (rc)
			return rc;
		y->path[cut] = '\0';
	}
	for (size_t i = 0; i < n_keys; i++)
		if (keys[i].required && !(met & (1u << i)))
			return hs_yaml_fail(y, node, "policy.missing", HS_N_("A required key is missing."), keys[i].key);
	return 0;
}

int hs_yaml_sequence(struct hs_yaml *y, yaml_node_t *node, size_t max, size_t *ret_n)
{
	if (node->type != YAML_SEQUENCE_NODE)
		return hs_yaml_fail(y, node, "policy.value", HS_N_("A list (- item, or [a, b]) is wanted here."), "");
	size_t n = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
	if (n > max)
		return hs_yaml_fail(y, node, "policy.limit", HS_N_("The list is longer than its limit."), "");
	*ret_n = n;
	return 0;
}

int hs_yaml_items(struct hs_yaml *y, yaml_node_t *node, hs_yaml_item_fn fn, void *into)
{
	size_t n = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
	for (size_t i = 0; i < n; i++) {
		yaml_node_t *item;
		size_t cut = path_push(y, NULL, i);
		int rc = node_at(y, node->data.sequence.items.start[i], &item);
		if (!rc)
			rc = fn(y, item, i, into);
		if (rc)
			return rc;
		y->path[cut] = '\0';
	}
	return 0;
}

int hs_yaml_name(struct hs_yaml *y, yaml_node_t *node, struct hs_pf_name *ret)
{
	size_t n;
	const char *s = hs_yaml_scalar(node, &n);
	if (!s || !hs_policy_name_ok(s, n))
		return hs_yaml_fail(y, node, "policy.value",
				    HS_N_("A name is 1 to 128 bytes, without control characters or spaces at its ends."), "");
	char *copy = hs_arena_strndup(y->arena, s, n);
	if (!copy)
		return -ENOMEM;
	*ret = (struct hs_pf_name){.s = copy, .line = line_of(node)};
	return 0;
}


static int take_name_item(struct hs_yaml *y, yaml_node_t *node, size_t index, void *into)
{
	struct hs_pf_name *items = into;
	return hs_yaml_name(y, node, &items[index]);
}

int hs_yaml_names(struct hs_yaml *y, yaml_node_t *node, size_t max, struct hs_pf_names *ret)
{
	size_t n;
	int rc = hs_yaml_sequence(y, node, max, &n);
	if (rc)
		return rc;
	struct hs_pf_name *items = hs_arena_calloc(y->arena, n + 1, sizeof(*items));
	if (!items)
		return -ENOMEM;
	rc = hs_yaml_items(y, node, take_name_item, items);
	if (!rc)
		*ret = (struct hs_pf_names){.items = items, .n = n};
	return rc;
}

int hs_yaml_bool(struct hs_yaml *y, yaml_node_t *node, bool *ret)
{
	size_t n;
	const char *s = hs_yaml_scalar(node, &n);
	if (s && !strcmp(s, "true"))
		*ret = true;
	else if (s && !strcmp(s, "false"))
		*ret = false;
	else
		return hs_yaml_fail(y, node, "policy.value", HS_N_("true or false is wanted here."), "");
	return 0;
}

int hs_yaml_time(struct hs_yaml *y, yaml_node_t *node, int64_t *ret_ms)
{
	size_t n;
	const char *s = hs_yaml_scalar(node, &n);
	int64_t ms;
	if (!s || !hs_time_parse(s, n, &ms) || ms <= 0)
		return hs_yaml_fail(y, node, "policy.value",
				    HS_N_("A date (2027-03-31) or an RFC 3339 time is wanted here."), "");
	/* The last day counts whole for those who live it, in Japan: 24:00 there is 15:00 UTC. */
	if (n == strlen("2027-03-31"))
		ms += 15 * 60 * 60 * 1000LL;
	*ret_ms = ms;
	return 0;
}
