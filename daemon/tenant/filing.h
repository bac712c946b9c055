/*
 * Submissions that wait for the writer are accepted together: one transaction, one sync of the log and one of the database for
 * all of them. Each is judged for itself, in a savepoint, and what is refused leaves nothing. None is acknowledged before the
 * transaction stands; where it does not, none of them is.
 */
#ifndef HISHO_DAEMON_TENANT_FILING_H
#define HISHO_DAEMON_TENANT_FILING_H

#include "daemon/tenant/exchange.h"

#define HS_FILING_TOGETHER 16               /* submissions of one transaction, */
#define HS_FILING_BYTES_MAX (4u << 20)      /* whose bodies are not longer than that; a longer one goes alone */

struct hs_filing;

int hs_filing_create(struct hs_tenant *t, struct hs_filing **ret) HS_MUST_CHECK;
void hs_filing_destroy(struct hs_filing *f); /* after the workers; takes NULL */

/* x->route->write on the writer, then done on the loop. A full queue answers as busy and returns -EBUSY. Loop thread. */
int hs_filing_push(struct hs_filing *f, struct hs_exchange *x, void (*done)(struct hs_exchange *x, int rc)) HS_MUST_CHECK;

#endif
