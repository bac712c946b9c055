/*
 * The pristine extractor: started once, with its libraries loaded and its jail closed, it forks a child for each document,
 * so that a small file does not pay for loading poppler, and no document meets what another left behind.
 *
 *   EXTRACT -> waits (at most HS_ZYGOTE_WAITING_MAX) -> runs in a child -> EXTRACT_DONE, or ERROR "doc.extractor_crashed",
 *   "doc.extractor_timeout", "doc.extractor_memory"
 *
 * What was wrong with the document itself travels on its pipe, encoded in the document's place.
 */
#ifndef HISHO_DAEMON_EXTRACT_ZYGOTE_H
#define HISHO_DAEMON_EXTRACT_ZYGOTE_H

#include <uv.h>

#include "daemon/extract/one.h"
#include "daemon/messages.h"

#define HS_ZYGOTE_RUNNING_MAX 4  /* children at one time */
#define HS_ZYGOTE_WAITING_MAX 64 /* documents that wait for one, of all tenants together */

struct hs_zygote;

struct hs_zygote_options {
	enum hs_process self; /* HS_PROCESS_EXTRACT or HS_PROCESS_EXTRACT_PDF */
	hs_extract_reader reader;
	size_t input_max;
	uint64_t cpu_seconds;   /* of one child; 0: no limit */
	uint64_t timeout_ms;    /* of one child, by the clock */
	int null_fd;            /* /dev/null, the caller's: a child's input, output and log, since libraries print what they read */
	int (*confine)(void);   /* the child calls it before it reads; NULL: nothing more */
};

int hs_zygote_create(uv_loop_t *loop, const struct hs_zygote_options *o, struct hs_zygote **ret) HS_MUST_CHECK;

/* A fresh channel to a tenant. Takes fd. */
int hs_zygote_attach(struct hs_zygote *z, const char *tenant, int fd) HS_MUST_CHECK;

/* Documents that wait or run. */
size_t hs_zygote_busy(const struct hs_zygote *z);

/* Kill what runs, drop what waits, close all handles; the memory goes when the loop has run. */
void hs_zygote_destroy(struct hs_zygote *z);

#endif
