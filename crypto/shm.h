/*
 * Inside this room: the WAL index of one database file, in process memory instead of a "-shm" file.
 *
 * SQLite's xShm methods over plain memory: one struct hs_shm a file, one struct hs_shm_user a connection. Locks never block;
 * a conflict is SQLITE_BUSY. The memory goes when the last user leaves, so that the next to come recovers the log.
 */
#ifndef HISHO_CRYPTO_SHM_H
#define HISHO_CRYPTO_SHM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <sqlite3.h>

#define HS_SHM_REGIONS_MAX 2048 /* of 32 KiB: an index over 8 million frames, a log of 32 GiB */

struct hs_shm {
	pthread_mutex_t lock;
	void **regions;
	int n_regions, region_size;
	unsigned users;
	unsigned shared[SQLITE_SHM_NLOCK]; /* holders of each lock, shared */
	bool exclusive[SQLITE_SHM_NLOCK];
};

struct hs_shm_user {
	bool attached;
	uint16_t shared, exclusive; /* bits of the locks that this connection holds */
};

void hs_shm_init(struct hs_shm *s);
void hs_shm_finish(struct hs_shm *s);

/* These answer with SQLite's result codes, as sqlite3_io_methods documents them. */
int hs_shm_map(struct hs_shm *s, struct hs_shm_user *u, int region, int size, int extend, void volatile **ret);
int hs_shm_lock(struct hs_shm *s, struct hs_shm_user *u, int first, int n, int flags);
void hs_shm_barrier(struct hs_shm *s);
void hs_shm_leave(struct hs_shm *s, struct hs_shm_user *u);

#endif
