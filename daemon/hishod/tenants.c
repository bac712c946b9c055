/* The tenants of this host: as hisho-keyd lists them, each open or sealed. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "daemon/hishod/keeper.h"

#define ROW_LEN (HS_ID_LEN + 64)

struct addition { /* asked of keyd */
	struct addition *next;
	uint64_t request;
	struct hs_id id;
	char name[HS_KEYRING_NAME_MAX + 1];
	uid_t by;
	struct hs_responder *responder; /* NULL: its client went away */
};

static void refuse(struct hs_responder *r, unsigned status, int num, const char *code, const char *hint, const char *object)
{
	struct hs_err err = HS_ERR_INIT;
	(void)hs_fail(&err, num, code, hint, "%s", object);
	hs_responder_refuse(r, status, &err);
}

static void sealed_mark(const struct tenant *t, char *out, size_t cap)
{
	(void)snprintf(out, cap, "sealed/%s", t->id.s); /* fits: an id has 30 characters */
}

struct tenant *hs_tenants_find(struct keeper *k, const char *name, size_t len)
{
	struct tenant *t = k->tenants;
	while (t && !(strlen(t->name) == len && memcmp(t->name, name, len) == 0))
		t = t->next;
	return t;
}

static struct tenant *learn(struct keeper *k, const char id[static HS_ID_LEN], const char *name)
{
	struct tenant *t = calloc(1, sizeof *t);
	if (!t)
		return NULL;
	memcpy(t->id.s, id, HS_ID_LEN);
	memcpy(t->name, name, strlen(name) + 1);
	char mark[80], before[80];
	sealed_mark(t, mark, sizeof mark);
	(void)snprintf(before, sizeof before, "tenants/%s/sealed", t->id.s); /* as in sealed_mark: where 0.1.0 put it */
	(void)renameat(k->state_fd, before, k->state_fd, mark);               /* seldom there */
	t->sealed = faccessat(k->state_fd, mark, F_OK, 0) == 0 || errno != ENOENT; /* what cannot be seen is not opened */
	hs_proc_init(k, &t->proc, HS_PROCESS_TENANT, "hisho-tenant", t);
	t->next = k->tenants;
	k->tenants = t;
	return t;
}

void hs_tenants_list(struct keeper *k)
{
	(void)hs_channel_send(k->keyd.control, HS_MSG_TENANT_LIST, ++k->last_request, 0, NULL, 0); /* gone() tells a failure */
}

static bool known(struct keeper *k, const char *id)
{
	struct tenant *t = k->tenants;
	while (t && memcmp(t->id.s, id, HS_ID_LEN) != 0)
		t = t->next;
	return t != NULL;
}

static void take_row(struct keeper *k, const struct hs_frame *f)
{
	const char *row = (const char *)f->payload;
	if (f->payload_len == ROW_LEN && hs_id_valid(row, HS_ID_LEN, "ten_") && row[ROW_LEN - 1] == '\0' && !known(k, row)) {
		struct tenant *t = learn(k, row, row + HS_ID_LEN);
		if (t && !t->sealed)
			hs_proc_start(&t->proc);
	}
	if (!(f->flags & HS_FRAME_MORE))
		k->listed = true;
}

static struct addition *take_addition(struct keeper *k, uint64_t request)
{
	struct addition **at = &k->additions;
	while (*at && (*at)->request != request)
		at = &(*at)->next;
	struct addition *a = *at;
	if (a)
		*at = a->next;
	return a;
}

/* To its process where it serves, else when it does; and to the journal in any case. */
static void record(struct tenant *t, enum hs_act what, uid_t by)
{
	static const char *const names[] = {[HS_ACT_ADDED] = "added", [HS_ACT_SEALED] = "sealed", [HS_ACT_UNSEALED] = "unsealed",
					   [HS_ACT_REBUILT] = "rebuilt"};
	hs_log("tenant %s is %s by uid %lu", t->name, names[what], (unsigned long)by);
	if (t->n_acts == HS_ACTS_MAX) /* its process never comes up: the journal has them */
		memmove(t->acts, t->acts + 1, --t->n_acts * sizeof t->acts[0]);
	t->acts[t->n_acts++] = (struct act){what, (uint32_t)by};
	if (t->proc.state == PROC_READY)
		hs_tenants_tell_acts(t);
}

void hs_tenants_tell_acts(struct tenant *t)
{
	for (size_t i = 0; i < t->n_acts && t->proc.control; i++) {
		HS_BUF_AUTO b = HS_BUF_INIT;
		if (hs_put_u8(&b, (uint8_t)t->acts[i].what) == 0 && hs_put_u32(&b, t->acts[i].uid) == 0)
			(void)hs_channel_send(t->proc.control, HS_MSG_ACT, 0, 0, b.data, b.len); /* gone() tells a failure */
	}
	if (t->proc.control)
		t->n_acts = 0;
	t->rebuild = false; /* it serves */
}

static void take_added(struct keeper *k, const struct hs_frame *f)
{
	struct addition *a = take_addition(k, f->request);
	if (!a)
		return;
	struct tenant *t = learn(k, a->id.s, a->name);
	if (t) {
		record(t, HS_ACT_ADDED, a->by);
		hs_proc_start(&t->proc);
	}
	if (a->responder)
		hs_admin_reply(a->responder, 201, json_pack("{s:s, s:s}", "id", a->id.s, "name", a->name));
	free(a);
}

static void take_error(struct keeper *k, const struct hs_frame *f)
{
	struct hs_msg_error told;
	struct addition *a = take_addition(k, f->request);
	if (!a)
		return;
	if (a->responder && hs_get_error(f->payload, f->payload_len, &told) == 0) {
		struct hs_err err = HS_ERR_INIT;
		char code[sizeof err.code] = {0};
		memcpy(code, told.code.s ? told.code.s : "", HS_MIN(told.code.len, sizeof code - 1));
		(void)hs_fail(&err, (int)told.num, code, told.num == EEXIST ? HS_N_("A tenant of that name is there already.") :
			      HS_N_("The keyring did not take the tenant. A name has a-z, 0-9 and -, and begins with a letter."), "%s", a->name);
		hs_responder_refuse(a->responder, told.num == EEXIST ? 409 : told.num == EINVAL ? 400 : 500, &err);
	} else if (a->responder) {
		refuse(a->responder, 500, EPROTO, "tenant.add", "", a->name);
	}
	free(a);
}

bool hs_tenants_frame(struct keeper *k, const struct hs_frame *f)
{
	switch (f->type) {
	case HS_MSG_TENANT_ROW:
		take_row(k, f);
		return true;
	case HS_MSG_TENANT_ADDED:
		take_added(k, f);
		return true;
	case HS_MSG_ERROR:
		take_error(k, f);
		return true;
	default:
		return false;
	}
}

static bool good_name(const char *name)
{
	size_t n = strlen(name);
	return n > 0 && n <= HS_KEYRING_NAME_MAX && name[0] >= 'a' && name[0] <= 'z' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

void hs_tenants_add(struct keeper *k, const char *name, uid_t by, struct hs_responder *r)
{
	struct addition *a = NULL;
	if (!good_name(name)) {
		refuse(r, 400, EINVAL, "tenant.name", HS_N_("A name has a-z, 0-9 and -, and begins with a letter."), name);
	} else if (hs_tenants_find(k, name, strlen(name))) {
		refuse(r, 409, EEXIST, "tenant.exists", HS_N_("A tenant of that name is there already."), name);
	} else if (!k->keyd.control || !k->listed || !(a = calloc(1, sizeof *a))) {
		refuse(r, 503, EAGAIN, "service.starting", HS_N_("The service is starting. Try again shortly."), name);
	} else {
		uint8_t row[ROW_LEN] = {0};
		a->request = ++k->last_request;
		a->id = hs_id_new("ten_");
		memcpy(a->name, name, strlen(name) + 1);
		a->by = by;
		a->responder = r;
		a->next = k->additions;
		k->additions = a;
		memcpy(row, a->id.s, HS_ID_LEN);
		memcpy(row + HS_ID_LEN, name, strlen(name));
		(void)hs_channel_send(k->keyd.control, HS_MSG_TENANT_ADD, a->request, 0, row, sizeof row); /* gone() tells a failure */
	}
}

void hs_tenants_lost_keyd(struct keeper *k)
{
	while (k->additions) {
		struct addition *a = take_addition(k, k->additions->request);
		if (a->responder)
			refuse(a->responder, 503, ECONNRESET, "keyring.lost",
			       HS_N_("The keyring's process stopped. See `hisho tenant list` for what was done."), a->name);
		free(a);
	}
}

void hs_tenants_forget_waiter(struct keeper *k, struct hs_responder *r)
{
	for (struct addition *a = k->additions; a; a = a->next) {
		if (a->responder == r)
			a->responder = NULL;
	}
	for (struct tenant *t = k->tenants; t; t = t->next) {
		if (t->sealing == r)
			t->sealing = NULL;
	}
}

/* Sealed is remembered in hishod's own folder: a restart does not open it. */
static int write_mark(struct tenant *t, bool sealed)
{
	char mark[80];
	int state = t->proc.keeper->state_fd;
	sealed_mark(t, mark, sizeof mark);
	if (!sealed)
		return unlinkat(state, mark, 0) < 0 && errno != ENOENT ? -errno : 0;
	return hs_file_replace(state, mark, "", 0, 0600);
}

static void tell_web(const struct tenant *t)
{
	const struct keeper *k = t->proc.keeper;
	char name[sizeof t->id.s + sizeof t->name + 1];
	(void)snprintf(name, sizeof name, "%s/%s", t->id.s, t->name); /* the size is the sum */
	HS_BUF_AUTO b = HS_BUF_INIT;
	if (k->web.control && hs_put_channel(&b, HS_PROCESS_TENANT, hs_slice_str(name)) == 0)
		(void)hs_channel_send(k->web.control, HS_MSG_CHANNEL, 0, 0, b.data, b.len); /* gone() tells a failure */
}

void hs_tenants_seal(struct tenant *t, uid_t by, struct hs_responder *r)
{
	int rc = write_mark(t, true);
	if (rc < 0) {
		refuse(r, 500, -rc, "tenant.seal", HS_N_("The seal could not be written; the tenant stays open."), t->name);
		return;
	}
	if (t->sealing) {
		refuse(r, 409, EALREADY, "tenant.sealing", HS_N_("The tenant is being sealed already."), t->name);
		return;
	}
	if (!t->sealed)
		record(t, HS_ACT_SEALED, by);
	t->sealed = true;
	tell_web(t);
	t->sealing = r; /* answered when the process, and the key in it, is gone */
	hs_proc_stop(&t->proc);
}

void hs_tenants_sealed(struct tenant *t, struct hs_responder *r)
{
	if (t->proc.cut)
		refuse(r, 500, ETIMEDOUT, "tenant.seal_unsure",
		       HS_N_("The tenant answers nobody any more, but its process did not end. Stop it: systemctl stop 'hisho-tenant@*'"),
		       t->name);
	else
		hs_admin_reply(r, 200, json_pack("{s:s, s:s}", "name", t->name, "state", "sealed"));
}

void hs_tenants_unseal(struct tenant *t, uid_t by, struct hs_responder *r)
{
	int rc = t->sealing ? -EALREADY : write_mark(t, false);
	if (rc < 0) {
		refuse(r, rc == -EALREADY ? 409 : 500, -rc, "tenant.unseal",
		       HS_N_("The tenant could not be opened. Try again shortly."), t->name);
		return;
	}
	if (t->sealed)
		record(t, HS_ACT_UNSEALED, by);
	t->sealed = false;
	hs_proc_start(&t->proc);
	hs_admin_reply(r, 200, json_pack("{s:s, s:s}", "name", t->name, "state", "open"));
}

/* What serves has the index that it needs; what does not is tried again and again, the next time with leave to index anew. */
void hs_tenants_rebuild(struct tenant *t, uid_t by, struct hs_responder *r)
{
	if (t->sealed) {
		refuse(r, 409, EBUSY, "tenant.sealed", HS_N_("The tenant is sealed. `hisho tenant unseal` opens it."), t->name);
	} else if (t->proc.state == PROC_READY) {
		refuse(r, 409, EALREADY, "tenant.whole", HS_N_("The tenant serves: its index needs no rebuilding."), t->name);
	} else {
		if (!t->rebuild)
			record(t, HS_ACT_REBUILT, by);
		t->rebuild = true;
		hs_admin_reply(r, 202, json_pack("{s:s, s:s}", "name", t->name, "state", "rebuilding"));
	}
}

void hs_tenants_free(struct keeper *k)
{
	for (struct tenant *t = k->tenants, *next; t; t = next) {
		next = t->next;
		free(t);
	}
	k->tenants = NULL;
	for (struct addition *a = k->additions, *next; a; a = next) {
		next = a->next;
		free(a);
	}
	k->additions = NULL;
}
