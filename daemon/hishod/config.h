/* STATE/hisho.yaml: what an administrator chooses. Unknown keys are refused, with line and column. */
#ifndef HISHO_DAEMON_HISHOD_CONFIG_H
#define HISHO_DAEMON_HISHOD_CONFIG_H

#include "base/err.h"
#include "daemon/limits.h"

#define HS_CONFIG_VERSION 1
#define HS_CONFIG_MAX (64u * 1024u)
#define HS_CONFIG_HOSTS_MAX 32

struct hs_config_infer {
	char *device; /* "auto", "cpu", "cuda:N"; NULL: auto */
	char *kv;     /* "f16", "q8"; NULL: f16 */
	char *plugin; /* the CUDA plug-in's absolute path; NULL: the installed one */
};

#define HS_CONFIG_TENANTS_MAX 256

struct hs_config_tenant { /* what one tenant may take; 0: as it is by itself */
	char *name; /* "*": of all that it does not name */
	uint64_t of[HS_LIMIT_N];
	char *adapter; /* of the generator, a file relative to the state directory; NULL: none. Not of "*" */
};

struct hs_config {
	unsigned version;
	char *listen;    /* ADDRESS:PORT of the page */
	char **hosts;    /* names that browsers use; NULL: only the address */
	unsigned hosts_count;
	char *generator; /* model files, relative to the state directory; NULL: none */
	char *embedder;
	char *reranker;
	unsigned threads; /* of the models; 0: as many as there are cores */
	struct hs_config_infer infer;
	struct hs_config_tenant *tenants;
	unsigned tenants_count;
};

/* A missing file gives the defaults. The caller calls hs_config_free. */
int hs_config_load(int state_dir, struct hs_config **ret, struct hs_err *err) HS_MUST_CHECK;
void hs_config_free(struct hs_config *c); /* takes NULL */

/* The limits of a tenant of that name: its own, and the defaults. */
void hs_config_limits(const struct hs_config *c, const char *tenant, struct hs_limits *ret);

/* The number of a tenant's adapter among all that hisho.yaml names, from 1, in its order; 0: none. */
unsigned hs_config_adapter(const struct hs_config *c, const char *tenant);

#endif
