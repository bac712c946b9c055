#include "cli/client.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/id.h"

#define EVENT_MAX (4u * 1024u * 1024u)
#define CONNECT_SECONDS 10L

/* An appliance that says that it is busy (429) has done nothing: it is asked again, twice as late each time. */
#define BUSY_FIRST_MS 250
#define BUSY_MOST_MS 8000
#define BUSY_ASKED_MOST_S 60 /* of Retry-After */
#define BUSY_CALL_S 30       /* how long a single call is tried */

enum route { ROUTE_TENANT, ROUTE_HOST, ROUTE_PERSON };

struct request { /* everything that lives as long as one transfer */
	CURL *curl;
	struct curl_slist *headers;
	struct hs_buf url, token, ca, socket, reply;
	char reason[CURL_ERROR_SIZE];
	/* streaming */
	struct hs_buf line;
	int (*on_event)(void *ctx, json_t *event);
	void *ctx;
	int event_rc;
};

/* One handle for the whole run: its connection is kept between requests. The program has one thread. */
static CURL *kept;

void hs_client_close(void)
{
	curl_easy_cleanup(kept); /* takes NULL */
	kept = NULL;
}

static void request_finish(struct request *q)
{
	if (q->curl)
		curl_easy_reset(q->curl); /* lets go of the headers and buffers below */
	curl_slist_free_all(q->headers);
	hs_buf_finish(&q->url);
	hs_buf_wipe(&q->token);
	hs_buf_finish(&q->ca);
	hs_buf_finish(&q->socket);
	hs_buf_finish(&q->reply);
	hs_buf_finish(&q->line);
}
#define REQUEST_AUTO HS_CLEANUP(request_finish) struct request

void hs_reply_finish(struct hs_reply *r)
{
	json_decref(r->json);
	hs_buf_finish(&r->body);
	*r = (struct hs_reply){0};
}

int hs_url_escape(struct hs_buf *out, const char *s)
{
	int rc = 0;
	for (; *s && rc == 0; s++) {
		unsigned char c = (unsigned char)*s;
		bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
			     c == '.';
		rc = plain ? hs_buf_append_byte(out, c) : hs_buf_printf(out, "%%%02X", c);
	}
	return rc;
}

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
	struct request *q = arg;
	(void)size; /* always 1 */
	return hs_buf_append(&q->reply, data, n) == 0 ? n : 0;
}

/* Server-sent events: only `data:` lines matter to us; "[DONE]" is not JSON and ends nothing by itself. */
static int take_line(struct request *q)
{
	const char *line = hs_buf_cstr(&q->line);
	if (!line)
		return -ENOMEM;
	int rc = 0;
	if (strncmp(line, "data: ", 6) == 0 && strcmp(line + 6, "[DONE]") != 0) {
		json_t *event = json_loads(line + 6, JSON_REJECT_DUPLICATES, NULL);
		rc = event ? q->on_event(q->ctx, event) : -EPROTO;
		json_decref(event);
	}
	q->line.len = 0;
	return rc;
}

static size_t on_stream(char *data, size_t size, size_t n, void *arg)
{
	struct request *q = arg;
	(void)size;
	long status = 0;
	(void)curl_easy_getinfo(q->curl, CURLINFO_RESPONSE_CODE, &status);
	if (status != 200) /* an error is an ordinary body */
		return on_body(data, 1, n, arg);
	for (size_t i = 0; i < n; i++) {
		if (data[i] == '\r')
			continue;
		q->event_rc = data[i] == '\n' ? take_line(q) : hs_buf_append_byte(&q->line, (uint8_t)data[i]);
		if (q->event_rc != 0)
			return 0;
	}
	return n;
}

/* The token of --token-file or HISHO_TOKEN; never of the command line, which others can read. */
static int load_token(const struct hs_cli *cli, struct hs_buf *out, struct hs_err *err)
{
	const char *env = getenv("HISHO_TOKEN");
	if (cli->token_file) {
		int rc = hs_file_read(AT_FDCWD, cli->token_file, 4096, out);
		if (rc < 0)
			return hs_fail_errno(err, rc, "cli.token_file", cli->token_file);
	} else if (env && *env) {
		if (hs_buf_append_str(out, env) < 0)
			return -ENOMEM;
	} else {
		return hs_fail(err, EACCES, "cli.token",
			       HS_N_("this needs a person's API token: set HISHO_TOKEN or give --token-file"), "%s", "");
	}
	while (out->len && (out->data[out->len - 1] == '\n' || out->data[out->len - 1] == '\r' || out->data[out->len - 1] == ' '))
		out->len--;
	return 0;
}

/* Where the appliance in dir listens, as its web process wrote it. */
static int local_url(const struct hs_cli *cli, struct hs_buf *out, struct hs_err *err)
{
	HS_BUF_AUTO path = HS_BUF_INIT;
	if (hs_buf_printf(&path, "%s/run/url", cli->dir) < 0 || !hs_buf_cstr(&path))
		return -ENOMEM;
	int rc = hs_file_read(AT_FDCWD, (const char *)path.data, 1024, out);
	if (rc < 0)
		return hs_fail(err, -rc, "cli.url", HS_N_("no appliance runs there; start hishod, or give --url or --dir"), "%s",
			       cli->dir);
	while (out->len && (out->data[out->len - 1] == '\n' || out->data[out->len - 1] == '/'))
		out->len--;
	return 0;
}

int hs_client_base(const struct hs_cli *cli, struct hs_buf *out, struct hs_err *err)
{
	if (!cli->url)
		return local_url(cli, out, err);
	size_t n = strlen(cli->url);
	while (n && cli->url[n - 1] == '/')
		n--;
	return hs_buf_append(out, cli->url, n);
}

static int prepare_https(const struct hs_cli *cli, const char *path, struct request *q, struct hs_err *err)
{
	int rc = hs_client_base(cli, &q->url, err);
	if (rc < 0)
		return rc;
	if (hs_buf_append_str(&q->url, path) < 0 || hs_buf_append_str(&q->token, "Authorization: Bearer ") < 0)
		return -ENOMEM;
	rc = load_token(cli, &q->token, err);
	if (rc < 0)
		return rc;
	const char *header = hs_buf_cstr(&q->token);
	struct curl_slist *more = header ? curl_slist_append(q->headers, header) : NULL;
	if (!more)
		return -ENOMEM;
	q->headers = more;

	if (cli->cacert)
		rc = hs_buf_append_str(&q->ca, cli->cacert);
	else
		rc = hs_buf_printf(&q->ca, "%s/tls/cert.pem", cli->dir);
	const char *ca = rc < 0 ? NULL : hs_buf_cstr(&q->ca);
	if (!ca)
		return -ENOMEM;
	if (cli->cacert || access(ca, R_OK) == 0)
		(void)curl_easy_setopt(q->curl, CURLOPT_CAINFO, ca);
	(void)curl_easy_setopt(q->curl, CURLOPT_PROTOCOLS_STR, "https");
	(void)curl_easy_setopt(q->curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	return 0;
}

static int prepare_socket(const struct hs_cli *cli, enum route route, const char *path, struct request *q, struct hs_err *err)
{
	if (hs_buf_printf(&q->socket, "%s/run/admin.sock", cli->dir) < 0 || !hs_buf_cstr(&q->socket))
		return -ENOMEM;
	if (access((const char *)q->socket.data, W_OK) != 0)
		return hs_fail(err, errno, "cli.socket",
			       errno == EACCES ? HS_N_("this user may not administer the appliance")
					       : HS_N_("no appliance runs there; start hishod, or give --dir"),
			       "%s", (const char *)q->socket.data);
	int rc = hs_buf_append_str(&q->url, "http://hisho");
	if (rc == 0 && route == ROUTE_TENANT) {
		if (!cli->tenant || !*cli->tenant)
			return hs_fail(err, EINVAL, "cli.tenant", HS_N_("say which tenant: --tenant NAME or HISHO_TENANT"), "%s",
				       "");
		rc = hs_buf_append_str(&q->url, "/t/");
		if (rc == 0)
			rc = hs_url_escape(&q->url, cli->tenant);
	}
	if (rc < 0 || hs_buf_append_str(&q->url, path) < 0)
		return -ENOMEM;
	(void)curl_easy_setopt(q->curl, CURLOPT_UNIX_SOCKET_PATH, (const char *)q->socket.data);
	(void)curl_easy_setopt(q->curl, CURLOPT_PROTOCOLS_STR, "http");
	return 0;
}

/* curl: NULL out of memory. */
static int prepare(CURL *curl, const struct hs_cli *cli, enum route route, const char *method, const char *path,
		   const char *content_type, const void *data, size_t len, struct request *q, struct hs_err *err)
{
	*q = (struct request){.curl = curl};
	q->reply.limit = HS_REPLY_MAX;
	q->line.limit = EVENT_MAX;
	if (!q->curl)
		return -ENOMEM;
	if (route == ROUTE_HOST && cli->url)
		return hs_fail(err, EINVAL, "cli.host_only", HS_N_("this is done on the appliance's own host, without --url"),
			       "%s", path);
	int rc = route == ROUTE_PERSON || cli->url ? prepare_https(cli, path, q, err) : prepare_socket(cli, route, path, q, err);
	if (rc < 0)
		return rc;
	const char *url = hs_buf_cstr(&q->url);
	if (!url)
		return -ENOMEM;
	if (content_type) {
		char line[160];
		(void)snprintf(line, sizeof line, "Content-Type: %s", content_type);
		struct curl_slist *more = curl_slist_append(q->headers, line);
		if (!more)
			return -ENOMEM;
		q->headers = more;
	}
	/* TRANSLATORS: put your language's tag in place of en; the server's errors are asked for in it. */
	struct curl_slist *language = curl_slist_append(q->headers, _("Accept-Language: en"));
	if (!language)
		return -ENOMEM;
	q->headers = language;
	/* No 100-continue dance: our server answers as soon as it knows. */
	struct curl_slist *more = curl_slist_append(q->headers, "Expect:");
	if (!more)
		return -ENOMEM;
	q->headers = more;
	(void)curl_easy_setopt(q->curl, CURLOPT_URL, url);
	(void)curl_easy_setopt(q->curl, CURLOPT_CUSTOMREQUEST, method);
	(void)curl_easy_setopt(q->curl, CURLOPT_HTTPHEADER, q->headers);
	(void)curl_easy_setopt(q->curl, CURLOPT_ERRORBUFFER, q->reason);
	(void)curl_easy_setopt(q->curl, CURLOPT_NOSIGNAL, 1L);
	(void)curl_easy_setopt(q->curl, CURLOPT_PROXY, ""); /* an intranet appliance, never through a proxy of the environment */
	(void)curl_easy_setopt(q->curl, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
	(void)curl_easy_setopt(q->curl, CURLOPT_USERAGENT, "hisho/" HS_VERSION);
	(void)curl_easy_setopt(q->curl, CURLOPT_WRITEFUNCTION, on_body);
	(void)curl_easy_setopt(q->curl, CURLOPT_WRITEDATA, q);
	if (data || strcmp(method, "POST") == 0) {
		(void)curl_easy_setopt(q->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len);
		(void)curl_easy_setopt(q->curl, CURLOPT_POSTFIELDS, data ? data : "");
	}
	return 0;
}

/* The server's own words become our error: code, object and message in its language. */
static int error_of_reply(long status, const struct hs_buf *body, struct hs_err *err)
{
	json_t *j = json_loadb((const char *)body->data, body->len, 0, NULL);
	const char *code = NULL, *object = "", *message = "";
	(void)json_unpack(j, "{s:{s?s, s?s, s?s}}", "error", "code", &code, "object", &object, "message", &message);
	int num = status == 401 || status == 403 ? EACCES
		  : status == 404                ? ENOENT
		  : status == 409                ? EEXIST
		  : status == 503                ? EAGAIN
						 : EREMOTEIO;
	int rc;
	if (code && strncmp(message, code, strlen(code)) == 0) /* the message repeats code and object */
		rc = hs_fail(err, num, code, "", "%s",
			     message + strlen(code) + (strncmp(message + strlen(code), ": ", 2) == 0 ? 2 : 0));
	else if (code)
		rc = hs_fail(err, num, code, "", "%s%s%s", object, *object && *message ? ": " : "", message);
	else
		rc = hs_fail(err, num, "http.status", "", "%ld", status);
	json_decref(j);
	return rc;
}

/* What came of a transfer. */
static int judge(struct request *q, CURLcode code, long *ret_status, struct hs_err *err)
{
	if (q->event_rc != 0)
		return q->event_rc;
	if (code != CURLE_OK)
		return hs_fail(err, code == CURLE_WRITE_ERROR ? EMSGSIZE : ECONNREFUSED,
			       code == CURLE_PEER_FAILED_VERIFICATION ? "cli.certificate" : "cli.connect",
			       code == CURLE_PEER_FAILED_VERIFICATION
				       ? HS_N_("the appliance's certificate is not trusted here; give --cacert with its cert.pem")
				       : "",
			       "%s: %s", (const char *)q->url.data, *q->reason ? q->reason : curl_easy_strerror(code));
	(void)curl_easy_getinfo(q->curl, CURLINFO_RESPONSE_CODE, ret_status);
	if (*ret_status < 200 || *ret_status > 299)
		return error_of_reply(*ret_status, &q->reply, err);
	return 0;
}

/* Until when to wait where that is the answer to the try with that number, from 0 on; 0: it is not, or `until` comes first. */
static uint64_t again_at(struct request *q, unsigned tries, uint64_t until)
{
	long status = 0;
	curl_off_t asked = 0;
	(void)curl_easy_getinfo(q->curl, CURLINFO_RESPONSE_CODE, &status); /* 0 where it fails, here and below */
	(void)curl_easy_getinfo(q->curl, CURLINFO_RETRY_AFTER, &asked);
	if (status != 429)
		return 0;
	uint64_t ms = HS_MIN((uint64_t)BUSY_FIRST_MS << HS_MIN(tries, 16u), (uint64_t)BUSY_MOST_MS);
	uint16_t part;
	hs_random(&part, sizeof part);
	ms += ms * part / UINT16_MAX / 2; /* those who came together do not come together again */
	ms = HS_MAX(ms, 1000 * (uint64_t)HS_MIN(HS_MAX(asked, 0), BUSY_ASKED_MOST_S));
	uint64_t at = hs_monotonic_ms() + ms;
	return at < until ? at : 0;
}

static int perform(struct request *q, long *ret_status, struct hs_err *err)
{
	uint64_t until = hs_monotonic_ms() + BUSY_CALL_S * 1000;
	for (unsigned tries = 0;; tries++) {
		CURLcode code = curl_easy_perform(q->curl);
		uint64_t at = code == CURLE_OK ? again_at(q, tries, until) : 0, now = hs_monotonic_ms();
		if (!at)
			return judge(q, code, ret_status, err);
		q->reply.len = 0;
		uint64_t ms = at > now ? at - now : 0;
		(void)nanosleep(&(struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000}, NULL);
	}
}

static void take_reply(struct request *q, long status, struct hs_reply *ret)
{
	*ret = (struct hs_reply){.status = status, .body = q->reply};
	ret->json = json_loadb((const char *)ret->body.data, ret->body.len, JSON_REJECT_DUPLICATES, NULL);
	q->reply = HS_BUF_INIT;
}

static CURL *keep(void)
{
	if (!kept)
		kept = curl_easy_init();
	return kept;
}

static int call(const struct hs_cli *cli, enum route route, const char *method, const char *path, const char *content_type,
		const void *data, size_t len, struct hs_reply *ret, struct hs_err *err)
{
	REQUEST_AUTO q;
	int rc = prepare(keep(), cli, route, method, path, content_type, data, len, &q, err);
	long status = 0;
	if (rc == 0)
		rc = perform(&q, &status, err);
	if (rc < 0)
		return err->num ? rc : hs_fail_errno(err, rc, "cli.request", path);
	take_reply(&q, status, ret);
	return 0;
}

static int call_json(const struct hs_cli *cli, enum route route, const char *method, const char *path, json_t *body,
		     struct hs_reply *ret, struct hs_err *err)
{
	char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
	if (body && !text) {
		json_decref(body);
		return hs_fail_errno(err, -ENOMEM, "cli.request", path);
	}
	json_decref(body);
	int rc = call(cli, route, method, path, text ? "application/json" : NULL, text, text ? strlen(text) : 0, ret, err);
	free(text);
	return rc;
}

const char *hs_path_of(struct hs_buf *b, const char *before, const char *name, const char *after, struct hs_err *err)
{
	const char *path = NULL;
	if (hs_buf_append_str(b, before) == 0 && hs_url_escape(b, name) == 0 && hs_buf_append_str(b, after) == 0)
		path = hs_buf_cstr(b);
	if (!path)
		(void)hs_fail_errno(err, -ENOMEM, "cli.memory", name);
	return path;
}

int hs_call(const struct hs_cli *cli, const char *method, const char *path, json_t *body, struct hs_reply *ret,
	    struct hs_err *err)
{
	return call_json(cli, ROUTE_TENANT, method, path, body, ret, err);
}

int hs_call_bytes(const struct hs_cli *cli, const char *method, const char *path, const char *content_type, const void *data,
		  size_t len, struct hs_reply *ret, struct hs_err *err)
{
	return call(cli, ROUTE_TENANT, method, path, content_type, data, len, ret, err);
}

int hs_call_host(const struct hs_cli *cli, const char *method, const char *path, json_t *body, struct hs_reply *ret,
		 struct hs_err *err)
{
	return call_json(cli, ROUTE_HOST, method, path, body, ret, err);
}

int hs_call_person(const struct hs_cli *cli, const char *method, const char *path, json_t *body, struct hs_reply *ret,
		   struct hs_err *err)
{
	return call_json(cli, ROUTE_PERSON, method, path, body, ret, err);
}

int hs_call_person_stream(const struct hs_cli *cli, const char *path, json_t *body, int (*on_event)(void *ctx, json_t *event),
			  void *ctx, struct hs_err *err)
{
	char *text = json_dumps(body, JSON_COMPACT);
	json_decref(body);
	if (!text)
		return hs_fail_errno(err, -ENOMEM, "cli.request", path);
	REQUEST_AUTO q;
	int rc = prepare(keep(), cli, ROUTE_PERSON, "POST", path, "application/json", text, strlen(text), &q, err);
	if (rc == 0) {
		q.on_event = on_event;
		q.ctx = ctx;
		(void)curl_easy_setopt(q.curl, CURLOPT_WRITEFUNCTION, on_stream);
		long status;
		rc = perform(&q, &status, err);
	}
	free(text);
	return rc < 0 && !err->num ? hs_fail_errno(err, rc, "cli.stream", path) : rc;
}

/* --- several at one time --- */

struct hs_posts {
	const struct hs_cli *cli;
	uint32_t patience_s;
	void (*on_busy)(void *ctx, size_t n);
	void *ctx;
	CURLM *multi;
	size_t n;
	struct post {
		bool on_its_way;
		uint64_t until, at; /* no more tries from then on; when the next one is due, 0: it is being made */
		unsigned tries;     /* that were answered as busy */
		CURL *curl; /* kept with its connection */
		struct request q;
		struct hs_buf body;
		void *tag;
	} posts[HS_POSTS_MAX];
};

int hs_posts_create(const struct hs_cli *cli, uint32_t patience_s, void (*on_busy)(void *ctx, size_t n), void *ctx,
		    struct hs_posts **ret)
{
	struct hs_posts *p = calloc(1, sizeof *p);
	if (!p)
		return -ENOMEM;
	p->cli = cli;
	p->patience_s = patience_s;
	p->on_busy = on_busy;
	p->ctx = ctx;
	p->multi = curl_multi_init();
	if (!p->multi) {
		free(p);
		return -ENOMEM;
	}
	*ret = p;
	return 0;
}

static void end_post(struct hs_posts *p, struct post *x)
{
	(void)curl_multi_remove_handle(p->multi, x->curl); /* fails for a handle only that is not in it */
	request_finish(&x->q);
	hs_buf_finish(&x->body);
	x->on_its_way = false;
	p->n--;
}

void hs_posts_destroy(struct hs_posts *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < HS_POSTS_MAX; i++) {
		if (p->posts[i].on_its_way)
			end_post(p, &p->posts[i]);
		curl_easy_cleanup(p->posts[i].curl); /* takes NULL */
	}
	(void)curl_multi_cleanup(p->multi); /* it is empty */
	free(p);
}

size_t hs_posts_count(const struct hs_posts *p)
{
	return p->n;
}

int hs_posts_add(struct hs_posts *p, const char *path, const char *content_type, struct hs_buf *body, void *tag,
		 struct hs_err *err)
{
	struct post *x = p->posts;
	while (x < p->posts + HS_POSTS_MAX && x->on_its_way)
		x++;
	hs_assert(x < p->posts + HS_POSTS_MAX);
	if (!x->curl)
		x->curl = curl_easy_init();
	x->body = *body;
	*body = HS_BUF_INIT;
	x->tag = tag;
	x->on_its_way = true;
	x->until = hs_monotonic_ms() + p->patience_s * 1000ull;
	x->at = x->tries = 0;
	p->n++;
	int rc = prepare(x->curl, p->cli, ROUTE_TENANT, "POST", path, content_type, x->body.data, x->body.len, &x->q, err);
	if (rc == 0 && (curl_easy_setopt(x->curl, CURLOPT_PRIVATE, x) || curl_multi_add_handle(p->multi, x->curl)))
		rc = -ENOMEM;
	if (rc == 0)
		return 0;
	end_post(p, x);
	return err->num ? rc : hs_fail_errno(err, rc, "cli.request", path);
}

/* Those whose time has come go again. *ret_ms: until the next one; *ret_n: how many wait. */
static int send_again(struct hs_posts *p, int *ret_ms, size_t *ret_n)
{
	uint64_t now = hs_monotonic_ms(), next = now + 1000;
	*ret_n = 0;
	for (size_t i = 0; i < HS_POSTS_MAX; i++) {
		struct post *x = &p->posts[i];
		if (!x->on_its_way || !x->at)
			continue;
		if (x->at > now) {
			next = HS_MIN(next, x->at);
			++*ret_n;
			continue;
		}
		x->at = 0;
		x->q.reply.len = 0;
		if (curl_multi_add_handle(p->multi, x->curl))
			return -ENOMEM;
	}
	*ret_ms = (int)(next - now);
	return 0;
}

int hs_posts_wait(struct hs_posts *p, void **ret_tag, struct hs_reply *ret, struct hs_err *err)
{
	while (p->n > 0) {
		int running, left, ms;
		size_t n_busy;
		int rc = send_again(p, &ms, &n_busy);
		if (rc < 0)
			return hs_fail_errno(err, rc, "cli.request", "");
		if (n_busy)
			p->on_busy(p->ctx, n_busy);
		CURLMcode code = curl_multi_perform(p->multi, &running);
		const CURLMsg *m = code ? NULL : curl_multi_info_read(p->multi, &left);
		if (!code && !m)
			code = curl_multi_poll(p->multi, NULL, 0, ms, NULL);
		if (code)
			return hs_fail(err, EIO, "cli.connect", "", "%s", curl_multi_strerror(code));
		if (!m)
			continue;
		CURLcode outcome = m->data.result; /* gone with its handle */
		char *private = NULL;
		(void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &private); /* cannot fail */
		struct post *x = (struct post *)private;
		if (outcome == CURLE_OK && (x->at = again_at(&x->q, x->tries, x->until)) != 0) {
			x->tries++;
			(void)curl_multi_remove_handle(p->multi, x->curl); /* it is in it */
			continue;
		}
		long status = 0;
		rc = judge(&x->q, outcome, &status, err);
		*ret_tag = x->tag;
		if (rc == 0)
			take_reply(&x->q, status, ret);
		end_post(p, x);
		return rc < 0 ? rc : 1;
	}
	return 0;
}
