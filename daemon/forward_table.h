/* Requests of a channel by their id: the table that both sides of forwarding share. Entries are embedded in their owners. */
#ifndef HISHO_DAEMON_FORWARD_TABLE_H
#define HISHO_DAEMON_FORWARD_TABLE_H

#include <stddef.h>
#include <stdint.h>

#define HS_FORWARD_BUCKETS 256

struct hs_forward_entry {
	struct hs_forward_entry *next;
	uint64_t id;
};

struct hs_forward_table {
	struct hs_forward_entry *buckets[HS_FORWARD_BUCKETS];
	size_t count;
};

static inline struct hs_forward_entry *hs_forward_find(const struct hs_forward_table *t, uint64_t id)
{
	struct hs_forward_entry *e = t->buckets[id % HS_FORWARD_BUCKETS];
	while (e && e->id != id)
		e = e->next;
	return e;
}

static inline void hs_forward_insert(struct hs_forward_table *t, struct hs_forward_entry *e)
{
	struct hs_forward_entry **bucket = &t->buckets[e->id % HS_FORWARD_BUCKETS];
	e->next = *bucket;
	*bucket = e;
	t->count++;
}

static inline void hs_forward_remove(struct hs_forward_table *t, struct hs_forward_entry *e)
{
	struct hs_forward_entry **at = &t->buckets[e->id % HS_FORWARD_BUCKETS];
	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	t->count--;
}

/* Any entry, or NULL: for emptying the table. */
static inline struct hs_forward_entry *hs_forward_any(const struct hs_forward_table *t)
{
	for (size_t i = 0; t->count > 0 && i < HS_FORWARD_BUCKETS; i++) {
		if (t->buckets[i])
			return t->buckets[i];
	}
	return NULL;
}

#endif
