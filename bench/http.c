/*
 * hisho-bench http: the web process's server over TLS in a child, a client of one connection in the parent. CPU time of the
 * server is what is told: wall-clock on a shared host says more of the neighbours.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <openssl/ssl.h>

#include "base/file.h"
#include "bench/bench.h"
#include "daemon/http.h"

#define STREAMS 1000
#define REQUESTS 4000
#define STREAM_LIMIT 20.0 /* kB each, of the specification */

static void *on_request(void *ctx, const struct hs_request *q, struct hs_responder *r)
{
	if (!hs_slice_is(q->head.path, "/stream")) {
		hs_responder_answer(r, 200, "text/plain", "ok\n", 3);
		return NULL;
	}
	(void)hs_responder_begin(r, &(struct hs_msg_http_response){.status = 200, .stream = true}); /* gone() tells a failure */
	(void)hs_responder_content(r, ":\n\n", 3, false);                                         /* as above */
	return ctx;
}

static void on_gone(void *state)
{
}

static const struct hs_service service = {.request = on_request, .gone = on_gone};

static int serve(int listener, struct hs_tls *tls)
{
	uv_loop_t loop;
	struct hs_http_server *server;
	static int state;
	const struct hs_http_options o = {.service = &service, .ctx = &state, .tls = tls};
	if (uv_loop_init(&loop) < 0 || hs_http_server_create(&loop, &o, &server) < 0 || hs_http_server_listen(server, listener) < 0)
		return 1;
	return uv_run(&loop, UV_RUN_DEFAULT);
}

static SSL *dial(SSL_CTX *ctx, const struct sockaddr_in *at)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	SSL *ssl = fd >= 0 && connect(fd, (const struct sockaddr *)at, sizeof *at) == 0 ? SSL_new(ctx) : NULL;
	if (ssl && SSL_set_fd(ssl, fd) && SSL_connect(ssl) == 1)
		return ssl;
	SSL_free(ssl);
	hs_close(&fd);
	return NULL;
}

static void hang_up(SSL *ssl)
{
	int fd = ssl ? SSL_get_fd(ssl) : -1;
	SSL_free(ssl);
	hs_close(&fd);
}

static bool ask(SSL *ssl, const char *path)
{
	char text[1024];
	int n = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
	return SSL_write(ssl, text, n) == n && SSL_read(ssl, text, sizeof text) > 0;
}

static double cpu_us(pid_t pid)
{
	clockid_t clock;
	struct timespec t = {0};
	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) < 0)
		return 0;
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double resident_kb(pid_t pid)
{
	char path[64];
	HS_BUF_AUTO text = HS_BUF_INIT;
	(void)snprintf(path, sizeof path, "/proc/%d/statm", (int)pid); /* fits */
	const char *s = hs_file_read(AT_FDCWD, path, 4096, &text) == 0 ? hs_buf_cstr(&text) : NULL;
	const char *second = s ? strchr(s, ' ') : NULL;
	return second ? (double)strtol(second, NULL, 10) * (double)sysconf(_SC_PAGESIZE) / 1024 : 0;
}

static int measure(const struct bench_options *o, const struct sockaddr_in *at, pid_t pid, SSL_CTX *ctx, struct bench_report *r)
{
	double request[BENCH_ROUNDS_MAX], fresh[BENCH_ROUNDS_MAX];
	for (unsigned i = 0; i < o->rounds; i++) {
		SSL *ssl = dial(ctx, at);
		double before = cpu_us(pid);
		for (unsigned n = 0; ssl && n < REQUESTS; n++) {
			if (!ask(ssl, "/"))
				return -EIO;
		}
		request[i] = (cpu_us(pid) - before) / REQUESTS;
		hang_up(ssl);
		before = cpu_us(pid);
		for (unsigned n = 0; n < 50; n++) {
			ssl = dial(ctx, at);
			if (!ssl || !ask(ssl, "/"))
				return -EIO;
			hang_up(ssl);
		}
		fresh[i] = (cpu_us(pid) - before) / 50;
	}
	bench_add(r, (struct bench_figure){"request, kept alive", "us CPU", bench_median(request, o->rounds)});
	bench_add(r, (struct bench_figure){"request, new connection", "us CPU", bench_median(fresh, o->rounds)});
	static SSL *streams[STREAMS];
	double empty = resident_kb(pid);
	for (unsigned i = 0; i < STREAMS; i++) {
		streams[i] = dial(ctx, at);
		if (!streams[i] || !ask(streams[i], "/stream"))
			return -EIO;
	}
	double full = resident_kb(pid), before = cpu_us(pid);
	(void)sleep(1);
	double idle = cpu_us(pid) - before;
	for (unsigned i = 0; i < STREAMS; i++)
		hang_up(streams[i]);
	bench_add(r, (struct bench_figure){"idle stream", "kB", (full - empty) / STREAMS, STREAM_LIMIT, "limit"});
	bench_add(r, (struct bench_figure){"1000 idle streams, a second", "us CPU", idle});
	return 0;
}

int bench_http(const struct bench_options *o, struct bench_report *r, struct hs_err *err)
{
	static const char *const names[] = {"localhost"};
	char folder[] = "/tmp/hisho-bench-XXXXXX", key[64], cert[64];
	struct hs_tls *tls = NULL;
	if (!mkdtemp(folder))
		return hs_fail_errno(err, -errno, "bench.http", folder);
	(void)snprintf(key, sizeof key, "%s/key.pem", folder);   /* fits, and the next */
	(void)snprintf(cert, sizeof cert, "%s/cert.pem", folder);
	int rc = hs_tls_make_demo(key, cert, names, 1, err);
	if (rc == 0)
		rc = hs_tls_create(key, cert, &tls, err);
	(void)unlink(key); /* a temporary folder's, and the next two */
	(void)unlink(cert);
	(void)rmdir(folder);
	if (rc < 0)
		return rc;
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files); /* too few descriptors show as a failed dial */
	}
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	HS_FD_AUTO listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener < 0 || bind(listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(listener, 256) < 0 ||
	    getsockname(listener, (struct sockaddr *)&at, &len) < 0)
		return hs_fail_errno(err, -errno, "bench.http", "127.0.0.1");
	pid_t pid = fork();
	if (pid == 0)
		_exit(serve(listener, tls));
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	(void)signal(SIGPIPE, SIG_IGN); /* a server that died shows as a failed write */
	rc = pid < 0 ? -errno : ctx ? measure(o, &at, pid, ctx, r) : -ENOMEM;
	SSL_CTX_free(ctx);
	hs_tls_destroy(tls);
	if (pid > 0) {
		(void)kill(pid, SIGKILL); /* our own child */
		(void)waitpid(pid, NULL, 0);
	}
	(void)snprintf(r->about, sizeof r->about, "TLS 1.3 on one loop, CPU time of the server, %d requests a round", REQUESTS);
	return rc < 0 ? hs_fail_errno(err, rc, "bench.http", "127.0.0.1") : 0;
}
