/*
 * The tenant's side of its channels to the extractors: a document's bytes go in through a sealed memory file, an encoded
 * hs_document (text/document.h) comes back through a pipe. Loop thread only; one callback a document. What comes back is
 * hostile bytes: it is only bounded here, and decoded by the caller.
 */
#ifndef HISHO_DAEMON_TENANT_EXTRACT_CLIENT_H
#define HISHO_DAEMON_TENANT_EXTRACT_CLIENT_H

#include <uv.h>

#include "daemon/messages.h"

#define HS_EXTRACT_OUTPUT_MAX (192u * 1024u * 1024u)
#define HS_EXTRACT_TIMEOUT_MS 90000
#define HS_EXTRACT_RUNNING_MAX 4 /* documents of this tenant in extractors at one time */

struct hs_extract_client;

int hs_extract_client_create(uv_loop_t *loop, const char *tenant_id, struct hs_extract_client **ret) HS_MUST_CHECK;
void hs_extract_client_destroy(struct hs_extract_client *c);

/* A fresh channel from hishod to HS_PROCESS_EXTRACT or HS_PROCESS_EXTRACT_PDF; replaces the one before. Takes the descriptor. */
int hs_extract_client_attach(struct hs_extract_client *c, enum hs_process which, int fd) HS_MUST_CHECK;

/* rc 0: out holds the encoding (the callee may take it: leave a zeroed buffer). Else err says why, with a "doc." code. */
typedef void (*hs_extract_fn)(void *ctx, int rc, struct hs_buf *out, const struct hs_err *err);

/* -EBUSY where HS_EXTRACT_RUNNING_MAX run; -ENOTCONN "extract.away" where the extractor is restarting. */
int hs_extract(struct hs_extract_client *c, const void *data, size_t len, struct hs_slice name, struct hs_slice media,
	       hs_extract_fn done, void *ctx, struct hs_err *err) HS_MUST_CHECK;

bool hs_extract_client_busy(const struct hs_extract_client *c);

#endif
