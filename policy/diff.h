/* Inside this room: what two states of a policy differ by, object by object. */
#ifndef HISHO_POLICY_DIFF_H
#define HISHO_POLICY_DIFF_H

#include <sqlite3.h>

#include "base/buf.h"
#include "policy/rules.h"

/* The policy that stands in the tables now, as sorted lines {kind, name, detail}, each ended by a zero byte. */
int hs_policy_dump(sqlite3 *db, struct hs_buf *out) HS_MUST_CHECK;

/* Count into change, and write "+kind name" lines into ret_lines (or NULL). */
int hs_policy_compare(const struct hs_buf *before, const struct hs_buf *after, struct hs_policy_change *change,
		      struct hs_buf *ret_lines) HS_MUST_CHECK;

#endif
