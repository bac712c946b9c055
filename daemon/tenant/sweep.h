/*
 * Sweeping: what a crash left in a tenant's folder. A file is written under a temporary name ("NAME.….new"), renamed, and only
 * then stands in the database; a power cut between these leaves a temporary file, or a blob whose row was never committed: nobody
 * has its key, and nobody else removes it.
 *
 * The folder's own files are swept before any thread runs. Blobs are written on the writer thread, inside one job each: between
 * its jobs, where these steps run, a temporary blob is nobody's, and a blob without a row will never have one. Submissions that
 * wait lie in the database with their jobs, not here. A name that Hisho does not give is left alone.
 */
#ifndef HISHO_DAEMON_TENANT_SWEEP_H
#define HISHO_DAEMON_TENANT_SWEEP_H

#include <stdbool.h>

#include <sqlite3.h>

#include "base/err.h"

#define HS_SWEEP_STEP 512 /* names that one step looks at */

struct hs_sweep;

/* The folder's own temporary files, while nothing else writes there. Returns how many went; what cannot be read stays. */
unsigned hs_sweep_folder(int dir);

/* The blobs: begin at the beginning. The descriptor stays the caller's. -ENOMEM, or from the system. */
int hs_sweep_create(int blobs, struct hs_sweep **ret) HS_MUST_CHECK;
void hs_sweep_destroy(struct hs_sweep *s); /* takes NULL */

/*
 * A step, on the writer thread, outside of a transaction. *ret_more: there are names left. A file that cannot be removed is
 * passed over.
 */
int hs_sweep_step(struct hs_sweep *s, sqlite3 *db, bool *ret_more, struct hs_err *err) HS_MUST_CHECK;

/* Files removed so far. */
unsigned hs_sweep_removed(const struct hs_sweep *s);

#endif
