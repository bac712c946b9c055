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
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <sodium.h>

#include "base/clock.h"
#include "base/file.h"
#include "crypto/keyring.h"
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

struct root {
	struct hs_key *key; /* a secret of 32 bytes */
	uint8_t passphrase[HS_PASSPHRASE_MAX];
	size_t passphrase_len;
};

/* One line of standard input, in guarded memory. */
static int read_passphrase(struct root *r, struct hs_err *err)
{
	for (;;) {
		ssize_t n = read(0, r->passphrase + r->passphrase_len, sizeof r->passphrase - r->passphrase_len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return hs_fail_errno(err, -errno, "keyring.passphrase", "standard input");
		uint8_t *end = memchr(r->passphrase + r->passphrase_len, '\n', (size_t)n);
		r->passphrase_len = end ? (size_t)(end - r->passphrase) : r->passphrase_len + (size_t)n;
		if (end || n == 0)
			return 0;
		if (r->passphrase_len == sizeof r->passphrase)
			return hs_fail(err, EINVAL, "keyring.passphrase", HS_N_("The passphrase is too long."), "%zu bytes",
				       r->passphrase_len);
	}
}

static int read_root(struct keyd *k, int state, const char *credential, bool ask, struct root *r, struct hs_err *err)
{
	if (ask) {
		k->root_source = "passphrase";
		return read_passphrase(r, err);
	}
	k->root_source = credential ? "credential" : "file";
	k->demo = !credential && faccessat(state, "keys/demo", F_OK, 0) == 0;
	return hs_root_read(credential ? AT_FDCWD : state, credential ? credential : "keys/root", &r->key, err);
}

/* A keyring is made only where there is nothing yet that an old one would open. */
static bool has_tenants(int state)
{
	int fd = openat(state, "tenants", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	bool found = false;
	for (struct dirent *e; dir && (e = readdir(dir));)
		found = found || strncmp(e->d_name, "ten_", 4) == 0;
	if (dir)
		(void)closedir(dir); /* it was only read */
	else if (fd >= 0)
		(void)close(fd); /* as above */
	return found;
}

static int open_keyring(struct keyd *k, int state, const struct root *r, struct hs_err *err)
{
	const struct hs_root root = r->key ? (struct hs_root){HS_ROOT_SECRET, r->key->bytes, HS_KEY_LEN}
					   : (struct hs_root){HS_ROOT_PASSPHRASE, r->passphrase, r->passphrase_len};
	int rc = hs_keyring_open(state, KEYRING, &root, &k->keyring, err);
	if (rc != -ENOENT)
		return rc;
	if (has_tenants(state))
		return hs_fail(err, ENOENT, "keyring.missing", HS_N_("The keyring is gone but tenants are there. Restore it from a backup."),
			       KEYRING);
	*err = HS_ERR_INIT;
	if (!r->key && r->passphrase_len < HS_PASSPHRASE_MIN)
		return hs_fail(err, EINVAL, "keyring.passphrase", HS_N_("The passphrase is too short."), "%d bytes at least",
			       HS_PASSPHRASE_MIN);
	return hs_keyring_create(state, KEYRING, &root, &k->keyring, err);
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

static int enter_jail(struct keyd *k, const char *state, int state_fd, struct hs_err *err)
{
	char keys[1100], tenants[1100];
	if (snprintf(keys, sizeof keys, "%s/keys", state) >= (int)sizeof keys ||
	    snprintf(tenants, sizeof tenants, "%s/tenants", state) >= (int)sizeof tenants)
		return -ENAMETOOLONG;
	const struct hs_jail j = {.role = HS_PROCESS_KEYD, .file_max = UINT64_MAX, .keep_fds = {state_fd}, .n_keep_fds = 1, .n_paths = 2,
				  .paths = {{keys, HS_JAIL_READ | HS_JAIL_WRITE}, {tenants, HS_JAIL_READ}}};
	return hs_jail_enter(&j, &k->jail, err);
}

static int start(struct keyd *k, const char *state, const char *credential, bool ask, struct hs_err *err)
{
	static const struct hs_child_events events = {
		.channel = on_channel, .status = on_status, .shutdown = on_shutdown, .frame = on_control};
	HS_FD_AUTO state_fd = open(state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (state_fd < 0)
		return -errno;
	struct root *r = sodium_malloc(sizeof *r);
	if (!r)
		return -ENOMEM;
	memset(r, 0, sizeof *r);
	int rc = read_root(k, state_fd, credential, ask, r, err);
	if (rc == 0)
		rc = enter_jail(k, state, state_fd, err);
	if (rc == 0)
		rc = open_keyring(k, state_fd, r, err);
	if (rc == 0)
		rc = open_heads(k, state_fd, err);
	if (rc == 0)
		sweep_keys(k, state_fd);
	hs_key_destroy(r->key);
	sodium_free(r);
	if (rc == 0)
		rc = uv_loop_init(&k->loop);
	if (rc == 0) {
		(void)uv_timer_init(&k->loop, &k->leaving); /* cannot fail */
		k->leaving.data = k;
	}
	if (rc == 0)
		rc = hs_child_create(&k->loop, HS_PROCESS_KEYD, "", &events, k, &k->child);
	if (rc == 0)
		rc = hs_child_ready(k->child);
	if (rc < 0)
		return rc;
	rc = uv_run(&k->loop, UV_RUN_DEFAULT); /* the state's descriptor must live as long: the keyring writes beside it */
	return rc < 0 ? rc : 0;
}

int main(int argc, char **argv)
{
	static struct keyd k = {.heads = -1};
	static const struct option options[] = {{"state", required_argument, NULL, 's'},
						{"credential", required_argument, NULL, 'c'},
						{"passphrase", no_argument, NULL, 'p'},
						{0}};
	const char *state = NULL, *credential = NULL;
	bool ask = false, usage = false;
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == 's')
			state = optarg;
		else if (c == 'c')
			credential = optarg;
		else if (c == 'p')
			ask = true;
		else
			usage = true;
	}
	if (usage || optind != argc || !state || (ask && credential)) {
		fprintf(stderr, "usage: hisho-keyd --state DIR [--credential FILE | --passphrase]   (started by hishod)\n");
		return 2;
	}
	struct hs_err err = HS_ERR_INIT;
	(void)signal(SIGINT, SIG_IGN); /* Ctrl-C on the terminal is hishod's to act on */
	int rc = hs_crypto_init();
	if (rc == 0)
		rc = start(&k, state, credential, ask, &err);
	hs_keyring_close(k.keyring);
	hs_close(&k.heads);
	if (rc < 0) {
		(void)hs_fail_errno(&err, rc, "keyring.start", state);
		hs_log_err("start", &err);
	}
	return rc < 0;
}
