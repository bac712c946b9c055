/*
 * The sender's side of filing: a document is sealed to the tenant and its manifest signed before anything leaves this process.
 *
 * A filer holds the sender's key, the tenant's public half, and what was filed before (KEY.TENANT.state beside the key file:
 * opaque sources, sequences, MACs, jobs; no name). "Unchanged" is decided here, by a MAC that only this sender can make.
 *
 *   sealed --handed in--> acknowledged, with its job --the job is done--> settled: it stands, and is unchanged from now on
 *                                                    '--it failed-------> settled: nothing stands, and it is filed again
 */
#ifndef HISHO_CLI_SUBMIT_H
#define HISHO_CLI_SUBMIT_H

#include "base/buf.h"
#include "base/err.h"
#include "base/id.h"
#include "cli/cli.h"
#include "crypto/manifest.h"

#define HS_SUBMISSION_TYPE "application/vnd.hisho.submission"
#define HS_SUBMISSION_LIFE_MS (24 * 60 * 60 * 1000LL) /* a manifest that is not handed in by then is refused */

#define HS_FILER_SOURCE_LEN 56 /* "src_" and 52 base32 characters */
#define HS_FILER_MAC_LEN 52

struct hs_filer;
struct hs_reply;

struct hs_ticket { /* an acknowledged submission whose job has not been seen to end */
	char source[HS_FILER_SOURCE_LEN + 1];
	uint64_t sequence;
	char mac[HS_FILER_MAC_LEN + 1];
	char job[HS_ID_LEN + 1]; /* "" where there is nothing to wait for */
};

struct hs_filing {                             /* where a document belongs */
	const char *collection, *level, *list; /* list: "" for none */
	int64_t expires;                       /* of the document, UTC ms; 0: never */
};

/*
 * tenant_file: JSON of {"id", "recipient"} as `hisho tenant info --json` prints it, or NULL to ask the appliance.
 * The state is locked against a second filer until hs_filer_close.
 */
int hs_filer_open(const struct hs_cli *cli, const char *key_file, const char *tenant_file, struct hs_filer **ret,
		  struct hs_err *err) HS_MUST_CHECK;
void hs_filer_close(struct hs_filer *f); /* takes NULL */

enum hs_file_result {
	HS_FILED = 0,
	HS_UNCHANGED = 1,
};

/*
 * Seal one file. path says which document it is (its absolute form is the source); name is what readers see.
 * Returns HS_FILED with the signed manifest and the ciphertext appended, HS_UNCHANGED where the same content stands under the
 * same labels (unless again), or a negative errno: -EFBIG "file.size", -ENOTSUP "file.kind", and the system's own.
 */
int hs_filer_seal(struct hs_filer *f, const char *path, const char *name, const struct hs_filing *where, bool again,
		  struct hs_buf *manifest, struct hs_buf *ciphertext, struct hs_err *err) HS_MUST_CHECK;

/* The same for a text that is no file: name is the source, too. HS_UNCHANGED as above. */
int hs_filer_seal_text(struct hs_filer *f, const char *name, const char *title, const char *text, const struct hs_filing *where,
		       struct hs_buf *manifest, struct hs_buf *ciphertext, struct hs_err *err) HS_MUST_CHECK;

/* A signed manifest that takes the document of path back. The file need not exist any more. */
int hs_filer_withdraw(struct hs_filer *f, const char *path, struct hs_buf *manifest, struct hs_err *err) HS_MUST_CHECK;

/*
 * The last sealed or withdrawn one was acknowledged under that job ("": none): remember it. ret: the ticket to settle it
 * with, or NULL.
 */
int hs_filer_acknowledged(struct hs_filer *f, const char *job, struct hs_ticket *ret, struct hs_err *err) HS_MUST_CHECK;

/* The same where several are on their way: the ticket of the one just sealed, without a job, and that it was acknowledged. */
struct hs_ticket hs_filer_sealed(const struct hs_filer *f);
int hs_filer_acknowledge(struct hs_filer *f, struct hs_ticket *t, const char *job, struct hs_err *err) HS_MUST_CHECK;

/* The last sealed one is for another to hand in: its sequence is used up, and it does not count as filed. */
int hs_filer_set_aside(struct hs_filer *f, struct hs_err *err) HS_MUST_CHECK;

/* Its job ended: what was filed stands, or it does not. */
int hs_filer_settle(struct hs_filer *f, const struct hs_ticket *ticket, bool stands, struct hs_err *err) HS_MUST_CHECK;

/* The tickets of earlier runs that were never settled. fn may settle its own, and stops the walk with non-zero. */
int hs_filer_unsettled(struct hs_filer *f, int (*fn)(void *ctx, const struct hs_ticket *ticket), void *ctx) HS_MUST_CHECK;

/* Does the document of path wait for a job of an earlier run? */
bool hs_filer_ticket(const struct hs_filer *f, const char *path, struct hs_ticket *ret) HS_MUST_CHECK;

/* What this sender calls the document of path towards the appliance. */
int hs_filer_source(const struct hs_filer *f, const char *path, char ret[static HS_FILER_SOURCE_LEN + 1],
		    struct hs_err *err) HS_MUST_CHECK;

/* What is POSTed to /v1/documents, appended to body; and the job of the reply, "" where it names none. */
int hs_submission_body(const struct hs_buf *manifest, const struct hs_buf *ciphertext, struct hs_buf *body) HS_MUST_CHECK;
const char *hs_submission_job(const struct hs_reply *reply);

/* Hand in a manifest with its ciphertext. job receives the id of the job, "" where the appliance names none. */
int hs_submit(const struct hs_cli *cli, const struct hs_buf *manifest, const struct hs_buf *ciphertext, char *job, size_t job_cap,
	      struct hs_err *err) HS_MUST_CHECK;

#endif
