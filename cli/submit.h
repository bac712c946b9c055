/*
 * The sender's side of filing: a document is sealed to the tenant and its manifest signed before anything leaves this process.
 *
 * A filer holds the sender's key, the tenant's public half, and what was filed before (KEY.TENANT.state beside the key file:
 * opaque sources, sequences, MACs; no name). "Unchanged" is decided here, by a MAC that only this sender can make.
 */
#ifndef HISHO_CLI_SUBMIT_H
#define HISHO_CLI_SUBMIT_H

#include "base/buf.h"
#include "base/err.h"
#include "cli/cli.h"
#include "crypto/manifest.h"

#define HS_SUBMISSION_TYPE "application/vnd.hisho.submission"
#define HS_SUBMISSION_LIFE_MS (24 * 60 * 60 * 1000LL) /* a manifest that is not handed in by then is refused */

struct hs_filer;

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

/* The last sealed or withdrawn one was acknowledged: remember it. */
int hs_filer_acknowledged(struct hs_filer *f, struct hs_err *err) HS_MUST_CHECK;

/* Hand in a manifest with its ciphertext. job receives the id of the job, "" where the appliance names none. */
int hs_submit(const struct hs_cli *cli, const struct hs_buf *manifest, const struct hs_buf *ciphertext, char *job, size_t job_cap,
	      struct hs_err *err) HS_MUST_CHECK;

/* The sub-verb `docs rm`. */
int hs_docs_rm(struct hs_cli *cli, int argc, char **argv);

#endif
