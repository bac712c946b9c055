/*
 * hisho-web: the TLS key and the listening socket. It serves the page from memory and forwards the rest to the tenant that a
 * credential's public tag, or the name in the path, points to. It judges no credential: the tenant's process does.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "crypto/token.h"
#include "daemon/jail.h"
#include "daemon/web/web.h"

#define PAGE_FILE_MAX (1024u * 1024u)
#define HOSTS_MAX 32

/* Sent with every answer. 'self' is the page's own files; there is nothing else, and no markup is ever made of text. */
static const char security_headers[] =
	"Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'\r\n"
	"X-Content-Type-Options: nosniff\r\n"
	"X-Frame-Options: DENY\r\n"
	"Referrer-Policy: no-referrer\r\n"
	"Cross-Origin-Opener-Policy: same-origin\r\n"
	"Cross-Origin-Resource-Policy: same-origin\r\n"
	"Permissions-Policy: camera=(), microphone=(), geolocation=()\r\n"
	"Strict-Transport-Security: max-age=63072000\r\n";

struct process {
	uv_loop_t loop;
	struct hs_child *child;
	struct hs_jail_report jail;
	struct hs_tls *tls;
	struct hs_http_server *server;
	struct hs_web web;
	const char *state, *page, *listen;
	const char *hosts[HOSTS_MAX];
	size_t n_hosts;
	char bound[64]; /* the address without its port: a name that Host may say */
	char url[HS_MSG_URL_MAX + 1];
	int listener;
	bool stopping;
};

/* --- channels --- */

static void on_channel(void *ctx, enum hs_process peer, const char *name, int fd)
{
	struct process *p = ctx;
	if (peer != HS_PROCESS_TENANT || p->stopping) {
		if (fd >= 0)
			(void)close(fd); /* nobody we talk to */
		return;
	}
	hs_web_tenant(&p->web, name, fd);
}

static int on_status(void *ctx, struct hs_buf *out)
{
	struct process *p = ctx;
	int rc = hs_buf_printf(out, "{\"connections\":%zu,\"requests\":%zu,", hs_http_server_connections(p->server),
			       hs_web_open_requests(&p->web));
	if (rc == 0)
		rc = hs_jail_report_json(&p->jail, out);
	return rc < 0 ? rc : hs_buf_append_str(out, "}");
}

static void on_shutdown(void *ctx)
{
	struct process *p = ctx;
	p->stopping = true;
	hs_http_server_destroy(p->server);
	hs_web_finish(&p->web);
	hs_child_destroy(p->child);
	p->child = NULL;
}

/* --- start: open --- */

static int bind_listener(struct process *p, struct hs_err *err)
{
	char host[256];
	const char *colon = strrchr(p->listen, ':');
	size_t n = colon ? (size_t)(colon - p->listen) : 0;
	if (n == 0 || n >= sizeof host)
		return hs_fail(err, EINVAL, "web.listen", HS_N_("Write `listen` as ADDRESS:PORT."), "%s", p->listen);
	bool bracketed = p->listen[0] == '[' && p->listen[n - 1] == ']';
	(void)snprintf(host, sizeof host, "%.*s", (int)(bracketed ? n - 2 : n), p->listen + bracketed);
	const struct addrinfo hints = {
	    .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
	struct addrinfo *found = NULL;
	if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
		return hs_fail(err, EINVAL, "web.listen", HS_N_("Write `listen` as ADDRESS:PORT."), "%s", p->listen);
	int rc = 0, one = 1;
	p->listener = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->listener < 0 || setsockopt(p->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
	    bind(p->listener, found->ai_addr, found->ai_addrlen) < 0 || listen(p->listener, 256) < 0)
		rc = hs_fail(err, errno, "web.listen", HS_N_("The address cannot be listened on. Is another program there?"), "%s", p->listen);
	freeaddrinfo(found);
	(void)snprintf(p->bound, sizeof p->bound, bracketed ? "[%s]" : "%s", host);
	return rc;
}

/* Where people go: hishod writes it down for the command line. */
static int make_url(struct process *p)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof address;
	char service[16];
	if (getsockname(p->listener, (struct sockaddr *)&address, &len) < 0)
		return -errno;
	if (getnameinfo((struct sockaddr *)&address, len, NULL, 0, service, sizeof service, NI_NUMERICSERV) != 0)
		return -EINVAL;
	int n = snprintf(p->url, sizeof p->url, strcmp(service, "443") ? "https://%s:%s" : "https://%s",
			 p->n_hosts ? p->hosts[0] : p->bound, service);
	return n >= (int)sizeof p->url ? -ENAMETOOLONG : 0;
}

static int open_tls(struct process *p, struct hs_err *err)
{
	char key[1100], cert[1100];
	const char *names[HOSTS_MAX + 1];
	size_t n = 0;
	if (snprintf(key, sizeof key, "%s/tls/key.pem", p->state) >= (int)sizeof key ||
	    snprintf(cert, sizeof cert, "%s/tls/cert.pem", p->state) >= (int)sizeof cert)
		return -ENAMETOOLONG;
	for (size_t i = 0; i < p->n_hosts; i++)
		names[n++] = p->hosts[i];
	if (p->bound[0] != '[')
		names[n++] = p->bound;
	int rc = hs_tls_make_demo(key, cert, names, n, err);
	return rc < 0 ? rc : hs_tls_create(key, cert, &p->tls, err);
}

static int open_page(struct process *p, struct hs_err *err)
{
	for (size_t i = 0; i < HS_WEB_FILES; i++) {
		char path[1100];
		if (snprintf(path, sizeof path, "%s/%s", p->page, hs_web_file_names[i]) >= (int)sizeof path)
			return -ENAMETOOLONG;
		int rc = hs_file_read(AT_FDCWD, path, PAGE_FILE_MAX, &p->web.files[i]);
		if (rc < 0)
			return hs_fail_errno(err, rc, "web.page", path);
	}
	return 0;
}

static int start(struct process *p, struct hs_err *err)
{
	static const struct hs_child_events events = {.channel = on_channel, .status = on_status, .shutdown = on_shutdown};
	int rc = bind_listener(p, err);
	if (rc == 0)
		rc = open_tls(p, err);
	if (rc == 0)
		rc = open_page(p, err);
	if (rc == 0)
		rc = make_url(p);
	const struct hs_jail j = {.role = HS_PROCESS_WEB, .keep_fds = {p->listener}, .n_keep_fds = 1};
	if (rc == 0)
		rc = hs_jail_enter(&j, &p->jail, err);
	if (rc == 0)
		rc = uv_loop_init(&p->loop);
	if (rc < 0)
		return rc;
	const char *hosts[HOSTS_MAX + 1];
	memcpy(hosts, p->hosts, sizeof p->hosts);
	hosts[p->n_hosts] = p->bound;
	const struct hs_http_options o = {.service = &hs_web_service, .ctx = &p->web, .tls = p->tls, .headers = security_headers,
					  .hosts = hosts, .n_hosts = p->n_hosts + 1};
	rc = hs_http_server_create(&p->loop, &o, &p->server);
	if (rc == 0)
		rc = hs_http_server_listen(p->server, p->listener);
	p->web.loop = &p->loop;
	if (rc == 0)
		rc = hs_child_create(&p->loop, HS_PROCESS_WEB, "", &events, p, &p->child);
	if (rc == 0)
		rc = hs_child_ready(p->child, p->url);
	if (rc < 0)
		return rc;
	rc = uv_run(&p->loop, UV_RUN_DEFAULT); /* hosts lives on this stack */
	return rc < 0 ? rc : 0;
}

int main(int argc, char **argv)
{
	static struct process p = {.listener = -1};
	static const struct option options[] = {{"state", required_argument, NULL, 's'}, {"page", required_argument, NULL, 'p'},
						{"listen", required_argument, NULL, 'l'}, {"host", required_argument, NULL, 'h'}, {0}};
	bool usage = false;
	struct hs_err err = HS_ERR_INIT;
	if (hs_child_arguments(&argc, &argv, &err) < 0) {
		hs_log_err("start", &err);
		return 1;
	}
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == 's')
			p.state = optarg;
		else if (c == 'p')
			p.page = optarg;
		else if (c == 'l')
			p.listen = optarg;
		else if (c == 'h' && p.n_hosts < HOSTS_MAX)
			p.hosts[p.n_hosts++] = optarg;
		else
			usage = true;
	}
	if (usage || optind != argc || !p.state || !p.page || !p.listen) {
		fprintf(stderr, "usage: hisho-web --state DIR --page DIR --listen ADDRESS:PORT [--host NAME]...   (started by hishod)\n");
		return 2;
	}
	int rc = start(&p, &err);
	hs_tls_destroy(p.tls);
	if (rc < 0) {
		(void)hs_fail_errno(&err, rc, "web.start", p.state);
		hs_log_err("start", &err);
	}
	return rc < 0;
}
