#include "policy/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/id.h"
#include "base/wire.h"
#include "policy/record.h"
#include "policy/trail.h"

/* Three keys from one: none is used for two things. */
struct keys {
	uint8_t seal[HS_AUDIT_KEY_LEN], mark[HS_AUDIT_KEY_LEN], query[HS_AUDIT_KEY_LEN];
};

struct hs_audit {
	pthread_mutex_t lock;
	int fd, mark_fd;
	bool failed; /* a sync failed or the tail could not be taken back: nothing is known any more but by opening again */
	struct hs_trail_header header;
	struct keys *keys; /* sodium_malloc */
	uint64_t size;     /* of the good log */
	uint64_t reserved; /* up to where disk space is held */
	uint64_t generation;
	struct hs_audit_head head;
	int64_t clock_high; /* of a record; or what the mark said at the opening */
	int64_t lead;       /* atomic: the highest time judged by, less the machine's uptime at that moment */
	uint64_t commit_high;
	struct hs_buf record, plain;
};

static void derive(const uint8_t *key, const char *use, uint8_t *out)
{
	(void)crypto_generichash(out, HS_AUDIT_KEY_LEN, (const unsigned char *)use, strlen(use), key, HS_AUDIT_KEY_LEN);
}

static void derive_all(const uint8_t *key, struct keys *out)
{
	derive(key, "hisho-audit-seal", out->seal);
	derive(key, "hisho-audit-mark", out->mark);
	derive(key, "hisho-audit-query", out->query);
}

static void query_hmac(const struct keys *k, const char *query, size_t n, uint8_t out[static HS_AUDIT_HMAC_LEN])
{
	(void)crypto_auth_hmacsha256(out, (const unsigned char *)query, n, k->query);
}

void hs_audit_query_hmac(const uint8_t key[static HS_AUDIT_KEY_LEN], const char *query, size_t n,
			 uint8_t out[static HS_AUDIT_HMAC_LEN])
{
	struct keys k;
	derive_all(key, &k);
	query_hmac(&k, query, n, out);
	sodium_memzero(&k, sizeof(k));
}

static void set_high(struct hs_audit *a, int64_t ms)
{
	__atomic_store_n(&a->lead, ms - (int64_t)hs_uptime_ms(), __ATOMIC_RELAXED);
}

int64_t hs_audit_now(const struct hs_audit *a, int64_t host_ms)
{
	int64_t since_high = (int64_t)hs_uptime_ms() + __atomic_load_n(&a->lead, __ATOMIC_RELAXED);
	return HS_MAX(host_ms, since_high);
}

static int mark_name(const char *name, char out[static NAME_MAX + 1], struct hs_err *err)
{
	int n = snprintf(out, NAME_MAX + 1, "%s.mark", name);
	if (n < 0 || n > NAME_MAX)
		return hs_fail(err, ENAMETOOLONG, "audit.name", "", "%s", name);
	return 0;
}

static int broken(struct hs_err *err, const char *code, uint64_t seq, const char *hint)
{
	return hs_fail(err, EBADMSG, code, hint, "record %llu", (unsigned long long)seq);
}

/* --- walking a log against its mark and its witness --- */

struct walk {
	struct hs_trail trail;
	const struct hs_audit_witness *witnesses;
	size_t n_witnesses;
	const struct hs_mark *mark;
	bool marked; /* the marked record was met, and is the one that was marked */
};

/* Is the record at seq (chain NULL: the log has ended before it) the one that was witnessed? */
static int check_witnesses(const struct hs_audit_witness *witnesses, size_t n, uint64_t seq, const uint8_t *chain,
			   struct hs_err *err)
{
	for (size_t i = 0; i < n; i++) {
		const struct hs_audit_witness *x = &witnesses[i];
		const char *code = x->is_signed ? "audit.head" : "audit.witness";
		if (!chain && x->head.seq > seq)
			return broken(err, code, seq + 1, HS_N_("The audit log ends before its last witnessed record."));
		if (chain && x->head.seq == seq && sodium_memcmp(x->head.chain, chain, HS_AUDIT_CHAIN_LEN))
			return broken(err, code, seq,
				      HS_N_("The audit log is not the one that was witnessed; keep it and compare it with a copy."));
	}
	return 0;
}

/* 1 a record, 0 the end or a torn tail behind the mark, or an error. */
static int walk_next(struct walk *w, struct hs_trail_record *r, struct hs_err *err)
{
	const struct hs_mark *m = w->mark;
	int rc = hs_trail_next(&w->trail, r);
	if (rc < 0 && rc != -EBADMSG)
		return hs_fail_errno(err, rc, "audit.read", "audit log");
	uint64_t seq = w->trail.seq;
	if (rc == 1) {
		rc = check_witnesses(w->witnesses, w->n_witnesses, seq, w->trail.chain, err);
		if (rc < 0)
			return rc;
		if (m->seq == seq) {
			if (sodium_memcmp(m->chain, w->trail.chain, HS_AUDIT_CHAIN_LEN))
				return broken(err, "audit.chain", seq,
					      HS_N_("The audit log was changed; keep it and compare it with a copy."));
			w->marked = true;
		}
		return 1;
	}
	if (seq < m->seq)
		return rc == 0 ? broken(err, "audit.truncated", seq + 1,
					HS_N_("The audit log ends before its last acknowledged record."))
			       : broken(err, "audit.chain", seq + 1,
					HS_N_("The audit log was changed; keep it and compare it with a copy."));
	int missed = check_witnesses(w->witnesses, w->n_witnesses, seq, NULL, err);
	if (missed < 0)
		return missed;
	/*
	 * Behind the mark there is at most what was written at once, which nobody was told of. More bytes than that which are no
	 * record were not left by a crash.
	 */
	if (rc == -EBADMSG && w->trail.size - w->trail.at > HS_AUDIT_RECORD_MAX)
		return broken(err, "audit.chain", seq + 1, HS_N_("Behind the last record of the audit log lies something else."));
	return 0;
}

static int read_mark(int dirfd, const char *name, const struct hs_trail_header *h, const uint8_t *mac_key, struct hs_mark *ret,
		     struct hs_err *err)
{
	char path[NAME_MAX + 1];
	HS_BUF_AUTO b = HS_BUF_INIT;
	int rc = mark_name(name, path, err);
	if (rc)
		return rc;
	rc = hs_file_read(dirfd, path, HS_MARK_LEN, &b);
	if (rc == -ENOENT || rc == -EFBIG || (!rc && b.len != HS_MARK_LEN))
		return hs_fail(err, EBADMSG, "audit.mark", HS_N_("The audit log's mark is missing or was changed."), "%s", path);
	if (rc)
		return hs_fail_errno(err, rc, "audit.read", path);
	rc = hs_mark_decode(b.data, mac_key, h->genesis, ret);
	if (rc == -EKEYREJECTED)
		return hs_fail(err, EBADMSG, "audit.key", HS_N_("The key is not this audit log's, or its mark was changed."), "%s",
			       path);
	if (rc)
		return hs_fail(err, EBADMSG, "audit.mark", HS_N_("The audit log's mark is missing or was changed."), "%s", path);
	return 0;
}

/* --- opening --- */

/* A new log and its mark. A crash between the two leaves a header alone, which is made anew. */
static int create(int dirfd, const char *name, const char *mark, const char *tenant, const struct keys *keys, int64_t now_ms)
{
	struct hs_trail_header h;
	uint8_t slots[HS_MARK_LEN];
	struct hs_mark m = {.generation = 1, .clock_high = now_ms};
	hs_trail_header_make(tenant, now_ms, &h);
	memcpy(m.chain, h.genesis, sizeof(m.chain));
	/* A generation lies in the slot of its lowest bit, so that the next one overwrites the older. */
	hs_mark_encode(&m, keys->mark, h.genesis, slots + HS_MARK_SLOT);
	m.generation = 2;
	hs_mark_encode(&m, keys->mark, h.genesis, slots);
	int rc = hs_file_replace(dirfd, name, h.bytes, sizeof(h.bytes), 0600);
	if (!rc)
		rc = hs_file_replace(dirfd, mark, slots, sizeof(slots), 0600);
	return rc;
}

/* Is there anything that was ever acknowledged? A log without its mark and without a record is a creation cut short. */
static int needs_creation(int dirfd, const char *name, const char *mark, bool *ret)
{
	struct stat log, marked;
	bool has_log = !fstatat(dirfd, name, &log, AT_SYMLINK_NOFOLLOW);
	if (!has_log && errno != ENOENT)
		return -errno;
	bool has_mark = !fstatat(dirfd, mark, &marked, AT_SYMLINK_NOFOLLOW);
	if (!has_mark && errno != ENOENT)
		return -errno;
	*ret = !has_mark && (!has_log || log.st_size <= HS_TRAIL_HEADER_LEN);
	return 0;
}

static int lock(int fd)
{
	struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	return fcntl(fd, F_OFD_SETLK, &l) < 0 ? -errno : 0;
}

static int open_files(struct hs_audit *a, int dirfd, const char *name, const char *mark, const char *tenant,
		      const struct hs_audit_witness *witnesses, size_t n_witnesses, int64_t now_ms, struct hs_err *err)
{
	bool fresh = false;
	int rc = needs_creation(dirfd, name, mark, &fresh);
	if (!rc && fresh) {
		rc = check_witnesses(witnesses, n_witnesses, 0, NULL, err);
		if (rc)
			return rc;
		rc = create(dirfd, name, mark, tenant, a->keys, now_ms);
	}
	if (rc)
		return hs_fail_errno(err, rc, "audit.open", name);
	a->fd = openat(dirfd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (a->fd < 0)
		return errno == ENOENT ? broken(err, "audit.truncated", 1, HS_N_("The audit log is gone; its mark is still there."))
				       : hs_fail_errno(err, -errno, "audit.open", name);
	rc = lock(a->fd);
	if (rc == -EAGAIN || rc == -EACCES)
		return hs_fail(err, EBUSY, "audit.locked", HS_N_("Another process writes this audit log."), "%s", name);
	if (!rc)
		a->mark_fd = openat(dirfd, mark, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (!rc && a->mark_fd < 0)
		return errno == ENOENT ? hs_fail(err, EBADMSG, "audit.mark",
						 HS_N_("The audit log's mark is missing or was changed."), "%s", mark)
				       : hs_fail_errno(err, -errno, "audit.open", mark);
	return rc ? hs_fail_errno(err, rc, "audit.open", name) : 0;
}

static int check_log(struct hs_audit *a, int dirfd, const char *name, const char *tenant,
		     const struct hs_audit_witness *witnesses, size_t n_witnesses, uint64_t *ret_torn, struct hs_err *err)
{
	struct hs_mark mark;
	struct hs_trail_record r;
	int rc = hs_trail_header_read(a->fd, &a->header, err);
	if (!rc && strcmp(a->header.tenant, tenant))
		return hs_fail(err, EBADMSG, "audit.tenant", HS_N_("The audit log is another tenant's."), "%s", a->header.tenant);
	if (!rc)
		rc = read_mark(dirfd, name, &a->header, a->keys->mark, &mark, err);
	if (rc)
		return rc;
	struct walk w = {.witnesses = witnesses, .n_witnesses = n_witnesses, .mark = &mark};
	rc = hs_trail_init(&w.trail, a->fd, &a->header);
	if (rc)
		return hs_fail_errno(err, rc, "audit.read", name);
	int64_t last = 0;
	while ((rc = walk_next(&w, &r, err)) == 1)
		last = r.time;
	a->size = w.trail.at;
	*ret_torn = w.trail.size - w.trail.at;
	a->generation = mark.generation;
	a->clock_high = HS_MAX(mark.clock_high, w.trail.clock_high);
	set_high(a, a->clock_high);
	a->commit_high = w.trail.commit_high;
	a->head = (struct hs_audit_head){.seq = w.trail.seq, .time = last};
	memcpy(a->head.chain, w.trail.chain, sizeof(a->head.chain));
	hs_trail_finish(&w.trail);
	return rc;
}

/*
 * Hold disk space behind the end, without moving the end: on a disk that others filled the log still records. Where it
 * cannot be had, the log grows as long as it can.
 */
static void reserve(struct hs_audit *a)
{
	if (a->reserved >= a->size + HS_AUDIT_RESERVE / 2)
		return;
	if (fallocate(a->fd, FALLOC_FL_KEEP_SIZE, (off_t)a->size, HS_AUDIT_RESERVE) == 0)
		a->reserved = a->size + HS_AUDIT_RESERVE;
	else if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EPERM)
		a->reserved = UINT64_MAX; /* never: not asked for again */
}

/* Cut what a crash left of a record that nobody was told of, and say so in the log. */
static int cut(struct hs_audit *a, uint64_t torn, int64_t now_ms, struct hs_err *err)
{
	char detail[64];
	if (ftruncate(a->fd, (off_t)a->size) < 0 || fdatasync(a->fd) < 0)
		return hs_fail_errno(err, -errno, "audit.open", "audit log");
	(void)snprintf(detail, sizeof(detail), "bytes=%llu", (unsigned long long)torn);
	struct hs_audit_entry e = {.principal = "system", .action = "audit.cut", .object = "", .decision = HS_AUDIT_NOTED,
				   .detail = detail, .time = now_ms};
	return hs_audit_append(a, &e, NULL, err);
}

int hs_audit_open(int dirfd, const char *name, const char *tenant, const uint8_t key[static HS_AUDIT_KEY_LEN],
		  const struct hs_audit_witness *witnesses, size_t n_witnesses, int64_t now_ms, struct hs_audit **ret,
		  struct hs_err *err)
{
	char mark[NAME_MAX + 1];
	uint64_t torn = 0;
	if (!tenant[0] || strlen(tenant) > HS_AUDIT_TENANT_MAX)
		return hs_fail(err, EINVAL, "audit.tenant", "", "%s", tenant);
	int rc = mark_name(name, mark, err);
	if (rc)
		return rc;
	struct hs_audit *a = sodium_init() >= 0 ? calloc(1, sizeof(*a)) : NULL;
	if (!a)
		return hs_fail_errno(err, -ENOMEM, "audit.memory", name);
	(void)pthread_mutex_init(&a->lock, NULL); /* cannot fail with default attributes */
	a->fd = a->mark_fd = -1;
	a->record.limit = a->plain.limit = HS_AUDIT_RECORD_MAX;
	a->keys = sodium_malloc(sizeof(*a->keys));
	if (!a->keys) {
		hs_audit_close(a);
		return hs_fail_errno(err, -ENOMEM, "audit.memory", name);
	}
	derive_all(key, a->keys);
	/* Whole from the start: growing would leave copies of questions behind, unwiped. */
	if (hs_buf_reserve(&a->plain, HS_AUDIT_RECORD_MAX)) {
		hs_audit_close(a);
		return hs_fail_errno(err, -ENOMEM, "audit.memory", name);
	}
	rc = open_files(a, dirfd, name, mark, tenant, witnesses, n_witnesses, now_ms, err);
	if (!rc)
		rc = check_log(a, dirfd, name, tenant, witnesses, n_witnesses, &torn, err);
	if (!rc && torn)
		rc = cut(a, torn, now_ms, err);
	if (!rc)
		reserve(a);
	if (rc) {
		hs_audit_close(a);
		return rc;
	}
	*ret = a;
	return 0;
}

void hs_audit_close(struct hs_audit *a)
{
	if (!a)
		return;
	hs_close(&a->fd);
	hs_close(&a->mark_fd);
	(void)pthread_mutex_destroy(&a->lock); /* nobody holds it */
	sodium_free(a->keys);
	hs_buf_finish(&a->record);
	hs_buf_wipe(&a->plain);
	hs_buf_finish(&a->plain);
	free(a);
}

void hs_audit_lock(struct hs_audit *a)
{
	(void)pthread_mutex_lock(&a->lock); /* fails only where this thread has it already */
}

void hs_audit_unlock(struct hs_audit *a)
{
	(void)pthread_mutex_unlock(&a->lock); /* fails only where this thread has it not */
}

/* --- appending --- */

static int write_at(int fd, uint64_t at, const void *data, size_t n)
{
	size_t done = 0;
	while (done < n) {
		ssize_t put = pwrite(fd, (const char *)data + done, n - done, (off_t)(at + done));
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -errno;
		if (put == 0)
			return -EIO;
		done += (size_t)put;
	}
	return 0;
}

static int failed_for_good(struct hs_audit *a, struct hs_err *err, const char *what)
{
	a->failed = true;
	return hs_fail(err, EIO, "audit.failed",
		       HS_N_("The audit log can no longer be trusted to keep what is written; nothing is answered until restart."), "%s",
		       what);
}

/*
 * Write what a->record holds, whose last record is r, and sync it; move the mark, sync that. Only then was it acknowledged. An
 * error of a sync is final: the kernel forgets it, and a second sync that succeeds proves nothing.
 */
static int commit(struct hs_audit *a, const struct hs_trail_record *r, const uint8_t *chain, struct hs_err *err)
{
	uint8_t slot[HS_MARK_SLOT];
	bool sets_clock = r->flags & HS_TRAIL_CLOCK_SET;
	struct hs_mark m = {
	    .generation = a->generation + 1, .seq = r->seq, .clock_high = sets_clock ? r->time : hs_audit_now(a, r->time)};
	memcpy(m.chain, chain, sizeof(m.chain));
	int rc = write_at(a->fd, a->size, a->record.data, a->record.len);
	if (rc) {
		a->reserved = HS_MIN(a->reserved, a->size); /* cutting gives it back */
		if (ftruncate(a->fd, (off_t)a->size) < 0)
			return failed_for_good(a, err, "truncate");
		return hs_fail(err, -rc, "audit.full", HS_N_("The audit log cannot grow, so nothing is answered; free some space."),
			       "record %llu", (unsigned long long)r->seq);
	}
	if (fdatasync(a->fd) < 0)
		return failed_for_good(a, err, "sync");
	hs_mark_encode(&m, a->keys->mark, a->header.genesis, slot);
	if (write_at(a->mark_fd, (m.generation & 1) * HS_MARK_SLOT, slot, sizeof(slot)) || fdatasync(a->mark_fd) < 0)
		return failed_for_good(a, err, "mark");
	a->generation = m.generation;
	a->size += a->record.len;
	a->clock_high = sets_clock ? r->time : HS_MAX(a->clock_high, r->time);
	set_high(a, m.clock_high);
	a->commit_high = HS_MAX(a->commit_high, r->commit_seq);
	a->head = (struct hs_audit_head){.seq = r->seq, .time = r->time};
	memcpy(a->head.chain, chain, sizeof(a->head.chain));
	reserve(a);
	return 0;
}

/*
 * Frame, sealed body, chain: the frame and the chain before it are bound to the body. It goes behind what a->record holds. chain:
 * of the record before; then of this one.
 */
static int build(struct hs_audit *a, struct hs_trail_record *r, const uint8_t *body, size_t n,
		 uint8_t chain[static HS_AUDIT_CHAIN_LEN])
{
	uint8_t frame[HS_TRAIL_FRAME_LEN + HS_AUDIT_CHAIN_LEN];
	r->body_len = n + HS_TRAIL_TAG_LEN;
	size_t start = a->record.len;
	if (r->time < a->clock_high)
		r->flags |= HS_TRAIL_CLOCK_BACK;
	if (r->body_len > HS_AUDIT_RECORD_MAX - HS_TRAIL_RECORD_MIN)
		return -EMSGSIZE;
	hs_trail_frame(r, frame);
	hs_random(frame + HS_TRAIL_FRAME_LEN - HS_TRAIL_NONCE_LEN, HS_TRAIL_NONCE_LEN);
	memcpy(frame + HS_TRAIL_FRAME_LEN, chain, HS_AUDIT_CHAIN_LEN);
	int rc = hs_buf_append(&a->record, frame, HS_TRAIL_FRAME_LEN);
	if (!rc)
		rc = hs_buf_reserve(&a->record, r->body_len + HS_AUDIT_CHAIN_LEN);
	if (rc)
		return rc;
	(void)crypto_aead_xchacha20poly1305_ietf_encrypt(a->record.data + a->record.len, NULL, body, n, frame, sizeof(frame), NULL,
							 frame + HS_TRAIL_FRAME_LEN - HS_TRAIL_NONCE_LEN, a->keys->seal);
	a->record.len += r->body_len;
	hs_trail_chain(frame + HS_TRAIL_FRAME_LEN, a->record.data + start, a->record.len - start, chain);
	return hs_buf_append(&a->record, chain, HS_AUDIT_CHAIN_LEN);
}

static int build_entry(struct hs_audit *a, const struct hs_audit_entry *e, struct hs_trail_record *r,
		       uint8_t chain[static HS_AUDIT_CHAIN_LEN], struct hs_err *err)
{
	uint8_t hmac[HS_AUDIT_HMAC_LEN];
	if (e->query)
		query_hmac(a->keys, e->query, e->query_len, hmac);
	a->plain.len = 0;
	int rc = hs_record_encode(e, hmac, &a->plain, err);
	if (rc)
		return rc;
	rc = build(a, r, a->plain.data, a->plain.len, chain);
	sodium_memzero(a->plain.data, a->plain.len);
	return rc ? hs_fail(err, -rc, "audit.record", HS_N_("The record cannot be written as it is; the request is refused."),
			    "%zu bytes", a->plain.len)
		  : 0;
}

int hs_audit_append_all(struct hs_audit *a, const struct hs_audit_entry *const *entries, size_t n, uint64_t *ret_first,
			struct hs_err *err)
{
	uint8_t chain[HS_AUDIT_CHAIN_LEN];
	struct hs_trail_record r = {0};
	uint64_t first = a->head.seq + 1;
	int rc = 0;
	hs_assert(n > 0);
	if (a->failed)
		return failed_for_good(a, err, "earlier");
	memcpy(chain, a->head.chain, sizeof(chain));
	a->record.len = 0;
	for (size_t i = 0; !rc && i < n; i++) {
		const struct hs_audit_entry *e = entries[i];
		hs_assert(n == 1 || !e->sets_clock);
		r = (struct hs_trail_record){.kind = HS_TRAIL_ENTRY,
					     .seq = first + i,
					     .time = e->time,
					     .commit_seq = e->commit_seq,
					     .flags = e->sets_clock ? HS_TRAIL_CLOCK_SET : 0};
		rc = build_entry(a, e, &r, chain, err);
	}
	if (!rc)
		rc = commit(a, &r, chain, err);
	if (!rc && ret_first)
		*ret_first = first;
	return rc;
}

int hs_audit_append(struct hs_audit *a, const struct hs_audit_entry *e, uint64_t *ret_seq, struct hs_err *err)
{
	return hs_audit_append_all(a, &e, 1, ret_seq, err);
}

void hs_audit_head(const struct hs_audit *a, struct hs_audit_head *ret)
{
	*ret = a->head;
}

uint64_t hs_audit_commit_high(const struct hs_audit *a)
{
	return a->commit_high;
}

/* --- reading --- */

struct reader {
	int fd;
	struct hs_trail_header header;
	struct hs_mark mark;
};

static int reader_open(struct reader *r, int dirfd, const char *name, const uint8_t *mac_key, struct hs_err *err)
{
	r->fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (r->fd < 0)
		return hs_fail_errno(err, -errno, "audit.open", name);
	int rc = hs_trail_header_read(r->fd, &r->header, err);
	if (!rc)
		rc = read_mark(dirfd, name, &r->header, mac_key, &r->mark, err);
	if (rc)
		hs_close(&r->fd);
	return rc;
}

int hs_audit_verify(int dirfd, const char *name, const struct hs_audit_witness *witnesses, size_t n_witnesses,
		    struct hs_audit_report *ret, struct hs_err *err)
{
	struct reader in;
	struct hs_trail_record r;
	*ret = (struct hs_audit_report){0};
	int rc = reader_open(&in, dirfd, name, NULL, err);
	if (rc)
		return rc;
	memcpy(ret->tenant, in.header.tenant, sizeof(ret->tenant));
	struct walk w = {.witnesses = witnesses, .n_witnesses = n_witnesses, .mark = &in.mark};
	rc = hs_trail_init(&w.trail, in.fd, &in.header);
	if (!rc) {
		while ((rc = walk_next(&w, &r, err)) == 1)
			ret->head.time = r.time;
		ret->records = ret->head.seq = w.trail.seq;
		memcpy(ret->head.chain, w.trail.chain, sizeof(ret->head.chain));
		ret->good_bytes = w.trail.at;
		ret->torn_bytes = rc ? 0 : w.trail.size - w.trail.at;
		hs_trail_finish(&w.trail);
	} else {
		rc = hs_fail_errno(err, rc, "audit.read", name);
	}
	hs_close(&in.fd);
	return rc;
}

static bool passes(const struct hs_audit_filter *f, const struct hs_audit_shown *s)
{
	if (!f)
		return true;
	if ((f->since && s->time < f->since) || (f->until && s->time >= f->until))
		return false;
	if (f->principal && strcmp(f->principal, s->principal))
		return false;
	if (!f->action)
		return true;
	size_t n = strlen(f->action);
	return n && f->action[n - 1] == '.' ? !strncmp(s->action, f->action, n) : !strcmp(s->action, f->action);
}

/* Decrypt and decode one record. */
static int open_record(const struct hs_trail_record *r, const struct keys *keys, struct hs_record_view *view,
		       struct hs_buf *plain, struct hs_audit_shown *ret)
{
	uint8_t bound[HS_TRAIL_FRAME_LEN + HS_AUDIT_CHAIN_LEN];
	if (r->body_len < HS_TRAIL_TAG_LEN)
		return -EBADMSG;
	memcpy(bound, r->frame, HS_TRAIL_FRAME_LEN);
	memcpy(bound + HS_TRAIL_FRAME_LEN, r->prev, HS_AUDIT_CHAIN_LEN);
	unsigned long long n;
	if (crypto_aead_xchacha20poly1305_ietf_decrypt(plain->data, &n, NULL, r->body, r->body_len, bound, sizeof(bound),
						       r->frame + HS_TRAIL_FRAME_LEN - HS_TRAIL_NONCE_LEN, keys->seal))
		return -EBADMSG;
	plain->len = (size_t)n;
	*ret = (struct hs_audit_shown){.seq = r->seq,
				       .commit_seq = r->commit_seq,
				       .time = r->time,
				       .clock_back = r->flags & HS_TRAIL_CLOCK_BACK,
				       .chain = r->chain};
	return hs_record_decode(plain->data, plain->len, view, ret);
}

int hs_audit_each(int dirfd, const char *name, const uint8_t key[static HS_AUDIT_KEY_LEN], const struct hs_audit_filter *filter,
		  int (*fn)(void *ctx, const struct hs_audit_shown *shown), void *ctx, struct hs_err *err)
{
	struct reader in;
	struct hs_trail_record r;
	struct hs_record_view view;
	struct keys keys;
	HS_BUF_AUTO plain = {.limit = HS_AUDIT_RECORD_MAX};
	derive_all(key, &keys);
	int rc = reader_open(&in, dirfd, name, keys.mark, err);
	if (rc) {
		sodium_memzero(&keys, sizeof(keys));
		return rc;
	}
	struct walk w = {.mark = &in.mark};
	rc = hs_record_view_init(&view);
	if (!rc)
		rc = hs_buf_reserve(&plain, HS_AUDIT_RECORD_MAX);
	if (!rc)
		rc = hs_trail_init(&w.trail, in.fd, &in.header);
	if (rc)
		rc = hs_fail_errno(err, rc, "audit.read", name);
	while (!rc && (rc = walk_next(&w, &r, err)) == 1) {
		struct hs_audit_shown s;
		rc = 0;
		if (open_record(&r, &keys, &view, &plain, &s))
			rc = broken(err, "audit.key", r.seq, HS_N_("The record does not open with this key."));
		else if (passes(filter, &s))
			rc = fn(ctx, &s);
	}
	hs_trail_finish(&w.trail);
	hs_record_view_finish(&view);
	hs_buf_wipe(&plain);
	sodium_memzero(&keys, sizeof(keys));
	hs_close(&in.fd);
	return rc;
}
