#include "policy/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "policy/schema.h"
#include "policy/witness.h"
#include "tests/unit/test.h"

#define T0 1800000000000LL

static const uint8_t key[HS_AUDIT_KEY_LEN] = {5, 5};

struct world {
	char path[64];
	int dir;
};

static int setup(void **state)
{
	static struct world w;
	(void)snprintf(w.path, sizeof(w.path), "/tmp/hisho-audit-XXXXXX");
	if (!mkdtemp(w.path))
		return -1;
	w.dir = open(w.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = &w;
	return w.dir < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	(void)unlinkat(w->dir, "log", 0);
	(void)unlinkat(w->dir, "log.mark", 0);
	hs_close(&w->dir);
	return rmdir(w->path);
}

static struct hs_audit *must_open(struct world *w)
{
	struct hs_audit *a = NULL;
	struct hs_err err = HS_ERR_INIT;
	if (hs_audit_open(w->dir, "log", "ten_a", key, NULL, 0, T0, &a, &err))
		fail_msg("%s: %s", err.code, err.object);
	return a;
}

static struct hs_audit_entry entry(const char *action)
{
	return (struct hs_audit_entry){.principal = "usr_a", .action = action, .object = "doc_x", .decision = HS_AUDIT_ALLOWED,
				       .commit_seq = 42, .time = T0 + 1};
}

static void must_append(struct hs_audit *a, const char *action)
{
	struct hs_audit_entry e = entry(action);
	assert_int_equal(hs_audit_append(a, &e, NULL, NULL), 0);
}

/* The whole of a file, and putting it back. */
static struct hs_buf slurp(struct world *w, const char *name)
{
	struct hs_buf b = HS_BUF_INIT;
	assert_int_equal(hs_file_read(w->dir, name, 1 << 24, &b), 0);
	return b;
}

static void spill(struct world *w, const char *name, const void *data, size_t n)
{
	assert_int_equal(hs_file_replace(w->dir, name, data, n, 0600), 0);
}

static int open_as(struct world *w, const struct hs_audit_witness *witness, struct hs_err *err)
{
	struct hs_audit *a = NULL;
	int rc = hs_audit_open(w->dir, "log", "ten_a", key, witness, witness ? 1 : 0, T0, &a, err);
	hs_audit_close(a);
	return rc;
}

static int open_rc(struct world *w, const struct hs_audit_head *head, struct hs_err *err)
{
	const struct hs_audit_witness witness = {.head = head ? *head : (struct hs_audit_head){0}};
	return open_as(w, head ? &witness : NULL, err);
}

static int verify_rc(struct world *w, struct hs_audit_report *report, struct hs_err *err)
{
	struct hs_audit_report local;
	return hs_audit_verify(w->dir, "log", NULL, 0, report ? report : &local, err);
}

struct seen {
	size_t n;
	uint64_t last_seq;
	char actions[256];
	struct hs_audit_shown last;
};

static int see(void *ctx, const struct hs_audit_shown *s)
{
	struct seen *x = ctx;
	x->n++;
	x->last_seq = s->seq;
	x->last = *s;
	size_t at = strlen(x->actions);
	(void)snprintf(x->actions + at, sizeof(x->actions) - at, "%s ", s->action);
	return 0;
}

static struct seen must_see(struct world *w, const struct hs_audit_filter *f)
{
	struct seen x = {0};
	struct hs_err err = HS_ERR_INIT;
	if (hs_audit_each(w->dir, "log", key, f, see, &x, &err))
		fail_msg("%s: %s", err.code, err.object);
	return x;
}

static int see_question(void *ctx, const struct hs_audit_shown *s)
{
	const char *secret = ctx;
	uint8_t hmac[HS_AUDIT_HMAC_LEN];
	hs_audit_query_hmac(key, secret, strlen(secret), hmac);
	if (!strcmp(s->action, "ask")) {
		assert_non_null(s->query_hmac);
		assert_memory_equal(s->query_hmac, hmac, sizeof(hmac));
		assert_int_equal(s->n_chunks, 2);
		assert_string_equal(s->chunks[1].version, "ver_b");
		assert_int_equal(s->chunks[1].start, 7);
		assert_int_equal(s->chunks[1].end, 99);
		assert_string_equal(s->request, "req_1");
		assert_int_equal(s->commit_seq, 42);
		if (s->seq == 1) {
			assert_null(s->query);
		} else {
			assert_int_equal(s->query_len, strlen(secret));
			assert_string_equal(s->query, secret);
		}
	} else {
		assert_string_equal(s->action, "answer");
		assert_int_equal(s->about, 1);
		assert_int_equal(s->answer_hash[0], 0xab);
		assert_int_equal(s->decision, HS_AUDIT_FAILED);
		assert_string_equal(s->reason, "infer.gone");
		assert_string_equal(s->detail, "rule=x");
	}
	return 0;
}

static void a_question_is_kept_as_a_keyed_hash_unless_the_tenant_wants_its_text(void **state)
{
	struct world *w = *state;
	char secret[] = "極秘案件の粗利はいくらですか";
	struct hs_audit *a = must_open(w);
	struct hs_audit_chunk chunks[] = {{"ver_a", 0, 5}, {"ver_b", 7, 99}};
	struct hs_audit_entry e = entry("ask");
	uint64_t seq;
	e.query = secret;
	e.query_len = strlen(secret);
	e.chunks = chunks;
	e.n_chunks = 2;
	e.request = "req_1";
	assert_int_equal(hs_audit_append(a, &e, &seq, NULL), 0);
	assert_int_equal(seq, 1);
	struct hs_audit_entry closing = entry("answer");
	uint8_t hash[HS_AUDIT_CHAIN_LEN] = {0xab};
	closing.about = seq;
	closing.answer_hash = hash;
	closing.decision = HS_AUDIT_FAILED;
	closing.reason = "infer.gone";
	closing.detail = "rule=x";
	assert_int_equal(hs_audit_append(a, &closing, &seq, NULL), 0);
	e.keep_query = true;
	assert_int_equal(hs_audit_append(a, &e, &seq, NULL), 0);
	assert_int_equal(seq, 3);
	hs_audit_close(a);
	assert_int_equal(hs_audit_each(w->dir, "log", key, NULL, see_question, secret, NULL), 0);
	/* Neither text, names nor ids lie in the file. */
	HS_BUF_AUTO b = slurp(w, "log");
	assert_null(memmem(b.data, b.len, secret, 12));
	assert_null(memmem(b.data, b.len, "usr_a", 5));
	assert_null(memmem(b.data, b.len, "ver_b", 5));
	assert_null(memmem(b.data, b.len, "answer", 6));
}

static void records_survive_reopening_and_are_filtered(void **state)
{
	struct world *w = *state;
	struct hs_audit_head head, again;
	struct hs_audit *a = must_open(w);
	hs_audit_head(a, &head);
	assert_int_equal(head.seq, 0);
	must_append(a, "policy.apply");
	must_append(a, "user.suspend");
	hs_audit_head(a, &head);
	hs_audit_close(a);
	a = must_open(w);
	hs_audit_head(a, &again);
	assert_memory_equal(&head, &again, sizeof(head));
	struct hs_audit_entry e = entry("policy.explain");
	e.principal = "usr_b";
	e.time = T0 + 100;
	assert_int_equal(hs_audit_append(a, &e, NULL, NULL), 0);
	e.time = T0; /* the clock was set back */
	assert_int_equal(hs_audit_append(a, &e, NULL, NULL), 0);
	hs_audit_close(a);

	struct seen all = must_see(w, NULL);
	assert_string_equal(all.actions, "policy.apply user.suspend policy.explain policy.explain ");
	assert_true(all.last.clock_back);
	struct hs_audit_filter f = {.action = "policy."};
	assert_int_equal(must_see(w, &f).n, 3);
	f.principal = "usr_b";
	assert_int_equal(must_see(w, &f).n, 2);
	f = (struct hs_audit_filter){.action = "policy"};
	assert_int_equal(must_see(w, &f).n, 0);
	f = (struct hs_audit_filter){.since = T0 + 2};
	assert_int_equal(must_see(w, &f).n, 1);
	f = (struct hs_audit_filter){.until = T0 + 2};
	assert_int_equal(must_see(w, &f).n, 3);

	struct hs_audit_report r;
	assert_int_equal(verify_rc(w, &r, NULL), 0);
	assert_int_equal(r.records, 4);
	assert_int_equal(r.torn_bytes, 0);
}

static void wrong_keys_tenants_and_second_writers_are_refused(void **state)
{
	struct world *w = *state;
	struct hs_err err = HS_ERR_INIT;
	static const uint8_t other[HS_AUDIT_KEY_LEN] = {6};
	struct hs_audit *a = must_open(w), *b = NULL;
	must_append(a, "ask");
	assert_int_equal(hs_audit_open(w->dir, "log", "ten_a", key, NULL, 0, T0, &b, &err), -EBUSY);
	assert_string_equal(err.code, "audit.locked");
	hs_audit_close(a);
	assert_int_equal(hs_audit_open(w->dir, "log", "ten_a", other, NULL, 0, T0, &b, &err), -EBADMSG);
	assert_string_equal(err.code, "audit.key");
	assert_int_equal(hs_audit_open(w->dir, "log", "ten_b", key, NULL, 0, T0, &b, &err), -EBADMSG);
	assert_string_equal(err.code, "audit.tenant");
	struct seen x = {0};
	assert_int_equal(hs_audit_each(w->dir, "log", other, NULL, see, &x, &err), -EBADMSG);
	assert_int_equal(x.n, 0);
	hs_audit_close(NULL);
}

/* Every byte of log and mark, one after the other. */
static void each_flipped_byte_is_noticed(void **state)
{
	struct world *w = *state;
	struct hs_audit *a = must_open(w);
	for (int i = 0; i < 3; i++)
		must_append(a, "ask");
	hs_audit_close(a);
	HS_BUF_AUTO good = slurp(w, "log");
	HS_BUF_AUTO bad = slurp(w, "log");
	for (size_t i = 0; i < good.len; i++) {
		bad.data[i] ^= 0x10;
		spill(w, "log", bad.data, bad.len);
		int rc = verify_rc(w, NULL, NULL);
		if (rc != -EBADMSG && rc != -ENOTSUP)
			fail_msg("verify did not notice byte %zu: %d", i, rc);
		rc = open_rc(w, NULL, NULL);
		if (rc != -EBADMSG && rc != -ENOTSUP)
			fail_msg("open did not notice byte %zu: %d", i, rc);
		bad.data[i] = good.data[i];
	}
	spill(w, "log", good.data, good.len);
	assert_int_equal(open_rc(w, NULL, NULL), 0);
}

static void dropping_reordering_and_cutting_are_noticed(void **state)
{
	struct world *w = *state;
	struct hs_err err = HS_ERR_INIT;
	struct hs_audit_head head;
	struct hs_audit *a = must_open(w);
	must_append(a, "ask");
	struct stat st;
	assert_int_equal(fstatat(w->dir, "log", &st, 0), 0);
	size_t first = 128, second = (size_t)st.st_size;
	must_append(a, "ask");
	assert_int_equal(fstatat(w->dir, "log", &st, 0), 0);
	size_t third = (size_t)st.st_size;
	must_append(a, "ask");
	hs_audit_head(a, &head);
	hs_audit_close(a);
	HS_BUF_AUTO b = slurp(w, "log");
	size_t n = second - first;
	assert_int_equal(third - second, n);
	uint8_t *copy = malloc(b.len * 2);

	memcpy(copy, b.data, second); /* the second dropped */
	memcpy(copy + second, b.data + third, b.len - third);
	spill(w, "log", copy, b.len - n);
	assert_int_equal(verify_rc(w, NULL, &err), -EBADMSG);
	assert_string_equal(err.code, "audit.chain");

	memcpy(copy, b.data, b.len); /* the first two exchanged */
	memcpy(copy + first, b.data + second, n);
	memcpy(copy + second, b.data + first, n);
	spill(w, "log", copy, b.len);
	assert_int_equal(verify_rc(w, NULL, NULL), -EBADMSG);

	memcpy(copy, b.data, b.len); /* the last said twice */
	memcpy(copy + b.len, b.data + third, n);
	spill(w, "log", copy, b.len + n);
	assert_int_equal(verify_rc(w, NULL, NULL), 0); /* no record: what a crash could have left behind the mark ... */
	assert_int_equal(open_rc(w, NULL, NULL), 0);   /* ... and is cut, and the cut recorded */
	assert_string_equal(must_see(w, NULL).actions, "ask ask ask audit.cut ");

	for (size_t len = 0; len < b.len; len++) {
		spill(w, "log", b.data, len);
		a = NULL;
		/* The mark of this file is a record further on by now: any cut is one too many. */
		assert_int_equal(open_rc(w, NULL, &err), -EBADMSG);
		assert_int_equal(verify_rc(w, NULL, NULL), -EBADMSG);
	}
	/* Log and mark both gone back, or both gone: only a witness knows. */
	assert_int_equal(unlinkat(w->dir, "log.mark", 0), 0);
	assert_int_equal(open_rc(w, NULL, &err), -EBADMSG);
	assert_string_equal(err.code, "audit.mark");
	assert_int_equal(unlinkat(w->dir, "log", 0), 0);
	assert_int_equal(open_rc(w, &head, &err), -EBADMSG);
	assert_string_equal(err.code, "audit.witness");
	assert_int_equal(open_rc(w, NULL, NULL), 0);
	assert_int_equal(open_rc(w, &head, &err), -EBADMSG);
	assert_string_equal(err.code, "audit.witness");
	/* The mark alone is no log. */
	assert_int_equal(unlinkat(w->dir, "log", 0), 0);
	assert_int_equal(open_rc(w, NULL, &err), -EBADMSG);
	assert_string_equal(err.code, "audit.truncated");
	free(copy);
}

static void a_witness_tells_another_history(void **state)
{
	struct world *w = *state;
	struct hs_err err = HS_ERR_INIT;
	struct hs_audit_head head, other;
	struct hs_audit *a = must_open(w);
	must_append(a, "ask");
	hs_audit_head(a, &head);
	must_append(a, "ask");
	hs_audit_close(a);
	assert_int_equal(open_rc(w, &head, NULL), 0);
	other = head;
	other.chain[31] ^= 1;
	assert_int_equal(open_rc(w, &other, &err), -EBADMSG);
	assert_string_equal(err.code, "audit.witness");
	other = head;
	other.seq = 3;
	assert_int_equal(open_rc(w, &other, NULL), -EBADMSG);
	/* A signed one is named as such; of several, each must stand. */
	struct hs_audit_report r;
	struct hs_audit_witness two[] = {{.head = head}, {.head = other, .is_signed = true}};
	assert_int_equal(hs_audit_verify(w->dir, "log", two, 1, &r, NULL), 0);
	assert_string_equal(r.tenant, "ten_a");
	assert_int_equal(hs_audit_verify(w->dir, "log", two, 2, &r, &err), -EBADMSG);
	assert_string_equal(err.code, "audit.head");
	assert_int_equal(open_as(w, &two[1], &err), -EBADMSG);
	assert_string_equal(err.code, "audit.head");
	two[1].head = head;
	assert_int_equal(open_as(w, &two[1], NULL), 0);
	two[1].head.chain[0] ^= 1;
	assert_int_equal(open_as(w, &two[1], &err), -EBADMSG);
	assert_string_equal(err.code, "audit.head");
	assert_string_equal(err.object, "record 1");
}

/* The database's copy: it follows the log, never goes back, and the log must hold it. */
static void the_database_witnesses_the_log(void **state)
{
	struct world *w = *state;
	struct hs_err err = HS_ERR_INIT;
	struct hs_audit_head first, second, kept;
	sqlite3 *db;
	assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
	assert_int_equal(hs_policy_schema_migrate(db, NULL), 0);
	assert_int_equal(hs_witness_read(db, &kept), -ENOENT);
	struct hs_audit *a = must_open(w);
	assert_int_equal(hs_audit_commit_high(a), 0);
	must_append(a, "ask");
	hs_audit_head(a, &first);
	HS_BUF_AUTO log = slurp(w, "log");
	HS_BUF_AUTO mark = slurp(w, "log.mark");
	must_append(a, "answer");
	hs_audit_head(a, &second);
	hs_audit_close(a);
	assert_int_equal(hs_witness_keep(db, &second), 0);
	assert_int_equal(hs_witness_keep(db, &first), 0);
	assert_int_equal(hs_witness_read(db, &kept), 0);
	assert_memory_equal(&kept, &second, sizeof(kept));
	assert_int_equal(open_rc(w, &kept, NULL), 0);
	a = must_open(w);
	assert_int_equal(hs_audit_commit_high(a), 42);
	hs_audit_close(a);
	/* Log and mark of an earlier moment, each whole and fitting the other. */
	spill(w, "log", log.data, log.len);
	spill(w, "log.mark", mark.data, mark.len);
	assert_int_equal(open_rc(w, &kept, &err), -EBADMSG);
	assert_string_equal(err.code, "audit.witness");
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* Power goes at each byte of an append: before the mark moved, the record is cut; with the mark, it must be whole. */
static void a_crash_at_any_byte_of_an_append_loses_nothing_acknowledged(void **state)
{
	struct world *w = *state;
	struct hs_audit *a = must_open(w);
	must_append(a, "ask");
	must_append(a, "answer");
	HS_BUF_AUTO log = slurp(w, "log");
	HS_BUF_AUTO mark = slurp(w, "log.mark");
	must_append(a, "read");
	hs_audit_close(a);
	HS_BUF_AUTO log_after = slurp(w, "log");
	HS_BUF_AUTO mark_after = slurp(w, "log.mark");
	/* What the file system may leave of the part that did not reach the disk: nothing, zeros, old bytes. */
	for (int filler = 0; filler < 3; filler++) {
		for (size_t len = log.len; len <= log_after.len; len++) {
			HS_BUF_AUTO torn = HS_BUF_INIT;
			assert_int_equal(hs_buf_append(&torn, log_after.data, len), 0);
			for (size_t i = len; filler && i < log_after.len; i++)
				assert_int_equal(hs_buf_append_byte(&torn, filler == 1 ? 0 : 0xa5), 0);
			spill(w, "log", torn.data, torn.len);
			spill(w, "log.mark", mark.data, mark.len);
			struct hs_audit_report r;
			assert_int_equal(verify_rc(w, &r, NULL), 0);
			assert_int_equal(r.torn_bytes, len == log_after.len ? 0 : torn.len - log.len);
			a = must_open(w);
			must_append(a, "ask");
			hs_audit_close(a);
			assert_string_equal(must_see(w, NULL).actions,
					    len == log_after.len ? "ask answer read ask "
					    : torn.len == log.len ? "ask answer ask "
								  : "ask answer audit.cut ask ");
			assert_int_equal(verify_rc(w, NULL, NULL), 0);
		}
	}
	/* The record is on disk and the mark is being written: either mark will do, torn at any byte. */
	for (size_t len = 0; len <= mark.len; len++) {
		HS_BUF_AUTO torn = HS_BUF_INIT;
		assert_int_equal(hs_buf_append(&torn, mark_after.data, len), 0);
		assert_int_equal(hs_buf_append(&torn, mark.data + len, mark.len - len), 0);
		spill(w, "log", log_after.data, log_after.len);
		spill(w, "log.mark", torn.data, torn.len);
		a = must_open(w);
		hs_audit_close(a);
		assert_string_equal(must_see(w, NULL).actions, "ask answer read ");
	}
}

static uint64_t must_append_all(struct hs_audit *a)
{
	const struct hs_audit_entry e[] = {entry("read"), entry("search"), entry("ask")};
	const struct hs_audit_entry *const all[] = {&e[0], &e[1], &e[2]};
	uint64_t first = 0;
	assert_int_equal(hs_audit_append_all(a, all, HS_ARRAY_LEN(all), &first, NULL), 0);
	return first;
}

/* Several at once are a chain like those written one by one; a crash leaves the first of them, whole ones only, or none. */
static void several_at_once_are_acknowledged_together(void **state)
{
	struct world *w = *state;
	struct hs_audit *a = must_open(w);
	must_append(a, "answer");
	HS_BUF_AUTO log = slurp(w, "log");
	HS_BUF_AUTO mark = slurp(w, "log.mark");
	assert_int_equal(must_append_all(a), 2);
	HS_BUF_AUTO all = slurp(w, "log");
	must_append(a, "answer");
	struct hs_audit_head head;
	hs_audit_head(a, &head);
	assert_int_equal(head.seq, 5);
	hs_audit_close(a);
	assert_string_equal(must_see(w, NULL).actions, "answer read search ask answer ");
	assert_int_equal(verify_rc(w, NULL, NULL), 0);
	static const char *const left[] = {"answer ", "answer read ", "answer read search ", "answer read search ask "};
	size_t record = (all.len - log.len) / 3; /* of one size: padded */
	for (size_t len = log.len; len <= all.len; len += 13) {
		size_t whole = (len - log.len) / record;
		char expected[64];
		spill(w, "log", all.data, len);
		spill(w, "log.mark", mark.data, mark.len);
		a = must_open(w);
		hs_audit_close(a);
		(void)snprintf(expected, sizeof expected, "%s%s", left[whole], len == log.len + whole * record ? "" : "audit.cut ");
		assert_string_equal(must_see(w, NULL).actions, expected);
	}
	/* One that is over the limits: none is written. */
	char object[4096];
	memset(object, 'x', sizeof object - 1);
	object[sizeof object - 1] = '\0';
	struct hs_audit_entry good = entry("read"), bad = entry("read");
	const struct hs_audit_entry *const both[] = {&good, &bad};
	bad.object = object;
	spill(w, "log", log.data, log.len);
	spill(w, "log.mark", mark.data, mark.len);
	a = must_open(w);
	assert_true(hs_audit_append_all(a, both, HS_ARRAY_LEN(both), NULL, NULL) < 0);
	assert_int_equal(must_append_all(a), 2);
	hs_audit_close(a);
	assert_string_equal(must_see(w, NULL).actions, "answer read search ask ");
}

static void a_creation_cut_short_begins_again(void **state)
{
	struct world *w = *state;
	struct hs_audit *a = must_open(w);
	hs_audit_close(a);
	HS_BUF_AUTO header = slurp(w, "log");
	for (size_t len = 0; len <= header.len; len += 16) {
		assert_int_equal(unlinkat(w->dir, "log.mark", 0), 0);
		spill(w, "log", header.data, len);
		a = must_open(w);
		must_append(a, "ask");
		hs_audit_close(a);
		assert_int_equal(must_see(w, NULL).n, 1);
	}
}

/* No room: nothing is acknowledged, and with room again the log goes on as if nothing had been. */
static void a_full_disk_refuses_and_recovers(void **state)
{
	struct world *w = *state;
	struct hs_err err = HS_ERR_INIT;
	struct rlimit before;
	struct stat st;
	struct hs_audit *a = must_open(w);
	for (int i = 0; i < 6; i++)
		must_append(a, "ask"); /* longer than the mark, which the limit must not hit */
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	void (*old)(int) = signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(fstatat(w->dir, "log", &st, 0), 0);
	struct hs_audit_head head, now;
	hs_audit_head(a, &head);
	for (rlim_t room = 0; room < 160; room += 13) {
		struct rlimit tight = {.rlim_cur = (rlim_t)st.st_size + room, .rlim_max = before.rlim_max};
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
		struct hs_audit_entry e = entry("ask");
		int rc = hs_audit_append(a, &e, NULL, &err);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
		assert_int_equal(rc, -EFBIG);
		assert_string_equal(err.code, "audit.full");
		hs_audit_head(a, &now);
		assert_memory_equal(&now, &head, sizeof(head));
	}
	(void)signal(SIGXFSZ, old);
	must_append(a, "answer");
	hs_audit_close(a);
	assert_string_equal(must_see(w, NULL).actions, "ask ask ask ask ask ask answer ");
	assert_int_equal(open_rc(w, NULL, NULL), 0);
}

/* The mark cannot be written: from then on nothing is promised, and opening again finds what is on disk. */
static void a_mark_that_cannot_be_written_is_final(void **state)
{
	struct world *w = *state;
	struct hs_err err = HS_ERR_INIT;
	struct rlimit before;
	struct hs_audit *a = must_open(w);
	must_append(a, "ask");
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	void (*old)(int) = signal(SIGXFSZ, SIG_IGN);
	struct rlimit tight = {.rlim_cur = 900, .rlim_max = before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
	struct hs_audit_entry e = entry("answer");
	int first = hs_audit_append(a, &e, NULL, &err), second = hs_audit_append(a, &e, NULL, &err);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	(void)signal(SIGXFSZ, old);
	assert_true(first == -EIO || second == -EIO); /* whichever met the slot that lies past the limit */
	assert_int_equal(hs_audit_append(a, &e, NULL, &err), -EIO);
	assert_string_equal(err.code, "audit.failed");
	hs_audit_close(a);
	a = must_open(w);
	must_append(a, "read");
	hs_audit_close(a);
	assert_int_equal(verify_rc(w, NULL, NULL), 0);
}

static void entries_over_their_limits_are_refused(void **state)
{
	struct world *w = *state;
	struct hs_err err = HS_ERR_INIT;
	struct hs_audit *a = must_open(w);
	static char big[HS_AUDIT_QUERY_MAX + 1];
	memset(big, 'a', sizeof(big) - 1);
	struct hs_audit_entry e = entry("Ask");
	assert_int_equal(hs_audit_append(a, &e, NULL, &err), -EINVAL);
	assert_string_equal(err.code, "audit.record");
	e = entry("");
	assert_int_equal(hs_audit_append(a, &e, NULL, NULL), -EINVAL);
	e = entry("ask");
	e.principal = "";
	assert_int_equal(hs_audit_append(a, &e, NULL, NULL), -EINVAL);
	e = entry("ask");
	e.object = big;
	assert_int_equal(hs_audit_append(a, &e, NULL, NULL), -EMSGSIZE);
	e = entry("ask");
	e.detail = "\xff";
	assert_int_equal(hs_audit_append(a, &e, NULL, NULL), -EINVAL);
	e = entry("ask");
	e.query = big;
	e.query_len = sizeof(big);
	assert_int_equal(hs_audit_append(a, &e, NULL, NULL), -EMSGSIZE);
	/* At the limits it fits: the longest question kept whole, with the most chunks. */
	static struct hs_audit_chunk chunks[HS_AUDIT_CHUNKS_MAX + 1];
	for (size_t i = 0; i < HS_AUDIT_CHUNKS_MAX; i++)
		(void)snprintf(chunks[i].version, sizeof(chunks[i].version), "ver_%026zu", i);
	e.query_len = HS_AUDIT_QUERY_MAX;
	e.keep_query = true;
	e.chunks = chunks;
	e.n_chunks = HS_AUDIT_CHUNKS_MAX + 1;
	assert_int_equal(hs_audit_append(a, &e, NULL, NULL), -EMSGSIZE);
	e.n_chunks = HS_AUDIT_CHUNKS_MAX;
	assert_int_equal(hs_audit_append(a, &e, NULL, NULL), 0);
	hs_audit_close(a);
	struct seen x = must_see(w, NULL);
	assert_int_equal(x.n, 1);
	assert_int_equal(x.last.n_chunks, HS_AUDIT_CHUNKS_MAX);
	assert_int_equal(x.last.query_len, HS_AUDIT_QUERY_MAX);
}

/* Bytes of disk space that the log holds behind its end. */
static int64_t held(struct world *w)
{
	struct stat st;
	assert_int_equal(fstatat(w->dir, "log", &st, 0), 0);
	return (int64_t)st.st_blocks * 512 - st.st_size;
}

static void disk_space_is_held_behind_the_end(void **state)
{
	struct world *w = *state;
	static char question[HS_AUDIT_QUERY_MAX];
	int probe = openat(w->dir, "log", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fallocate(probe, FALLOC_FL_KEEP_SIZE, 0, 4096) < 0 && errno == EOPNOTSUPP) {
		print_message("skipped: this file system holds no space\n");
		close(probe);
		skip();
	}
	close(probe);
	(void)unlinkat(w->dir, "log", 0);
	struct hs_audit *a = must_open(w);
	assert_true(held(w) >= HS_AUDIT_RESERVE - 4096);
	memset(question, 'q', sizeof(question));
	struct hs_audit_entry e = entry("ask");
	e.query = question;
	e.query_len = sizeof(question);
	e.keep_query = true;
	struct stat st = {0};
	for (int i = 0; st.st_size < (off_t)HS_AUDIT_RESERVE; i++) { /* more than was held at first */
		assert_true(i < 1000);
		assert_int_equal(hs_audit_append(a, &e, NULL, NULL), 0);
		assert_true(held(w) >= HS_AUDIT_RESERVE / 2 - 4096);
		assert_int_equal(fstatat(w->dir, "log", &st, 0), 0);
	}
	hs_audit_close(a);
	hs_audit_close(must_open(w)); /* space is not content: nothing lies behind the last record */
}

static void time_is_judged_by_the_highest_that_was_recorded(void **state)
{
	struct world *w = *state;
	const int64_t hour = 3600 * 1000, slack = 60 * 1000; /* how long this test may take */
	struct hs_audit *a = must_open(w);
	assert_int_equal(hs_audit_now(a, T0 + hour), T0 + hour); /* the host's, where it is later */
	struct hs_audit_entry e = entry("ask");
	e.time = T0 + 2 * hour;
	assert_int_equal(hs_audit_append(a, &e, NULL, NULL), 0);
	assert_in_range(hs_audit_now(a, T0), T0 + 2 * hour, T0 + 2 * hour + slack); /* set back */
	assert_int_equal(hs_audit_now(a, T0 + 3 * hour), T0 + 3 * hour);
	e.time = T0; /* what is recorded meanwhile does not bring it back */
	assert_int_equal(hs_audit_append(a, &e, NULL, NULL), 0);
	assert_in_range(hs_audit_now(a, T0), T0 + 2 * hour, T0 + 2 * hour + slack);
	int64_t before = hs_audit_now(a, T0);
	(void)usleep(20000);
	assert_true(hs_audit_now(a, T0) >= before + 20); /* and it goes on */
	hs_audit_close(a);
	a = must_open(w);
	assert_true(hs_audit_now(a, T0) >= T0 + 2 * hour);
	hs_audit_close(a);
	assert_true(must_see(w, NULL).last.clock_back);
}

static void a_person_sets_the_time_that_is_judged_by(void **state)
{
	struct world *w = *state;
	const int64_t year = 366LL * 24 * 3600 * 1000, slack = 60 * 1000;
	struct hs_audit *a = must_open(w);
	struct hs_audit_entry e = entry("ask");
	e.time = T0 + year; /* by mistake */
	assert_int_equal(hs_audit_append(a, &e, NULL, NULL), 0);
	e = entry("clock.set");
	e.sets_clock = true;
	assert_int_equal(hs_audit_append(a, &e, NULL, NULL), 0);
	assert_in_range(hs_audit_now(a, T0), T0 + 1, T0 + 1 + slack);
	hs_audit_close(a);
	a = must_open(w);
	assert_in_range(hs_audit_now(a, T0), T0 + 1, T0 + 1 + slack);
	/* What follows is on time: the mistake is forgotten. */
	e = entry("ask");
	e.time = T0 + slack;
	assert_int_equal(hs_audit_append(a, &e, NULL, NULL), 0);
	hs_audit_close(a);
	struct seen all = must_see(w, NULL);
	assert_false(all.last.clock_back);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_question_is_kept_as_a_keyed_hash_unless_the_tenant_wants_its_text),
		TEST(records_survive_reopening_and_are_filtered),
		TEST(time_is_judged_by_the_highest_that_was_recorded),
		TEST(a_person_sets_the_time_that_is_judged_by),
		TEST(wrong_keys_tenants_and_second_writers_are_refused),
		TEST(each_flipped_byte_is_noticed),
		TEST(dropping_reordering_and_cutting_are_noticed),
		TEST(a_witness_tells_another_history),
		TEST(the_database_witnesses_the_log),
		TEST(a_crash_at_any_byte_of_an_append_loses_nothing_acknowledged),
		TEST(a_creation_cut_short_begins_again),
		TEST(a_full_disk_refuses_and_recovers),
		TEST(a_mark_that_cannot_be_written_is_final),
		TEST(several_at_once_are_acknowledged_together),
		TEST(entries_over_their_limits_are_refused),
		TEST(disk_space_is_held_behind_the_end),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
