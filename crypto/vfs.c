#include "crypto/vfs.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "crypto/shm.h"
#include "crypto/wal.h"

#define LOCK_BYTE 0x40000000 /* SQLite locks bytes of the page that begins here and never stores it */
#define WAL_SUFFIX "-wal"

struct hs_vfs_node {
	struct hs_vfs_node *next;
	char *path;
	unsigned holds; /* under nodes_lock, as next */
	struct hs_key *key;
	struct hs_page_key page_key;
	struct hs_shm shm;
	bool creating;
	atomic_bool poisoned; /* a sync failed: what is on disk is no longer known to this process */
	atomic_uint newer_format;
};

struct file {
	sqlite3_file as_sqlite; /* first: SQLite hands us this */
	struct hs_vfs_node *node;
	sqlite3_file *below; /* lies behind this struct */
	bool wal;
	struct hs_shm_user user;
	/* WAL: a frame header that waits for its page, so that both are written at once. */
	bool waiting;
	uint32_t waiting_index;
	uint8_t waiting_header[HS_WAL_FRAME_HEADER_LEN];
};

static pthread_mutex_t nodes_lock = PTHREAD_MUTEX_INITIALIZER;
static struct hs_vfs_node *nodes;
static sqlite3_vfs *below_vfs;
static sqlite3_vfs this_vfs;

/* --- nodes --- */

static struct hs_vfs_node *find_locked(const char *path, size_t len)
{
	for (struct hs_vfs_node *n = nodes; n; n = n->next) {
		if (strlen(n->path) == len && strncmp(n->path, path, len) == 0)
			return n;
	}
	return NULL;
}

static void free_node(struct hs_vfs_node *n)
{
	if (!n)
		return;
	hs_key_destroy(n->key);
	hs_shm_finish(&n->shm);
	free(n->path);
	free(n);
}

static struct hs_vfs_node *make_node(const char *path, const struct hs_db_key *key)
{
	struct hs_vfs_node *n = calloc(1, sizeof *n);
	if (!n)
		return NULL;
	hs_shm_init(&n->shm);
	n->path = strdup(path);
	n->key = hs_key_copy(key->key->bytes);
	if (!n->path || !n->key) {
		free_node(n);
		return NULL;
	}
	n->page_key.key = n->key;
	memcpy(n->page_key.uuid, key->uuid, HS_DB_UUID_LEN);
	n->page_key.generation = key->generation;
	return n;
}

static bool key_fits(const struct hs_vfs_node *n, const struct hs_db_key *key)
{
	return sodium_memcmp(n->key->bytes, key->key->bytes, HS_KEY_LEN) == 0 &&
	       sodium_memcmp(n->page_key.uuid, key->uuid, HS_DB_UUID_LEN) == 0 && n->page_key.generation == key->generation;
}

int hs_vfs_hold(const char *path, const struct hs_db_key *key, bool creating, struct hs_vfs_node **ret, struct hs_err *err)
{
	char full[4096];
	int rc = 0;
	if (below_vfs->xFullPathname(below_vfs, path, sizeof full, full) & 0xff)
		return hs_fail(err, ENAMETOOLONG, "db.open", HS_N_("The path of the database cannot be resolved."), "%s", path);
	(void)pthread_mutex_lock(&nodes_lock);
	struct hs_vfs_node *n = find_locked(full, strlen(full));
	if (n && !key_fits(n, key)) {
		rc = hs_fail(err, EBUSY, "db.key", HS_N_("The database is open in this process under another key."), "%s", path);
	} else if (!n) {
		n = make_node(full, key);
		if (n) {
			n->creating = creating;
			n->next = nodes;
			nodes = n;
		} else {
			rc = hs_fail(err, ENOMEM, "db.open", "", "%s", path);
		}
	}
	if (rc == 0) {
		n->holds++;
		*ret = n;
	}
	(void)pthread_mutex_unlock(&nodes_lock);
	return rc;
}

/* For SQLite's opening of a database or its WAL: only what is held has a key. */
static struct hs_vfs_node *hold_named(const char *path, bool wal)
{
	size_t len = path ? strlen(path) : 0;
	if (wal) {
		if (len < sizeof WAL_SUFFIX || strcmp(path + len - (sizeof WAL_SUFFIX - 1), WAL_SUFFIX) != 0)
			return NULL;
		len -= sizeof WAL_SUFFIX - 1;
	}
	if (len == 0)
		return NULL;
	(void)pthread_mutex_lock(&nodes_lock);
	struct hs_vfs_node *n = find_locked(path, len);
	if (n)
		n->holds++;
	(void)pthread_mutex_unlock(&nodes_lock);
	return n;
}

void hs_vfs_release(struct hs_vfs_node *n)
{
	if (!n)
		return;
	(void)pthread_mutex_lock(&nodes_lock);
	/* A poisoned file stays known, so that it stays refused while this process lives. */
	bool last = --n->holds == 0 && !atomic_load(&n->poisoned);
	if (last) {
		struct hs_vfs_node **at = &nodes;
		while (*at != n)
			at = &(*at)->next;
		*at = n->next;
	}
	(void)pthread_mutex_unlock(&nodes_lock);
	if (last)
		free_node(n);
}

uint32_t hs_vfs_newer_format(struct hs_vfs_node *n)
{
	return atomic_load(&n->newer_format);
}

/* --- the database file --- */

static int read_below(struct file *f, void *out, int n, sqlite3_int64 at)
{
	return f->below->pMethods->xRead(f->below, out, n, at);
}

static int write_below(struct file *f, const void *data, int n, sqlite3_int64 at)
{
	return f->below->pMethods->xWrite(f->below, data, n, at);
}

static int read_database(struct file *f, uint8_t *out, int n, sqlite3_int64 at)
{
	uint8_t disk[HS_DB_PAGE_SIZE], plain[HS_DB_PAGE_SIZE];
	sqlite3_int64 within = at % HS_DB_PAGE_SIZE, number = at / HS_DB_PAGE_SIZE + 1;
	memset(out, 0, (size_t)n);
	if (n <= 0 || within + n > HS_DB_PAGE_SIZE || number > UINT32_MAX)
		return SQLITE_IOERR_READ;
	int rc = read_below(f, disk, HS_DB_PAGE_SIZE, at - within);
	if (rc != SQLITE_OK) /* SQLITE_IOERR_SHORT_READ: past the end, and zeros are what SQLite expects of it */
		return rc;
	bool whole = n == HS_DB_PAGE_SIZE;
	if (whole)
		return hs_page_open(&f->node->page_key, (uint32_t)number, disk, out) ? SQLITE_OK : SQLITE_IOERR_DATA;
	if (!hs_page_open(&f->node->page_key, (uint32_t)number, disk, plain)) {
		/*
		 * SQLite looks at the start of page 1 before it recovers the WAL, and an interrupted checkpoint may have torn
		 * that page while the WAL still holds it. What it needs there is constant. Whole pages stay strict.
		 */
		if (number != 1)
			return SQLITE_IOERR_DATA;
		hs_page_synthetic(plain);
	}
	memcpy(out, plain + within, (size_t)n);
	sodium_memzero(plain, sizeof plain);
	return SQLITE_OK;
}

static int write_database(struct file *f, const uint8_t *data, int n, sqlite3_int64 at)
{
	uint8_t disk[HS_DB_PAGE_SIZE];
	sqlite3_int64 number = at / HS_DB_PAGE_SIZE + 1;
	if (n != HS_DB_PAGE_SIZE || at % HS_DB_PAGE_SIZE != 0 || number > UINT32_MAX ||
	    !hs_page_seal(&f->node->page_key, (uint32_t)number, data, disk))
		return SQLITE_IOERR_WRITE;
	return write_below(f, disk, sizeof disk, at);
}

/* --- the write-ahead log --- */

static sqlite3_int64 frame_at(uint32_t index)
{
	return HS_WAL_HEADER_LEN + (sqlite3_int64)index * HS_WAL_FRAME_LEN;
}

static int load_frame(struct file *f, uint32_t index, uint8_t plain[static HS_WAL_FRAME_LEN])
{
	uint8_t disk[HS_WAL_FRAME_LEN];
	memset(plain, 0, HS_WAL_FRAME_LEN);
	int rc = read_below(f, disk, sizeof disk, frame_at(index));
	if (rc != SQLITE_OK)
		return rc;
	return hs_wal_open(&f->node->page_key, index, disk, plain) ? SQLITE_OK : SQLITE_IOERR_DATA;
}

static int store_frame(struct file *f, uint32_t index, uint8_t plain[static HS_WAL_FRAME_LEN])
{
	uint8_t disk[HS_WAL_FRAME_LEN];
	int rc = SQLITE_IOERR_WRITE;
	if (hs_wal_seal(&f->node->page_key, index, plain, disk))
		rc = write_below(f, disk, sizeof disk, frame_at(index));
	sodium_memzero(plain, HS_WAL_FRAME_LEN);
	return rc;
}

/*
 * A header that no page followed: SQLite rewrites the checksums of frames that it changed within one transaction. The
 * frame is sealed anew around the page that lies there.
 */
static int settle(struct file *f)
{
	uint8_t plain[HS_WAL_FRAME_LEN];
	if (!f->waiting)
		return SQLITE_OK;
	f->waiting = false;
	int rc = load_frame(f, f->waiting_index, plain);
	if (rc != SQLITE_OK)
		return rc == SQLITE_IOERR_SHORT_READ ? SQLITE_IOERR_WRITE : rc;
	memcpy(plain, f->waiting_header, sizeof f->waiting_header);
	return store_frame(f, f->waiting_index, plain);
}

static int read_wal(struct file *f, uint8_t *out, int n, sqlite3_int64 at)
{
	uint8_t plain[HS_WAL_FRAME_LEN];
	int rc = settle(f);
	if (rc != SQLITE_OK)
		return rc;
	if (at < HS_WAL_HEADER_LEN)
		return at + n <= HS_WAL_HEADER_LEN ? read_below(f, out, n, at) : SQLITE_IOERR_READ;
	sqlite3_int64 index = (at - HS_WAL_HEADER_LEN) / HS_WAL_FRAME_LEN, within = (at - HS_WAL_HEADER_LEN) % HS_WAL_FRAME_LEN;
	memset(out, 0, (size_t)n);
	if (n <= 0 || within + n > HS_WAL_FRAME_LEN || index >= UINT32_MAX)
		return SQLITE_IOERR_READ;
	rc = load_frame(f, (uint32_t)index, plain);
	/*
	 * Whole frames are read by recovery: there a frame that does not authenticate was torn, and is the end of the log. SQLite
	 * takes zeros for that. Pages of frames that the index knows must authenticate.
	 */
	if (rc == SQLITE_IOERR_DATA && n == HS_WAL_FRAME_LEN)
		return SQLITE_OK;
	if (rc == SQLITE_OK)
		memcpy(out, plain + within, (size_t)n);
	sodium_memzero(plain, sizeof plain);
	return rc;
}

static int write_page_of_frame(struct file *f, uint32_t index, const uint8_t *page)
{
	uint8_t plain[HS_WAL_FRAME_LEN];
	if (f->waiting && f->waiting_index == index) {
		f->waiting = false;
		memcpy(plain, f->waiting_header, sizeof f->waiting_header);
	} else { /* a page that this transaction wrote before, changed in place; SQLite mends the checksums later */
		int rc = settle(f);
		if (rc == SQLITE_OK)
			rc = load_frame(f, index, plain);
		if (rc != SQLITE_OK)
			return rc == SQLITE_IOERR_SHORT_READ ? SQLITE_IOERR_WRITE : rc;
	}
	memcpy(plain + HS_WAL_FRAME_HEADER_LEN, page, HS_DB_PAGE_SIZE);
	return store_frame(f, index, plain);
}

static int write_wal(struct file *f, const uint8_t *data, int n, sqlite3_int64 at)
{
	if (at == 0 && n == HS_WAL_HEADER_LEN) {
		int rc = settle(f);
		return rc == SQLITE_OK ? write_below(f, data, n, at) : rc;
	}
	sqlite3_int64 index = (at - HS_WAL_HEADER_LEN) / HS_WAL_FRAME_LEN, within = (at - HS_WAL_HEADER_LEN) % HS_WAL_FRAME_LEN;
	if (at < HS_WAL_HEADER_LEN || index >= UINT32_MAX)
		return SQLITE_IOERR_WRITE;
	if (within == 0 && n == HS_WAL_FRAME_HEADER_LEN) {
		int rc = settle(f);
		if (rc != SQLITE_OK)
			return rc;
		memcpy(f->waiting_header, data, HS_WAL_FRAME_HEADER_LEN);
		f->waiting_index = (uint32_t)index;
		f->waiting = true;
		return SQLITE_OK;
	}
	if (within == HS_WAL_FRAME_HEADER_LEN && n == HS_DB_PAGE_SIZE)
		return write_page_of_frame(f, (uint32_t)index, data);
	return SQLITE_IOERR_WRITE;
}

/* --- methods of an open file --- */

static struct file *ours(sqlite3_file *file)
{
	return (struct file *)file;
}

static bool poisoned(const struct file *f)
{
	return atomic_load(&f->node->poisoned);
}

static int file_close(sqlite3_file *file)
{
	struct file *f = ours(file);
	int rc = poisoned(f) ? SQLITE_OK : settle(f);
	hs_shm_leave(&f->node->shm, &f->user);
	int closed = f->below->pMethods->xClose(f->below);
	hs_vfs_release(f->node);
	return rc != SQLITE_OK ? rc : closed;
}

static int file_read(sqlite3_file *file, void *out, int n, sqlite3_int64 at)
{
	struct file *f = ours(file);
	if (poisoned(f))
		return SQLITE_IOERR_FSYNC;
	return f->wal ? read_wal(f, out, n, at) : read_database(f, out, n, at);
}

static int file_write(sqlite3_file *file, const void *data, int n, sqlite3_int64 at)
{
	struct file *f = ours(file);
	if (poisoned(f))
		return SQLITE_IOERR_FSYNC;
	return f->wal ? write_wal(f, data, n, at) : write_database(f, data, n, at);
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	struct file *f = ours(file);
	int rc = poisoned(f) ? SQLITE_IOERR_FSYNC : settle(f);
	return rc == SQLITE_OK ? f->below->pMethods->xTruncate(f->below, size) : rc;
}

static int file_sync(sqlite3_file *file, int flags)
{
	struct file *f = ours(file);
	int rc = poisoned(f) ? SQLITE_IOERR_FSYNC : settle(f);
	if (rc != SQLITE_OK)
		return rc;
	rc = f->below->pMethods->xSync(f->below, flags);
	if (rc != SQLITE_OK) /* the kernel may have dropped what it could not write: a second try would only seem to succeed */
		atomic_store(&f->node->poisoned, true);
	return rc;
}

static int file_size(sqlite3_file *file, sqlite3_int64 *ret)
{
	struct file *f = ours(file);
	int rc = poisoned(f) ? SQLITE_IOERR_FSYNC : settle(f);
	return rc == SQLITE_OK ? f->below->pMethods->xFileSize(f->below, ret) : rc;
}

static int file_lock(sqlite3_file *file, int level)
{
	struct file *f = ours(file);
	return f->below->pMethods->xLock(f->below, level);
}

static int file_unlock(sqlite3_file *file, int level)
{
	struct file *f = ours(file);
	return f->below->pMethods->xUnlock(f->below, level);
}

static int file_check_reserved(sqlite3_file *file, int *ret)
{
	struct file *f = ours(file);
	return f->below->pMethods->xCheckReservedLock(f->below, ret);
}

static int file_control(sqlite3_file *file, int op, void *arg)
{
	struct file *f = ours(file);
	switch (op) {
	case SQLITE_FCNTL_POWERSAFE_OVERWRITE: /* must stay set: without it SQLite splits frames at sync points */
		*(int *)arg = 1;
		return SQLITE_OK;
	case SQLITE_FCNTL_MMAP_SIZE: /* a mapping would go around us */
		*(sqlite3_int64 *)arg = 0;
		return SQLITE_OK;
	case SQLITE_FCNTL_VFSNAME:
		*(char **)arg = sqlite3_mprintf("%s", HS_VFS_NAME);
		return SQLITE_OK;
	case SQLITE_FCNTL_LOCKSTATE:
	case SQLITE_FCNTL_LAST_ERRNO:
	case SQLITE_FCNTL_PERSIST_WAL:
	case SQLITE_FCNTL_HAS_MOVED:
		return f->below->pMethods->xFileControl(f->below, op, arg);
	default:
		return SQLITE_NOTFOUND;
	}
}

static int file_sector_size(sqlite3_file *file)
{
	return HS_DB_PAGE_SIZE;
}

static int file_characteristics(sqlite3_file *file)
{
	return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static int file_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **ret)
{
	struct file *f = ours(file);
	return f->wal ? SQLITE_IOERR_SHMMAP : hs_shm_map(&f->node->shm, &f->user, region, size, extend, ret);
}

static int file_shm_lock(sqlite3_file *file, int first, int n, int flags)
{
	return hs_shm_lock(&ours(file)->node->shm, &ours(file)->user, first, n, flags);
}

static void file_shm_barrier(sqlite3_file *file)
{
	hs_shm_barrier(&ours(file)->node->shm);
}

static int file_shm_unmap(sqlite3_file *file, int remove)
{
	hs_shm_leave(&ours(file)->node->shm, &ours(file)->user);
	return SQLITE_OK;
}

static int file_fetch(sqlite3_file *file, sqlite3_int64 at, int n, void **ret)
{
	*ret = NULL; /* no mapping: SQLite reads instead */
	return SQLITE_OK;
}

static int file_unfetch(sqlite3_file *file, sqlite3_int64 at, void *page)
{
	return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
	.iVersion = 3,
	.xClose = file_close,
	.xRead = file_read,
	.xWrite = file_write,
	.xTruncate = file_truncate,
	.xSync = file_sync,
	.xFileSize = file_size,
	.xLock = file_lock,
	.xUnlock = file_unlock,
	.xCheckReservedLock = file_check_reserved,
	.xFileControl = file_control,
	.xSectorSize = file_sector_size,
	.xDeviceCharacteristics = file_characteristics,
	.xShmMap = file_shm_map,
	.xShmLock = file_shm_lock,
	.xShmBarrier = file_shm_barrier,
	.xShmUnmap = file_shm_unmap,
	.xFetch = file_fetch,
	.xUnfetch = file_unfetch,
};

/* --- the VFS --- */

/* Refuse, before SQLite draws conclusions, what would read as an empty database or belongs to a newer Hisho. */
static int look_at_start(struct file *f)
{
	uint8_t prefix[HS_PAGE_PREFIX_LEN];
	sqlite3_int64 size;
	uint32_t format = 0;
	int rc = f->below->pMethods->xFileSize(f->below, &size);
	if (rc != SQLITE_OK || (f->node->creating && size == 0))
		return rc;
	if (size < HS_DB_PAGE_SIZE)
		return SQLITE_NOTADB;
	rc = read_below(f, prefix, sizeof prefix, 0);
	if (rc != SQLITE_OK)
		return rc;
	enum hs_page_prefix found = hs_page_prefix_look(prefix, &format);
	atomic_store(&f->node->newer_format, found == HS_PREFIX_NEWER ? format : 0);
	return found == HS_PREFIX_NEWER ? SQLITE_NOTADB : SQLITE_OK;
}

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
	struct file *f = ours(file);
	bool wal = flags & SQLITE_OPEN_WAL;
	memset(f, 0, sizeof *f);
	if (!wal && !(flags & SQLITE_OPEN_MAIN_DB))
		return SQLITE_CANTOPEN; /* journals and temporary files are never on disk */
	f->node = hold_named(name, wal);
	if (!f->node)
		return SQLITE_CANTOPEN;
	f->wal = wal;
	f->below = (sqlite3_file *)(f + 1);
	int rc = atomic_load(&f->node->poisoned) ? SQLITE_IOERR_FSYNC
						 : below_vfs->xOpen(below_vfs, name, f->below, flags, ret_flags);
	if (rc == SQLITE_OK && !wal)
		rc = look_at_start(f);
	if (rc != SQLITE_OK) {
		if (f->below->pMethods)
			(void)f->below->pMethods->xClose(f->below); /* nothing was written through it */
		hs_vfs_release(f->node);
		return rc;
	}
	f->as_sqlite.pMethods = &methods;
	return SQLITE_OK;
}

static bool names_wal(const char *name)
{
	size_t len = strlen(name);
	return len > sizeof WAL_SUFFIX - 1 && strcmp(name + len - (sizeof WAL_SUFFIX - 1), WAL_SUFFIX) == 0;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_dir)
{
	if (!names_wal(name))
		return SQLITE_IOERR_DELETE_NOENT; /* a journal is not ours; that it is there, or not, changes nothing */
	return below_vfs->xDelete(below_vfs, name, sync_dir);
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
	size_t len = strlen(name);
	*ret = 0;
	if (len >= 8 && strcmp(name + len - 8, "-journal") == 0)
		return SQLITE_OK; /* a forged one would be played back into the database */
	return below_vfs->xAccess(below_vfs, name, flags, ret);
}

static int vfs_full_pathname(sqlite3_vfs *vfs, const char *name, int n, char *out)
{
	return below_vfs->xFullPathname(below_vfs, name, n, out);
}

static int vfs_randomness(sqlite3_vfs *vfs, int n, char *out)
{
	randombytes_buf(out, (size_t)n);
	return n;
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
	return below_vfs->xSleep(below_vfs, microseconds);
}

static int vfs_current_time(sqlite3_vfs *vfs, double *ret)
{
	return below_vfs->xCurrentTime(below_vfs, ret);
}

static int vfs_current_time_int64(sqlite3_vfs *vfs, sqlite3_int64 *ret)
{
	return below_vfs->xCurrentTimeInt64(below_vfs, ret);
}

static int vfs_last_error(sqlite3_vfs *vfs, int n, char *out)
{
	return below_vfs->xGetLastError ? below_vfs->xGetLastError(below_vfs, n, out) : 0;
}

static sqlite3_vfs this_vfs = {
	.iVersion = 2,
	.mxPathname = 1024,
	.zName = HS_VFS_NAME,
	.xOpen = vfs_open,
	.xDelete = vfs_delete,
	.xAccess = vfs_access,
	.xFullPathname = vfs_full_pathname,
	.xRandomness = vfs_randomness,
	.xSleep = vfs_sleep,
	.xCurrentTime = vfs_current_time,
	.xGetLastError = vfs_last_error,
	.xCurrentTimeInt64 = vfs_current_time_int64,
	/* no xDlOpen: extensions are not loaded */
};

static int register_result;

static void register_once(void)
{
	below_vfs = hs_crypto_init() == 0 ? sqlite3_vfs_find("unix") : NULL;
	if (!below_vfs) {
		register_result = -EIO;
		return;
	}
	this_vfs.szOsFile = (int)sizeof(struct file) + below_vfs->szOsFile;
	this_vfs.mxPathname = below_vfs->mxPathname;
	register_result = sqlite3_vfs_register(&this_vfs, 0) == SQLITE_OK ? 0 : -ENOMEM;
}

int hs_vfs_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	(void)pthread_once(&once, register_once);
	return register_result;
}

void hs_vfs_set_base(sqlite3_vfs *base)
{
	hs_assert(hs_vfs_init() == 0);
	below_vfs = base ? base : sqlite3_vfs_find("unix");
	this_vfs.szOsFile = (int)sizeof(struct file) + below_vfs->szOsFile;
}

int hs_vfs_scrub(sqlite3_file *file, struct hs_db_scrub *ret)
{
	struct hs_db_scrub s = {0};
	uint8_t disk[HS_DB_PAGE_SIZE], plain[HS_DB_PAGE_SIZE];
	sqlite3_int64 size;
	if (file->pMethods != &methods)
		return SQLITE_MISUSE;
	struct file *f = ours(file);
	int rc = poisoned(f) ? SQLITE_IOERR_FSYNC : f->below->pMethods->xFileSize(f->below, &size);
	if (rc != SQLITE_OK)
		return rc;
	for (sqlite3_int64 at = 0; at + HS_DB_PAGE_SIZE <= size; at += HS_DB_PAGE_SIZE) {
		if (at == LOCK_BYTE)
			continue;
		uint32_t number = (uint32_t)(at / HS_DB_PAGE_SIZE + 1);
		bool good = false, empty = false;
		/* A checkpoint may be writing this very page: a torn read mends itself, damage does not. */
		for (int attempt = 0; attempt < 3 && !good && !empty; attempt++) {
			rc = read_below(f, disk, sizeof disk, at);
			if (rc != SQLITE_OK)
				return rc;
			empty = hs_page_zeros(disk, sizeof disk);
			good = !empty && hs_page_open(&f->node->page_key, number, disk, plain);
		}
		s.pages++;
		s.unwritten += empty;
		if (!good && !empty) {
			s.bad++;
			s.first_bad = s.first_bad ? s.first_bad : number;
		}
	}
	sodium_memzero(plain, sizeof plain);
	*ret = s;
	return SQLITE_OK;
}
