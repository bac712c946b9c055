/* Inside daemon/http/: one connection and the server that it belongs to. */
#ifndef HISHO_DAEMON_HTTP_CONN_H
#define HISHO_DAEMON_HTTP_CONN_H

#include "daemon/http/parse.h"
#include "daemon/http/tls.h"

#define HS_HTTP_LISTENERS_MAX 4
#define HS_HTTP_READ_MAX (64u * 1024u)
#define HS_HTTP_IN_MAX (512u * 1024u)   /* bytes of requests that wait to be looked at */
#define HS_HTTP_AHEAD_MAX (64u * 1024u) /* sent before the answer of the request in hand; more is not for us */
#define HS_HTTP_OUT_MAX (64u * 1024u * 1024u)
#define HS_HTTP_LINGER_MS 2000          /* after a refusal: read on, so that it is not lost to a reset */

struct listener {
	struct hs_http_server *server;
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	};
	bool unix_socket;
};

/*
 *            accept          handshake done            head parsed                answered, keep-alive
 *   (TLS) ---------> SHAKING ---------------> HEAD --------------------> REQUEST --------------------> HEAD
 *   (plain) --------------------------------/   |                          |
 *                                               | refused                  | answered, not kept alive
 *                                               +--------> LINGER <--------+        LINGER --EOF or 2 s--> closed
 *
 * EOF, an error or a deadline closes from every state; in REQUEST the handler is told gone() first.
 */
enum state { STATE_SHAKING, STATE_HEAD, STATE_REQUEST, STATE_LINGER };

struct connection {
	struct hs_responder responder;
	struct hs_http_server *server;
	struct connection *next, **link;
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t tcp;
		uv_pipe_t pipe;
	};
	uv_shutdown_t shut;
	struct hs_tls_session *tls;
	struct hs_peer_credentials who;
	char peer[64];

	enum state state;
	unsigned depth;       /* entries on the stack; closing waits for the last to leave */
	bool kill, closing;   /* close when the last entry leaves; uv_close was called */
	bool reading;
	uint64_t deadline;    /* monotonic ms; 0: none */
	uint64_t stuck_since; /* the write queue has not moved since; 0: it is empty */
	size_t stuck_size;

	struct hs_buf in; /* plain bytes that were not looked at yet */
	size_t scanned;
	struct hs_buf out; /* bytes for the network */

	/* the request in hand */
	void *handler;
	struct hs_http_body body;
	uint64_t body_seen;
	size_t body_moved; /* since the deadline was set */
	size_t body_in;    /* delivered and not credited */
	bool keep_alive, old, head_only;
	bool body_told;    /* the handler was told of the body's end */
	bool over;         /* the handler is done: no callbacks */
	bool begun, head_sent, chunked, bodiless;
	bool choked;       /* the handler is owed a writable() */
	uint16_t status;
	struct hs_buf head; /* of the answer: kept until the framing is known; then scratch for a piece that is being written */
};

struct hs_http_server {
	uv_loop_t *loop;
	struct hs_http_options options;
	struct listener listeners[HS_HTTP_LISTENERS_MAX];
	size_t n_listeners, n_open; /* n_open: handles that are not closed yet */
	struct connection *connections;
	size_t n_connections;
	uv_timer_t tick;
	bool stopping, destroyed;
	uint8_t read_buf[HS_HTTP_READ_MAX];
	uint8_t plain_buf[HS_HTTP_READ_MAX];
};

void hs_http_conn_enter(struct connection *c);
void hs_http_conn_leave(struct connection *c); /* c may be gone after it */

/*
 * The same from inside a handler's call: c is not closed, and gone() is not called, before the loop's next turn. A handler's
 * state never goes away under its feet.
 */
void hs_http_conn_leave_handler(struct connection *c);

/* Put an answer's bytes towards the network. */
void hs_http_conn_write(struct connection *c, const void *data, size_t len);

/* response.c */
extern const struct hs_responder_ops hs_http_responder_ops;

/* Answer a request that no handler has seen, and linger. */
void hs_http_conn_refuse(struct connection *c, unsigned status, const struct hs_err *err);

#endif
