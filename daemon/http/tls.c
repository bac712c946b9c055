#include "daemon/http/tls.h"

#include <errno.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

struct hs_tls {
	SSL_CTX *ctx;
	BIO_METHOD *method;
};

struct hs_tls_session {
	SSL *ssl;
	const uint8_t *in;
	size_t in_len;
	struct hs_buf *out;
	bool broken;
};

static int memory_read(BIO *bio, char *buf, int cap)
{
	struct hs_tls_session *s = BIO_get_data(bio);
	BIO_clear_retry_flags(bio);
	if (s->in_len == 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	size_t n = HS_MIN((size_t)cap, s->in_len);
	memcpy(buf, s->in, n);
	s->in += n;
	s->in_len -= n;
	return (int)n;
}

static int memory_write(BIO *bio, const char *data, int len)
{
	struct hs_tls_session *s = BIO_get_data(bio);
	BIO_clear_retry_flags(bio);
	return hs_buf_append(s->out, data, (size_t)len) < 0 ? -1 : len;
}

static long memory_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static int memory_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

static BIO_METHOD *memory_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "hisho memory");
	if (m && BIO_meth_set_read(m, memory_read) && BIO_meth_set_write(m, memory_write) && BIO_meth_set_ctrl(m, memory_ctrl) &&
	    BIO_meth_set_create(m, memory_create))
		return m;
	BIO_meth_free(m);
	return NULL;
}

static int fail(struct hs_err *err, const char *object)
{
	char reason[96];
	ERR_error_string_n(ERR_peek_last_error(), reason, sizeof reason);
	ERR_clear_error();
	return hs_fail(err, EINVAL, "tls.setup",
		       HS_N_("The TLS key or certificate cannot be used. Check that the files belong together."), "%s: %s",
		       object, reason);
}

static int alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in, unsigned in_len, void *arg)
{
	static const unsigned char offered[] = "\x08http/1.1";
	if (SSL_select_next_proto((unsigned char **)out, out_len, offered, sizeof offered - 1, in, in_len) == OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_OK;
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

int hs_tls_create(const char *key_file, const char *cert_file, struct hs_tls **ret, struct hs_err *err)
{
	struct hs_tls *t = calloc(1, sizeof *t);
	if (!t)
		return -ENOMEM;
	t->method = memory_method();
	t->ctx = SSL_CTX_new(TLS_server_method());
	int rc = -ENOMEM;
	if (!t->method || !t->ctx)
		goto failed;
	SSL_CTX_set_options(t->ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_mode(t->ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(t->ctx, SSL_SESS_CACHE_OFF);
	(void)SSL_CTX_set_num_tickets(t->ctx, 1); /* one is what a browser uses; two cost memory and a write */
	SSL_CTX_set_alpn_select_cb(t->ctx, alpn, NULL);
	if (!SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION) ||
	    !SSL_CTX_set_cipher_list(t->ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") ||
	    !SSL_CTX_set1_groups_list(t->ctx, "X25519:P-256:P-384")) {
		rc = fail(err, "ciphers");
		goto failed;
	}
	if (SSL_CTX_use_certificate_chain_file(t->ctx, cert_file) != 1) {
		rc = fail(err, cert_file);
		goto failed;
	}
	if (SSL_CTX_use_PrivateKey_file(t->ctx, key_file, SSL_FILETYPE_PEM) != 1 || SSL_CTX_check_private_key(t->ctx) != 1) {
		rc = fail(err, key_file);
		goto failed;
	}
	*ret = t;
	return 0;
failed:
	hs_tls_destroy(t);
	return rc;
}

void hs_tls_destroy(struct hs_tls *t)
{
	if (!t)
		return;
	SSL_CTX_free(t->ctx);
	BIO_meth_free(t->method);
	free(t);
}

int hs_tls_session_create(struct hs_tls *t, struct hs_buf *out, struct hs_tls_session **ret)
{
	struct hs_tls_session *s = calloc(1, sizeof *s);
	if (!s)
		return -ENOMEM;
	s->out = out;
	s->ssl = SSL_new(t->ctx);
	BIO *bio = s->ssl ? BIO_new(t->method) : NULL;
	if (!bio) {
		SSL_free(s->ssl);
		free(s);
		return -ENOMEM;
	}
	BIO_set_data(bio, s);
	SSL_set_bio(s->ssl, bio, bio);
	SSL_set_accept_state(s->ssl);
	*ret = s;
	return 0;
}

void hs_tls_session_destroy(struct hs_tls_session *s)
{
	if (!s)
		return;
	SSL_free(s->ssl);
	free(s);
}

void hs_tls_feed(struct hs_tls_session *s, const uint8_t *data, size_t len)
{
	s->in = data;
	s->in_len = len;
}

static int broken(struct hs_tls_session *s)
{
	s->broken = true; /* nothing may be sent after a fatal error, not even close_notify */
	ERR_clear_error();
	return -EPROTO;
}

long hs_tls_read(struct hs_tls_session *s, uint8_t *buf, size_t cap)
{
	if (s->broken)
		return -EPROTO;
	ERR_clear_error();
	size_t got = 0;
	if (SSL_read_ex(s->ssl, buf, cap, &got) == 1)
		return (long)got;
	switch (SSL_get_error(s->ssl, 0)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return 0;
	case SSL_ERROR_ZERO_RETURN:
		return -EPIPE;
	default:
		return broken(s);
	}
}

int hs_tls_write(struct hs_tls_session *s, const uint8_t *data, size_t len)
{
	while (len > 0) {
		if (s->broken)
			return -EPROTO;
		ERR_clear_error();
		size_t put = 0;
		if (SSL_write_ex(s->ssl, data, len, &put) != 1)
			return broken(s);
		data += put;
		len -= put;
	}
	return 0;
}

bool hs_tls_is_open(const struct hs_tls_session *s)
{
	return SSL_is_init_finished(s->ssl);
}

void hs_tls_close(struct hs_tls_session *s)
{
	if (s->broken || !hs_tls_is_open(s))
		return;
	(void)SSL_shutdown(s->ssl); /* one way: the connection is closed after it */
	ERR_clear_error();
}
