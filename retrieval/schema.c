#include "retrieval/schema.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "policy/schema.h"

int hs_sql_fail(sqlite3 *db, const char *what, struct hs_err *err)
{
	int rc = sqlite3_extended_errcode(db);

	switch (rc == SQLITE_IOERR_DATA ? SQLITE_CORRUPT : rc & 0xff) { /* a page that does not authenticate */
	case SQLITE_NOMEM:
		return hs_fail(err, ENOMEM, "store.memory", HS_N_("There is not enough memory."), "%s", what);
	case SQLITE_FULL:
		return hs_fail(err, ENOSPC, "store.full", HS_N_("The disk is full; nothing was lost. Make room and try again."),
			       "%s", what);
	case SQLITE_INTERRUPT:
		return hs_fail(err, ECANCELED, "store.cancelled", HS_N_("The request was cancelled."), "%s", what);
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return hs_fail(err, EBADMSG, "store.corrupt", HS_N_("The database is damaged; restore it from a backup."),
			       "%s (%d)", what, rc);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return hs_fail(err, EBUSY, "store.busy", HS_N_("The database is in use by another writer."), "%s", what);
	default:
		return hs_fail(err, EIO, "store.sql", HS_N_("The database refused an operation; see the disk's health."),
			       "%s: %s (%d)", what, sqlite3_errstr(rc), rc);
	}
}

int hs_sql_exec(sqlite3 *db, const char *sql, struct hs_err *err)
{
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return hs_sql_fail(db, "exec", err);
	return 0;
}

/*
 * Version 1. Times are UTC milliseconds; 0 stands for "never" or "not". Public ids are TEXT, integers are for joins only.
 * Texts of chunks lie in a table of their own, so that loading what ranking needs does not read them.
 */
static const char *const version_1[] = {
	"CREATE TABLE meta(key TEXT PRIMARY KEY NOT NULL, value) WITHOUT ROWID",

	"CREATE TABLE generations("
	" id INTEGER PRIMARY KEY, dict_hash BLOB NOT NULL, normalizer INTEGER NOT NULL, created INTEGER NOT NULL)",

	"CREATE TABLE blobs("
	" id INTEGER PRIMARY KEY, public TEXT NOT NULL UNIQUE, wrapped BLOB NOT NULL, length INTEGER NOT NULL,"
	" hash BLOB NOT NULL, key_generation INTEGER NOT NULL)",

	"CREATE TABLE documents("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, public TEXT NOT NULL UNIQUE, class_id INTEGER NOT NULL, title TEXT NOT NULL,"
	" sender TEXT NOT NULL, source TEXT NOT NULL, version INTEGER NOT NULL DEFAULT 0, created INTEGER NOT NULL,"
	" updated INTEGER NOT NULL, expires INTEGER NOT NULL DEFAULT 0, deleted INTEGER NOT NULL DEFAULT 0, content_mac BLOB)",
	"CREATE UNIQUE INDEX documents_source ON documents(sender, source) WHERE deleted = 0 AND source <> ''",
	"CREATE INDEX documents_deleted ON documents(deleted) WHERE deleted <> 0",
	"CREATE INDEX documents_expires ON documents(expires) WHERE expires <> 0 AND deleted = 0",
	"CREATE INDEX documents_class ON documents(class_id, id) WHERE deleted = 0",

	"CREATE TABLE versions("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, public TEXT NOT NULL UNIQUE, document INTEGER NOT NULL REFERENCES documents(id),"
	" number INTEGER NOT NULL, submission TEXT NOT NULL, canonical INTEGER NOT NULL REFERENCES blobs(id),"
	" original INTEGER REFERENCES blobs(id), text_hash BLOB NOT NULL, length INTEGER NOT NULL, n_chunks INTEGER NOT NULL,"
	" n_pages INTEGER NOT NULL, format TEXT NOT NULL, charset TEXT NOT NULL, extractor TEXT NOT NULL,"
	" generation INTEGER NOT NULL REFERENCES generations(id), created INTEGER NOT NULL, replaced INTEGER NOT NULL DEFAULT 0,"
	" title TEXT NOT NULL, UNIQUE(document, number))",
	"CREATE INDEX versions_replaced ON versions(replaced) WHERE replaced <> 0",

	"CREATE TABLE extents(extent INTEGER PRIMARY KEY, class_id INTEGER NOT NULL, used INTEGER NOT NULL)",

	"CREATE TABLE chunks("
	" ordinal INTEGER PRIMARY KEY, document INTEGER NOT NULL, version INTEGER NOT NULL, idx INTEGER NOT NULL,"
	" start INTEGER NOT NULL, end INTEGER NOT NULL, page INTEGER NOT NULL, words INTEGER NOT NULL, bigrams INTEGER NOT NULL,"
	" dead INTEGER NOT NULL DEFAULT 0)",
	"CREATE INDEX chunks_document ON chunks(document, idx)",
	"CREATE INDEX chunks_dead ON chunks(dead) WHERE dead <> 0",
	"CREATE TABLE chunk_texts(ordinal INTEGER PRIMARY KEY, head TEXT NOT NULL, context TEXT NOT NULL, text TEXT NOT NULL)",
	"CREATE VIRTUAL TABLE chunks_fts USING fts5(head, text, content='', columnsize=0, tokenize='hisho')",

	"CREATE TABLE segments("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, level INTEGER NOT NULL, generation INTEGER NOT NULL, hash BLOB NOT NULL,"
	" data BLOB NOT NULL)",

	"CREATE TABLE vector_models("
	" id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, dimensions INTEGER NOT NULL, used INTEGER NOT NULL,"
	" created INTEGER NOT NULL)",
	"CREATE TABLE vectors("
	" model INTEGER NOT NULL, ordinal INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY(model, ordinal)) WITHOUT ROWID",

	"CREATE TABLE jobs("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, public TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, state INTEGER NOT NULL,"
	" by TEXT NOT NULL, name TEXT NOT NULL, blob INTEGER REFERENCES blobs(id), detail BLOB, document TEXT NOT NULL DEFAULT '',"
	" attempts INTEGER NOT NULL DEFAULT 0, not_before INTEGER NOT NULL DEFAULT 0, error_code TEXT NOT NULL DEFAULT '',"
	" error_object TEXT NOT NULL DEFAULT '', created INTEGER NOT NULL, updated INTEGER NOT NULL)",
	"CREATE INDEX jobs_open ON jobs(state, id) WHERE state < 2",

	"CREATE TABLE conversations("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, public TEXT NOT NULL UNIQUE, user TEXT NOT NULL, title TEXT NOT NULL,"
	" created INTEGER NOT NULL, updated INTEGER NOT NULL, deleted INTEGER NOT NULL DEFAULT 0)",
	"CREATE INDEX conversations_user ON conversations(user, updated) WHERE deleted = 0",
	"CREATE TABLE messages("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, public TEXT NOT NULL UNIQUE, conversation INTEGER NOT NULL"
	" REFERENCES conversations(id) ON DELETE CASCADE, role INTEGER NOT NULL, text TEXT NOT NULL, created INTEGER NOT NULL)",
	"CREATE INDEX messages_conversation ON messages(conversation, id)",
	"CREATE TABLE answers("
	" message INTEGER PRIMARY KEY REFERENCES messages(id) ON DELETE CASCADE, request TEXT NOT NULL, model TEXT NOT NULL,"
	" outcome INTEGER NOT NULL, audit_seq INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, answer_tokens INTEGER NOT NULL,"
	" hash BLOB NOT NULL)",
	"CREATE TABLE citations("
	" message INTEGER NOT NULL REFERENCES messages(id) ON DELETE CASCADE, number INTEGER NOT NULL, answer_start INTEGER NOT NULL,"
	" answer_end INTEGER NOT NULL, document TEXT NOT NULL, version TEXT NOT NULL, start INTEGER NOT NULL,"
	" end INTEGER NOT NULL, page INTEGER NOT NULL, PRIMARY KEY(message, number, answer_start)) WITHOUT ROWID",
	"CREATE TABLE feedback("
	" message INTEGER NOT NULL REFERENCES messages(id) ON DELETE CASCADE, user TEXT NOT NULL, value INTEGER NOT NULL,"
	" comment TEXT NOT NULL, created INTEGER NOT NULL, PRIMARY KEY(message, user)) WITHOUT ROWID",

	"INSERT INTO meta VALUES('commit_seq', 0), ('clock_high', 0)",
};

/*
 * Version 2: conversations have routes. Version 1 made their tables and no program of it wrote a row, so they are made anew:
 * `bytes` for the limits; no `deleted` (a deleted conversation's rows go at once); what was cited is found by version, so
 * that purging a document blanks the sentences that rest on it.
 */
static const char *const version_2[] = {
	"DROP TABLE feedback",
	"DROP TABLE citations",
	"DROP TABLE answers",
	"DROP TABLE messages",
	"DROP TABLE conversations",

	"CREATE TABLE conversations("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, public TEXT NOT NULL UNIQUE, user TEXT NOT NULL, title TEXT NOT NULL,"
	" bytes INTEGER NOT NULL, created INTEGER NOT NULL, updated INTEGER NOT NULL)",
	"CREATE INDEX conversations_user ON conversations(user, updated)",
	"CREATE INDEX conversations_updated ON conversations(updated)",
	"CREATE TABLE messages("
	" id INTEGER PRIMARY KEY AUTOINCREMENT, public TEXT NOT NULL UNIQUE, conversation INTEGER NOT NULL"
	" REFERENCES conversations(id) ON DELETE CASCADE, role INTEGER NOT NULL, text TEXT NOT NULL, created INTEGER NOT NULL)",
	"CREATE INDEX messages_conversation ON messages(conversation, id)",
	"CREATE TABLE answers("
	" message INTEGER PRIMARY KEY REFERENCES messages(id) ON DELETE CASCADE, request TEXT NOT NULL, model TEXT NOT NULL,"
	" outcome INTEGER NOT NULL, audit_seq INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, answer_tokens INTEGER NOT NULL,"
	" hash BLOB NOT NULL)",
	"CREATE TABLE citations("
	" message INTEGER NOT NULL REFERENCES messages(id) ON DELETE CASCADE, number INTEGER NOT NULL, answer_start INTEGER NOT NULL,"
	" answer_end INTEGER NOT NULL, document TEXT NOT NULL, version TEXT NOT NULL, start INTEGER NOT NULL,"
	" end INTEGER NOT NULL, page INTEGER NOT NULL, PRIMARY KEY(message, answer_start)) WITHOUT ROWID",
	"CREATE INDEX citations_version ON citations(version)",
	"CREATE TABLE feedback("
	" message INTEGER PRIMARY KEY REFERENCES messages(id) ON DELETE CASCADE, user TEXT NOT NULL, value INTEGER NOT NULL,"
	" reason TEXT NOT NULL, comment TEXT NOT NULL, share INTEGER NOT NULL, created INTEGER NOT NULL)",
	"CREATE INDEX feedback_created ON feedback(created, message)",
};

/* Version 3: failed jobs are counted, listed, and forgotten with their source, without walking those that are done. */
static const char *const version_3[] = {
	"ALTER TABLE jobs ADD COLUMN waits INTEGER NOT NULL DEFAULT 0",
	"CREATE INDEX jobs_failed ON jobs(state, id) WHERE state = 3",
	"CREATE INDEX jobs_failed_source ON jobs(by, name, id) WHERE state = 3",
};

/* Version 4: the oldest of those that are done are found. */
static const char *const version_4[] = {
	"CREATE INDEX jobs_done ON jobs(updated, id) WHERE state = 2",
};

/*
 * Version 5: small blobs lie in the database, where a document's transaction syncs them: no file to make, to sync and to sweep.
 * FTS5's leaves fit into a page of 4,032 bytes that are ours, and are merged by eights, as the postings are: half the writing.
 */
static const char *const version_5[] = {
	"CREATE TABLE blob_bytes(blob INTEGER PRIMARY KEY REFERENCES blobs(id) ON DELETE CASCADE, sealed BLOB NOT NULL)",
	"INSERT INTO chunks_fts(chunks_fts, rank) VALUES('pgsz', 3968)",
	"INSERT INTO chunks_fts(chunks_fts, rank) VALUES('automerge', 8)",
};

static const struct {
	const char *const *statements;
	size_t count;
} migrations[HS_SCHEMA_VERSION] = {
	{version_1, HS_ARRAY_LEN(version_1)},
	{version_2, HS_ARRAY_LEN(version_2)},
	{version_3, HS_ARRAY_LEN(version_3)},
	{version_4, HS_ARRAY_LEN(version_4)},
	{version_5, HS_ARRAY_LEN(version_5)},
};

static int read_pragma(sqlite3 *db, const char *sql, int64_t *ret, struct hs_err *err)
{
	sqlite3_stmt *st = NULL;
	int rc = 0;

	if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK || sqlite3_step(st) != SQLITE_ROW)
		rc = hs_sql_fail(db, "schema", err);
	else
		*ret = sqlite3_column_int64(st, 0);
	sqlite3_finalize(st);
	return rc;
}

int hs_schema_prepare(sqlite3 *db, struct hs_err *err)
{
	int on = 0;

	(void)sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, &on);
	(void)sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, &on);
	(void)sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0, &on);
	return hs_sql_exec(db, "PRAGMA temp_store=MEMORY; PRAGMA secure_delete=ON; PRAGMA foreign_keys=ON; "
			       "PRAGMA cell_size_check=ON; PRAGMA mmap_size=0", err);
}

static int run_migrations(sqlite3 *db, int64_t from, struct hs_err *err)
{
	char sql[96];
	int rc = hs_policy_schema_migrate(db, err);

	for (int64_t v = from; rc == 0 && v < HS_SCHEMA_VERSION; v++)
		for (size_t i = 0; rc == 0 && i < migrations[v].count; i++)
			rc = hs_sql_exec(db, migrations[v].statements[i], err);
	if (rc < 0 || from == HS_SCHEMA_VERSION)
		return rc;
	(void)snprintf(sql, sizeof(sql), "PRAGMA user_version=%d; PRAGMA application_id=%d", HS_SCHEMA_VERSION,
		       HS_SCHEMA_APPLICATION_ID);
	return hs_sql_exec(db, sql, err);
}

int hs_schema_migrate(sqlite3 *db, struct hs_err *err)
{
	int64_t version, application, tables;
	int rc;

	rc = hs_sql_exec(db, "BEGIN IMMEDIATE", err);
	if (rc < 0)
		return rc;
	rc = read_pragma(db, "PRAGMA user_version", &version, err);
	if (rc == 0)
		rc = read_pragma(db, "PRAGMA application_id", &application, err);
	if (rc == 0)
		rc = read_pragma(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'documents'", &tables, err);
	if (rc == 0 && version > HS_SCHEMA_VERSION)
		rc = hs_fail(err, ENOTSUP, "store.schema_newer",
			     HS_N_("A newer Hisho wrote this database. Start that version, or restore an older backup."),
			     "schema %lld, this program knows %d", (long long)version, HS_SCHEMA_VERSION);
	else if (rc == 0 && (version < 0 || (version == 0 && tables != 0) || (version > 0 && application != HS_SCHEMA_APPLICATION_ID)))
		rc = hs_fail(err, EBADMSG, "store.foreign", HS_N_("This is not a database of Hisho."), "application %lld, schema %lld",
			     (long long)application, (long long)version);
	if (rc == 0)
		rc = run_migrations(db, version, err);
	if (rc == 0)
		rc = hs_sql_exec(db, "COMMIT", err);
	if (rc < 0)
		(void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL); /* the first error is the one to tell */
	return rc;
}
