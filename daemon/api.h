/*
 * HTTP as handlers see it, whichever way it came: over TLS in hisho-web, forwarded over a channel to hisho-tenant, or on the
 * admin socket. Loop thread only.
 *
 *   request() --> body()* --> [writable()]* --> the handler's last content, or gone(), whichever is first
 *
 * A transport (daemon/http.h, daemon/forward.h) makes the responder and calls the service; the service answers through the
 * responder. Both directions are bounded: at most HS_HTTP_WINDOW bytes of a body are delivered that were not credited, and
 * a handler that streams looks at hs_responder_queued and waits for writable().
 */
#ifndef HISHO_DAEMON_API_H
#define HISHO_DAEMON_API_H

#include <sys/types.h>

#include "daemon/messages.h"

#define HS_HTTP_WINDOW (256u * 1024u) /* bytes on their way in one direction of one request */

struct hs_request {
	struct hs_msg_http_request head; /* slices live until request() returns */
	bool local;                      /* an admin connection, judged by SO_PEERCRED; then: */
	uid_t uid;
	gid_t gid;
	pid_t pid;
};

struct hs_responder;

struct hs_service {
	/*
	 * A request's head. Returns the handler's own state for the calls below, or NULL where it has answered already (a body
	 * is then thrown away). r is valid until the last content was given or gone() returned.
	 */
	void *(*request)(void *ctx, const struct hs_request *q, struct hs_responder *r);
	/* last comes once, perhaps with len 0; never called for a request without a body */
	void (*body)(void *state, const void *data, size_t len, bool last);
	void (*writable)(void *state); /* the queue fell below half a window; may be NULL */
	void (*gone)(void *state);     /* the client is away: cancel; nothing can be sent */
};

struct hs_responder_ops { /* how a transport answers */
	int (*begin)(struct hs_responder *r, const struct hs_msg_http_response *head);
	int (*content)(struct hs_responder *r, const void *data, size_t len, bool last);
	void (*credit)(struct hs_responder *r, size_t bytes);
	size_t (*queued)(const struct hs_responder *r);
	void (*abort)(struct hs_responder *r);
};

struct hs_responder { /* first member of a transport's own struct */
	const struct hs_responder_ops *ops;
	bool japanese; /* the language of errors, from the request's Accept-Language */
};

/*
 * Send the head, once. Names and values must hold no control characters (-EINVAL); Content-Length, Transfer-Encoding and
 * Connection are the transport's. Results may be ignored: what cannot be sent any more is swallowed, and where the client
 * is away gone() says so.
 */
int hs_responder_begin(struct hs_responder *r, const struct hs_msg_http_response *head);

/* Send content. After last the responder and the state's callbacks are over. Takes data of any length, and copies it. */
int hs_responder_content(struct hs_responder *r, const void *data, size_t len, bool last);

/* The handler has dealt with that many bytes of the body: as many more may come. */
void hs_responder_credit(struct hs_responder *r, size_t bytes);

/* Break the answer off so that the client sees it is not whole. Then the responder and the state's callbacks are over. */
void hs_responder_abort(struct hs_responder *r);

/* Bytes of the answer that the client has not taken yet. */
size_t hs_responder_queued(const struct hs_responder *r);

/* A whole answer in one call. */
void hs_responder_answer(struct hs_responder *r, unsigned status, const char *content_type, const void *data, size_t len);

#define HS_RETRY_AFTER_S "1" /* of "request.busy": what is full empties by itself */

/* An error as JSON, the shape that OpenAI's clients know: {"error": {"message", "type", "code", "object"}}. */
void hs_responder_refuse(struct hs_responder *r, unsigned status, const struct hs_err *err);

/* The same body, appended to b. */
int hs_error_body(struct hs_buf *b, const struct hs_err *err, bool japanese) HS_MUST_CHECK;

static inline struct hs_slice hs_slice_str(const char *s)
{
	return (struct hs_slice){s, __builtin_strlen(s)};
}

static inline bool hs_slice_is(struct hs_slice v, const char *s)
{
	return v.len == __builtin_strlen(s) && __builtin_memcmp(v.s, s, v.len) == 0;
}

#endif
