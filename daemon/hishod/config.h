/* STATE/hisho.yaml: what an administrator chooses. Unknown keys are refused, with line and column. */
#ifndef HISHO_DAEMON_HISHOD_CONFIG_H
#define HISHO_DAEMON_HISHOD_CONFIG_H

#include "base/err.h"

#define HS_CONFIG_VERSION 1
#define HS_CONFIG_MAX (64u * 1024u)
#define HS_CONFIG_HOSTS_MAX 32

struct hs_config_infer {
	char *device; /* "auto", "cpu", "cuda:N"; NULL: auto */
	char *plugin; /* the CUDA plug-in's absolute path; NULL: the installed one */
};

struct hs_config {
	unsigned version;
	char *listen;    /* ADDRESS:PORT of the page */
	char **hosts;    /* names that browsers use; NULL: only the address */
	unsigned hosts_count;
	char *generator; /* model files, relative to the state directory; NULL: none */
	char *embedder;
	unsigned threads; /* of the models; 0: as many as there are cores */
	struct hs_config_infer infer;
};

/* A missing file gives the defaults. The caller calls hs_config_free. */
int hs_config_load(int state_dir, struct hs_config **ret, struct hs_err *err) HS_MUST_CHECK;
void hs_config_free(struct hs_config *c); /* takes NULL */

#endif
