/*
 * An HTTP/1.1 server on a libuv loop, over TLS (hisho-web) or plain over a Unix socket (the admin connections of hishod and
 * of a tenant). It serves struct hs_service (daemon/api.h). Loop thread only.
 *
 * What it refuses, before a handler sees anything, stands in daemon/http/parse.h. Deadlines: the handshake, the head, a body
 * that does not move, an answer that is not taken. A client that goes away is seen at once: gone().
 */
#ifndef HISHO_DAEMON_HTTP_H
#define HISHO_DAEMON_HTTP_H

#include <uv.h>

#include "daemon/api.h"
#include "daemon/child.h"

#define HS_HTTP_HEAD_MAX (16u * 1024u)
#define HS_HTTP_HEADERS_MAX 64
#define HS_HTTP_BODY_MAX (320ull * 1024 * 1024) /* of any request; a route's own limit is smaller */
#define HS_HTTP_CONNECTIONS_MAX 2000
#define HS_HTTP_CONNECTIONS_PER_PEER_MAX 1200
#define HS_HTTP_HANDSHAKE_MS 10000
#define HS_HTTP_HEAD_MS 10000
#define HS_HTTP_IDLE_MS 60000  /* between two requests */
#define HS_HTTP_STALL_MS 30000 /* without 4 KiB of body, or without room for the answer */
#define HS_HTTP_STALL_BYTES 4096

struct hs_tls;
struct hs_http_server;

struct hs_http_options {
	const struct hs_service *service;
	void *ctx;
	struct hs_tls *tls;       /* NULL: plain; must outlive the server */
	const char *headers;      /* added to every answer: "Name: value\r\n..."; or NULL */
	const char *const *hosts; /* names that Host may say, without port; NULL: any */
	size_t n_hosts;
	bool local;               /* connections are admin connections with credentials */
	bool one_request;         /* close after each answer: the next connection may belong to another process */
	/* Deadlines in ms; 0 takes the constants above. Tests shorten them. */
	unsigned handshake_ms, head_ms, idle_ms, stall_ms;
};

int hs_http_server_create(uv_loop_t *loop, const struct hs_http_options *o, struct hs_http_server **ret) HS_MUST_CHECK;

/* Accept on a bound, listening socket (TCP or Unix), which becomes the server's. */
int hs_http_server_listen(struct hs_http_server *s, int fd) HS_MUST_CHECK;

/* Serve an accepted connection, which becomes the server's, also on failure. who: NULL where it is not local. */
int hs_http_server_take(struct hs_http_server *s, int fd, const struct hs_peer_credentials *who) HS_MUST_CHECK;

/* No new connections; those without a request are closed; the others finish their answer. */
void hs_http_server_stop(struct hs_http_server *s);

/* Close everything: gone() for what runs. The memory goes when the loop has closed the handles. Takes NULL. */
void hs_http_server_destroy(struct hs_http_server *s);

size_t hs_http_server_connections(const struct hs_http_server *s);

/* TLS 1.2 and 1.3 from a PEM key and chain, read before the jail. */
int hs_tls_create(const char *key_file, const char *cert_file, struct hs_tls **ret, struct hs_err *err) HS_MUST_CHECK;
void hs_tls_destroy(struct hs_tls *t); /* takes NULL */

/* Make a key (0600) and a self-signed certificate for the names, where they are not there yet. */
int hs_tls_make_demo(const char *key_file, const char *cert_file, const char *const *names, size_t n_names,
		     struct hs_err *err) HS_MUST_CHECK;

#endif
