/*
 * Signed heads: hisho-keyd countersigns where the audit log ends, and the note is kept beside the log (policy/head.h).
 *
 *   IDLE --start, timer, so many records, finish--> READING --recorder--> ASKING --keyd--> WRITING --recorder--> IDLE
 *
 * keyd remembers what it signed last, outside of the tenant's folder, and tells it with the key: a log, mark, database and
 * note that were put back together are noticed at the next opening. Loop thread, except hs_heads_count.
 */
#ifndef HISHO_DAEMON_TENANT_HEADS_H
#define HISHO_DAEMON_TENANT_HEADS_H

#include "daemon/channel.h"
#include "daemon/tenant/tenant.h"

#define HS_HEADS_MS 60000       /* a record is under a signed head within that time, */
#define HS_HEADS_RECORDS 1000   /* or with so many that follow it */
#define HS_HEADS_FINISH_MS 2000 /* how long an orderly end waits for the last one */

int hs_heads_create(struct hs_tenant *t, struct hs_heads **ret) HS_MUST_CHECK;
void hs_heads_destroy(struct hs_heads *h); /* after the workers; takes NULL; the loop must run on */

/* The tenant is open: sign now, and from now on. */
void hs_heads_start(struct hs_heads *h);

/* The channel to keyd, or NULL where it is gone. It stays the caller's. */
void hs_heads_attach(struct hs_heads *h, struct hs_channel *keyd);

/* A frame from keyd that is not about the key. */
void hs_heads_frame(struct hs_heads *h, const struct hs_frame *f);

/* Under the log's lock: a record was appended. */
void hs_heads_count(struct hs_heads *h, uint64_t seq);

/* Sign what is there, then call finished, once, from the loop; also where it could not be signed in time. */
void hs_heads_finish(struct hs_heads *h, void (*finished)(void *ctx), void *ctx);

#endif
