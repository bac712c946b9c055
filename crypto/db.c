#include "crypto/db.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/id.h"
#include "crypto/vfs.h"

#define APPLICATION_ID "0x48697368" /* "Hish" */
#define WAL_SIZE_LIMIT "67108864"   /* bytes kept of a log after a checkpoint */

/*
 * Pages in the log before a checkpoint: a page that many transactions change is copied into the database once for all of them.
 * 32 MiB, which the next opening reads in a tenth of a second.
 */
#define CHECKPOINT_PAGES "8192"

/* KiB of pages that a writer keeps: with fewer, a transaction writes pages to the log, reads them back and writes them again. */
#define WRITER_CACHE_KIB "8192"

int hs_db_errno(int rc)
{
	switch (rc) {
	case SQLITE_IOERR_DATA:
	case SQLITE_IOERR_CORRUPTFS:
		return -EBADMSG;
	case SQLITE_IOERR_NOMEM:
		return -ENOMEM;
	}
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_INTERRUPT:
		return -EINTR;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EBADMSG;
	case SQLITE_TOOBIG:
		return -EMSGSIZE;
	case SQLITE_MISUSE:
	case SQLITE_RANGE:
	case SQLITE_ERROR:
		return -EINVAL;
	default:
		return -EIO;
	}
}

static int fail_sqlite(struct hs_err *err, int rc, const char *path)
{
	int num = hs_db_errno(rc);
	if (num == -EBADMSG)
		return hs_fail(err, EBADMSG, "db.sealed",
			       HS_N_("Pages of the database do not authenticate: it is damaged, or sealed under another key. Restore a backup."),
			       "%s", path);
	if (num == -ENOSPC)
		return hs_fail(err, ENOSPC, "disk.full", HS_N_("The disk is full. Free some space."), "%s", path);
	return hs_fail(err, -num, "db.open", HS_N_("The database cannot be opened."), "%s (%s)", path, sqlite3_errstr(rc));
}

static int run(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

/* The first column of a pragma's answer equals expected. SQLITE_OK, SQLITE_MISMATCH or what failed. */
static int expect(sqlite3 *db, const char *pragma, const char *expected)
{
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v2(db, pragma, -1, &s, NULL);
	if (rc == SQLITE_OK) {
		rc = sqlite3_step(s);
		if (rc == SQLITE_ROW) {
			const char *got = (const char *)sqlite3_column_text(s, 0);
			rc = got && strcmp(got, expected) == 0 ? SQLITE_OK : SQLITE_MISMATCH;
		} else if (rc == SQLITE_DONE) {
			rc = SQLITE_MISMATCH;
		}
	}
	(void)sqlite3_finalize(s); /* repeats the step's failure, which is in rc */
	return rc;
}

static int harden(sqlite3 *db)
{
	static const struct {
		int option, value;
	} options[] = {
		{SQLITE_DBCONFIG_DEFENSIVE, 1},
		{SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
		{SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
		{SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0},
		{SQLITE_DBCONFIG_DQS_DDL, 0},
		{SQLITE_DBCONFIG_DQS_DML, 0},
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(options); i++) {
		int now = -1;
		int rc = sqlite3_db_config(db, options[i].option, options[i].value, &now);
		if (rc != SQLITE_OK || now != options[i].value)
			return rc != SQLITE_OK ? rc : SQLITE_MISMATCH;
	}
	(void)sqlite3_limit(db, SQLITE_LIMIT_ATTACHED, 0);
	(void)sqlite3_extended_result_codes(db, 1); /* fails only without a connection */
	return sqlite3_busy_timeout(db, HS_DB_BUSY_MS);
}

static int configure(sqlite3 *db, bool reader)
{
	int rc = run(db, "PRAGMA temp_store=MEMORY; PRAGMA mmap_size=0; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
			 "PRAGMA cell_size_check=ON; PRAGMA secure_delete=FAST; PRAGMA journal_size_limit=" WAL_SIZE_LIMIT);
	if (rc == SQLITE_OK)
		rc = run(db, reader ? "PRAGMA query_only=ON"
				    : "PRAGMA cache_size=-" WRITER_CACHE_KIB "; PRAGMA wal_autocheckpoint=" CHECKPOINT_PAGES);
	static const struct {
		const char *pragma, *expected;
	} settings[] = {
		/* The first reads page 1: wrong keys and damage show here. */
		{"PRAGMA journal_mode", "wal"}, {"PRAGMA page_size", "4096"},       {"PRAGMA temp_store", "2"},
		{"PRAGMA synchronous", "2"},    {"PRAGMA foreign_keys", "1"},       {"PRAGMA cell_size_check", "1"},
		{"PRAGMA trusted_schema", "0"}, {"SELECT count(*) >= 0 FROM sqlite_schema", "1"},
	};
	for (size_t i = 0; rc == SQLITE_OK && i < HS_ARRAY_LEN(settings); i++)
		rc = expect(db, settings[i].pragma, settings[i].expected);
	int reserve = -1; /* asks without changing */
	if (rc == SQLITE_OK)
		rc = sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve);
	return rc == SQLITE_OK && reserve != HS_DB_RESERVE ? SQLITE_MISMATCH : rc;
}

static int open_held(const char *path, struct hs_vfs_node *node, unsigned flags, sqlite3 **ret, struct hs_err *err)
{
	sqlite3 *db = NULL;
	int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE, HS_VFS_NAME);
	if (rc == SQLITE_OK)
		rc = harden(db);
	if (rc == SQLITE_OK)
		rc = configure(db, flags & HS_DB_READER);
	if (rc == SQLITE_OK) {
		*ret = db;
		return 0;
	}
	if (db && sqlite3_extended_errcode(db) != SQLITE_OK && rc != SQLITE_MISMATCH)
		rc = sqlite3_extended_errcode(db);
	(void)sqlite3_close(db); /* no statement is left */
	if (hs_vfs_newer_format(node))
		return hs_fail(err, ENOTSUP, "db.format", HS_N_("A newer version of Hisho wrote this database. Install that version."),
			       "%s: format %u, known: %d", path, hs_vfs_newer_format(node), HS_DB_FORMAT);
	if (rc == SQLITE_NOTADB)
		return hs_fail(err, EBADMSG, "db.damaged", HS_N_("This is not a whole database of Hisho. Restore a backup."), "%s", path);
	if (rc == SQLITE_MISMATCH)
		return hs_fail(err, EIO, "db.settings", HS_N_("SQLite does not take the settings that Hisho relies on."), "%s", path);
	return fail_sqlite(err, rc, path);
}

int hs_db_open(const char *path, const struct hs_db_key *key, unsigned flags, sqlite3 **ret, struct hs_err *err)
{
	struct hs_vfs_node *node = NULL;
	if (access(path, F_OK) < 0)
		return errno == ENOENT ? hs_fail(err, ENOENT, "db.missing", HS_N_("There is no database at this place."), "%s", path)
				       : hs_fail_errno(err, -errno, "db.open", path);
	int rc = hs_vfs_init();
	if (rc < 0)
		return hs_fail_errno(err, rc, "db.open", path);
	rc = hs_vfs_hold(path, key, false, &node, err);
	if (rc < 0)
		return rc;
	rc = open_held(path, node, flags, ret, err);
	hs_vfs_release(node); /* the connection's files hold it now */
	return rc;
}

/* --- making one --- */

struct making {
	const char *path;
	char temporary[PATH_MAX], wal[PATH_MAX + 8];
	struct hs_vfs_node *node;
};

static void abandon(struct making *m)
{
	hs_vfs_release(m->node);
	if (*m->temporary) {
		(void)unlink(m->temporary); /* best effort: the failure is told already */
		(void)unlink(m->wal);
	}
}

static int begin(struct making *m, const char *path, const struct hs_db_key *key, struct hs_err *err)
{
	uint8_t raw[8];
	char suffix[14];
	*m = (struct making){.path = path};
	int rc = hs_vfs_init();
	if (rc < 0)
		return hs_fail_errno(err, rc, "db.create", path);
	if (access(path, F_OK) == 0)
		return hs_fail(err, EEXIST, "db.exists", HS_N_("There is a database at this place already."), "%s", path);
	hs_random(raw, sizeof raw);
	hs_base32(raw, sizeof raw, suffix);
	char temporary[PATH_MAX];
	if (snprintf(temporary, sizeof temporary, "%s.%s.new", path, suffix) >= (int)sizeof temporary)
		return hs_fail(err, ENAMETOOLONG, "db.create", "", "%s", path);
	HS_FD_AUTO fd = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return hs_fail_errno(err, -errno, "db.create", path);
	memcpy(m->temporary, temporary, sizeof temporary);
	(void)snprintf(m->wal, sizeof m->wal, "%s-wal", temporary); /* fits by its size */
	return hs_vfs_hold(temporary, key, true, &m->node, err);
}

/* An open, empty database under the temporary name, its journal in memory. */
static int open_empty(struct making *m, sqlite3 **ret)
{
	int reserve = HS_DB_RESERVE;
	int rc = sqlite3_open_v2(m->temporary, ret, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE,
				 HS_VFS_NAME);
	if (rc == SQLITE_OK)
		rc = sqlite3_file_control(*ret, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserve);
	if (rc == SQLITE_OK)
		rc = run(*ret, "PRAGMA temp_store=MEMORY; PRAGMA page_size=4096; PRAGMA synchronous=FULL");
	if (rc == SQLITE_OK)
		rc = expect(*ret, "PRAGMA journal_mode=MEMORY", "memory");
	if (rc == SQLITE_OK)
		rc = run(*ret, "PRAGMA application_id=" APPLICATION_ID);
	return rc;
}

static int rename_in_place(struct making *m, struct hs_err *err)
{
	char parent[PATH_MAX];
	const char *slash = strrchr(m->path, '/');
	(void)snprintf(parent, sizeof parent, "%.*s", slash ? (int)HS_MAX(1, slash - m->path) : 1, slash ? m->path : ".");
	HS_FD_AUTO fd = open(m->temporary, O_RDWR | O_CLOEXEC);
	HS_FD_AUTO dir = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || dir < 0 || fsync(fd) < 0)
		return hs_fail_errno(err, -errno, "db.create", m->path);
	if (renameat2(AT_FDCWD, m->temporary, AT_FDCWD, m->path, RENAME_NOREPLACE) < 0)
		return hs_fail_errno(err, -errno, errno == EEXIST ? "db.exists" : "db.create", m->path);
	*m->temporary = '\0';
	if (fsync(dir) < 0)
		return hs_fail_errno(err, -errno, "db.create", m->path);
	return 0;
}

/* Go over to WAL, which page 1 then says for ever, close, and give it its name. */
static int complete(struct making *m, sqlite3 *db, int rc, struct hs_err *err)
{
	if (rc == SQLITE_OK)
		rc = expect(db, "PRAGMA journal_mode=WAL", "wal");
	if (rc != SQLITE_OK && db && sqlite3_extended_errcode(db) != SQLITE_OK)
		rc = sqlite3_extended_errcode(db);
	int closed = sqlite3_close(db);
	if (rc == SQLITE_OK)
		rc = closed;
	if (rc == SQLITE_OK && access(m->wal, F_OK) == 0)
		rc = SQLITE_IOERR_CLOSE; /* the last connection checkpoints and removes it, or something failed */
	if (rc != SQLITE_OK)
		return fail_sqlite(err, rc, m->path);
	hs_vfs_release(m->node);
	m->node = NULL;
	return rename_in_place(m, err);
}

int hs_db_create(const char *path, const struct hs_db_key *key, struct hs_err *err)
{
	HS_CLEANUP(abandon) struct making m;
	sqlite3 *db = NULL;
	int rc = begin(&m, path, key, err);
	if (rc < 0)
		return rc;
	rc = open_empty(&m, &db);
	return complete(&m, db, rc, err);
}

static int copy_pages(sqlite3 *from, sqlite3 *to)
{
	sqlite3_backup *b = sqlite3_backup_init(to, "main", from, "main");
	if (!b)
		return sqlite3_extended_errcode(to);
	int rc;
	do { /* some at a time, so that writers of the source are not kept waiting; it starts over where they changed pages */
		rc = sqlite3_backup_step(b, 1024);
		if (rc == SQLITE_BUSY || rc == SQLITE_LOCKED)
			(void)sqlite3_sleep(10);
	} while (rc == SQLITE_OK || rc == SQLITE_BUSY || rc == SQLITE_LOCKED);
	int finished = sqlite3_backup_finish(b);
	return rc == SQLITE_DONE ? finished : rc;
}

int hs_db_backup(sqlite3 *db, const char *path, const struct hs_db_key *key, struct hs_err *err)
{
	HS_CLEANUP(abandon) struct making m;
	sqlite3 *to = NULL;
	int rc = begin(&m, path, key, err);
	if (rc < 0)
		return rc;
	rc = open_empty(&m, &to);
	if (rc == SQLITE_OK)
		rc = copy_pages(db, to);
	return complete(&m, to, rc, err);
}

int hs_db_scrub(sqlite3 *db, struct hs_db_scrub *ret, struct hs_err *err)
{
	sqlite3_file *file = NULL;
	const char *path = sqlite3_db_filename(db, "main");
	int rc = sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
	if (rc == SQLITE_OK && file)
		rc = hs_vfs_scrub(file, ret);
	return rc == SQLITE_OK ? 0 : fail_sqlite(err, rc, path ? path : "");
}

int hs_dir_lock(const char *dir, struct hs_err *err)
{
	HS_FD_AUTO folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0)
		return hs_fail_errno(err, -errno, "dir.lock", dir);
	int fd = openat(folder, "owner.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return hs_fail_errno(err, -errno, "dir.lock", dir);
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	if (fcntl(fd, F_OFD_SETLK, &lock) < 0) {
		int rc = -errno;
		(void)close(fd); /* nothing was written */
		if (rc == -EAGAIN || rc == -EACCES)
			return hs_fail(err, EBUSY, "dir.owned", HS_N_("Another process of Hisho uses this folder. Stop it first."), "%s", dir);
		return hs_fail_errno(err, rc, "dir.lock", dir);
	}
	return fd;
}
