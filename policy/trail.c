#include "policy/trail.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "base/id.h"
#include "base/wire.h"

#define RECORD_MAGIC 0x72615348u /* "HSar" */
#define RECORD_VERSION 1
#define CHECKSUM_LEN 16
#define MAC_LEN 32
#define MARK_CHECKSUM_AT (HS_MARK_SLOT - CHECKSUM_LEN) /* over the MAC too: a torn slot must not look like a foreign one */
#define MARK_MAC_AT (MARK_CHECKSUM_AT - MAC_LEN)

static const char file_magic[8] = "HSaudit1";
static const char mark_magic[8] = "HSamark1";
static const unsigned char chain_domain[] = {'h', 'i', 's', 'h', 'o', '-', 'a', 'u', 'd', 'i', 't'};

static int read_at(int fd, uint64_t at, void *out, size_t n)
{
	size_t done = 0;
	while (done < n) {
		ssize_t got = pread(fd, (char *)out + done, n - done, (off_t)(at + done));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			return -EIO; /* the file shrank under us */
		done += (size_t)got;
	}
	return 0;
}

void hs_trail_chain(const uint8_t prev[static HS_AUDIT_CHAIN_LEN], const uint8_t *record, size_t n,
		    uint8_t out[static HS_AUDIT_CHAIN_LEN])
{
	crypto_generichash_state state;
	(void)crypto_generichash_init(&state, NULL, 0, HS_AUDIT_CHAIN_LEN);
	(void)crypto_generichash_update(&state, chain_domain, sizeof(chain_domain));
	(void)crypto_generichash_update(&state, prev, HS_AUDIT_CHAIN_LEN);
	(void)crypto_generichash_update(&state, record, n);
	(void)crypto_generichash_final(&state, out, HS_AUDIT_CHAIN_LEN);
}

static void genesis(struct hs_trail_header *h)
{
	static const uint8_t none[HS_AUDIT_CHAIN_LEN];
	hs_trail_chain(none, h->bytes, sizeof(h->bytes), h->genesis);
}

void hs_trail_header_make(const char *tenant, int64_t now_ms, struct hs_trail_header *ret)
{
	struct hs_trail_header h = {0};
	size_t n = strlen(tenant);
	hs_assert(n <= HS_AUDIT_TENANT_MAX);
	memcpy(h.bytes, file_magic, sizeof(file_magic));
	hs_le32_store(h.bytes + 8, HS_AUDIT_FORMAT);
	hs_le32_store(h.bytes + 12, HS_TRAIL_HEADER_LEN);
	hs_random(h.bytes + 16, 16); /* two logs never begin alike */
	hs_le64_store(h.bytes + 32, (uint64_t)now_ms);
	hs_le32_store(h.bytes + 40, (uint32_t)n);
	memcpy(h.bytes + 44, tenant, n);
	memcpy(h.tenant, tenant, n + 1);
	genesis(&h);
	*ret = h;
}

int hs_trail_header_read(int fd, struct hs_trail_header *ret, struct hs_err *err)
{
	struct hs_trail_header h = {0};
	struct stat st;
	if (fstat(fd, &st) < 0)
		return hs_fail_errno(err, -errno, "audit.read", "audit log");
	if (st.st_size < HS_TRAIL_HEADER_LEN)
		return hs_fail(err, EBADMSG, "audit.chain", HS_N_("The audit log is shorter than its header."), "%lld bytes",
			       (long long)st.st_size);
	int rc = read_at(fd, 0, h.bytes, sizeof(h.bytes));
	if (rc)
		return hs_fail_errno(err, rc, "audit.read", "audit log");
	uint32_t format = hs_le32_load(h.bytes + 8), n = hs_le32_load(h.bytes + 40);
	if (strncmp((const char *)h.bytes, file_magic, sizeof(file_magic)) != 0)
		return hs_fail(err, EBADMSG, "audit.chain", HS_N_("The file is no audit log."), "byte 0");
	if (format != HS_AUDIT_FORMAT || hs_le32_load(h.bytes + 12) != HS_TRAIL_HEADER_LEN)
		return hs_fail(err, ENOTSUP, "audit.format",
			       HS_N_("The audit log is of a format that this Hisho does not know; install the version that wrote it."),
			       "format %u", format);
	if (n == 0 || n > HS_AUDIT_TENANT_MAX)
		return hs_fail(err, EBADMSG, "audit.chain", HS_N_("The audit log's header was changed."), "tenant");
	memcpy(h.tenant, h.bytes + 44, n);
	genesis(&h);
	*ret = h;
	return 0;
}

int hs_trail_init(struct hs_trail *t, int fd, const struct hs_trail_header *h)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	*t = (struct hs_trail){.fd = fd, .at = HS_TRAIL_HEADER_LEN, .size = (uint64_t)st.st_size};
	memcpy(t->chain, h->genesis, sizeof(t->chain));
	t->buf = malloc(HS_AUDIT_RECORD_MAX);
	return t->buf ? 0 : -ENOMEM;
}

void hs_trail_finish(struct hs_trail *t)
{
	free(t->buf);
	t->buf = NULL;
}

int hs_trail_next(struct hs_trail *t, struct hs_trail_record *ret)
{
	uint64_t left = t->size - t->at;
	if (left == 0)
		return 0;
	if (left < HS_TRAIL_RECORD_MIN)
		return -EBADMSG;
	int rc = read_at(t->fd, t->at, t->buf, HS_TRAIL_FRAME_LEN);
	if (rc)
		return rc;
	uint32_t length = hs_le32_load(t->buf + 4);
	if (hs_le32_load(t->buf) != RECORD_MAGIC || length < HS_TRAIL_RECORD_MIN || length > HS_AUDIT_RECORD_MAX || length > left ||
	    hs_le16_load(t->buf + 8) != RECORD_VERSION)
		return -EBADMSG;
	rc = read_at(t->fd, t->at + HS_TRAIL_FRAME_LEN, t->buf + HS_TRAIL_FRAME_LEN, length - HS_TRAIL_FRAME_LEN);
	if (rc)
		return rc;
	uint8_t chain[HS_AUDIT_CHAIN_LEN];
	hs_trail_chain(t->chain, t->buf, length - HS_AUDIT_CHAIN_LEN, chain);
	struct hs_trail_record r = {
		.kind = (enum hs_trail_kind)hs_le16_load(t->buf + 10),
		.flags = hs_le32_load(t->buf + 12),
		.seq = hs_le64_load(t->buf + 16),
		.time = (int64_t)hs_le64_load(t->buf + 24),
		.commit_seq = hs_le64_load(t->buf + 32),
		.frame = t->buf,
		.body = t->buf + HS_TRAIL_FRAME_LEN,
		.body_len = length - HS_TRAIL_RECORD_MIN,
		.chain = t->buf + length - HS_AUDIT_CHAIN_LEN,
	};
	if (sodium_memcmp(chain, r.chain, sizeof(chain)) || r.seq != t->seq + 1 || r.kind != HS_TRAIL_ENTRY)
		return -EBADMSG;
	memcpy(r.prev, t->chain, sizeof(r.prev));
	memcpy(t->chain, chain, sizeof(t->chain));
	t->seq = r.seq;
	t->at += length;
	if (r.time > t->clock_high || r.flags & HS_TRAIL_CLOCK_SET)
		t->clock_high = r.time;
	if (r.commit_seq > t->commit_high)
		t->commit_high = r.commit_seq;
	*ret = r;
	return 1;
}

void hs_trail_frame(const struct hs_trail_record *r, uint8_t out[static HS_TRAIL_FRAME_LEN])
{
	memset(out, 0, HS_TRAIL_FRAME_LEN);
	hs_le32_store(out, RECORD_MAGIC);
	hs_le32_store(out + 4, (uint32_t)(HS_TRAIL_RECORD_MIN + r->body_len));
	hs_le16_store(out + 8, RECORD_VERSION);
	hs_le16_store(out + 10, (uint16_t)r->kind);
	hs_le32_store(out + 12, r->flags);
	hs_le64_store(out + 16, r->seq);
	hs_le64_store(out + 24, (uint64_t)r->time);
	hs_le64_store(out + 32, r->commit_seq);
}

/* --- the mark --- */

static void mark_mac(const uint8_t *slot, const uint8_t *key, const uint8_t *genesis_chain, uint8_t out[static MAC_LEN])
{
	crypto_generichash_state state;
	(void)crypto_generichash_init(&state, key, HS_AUDIT_KEY_LEN, MAC_LEN);
	(void)crypto_generichash_update(&state, genesis_chain, HS_AUDIT_CHAIN_LEN);
	(void)crypto_generichash_update(&state, slot, MARK_MAC_AT);
	(void)crypto_generichash_final(&state, out, MAC_LEN);
}

void hs_mark_encode(const struct hs_mark *m, const uint8_t *mac_key, const uint8_t *genesis_chain, uint8_t out[static HS_MARK_SLOT])
{
	memset(out, 0, HS_MARK_SLOT);
	memcpy(out, mark_magic, sizeof(mark_magic));
	hs_le32_store(out + 8, HS_AUDIT_FORMAT);
	hs_le64_store(out + 16, m->generation);
	hs_le64_store(out + 24, m->seq);
	hs_le64_store(out + 32, (uint64_t)m->clock_high);
	memcpy(out + 40, m->chain, sizeof(m->chain));
	mark_mac(out, mac_key, genesis_chain, out + MARK_MAC_AT);
	(void)crypto_generichash(out + MARK_CHECKSUM_AT, CHECKSUM_LEN, out, MARK_CHECKSUM_AT, NULL, 0);
}

int hs_mark_decode(const uint8_t data[static HS_MARK_LEN], const uint8_t *mac_key, const uint8_t *genesis_chain,
		   struct hs_mark *ret)
{
	int rc = -ENOENT;
	struct hs_mark best = {0};
	for (int i = 0; i < 2; i++) {
		const uint8_t *slot = data + i * HS_MARK_SLOT;
		uint8_t checksum[CHECKSUM_LEN], mac[MAC_LEN];
		(void)crypto_generichash(checksum, sizeof(checksum), slot, MARK_CHECKSUM_AT, NULL, 0);
		if (strncmp((const char *)slot, mark_magic, sizeof(mark_magic)) != 0 || hs_le32_load(slot + 8) != HS_AUDIT_FORMAT ||
		    sodium_memcmp(checksum, slot + MARK_CHECKSUM_AT, sizeof(checksum)))
			continue;
		if (mac_key) {
			mark_mac(slot, mac_key, genesis_chain, mac);
			if (sodium_memcmp(mac, slot + MARK_MAC_AT, sizeof(mac)))
				return -EKEYREJECTED;
		}
		struct hs_mark m = {.generation = hs_le64_load(slot + 16),
				    .seq = hs_le64_load(slot + 24),
				    .clock_high = (int64_t)hs_le64_load(slot + 32)};
		memcpy(m.chain, slot + 40, sizeof(m.chain));
		if (rc || m.generation > best.generation)
			best = m;
		rc = 0;
	}
	if (!rc)
		*ret = best;
	return rc;
}
