/*
 * Errors that a person can act on.
 *
 * Functions return a negative errno. Where more than the number is worth telling, they also take a `struct hs_err *`
 * (which may be NULL) and fill it: a stable code for scripts ("doc.encrypted_pdf"), the object that was wrong
 * (a file name, a field, an id; never document text), and a sentence that says what is wrong and what to do.
 * The sentence is an English gettext msgid; programs translate it when they print it.
 */
#ifndef HISHO_BASE_ERR_H
#define HISHO_BASE_ERR_H

#include "base/macros.h"

struct hs_err {
	int num;          /* positive errno, 0 where nothing failed */
	char code[48];    /* "room.reason" */
	char object[208]; /* what it happened to; printable, cut at a character boundary */
	const char *hint; /* static msgid, "" where the code says it all */
};

#define HS_ERR_INIT ((struct hs_err){.hint = ""})

/* Marks a msgid for xgettext without translating it. */
#define HS_N_(msgid) msgid

/*
 * Fill err (where not NULL) and return -num, so that callers write `return hs_fail(err, EINVAL, ...)`.
 * Control characters in the formatted object are replaced, so that an error never breaks a log line.
 */
int hs_fail(struct hs_err *err, int num, const char *code, const char *hint, const char *object_fmt, ...) HS_PRINTF(5, 6);

/* Fill err from a plain negative errno where the callee had nothing more to say; returns rc. */
int hs_fail_errno(struct hs_err *err, int rc, const char *code, const char *object);

/* Write "code: object: hint" in the current locale into buf, cut to len, always terminated. Returns buf. */
const char *hs_err_text(const struct hs_err *err, char *buf, size_t len);

#endif
