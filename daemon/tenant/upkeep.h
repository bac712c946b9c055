/*
 * Upkeep: sweeping what a crash left, merging postings, moving reclassified documents' entries, and removing what deletions left,
 * on the writer between other work. A deletion holds at once; its words and blobs are gone within HS_UPKEEP_MS. Loop thread.
 */
#ifndef HISHO_DAEMON_TENANT_UPKEEP_H
#define HISHO_DAEMON_TENANT_UPKEEP_H

#include "daemon/tenant/tenant.h"

#define HS_UPKEEP_MS 20000
#define HS_VERSIONS_KEPT_MS (365LL * 24 * 60 * 60 * 1000) /* replaced versions stay readable that long, for stored citations */
#define HS_CONVERSATIONS_KEPT_MS (365LL * 24 * 60 * 60 * 1000) /* from when they were last used */

struct hs_upkeep;

int hs_upkeep_create(struct hs_tenant *t, struct hs_upkeep **ret) HS_MUST_CHECK;
void hs_upkeep_destroy(struct hs_upkeep *u); /* after the workers; takes NULL */

#endif
