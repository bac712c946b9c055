#include "policy/senders.h"

#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "base/utf8.h"
#include "policy/db.h"

static int sender_row(sqlite3_stmt *s, struct hs_sender *ret)
{
	struct hs_sender x = {0};
	int rc = hs_pdb_text(s, 0, x.id.s, sizeof(x.id.s));
	if (!rc)
		rc = hs_pdb_text(s, 1, x.name, sizeof(x.name));
	if (!rc && sqlite3_column_bytes(s, 2) != (int)sizeof(x.key))
		rc = -EIO;
	if (rc)
		return rc;
	memcpy(x.key, sqlite3_column_blob(s, 2), sizeof(x.key));
	x.created = sqlite3_column_int64(s, 3);
	x.revoked = sqlite3_column_int64(s, 4);
	*ret = x;
	return 0;
}

#define SENDER_COLUMNS "id, name, key, created, revoked"

int hs_sender_add(sqlite3 *db, const char *name, const uint8_t key[static HS_SENDER_KEY_LEN], const char *const *collections,
		  size_t n_collections, int64_t now_ms, struct hs_id *ret, struct hs_err *err)
{
	int64_t n, found;
	if (!hs_policy_name_ok(name, strlen(name)) || !strncmp(name, "snd_", 4))
		return hs_fail(err, EINVAL, "sender.name",
			       HS_N_("A name is 1 to 128 bytes, without control characters or spaces at its ends."), "%s", name);
	int rc = hs_pdb_int(db, &n, "SELECT count(*) FROM senders", "");
	if (!rc && n >= HS_SENDERS_MAX)
		return hs_fail(err, ENOSPC, "sender.limit", HS_N_("A tenant has at most 1024 senders."), "%s", name);
	struct hs_id id = hs_id_new("snd_");
	HS_PDB_SAVEPOINT sp = {0};
	if (!rc)
		rc = hs_pdb_begin(&sp, db);
	if (!rc)
		rc = hs_pdb_run(db, "INSERT INTO senders(id, name, key, any_collection, created) VALUES (?, ?, ?, ?, ?)", "ttbii",
				id.s, name, key, (size_t)HS_SENDER_KEY_LEN, (int64_t)(n_collections == 0), now_ms);
	if (rc == -EEXIST)
		return hs_fail(err, EEXIST, "sender.exists",
			       HS_N_("A sender of that name or key was registered before; make a new key with another name."), "%s",
			       name);
	for (size_t i = 0; !rc && i < n_collections; i++) {
		rc = hs_pdb_int(db, &found, "SELECT 1 FROM policy_collections WHERE name = ?", "t", collections[i]);
		if (rc == -ENOENT)
			return hs_fail(err, EINVAL, "class.collection",
				       HS_N_("The policy declares no such name; add it there or use another."), "%s",
				       collections[i]);
		if (!rc)
			rc = hs_pdb_run(db, "INSERT OR IGNORE INTO sender_collections VALUES (?, ?)", "tt", id.s, collections[i]);
	}
	if (!rc)
		rc = hs_pdb_commit(&sp);
	if (rc)
		return hs_fail_errno(err, rc, "policy.database", "senders");
	*ret = id;
	return 0;
}

int hs_sender_revoke(sqlite3 *db, const char *id_or_name, int64_t now_ms, struct hs_err *err)
{
	int64_t found;
	int rc = hs_pdb_int(db, &found, "SELECT 1 FROM senders WHERE id = ?1 OR name = ?1", "t", id_or_name);
	if (rc == -ENOENT)
		return hs_fail(err, ENOENT, "sender.unknown", HS_N_("No such sender is registered."), "%s", id_or_name);
	if (!rc)
		rc = hs_pdb_run(db, "UPDATE senders SET revoked = ?2 WHERE (id = ?1 OR name = ?1) AND revoked = 0", "ti", id_or_name,
				now_ms);
	return rc ? hs_fail_errno(err, rc, "policy.database", "senders") : 0;
}

int hs_sender_each(sqlite3 *db, int (*fn)(void *ctx, const struct hs_sender *s), void *ctx)
{
	HS_PDB_STMT s = NULL;
	struct hs_sender x;
	int rc = hs_pdb_query(db, &s, "SELECT " SENDER_COLUMNS " FROM senders ORDER BY name", "");
	while (!rc && (rc = hs_pdb_step(s)) == 1) {
		rc = sender_row(s, &x);
		if (!rc)
			rc = fn(ctx, &x);
	}
	return rc;
}

int hs_sender_by_key(sqlite3 *db, const uint8_t key[static HS_SENDER_KEY_LEN], struct hs_sender *ret, struct hs_err *err)
{
	HS_PDB_STMT s = NULL;
	struct hs_sender x;
	int rc = hs_pdb_query(db, &s, "SELECT " SENDER_COLUMNS " FROM senders WHERE key = ?", "b", key, (size_t)HS_SENDER_KEY_LEN);
	if (!rc)
		rc = hs_pdb_step(s);
	if (rc == 0)
		return hs_fail(err, EACCES, "sender.unknown", HS_N_("Register the sender's public key first: `hisho sender add`."),
			       "sender");
	if (rc == 1)
		rc = sender_row(s, &x);
	if (rc)
		return hs_fail_errno(err, rc, "policy.database", "senders");
	if (x.revoked)
		return hs_fail(err, EACCES, "sender.revoked", HS_N_("The sender's key was revoked; register a new one."), "%s",
			       x.id.s);
	*ret = x;
	return 0;
}

int hs_sender_may_file(sqlite3 *db, const struct hs_id *sender, const char *collection, struct hs_err *err)
{
	int64_t may;
	int rc = hs_pdb_int(db, &may,
			    "SELECT any_collection OR EXISTS (SELECT 1 FROM sender_collections c WHERE c.sender = s.id AND"
			    " c.collection = ?2) FROM senders s WHERE id = ?1 AND revoked = 0",
			    "tt", sender->s, collection);
	if (rc == -ENOENT || (!rc && !may))
		return hs_fail(err, EACCES, "sender.collection", HS_N_("The sender may not file under this collection."), "%s: %s",
			       sender->s, collection);
	return rc ? hs_fail_errno(err, rc, "policy.database", "senders") : 0;
}

int hs_source_sequence(sqlite3 *db, const struct hs_id *sender, const char *source, size_t source_len, uint64_t *ret)
{
	int64_t sequence;
	int rc = hs_pdb_int(db, &sequence, "SELECT sequence FROM sources WHERE sender = ? AND source = CAST(? AS TEXT)", "tb",
			    sender->s, source, source_len);
	if (rc == -ENOENT)
		sequence = 0;
	else if (rc)
		return rc;
	*ret = (uint64_t)sequence;
	return 0;
}

static int check_shape(const struct hs_submission *s, struct hs_err *err)
{
	if (!hs_id_valid(s->id, strlen(s->id), "sub_"))
		return hs_fail(err, EINVAL, "submission.id", HS_N_("A submission's id is sub_ and 26 characters."), "%s", s->id);
	if (s->source_len == 0 || s->source_len > HS_SOURCE_ID_MAX || !hs_utf8_valid(s->source, s->source_len, NULL) ||
	    memchr(s->source, 0, s->source_len))
		return hs_fail(err, EINVAL, "submission.source", HS_N_("A source's id is 1 to 128 bytes of UTF-8."), "%s", s->id);
	if (s->sequence == 0 || s->sequence > INT64_MAX)
		return hs_fail(err, EINVAL, "submission.sequence", HS_N_("A sequence begins at 1 and rises."), "%s", s->id);
	return 0;
}

int hs_submission_check(sqlite3 *db, const struct hs_submission *s, struct hs_err *err)
{
	HS_PDB_STMT known = NULL;
	uint64_t last;
	int rc = check_shape(s, err);
	if (rc)
		return rc;
	rc = hs_pdb_query(db, &known, "SELECT manifest, sender FROM submissions WHERE id = ?", "t", s->id);
	if (!rc)
		rc = hs_pdb_step(known);
	if (rc == 1) {
		const void *hash = sqlite3_column_blob(known, 0);
		const char *sender = (const char *)sqlite3_column_text(known, 1);
		if (sqlite3_column_bytes(known, 0) == HS_MANIFEST_HASH_LEN && sender && !strcmp(sender, s->sender->s) &&
		    sodium_memcmp(hash, s->manifest_hash, HS_MANIFEST_HASH_LEN) == 0)
			return hs_fail(err, EALREADY, "submission.known", HS_N_("This submission was accepted before."), "%s",
				       s->id);
		return hs_fail(err, ESTALE, "submission.replayed",
			       HS_N_("Another submission has this id already; seal the document again."), "%s", s->id);
	}
	if (!rc)
		rc = hs_source_sequence(db, s->sender, s->source, s->source_len, &last);
	if (rc)
		return hs_fail_errno(err, rc, "policy.database", "submissions");
	if (s->sequence <= last)
		return hs_fail(err, ESTALE, "submission.replayed",
			       HS_N_("The source has sent a later submission already; seal the document again."),
			       "%s: sequence %llu, last %llu", s->id, (unsigned long long)s->sequence, (unsigned long long)last);
	return 0;
}

int hs_submission_admit(sqlite3 *db, const struct hs_submission *s, int64_t now_ms, struct hs_err *err)
{
	int64_t standing;
	int rc = hs_submission_check(db, s, err);
	if (rc)
		return rc;
	rc = hs_pdb_int(db, &standing, "SELECT revoked = 0 FROM senders WHERE id = ?", "t", s->sender->s);
	if (rc == -ENOENT || (!rc && !standing))
		return hs_fail(err, EACCES, "sender.revoked", HS_N_("The sender's key was revoked; register a new one."), "%s",
			       s->sender->s);
	HS_PDB_SAVEPOINT sp = {0};
	if (!rc)
		rc = hs_pdb_begin(&sp, db);
	if (!rc)
		rc = hs_pdb_run(db,
				"INSERT INTO sources VALUES (?, CAST(? AS TEXT), ?, ?) ON CONFLICT DO UPDATE SET"
				" sequence = excluded.sequence, at = excluded.at",
				"tbii", s->sender->s, s->source, s->source_len, (int64_t)s->sequence, now_ms);
	if (!rc)
		rc = hs_pdb_run(db, "INSERT INTO submissions VALUES (?, ?, CAST(? AS TEXT), ?, ?, ?)", "ttbibi", s->id,
				s->sender->s, s->source, s->source_len, (int64_t)s->sequence, s->manifest_hash,
				(size_t)HS_MANIFEST_HASH_LEN, now_ms);
	if (!rc)
		rc = hs_pdb_commit(&sp);
	return rc ? hs_fail_errno(err, rc, "policy.database", "submissions") : 0;
}
