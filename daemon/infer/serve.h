/* What tenants ask of infer, on the loop thread: their channels, requests to jobs, results to frames. */
#ifndef HISHO_DAEMON_INFER_SERVE_H
#define HISHO_DAEMON_INFER_SERVE_H

#include "daemon/channel.h"
#include "daemon/infer/compute.h"

#define HS_INFER_TENANTS_MAX 256
#define HS_INFER_PREFILL_SECONDS 6 /* what an employee waits for the first word: the default prompt budget */
#define HS_INFER_BUDGET_MIN 256u   /* tokens */
/* Of one tenant: rerankings at one time, and of each its texts and how long it may wait and compute. */
#define HS_INFER_RERANKS_MAX 4
#define HS_INFER_RERANK_BYTES_MAX (256u * 1024u)
#define HS_INFER_RERANK_MS 2000

#define HS_INFER_QUERY_TEXTS_MAX 8 /* more, or longer, is not a query and goes behind */
#define HS_INFER_QUERY_BYTES_MAX 65536u

struct hs_infer;

int hs_infer_create(uv_loop_t *loop, struct hs_models *models, struct hs_compute *compute, struct hs_infer **ret) HS_MUST_CHECK;
void hs_infer_destroy(struct hs_infer *s); /* after hs_compute_destroy */

/*
 * A channel to a tenant; takes fd. tenant: its id, and behind spaces, each as far as it goes, its limits (daemon/limits.h) and the
 * number of its adapter, from 1.
 */
void hs_infer_attach(struct hs_infer *s, const char *tenant, int fd);

/* The models are there, or are known not to be: who asked for them is answered. */
void hs_infer_loaded(struct hs_infer *s);

/* Append "loaded":..,"requests":.. and what has ended (no braces). */
int hs_infer_status(const struct hs_infer *s, struct hs_buf *out) HS_MUST_CHECK;

#endif
