/*
 * A simulated disk under the encrypting VFS: it remembers what was synced and what was only written, and on a power cut keeps
 * of the latter a random part, reordered and torn at sectors. Or it fails the Nth operation, once.
 *
 * Two files, the database and its log; one connection at a time.
 */
#ifndef HISHO_TESTS_UNIT_CRYPTO_SIMDISK_H
#define HISHO_TESTS_UNIT_CRYPTO_SIMDISK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sqlite3.h>

#define SIM_SECTOR 512

struct sim_op {
	bool truncate;
	int64_t at;
	size_t len; /* of data; the new size where truncate */
	uint8_t *data;
};

struct sim_file {
	uint8_t *durable;
	size_t len;
	struct sim_op *ops; /* not synced yet */
	size_t n_ops;
	bool exists;
};

static struct sim_disk {
	struct sim_file file[2]; /* database, log */
	uint64_t random;
	long count;   /* operations so far: writes, truncations, syncs; reads as well where they may fail */
	long cut_at;  /* the power goes with this one; 0: never */
	long fail_at; /* this one fails, once; 0: none */
	int failure;  /* with which result */
	bool dead, lies; /* lies: acknowledges syncs that it does not make */
	bool failed_sync;
} sim;

struct sim_handle {
	sqlite3_file base;
	struct sim_file *file;
	sqlite3_file *real; /* behind this struct */
};

static inline uint64_t sim_random(void)
{
	sim.random ^= sim.random << 13; /* xorshift */
	sim.random ^= sim.random >> 7;
	sim.random ^= sim.random << 17;
	return sim.random;
}

static inline void sim_apply(struct sim_file *f, const struct sim_op *op, size_t from, size_t to)
{
	if (op->truncate) {
		if (op->len > f->len) {
			f->durable = realloc(f->durable, op->len + 1);
			memset(f->durable + f->len, 0, op->len - f->len);
		}
		f->len = op->len;
		return;
	}
	size_t end = (size_t)op->at + to;
	if (end > f->len) {
		f->durable = realloc(f->durable, end + 1);
		memset(f->durable + f->len, 0, end - f->len);
		f->len = end;
	}
	memcpy(f->durable + op->at + from, op->data + from, to - from);
}

static inline void sim_forget(struct sim_file *f)
{
	for (size_t i = 0; i < f->n_ops; i++)
		free(f->ops[i].data);
	free(f->ops);
	f->ops = NULL;
	f->n_ops = 0;
}

static inline void sim_reset(uint64_t seed)
{
	for (int i = 0; i < 2; i++) {
		sim_forget(&sim.file[i]);
		free(sim.file[i].durable);
	}
	memset(&sim, 0, sizeof sim);
	sim.random = seed * 0x9e3779b97f4a7c15u + 1;
}

static inline void sim_remember(struct sim_file *f, bool truncate, int64_t at, const void *data, size_t len)
{
	f->ops = realloc(f->ops, (f->n_ops + 1) * sizeof *f->ops);
	struct sim_op *op = &f->ops[f->n_ops++];
	*op = (struct sim_op){.truncate = truncate, .at = at, .len = len};
	if (!truncate) {
		op->data = malloc(len);
		memcpy(op->data, data, len);
	}
}

/* SQLITE_OK, or what the operation answers instead. */
static inline int sim_step(void)
{
	if (sim.dead)
		return SQLITE_IOERR;
	sim.count++;
	if (sim.count == sim.fail_at)
		return sim.failure;
	sim.dead = sim.count == sim.cut_at;
	return SQLITE_OK;
}

static int sim_close(sqlite3_file *file)
{
	struct sim_handle *h = (struct sim_handle *)file;
	return h->real->pMethods->xClose(h->real);
}

static int sim_read(sqlite3_file *file, void *out, int n, sqlite3_int64 at)
{
	struct sim_handle *h = (struct sim_handle *)file;
	if (sim.fail_at && ++sim.count == sim.fail_at)
		return sim.failure == SQLITE_FULL ? SQLITE_IOERR_READ : sim.failure;
	return h->real->pMethods->xRead(h->real, out, n, at);
}

static int sim_write(sqlite3_file *file, const void *data, int n, sqlite3_int64 at)
{
	struct sim_handle *h = (struct sim_handle *)file;
	int rc = sim_step();
	if (rc != SQLITE_OK)
		return rc;
	sim_remember(h->file, false, at, data, (size_t)n);
	return sim.dead ? SQLITE_IOERR_WRITE : h->real->pMethods->xWrite(h->real, data, n, at);
}

static int sim_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	struct sim_handle *h = (struct sim_handle *)file;
	int rc = sim_step();
	if (rc != SQLITE_OK)
		return rc;
	sim_remember(h->file, true, 0, NULL, (size_t)size);
	return sim.dead ? SQLITE_IOERR_TRUNCATE : h->real->pMethods->xTruncate(h->real, size);
}

static int sim_sync(sqlite3_file *file, int flags)
{
	struct sim_handle *h = (struct sim_handle *)file;
	int rc = sim_step();
	if (rc != SQLITE_OK) {
		sim.failed_sync = true;
		return SQLITE_IOERR_FSYNC;
	}
	if (sim.dead)
		return SQLITE_IOERR_FSYNC;
	if (!sim.lies) {
		for (size_t i = 0; i < h->file->n_ops; i++)
			sim_apply(h->file, &h->file->ops[i], 0, h->file->ops[i].len);
		sim_forget(h->file);
	}
	return SQLITE_OK;
}

static int sim_size(sqlite3_file *file, sqlite3_int64 *ret)
{
	struct sim_handle *h = (struct sim_handle *)file;
	return h->real->pMethods->xFileSize(h->real, ret);
}

static int sim_lock(sqlite3_file *file, int level)
{
	struct sim_handle *h = (struct sim_handle *)file;
	return h->real->pMethods->xLock(h->real, level);
}

static int sim_unlock(sqlite3_file *file, int level)
{
	struct sim_handle *h = (struct sim_handle *)file;
	return h->real->pMethods->xUnlock(h->real, level);
}

static int sim_reserved(sqlite3_file *file, int *ret)
{
	struct sim_handle *h = (struct sim_handle *)file;
	return h->real->pMethods->xCheckReservedLock(h->real, ret);
}

static int sim_control(sqlite3_file *file, int op, void *arg)
{
	struct sim_handle *h = (struct sim_handle *)file;
	return h->real->pMethods->xFileControl(h->real, op, arg);
}

static int sim_sector(sqlite3_file *file)
{
	return SIM_SECTOR;
}

static int sim_traits(sqlite3_file *file)
{
	return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static const sqlite3_io_methods sim_methods = {
	.iVersion = 1, .xClose = sim_close, .xRead = sim_read, .xWrite = sim_write, .xTruncate = sim_truncate, .xSync = sim_sync,
	.xFileSize = sim_size, .xLock = sim_lock, .xUnlock = sim_unlock, .xCheckReservedLock = sim_reserved,
	.xFileControl = sim_control, .xSectorSize = sim_sector, .xDeviceCharacteristics = sim_traits,
};

static sqlite3_vfs sim_vfs;
static sqlite3_vfs *sim_below;

static int sim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
	struct sim_handle *h = (struct sim_handle *)file;
	memset(h, 0, sizeof *h);
	h->real = (sqlite3_file *)(h + 1);
	h->file = &sim.file[(flags & SQLITE_OPEN_WAL) != 0];
	h->file->exists = true;
	int rc = sim_below->xOpen(sim_below, name, h->real, flags, ret_flags);
	if (rc == SQLITE_OK)
		h->base.pMethods = &sim_methods;
	return rc;
}

static int sim_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
	if (sim.dead)
		return SQLITE_IOERR_DELETE;
	sim_forget(&sim.file[1]);
	sim.file[1].len = 0;
	sim.file[1].exists = false;
	return sim_below->xDelete(sim_below, name, sync_dir);
}

static inline sqlite3_vfs *sim_init(void)
{
	sim_below = sqlite3_vfs_find("unix");
	sim_vfs = *sim_below;
	sim_vfs.zName = "sim";
	sim_vfs.pNext = NULL;
	sim_vfs.szOsFile = (int)sizeof(struct sim_handle) + sim_below->szOsFile;
	sim_vfs.xOpen = sim_open;
	sim_vfs.xDelete = sim_delete;
	return &sim_vfs;
}

/* The power is gone: let each unsynced operation happen, not happen, or half happen, in any order. */
static inline void sim_settle(void)
{
	for (int i = 0; i < 2; i++) {
		struct sim_file *f = &sim.file[i];
		unsigned manner = sim_random() % 4; /* none, all, a random part in order, a random part in any order */
		for (size_t n = f->n_ops; manner == 3 && n > 1; n--) {
			size_t other = sim_random() % n;
			struct sim_op swap = f->ops[n - 1];
			f->ops[n - 1] = f->ops[other];
			f->ops[other] = swap;
		}
		for (size_t n = 0; n < f->n_ops && manner != 0; n++) {
			struct sim_op *op = &f->ops[n];
			unsigned fate = manner == 1 ? 0 : sim_random() % 3; /* whole, lost, torn */
			if (fate == 0 || (fate == 2 && op->truncate))
				sim_apply(f, op, 0, op->len);
			for (size_t at = 0; fate == 2 && !op->truncate && at < op->len;) {
				size_t end = at + SIM_SECTOR - (size_t)(op->at + (int64_t)at) % SIM_SECTOR;
				end = end < op->len ? end : op->len;
				if (sim_random() % 2)
					sim_apply(f, op, at, end);
				at = end;
			}
		}
		sim_forget(f);
	}
}

#endif
