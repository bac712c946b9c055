/* Inside this room: what an audit record tells, as bytes, before encryption and after (docs/formats/audit.md). */
#ifndef HISHO_POLICY_RECORD_H
#define HISHO_POLICY_RECORD_H

#include "base/buf.h"
#include "base/err.h"
#include "policy/audit.h"

#define HS_RECORD_TEXT_MAX 1024 /* bytes of principal, object, reason, request, detail */
#define HS_RECORD_ACTION_MAX 64

/* query_hmac: HS_AUDIT_HMAC_LEN bytes, looked at where e->query is set. -EMSGSIZE or -EINVAL "audit.record" names the field. */
int hs_record_encode(const struct hs_audit_entry *e, const uint8_t *query_hmac, struct hs_buf *out,
		     struct hs_err *err) HS_MUST_CHECK;

struct hs_record_view { /* room for one decoded record; reused */
	char *strings;  /* HS_AUDIT_RECORD_MAX */
	size_t used;
	struct hs_audit_chunk *chunks; /* HS_AUDIT_CHUNKS_MAX */
};
int hs_record_view_init(struct hs_record_view *v) HS_MUST_CHECK;
void hs_record_view_finish(struct hs_record_view *v); /* wipes */

/* Fills decision and all that is decoded; 0 or -EBADMSG. Unknown fields are passed over. */
int hs_record_decode(const uint8_t *data, size_t len, struct hs_record_view *v, struct hs_audit_shown *ret) HS_MUST_CHECK;

#endif
