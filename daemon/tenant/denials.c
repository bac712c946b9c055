#include "daemon/tenant/denials.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/tenant/exchange.h"
#include "daemon/tenant/heads.h"

struct denial {
	struct hs_job job;
	struct hs_tenant *tenant;
	char principal[HS_POLICY_NAME_MAX + 1], object[HS_ID_LEN + 1], reason[48], detail[128];
};

bool hs_denials_take(struct hs_denials *d, int64_t now_ms, uint64_t *ret_skipped)
{
	if (now_ms < d->since) /* the clock was set back: begin here */
		d->since = now_ms;
	int64_t earned = (now_ms - d->since) / HS_DENIALS_MS;
	if (d->used == 0 || earned >= d->used) {
		d->used = 0;
		d->since = now_ms;
	} else {
		d->used -= (unsigned)earned;
		d->since += earned * HS_DENIALS_MS;
	}
	if (d->used == HS_DENIALS_BURST) {
		d->skipped++;
		return false;
	}
	d->used++;
	*ret_skipped = d->skipped;
	d->skipped = 0;
	return true;
}

static void run(struct hs_job *job, void *context)
{
	struct denial *n = HS_CONTAINER_OF(job, struct denial, job);
	struct hs_tenant *t = n->tenant;
	const struct hs_audit_entry e = {.principal = n->principal, .action = "denied", .object = n->object, .decision = HS_AUDIT_DENIED,
					 .reason = n->reason, .detail = n->detail, .time = hs_now_ms(),
					 .commit_seq = hs_store_commit_seq(t->store)};
	uint64_t seq;
	hs_audit_lock(t->audit);
	if (hs_audit_append(t->audit, &e, &seq, NULL) == 0)
		hs_heads_count(t->heads, seq);
	hs_audit_unlock(t->audit);
}

static void done(struct hs_job *job)
{
	free(HS_CONTAINER_OF(job, struct denial, job));
}

/* Not for every address that is wrong: where somebody was named or a document asked for. */
static bool is_denial(const struct hs_exchange *x)
{
	return x->status == 403 || (x->status == 401 && (x->has_credential || strcmp(x->err.code, "auth.refused") == 0)) ||
	       (x->status == 404 && strcmp(x->err.code, "doc.unknown") == 0);
}

/* Only what has the shape of one of our ids: the log keeps no text that a client made up. */
static const char *id_in(const char *s)
{
	static const char *const prefixes[] = {"doc_", "ver_", "tok_", "ses_", "cod_"};
	for (size_t i = 0; s && i < HS_ARRAY_LEN(prefixes); i++) {
		if (hs_id_valid(s, strlen(s), prefixes[i]))
			return s;
	}
	return "";
}

void hs_denials_record(struct hs_exchange *x)
{
	struct hs_tenant *t = x->tenant;
	uint64_t skipped;
	if (!is_denial(x))
		return;
	t->counts.denied++;
	if (!t->recorder || !hs_denials_take(&t->denials, hs_now_ms(), &skipped))
		return;
	struct denial *n = calloc(1, sizeof *n);
	if (!n)
		return;
	n->job = (struct hs_job){.run = run, .done = done};
	n->tenant = t;
	const char *object = id_in(x->params[0]);
	if (!*object && x->has_credential && memchr(x->credential.id.s, 0, sizeof x->credential.id.s))
		object = id_in(x->credential.id.s);
	(void)snprintf(n->principal, sizeof n->principal, "%s", *x->who.user ? x->who.user : "unknown");
	(void)snprintf(n->object, sizeof n->object, "%s", object);
	(void)snprintf(n->reason, sizeof n->reason, "%s", x->err.code);
	if (skipped)
		(void)snprintf(n->detail, sizeof n->detail, "from %.64s; %llu before it not recorded", x->peer, (unsigned long long)skipped);
	else
		(void)snprintf(n->detail, sizeof n->detail, "from %.64s", x->peer);
	if (hs_worker_push(t->recorder, &n->job) < 0)
		free(n);
}
