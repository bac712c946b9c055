/*
 * TLS over memory (OpenSSL 3): bytes from the network in, bytes for the network out, no sockets.
 *
 * A session reads straight from the caller's receive buffer and appends to the caller's send buffer, so an idle one holds
 * OpenSSL's own state and no buffers (SSL_MODE_RELEASE_BUFFERS).
 */
#ifndef HISHO_DAEMON_HTTP_TLS_H
#define HISHO_DAEMON_HTTP_TLS_H

#include "daemon/http.h"

struct hs_tls_session;

int hs_tls_session_create(struct hs_tls *t, struct hs_buf *out, struct hs_tls_session **ret) HS_MUST_CHECK;
void hs_tls_session_destroy(struct hs_tls_session *s); /* takes NULL */

/* Bytes from the network; they must be read (hs_tls_read until it gives 0) before the next. data must live until then. */
void hs_tls_feed(struct hs_tls_session *s, const uint8_t *data, size_t len);

/* Plain bytes into buf. >0: so many; 0: nothing now (also while shaking hands); -EPIPE: the peer closed; -EPROTO: broken. */
long hs_tls_read(struct hs_tls_session *s, uint8_t *buf, size_t cap) HS_MUST_CHECK;

/* Encrypt into the send buffer. 0, -EPROTO, -ENOMEM. Only after the handshake. */
int hs_tls_write(struct hs_tls_session *s, const uint8_t *data, size_t len) HS_MUST_CHECK;

bool hs_tls_is_open(const struct hs_tls_session *s); /* the handshake is done */

/* Say close_notify into the send buffer. */
void hs_tls_close(struct hs_tls_session *s);

#endif
