/*
 * What was refused leaves a trace in the audit log: credentials that are not valid, rights that are not there, documents that are
 * not there for whoever asked. Anybody can cause them, so they are bounded: HS_DENIALS_BURST at once, then one every
 * HS_DENIALS_MS, and the next record says how many were not written. Nobody waits for it, and a log that is full refuses none.
 */
#ifndef HISHO_DAEMON_TENANT_DENIALS_H
#define HISHO_DAEMON_TENANT_DENIALS_H

#include <stdbool.h>
#include <stdint.h>

#define HS_DENIALS_BURST 30
#define HS_DENIALS_MS 10000

struct hs_exchange;

struct hs_denials { /* zeroed: nothing was refused yet. Loop thread only */
	unsigned used;   /* of the burst */
	int64_t since;   /* UTC ms, from when on used shrinks */
	uint64_t skipped; /* not written since the last that was */
};

/* May one be written now? Then *ret_skipped is how many were not, before it. */
bool hs_denials_take(struct hs_denials *d, int64_t now_ms, uint64_t *ret_skipped);

/* x is about to be answered with x->status and x->err: record it where it is a denial. Loop thread. */
void hs_denials_record(struct hs_exchange *x);

#endif
