/*
 * hisho-keyd: the keyring's process. It holds the root, the master key and the signing key, and starts nothing.
 *
 * open: the root secret and the keyring's folder; jail; validate: the keyring; serve: fixed-size messages. A tenant's channel
 * unwraps that tenant's key and no other: hishod names the channel when it makes it, and no message can.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <sodium.h>

#include "base/clock.h"
#include "base/file.h"
#include "crypto/db.h"
#include "crypto/keyring.h"
#include "crypto/passphrase.h"
#include "daemon/child.h"
#include "daemon/jail.h"
#include "policy/head.h"

#define KEYRING "keys/keyring"
#define HEADS "keys/heads"
#define LEAVE_MS 3000         /* how long an orderly end waits for tenants, which want their last heads signed */
#define HEAD_SIGN_LEAST_MS 50 /* between two heads of one tenant: each is synced to disk */

struct tenant_channel {
	struct tenant_channel *next, **link;
	struct hs_id tenant;
	struct hs_channel *channel;
	struct keyd *keyd;
	uint64_t signed_ms; /* when a head was signed last, by the monotonic clock; 0: never */
};

struct keyd {
	uv_loop_t loop;
	struct hs_child *child;
	struct hs_jail_report jail;
	struct hs_keyring *keyring;
	int heads; /* folder of what was signed last, a note a tenant */
	struct tenant_channel *channels;
	const char *credential;  /* --credential, or NULL */
	const char *ask;         /* --ask: the socket that asks for a passphrase; NULL: standard input */
	const char *root_source; /* "credential", "file" or "passphrase" */
	bool demo;
	bool stopping;
	uv_timer_t leaving;
};

/* --- tenants' channels --- */

static void leave(struct keyd *k);

static void drop_channel(struct tenant_channel *t)
{
	struct keyd *k = t->keyd;
	*t->link = t->next;
	if (t->next)
		t->next->link = t->link;
	hs_channel_destroy(t->channel);
	free(t);
	if (k->stopping && !k->channels)
		leave(k);
}

/* What keyd signed last for the tenant; seq 0: nothing yet. */
static int last_head(const struct tenant_channel *t, struct hs_audit_head *ret, struct hs_err *err)
{
	uint8_t public[HS_SIGN_PUBLIC_LEN];
	*ret = (struct hs_audit_head){0};
	hs_keyring_public(t->keyd->keyring, public);
	int rc = hs_head_read(t->keyd->heads, t->tenant.s, t->tenant.s, public, ret, err);
	return rc == -ENOENT ? 0 : rc;
}

static int give_key(struct tenant_channel *t, const struct hs_frame *f, struct hs_err *err)
{
	struct hs_keyring_tenant found;
	struct hs_audit_head last;
	HS_KEY_AUTO key = NULL;
	if (f->payload_len != 0)
		return -EPROTO;
	int rc = last_head(t, &last, err);
	if (rc == 0)
		rc = hs_keyring_unwrap_tenant(t->keyd->keyring, t->tenant.s, &key, &found, err);
	if (rc < 0)
		return rc;
	struct hs_msg_key msg = {.generation = found.generation, .head = {last.seq, last.time, {0}}};
	memcpy(msg.head.chain, last.chain, sizeof msg.head.chain);
	hs_keyring_public(t->keyd->keyring, msg.signer);
	memcpy(msg.db_uuid, found.db_uuid, sizeof msg.db_uuid);
	memcpy(msg.key, key->bytes, sizeof msg.key);
	struct hs_buf b = HS_BUF_INIT;
	rc = hs_buf_reserve(&b, HS_MSG_KEY_LEN); /* once: a buffer that grows leaves copies behind */
	if (rc == 0)
		rc = hs_put_key(&b, &msg);
	if (rc == 0)
		(void)hs_channel_send(t->channel, HS_MSG_KEY_REPLY, f->request, 0, b.data, b.len); /* gone() tells a failure */
	sodium_memzero(&msg, sizeof msg);
	hs_buf_wipe(&b);
	return rc;
}

/* Sign, and remember it before anyone is told: what was signed can then be missed. */
static int sign_and_keep(struct tenant_channel *t, const struct hs_audit_head *head, uint8_t *ret_signature, struct hs_err *err)
{
	uint8_t public[HS_SIGN_PUBLIC_LEN];
	HS_BUF_AUTO text = HS_BUF_INIT;
	HS_BUF_AUTO note = HS_BUF_INIT;
	hs_keyring_public(t->keyd->keyring, public);
	int rc = hs_head_text(t->tenant.s, head, &text);
	if (rc == 0)
		rc = hs_keyring_sign(t->keyd->keyring, text.data, text.len, ret_signature);
	if (rc == 0)
		rc = hs_head_note(t->tenant.s, head, public, ret_signature, &note);
	if (rc < 0)
		return rc;
	rc = hs_file_replace(t->keyd->heads, t->tenant.s, note.data, note.len, 0600);
	return rc < 0 ? hs_fail_errno(err, rc, "audit.head", HEADS) : 0;
}

static int sign_head(struct tenant_channel *t, const struct hs_frame *f, struct hs_err *err)
{
	struct hs_msg_head asked;
	struct hs_audit_head last, head;
	uint8_t reply[HS_SIGN_PUBLIC_LEN + HS_SIGNATURE_LEN];
	uint64_t now = hs_monotonic_ms();
	if (hs_get_head(f->payload, f->payload_len, &asked) < 0 || asked.seq == 0)
		return -EPROTO;
	if (t->signed_ms && now - t->signed_ms < HEAD_SIGN_LEAST_MS)
		return hs_fail(err, EBUSY, "audit.head_busy", HS_N_("Heads are asked for too often. Try again shortly."), "%s", t->tenant.s);
	head = (struct hs_audit_head){.seq = asked.seq, .time = asked.time};
	memcpy(head.chain, asked.chain, sizeof head.chain);
	int rc = last_head(t, &last, err);
	if (rc == 0 && !hs_head_follows(&last, &head))
		rc = hs_fail(err, ESTALE, "audit.head", HS_N_("A later or another head of this audit log was signed before."), "%s",
			     t->tenant.s);
	if (rc == 0)
		rc = sign_and_keep(t, &head, reply + HS_SIGN_PUBLIC_LEN, err);
	if (rc < 0)
		return rc;
	t->signed_ms = now;
	hs_keyring_public(t->keyd->keyring, reply);
	(void)hs_channel_send(t->channel, HS_MSG_HEAD_SIGNED, f->request, 0, reply, sizeof reply); /* gone() tells a failure */
	return 0;
}

static void on_tenant_frame(void *ctx, struct hs_frame *f)
{
	struct tenant_channel *t = ctx;
	struct hs_err err = HS_ERR_INIT;
	int rc = f->type == HS_MSG_KEY ? give_key(t, f, &err) : f->type == HS_MSG_HEAD_SIGN ? sign_head(t, f, &err) : -EPROTO;
	if (rc == -EPROTO) {
		hs_log("tenant %s broke the protocol: its channel is closed", t->tenant.s);
		drop_channel(t);
	} else if (rc < 0) {
		(void)hs_fail_errno(&err, rc, "keyring.failed", t->tenant.s);
		(void)hs_channel_send_error(t->channel, f->request, &err); /* as above */
	}
}

static void on_tenant_gone(void *ctx, const struct hs_err *why)
{
	drop_channel(ctx);
}

static void on_channel(void *ctx, enum hs_process peer, const char *name, int fd)
{
	static const struct hs_channel_events events = {.frame = on_tenant_frame, .gone = on_tenant_gone};
	static const struct hs_channel_options options = {HS_PROCESS_KEYD, HS_PROCESS_TENANT, ""};
	struct keyd *k = ctx;
	struct tenant_channel *t = calloc(1, sizeof *t);
	if (!t || k->stopping || peer != HS_PROCESS_TENANT || !hs_id_valid(name, strlen(name), "ten_")) {
		(void)close(fd); /* nobody we talk to */
		free(t);
		return;
	}
	memcpy(t->tenant.s, name, HS_ID_LEN + 1);
	t->keyd = k;
	if (hs_channel_create(&k->loop, fd, &options, &events, t, &t->channel) < 0) {
		free(t);
		return;
	}
	t->next = k->channels;
	t->link = &k->channels;
	if (t->next)
		t->next->link = &t->next;
	k->channels = t;
}

/* --- hishod's requests --- */

#define NAME_FIELD 64

static int add_tenant(struct keyd *k, struct hs_channel *control, const struct hs_frame *f)
{
	struct hs_id id = {0};
	char name[NAME_FIELD];
	struct hs_err err = HS_ERR_INIT;
	if (f->payload_len != HS_ID_LEN + NAME_FIELD || !hs_id_valid((const char *)f->payload, HS_ID_LEN, "ten_"))
		return -EPROTO;
	memcpy(id.s, f->payload, HS_ID_LEN);
	memcpy(name, f->payload + HS_ID_LEN, NAME_FIELD);
	if (name[NAME_FIELD - 1] != '\0')
		return -EPROTO;
	int rc = hs_keyring_add_tenant(k->keyring, &id, name, hs_now_ms(), &err);
	if (rc == 0)
		return hs_channel_send(control, HS_MSG_TENANT_ADDED, f->request, 0, NULL, 0);
	(void)hs_fail_errno(&err, rc, "tenant.add", name);
	return hs_channel_send_error(control, f->request, &err);
}

struct listing {
	struct hs_channel *control;
	uint64_t request;
	size_t left;
};

static int send_row(void *ctx, const struct hs_keyring_tenant *t)
{
	struct listing *l = ctx;
	uint8_t row[HS_ID_LEN + NAME_FIELD] = {0};
	memcpy(row, t->id.s, HS_ID_LEN);
	memcpy(row + HS_ID_LEN, t->name, strlen(t->name));
	l->left--;
	const struct hs_frame f = {.type = HS_MSG_TENANT_ROW, .request = l->request, .payload = row, .payload_len = sizeof row,
				   .flags = l->left > 0 ? HS_FRAME_MORE : 0};
	return hs_channel_send_frame(l->control, &f);
}

static int on_control(void *ctx, struct hs_channel *control, struct hs_frame *f)
{
	struct keyd *k = ctx;
	struct listing l = {control, f->request, hs_keyring_count(k->keyring)};
	switch (f->type) {
	case HS_MSG_TENANT_ADD:
		return add_tenant(k, control, f);
	case HS_MSG_TENANT_LIST:
		return l.left ? hs_keyring_each(k->keyring, send_row, &l) : hs_channel_send(control, HS_MSG_TENANT_ROW, f->request, 0, NULL, 0);
	default:
		return -EPROTO;
	}
}

static int on_status(void *ctx, struct hs_buf *out)
{
	struct keyd *k = ctx;
	uint8_t public[HS_SIGN_PUBLIC_LEN];
	char key[HS_HEAD_KEY_TEXT_MAX];
	hs_keyring_public(k->keyring, public);
	hs_head_key_format(public, key);
	int rc = hs_buf_printf(out, "{\"root\":\"%s\",\"demo\":%s,\"tenants\":%zu,\"epoch\":%u,\"audit_key\":\"%s\",", k->root_source,
			       k->demo ? "true" : "false", hs_keyring_count(k->keyring), hs_keyring_epoch(k->keyring), key);
	if (rc == 0)
		rc = hs_jail_report_json(&k->jail, out);
	return rc < 0 ? rc : hs_buf_append_str(out, "}");
}

static void leave(struct keyd *k)
{
	if (!k->child)
		return;
	hs_child_destroy(k->child);
	k->child = NULL;
	uv_close((uv_handle_t *)&k->leaving, NULL);
	while (k->channels)
		drop_channel(k->channels);
}

static void on_leave(uv_timer_t *timer)
{
	leave(timer->data);
}

/* Tenants are told to stop at the same time: their last heads are still signed, as long as their channels stand. */
static void on_shutdown(void *ctx)
{
	struct keyd *k = ctx;
	k->stopping = true;
	if (k->channels)
		(void)uv_timer_start(&k->leaving, on_leave, LEAVE_MS, 0); /* cannot fail with a callback */
	else
		leave(k);
}

/* --- start --- */

struct root { /* one of them */
	struct hs_key *secret;
	struct hs_passphrase *passphrase;
};

static void forget(struct root *r)
{
	hs_key_destroy(r->secret);
	hs_passphrase_destroy(r->passphrase);
	*r = (struct root){0};
}

/* --credential, or the credential that systemd put into our folder; "" where there is neither. */
static int find_credential(struct keyd *k, const char *name, char out[static PATH_MAX])
{
	const char *folder = getenv("CREDENTIALS_DIRECTORY");
	out[0] = '\0';
	if (k->credential)
		return snprintf(out, PATH_MAX, "%s", k->credential) < PATH_MAX ? 0 : -ENAMETOOLONG;
	if (!folder)
		return 0;
	if (snprintf(out, PATH_MAX, "%s/%s", folder, name) >= PATH_MAX)
		return -ENAMETOOLONG;
	if (access(out, F_OK) < 0)
		out[0] = '\0';
	return 0;
}

static int read_secret(struct keyd *k, int state, struct root *r, struct hs_err *err)
{
	char file[PATH_MAX];
	int rc = find_credential(k, "hisho-root", file);
	if (rc < 0)
		return rc;
	k->root_source = file[0] ? "credential" : "file";
	k->demo = !file[0] && faccessat(state, "keys/demo", F_OK, 0) == 0;
	return hs_root_read(file[0] ? AT_FDCWD : state, file[0] ? file : "keys/root", &r->secret, err);
}

/* A service asks through a socket, behind which systemd-ask-password runs; a demo asks whoever started it. */
static int connect_asker(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (snprintf(address.sun_path, sizeof address.sun_path, "%s", path) >= (int)sizeof address.sun_path)
		return -ENAMETOOLONG;
	HS_FD_AUTO fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
		return -errno;
	int ret = fd;
	fd = -1;
	return ret;
}

/* Until there is an answer. Where hishod leaves meanwhile, nobody needs it any more. */
static int wait_for_answer(int fd)
{
	for (;;) {
		struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = HS_CONTROL_FD}};
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return -errno;
		if (p[1].revents)
			return -EPIPE;
		if (p[0].revents)
			return 0;
	}
}

static int read_passphrase(struct keyd *k, struct root *r, struct hs_err *err)
{
	char file[PATH_MAX];
	int rc = find_credential(k, "hisho-passphrase", file);
	if (rc < 0)
		return rc;
	k->root_source = file[0] ? "credential" : "passphrase";
	if (!file[0] && !k->ask)
		return hs_passphrase_read(0, "パスフレーズ (passphrase): ", &r->passphrase, err);
	HS_FD_AUTO fd = file[0] ? open(file, O_RDONLY | O_CLOEXEC) : connect_asker(k->ask);
	if (fd < 0)
		return hs_fail_errno(err, file[0] ? -errno : fd, "keyring.passphrase", file[0] ? file : k->ask);
	rc = file[0] ? 0 : wait_for_answer(fd);
	if (rc < 0)
		return hs_fail_errno(err, rc, "keyring.passphrase", k->ask);
	return hs_passphrase_read(fd, "", &r->passphrase, err);
}

static int read_root(struct keyd *k, int state, struct root *r, struct hs_err *err)
{
	enum hs_root_kind kind;
	int rc = hs_keyring_kind(state, KEYRING, &kind, err);
	if (rc < 0)
		return rc;
	return kind == HS_ROOT_PASSPHRASE ? read_passphrase(k, r, err) : read_secret(k, state, r, err);
}

static int open_keyring(struct keyd *k, int state, const struct root *r, struct hs_err *err)
{
	const struct hs_root root = r->secret ? (struct hs_root){HS_ROOT_SECRET, r->secret->bytes, HS_KEY_LEN}
					      : (struct hs_root){HS_ROOT_PASSPHRASE, r->passphrase->bytes, r->passphrase->len};
	return hs_keyring_open(state, KEYRING, &root, &k->keyring, err);
}

/* What a crash left of our own files: nobody else writes them. of: as for hs_file_is_temporary. */
static void sweep(int folder, const char *of)
{
	int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	for (struct dirent *e; dir && (e = readdir(dir));) {
		if (hs_file_is_temporary(e->d_name, of))
			(void)unlinkat(folder, e->d_name, 0); /* the next start tries again */
	}
	if (dir)
		(void)closedir(dir); /* it was only read */
	else if (fd >= 0)
		(void)close(fd); /* as above */
}

static void sweep_keys(struct keyd *k, int state)
{
	HS_FD_AUTO keys = openat(state, "keys", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (keys >= 0)
		sweep(keys, "keyring");
	sweep(k->heads, NULL);
}

static int open_heads(struct keyd *k, int state, struct hs_err *err)
{
	if (mkdirat(state, HEADS, 0700) < 0 && errno != EEXIST)
		return hs_fail_errno(err, -errno, "audit.head", HEADS);
	k->heads = openat(state, HEADS, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return k->heads < 0 ? hs_fail_errno(err, -errno, "audit.head", HEADS) : 0;
}

static int enter_jail(struct keyd *k, const char *keys, int state_fd, int lock_fd, struct hs_err *err)
{
	const struct hs_jail j = {.role = HS_PROCESS_KEYD, .file_max = UINT64_MAX, .keep_fds = {state_fd, lock_fd}, .n_keep_fds = 2,
				  .n_paths = 1, .paths = {{keys, HS_JAIL_READ | HS_JAIL_WRITE}}};
	return hs_jail_enter(&j, &k->jail, err);
}

static int start(struct keyd *k, const char *state, struct hs_err *err)
{
	static const struct hs_child_events events = {
		.channel = on_channel, .status = on_status, .shutdown = on_shutdown, .frame = on_control};
	char keys[1100];
	HS_FD_AUTO state_fd = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (state_fd < 0)
		return -errno;
	if (snprintf(keys, sizeof keys, "%s/keys", state) >= (int)sizeof keys)
		return -ENAMETOOLONG;
	HS_FD_AUTO lock_fd = hs_dir_lock(keys, err); /* a process that hangs and is given up may still write */
	if (lock_fd < 0)
		return lock_fd;
	struct root r = {0};
	int rc = read_root(k, state_fd, &r, err);
	(void)signal(SIGINT, SIG_IGN); /* from here Ctrl-C on the terminal is hishod's to act on */
	if (rc == 0)
		rc = enter_jail(k, keys, state_fd, lock_fd, err);
	if (rc == 0)
		rc = open_keyring(k, state_fd, &r, err);
	forget(&r);
	if (rc == 0)
		rc = open_heads(k, state_fd, err);
	if (rc == 0)
		sweep_keys(k, state_fd);
	if (rc == 0)
		rc = uv_loop_init(&k->loop);
	if (rc == 0) {
		(void)uv_timer_init(&k->loop, &k->leaving); /* cannot fail */
		k->leaving.data = k;
	}
	if (rc == 0)
		rc = hs_child_create(&k->loop, HS_PROCESS_KEYD, "", &events, k, &k->child);
	if (rc == 0)
		rc = hs_child_ready(k->child, NULL);
	if (rc < 0)
		return rc;
	rc = uv_run(&k->loop, UV_RUN_DEFAULT); /* the descriptors must live as long: the keyring writes beside them */
	return rc < 0 ? rc : 0;
}

int main(int argc, char **argv)
{
	static struct keyd k = {.heads = -1};
	static const struct option options[] = {
		{"state", required_argument, NULL, 's'},
		{"credential", required_argument, NULL, 'c'},
		{"ask", required_argument, NULL, 'a'},
		{0}};
	const char *state = NULL;
	bool usage = false;
	struct hs_err err = HS_ERR_INIT;
	if (hs_child_arguments(&argc, &argv, &err) < 0) {
		hs_log_err("start", &err);
		return 1;
	}
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == 's')
			state = optarg;
		else if (c == 'c')
			k.credential = optarg;
		else if (c == 'a')
			k.ask = optarg;
		else
			usage = true;
	}
	if (usage || optind != argc || !state) {
		fprintf(stderr, "usage: hisho-keyd --state DIR [--credential FILE] [--ask SOCKET]   (started by hishod)\n");
		return 2;
	}
	int rc = hs_crypto_init();
	if (rc == 0)
		rc = start(&k, state, &err);
	hs_keyring_close(k.keyring);
	hs_close(&k.heads);
	if (rc < 0) {
		(void)hs_fail_errno(&err, rc, "keyring.start", state);
		hs_log_err("start", &err);
	}
	return rc < 0;
}
