/*
 * Access classes: (collection, level, named access list) to a small integer that documents carry.
 *
 * Collections, levels and lists are declared by the policy. A class row is made when the first document is filed under
 * the three; it is never deleted, so an id never changes its meaning. A class whose collection, level or list the policy
 * no longer declares stays, and nobody is granted it (absence denies).
 */
#ifndef HISHO_POLICY_CLASSES_H
#define HISHO_POLICY_CLASSES_H

#include <stddef.h>
#include <stdint.h>

#include <sqlite3.h>

#include "base/err.h"
#include "policy/schema.h"

#define HS_CLASSES_MAX 4096 /* a tenant; ids are 1..HS_CLASSES_MAX */

struct hs_class {
	uint32_t id;
	char collection[HS_POLICY_NAME_MAX + 1];
	char level[HS_POLICY_NAME_MAX + 1];
	char list[HS_POLICY_NAME_MAX + 1]; /* "" where the document is on no list */
};

/*
 * The id of the class, made where it is new (then the epoch rises). Writes. list: NULL or "" for none.
 * -EINVAL "class.collection", "class.level", "class.list": the policy declares no such name; -ENOSPC "class.limit".
 */
int hs_class_intern(sqlite3 *db, const char *collection, const char *level, const char *list, uint32_t *ret_id,
		    struct hs_err *err) HS_MUST_CHECK;

/* -ENOENT where there is no such class. */
int hs_class_get(sqlite3 *db, uint32_t id, struct hs_class *ret) HS_MUST_CHECK;

/* Rank of a level, 0 the most public; -ENOENT where the policy declares none of that name. */
int hs_level_rank(sqlite3 *db, const char *level, uint32_t *ret_rank) HS_MUST_CHECK;

#endif
