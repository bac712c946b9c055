#include "daemon/http/parse.h"

#include <errno.h>
#include <string.h>

#include <llhttp.h>

#include "base/utf8.h"
#include "daemon/api.h"
#include "daemon/http.h"

#define CHUNK_DIGITS_MAX 8

long hs_http_head_find(const uint8_t *data, size_t len, size_t *scanned)
{
	for (size_t i = *scanned; i < len; i++) {
		uint8_t c = data[i];
		bool after_cr = i > 0 && data[i - 1] == '\r';
		if ((c == '\n') != after_cr) /* a line feed alone, or a carriage return alone */
			return -EBADMSG;
		if ((c < 0x20 && c != '\r' && c != '\n' && c != '\t') || c == 0x7f)
			return -EBADMSG;
		if (i == 1 && c == '\n')
			return -EBADMSG; /* an empty line before the request: nothing of ours sends that */
		if (c == '\n' && i >= 3 && data[i - 2] == '\n')
			return (long)i + 1;
		*scanned = i + 1;
	}
	return 0;
}

static bool is_token(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_name(struct hs_slice v, const char *name)
{
	return v.len == strlen(name) && strncasecmp(v.s, name, v.len) == 0;
}

static struct hs_slice trim(const uint8_t *s, size_t len)
{
	while (len > 0 && (*s == ' ' || *s == '\t'))
		s++, len--;
	while (len > 0 && (s[len - 1] == ' ' || s[len - 1] == '\t'))
		len--;
	return (struct hs_slice){(const char *)s, len};
}

static unsigned refuse(struct hs_err *err, unsigned status, const char *what)
{
	(void)hs_fail(err, EBADMSG, "request.malformed", HS_N_("The request is not well-formed HTTP/1.1."), "%s", what);
	return status;
}

/* --- the request line --- */

static int hex(uint8_t c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decode the path in place. False where it holds what no path of ours does. */
static bool decode_path(uint8_t *s, size_t len, size_t *ret_len)
{
	size_t out = 0;
	for (size_t i = 0; i < len; i++) {
		uint8_t c = s[i];
		if (c == '%') {
			int high = i + 2 < len ? hex(s[i + 1]) : -1;
			int low = i + 2 < len ? hex(s[i + 2]) : -1;
			if (high < 0 || low < 0)
				return false;
			c = (uint8_t)(high << 4 | low);
			if (c == '/' || c == '\\')
				return false;
			i += 2;
		} else if (c >= 0x80) {
			return false; /* must come encoded */
		}
		if (c < 0x20 || c == 0x7f || c == '\\')
			return false;
		s[out++] = c;
	}
	*ret_len = out;
	for (size_t i = 0; i < out; i++) { /* no "." and no ".." as a segment */
		if (s[i] != '/' || i + 1 >= out || s[i + 1] != '.')
			continue;
		size_t after = i + 2 < out && s[i + 2] == '.' ? i + 3 : i + 2;
		if (after == out || s[after] == '/')
			return false;
	}
	return hs_utf8_valid((const char *)s, out, NULL);
}

static unsigned parse_target(uint8_t *s, size_t len, struct hs_http_head *ret, struct hs_err *err)
{
	if (len == 0 || s[0] != '/')
		return refuse(err, 400, "target");
	for (size_t i = 0; i < len; i++) {
		if (s[i] <= 0x20 || s[i] == 0x7f || s[i] == '#')
			return refuse(err, 400, "target");
	}
	if (len > HS_MSG_PATH_MAX)
		return refuse(err, 414, "target too long");
	uint8_t *query = memchr(s, '?', len);
	size_t path_len = query ? (size_t)(query - s) : len;
	if (query)
		ret->query = (struct hs_slice){(const char *)query + 1, len - path_len - 1};
	if (!decode_path(s, path_len, &path_len))
		return refuse(err, 400, "path");
	ret->path = (struct hs_slice){(const char *)s, path_len};
	return 0;
}

static unsigned parse_request_line(uint8_t *line, size_t len, struct hs_http_head *ret, struct hs_err *err)
{
	static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
	uint8_t *target = memchr(line, ' ', len);
	if (!target)
		return refuse(err, 400, "request line");
	ret->method = (struct hs_slice){(const char *)line, (size_t)(target - line)};
	target++;
	size_t left = len - (size_t)(target - line);
	uint8_t *version = memchr(target, ' ', left);
	if (!version || ret->method.len == 0)
		return refuse(err, 400, "request line");
	size_t target_len = (size_t)(version - target);
	version++;
	const struct hs_slice v = {(const char *)version, left - target_len - 1};
	if (v.len != 8 || memcmp(v.s, "HTTP/", 5) != 0)
		return refuse(err, 400, "request line");
	if (!hs_slice_is(v, "HTTP/1.1") && !hs_slice_is(v, "HTTP/1.0"))
		return refuse(err, 505, "version");
	ret->old = v.s[7] == '0';
	bool known = false;
	for (size_t i = 0; i < HS_ARRAY_LEN(methods); i++)
		known = known || hs_slice_is(ret->method, methods[i]);
	if (!known)
		return refuse(err, 501, "method");
	return parse_target(target, target_len, ret, err);
}

/* --- headers --- */

struct seen { /* of headers that may come once */
	bool host, length, encoding, authorization, cookie, type, language, origin, fetch, expect, connection;
};

static bool valid_host(struct hs_slice v)
{
	size_t i = 0;
	if (v.len > 0 && v.s[0] == '[') {
		for (i = 1; i < v.len && (hex((uint8_t)v.s[i]) >= 0 || v.s[i] == ':' || v.s[i] == '.'); i++)
			;
		if (i < 4 || i >= v.len || v.s[i] != ']')
			return false;
		i++;
	} else {
		while (i < v.len && (is_token((uint8_t)v.s[i]) && !strchr("!#$%&'*+^`|~", v.s[i])))
			i++;
	}
	if (i == 0 || v.len > HS_MSG_NAME_MAX)
		return false;
	if (i == v.len)
		return true;
	if (v.s[i++] != ':' || v.len - i > 5)
		return false;
	for (; i < v.len; i++) {
		if (v.s[i] < '0' || v.s[i] > '9')
			return false;
	}
	return true;
}

static bool take_length(struct hs_slice v, uint64_t *ret)
{
	if (v.len == 0 || v.len > 18)
		return false;
	uint64_t n = 0;
	for (size_t i = 0; i < v.len; i++) {
		if (v.s[i] < '0' || v.s[i] > '9')
			return false;
		n = n * 10 + (uint64_t)(v.s[i] - '0');
	}
	*ret = n;
	return true;
}

static void take_connection(struct hs_slice v, struct hs_http_head *ret)
{
	while (v.len > 0) {
		const char *comma = memchr(v.s, ',', v.len);
		size_t n = comma ? (size_t)(comma - v.s) : v.len;
		struct hs_slice word = trim((const uint8_t *)v.s, n);
		if (is_name(word, "close"))
			ret->keep_alive = false;
		n += comma ? 1 : 0;
		v.s += n;
		v.len -= n;
	}
}

static unsigned take_once(bool *seen, struct hs_slice value, size_t max, struct hs_slice *ret, struct hs_err *err,
			  const char *what)
{
	if (*seen)
		return refuse(err, 400, what);
	if (value.len > max)
		return refuse(err, 431, what);
	*seen = true;
	*ret = value;
	return 0;
}

static unsigned take_header(struct hs_slice name, struct hs_slice value, struct seen *seen, struct hs_http_head *ret,
			    struct hs_err *err)
{
	const struct {
		const char *name;
		bool *seen;
		struct hs_slice *to;
		size_t max;
	} plain[] = {
		{"Host", &seen->host, &ret->host, HS_MSG_NAME_MAX},
		{"Authorization", &seen->authorization, &ret->authorization, HS_MSG_CREDENTIAL_MAX + 16},
		{"Cookie", &seen->cookie, &ret->cookie, 4096},
		{"Content-Type", &seen->type, &ret->content_type, HS_MSG_NAME_MAX},
		{"Accept-Language", &seen->language, &ret->accept_language, HS_MSG_NAME_MAX},
		{"Origin", &seen->origin, &ret->origin, HS_MSG_NAME_MAX},
		{"Sec-Fetch-Site", &seen->fetch, &ret->fetch_site, 32},
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(plain); i++) {
		if (is_name(name, plain[i].name))
			return take_once(plain[i].seen, value, plain[i].max, plain[i].to, err, plain[i].name);
	}
	if (is_name(name, "Content-Length")) {
		if (seen->length || !take_length(value, &ret->content_length))
			return refuse(err, 400, "Content-Length");
		seen->length = true;
	} else if (is_name(name, "Transfer-Encoding")) {
		if (seen->encoding || value.len == 0)
			return refuse(err, 400, "Transfer-Encoding");
		if (!is_name(value, "chunked"))
			return refuse(err, 501, "Transfer-Encoding");
		seen->encoding = ret->chunked = true;
	} else if (is_name(name, "Expect")) {
		if (!is_name(value, "100-continue"))
			return refuse(err, 417, "Expect");
		ret->expect_continue = true;
	} else if (is_name(name, "Connection")) {
		take_connection(value, ret);
	}
	return 0;
}

static unsigned parse_headers(uint8_t *data, size_t len, struct hs_http_head *ret, struct hs_err *err)
{
	struct seen seen = {0};
	unsigned count = 0;
	for (size_t at = 0; at + 2 < len;) { /* the empty line ends it */
		uint8_t *line = data + at;
		size_t n = (size_t)((uint8_t *)memchr(line, '\r', len - at) - line);
		at += n + 2;
		if (++count > HS_HTTP_HEADERS_MAX)
			return refuse(err, 431, "too many headers");
		size_t name_len = 0;
		while (name_len < n && is_token(line[name_len]))
			name_len++;
		if (name_len == 0 || name_len == n || line[name_len] != ':')
			return refuse(err, 400, "header name");
		unsigned status = take_header((struct hs_slice){(const char *)line, name_len}, trim(line + name_len + 1, n - name_len - 1),
					      &seen, ret, err);
		if (status)
			return status;
	}
	if (!seen.host || !valid_host(ret->host))
		return refuse(err, 400, "Host");
	if (seen.encoding && (seen.length || ret->old))
		return refuse(err, 400, "Transfer-Encoding beside Content-Length");
	ret->has_body = ret->chunked || ret->content_length > 0;
	if (ret->chunked)
		ret->content_length = UINT64_MAX;
	return 0;
}

/* --- the second opinion --- */

struct opinion {
	bool complete;
	bool chunked;
	uint64_t content_length;
	unsigned method;
};

static int on_headers_complete(llhttp_t *p)
{
	struct opinion *o = p->data;
	o->complete = true;
	o->chunked = p->flags & F_CHUNKED;
	o->content_length = p->flags & F_CONTENT_LENGTH ? p->content_length : 0;
	o->method = p->method;
	return HPE_PAUSED;
}

static bool llhttp_agrees(const uint8_t *data, size_t len, const struct hs_http_head *head)
{
	llhttp_settings_t settings;
	llhttp_t parser;
	struct opinion o = {0};
	llhttp_settings_init(&settings);
	settings.on_headers_complete = on_headers_complete;
	llhttp_init(&parser, HTTP_REQUEST, &settings);
	parser.data = &o;
	enum llhttp_errno rc = llhttp_execute(&parser, (const char *)data, len);
	return rc == HPE_PAUSED && o.complete && o.chunked == head->chunked &&
	       o.content_length == (head->chunked ? 0 : head->content_length) &&
	       hs_slice_is(head->method, llhttp_method_name((llhttp_method_t)o.method));
}

unsigned hs_http_head_parse(uint8_t *data, size_t len, struct hs_http_head *ret, struct hs_err *err)
{
	struct hs_http_head head = {.keep_alive = true};
	size_t scanned = 0;
	if (hs_http_head_find(data, len, &scanned) != (long)len)
		return refuse(err, 400, "head");
	uint8_t saved[HS_HTTP_HEAD_MAX];
	if (len > sizeof saved)
		return refuse(err, 431, "head too long");
	memcpy(saved, data, len); /* llhttp reads the bytes as they came: the path is decoded in place */
	uint8_t *line_end = memchr(data, '\r', len);
	size_t line_len = (size_t)(line_end - data);
	unsigned status = parse_request_line(data, line_len, &head, err);
	if (status == 0)
		status = parse_headers(line_end + 2, len - line_len - 2, &head, err);
	if (status == 0 && !llhttp_agrees(saved, len, &head))
		status = refuse(err, 400, "head");
	explicit_bzero(saved, len); /* it may carry a credential */
	if (status)
		return status;
	if (head.old)
		head.keep_alive = head.expect_continue = false;
	*ret = head;
	return 0;
}

struct hs_slice hs_http_cookie(struct hs_slice header, const char *name)
{
	size_t name_len = strlen(name);
	while (header.len > 0) {
		const char *end = memchr(header.s, ';', header.len);
		size_t n = end ? (size_t)(end - header.s) : header.len;
		struct hs_slice pair = trim((const uint8_t *)header.s, n);
		if (pair.len > name_len && memcmp(pair.s, name, name_len) == 0 && pair.s[name_len] == '=')
			return (struct hs_slice){pair.s + name_len + 1, pair.len - name_len - 1};
		n += end ? 1 : 0;
		header.s += n;
		header.len -= n;
	}
	return (struct hs_slice){0};
}

struct hs_slice hs_http_bearer(struct hs_slice authorization)
{
	if (authorization.len < 7 || strncasecmp(authorization.s, "Bearer ", 7) != 0)
		return (struct hs_slice){0};
	return trim((const uint8_t *)authorization.s + 7, authorization.len - 7);
}

bool hs_http_host_is(struct hs_slice host, const char *name)
{
	size_t n = host.len;
	while (n > 0 && host.s[n - 1] >= '0' && host.s[n - 1] <= '9')
		n--;
	if (n > 0 && host.s[n - 1] == ':' && (host.s[0] != '[' || (n > 1 && host.s[n - 2] == ']')))
		host.len = n - 1;
	return host.len == strlen(name) && strncasecmp(host.s, name, host.len) == 0;
}

/* --- bodies --- */

void hs_http_body_begin(struct hs_http_body *b, const struct hs_http_head *head)
{
	*b = (struct hs_http_body){.state = head->chunked ? HS_BODY_SIZE : HS_BODY_LENGTH,
				   .left = head->chunked ? 0 : head->content_length};
	if (!head->has_body)
		b->state = HS_BODY_DONE;
}

static bool step_byte(struct hs_http_body *b, uint8_t c)
{
	switch (b->state) {
	case HS_BODY_SIZE:
		if (c == '\r' && b->digits > 0) {
			b->state = HS_BODY_SIZE_LF;
			return true;
		}
		if (hex(c) < 0 || ++b->digits > CHUNK_DIGITS_MAX)
			return false;
		b->left = b->left << 4 | (uint64_t)hex(c);
		return true;
	case HS_BODY_SIZE_LF:
		b->state = b->left ? HS_BODY_CHUNK : HS_BODY_END_CR;
		return c == '\n';
	case HS_BODY_CHUNK_CR:
		b->state = HS_BODY_CHUNK_LF;
		return c == '\r';
	case HS_BODY_CHUNK_LF:
		b->state = HS_BODY_SIZE;
		b->digits = 0;
		return c == '\n';
	case HS_BODY_END_CR:
		b->state = HS_BODY_END_LF;
		return c == '\r';
	case HS_BODY_END_LF:
		b->state = HS_BODY_DONE;
		return c == '\n';
	default:
		return false;
	}
}

bool hs_http_body_step(struct hs_http_body *b, const uint8_t *data, size_t len, size_t *ret_used, const uint8_t **ret_content,
		       size_t *ret_len)
{
	size_t at = 0;
	*ret_content = data;
	*ret_len = 0;
	for (; at < len && b->state != HS_BODY_DONE; at++) {
		if (b->state == HS_BODY_LENGTH || b->state == HS_BODY_CHUNK) {
			size_t n = (size_t)HS_MIN((uint64_t)(len - at), b->left);
			b->left -= n;
			if (b->left == 0)
				b->state = b->state == HS_BODY_LENGTH ? HS_BODY_DONE : HS_BODY_CHUNK_CR;
			*ret_content = data + at;
			*ret_len = n;
			*ret_used = at + n;
			return true;
		}
		if (!step_byte(b, data[at]))
			return false;
	}
	*ret_used = at;
	return true;
}
