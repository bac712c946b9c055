/*
 * Intake: from submissions to indexed documents, several on their way at one time.
 *
 *   POST /v1/documents --admitted--> job row on disk (acknowledged) --begin--> opened: age, payload --> extractor
 *     --> canonical text, chunks, words (preparer thread) --> blobs, index: one transaction, shared by those that wait for it
 *     --> found by words; the embedder is kicked
 *
 * What was tried before and what is large goes alone: what ends this process is not blamed on its neighbours.
 *
 * Only this process opens a submission. Each step that fails ends the job with its reason, or begins it again later where
 * the reason is not the document's (retrieval/jobs.h). Loop thread, except where a function says otherwise.
 */
#ifndef HISHO_DAEMON_TENANT_INTAKE_H
#define HISHO_DAEMON_TENANT_INTAKE_H

#include "daemon/tenant/tenant.h"

struct hs_intake;

int hs_intake_create(struct hs_tenant *t, struct hs_intake **ret) HS_MUST_CHECK;
void hs_intake_destroy(struct hs_intake *i); /* after the workers; takes NULL */

/* There may be work. Any thread. */
void hs_intake_kick(struct hs_intake *i);

/* What jobs waited for may be back (an extractor, say): those that were put off are begun now. Any thread. */
void hs_intake_hurry(struct hs_intake *i);

/* Before the threads run: jobs that stand as running could not be opened again, for want of disk space. They are when there is. */
void hs_intake_strand(struct hs_intake *i);

/* Jobs that are not done, and jobs that failed, as last seen. Any thread. */
uint64_t hs_intake_open(const struct hs_intake *i);
uint64_t hs_intake_failed(const struct hs_intake *i);

/*
 * Is that job (struct hs_store_job.key) in work? Its row may say done a moment before words find its document: the database tells
 * of a commit earlier than the index in memory does. Any thread.
 */
bool hs_intake_works_on(const struct hs_intake *i, int64_t key);

/* The English sentence (a msgid) that goes with a failed job's code: what is wrong and what to do. "" where none is known. */
const char *hs_intake_hint(const char *code);

/*
 * Writer thread, inside its transaction: judge a submission and make its job durable. data: u32 length, signed manifest,
 * ciphertext. *ret_known: exactly this one was accepted before.
 * Refusals: "submission.*", "manifest.*", "sender.*", "class.*".
 */
int hs_intake_admit(struct hs_intake *i, const void *data, size_t len, struct hs_id *ret_job, struct hs_id *ret_sender,
		    bool *ret_known, struct hs_err *err) HS_MUST_CHECK;

#endif
