#include "daemon/hishod/config.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include <cyaml/cyaml.h>

#include "base/file.h"
#include "inference/cuda/wish.h"

static const cyaml_schema_value_t host_schema = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, 253)};

#define LIMIT(name, which) CYAML_FIELD_UINT(name, CYAML_FLAG_OPTIONAL, struct hs_config_tenant, of[which])

static const cyaml_schema_field_t tenant_fields[] = {
	CYAML_FIELD_STRING_PTR("name", CYAML_FLAG_POINTER, struct hs_config_tenant, name, 1, 63),
	LIMIT("tokens_per_day", HS_LIMIT_TOKENS_PER_DAY),
	LIMIT("tokens_per_minute", HS_LIMIT_TOKENS_PER_MINUTE),
	LIMIT("context", HS_LIMIT_CONTEXT),
	LIMIT("generation_seconds", HS_LIMIT_GENERATION_SECONDS),
	LIMIT("queue", HS_LIMIT_QUEUE),
	LIMIT("generations", HS_LIMIT_GENERATIONS),
	CYAML_FIELD_STRING_PTR("adapter", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct hs_config_tenant, adapter, 1, 1000),
	CYAML_FIELD_END,
};

static const cyaml_schema_value_t tenant_schema = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct hs_config_tenant, tenant_fields)};

static const cyaml_schema_field_t infer_fields[] = {
    CYAML_FIELD_STRING_PTR("device", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct hs_config_infer, device, 3, 8),
    CYAML_FIELD_STRING_PTR("kv", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct hs_config_infer, kv, 2, 3),
    CYAML_FIELD_STRING_PTR("plugin", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct hs_config_infer, plugin, 1, 1000),
    CYAML_FIELD_END,
};

static const cyaml_schema_field_t fields[] = {
    CYAML_FIELD_UINT("version", CYAML_FLAG_DEFAULT, struct hs_config, version),
    CYAML_FIELD_STRING_PTR("listen", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct hs_config, listen, 3, 280),
    CYAML_FIELD_SEQUENCE("hosts", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct hs_config, hosts, &host_schema, 0,
			 HS_CONFIG_HOSTS_MAX),
    CYAML_FIELD_STRING_PTR("generator", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct hs_config, generator, 1, 1000),
    CYAML_FIELD_STRING_PTR("embedder", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct hs_config, embedder, 1, 1000),
    CYAML_FIELD_STRING_PTR("reranker", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct hs_config, reranker, 1, 1000),
    CYAML_FIELD_UINT("threads", CYAML_FLAG_OPTIONAL, struct hs_config, threads),
    CYAML_FIELD_SEQUENCE("tenants", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct hs_config, tenants, &tenant_schema, 0,
			 HS_CONFIG_TENANTS_MAX),
    CYAML_FIELD_MAPPING("infer", CYAML_FLAG_OPTIONAL, struct hs_config, infer, infer_fields),
    CYAML_FIELD_END,
};

static const cyaml_schema_value_t schema = {CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct hs_config, fields)};

struct story { /* what libcyaml tells: the last line of it is where the file is wrong */
	char text[200];
};

static void remember(cyaml_log_t level, void *ctx, const char *fmt, va_list args)
{
	struct story *s = ctx;
	if (level < CYAML_LOG_ERROR || s->text[0])
		return;
	(void)vsnprintf(s->text, sizeof s->text, fmt, args); /* a longer story is cut */
	s->text[strcspn(s->text, "\n")] = '\0';
}

static cyaml_config_t how(struct story *s)
{
	return (cyaml_config_t){
	    .log_fn = remember, .log_ctx = s, .mem_fn = cyaml_mem, .log_level = CYAML_LOG_ERROR, .flags = CYAML_CFG_NO_ALIAS};
}

/* A limit that cannot be is told, not bent; nor does one of two entries win. */
static int check_tenants(const struct hs_config *c, struct hs_err *err)
{
	unsigned n_adapters = 0;
	for (unsigned i = 0; i < c->tenants_count; i++) {
		const struct hs_config_tenant *t = &c->tenants[i];
		for (unsigned k = 0; k < i; k++) {
			if (strcmp(c->tenants[k].name, t->name) == 0)
				return hs_fail(err, EINVAL, "config.invalid", HS_N_("hisho.yaml names a tenant twice."), "%s", t->name);
		}
		if (t->adapter && strcmp(t->name, "*") == 0)
			return hs_fail(err, EINVAL, "config.invalid", HS_N_("hisho.yaml: an adapter belongs to one tenant, which it names."),
				       "adapter: %s", t->adapter);
		n_adapters += t->adapter != NULL;
		if (n_adapters > HS_ADAPTERS_MAX)
			return hs_fail(err, EINVAL, "config.invalid", HS_N_("hisho.yaml names more adapters than can be loaded."), "%u",
				       HS_ADAPTERS_MAX);
		for (size_t k = 0; k < HS_LIMIT_N; k++) {
			if (t->of[k] && !hs_limit_ok((enum hs_limit)k, t->of[k]))
				return hs_fail(err, EINVAL, "config.invalid", HS_N_("hisho.yaml: a limit is out of its range. See docs/operations.md."),
					       "%s: %s: %llu", t->name, hs_limit_name((enum hs_limit)k), (unsigned long long)t->of[k]);
		}
	}
	return 0;
}

int hs_config_load(int state_dir, struct hs_config **ret, struct hs_err *err)
{
	static const char defaults[] = "version: 1\n";
	HS_BUF_AUTO text = HS_BUF_INIT;
	struct story story = {0};
	const cyaml_config_t config = how(&story);
	struct hs_config *c = NULL;
	int rc = hs_file_read(state_dir, "hisho.yaml", HS_CONFIG_MAX, &text);
	if (rc == -ENOENT)
		rc = hs_buf_append_str(&text, defaults);
	if (rc < 0)
		return hs_fail_errno(err, rc, "config.read", "hisho.yaml");
	cyaml_err_t bad = cyaml_load_data(text.data, text.len, &config, &schema, (cyaml_data_t **)&c, NULL);
	if (bad != CYAML_OK)
		return hs_fail(err, EINVAL, "config.invalid",
			       HS_N_("hisho.yaml cannot be used. docs/operations.md lists what it may hold."), "%s",
			       story.text[0] ? story.text : cyaml_strerror(bad));
	if (c->version != HS_CONFIG_VERSION) {
		unsigned version = c->version;
		hs_config_free(c);
		return hs_fail(err, ENOTSUP, "config.version", HS_N_("This hisho.yaml is of another version."), "version %u", version);
	}
	if (c->infer.kv && strcmp(c->infer.kv, "f16") != 0 && strcmp(c->infer.kv, "q8") != 0) {
		int bad_kv = hs_fail(err, EINVAL, "config.kv", HS_N_("Keys and values are kept as f16 or as q8."), "infer.kv: %s", c->infer.kv);
		hs_config_free(c);
		return bad_kv;
	}
	struct hs_device_wish wish;
	if (c->infer.device && !hs_device_parse(c->infer.device, &wish)) {
		int bad_device =
		    hs_fail(err, EINVAL, "config.device", HS_N_("The device is one of auto, cpu, cuda:0, cuda:1 and so on."),
			    "infer.device: %s", c->infer.device);
		hs_config_free(c);
		return bad_device;
	}
	rc = check_tenants(c, err);
	if (rc < 0)
		hs_config_free(c);
	else
		*ret = c;
	return rc;
}

void hs_config_limits(const struct hs_config *c, const char *tenant, struct hs_limits *ret)
{
	const char *const names[] = {"*", tenant}; /* the tenant's own win */
	*ret = hs_limits_default;
	for (size_t n = 0; n < HS_ARRAY_LEN(names); n++) {
		for (unsigned i = 0; i < c->tenants_count; i++) {
			const struct hs_config_tenant *t = &c->tenants[i];
			for (size_t k = 0; k < HS_LIMIT_N && strcmp(t->name, names[n]) == 0; k++)
				ret->of[k] = t->of[k] ? t->of[k] : ret->of[k];
		}
	}
}

unsigned hs_config_adapter(const struct hs_config *c, const char *tenant)
{
	unsigned number = 0;
	for (unsigned i = 0; i < c->tenants_count; i++) {
		number += c->tenants[i].adapter != NULL;
		if (c->tenants[i].adapter && strcmp(c->tenants[i].name, tenant) == 0)
			return number;
	}
	return 0;
}

void hs_config_free(struct hs_config *c)
{
	struct story story = {0};
	const cyaml_config_t config = how(&story);
	if (c)
		(void)cyaml_free(&config, &schema, c, 0); /* fails only for a schema that did not load it */
}
