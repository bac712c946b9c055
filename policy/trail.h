/*
 * Inside this room: the audit log as a file: header, framing, chain. Reading needs no keys and trusts nothing.
 */
#ifndef HISHO_POLICY_TRAIL_H
#define HISHO_POLICY_TRAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "policy/audit.h"

#define HS_TRAIL_HEADER_LEN 128
#define HS_TRAIL_FRAME_LEN 64 /* before a record's body */
#define HS_TRAIL_NONCE_LEN 24
#define HS_TRAIL_TAG_LEN 16
#define HS_TRAIL_RECORD_MIN (HS_TRAIL_FRAME_LEN + HS_AUDIT_CHAIN_LEN)

enum hs_trail_kind { HS_TRAIL_ENTRY = 1 };
enum hs_trail_flag {
	HS_TRAIL_CLOCK_BACK = 1u << 0, /* the clock stood before a time that was recorded earlier */
	HS_TRAIL_CLOCK_SET = 1u << 1,  /* from here on this record's time is the highest: what was later is forgotten */
};

struct hs_trail_header {
	uint8_t bytes[HS_TRAIL_HEADER_LEN];
	char tenant[HS_AUDIT_TENANT_MAX + 1];
	uint8_t genesis[HS_AUDIT_CHAIN_LEN]; /* the chain before the first record */
};

void hs_trail_header_make(const char *tenant, int64_t now_ms, struct hs_trail_header *ret);
int hs_trail_header_read(int fd, struct hs_trail_header *ret, struct hs_err *err) HS_MUST_CHECK;

struct hs_trail_record { /* in the trail's buffer until the next step */
	enum hs_trail_kind kind;
	uint32_t flags;
	uint64_t seq, commit_seq;
	int64_t time;
	const uint8_t *frame; /* HS_TRAIL_FRAME_LEN bytes; the nonce is its last 24 */
	const uint8_t *body;
	size_t body_len;
	uint8_t prev[HS_AUDIT_CHAIN_LEN];
	const uint8_t *chain;
};

struct hs_trail {
	int fd; /* not owned */
	uint64_t at, size;
	uint64_t seq;
	int64_t clock_high;
	uint64_t commit_high;
	uint8_t chain[HS_AUDIT_CHAIN_LEN];
	uint8_t *buf; /* HS_AUDIT_RECORD_MAX */
};

int hs_trail_init(struct hs_trail *t, int fd, const struct hs_trail_header *h) HS_MUST_CHECK;
void hs_trail_finish(struct hs_trail *t);

/* 1: the next good record; 0: the end; -EBADMSG: what follows at t->at is no good record; -EIO and the like. */
int hs_trail_next(struct hs_trail *t, struct hs_trail_record *ret) HS_MUST_CHECK;

/* Write a frame and its length for a body of that size. */
void hs_trail_frame(const struct hs_trail_record *r, uint8_t out[static HS_TRAIL_FRAME_LEN]);

/* chain = BLAKE2b-256("hisho-audit" || prev || record without its chain) */
void hs_trail_chain(const uint8_t prev[static HS_AUDIT_CHAIN_LEN], const uint8_t *record, size_t n,
		    uint8_t out[static HS_AUDIT_CHAIN_LEN]);

/* --- the mark: what was acknowledged --- */

#define HS_MARK_SLOT 512
#define HS_MARK_LEN (2 * HS_MARK_SLOT)

struct hs_mark {
	uint64_t generation, seq;
	int64_t clock_high;
	uint8_t chain[HS_AUDIT_CHAIN_LEN];
};

/* mac_key: HS_AUDIT_KEY_LEN bytes. genesis ties the mark to its log. */
void hs_mark_encode(const struct hs_mark *m, const uint8_t *mac_key, const uint8_t *genesis, uint8_t out[static HS_MARK_SLOT]);

/*
 * The newest good slot. mac_key NULL: unkeyed, by the checksum alone. 0; -ENOENT: no slot was ever written whole;
 * -EKEYREJECTED: slots are whole but not made with this key.
 */
int hs_mark_decode(const uint8_t data[static HS_MARK_LEN], const uint8_t *mac_key, const uint8_t *genesis,
		   struct hs_mark *ret) HS_MUST_CHECK;

#endif
