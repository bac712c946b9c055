#include "crypto/age.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/buf.h"
#include "crypto/agefile.h"

#define B64 sodium_base64_VARIANT_ORIGINAL_NO_PADDING
#define COLUMNS 64
#define SEALED_CHUNK (HS_AGE_CHUNK + HS_AGE_TAG_LEN)

enum state {
	HEADER,  /* gathering lines until the one that begins with "---" */
	NONCE,   /* of the payload */
	PAYLOAD,
	DONE,
	FAILED,
};

struct hs_age_decrypt {
	enum state state;
	hs_sink_fn sink;
	void *ctx;
	struct hs_key *identity, *key;
	uint8_t public[HS_AGE_PUBLIC_LEN];
	struct hs_err error; /* the first */
	struct hs_buf header;
	size_t line; /* where the line begins that is being gathered */
	struct hs_key *file_key; /* first 16 bytes; NULL until the header has been read */
	uint8_t nonce[HS_AGE_NONCE_LEN];
	uint64_t counter;
	size_t have;
	uint8_t chunk[HS_AGE_CHUNK], sealed[SEALED_CHUNK];
};

static int malformed(struct hs_err *err, const char *what)
{
	return hs_fail(err, EPROTO, "age.header", HS_N_("The sealed file's header is malformed. Seal the document again."), "%s", what);
}

/* --- the header: one pass over lines in place --- */

struct lines {
	const char *s;
	size_t len, at;
};

struct line {
	const char *s;
	size_t len;
};

static bool next_line(struct lines *l, struct line *ret)
{
	const char *end = l->at < l->len ? memchr(l->s + l->at, '\n', l->len - l->at) : NULL;
	if (!end)
		return false;
	*ret = (struct line){.s = l->s + l->at, .len = (size_t)(end - (l->s + l->at))};
	l->at += ret->len + 1;
	return true;
}

/* Exactly want bytes of canonical base64 without padding. */
static bool decode(const char *s, size_t n, uint8_t *out, size_t want)
{
	size_t got = 0;
	return sodium_base642bin(out, want, s, n, NULL, &got, NULL, B64) == 0 && got == want && n == (want * 4 + 2) / 3;
}

/* Base64 of any content: only its form is looked at. */
static bool base64_line(const struct line *l)
{
	uint8_t ignored[COLUMNS];
	size_t got;
	return l->len <= COLUMNS && sodium_base642bin(ignored, sizeof ignored, l->s, l->len, NULL, &got, NULL, B64) == 0;
}

#define ARGUMENTS_MAX 8

struct stanza {
	struct line arguments[ARGUMENTS_MAX]; /* the type is the first; more than fit are counted only */
	size_t n;
	struct line body; /* its first line */
	size_t body_lines;
};

static bool parse_arguments(const struct line *l, struct stanza *st)
{
	size_t at = 3;
	*st = (struct stanza){0};
	if (l->len < 4 || strncmp(l->s, "-> ", 3) != 0)
		return false;
	for (;;) {
		size_t start = at;
		while (at < l->len && l->s[at] > 0x20 && l->s[at] < 0x7f)
			at++;
		if (at == start || (at < l->len && l->s[at] != ' '))
			return false; /* an empty argument, or a character that may not be in one */
		if (st->n < ARGUMENTS_MAX)
			st->arguments[st->n] = (struct line){.s = l->s + start, .len = at - start};
		st->n++;
		if (at == l->len)
			return true;
		at++;
	}
}

/* Lines of exactly 64 columns, then one shorter, which may be empty. */
static bool parse_body(struct lines *l, struct stanza *st)
{
	struct line line;
	do {
		if (!next_line(l, &line) || !base64_line(&line))
			return false;
		if (st->body_lines++ == 0)
			st->body = line;
	} while (line.len == COLUMNS);
	return true;
}

static bool is(const struct line *l, const char *s)
{
	return l->len == strlen(s) && strncmp(l->s, s, l->len) == 0;
}

/* 1: this stanza holds the file key, 0: it is for somebody else, -EPROTO, -ENOMEM. */
static int try_x25519(struct hs_age_decrypt *d, const struct stanza *st, struct hs_err *err)
{
	static const uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
	uint8_t share[32], body[HS_AGE_WRAPPED_LEN], wrap[32];
	if (st->n != 2)
		return malformed(err, "X25519: arguments");
	if (!decode(st->arguments[1].s, st->arguments[1].len, share, sizeof share))
		return malformed(err, "X25519: share");
	if (st->body_lines != 1 || !decode(st->body.s, st->body.len, body, sizeof body))
		return malformed(err, "X25519: body");
	if (!hs_age_wrap_key(d->identity->bytes, share, share, d->public, wrap))
		return malformed(err, "X25519: share of low order");
	HS_KEY_AUTO file_key = hs_key_create();
	if (!file_key)
		return hs_fail_errno(err, -ENOMEM, "age.decrypt", "");
	int rc = crypto_aead_chacha20poly1305_ietf_decrypt(file_key->bytes, NULL, NULL, body, sizeof body, NULL, 0, nonce, wrap);
	sodium_memzero(wrap, sizeof wrap);
	if (rc != 0)
		return 0;
	if (!d->file_key) {
		d->file_key = file_key;
		file_key = NULL;
	}
	return 1;
}

static int read_stanzas(struct hs_age_decrypt *d, struct lines *l, struct line *ret_last, struct hs_err *err)
{
	struct stanza st;
	size_t stanzas = 0;
	bool passphrase = false;
	for (;; stanzas++) {
		if (!next_line(l, ret_last))
			return malformed(err, "cut short");
		if (ret_last->len >= 3 && strncmp(ret_last->s, "---", 3) == 0)
			break;
		if (!parse_arguments(ret_last, &st))
			return malformed(err, "stanza");
		if (!parse_body(l, &st))
			return malformed(err, "stanza body");
		passphrase |= is(&st.arguments[0], "scrypt");
		if (!is(&st.arguments[0], "X25519"))
			continue;
		int rc = try_x25519(d, &st, err);
		if (rc < 0)
			return rc;
	}
	if (stanzas == 0)
		return malformed(err, "no recipient");
	if (passphrase && stanzas > 1)
		return malformed(err, "a passphrase beside other recipients");
	return 0;
}

static int read_header(struct hs_age_decrypt *d, struct hs_err *err)
{
	struct lines l = {.s = (const char *)d->header.data, .len = d->header.len};
	struct line last = {0};
	uint8_t found[HS_AGE_MAC_LEN], mac[HS_AGE_MAC_LEN];
	l.at = sizeof HS_AGE_VERSION_LINE - 1; /* looked at when it came */
	int rc = read_stanzas(d, &l, &last, err);
	if (rc < 0)
		return rc;
	if (last.len != 4 + HS_AGE_B64_32 || last.s[3] != ' ' || !decode(last.s + 4, HS_AGE_B64_32, found, sizeof found))
		return malformed(err, "MAC line");
	if (!d->file_key)
		return hs_fail(err, ENOKEY, "age.recipient", HS_N_("The file is not sealed to this tenant's key."), "X25519");
	hs_age_header_mac(d->file_key->bytes, d->header.data, (size_t)(last.s + 3 - l.s), mac);
	if (sodium_memcmp(mac, found, sizeof mac) != 0)
		return hs_fail(err, EBADMSG, "age.mac", HS_N_("The sealed file's header was changed."), "MAC");
	return 0;
}

/* The first line is judged alone, so that what is no age file at all is told as such, and early. */
static int judge_first_line(const struct hs_buf *h, struct hs_err *err)
{
	static const char version[] = HS_AGE_VERSION_LINE, family[] = "age-encryption.org/";
	static const char armor[] = "-----BEGIN AGE ENCRYPTED FILE-----";
	const char *s = (const char *)h->data;
	if (h->len >= sizeof armor - 1 && strncmp(s, armor, sizeof armor - 1) == 0)
		return hs_fail(err, EPROTO, "age.armor", HS_N_("Armoured files are not taken. Seal without -a."), "armour");
	if (h->len == sizeof version - 1 && strncmp(s, version, sizeof version - 1) == 0)
		return 0;
	if (h->len > sizeof family && strncmp(s, family, sizeof family - 1) == 0)
		return hs_fail(err, EPROTO, "age.version", HS_N_("The file is of another version of the age format."), "%.*s",
			       (int)HS_MIN(h->len - 1, (size_t)40), s);
	return malformed(err, "not an age file");
}

/* Takes bytes of the header; sets *ret_taken. Goes on to NONCE when the header's last line is whole. */
static int push_header(struct hs_age_decrypt *d, const uint8_t *p, size_t n, size_t *ret_taken, struct hs_err *err)
{
	const uint8_t *end = memchr(p, '\n', n);
	size_t part = end ? (size_t)(end - p) + 1 : n;
	if (part > HS_AGE_HEADER_MAX - d->header.len)
		return malformed(err, "longer than 64 KiB");
	int rc = hs_buf_append(&d->header, p, part);
	if (rc < 0)
		return hs_fail_errno(err, rc, "age.decrypt", "header");
	*ret_taken = part;
	if (!end)
		return d->line == 0 && d->header.len > 64 ? judge_first_line(&d->header, err) : 0;
	const uint8_t *line = d->header.data + d->line;
	size_t line_len = d->header.len - d->line;
	if (d->line == 0)
		rc = judge_first_line(&d->header, err);
	d->line = d->header.len;
	if (rc < 0 || line_len < 4 || strncmp((const char *)line, "---", 3) != 0)
		return rc;
	rc = read_header(d, err);
	d->state = NONCE;
	d->have = 0;
	return rc;
}

/* --- the payload --- */

static bool open_chunk(struct hs_age_decrypt *d, bool last, size_t *ret_len)
{
	uint8_t nonce[12];
	unsigned long long plain_len = 0;
	hs_age_chunk_nonce(d->counter, last, nonce);
	if (crypto_aead_chacha20poly1305_ietf_decrypt(d->chunk, &plain_len, NULL, d->sealed, d->have, NULL, 0, nonce, d->key->bytes) != 0)
		return false;
	*ret_len = (size_t)plain_len;
	return true;
}

static int bad_payload(struct hs_err *err, const char *what)
{
	return hs_fail(err, EBADMSG, "age.payload", HS_N_("The sealed document was damaged or changed."), "%s", what);
}

static int give(struct hs_age_decrypt *d, size_t n, struct hs_err *err)
{
	d->counter++;
	d->have = 0;
	int rc = n ? d->sink(d->ctx, d->chunk, n) : 0;
	return rc < 0 ? hs_fail_errno(err, rc, "age.decrypt", "output") : 0;
}

static int push_payload(struct hs_age_decrypt *d, const uint8_t *p, size_t n, size_t *ret_taken, struct hs_err *err)
{
	size_t len;
	if (d->have == SEALED_CHUNK) { /* full, and more follows: it is not the last */
		if (open_chunk(d, false, &len)) {
			int rc = give(d, len, err);
			if (rc < 0)
				return rc;
		} else {
			return bad_payload(err, open_chunk(d, true, &len) ? "bytes after the last chunk" : "authentication");
		}
	}
	*ret_taken = HS_MIN(n, SEALED_CHUNK - d->have);
	memcpy(d->sealed + d->have, p, *ret_taken);
	d->have += *ret_taken;
	return 0;
}

static int finish_payload(struct hs_age_decrypt *d, struct hs_err *err)
{
	size_t len;
	if (d->have < HS_AGE_TAG_LEN)
		return bad_payload(err, "cut short");
	if (!open_chunk(d, true, &len)) {
		if (open_chunk(d, false, &len))
			return bad_payload(err, "cut short");
		/* A short last chunk with more behind it has become one too long: it is told as a changed one. */
		return bad_payload(err, "authentication");
	}
	if (len == 0 && d->counter > 0)
		return bad_payload(err, "an empty last chunk");
	return give(d, len, err);
}

static int push_nonce(struct hs_age_decrypt *d, const uint8_t *p, size_t n, size_t *ret_taken)
{
	*ret_taken = HS_MIN(n, sizeof d->nonce - d->have);
	memcpy(d->nonce + d->have, p, *ret_taken);
	d->have += *ret_taken;
	if (d->have == sizeof d->nonce) {
		hs_age_hkdf(d->file_key->bytes, HS_AGE_FILE_KEY_LEN, d->nonce, sizeof d->nonce, "payload", d->key->bytes);
		d->have = 0;
		d->state = PAYLOAD;
	}
	return 0;
}

/* --- the front --- */

int hs_age_decrypt_create(const struct hs_key *identity, hs_sink_fn sink, void *ctx, struct hs_age_decrypt **ret,
			  struct hs_err *err)
{
	struct hs_age_decrypt *d = hs_crypto_init() == 0 ? calloc(1, sizeof *d) : NULL;
	if (!d)
		return hs_fail_errno(err, -ENOMEM, "age.decrypt", "");
	d->sink = sink;
	d->ctx = ctx;
	d->error = HS_ERR_INIT;
	d->identity = hs_key_copy(identity->bytes);
	d->key = hs_key_create();
	if (!d->identity || !d->key) {
		hs_age_decrypt_destroy(d);
		return hs_fail_errno(err, -ENOMEM, "age.decrypt", "");
	}
	hs_age_public(d->identity, d->public);
	*ret = d;
	return 0;
}

static int fail(struct hs_age_decrypt *d, struct hs_err *err)
{
	d->state = FAILED;
	if (err)
		*err = d->error;
	return -d->error.num;
}

int hs_age_decrypt_push(struct hs_age_decrypt *d, const void *data, size_t n, struct hs_err *err)
{
	const uint8_t *p = data;
	if (d->state == FAILED)
		return fail(d, err);
	while (n > 0) {
		size_t taken = 0;
		int rc = d->state == HEADER  ? push_header(d, p, n, &taken, &d->error)
			 : d->state == NONCE ? push_nonce(d, p, n, &taken)
			 : d->state == PAYLOAD ? push_payload(d, p, n, &taken, &d->error)
					       : bad_payload(&d->error, "bytes after the end");
		if (rc < 0)
			return fail(d, err);
		p += taken;
		n -= taken;
	}
	return 0;
}

int hs_age_decrypt_finish(struct hs_age_decrypt *d, struct hs_err *err)
{
	int rc;
	if (d->state == FAILED)
		return fail(d, err);
	if (d->state == HEADER)
		rc = malformed(&d->error, "cut short");
	else if (d->state == PAYLOAD)
		rc = finish_payload(d, &d->error);
	else
		rc = bad_payload(&d->error, "cut short");
	if (rc < 0)
		return fail(d, err);
	d->state = DONE;
	return 0;
}

void hs_age_decrypt_destroy(struct hs_age_decrypt *d)
{
	if (!d)
		return;
	hs_key_destroy(d->identity);
	hs_key_destroy(d->key);
	hs_key_destroy(d->file_key);
	hs_buf_finish(&d->header);
	sodium_memzero(d, sizeof *d);
	free(d);
}
