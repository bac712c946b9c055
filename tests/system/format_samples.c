/*
 * Writes one of each of the storage formats into the folder that it is given, for 10-formats.py to decode: a root secret, a
 * keyring, a database with its log as a kill would leave them, a blob, a manifest with its sealed document.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "base/buf.h"
#include "base/file.h"
#include "crypto/age.h"
#include "crypto/blob.h"
#include "crypto/keyring.h"
#include "crypto/manifest.h"
#include "crypto/payload.h"

static void check(int rc, const struct hs_err *err, const char *what)
{
	char text[512];
	if (rc >= 0)
		return;
	fprintf(stderr, "%s: %d %s\n", what, rc, hs_err_text(err, text, sizeof text));
	exit(1);
}

static void copy(int dir, const char *from, const char *to)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	check(hs_file_read(dir, from, 1u << 30, &b), &HS_ERR_INIT, from);
	check(hs_file_replace(dir, to, b.data, b.len, 0600), &HS_ERR_INIT, to);
}

static void run(sqlite3 *db, const char *sql)
{
	if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) {
		fprintf(stderr, "%s: %s\n", sql, sqlite3_errmsg(db));
		exit(1);
	}
}

static void database(int dir, const struct hs_key *tenant, const struct hs_keyring_tenant *t)
{
	struct hs_err err = HS_ERR_INIT;
	HS_KEY_AUTO key = hs_key_derive(tenant, HS_SUBKEY_DB);
	struct hs_db_key k = {.key = key, .generation = t->generation};
	sqlite3 *db;
	memcpy(k.uuid, t->db_uuid, sizeof k.uuid);
	check(hs_db_create("made.db", &k, &err), &err, "create");
	check(hs_db_open("made.db", &k, 0, &db, &err), &err, "open");
	run(db, "PRAGMA cache_size=5; CREATE TABLE t(id INTEGER PRIMARY KEY, s TEXT)");
	run(db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) "
		"INSERT INTO t SELECT i, '旅費規程 第' || i || '条' FROM n");
	run(db, "PRAGMA wal_checkpoint(TRUNCATE)");
	run(db, "BEGIN; UPDATE t SET s = s || ' 改' WHERE id % 2 = 0; UPDATE t SET s = s || '訂' WHERE id % 4 = 0; COMMIT");
	copy(dir, "made.db", "index.db");
	copy(dir, "made.db-wal", "index.db-wal");
	sqlite3_close(db);
	(void)unlinkat(dir, "made.db", 0);
}

static int to_buffer(void *ctx, const void *data, size_t n)
{
	return hs_buf_append(ctx, data, n);
}

static void submission(int dir, const struct hs_key *tenant, const struct hs_keyring_tenant *t)
{
	struct hs_err err = HS_ERR_INIT;
	HS_KEY_AUTO identity = hs_key_derive(tenant, HS_SUBKEY_AGE);
	HS_BUF_AUTO plain = HS_BUF_INIT;
	HS_BUF_AUTO sealed = HS_BUF_INIT;
	HS_BUF_AUTO signed_manifest = HS_BUF_INIT;
	struct hs_payload p = {.name = "規程.md", .name_len = 9, .title = "規程", .title_len = 6, .media = "text/markdown", .media_len = 13,
			       .content_len = 5};
	uint8_t recipient[HS_AGE_PUBLIC_LEN];
	char secret[HS_AGE_IDENTITY_TEXT_LEN + 1];
	struct hs_age_encrypt *e;
	hs_age_public(identity, recipient);
	check(hs_payload_put_header(&plain, &p), &err, "payload");
	check(hs_buf_append(&plain, "hello", 5), &err, "payload");
	check(hs_age_encrypt_create(recipient, 1, to_buffer, &sealed, &e, &err), &err, "age");
	check(hs_age_encrypt_push(e, plain.data, plain.len), &err, "age");
	check(hs_age_encrypt_finish(e), &err, "age");
	hs_age_encrypt_destroy(e);
	struct hs_manifest m = {.operation = HS_MANIFEST_PUT, .tenant = t->id, .submission = hs_id_new("sub_"), .source = "規程/1",
				.sequence = 3, .collection = "規程", .level = "社外秘", .access_list = "人事", .created = 1000, .expires = 2000,
				.length = sealed.len};
	(void)crypto_generichash(m.hash, sizeof m.hash, sealed.data, sealed.len, NULL, 0); /* constant lengths */
	struct hs_signer *signer = hs_signer_create();
	check(hs_manifest_sign(&m, signer, &signed_manifest, &err), &err, "manifest");
	hs_signer_destroy(signer);
	hs_age_identity_format(identity, secret);
	check(hs_file_replace(dir, "sealed.age", sealed.data, sealed.len, 0600), &err, "sealed.age");
	check(hs_file_replace(dir, "manifest", signed_manifest.data, signed_manifest.len, 0600), &err, "manifest");
	check(hs_file_replace(dir, "identity", secret, strlen(secret), 0600), &err, "identity");
}

int main(int argc, char **argv)
{
	struct hs_err err = HS_ERR_INIT;
	struct hs_keyring *k;
	struct hs_keyring_tenant t;
	struct hs_id a = hs_id_new("ten_"), b = hs_id_new("ten_");
	HS_KEY_AUTO root = NULL;
	HS_KEY_AUTO tenant = NULL;
	if (argc != 2 || chdir(argv[1]) < 0) {
		fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
		return 2;
	}
	HS_FD_AUTO dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check(hs_root_create(dir, "root", &err), &err, "root");
	check(hs_root_read(dir, "root", &root, &err), &err, "root");
	struct hs_root r = {.kind = HS_ROOT_SECRET, .bytes = root->bytes, .len = HS_KEY_LEN};
	check(hs_keyring_create(dir, "keyring", &r, &k, &err), &err, "keyring");
	check(hs_keyring_add_tenant(k, &a, "gone", 1, &err), &err, "tenant");
	check(hs_keyring_add_tenant(k, &b, "shoji", 1775001600000, &err), &err, "tenant");
	check(hs_keyring_destroy_tenant(k, "gone", &err), &err, "destroy");
	check(hs_keyring_unwrap_tenant(k, "shoji", &tenant, &t, &err), &err, "unwrap");
	database(dir, tenant, &t);

	struct hs_blob_info info;
	HS_KEY_AUTO blob_key = hs_key_derive(tenant, HS_SUBKEY_BLOB);
	static uint8_t content[150000];
	for (size_t i = 0; i < sizeof content; i++)
		content[i] = (uint8_t)(i * 7 + i / 251);
	check(hs_blob_put(dir, "blb_sample", blob_key, t.generation, content, sizeof content, &info, &err), &err, "blob");
	check(hs_file_replace(dir, "blb_sample.wrapped", info.wrapped, sizeof info.wrapped, 0600), &err, "blob");
	submission(dir, tenant, &t);
	hs_keyring_close(k);
	return 0;
}
