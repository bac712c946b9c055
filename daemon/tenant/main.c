/*
 * hisho-tenant: one tenant's process. Open its folder, jail, take the tenant's key from hisho-keyd, validate what the key
 * opens, serve.
 */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "daemon/child.h"
#include "daemon/forward.h"
#include "daemon/http.h"
#include "daemon/jail.h"
#include "daemon/tenant/embedder.h"
#include "daemon/tenant/extract_client.h"
#include "daemon/tenant/filing.h"
#include "daemon/tenant/heads.h"
#include "daemon/tenant/infer_client.h"
#include "daemon/tenant/intake.h"
#include "daemon/tenant/serve.h"
#include "daemon/tenant/upkeep.h"

#define SYSTEM_DICT "/var/lib/mecab/dic/ipadic-utf8"

struct web { /* the channel to the web process, and what is answered on it */
	struct hs_channel *channel;
	struct hs_forward_server *forward;
};

struct process {
	struct hs_tenant tenant;
	char state[400], dict[512];
	uv_loop_t loop;
	struct hs_child *child;
	struct hs_jail_report jail;
	struct hs_channel *keyd;
	struct hs_http_server *admin;
	struct hs_upkeep *upkeep;
	struct web web;
	int waiting_web; /* a channel that came before the tenant was open; -1: none */
	bool open, leaving, stopping, failed;
};

/* --- channels --- */

static void on_web_frame(void *ctx, struct hs_frame *f)
{
	struct process *p = ctx;
	if (hs_forward_server_frame(p->web.forward, f) < 0) {
		hs_forward_server_destroy(p->web.forward);
		hs_channel_destroy(p->web.channel);
		p->web = (struct web){0};
	}
}

static void on_web_gone(void *ctx, const struct hs_err *why)
{
	struct process *p = ctx;
	hs_forward_server_destroy(p->web.forward);
	hs_channel_destroy(p->web.channel);
	p->web = (struct web){0};
}

static void attach_web(struct process *p, int fd)
{
	static const struct hs_channel_events events = {.frame = on_web_frame, .gone = on_web_gone};
	const struct hs_channel_options o = {HS_PROCESS_TENANT, HS_PROCESS_WEB, p->tenant.id.s};
	if (p->web.channel)
		on_web_gone(p, NULL);
	int rc = hs_channel_create(&p->loop, fd, &o, &events, p, &p->web.channel);
	if (rc == 0)
		rc = hs_forward_server_create(p->web.channel, &hs_tenant_service, &p->tenant, &p->web.forward);
	if (rc < 0) {
		hs_channel_destroy(p->web.channel);
		p->web = (struct web){0};
		hs_log("no channel to the web process: %s", strerror(-rc));
	}
}

static void stop(struct process *p);

static void serve(struct process *p)
{
	const struct hs_http_options o = {.service = &hs_tenant_service, .ctx = &p->tenant, .local = true};
	int rc = hs_http_server_create(&p->loop, &o, &p->admin);
	if (rc == 0)
		rc = hs_upkeep_create(&p->tenant, &p->upkeep);
	if (rc == 0)
		rc = hs_child_ready(p->child, NULL);
	if (rc < 0) {
		hs_log("cannot serve: %s", strerror(-rc));
		p->failed = true;
		stop(p);
		return;
	}
	p->open = true;
	if (p->waiting_web >= 0)
		attach_web(p, p->waiting_web);
	p->waiting_web = -1;
	hs_intake_kick(p->tenant.intake);
	hs_embedder_kick(p->tenant.embedder);
	hs_heads_attach(p->tenant.heads, p->keyd);
	hs_heads_start(p->tenant.heads);
}

static void take_key(struct process *p, const struct hs_msg_key *msg)
{
	memcpy(p->tenant.db_uuid, msg->db_uuid, sizeof msg->db_uuid);
	p->tenant.key_generation = msg->generation;
	memcpy(p->tenant.signer, msg->signer, sizeof msg->signer);
	p->tenant.signed_head = (struct hs_audit_head){.seq = msg->head.seq, .time = msg->head.time};
	memcpy(p->tenant.signed_head.chain, msg->head.chain, sizeof msg->head.chain);
}

static void log_refusal(const struct process *p, const struct hs_frame *f)
{
	struct hs_msg_error told;
	if (f->type == HS_MSG_ERROR && hs_get_error(f->payload, f->payload_len, &told) == 0)
		hs_log("the keyring gave no key for tenant %s: %.*s %.*s", p->tenant.name, (int)told.code.len, told.code.s,
		       (int)told.object.len, told.object.s);
	else
		hs_log("the keyring gave no key for tenant %s", p->tenant.name);
}

static void on_key(void *ctx, struct hs_frame *f)
{
	struct process *p = ctx;
	struct hs_msg_key msg;
	struct hs_err err = HS_ERR_INIT;
	if (p->open || p->leaving) {
		hs_heads_frame(p->tenant.heads, f);
		return;
	}
	if (f->type != HS_MSG_KEY_REPLY || hs_get_key(f->payload, f->payload_len, &msg) < 0) {
		log_refusal(p, f);
		p->failed = true;
		stop(p);
		return;
	}
	struct hs_key *key = hs_key_copy(msg.key);
	take_key(p, &msg);
	explicit_bzero(&msg, sizeof msg);
	explicit_bzero((void *)f->payload, f->payload_len); /* the packet buffer, ours */
	int rc = key ? hs_tenant_open(&p->tenant, key, p->dict, &err) : -ENOMEM;
	hs_key_destroy(key);
	if (rc < 0) {
		hs_log_err("tenant", &err);
		p->failed = true;
		stop(p);
		return;
	}
	serve(p);
}

static void on_keyd_gone(void *ctx, const struct hs_err *why)
{
	struct process *p = ctx;
	hs_channel_destroy(p->keyd);
	p->keyd = NULL;
	if (p->open || p->leaving)
		hs_heads_attach(p->tenant.heads, NULL);
}

static void attach_keyd(struct process *p, int fd)
{
	static const struct hs_channel_events events = {.frame = on_key, .gone = on_keyd_gone};
	const struct hs_channel_options o = {HS_PROCESS_TENANT, HS_PROCESS_KEYD, p->tenant.id.s};
	hs_channel_destroy(p->keyd);
	p->keyd = NULL;
	int rc = hs_channel_create(&p->loop, fd, &o, &events, p, &p->keyd);
	if (rc == 0 && p->open)
		hs_heads_attach(p->tenant.heads, p->keyd);
	else if (rc == 0)
		rc = hs_channel_send(p->keyd, HS_MSG_KEY, 1, 0, NULL, 0);
	if (rc < 0)
		hs_log("no channel to the keyring: %s", strerror(-rc));
}

static void on_channel(void *ctx, enum hs_process peer, const char *name, int fd)
{
	struct process *p = ctx;
	int rc = 0;
	if (p->stopping || p->leaving) {
		(void)close(fd); /* we are leaving */
		return;
	}
	switch (peer) {
	case HS_PROCESS_KEYD:
		attach_keyd(p, fd);
		return;
	case HS_PROCESS_WEB:
		if (p->open) {
			attach_web(p, fd);
		} else {
			hs_close(&p->waiting_web);
			p->waiting_web = fd;
		}
		return;
	case HS_PROCESS_INFER:
		rc = hs_infer_client_attach(p->tenant.infer, fd);
		break;
	case HS_PROCESS_EXTRACT:
	case HS_PROCESS_EXTRACT_PDF:
		rc = hs_extract_client_attach(p->tenant.extract, peer, fd);
		if (rc == 0 && p->open)
			hs_intake_hurry(p->tenant.intake);
		break;
	default:
		(void)close(fd); /* nobody we talk to */
		return;
	}
	if (rc < 0)
		hs_log("no channel to process %d: %s", (int)peer, strerror(-rc));
}

static void on_connection(void *ctx, int fd, const struct hs_peer_credentials *who)
{
	struct process *p = ctx;
	if (!p->open)
		(void)close(fd); /* not serving yet: the client sees it and tries again */
	else if (hs_http_server_take(p->admin, fd, who) < 0)
		hs_log("an admin connection could not be served");
}

static int on_status(void *ctx, struct hs_buf *out)
{
	struct process *p = ctx;
	json_t *status = p->open ? hs_tenant_status(&p->tenant) : json_pack("{s:s}", "name", p->tenant.name);
	char *text = status ? json_dumps(status, JSON_COMPACT) : NULL;
	json_decref(status);
	int rc = -ENOMEM;
	if (text) { /* one object: ours, with the jail's report before its end */
		size_t n = strlen(text);
		rc = hs_buf_append(out, text, n - 1);
		if (rc == 0)
			rc = hs_buf_append_str(out, ",");
		if (rc == 0)
			rc = hs_jail_report_json(&p->jail, out);
		if (rc == 0)
			rc = hs_buf_append_str(out, "}");
	}
	free(text);
	return rc;
}

/* What hishod did to this tenant, at whose word: on the loop's thread, for it is seldom, and a seal waits for it. */
static int on_frame(void *ctx, struct hs_channel *control, struct hs_frame *f)
{
	static const char *const actions[] = {[HS_ACT_ADDED] = "tenant.added", [HS_ACT_SEALED] = "tenant.sealed",
					      [HS_ACT_UNSEALED] = "tenant.unsealed", [HS_ACT_REBUILT] = "tenant.rebuilt"};
	struct process *p = ctx;
	struct hs_wire w = hs_wire_over(f->payload, f->payload_len);
	uint8_t what = hs_wire_u8(&w);
	uint32_t uid = hs_wire_u32(&w);
	if (f->type != HS_MSG_ACT || !hs_wire_done(&w) || what >= HS_ARRAY_LEN(actions) || !actions[what])
		return -EPROTO;
	if (!p->open)
		return 0; /* it is closing */
	char who[32];
	(void)snprintf(who, sizeof who, "local_%lu", (unsigned long)uid); /* as hs_principal_local names them */
	struct hs_audit *audit = p->tenant.audit;
	const struct hs_audit_entry e = {.principal = who, .action = actions[what], .object = p->tenant.id.s, .decision = HS_AUDIT_ALLOWED,
					 .time = hs_now_ms(), .commit_seq = hs_store_commit_seq(p->tenant.store)};
	struct hs_err err = HS_ERR_INIT;
	uint64_t seq;
	hs_audit_lock(audit);
	int rc = hs_audit_append(audit, &e, &seq, &err);
	if (rc == 0)
		hs_heads_count(p->tenant.heads, seq);
	hs_audit_unlock(audit);
	if (rc < 0) /* a seal is not held up by a log that is full */
		hs_log_err(actions[what], &err);
	return 0;
}

static void stop(struct process *p)
{
	if (p->stopping)
		return;
	p->stopping = true;
	if (p->web.channel)
		on_web_gone(p, NULL);
	hs_http_server_destroy(p->admin);
	p->admin = NULL;
	hs_tenant_close(&p->tenant);
	hs_close(&p->waiting_web);
	hs_upkeep_destroy(p->upkeep);
	hs_channel_destroy(p->keyd);
	p->keyd = NULL;
	hs_child_destroy(p->child);
	p->child = NULL;
}

static void leave(void *ctx)
{
	stop(ctx);
}

/* Nothing is taken any more; the last head of the audit log is signed; then everything closes. */
static void on_shutdown(void *ctx)
{
	struct process *p = ctx;
	if (!p->open) {
		stop(p);
		return;
	}
	p->open = false;
	p->leaving = true;
	if (p->web.channel)
		on_web_gone(p, NULL);
	hs_http_server_destroy(p->admin);
	p->admin = NULL;
	hs_heads_finish(p->tenant.heads, leave, p);
}

/* --- start --- */

/* The dictionary that init copied into the state folder, by its hash; the system's where there is none. */
static int find_dict(struct process *p, struct hs_err *err)
{
	char folder[450];
	(void)snprintf(folder, sizeof folder, "%s/dict", p->state);
	DIR *dir = opendir(folder);
	size_t found = 0;
	for (struct dirent *e; dir && (e = readdir(dir));) {
		if (e->d_name[0] == '.')
			continue;
		found++;
		if (snprintf(p->dict, sizeof p->dict, "%s/%s", folder, e->d_name) >= (int)sizeof p->dict)
			found = 2;
	}
	if (dir)
		(void)closedir(dir); /* reading it is over */
	if (found == 0)
		(void)snprintf(p->dict, sizeof p->dict, "%s", SYSTEM_DICT);
	if (found > 1)
		return hs_fail(err, EINVAL, "dict.ambiguous", HS_N_("More than one dictionary lies in the folder. Leave one."), "%s", folder);
	return 0;
}

/* hishod keeps the seals, and cannot look in here where it has a user of its own: a mark of 0.1.0 still closes the tenant. */
static int check_seal(const struct process *p, struct hs_err *err)
{
	char mark[sizeof p->tenant.path + 8];
	(void)snprintf(mark, sizeof mark, "%s/sealed", p->tenant.path); /* the size is the sum */
	if (access(mark, F_OK) != 0)
		return 0;
	return hs_fail(err, EACCES, "tenant.sealed",
		       HS_N_("Hisho 0.1.0 sealed this tenant. Seal it again by `hisho tenant seal`, then remove the file."), "%s", mark);
}

static int enter_jail(struct process *p, struct hs_err *err)
{
	struct hs_jail j = {.role = HS_PROCESS_TENANT, .file_max = UINT64_MAX, .threads = true, .keep_all_fds = false};
	const struct hs_jail_path paths[] = {
		{p->tenant.path, HS_JAIL_READ | HS_JAIL_WRITE},
		{p->dict, HS_JAIL_READ},
		{"/dev/null", HS_JAIL_READ}, /* MeCab's rc file: none */
		{"/usr/share/zoneinfo", HS_JAIL_READ},
		{"/usr/share/locale", HS_JAIL_READ},
		{"/usr/lib", HS_JAIL_READ}, /* gconv modules and ICU's data */
	};
	memcpy(j.paths, paths, sizeof paths);
	j.n_paths = HS_ARRAY_LEN(paths);
	return hs_jail_enter(&j, &p->jail, err);
}

static bool take_arguments(struct process *p, int argc, char **argv)
{
	static const struct option options[] = {
		{"state", required_argument, NULL, 's'}, {"id", required_argument, NULL, 'i'}, {"name", required_argument, NULL, 'n'},
		{"rebuild", required_argument, NULL, 'r'}, {"limits", required_argument, NULL, 'l'}, {0}};
	const char *state = NULL, *id = NULL, *name = NULL;
	p->tenant.limits = hs_limits_default;
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == 's')
			state = optarg;
		else if (c == 'i')
			id = optarg;
		else if (c == 'n')
			name = optarg;
		else if (c == 'r')
			p->tenant.rebuild = strcmp(optarg, "yes") == 0;
		else if (c != 'l' || !hs_limits_parse(optarg, &p->tenant.limits))
			return false;
	}
	if (optind != argc || !state || !id || !name || !hs_id_valid(id, strlen(id), "ten_") || strlen(name) > HS_KEYRING_NAME_MAX)
		return false;
	memcpy(p->tenant.id.s, id, HS_ID_LEN + 1);
	memcpy(p->tenant.name, name, strlen(name) + 1);
	return snprintf(p->state, sizeof p->state, "%s", state) < (int)sizeof p->state &&
	       snprintf(p->tenant.path, sizeof p->tenant.path, "%s/tenants/%s", state, id) < (int)sizeof p->tenant.path;
}

static void on_models(void *ctx)
{
	struct process *p = ctx;
	if (p->open && p->tenant.embedder)
		hs_embedder_kick(p->tenant.embedder);
}

int main(int argc, char **argv)
{
	static struct process p = {.waiting_web = -1, .tenant = {.dir = -1, .blobs = -1, .owner_lock = -1}};
	static const struct hs_child_events events = {
		.channel = on_channel, .connection = on_connection, .status = on_status, .shutdown = on_shutdown, .frame = on_frame};
	struct hs_err err = HS_ERR_INIT;
	if (hs_child_arguments(&argc, &argv, &err) < 0) {
		hs_log_err("start", &err);
		return 1;
	}
	if (!take_arguments(&p, argc, argv)) {
		fprintf(stderr, "usage: hisho-tenant --state DIR --id ten_... --name NAME   (started by hishod)\n");
		return 2;
	}
	int rc = hs_crypto_init();
	if (rc == 0)
		rc = hs_mkdirs(p.tenant.path, 0700);
	if (rc == 0)
		rc = find_dict(&p, &err);
	if (rc == 0)
		rc = check_seal(&p, &err);
	if (rc == 0)
		rc = enter_jail(&p, &err);
	if (rc == 0)
		rc = uv_loop_init(&p.loop);
	p.tenant.loop = &p.loop;
	if (rc == 0)
		rc = hs_infer_client_create(&p.loop, p.tenant.id.s, on_models, &p, &p.tenant.infer);
	if (rc == 0)
		rc = hs_extract_client_create(&p.loop, p.tenant.id.s, &p.tenant.extract);
	if (rc == 0)
		rc = hs_intake_create(&p.tenant, &p.tenant.intake);
	if (rc == 0)
		rc = hs_filing_create(&p.tenant, &p.tenant.filing);
	if (rc == 0)
		rc = hs_embedder_create(&p.tenant, &p.tenant.embedder);
	if (rc == 0)
		rc = hs_heads_create(&p.tenant, &p.tenant.heads);
	if (rc == 0)
		rc = hs_child_create(&p.loop, HS_PROCESS_TENANT, p.tenant.id.s, &events, &p, &p.child);
	if (rc < 0) {
		(void)hs_fail_errno(&err, rc, "tenant.start", p.tenant.name);
		hs_log_err("start", &err);
		return 1;
	}
	rc = uv_run(&p.loop, UV_RUN_DEFAULT);
	return p.failed || rc != 0;
}
