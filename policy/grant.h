/*
 * A grant: what one principal may see now. Only policy/ makes one; no function of retrieval/ runs without one.
 *
 * Opaque. It holds the principal, the classes that they may ask from (and download from), the policy epoch at which it
 * was resolved, and an expiry at most HS_GRANT_MAX_AGE_MS away. It is looked at again when a sentence is released and
 * when a citation is opened: hs_grant_current() against the store's present epoch and clock.
 */
#ifndef HISHO_POLICY_GRANT_H
#define HISHO_POLICY_GRANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HS_GRANT_MAX_AGE_MS 60000
#define HS_GRANT_HASH_LEN 32

struct hs_grant;

enum hs_right { /* zero is deny */
	HS_RIGHT_NONE = 0,
	HS_RIGHT_ASK = 1,      /* search, ask, see passages */
	HS_RIGHT_DOWNLOAD = 2, /* open the whole source */
};

void hs_grant_destroy(struct hs_grant *g); /* takes NULL */

/* Does the grant give that right on documents of the class? False for unknown classes. */
bool hs_grant_allows(const struct hs_grant *g, uint32_t class_id, enum hs_right right);

/* The class ids with HS_RIGHT_ASK, ascending. Owned by the grant. */
size_t hs_grant_classes(const struct hs_grant *g, const uint32_t **ret_ids);

/* The principal's public id ("usr_..."). */
const char *hs_grant_principal(const struct hs_grant *g);

uint64_t hs_grant_epoch(const struct hs_grant *g);

/* Still good: the policy epoch has not moved and the expiry has not passed. */
bool hs_grant_current(const struct hs_grant *g, uint64_t epoch_now, int64_t now_ms);

/* Keyed by nothing: BLAKE2b over principal and visible classes; the prefix cache's part of the key. */
void hs_grant_hash(const struct hs_grant *g, uint8_t out[static HS_GRANT_HASH_LEN]);

#endif
