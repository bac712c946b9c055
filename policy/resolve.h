/*
 * The one function that makes a grant. Only the daemon's tenant process and this room's tests include this header:
 * whoever holds a grant got it here.
 */
#ifndef HISHO_POLICY_RESOLVE_H
#define HISHO_POLICY_RESOLVE_H

#include <sqlite3.h>

#include "base/err.h"
#include "policy/grant.h"
#include "policy/principal.h"

/*
 * What `who` may see now. The grant lives at most HS_GRANT_MAX_AGE_MS, less where a rule about the person, their account
 * or their credential ends sooner. A suspended, expired, removed or unknown user, an admin, and a credential without the
 * scope `ask` get a grant of nothing. Reads only; the database is read at one instant (a savepoint). 0, -ENOMEM, -EIO.
 */
int hs_policy_resolve(sqlite3 *db, const struct hs_principal *who, int64_t now_ms, struct hs_grant **ret,
		      struct hs_err *err) HS_MUST_CHECK;

#endif
