/*
 * The last gate: what every reading function goes through. A read transaction in which the grant is looked at again against
 * the policy's present epoch, and one predicate for a document's row.
 */
#ifndef HISHO_RETRIEVAL_READING_H
#define HISHO_RETRIEVAL_READING_H

#include "retrieval/store.h"

/* Begin reading at one instant of the database. -ESTALE "grant.stale". */
int hs_reading_begin(struct hs_reader *r, const struct hs_grant *g, int64_t now_ms, struct hs_err *err) HS_MUST_CHECK;
void hs_reading_end(struct hs_reader *r);

/* May this be shown? From the row of the documents table as it is now. */
bool hs_reading_allows(const struct hs_grant *g, enum hs_right right, int64_t class_id, int64_t deleted, int64_t expires,
		    int64_t now_ms) HS_MUST_CHECK;

#endif
