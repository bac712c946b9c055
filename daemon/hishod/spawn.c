/*
 * How a program is started, two ways:
 *
 *   fork and exec   as hishod's own user: the demo, and every test
 *   a unit          hishod connects to the socket of the program's unit; systemd starts an instance with its own user and
 * sandbox, the connection its control channel. The arguments are the first message. The end of the connection is the end of the
 * process, which keeps it open until it exits.
 *
 * hishod may not signal another user's process. A loop that hangs is ended by the unit's watchdog, a process that does not
 * leave when it is asked to by the unit's time limit; hishod itself can only cut the connection.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "daemon/hishod/keeper.h"

#define ENVIRONMENT_MAX 8
#define ARGUMENTS_MAX (16 + 2 * HS_CONFIG_HOSTS_MAX)
static_assert(ARGUMENTS_MAX <= HS_MSG_ARGUMENTS_MAX, "they travel in one message");

/* Arguments of a program, in text that outlives the call to uv_spawn. */
struct arguments {
	const char *argv[ARGUMENTS_MAX];
	size_t n;
	char program[1200], text[4 + HS_ADAPTERS_MAX][1200], number[16], limits[HS_LIMITS_TEXT_MAX];
};

static void add(struct arguments *a, const char *option, const char *value)
{
	hs_assert(a->n + 2 < HS_ARRAY_LEN(a->argv));
	a->argv[a->n++] = option;
	if (value)
		a->argv[a->n++] = value;
}

/* A model's file, relative to the state directory. */
static void add_model(struct arguments *a, const struct keeper *k, const char *option, const char *file, size_t slot)
{
	if (!file)
		return;
	(void)snprintf(a->text[slot], sizeof a->text[slot], "%s%s%s", file[0] == '/' ? "" : k->state, file[0] == '/' ? "" : "/",
		       file);
	add(a, option, a->text[slot]);
}

static void fill_arguments(const struct proc *p, struct arguments *a)
{
	struct keeper *k = p->keeper;
	const struct hs_config *c = k->config;
	struct hs_limits limits;
	a->n = 0;
	add(a, a->program, NULL);
	switch (p->role) {
	case HS_PROCESS_KEYD:
		add(a, "--state", k->state);
		if (k->credential)
			add(a, "--credential", k->credential);
		if (k->units) {
			(void)snprintf(a->text[0], sizeof a->text[0], "%s/passphrase",
				       k->units); /* a path too long is told by keyd */
			add(a, "--ask", a->text[0]);
		}
		break;
	case HS_PROCESS_WEB:
		add(a, "--state", k->state);
		add(a, "--page", k->page);
		add(a, "--listen", c->listen ? c->listen : "127.0.0.1:8443");
		for (unsigned i = 0; i < c->hosts_count; i++)
			add(a, "--host", c->hosts[i]);
		break;
	case HS_PROCESS_TENANT:
		add(a, "--state", k->state);
		add(a, "--id", p->tenant->id.s);
		add(a, "--name", p->tenant->name);
		hs_config_limits(c, p->tenant->name, &limits);
		hs_limits_format(&limits, a->limits);
		add(a, "--limits", a->limits);
		if (p->tenant->rebuild)
			add(a, "--rebuild", "yes");
		break;
	case HS_PROCESS_INFER:
		(void)snprintf(a->text[0], sizeof a->text[0], "%s/models", k->state); /* checked at the start */
		add(a, "--models", a->text[0]);
		add_model(a, k, "--generator", k->generator ? k->generator : c->generator, 1);
		add_model(a, k, "--embedder", k->embedder ? k->embedder : c->embedder, 2);
		add_model(a, k, "--reranker", k->reranker ? k->reranker : c->reranker, 3);
		for (unsigned i = 0, n = 0; i < c->tenants_count; i++)
			if (c->tenants[i].adapter)
				add_model(a, k, "--adapter", c->tenants[i].adapter, 4 + n++);
		if (c->threads) {
			(void)snprintf(a->number, sizeof a->number, "%u", c->threads);
			add(a, "--threads", a->number);
		}
		if (c->infer.device)
			add(a, "--device", c->infer.device);
		if (c->infer.plugin)
			add(a, "--plugin", c->infer.plugin);
		if (c->infer.kv)
			add(a, "--kv", c->infer.kv);
		break;
	default:
		break;
	}
	a->argv[a->n] = NULL;
}

/* Where a program lies: beside hishod, in a room's folder of a build tree, or where they are installed. */
static bool find_program(const struct keeper *k, const char *name, char *out, size_t cap)
{
	static const char *const below[] = {"", "tenant/", "infer/", "extract/"};
	for (size_t i = 0; i < HS_ARRAY_LEN(below); i++) {
		if (snprintf(out, cap, "%s/%s%s", k->programs, below[i], name) < (int)cap && access(out, X_OK) == 0)
			return true;
	}
	return snprintf(out, cap, "%s/%s", HS_LIBEXEC_DIR, name) < (int)cap && access(out, X_OK) == 0;
}

/* --- by fork and exec --- */

static void after_exit(uv_handle_t *handle)
{
	hs_proc_ended(handle->data);
}

static void on_exit_status(uv_process_t *process, int64_t status, int signal_number)
{
	struct proc *p = process->data;
	if (signal_number)
		hs_log("%s%s%s was ended by signal %d", p->program, p->tenant ? " of " : "", p->tenant ? p->tenant->name : "",
		       signal_number);
	else if (status != 0 || p->wanted)
		hs_log("%s%s%s ended with status %d", p->program, p->tenant ? " of " : "", p->tenant ? p->tenant->name : "",
		       (int)status);
	hs_proc_disconnect(p);
	uv_close((uv_handle_t *)process, after_exit);
}

/* The variables that a program gets. Values are the caller's to free. */
static int copy_environment(const struct proc *p, char *env[], size_t *ret_n)
{
	static const char *const kept[ENVIRONMENT_MAX] = {
	    "LANG",         "LC_ALL",        "LC_MESSAGES",          "TZ", "HISHO_LOCALEDIR",
	    "ASAN_OPTIONS", "UBSAN_OPTIONS", "CREDENTIALS_DIRECTORY" /* for the keyring's process */};
	size_t n = ENVIRONMENT_MAX - (p->role != HS_PROCESS_KEYD);
	for (size_t i = 0; i < n; i++) {
		const char *value = getenv(kept[i]);
		if (value && asprintf(&env[*ret_n], "%s=%s", kept[i], value) < 0)
			return -ENOMEM;
		*ret_n += value != NULL;
	}
	return 0;
}

static int spawn_child(struct proc *p, struct arguments *a, int *ret_control)
{
	char *env[ENVIRONMENT_MAX + 1] = {NULL};
	size_t n = 0;
	int pair[2];
	int rc = hs_channel_pair(pair);
	if (rc < 0)
		return rc;
	rc = copy_environment(p, env, &n);
	if (rc == 0) {
		bool asks = p->role == HS_PROCESS_KEYD && fcntl(0, F_GETFD) >= 0; /* it may ask for a passphrase */
		uv_stdio_container_t stdio[HS_CONTROL_FD + 1] = {
		    {.flags = asks ? UV_INHERIT_FD : UV_IGNORE, .data.fd = 0},
		    {.flags = UV_INHERIT_FD, .data.fd = 2},
		    {.flags = UV_INHERIT_FD, .data.fd = 2},
		    {.flags = UV_INHERIT_FD, .data.fd = pair[1]},
		};
		const uv_process_options_t options = {
		    .exit_cb = on_exit_status,
		    .file = a->program,
		    .args = (char **)a->argv,
		    .env = env,
		    .stdio_count = HS_CONTROL_FD + 1,
		    .stdio = stdio,
		    /* Ctrl-C is ours to act on, in order; hisho-keyd stays at the terminal to ask, and is deaf to it */
		    .flags = asks ? 0 : UV_PROCESS_DETACHED,
		};
		rc = uv_spawn(&p->keeper->loop, &p->process, &options);
		p->process.data = p;
		p->alive = rc == 0;
		p->pid = rc == 0 ? p->process.pid : 0;
		if (rc < 0) /* uv_spawn has made the handle even so */
			uv_close((uv_handle_t *)&p->process, NULL);
	}
	for (size_t i = 0; i < n; i++)
		free(env[i]);
	(void)close(pair[1]); /* the child has it, or nobody */
	if (rc == 0)
		*ret_control = pair[0];
	else
		(void)close(pair[0]); /* never used */
	return rc;
}

/* --- by its unit --- */

static int connect_unit(const struct keeper *k, const char *program)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct ucred peer;
	socklen_t len = sizeof peer;
	int room = 1024 * 1024;
	if (snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", k->units, program) >= (int)sizeof address.sun_path)
		return -ENAMETOOLONG;
	HS_FD_AUTO fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return -errno;
	if (peer.uid != 0) /* systemd listens there, and nobody else */
		return -EACCES;
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room); /* a hint, as in hs_channel_pair */
	int ret = fd;
	fd = -1;
	return ret;
}

static int spawn_unit(struct proc *p, const struct arguments *a, int *ret_control)
{
	struct hs_msg_start start = {.count = (uint32_t)a->n - 1};
	for (uint32_t i = 0; i < start.count; i++)
		start.items[i] = hs_slice_str(a->argv[i + 1]);
	HS_BUF_AUTO b = {.limit = HS_FRAME_PAYLOAD_MAX};
	HS_FD_AUTO fd = connect_unit(p->keeper, p->program);
	int rc = fd < 0 ? fd : hs_put_start(&b, &start);
	const struct hs_frame f = {.type = HS_MSG_START, .payload = b.data, .payload_len = b.len};
	if (rc == 0)
		rc = hs_frame_send(fd, &f);
	if (rc < 0)
		return rc;
	p->alive = true;
	p->pid = 0; /* told with READY */
	*ret_control = fd;
	fd = -1;
	return 0;
}

/* --- either way --- */

int hs_spawn(struct proc *p, int *ret_control)
{
	struct arguments *a = calloc(1, sizeof *a);
	if (!a)
		return -ENOMEM;
	p->absent = !find_program(p->keeper, p->program, a->program, sizeof a->program);
	int rc = p->absent ? -ENOENT : 0;
	if (rc == 0) {
		fill_arguments(p, a);
		rc = p->keeper->units ? spawn_unit(p, a, ret_control) : spawn_child(p, a, ret_control);
	}
	free(a);
	return rc;
}

void hs_spawn_kill(struct proc *p)
{
	if (!p->alive)
		return;
	if (!p->keeper->units) {
		(void)uv_process_kill(&p->process, SIGKILL); /* it may just have ended by itself */
		return;
	}
	p->cut = true;
	hs_spawn_lost(p);
}

void hs_spawn_end(struct proc *p)
{
	if (p->keeper->units) {
		hs_spawn_kill(p);
		return;
	}
	(void)uv_process_kill(&p->process, SIGTERM); /* it may just have ended by itself */
	hs_proc_end_soon(p);
}

void hs_spawn_lost(struct proc *p)
{
	if (p->keeper->units) {
		if (p->wanted)
			hs_log("%s%s%s %s", p->program, p->tenant ? " of " : "", p->tenant ? p->tenant->name : "",
			       p->cut ? "was cut off" : "ended; its unit's journal says why");
		hs_proc_disconnect(p);
		hs_proc_ended(p);
	} else if (p->alive) {
		if (p->wanted)
			hs_spawn_end(p); /* without its control channel it cannot be kept */
		else
			hs_proc_end_soon(p);
	}
}
