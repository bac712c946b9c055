#include "daemon/hishod/config.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include <cyaml/cyaml.h>

#include "base/file.h"
#include "inference/cuda/wish.h"

static const cyaml_schema_value_t host_schema = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, 253)};

static const cyaml_schema_field_t infer_fields[] = {
    CYAML_FIELD_STRING_PTR("device", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct hs_config_infer, device, 3, 8),
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
    CYAML_FIELD_UINT("threads", CYAML_FLAG_OPTIONAL, struct hs_config, threads),
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
	struct hs_device_wish wish;
	if (c->infer.device && !hs_device_parse(c->infer.device, &wish)) {
		int bad_device =
		    hs_fail(err, EINVAL, "config.device", HS_N_("The device is one of auto, cpu, cuda:0, cuda:1 and so on."),
			    "infer.device: %s", c->infer.device);
		hs_config_free(c);
		return bad_device;
	}
	*ret = c;
	return 0;
}

void hs_config_free(struct hs_config *c)
{
	struct story story = {0};
	const cyaml_config_t config = how(&story);
	if (c)
		(void)cyaml_free(&config, &schema, c, 0); /* fails only for a schema that did not load it */
}
