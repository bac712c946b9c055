/* Reading documents' rows: what a grant sees, one version behind the last gate, ids for those who administer. */
#include <errno.h>
#include <string.h>

#include "policy/schema.h"
#include "retrieval/reading.h"
#include "retrieval/internal.h"
#include "retrieval/schema.h"

int hs_reading_begin(struct hs_reader *r, const struct hs_grant *g, int64_t now_ms, struct hs_err *err)
{
	uint64_t epoch;
	int rc = hs_sql_exec(r->db, "BEGIN", err);

	if (rc < 0)
		return rc;
	rc = hs_policy_epoch(r->db, &epoch);
	if (rc < 0)
		rc = hs_fail_errno(err, rc, "store.sql", "policy epoch");
	else if (!hs_grant_current(g, epoch, now_ms))
		rc = hs_fail(err, ESTALE, "grant.stale", HS_N_("The policy changed or the grant expired: ask again."), "grant");
	if (rc < 0)
		hs_reading_end(r);
	return rc;
}

void hs_reading_end(struct hs_reader *r)
{
	if (!sqlite3_get_autocommit(r->db))
		(void)sqlite3_exec(r->db, "COMMIT", NULL, NULL, NULL); /* only read: nothing to lose */
}

bool hs_reading_allows(const struct hs_grant *g, enum hs_right right, int64_t class_id, int64_t deleted, int64_t expires,
		    int64_t now_ms)
{
	return class_id >= 1 && class_id <= HS_CLASSES_MAX && deleted == 0 && (expires == 0 || expires > now_ms) &&
	       hs_grant_allows(g, (uint32_t)class_id, right);
}

#define ROW_COLUMNS                                                                                                    \
	"d.public, v.public, d.class_id, d.title, v.format, d.created, d.updated, d.expires, v.length, v.n_chunks, v.n_pages, d.deleted"

static void read_row(sqlite3_stmt *st, struct hs_document_row *row)
{
	*row = (struct hs_document_row){
		.class_id = (uint32_t)sqlite3_column_int64(st, 2),
		.created = sqlite3_column_int64(st, 5),
		.updated = sqlite3_column_int64(st, 6),
		.expires = sqlite3_column_int64(st, 7),
		.length = (uint64_t)sqlite3_column_int64(st, 8),
		.n_chunks = (uint32_t)sqlite3_column_int64(st, 9),
		.n_pages = (uint32_t)sqlite3_column_int64(st, 10),
	};
	hs_column_text(st, 0, row->document.s, sizeof(row->document.s));
	hs_column_text(st, 1, row->version.s, sizeof(row->version.s));
	hs_column_text(st, 3, row->title, sizeof(row->title));
	hs_column_text(st, 4, row->format, sizeof(row->format));
}

static const char list_sql[] =
	"SELECT " ROW_COLUMNS " FROM documents d JOIN versions v ON v.id = d.version"
	" WHERE d.deleted = 0 AND d.id < ?1"
	" ORDER BY d.id DESC";

/* The key of the document that a page goes on behind; of one that is not listed nothing is told. */
static int find_after(struct hs_reader *r, const struct hs_grant *g, int64_t now_ms, const char *after, int64_t *ret,
		      struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(&r->statements, "SELECT id, class_id, deleted, expires FROM documents WHERE public = ?1", err);
	int rc = st ? hs_bind(st, "t", after) : -EIO;

	if (rc == 0)
		rc = hs_step(st, err);
	if (rc < 0)
		return rc;
	int64_t deleted = sqlite3_column_int64(st, 2);
	if (rc == 0 || (g ? !hs_reading_allows(g, HS_RIGHT_ASK, sqlite3_column_int64(st, 1), deleted, sqlite3_column_int64(st, 3), now_ms)
			  : deleted != 0))
		return hs_fail(err, ENOENT, "doc.unknown", HS_N_("There is no such document."), "%.64s", after);
	*ret = sqlite3_column_int64(st, 0);
	return 0;
}

/* g NULL: all of them, without titles. */
static int list(struct hs_reader *r, const struct hs_grant *g, int64_t now_ms, const char *after, size_t limit,
		int (*fn)(void *ctx, const struct hs_document_row *row), void *ctx, struct hs_err *err)
{
	struct hs_document_row row;
	int64_t before = INT64_MAX;
	int rc = *after ? find_after(r, g, now_ms, after, &before, err) : 0;

	if (rc < 0)
		return rc;

	HS_STMT_AUTO *st = hs_statement(&r->statements, list_sql, err);

	rc = st ? hs_bind(st, "i", before) : -EIO;

	for (size_t n = 0; rc == 0 && n < limit && (rc = hs_step(st, err)) > 0;) {
		rc = 0;
		read_row(st, &row);
		if (g && !hs_reading_allows(g, HS_RIGHT_ASK, row.class_id, sqlite3_column_int64(st, 11), row.expires, now_ms))
			continue;
		if (!g)
			row.title[0] = 0;
		rc = fn(ctx, &row);
		n++;
	}
	return rc;
}

int hs_store_list(struct hs_reader *r, const struct hs_grant *g, int64_t now_ms, const char *after, size_t limit,
		  int (*fn)(void *ctx, const struct hs_document_row *row), void *ctx, struct hs_err *err)
{
	int rc = hs_reading_begin(r, g, now_ms, err);

	if (rc < 0)
		return rc;
	rc = list(r, g, now_ms, after, limit, fn, ctx, err);
	hs_reading_end(r);
	return rc;
}

int hs_store_admin_list(struct hs_reader *r, const char *after, size_t limit,
			int (*fn)(void *ctx, const struct hs_document_row *row), void *ctx, struct hs_err *err)
{
	return list(r, NULL, 0, after, limit, fn, ctx, err);
}

int hs_store_admin_find(struct hs_reader *r, const char *document, struct hs_document_row *ret, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(&r->statements,
					"SELECT " ROW_COLUMNS " FROM documents d JOIN versions v ON v.id = d.version"
					" WHERE d.public = ?1 AND d.deleted = 0", err);
	int rc = st ? hs_bind(st, "t", document) : -EIO;

	if (rc == 0)
		rc = hs_step(st, err);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return hs_fail(err, ENOENT, "doc.unknown", HS_N_("There is no such document."), "%s", document);
	read_row(st, ret);
	ret->title[0] = 0;
	return 0;
}

static int read_blob(struct hs_reader *r, int64_t id, struct hs_blob_row *ret, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(&r->statements,
					"SELECT public, wrapped, length, hash, key_generation,"
					" EXISTS(SELECT 1 FROM blob_bytes WHERE blob = id) FROM blobs WHERE id = ?1", err);
	int rc = st ? hs_bind(st, "i", id) : -EIO;
	int n;

	if (rc == 0)
		rc = hs_step(st, err);
	if (rc < 0)
		return rc;
	n = rc > 0 ? sqlite3_column_bytes(st, 1) : 0;
	if (n < 1 || n > HS_STORE_WRAPPED_MAX || sqlite3_column_bytes(st, 3) != HS_STORE_HASH_LEN)
		return hs_fail(err, EBADMSG, "blob.row", HS_N_("The database is damaged; restore it from a backup."), "blob %lld",
			       (long long)id);
	*ret = (struct hs_blob_row){.wrapped_len = (size_t)n, .length = (uint64_t)sqlite3_column_int64(st, 2),
				    .key_generation = (uint32_t)sqlite3_column_int64(st, 4), .inside = sqlite3_column_int(st, 5)};
	hs_column_text(st, 0, ret->id.s, sizeof(ret->id.s));
	memcpy(ret->wrapped, sqlite3_column_blob(st, 1), ret->wrapped_len);
	memcpy(ret->hash, sqlite3_column_blob(st, 3), HS_STORE_HASH_LEN);
	return 0;
}

int hs_store_blob_bytes(struct hs_reader *r, const struct hs_id *id, struct hs_buf *out, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(&r->statements,
					"SELECT sealed FROM blob_bytes WHERE blob = (SELECT id FROM blobs WHERE public = ?1)", err);
	int rc = st ? hs_bind(st, "t", id->s) : -EIO;

	if (rc == 0)
		rc = hs_step(st, err);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return hs_fail(err, ENOENT, "blob.missing", "", "%s", id->s);
	return hs_buf_append(out, sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0));
}

static int unknown(const char *id, struct hs_err *err)
{
	return hs_fail(err, ENOENT, "doc.unknown", HS_N_("There is no such document."), "%s", id);
}

static int version_row(struct hs_reader *r, const struct hs_grant *g, enum hs_right right, int64_t now_ms, const char *id,
		       struct hs_version_row *ret, struct hs_err *err)
{
	HS_STMT_AUTO *st = hs_statement(&r->statements,
					"SELECT d.public, v.public, d.class_id, v.title, v.format, v.length, v.n_pages, v.replaced, v.text_hash,"
					" v.canonical, v.original, d.deleted, d.expires FROM versions v JOIN documents d ON d.id = v.document"
					" WHERE v.id = coalesce((SELECT id FROM versions WHERE public = ?1),"
					" (SELECT version FROM documents WHERE public = ?1))", err);
	int rc = st ? hs_bind(st, "t", id) : -EIO;

	if (rc == 0)
		rc = hs_step(st, err);
	if (rc < 0)
		return rc;
	if (rc == 0 || !hs_reading_allows(g, right, sqlite3_column_int64(st, 2), sqlite3_column_int64(st, 11),
				       sqlite3_column_int64(st, 12), now_ms))
		return unknown(id, err);
	if (sqlite3_column_bytes(st, 8) != HS_STORE_HASH_LEN)
		return hs_fail(err, EBADMSG, "doc.row", HS_N_("The database is damaged; restore it from a backup."), "%s", id);
	*ret = (struct hs_version_row){.class_id = (uint32_t)sqlite3_column_int64(st, 2),
				       .length = (uint64_t)sqlite3_column_int64(st, 5),
				       .n_pages = (uint32_t)sqlite3_column_int64(st, 6),
				       .present = sqlite3_column_int64(st, 7) == 0};
	hs_column_text(st, 0, ret->document.s, sizeof(ret->document.s));
	hs_column_text(st, 1, ret->version.s, sizeof(ret->version.s));
	hs_column_text(st, 3, ret->title, sizeof(ret->title));
	hs_column_text(st, 4, ret->format, sizeof(ret->format));
	memcpy(ret->text_hash, sqlite3_column_blob(st, 8), HS_STORE_HASH_LEN);
	rc = read_blob(r, sqlite3_column_int64(st, 9), &ret->canonical, err);
	if (rc == 0 && sqlite3_column_type(st, 10) != SQLITE_NULL)
		rc = read_blob(r, sqlite3_column_int64(st, 10), &ret->original, err);
	return rc;
}

int hs_store_version(struct hs_reader *r, const struct hs_grant *g, enum hs_right right, int64_t now_ms, const char *id,
		     struct hs_version_row *ret, struct hs_err *err)
{
	struct hs_version_row row;
	int rc = hs_reading_begin(r, g, now_ms, err);

	if (rc < 0)
		return rc;
	rc = version_row(r, g, right, now_ms, id, &row, err);
	hs_reading_end(r);
	if (rc == 0)
		*ret = row;
	return rc;
}
