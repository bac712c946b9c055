#include "crypto/shm.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

void hs_shm_init(struct hs_shm *s)
{
	memset(s, 0, sizeof *s);
	hs_assert(pthread_mutex_init(&s->lock, NULL) == 0);
}

static void drop_regions(struct hs_shm *s)
{
	for (int i = 0; i < s->n_regions; i++)
		free(s->regions[i]);
	free(s->regions);
	s->regions = NULL;
	s->n_regions = 0;
}

void hs_shm_finish(struct hs_shm *s)
{
	drop_regions(s);
	(void)pthread_mutex_destroy(&s->lock); /* fails only where it is held, which would be ours to fix */
}

static int grow(struct hs_shm *s, int count, int size)
{
	if (count > HS_SHM_REGIONS_MAX)
		return SQLITE_FULL;
	void **regions = realloc(s->regions, (size_t)count * sizeof *regions);
	if (!regions)
		return SQLITE_IOERR_NOMEM;
	s->regions = regions;
	while (s->n_regions < count) {
		void *region = calloc(1, (size_t)size);
		if (!region)
			return SQLITE_IOERR_NOMEM;
		s->regions[s->n_regions++] = region;
	}
	return SQLITE_OK;
}

int hs_shm_map(struct hs_shm *s, struct hs_shm_user *u, int region, int size, int extend, void volatile **ret)
{
	int rc = SQLITE_OK;
	*ret = NULL;
	if (region < 0 || size <= 0)
		return SQLITE_IOERR_SHMMAP;
	(void)pthread_mutex_lock(&s->lock);
	if (!u->attached) {
		u->attached = true;
		s->users++;
	}
	if (s->n_regions > 0 && size != s->region_size)
		rc = SQLITE_IOERR_SHMSIZE;
	else if (region >= s->n_regions && extend) {
		s->region_size = size;
		rc = grow(s, region + 1, size);
	}
	if (rc == SQLITE_OK && region < s->n_regions)
		*ret = s->regions[region];
	(void)pthread_mutex_unlock(&s->lock);
	return rc;
}

static int take_shared(struct hs_shm *s, struct hs_shm_user *u, int lock)
{
	if (s->exclusive[lock])
		return SQLITE_BUSY;
	s->shared[lock]++;
	u->shared |= (uint16_t)(1u << lock);
	return SQLITE_OK;
}

static int take_exclusive(struct hs_shm *s, struct hs_shm_user *u, int first, int n, unsigned mask)
{
	for (int i = first; i < first + n; i++) {
		if (s->exclusive[i] || s->shared[i])
			return SQLITE_BUSY;
	}
	for (int i = first; i < first + n; i++)
		s->exclusive[i] = true;
	u->exclusive |= (uint16_t)mask;
	return SQLITE_OK;
}

static void let_go(struct hs_shm *s, struct hs_shm_user *u, unsigned mask)
{
	for (int i = 0; i < SQLITE_SHM_NLOCK; i++) {
		unsigned bit = 1u << i;
		if (u->exclusive & mask & bit)
			s->exclusive[i] = false;
		if (u->shared & mask & bit)
			s->shared[i]--;
	}
	u->exclusive &= (uint16_t)~mask;
	u->shared &= (uint16_t)~mask;
}

int hs_shm_lock(struct hs_shm *s, struct hs_shm_user *u, int first, int n, int flags)
{
	int rc = SQLITE_OK;
	if (first < 0 || n < 1 || first + n > SQLITE_SHM_NLOCK || ((flags & SQLITE_SHM_SHARED) && n != 1))
		return SQLITE_IOERR_SHMLOCK;
	unsigned mask = ((1u << n) - 1) << first;
	(void)pthread_mutex_lock(&s->lock);
	if (flags & SQLITE_SHM_UNLOCK)
		let_go(s, u, mask);
	else if (flags & SQLITE_SHM_SHARED)
		rc = u->shared & mask ? SQLITE_OK : take_shared(s, u, first);
	else
		rc = (u->exclusive & mask) == mask ? SQLITE_OK : take_exclusive(s, u, first, n, mask);
	(void)pthread_mutex_unlock(&s->lock);
	return rc;
}

void hs_shm_barrier(struct hs_shm *s)
{
	__sync_synchronize();
	(void)pthread_mutex_lock(&s->lock); /* orders this connection against the locks of the others, as SQLite's own VFS does */
	(void)pthread_mutex_unlock(&s->lock);
}

void hs_shm_leave(struct hs_shm *s, struct hs_shm_user *u)
{
	(void)pthread_mutex_lock(&s->lock);
	if (u->attached) {
		let_go(s, u, ~0u);
		u->attached = false;
		if (--s->users == 0)
			drop_regions(s);
	}
	(void)pthread_mutex_unlock(&s->lock);
}
