/*
 * The database's copy of where the audit log ends: with it, a log that was shortened or exchanged together with its mark
 * does not open while the database remembers more.
 */
#ifndef HISHO_POLICY_WITNESS_H
#define HISHO_POLICY_WITNESS_H

#include <sqlite3.h>

#include "policy/audit.h"

/* Writes: in the transaction whose act the log has just recorded. The log may run ahead of what is kept, never behind. */
int hs_witness_keep(sqlite3 *db, const struct hs_audit_head *head) HS_MUST_CHECK;

/* For hs_audit_open. -ENOENT where none was kept yet. */
int hs_witness_read(sqlite3 *db, struct hs_audit_head *ret) HS_MUST_CHECK;

#endif
