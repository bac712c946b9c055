#include "policy/witness.h"

#include <errno.h>
#include <string.h>

#include "policy/db.h"

int hs_witness_keep(sqlite3 *db, const struct hs_audit_head *head)
{
	return hs_pdb_run(db,
			  "INSERT INTO audit_witness VALUES (1, ?, ?, ?) ON CONFLICT (one) DO UPDATE SET seq = excluded.seq,"
			  " time = excluded.time, chain = excluded.chain WHERE excluded.seq > seq",
			  "iib", (int64_t)head->seq, head->time, head->chain, sizeof(head->chain));
}

int hs_witness_read(sqlite3 *db, struct hs_audit_head *ret)
{
	HS_PDB_STMT s = NULL;
	int rc = hs_pdb_query(db, &s, "SELECT seq, time, chain FROM audit_witness", "");
	if (!rc)
		rc = hs_pdb_step(s);
	if (rc <= 0)
		return rc ? rc : -ENOENT;
	if (sqlite3_column_bytes(s, 2) != (int)sizeof(ret->chain))
		return -EIO;
	struct hs_audit_head head = {.seq = (uint64_t)sqlite3_column_int64(s, 0), .time = sqlite3_column_int64(s, 1)};
	memcpy(head.chain, sqlite3_column_blob(s, 2), sizeof(head.chain));
	*ret = head;
	return 0;
}
