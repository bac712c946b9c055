/*
 * From a JSON Schema to nodes. What is understood: type (object, array, string, null), properties, required,
 * additionalProperties as a boolean, items, minItems, maxItems, maxLength, enum and const of texts and null; title, description
 * and $schema constrain nothing. Every other keyword is refused by name, because an answer that passes it over would not be of
 * the schema; numbers and booleans are refused, because an answer is checked against the documents, and those can be asked for a
 * text, not for a bare `true`.
 * What is made is narrower where JSON Schema is wide: properties come in the schema's order, and no other ones.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "inference/grammar/node.h"

#define PATH_MAX_BYTES 160

struct making {
	struct hs_grammar *g;
	struct hs_err *err;
	uint32_t depth;
	char path[PATH_MAX_BYTES];
};

static int unsupported(struct making *m, const char *what)
{
	return hs_fail(m->err, ENOTSUP, "grammar.unsupported",
		       HS_N_("The schema uses what is not understood here. docs/api.md lists what is."), "%s: %.80s", m->path,
		       what);
}

static int wrong(struct making *m, const char *what)
{
	return hs_fail(m->err, EINVAL, "grammar.schema", HS_N_("The schema cannot be used. docs/api.md says what is understood."),
		       "%s: %.80s", m->path, what);
}

static int too_much(struct making *m, const char *what)
{
	return hs_fail(m->err, E2BIG, "grammar.limit", HS_N_("The schema is larger than may be. docs/api.md has the limits."),
		       "%s: %.80s", m->path, what);
}

static void *grow(void *items, uint32_t n, size_t size)
{
	return n & (n - 1) ? items : reallocarray(items, n ? 2 * (size_t)n : 1, size); /* full where n is a power of two */
}

static int add_node(struct making *m, enum hs_node_kind kind, uint16_t *ret)
{
	struct hs_grammar *g = m->g;
	if (g->n_nodes == HS_GRAMMAR_NODES_MAX)
		return too_much(m, "values");
	void *nodes = grow(g->nodes, g->n_nodes, sizeof *g->nodes);
	if (!nodes)
		return -ENOMEM;
	g->nodes = nodes;
	*ret = (uint16_t)g->n_nodes;
	g->nodes[g->n_nodes++] = (struct hs_node){.kind = kind};
	return 0;
}

static int add_bytes(struct making *m, const char *s, size_t n, struct hs_text *ret)
{
	struct hs_grammar *g = m->g;
	char *bytes = realloc(g->bytes, g->n_bytes + n + 1); /* a schema's text bounds them */
	if (!bytes)
		return -ENOMEM;
	g->bytes = bytes;
	memcpy(bytes + g->n_bytes, s, n);
	*ret = (struct hs_text){g->n_bytes, (uint32_t)n};
	g->n_bytes += (uint32_t)n;
	return 0;
}

/* --- literals --- */

static int compare_strings(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted, each once. */
static int add_literals(struct making *m, char **texts, size_t n, uint16_t node)
{
	struct hs_grammar *g = m->g;
	qsort(texts, n, sizeof *texts, compare_strings);
	g->nodes[node].first = g->n_texts;
	for (size_t i = 0; i < n; i++) {
		if (i > 0 && strcmp(texts[i - 1], texts[i]) == 0)
			continue;
		void *larger = grow(g->texts, g->n_texts, sizeof *g->texts);
		if (!larger)
			return -ENOMEM;
		g->texts = larger;
		int rc = add_bytes(m, texts[i], strlen(texts[i]), &g->texts[g->n_texts]);
		if (rc < 0)
			return rc;
		g->n_texts++;
		g->nodes[node].n++;
	}
	return 0;
}

static bool is_of(const json_t *value, const char *type)
{
	return strcmp(type, "string") == 0 ? json_is_string(value) : strcmp(type, "null") == 0 && json_is_null(value);
}

static int make_values(struct making *m, json_t *const *values, size_t n, const char *type, uint16_t *ret)
{
	char *texts[HS_GRAMMAR_VALUES_MAX];
	size_t made = 0;
	int rc = add_node(m, HS_NODE_LITERALS, ret);
	for (; rc == 0 && made < n; made++) {
		const json_t *v = values[made];
		if (!json_is_string(v) && !json_is_null(v))
			rc = unsupported(m, "a value that is no text");
		else if (type && !is_of(v, type))
			rc = wrong(m, "a value is not of the type");
		if (rc < 0)
			break;
		texts[made] = json_dumps(v, JSON_ENCODE_ANY);
		if (!texts[made]) {
			rc = -ENOMEM;
			break;
		}
	}
	if (rc == 0)
		rc = add_literals(m, texts, made, *ret);
	for (size_t i = 0; i < made; i++)
		free(texts[i]);
	return rc;
}

static int make_enum(struct making *m, const json_t *list, const char *type, uint16_t *ret)
{
	json_t *values[HS_GRAMMAR_VALUES_MAX];
	size_t n = json_array_size(list);
	if (n == 0)
		return wrong(m, "enum");
	if (n > HS_GRAMMAR_VALUES_MAX)
		return too_much(m, "enum");
	for (size_t i = 0; i < n; i++)
		values[i] = json_array_get(list, i);
	return make_values(m, values, n, type, ret);
}

/* --- the rest --- */

static int take_count(struct making *m, const json_t *v, const char *name, uint32_t *ret)
{
	if (!v)
		return 0;
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return wrong(m, name);
	if (json_integer_value(v) > HS_GRAMMAR_ITEMS_MAX)
		return too_much(m, name);
	*ret = (uint32_t)json_integer_value(v);
	return 0;
}

static int make_value(struct making *m, const json_t *schema, uint16_t *ret);

/* The schema below, with its step on the path. */
static int make_below(struct making *m, const json_t *schema, const char *step, uint16_t *ret)
{
	size_t len = strlen(m->path);
	if (m->depth == HS_GRAMMAR_DEPTH_MAX)
		return too_much(m, "depth");
	(void)snprintf(m->path + len, sizeof m->path - len, ".%.40s", step); /* a longer path is cut */
	m->depth++;
	int rc = make_value(m, schema, ret);
	m->depth--;
	m->path[len] = '\0';
	return rc;
}

static int check_required(struct making *m, const json_t *required, const json_t *properties)
{
	if (required && !json_is_array(required))
		return wrong(m, "required");
	for (size_t i = 0; i < json_array_size(required); i++) {
		const char *name = json_string_value(json_array_get(required, i));
		if (!name || !json_object_get(properties, name))
			return wrong(m, "required");
	}
	return 0;
}

static bool requires(const json_t *required, const char *name)
{
	for (size_t i = 0; i < json_array_size(required); i++)
		if (strcmp(json_string_value(json_array_get(required, i)), name) == 0)
			return true;
	return false;
}

static int make_object(struct making *m, const json_t *schema, uint16_t *ret)
{
	json_t *properties = json_object_get(schema, "properties"), *required = json_object_get(schema, "required"), *value;
	const json_t *others = json_object_get(schema, "additionalProperties");
	struct hs_grammar *g = m->g;
	const char *name;
	if (properties && !json_is_object(properties))
		return wrong(m, "properties");
	if (others && !json_is_boolean(others))
		return unsupported(m, "additionalProperties");
	uint32_t n = (uint32_t)HS_MIN(json_object_size(properties), (size_t)UINT32_MAX), i = 0;
	if (n > HS_GRAMMAR_PROPERTIES_MAX)
		return too_much(m, "properties");
	int rc = check_required(m, required, properties);
	if (rc == 0)
		rc = add_node(m, HS_NODE_OBJECT, ret);
	if (rc < 0)
		return rc;
	uint32_t first = g->n_properties; /* those below come after all of this object's */
	void *larger = reallocarray(g->properties, (size_t)first + n + 1, sizeof *g->properties);
	if (!larger)
		return -ENOMEM;
	g->properties = larger;
	g->n_properties += n;
	g->nodes[*ret].first = first;
	g->nodes[*ret].n = n;
	json_object_foreach(properties, name, value) {
		json_t *text = json_string(name);
		char *spelt = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;
		struct hs_property p = {.required = requires(required, name)};
		rc = spelt ? add_bytes(m, spelt + 1, strlen(spelt) - 1, &p.name) : -ENOMEM;
		free(spelt);
		json_decref(text);
		if (rc == 0)
			rc = make_below(m, value, name, &p.node);
		if (rc < 0)
			return rc;
		g->properties[first + i++] = p;
	}
	return 0;
}

static int make_array(struct making *m, const json_t *schema, uint16_t *ret)
{
	uint32_t least = 0, most = HS_GRAMMAR_ITEMS_MAX;
	uint16_t child;
	const json_t *items = json_object_get(schema, "items");
	if (!json_is_object(items))
		return wrong(m, "items");
	int rc = take_count(m, json_object_get(schema, "minItems"), "minItems", &least);
	if (rc == 0)
		rc = take_count(m, json_object_get(schema, "maxItems"), "maxItems", &most);
	if (rc == 0 && least > most)
		rc = wrong(m, "minItems");
	if (rc == 0)
		rc = add_node(m, HS_NODE_ARRAY, ret);
	if (rc == 0)
		rc = make_below(m, items, "items", &child);
	if (rc < 0)
		return rc;
	struct hs_node *n = &m->g->nodes[*ret];
	n->least = least;
	n->most = most;
	n->child = child;
	return 0;
}

static int make_string(struct making *m, const json_t *schema, uint16_t *ret)
{
	const json_t *most = json_object_get(schema, "maxLength");
	int rc = add_node(m, HS_NODE_STRING, ret);
	if (rc < 0)
		return rc;
	m->g->nodes[*ret].bounded = most != NULL;
	return take_count(m, most, "maxLength", &m->g->nodes[*ret].most);
}

/* Which keywords a type has beside those that all have. */
static bool has_keyword(const char *type, const char *key)
{
	static const struct {
		const char *type, *keys[4];
	} rows[] = {{"object", {"properties", "required", "additionalProperties"}},
		    {"array", {"items", "minItems", "maxItems"}},
		    {"string", {"maxLength"}}};
	static const char *const of_all[] = {"type", "enum", "const", "title", "description", "$schema"};
	for (size_t i = 0; i < HS_ARRAY_LEN(of_all); i++)
		if (strcmp(of_all[i], key) == 0)
			return true;
	for (size_t i = 0; type && i < HS_ARRAY_LEN(rows); i++)
		for (size_t k = 0; k < 4 && rows[i].keys[k] && strcmp(rows[i].type, type) == 0; k++)
			if (strcmp(rows[i].keys[k], key) == 0)
				return true;
	return false;
}

static int make_value(struct making *m, const json_t *schema, uint16_t *ret)
{
	const char *key;
	json_t *value;
	if (!json_is_object(schema))
		return wrong(m, "not an object");
	const json_t *type_value = json_object_get(schema, "type"), *list = json_object_get(schema, "enum");
	json_t *one = json_object_get(schema, "const");
	const char *type = json_string_value(type_value);
	if (type_value && !type)
		return unsupported(m, "type");
	json_object_foreach((json_t *)schema, key, value) /* only read */
		if (!has_keyword(type, key))
			return unsupported(m, key);
	if (list && one)
		return unsupported(m, "const beside enum");
	if (list)
		return make_enum(m, list, type, ret);
	if (one)
		return make_values(m, &one, 1, type, ret);
	if (!type)
		return wrong(m, "no type");
	if (strcmp(type, "object") == 0)
		return make_object(m, schema, ret);
	if (strcmp(type, "array") == 0)
		return make_array(m, schema, ret);
	if (strcmp(type, "string") == 0)
		return make_string(m, schema, ret);
	if (strcmp(type, "null") == 0) {
		json_t *nothing = json_null();
		return make_values(m, &nothing, 1, NULL, ret);
	}
	return unsupported(m, type);
}

int hs_grammar_schema(const char *json, size_t n, struct hs_grammar **ret, struct hs_err *err)
{
	struct making m = {.err = err, .path = "schema"};
	uint16_t root;
	json_error_t where;
	if (n > HS_GRAMMAR_SCHEMA_MAX)
		return too_much(&m, "bytes");
	json_t *schema = json_loadb(json, n, JSON_REJECT_DUPLICATES, &where);
	if (!schema)
		return wrong(&m, where.text);
	m.g = calloc(1, sizeof *m.g);
	int rc = m.g ? make_value(&m, schema, &root) : -ENOMEM;
	json_decref(schema);
	if (rc == 0) {
		*ret = m.g;
		return 0;
	}
	hs_grammar_destroy(m.g);
	if (rc == -ENOMEM)
		(void)hs_fail_errno(err, rc, "grammar.memory", "schema");
	return rc;
}
