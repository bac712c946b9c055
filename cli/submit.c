#include "cli/submit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/id.h"
#include "base/wire.h"
#include "cli/client.h"
#include "crypto/age.h"
#include "crypto/payload.h"
#include "crypto/signer.h"

#define STATE_MAX (256u * 1024u * 1024u)
#define SOURCE_LEN HS_FILER_SOURCE_LEN
#define MAC_TEXT_LEN HS_FILER_MAC_LEN

/*
 * What the state file knows of a source: a line "source sequence mac", and behind it the job that an acknowledged document
 * waits for. The line with the highest sequence wins, the later one of two: a job that ended is settled by a line without it.
 */
struct filed {
	char source[SOURCE_LEN + 1];
	uint64_t sequence;
	char mac[MAC_TEXT_LEN + 1]; /* "-" where it does not stand: withdrawn, failed, or sealed for another to hand in */
	char job[HS_ID_LEN + 1];    /* "" where it is settled */
	size_t line;
};

struct hs_filer {
	struct hs_signer *signer;
	struct hs_id tenant;
	uint8_t recipient[HS_AGE_PUBLIC_LEN];
	char *state_path;
	int state;           /* locked, opened for appending */
	struct filed *filed; /* sorted by source, then by line: look_up takes the last */
	size_t n_filed;
	struct filed pending;
	uint64_t last_sequence; /* that was given here */
};

#define NOTHING_STANDS "-"

static int by_source(const void *a, const void *b)
{
	const struct filed *x = a, *y = b;
	int c = strcmp(x->source, y->source);
	if (c == 0)
		c = (x->sequence > y->sequence) - (x->sequence < y->sequence);
	return c ? c : (x->line > y->line) - (x->line < y->line);
}

static struct filed *look_up(const struct hs_filer *f, const char *source)
{
	size_t low = 0, high = f->n_filed;
	while (low < high) { /* the first that is greater */
		size_t mid = low + (high - low) / 2;
		if (strcmp(f->filed[mid].source, source) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low && strcmp(f->filed[low - 1].source, source) == 0 ? &f->filed[low - 1] : NULL;
}

static struct hs_ticket ticket_of(const struct filed *x)
{
	struct hs_ticket t = {.sequence = x->sequence};
	memcpy(t.source, x->source, sizeof t.source);
	memcpy(t.mac, x->mac, sizeof t.mac);
	memcpy(t.job, x->job, sizeof t.job);
	return t;
}

static bool parse_line(const char *line, struct filed *ret)
{
	int used = 0;
	int n = sscanf(line, "%56s %" SCNu64 " %52s%n %30s%n", ret->source, &ret->sequence, ret->mac, &used, ret->job, &used);
	if (n < 3 || line[used] != '\0' || strlen(ret->source) != SOURCE_LEN)
		return false;
	if (n == 3)
		ret->job[0] = '\0';
	else if (!hs_id_valid(ret->job, strlen(ret->job), "job_"))
		return false;
	return strlen(ret->mac) == MAC_TEXT_LEN || strcmp(ret->mac, NOTHING_STANDS) == 0;
}

/* A line cut by a crash is the last one and is passed over, however whole it looks: its document is filed again. */
static int load_state(struct hs_filer *f, struct hs_err *err)
{
	HS_BUF_AUTO text = HS_BUF_INIT;
	int rc = hs_fd_read_all(f->state, STATE_MAX, &text);
	while (text.len > 0 && text.data[text.len - 1] != '\n')
		text.len--;
	if (rc < 0 || !hs_buf_cstr(&text))
		return hs_fail_errno(err, rc < 0 ? rc : -ENOMEM, "sender.state", f->state_path);
	size_t lines = 0;
	for (size_t i = 0; i < text.len; i++)
		lines += text.data[i] == '\n';
	f->filed = calloc(lines + 1, sizeof *f->filed);
	if (!f->filed)
		return -ENOMEM;
	char *save = NULL;
	for (char *line = strtok_r((char *)text.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (parse_line(line, &f->filed[f->n_filed])) {
			f->filed[f->n_filed].line = f->n_filed;
			f->n_filed++;
		}
	}
	qsort(f->filed, f->n_filed, sizeof *f->filed, by_source);
	return 0;
}

static int take_tenant(struct hs_filer *f, const json_t *j, struct hs_err *err)
{
	const char *id = json_string_value(json_object_get(j, "id"));
	const char *recipient = json_string_value(json_object_get(j, "recipient"));
	if (!id || !hs_id_valid(id, strlen(id), "ten_") || !recipient)
		return hs_fail(err, EPROTO, "sender.tenant", HS_N_("this is not what `hisho tenant info --json` prints"), "%s",
			       "");
	memcpy(f->tenant.s, id, strlen(id) + 1); /* hs_id_valid knows the length */
	return hs_age_recipient_parse(recipient, strlen(recipient), f->recipient, err);
}

static int find_tenant(const struct hs_cli *cli, const char *tenant_file, struct hs_filer *f, struct hs_err *err)
{
	if (!tenant_file) {
		HS_REPLY_AUTO reply = {0};
		int rc = hs_call(cli, "GET", "/v1/tenant", NULL, &reply, err);
		return rc < 0 ? rc : take_tenant(f, reply.json, err);
	}
	HS_BUF_AUTO text = HS_BUF_INIT;
	int rc = hs_file_read(AT_FDCWD, tenant_file, 65536, &text);
	if (rc < 0)
		return hs_fail_errno(err, rc, "sender.tenant", tenant_file);
	json_t *j = json_loadb((const char *)text.data, text.len, 0, NULL);
	rc = take_tenant(f, j, err);
	json_decref(j);
	return rc;
}

static int open_state(struct hs_filer *f, const char *key_file, struct hs_err *err)
{
	if (asprintf(&f->state_path, "%s.%s.state", key_file, f->tenant.s + HS_ID_PREFIX_MAX) < 0) {
		f->state_path = NULL;
		return -ENOMEM;
	}
	f->state = open(f->state_path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (f->state < 0)
		return hs_fail_errno(err, -errno, "sender.state", f->state_path);
	if (flock(f->state, LOCK_EX | LOCK_NB) < 0)
		return hs_fail(err, EBUSY, "sender.busy", HS_N_("another hisho is filing with this key; wait for it to end"),
			       "%s", key_file);
	int rc = load_state(f, err);
	char last = '\n';
	off_t end = rc == 0 ? lseek(f->state, 0, SEEK_END) : 0;
	if (end > 0 && pread(f->state, &last, 1, end - 1) == 1 &&
	    last != '\n') /* end the cut line, so that the next one stands alone, and spoil it for all later runs */
		rc = hs_fd_write_all(f->state, "?\n", 2);
	return rc;
}

int hs_filer_open(const struct hs_cli *cli, const char *key_file, const char *tenant_file, struct hs_filer **ret,
		  struct hs_err *err)
{
	struct hs_filer *f = calloc(1, sizeof *f);
	if (!f)
		return hs_fail_errno(err, -ENOMEM, "cli.memory", key_file);
	f->state = -1;
	int rc = hs_crypto_init();
	if (rc == 0)
		rc = hs_signer_load(AT_FDCWD, key_file, &f->signer, err);
	if (rc == 0)
		rc = find_tenant(cli, tenant_file, f, err);
	if (rc == 0)
		rc = open_state(f, key_file, err);
	if (rc < 0) {
		hs_filer_close(f);
		return hs_fail_errno(err, rc, "cli.filer", key_file);
	}
	*ret = f;
	return 0;
}

void hs_filer_close(struct hs_filer *f)
{
	if (!f)
		return;
	hs_signer_destroy(f->signer);
	if (f->state >= 0)
		close(f->state);
	free(f->state_path);
	free(f->filed);
	free(f);
}

/* The absolute form of a path whose last part may be gone already. */
static int absolute(const char *path, char out[static PATH_MAX])
{
	if (realpath(path, out))
		return 0;
	if (errno != ENOENT)
		return -errno;
	const char *slash = strrchr(path, '/');
	char parent[PATH_MAX], full[PATH_MAX];
	size_t n = slash ? (size_t)(slash - path) : 0;
	if (n >= sizeof parent)
		return -ENAMETOOLONG;
	memcpy(parent, path, n);
	parent[n] = '\0';
	if (!realpath(n ? parent : slash ? "/" : ".", full))
		return -errno;
	int k = snprintf(out, PATH_MAX, "%s/%s", strcmp(full, "/") == 0 ? "" : full, slash ? slash + 1 : path);
	return k < 0 || k >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* The source behind a text: opaque to everyone without the sender's key. */
static void source_of_text(const struct hs_filer *f, const char *text, char ret[static SOURCE_LEN + 1])
{
	uint8_t hash[32], mac[HS_SIGNER_MAC_LEN];
	crypto_generichash(hash, sizeof hash, (const uint8_t *)text, strlen(text), NULL, 0);
	hs_signer_content_mac(f->signer, "source", 6, hash, mac);
	memcpy(ret, "src_", 4);
	hs_base32(mac, sizeof mac, ret + 4);
}

static int source_of(const struct hs_filer *f, const char *path, char ret[static SOURCE_LEN + 1], struct hs_err *err)
{
	char full[PATH_MAX];
	int rc = absolute(path, full);
	if (rc < 0)
		return hs_fail_errno(err, rc, "file.path", path);
	source_of_text(f, full, ret);
	return 0;
}

static const char *media_of(const char *name)
{
	static const struct {
		const char *suffix, *media;
	} known[] = {
		{".txt", "text/plain"},
		{".md", "text/markdown"},
		{".markdown", "text/markdown"},
		{".html", "text/html"},
		{".htm", "text/html"},
		{".csv", "text/csv"},
		{".tsv", "text/tab-separated-values"},
		{".pdf", "application/pdf"},
	};
	const char *dot = strrchr(name, '.');
	for (size_t i = 0; dot && i < HS_ARRAY_LEN(known); i++) {
		if (strcasecmp(dot, known[i].suffix) == 0)
			return known[i].media;
	}
	return "application/octet-stream"; /* the appliance looks at the bytes, and names what it cannot read */
}

/* Content and labels together: a document that moves to another collection is filed again. */
static void state_mac(const struct hs_filer *f, const char *source, const uint8_t content_hash[static 32],
		      const struct hs_filing *where, char ret[static MAC_TEXT_LEN + 1])
{
	crypto_generichash_state h;
	uint8_t hash[32], mac[HS_SIGNER_MAC_LEN], expires[8];
	crypto_generichash_init(&h, NULL, 0, sizeof hash);
	crypto_generichash_update(&h, content_hash, 32);
	const char *const labels[] = {where->collection, where->level, where->list};
	for (size_t i = 0; i < HS_ARRAY_LEN(labels); i++) /* with their terminators: "ab","c" is not "a","bc" */
		crypto_generichash_update(&h, (const uint8_t *)labels[i], strlen(labels[i]) + 1);
	hs_le64_store(expires, (uint64_t)where->expires);
	crypto_generichash_update(&h, expires, sizeof expires);
	crypto_generichash_final(&h, hash, sizeof hash);
	hs_signer_content_mac(f->signer, source, strlen(source), hash, mac);
	hs_base32(mac, sizeof mac, ret);
}

static int into_buf(void *ctx, const void *data, size_t n)
{
	return hs_buf_append(ctx, data, n);
}

static int encrypt(const struct hs_filer *f, const struct hs_payload *payload, struct hs_buf *ciphertext, struct hs_err *err)
{
	HS_BUF_AUTO header = HS_BUF_INIT;
	struct hs_age_encrypt *e = NULL;
	int rc = hs_payload_put_header(&header, payload);
	if (rc == 0)
		rc = hs_age_encrypt_create(f->recipient, 1, into_buf, ciphertext, &e, err);
	if (rc == 0)
		rc = hs_age_encrypt_push(e, header.data, header.len);
	if (rc == 0)
		rc = hs_age_encrypt_push(e, payload->content, payload->content_len);
	if (rc == 0)
		rc = hs_age_encrypt_finish(e);
	hs_age_encrypt_destroy(e);
	hs_buf_wipe(&header);
	return rc;
}

/* A rising number also where the state file was lost: the clock stands in for it. */
static uint64_t next_sequence(struct hs_filer *f, const struct filed *before, int64_t now)
{
	uint64_t least = HS_MAX(before ? before->sequence + 1 : 1, f->last_sequence + 1); /* a file may be named twice in a run */
	f->last_sequence = HS_MAX(least, (uint64_t)now);
	return f->last_sequence;
}

static int copy_label(char *out, size_t cap, const char *label, const char *what, struct hs_err *err)
{
	if (strlen(label) >= cap)
		return hs_fail(err, EINVAL, "file.label", HS_N_("the name is too long"), "%s", what);
	memcpy(out, label, strlen(label) + 1);
	return 0;
}

static int read_document(const char *path, struct hs_buf *content, struct hs_err *err)
{
	HS_FD_AUTO fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return hs_fail_errno(err, -errno, "file.open", path);
	if (!S_ISREG(st.st_mode))
		return hs_fail(err, ENOTSUP, "file.kind", HS_N_("only regular files are taken"), "%s", path);
	if (st.st_size > (off_t)HS_PAYLOAD_CONTENT_MAX)
		return hs_fail(err, EFBIG, "file.size", HS_N_("the document is larger than is taken; split it"), "%s: at most %u MiB",
			       path, HS_PAYLOAD_CONTENT_MAX >> 20);
	int rc = hs_fd_read_all(fd, HS_PAYLOAD_CONTENT_MAX, content);
	return rc < 0 ? hs_fail_errno(err, rc, "file.read", path) : 0;
}

/* source is set in m already. */
static int seal(struct hs_filer *f, struct hs_manifest *m, const char *name, const char *title, size_t title_len,
		const void *content, size_t len, const struct hs_filing *where, bool again, struct hs_buf *manifest,
		struct hs_buf *ciphertext, struct hs_err *err)
{
	int rc = copy_label(m->collection, sizeof m->collection, where->collection, "collection", err);
	if (rc == 0)
		rc = copy_label(m->level, sizeof m->level, where->level, "level", err);
	if (rc == 0)
		rc = copy_label(m->access_list, sizeof m->access_list, where->list, "list", err);
	if (rc < 0)
		return rc;
	uint8_t hash[32];
	crypto_generichash(hash, sizeof hash, content, len, NULL, 0);
	const struct filed *before = look_up(f, m->source);
	char mac[MAC_TEXT_LEN + 1];
	state_mac(f, m->source, hash, where, mac);
	if (before && !again && strcmp(before->mac, mac) == 0)
		return HS_UNCHANGED;

	const char *media = media_of(name);
	struct hs_payload payload = {
		.name = name,
		.name_len = strlen(name),
		.title = title,
		.title_len = title_len,
		.media = media,
		.media_len = strlen(media),
		.content = content,
		.content_len = len,
	};
	rc = encrypt(f, &payload, ciphertext, err);
	if (rc < 0)
		return hs_fail_errno(err, rc, "file.seal", name);
	m->created = hs_now_ms();
	m->expires = m->created + HS_SUBMISSION_LIFE_MS;
	m->document_expires = where->expires;
	m->sequence = next_sequence(f, before, m->created);
	m->length = ciphertext->len;
	crypto_generichash(m->hash, sizeof m->hash, ciphertext->data, ciphertext->len, NULL, 0);
	hs_signer_content_mac(f->signer, m->source, strlen(m->source), hash, m->content_mac);
	rc = hs_manifest_sign(m, f->signer, manifest, err);
	if (rc == 0) {
		f->pending.sequence = m->sequence;
		memcpy(f->pending.source, m->source, sizeof f->pending.source);
		memcpy(f->pending.mac, mac, sizeof mac);
	}
	return rc;
}

int hs_filer_seal(struct hs_filer *f, const char *path, const char *name, const struct hs_filing *where, bool again,
		  struct hs_buf *manifest, struct hs_buf *ciphertext, struct hs_err *err)
{
	struct hs_manifest m = {.operation = HS_MANIFEST_PUT, .tenant = f->tenant, .submission = hs_id_new("sub_")};
	HS_BUF_AUTO content = HS_BUF_INIT;
	int rc = source_of(f, path, m.source, err);
	if (rc == 0)
		rc = read_document(path, &content, err);
	const char *file = strrchr(name, '/');
	file = file ? file + 1 : name;
	const char *dot = strrchr(file, '.');
	size_t title_len = dot && dot > file ? (size_t)(dot - file) : strlen(file);
	if (rc == 0)
		rc = seal(f, &m, name, file, title_len, content.data, content.len, where, again, manifest, ciphertext, err);
	hs_buf_wipe(&content);
	return rc;
}

int hs_filer_seal_text(struct hs_filer *f, const char *name, const char *title, const char *text, const struct hs_filing *where,
		       struct hs_buf *manifest, struct hs_buf *ciphertext, struct hs_err *err)
{
	struct hs_manifest m = {.operation = HS_MANIFEST_PUT, .tenant = f->tenant, .submission = hs_id_new("sub_")};
	source_of_text(f, name, m.source);
	return seal(f, &m, name, title, strlen(title), text, strlen(text), where, false, manifest, ciphertext, err);
}

int hs_filer_withdraw(struct hs_filer *f, const char *path, struct hs_buf *manifest, struct hs_err *err)
{
	struct hs_manifest m = {.operation = HS_MANIFEST_DELETE, .tenant = f->tenant, .submission = hs_id_new("sub_")};
	int rc = source_of(f, path, m.source, err);
	if (rc < 0)
		return rc;
	const struct filed *before = look_up(f, m.source);
	m.created = hs_now_ms();
	m.expires = m.created + HS_SUBMISSION_LIFE_MS;
	m.sequence = next_sequence(f, before, m.created);
	crypto_generichash(m.hash, sizeof m.hash, NULL, 0, NULL, 0);
	rc = hs_manifest_sign(&m, f->signer, manifest, err);
	if (rc == 0) {
		f->pending = (struct filed){.sequence = m.sequence, .mac = "-"};
		memcpy(f->pending.source, m.source, sizeof f->pending.source);
	}
	return rc;
}

static int write_line(struct hs_filer *f, const struct filed *x, struct hs_err *err)
{
	char line[SOURCE_LEN + MAC_TEXT_LEN + HS_ID_LEN + 32];
	int n = snprintf(line, sizeof line, "%s %" PRIu64 " %s%s%s\n", x->source, x->sequence, x->mac, *x->job ? " " : "", x->job);
	int rc = hs_fd_write_all(f->state, line, (size_t)n);
	return rc < 0 ? hs_fail_errno(err, rc, "sender.state", f->state_path) : 0;
}

int hs_filer_acknowledged(struct hs_filer *f, const char *job, struct hs_ticket *ret, struct hs_err *err)
{
	struct filed *x = &f->pending;
	(void)snprintf(x->job, sizeof x->job, "%s", hs_id_valid(job, strlen(job), "job_") ? job : ""); /* fits, being valid */
	if (ret)
		*ret = ticket_of(x);
	return write_line(f, x, err);
}

struct hs_ticket hs_filer_sealed(const struct hs_filer *f)
{
	struct hs_ticket t = ticket_of(&f->pending);
	t.job[0] = '\0';
	return t;
}

int hs_filer_acknowledge(struct hs_filer *f, struct hs_ticket *t, const char *job, struct hs_err *err)
{
	struct filed x = {.sequence = t->sequence};
	memcpy(x.source, t->source, sizeof x.source);
	memcpy(x.mac, t->mac, sizeof x.mac);
	(void)snprintf(x.job, sizeof x.job, "%s", hs_id_valid(job, strlen(job), "job_") ? job : ""); /* fits, being valid */
	memcpy(t->job, x.job, sizeof t->job);
	return write_line(f, &x, err);
}

int hs_filer_set_aside(struct hs_filer *f, struct hs_err *err)
{
	struct filed x = f->pending;
	memcpy(x.mac, NOTHING_STANDS, sizeof NOTHING_STANDS);
	return write_line(f, &x, err);
}

int hs_filer_settle(struct hs_filer *f, const struct hs_ticket *ticket, bool stands, struct hs_err *err)
{
	struct filed x = {.sequence = ticket->sequence};
	struct filed *known = look_up(f, ticket->source);
	memcpy(x.source, ticket->source, sizeof x.source);
	(void)snprintf(x.mac, sizeof x.mac, "%s", stands ? ticket->mac : NOTHING_STANDS); /* one length */
	if (known && known->sequence == x.sequence)
		*known = x;
	return write_line(f, &x, err);
}

int hs_filer_unsettled(struct hs_filer *f, int (*fn)(void *ctx, const struct hs_ticket *ticket), void *ctx)
{
	int rc = 0;
	for (size_t i = 0; i < f->n_filed && rc == 0; i++) {
		const struct filed *x = &f->filed[i];
		bool last = i + 1 == f->n_filed || strcmp(f->filed[i + 1].source, x->source) != 0;
		if (!last || !*x->job)
			continue;
		const struct hs_ticket ticket = ticket_of(x);
		rc = fn(ctx, &ticket);
	}
	return rc;
}

bool hs_filer_ticket(const struct hs_filer *f, const char *path, struct hs_ticket *ret)
{
	char source[SOURCE_LEN + 1];
	struct hs_err err = HS_ERR_INIT;
	const struct filed *x = source_of(f, path, source, &err) == 0 ? look_up(f, source) : NULL;
	if (!x || !*x->job)
		return false;
	*ret = ticket_of(x);
	return true;
}

int hs_filer_source(const struct hs_filer *f, const char *path, char ret[static HS_FILER_SOURCE_LEN + 1], struct hs_err *err)
{
	return source_of(f, path, ret, err);
}

int hs_submission_body(const struct hs_buf *manifest, const struct hs_buf *ciphertext, struct hs_buf *body)
{
	int rc = hs_put_u32(body, (uint32_t)manifest->len);
	if (rc == 0)
		rc = hs_buf_append(body, manifest->data, manifest->len);
	return rc < 0 ? rc : hs_buf_append(body, ciphertext->data, ciphertext->len);
}

const char *hs_submission_job(const struct hs_reply *reply)
{
	const char *id = json_string_value(json_object_get(reply->json, "job"));
	return id ? id : "";
}

int hs_submit(const struct hs_cli *cli, const struct hs_buf *manifest, const struct hs_buf *ciphertext, char *job, size_t job_cap,
	      struct hs_err *err)
{
	HS_BUF_AUTO body = HS_BUF_INIT;
	HS_REPLY_AUTO reply = {0};
	int rc = hs_submission_body(manifest, ciphertext, &body);
	if (rc < 0)
		return hs_fail_errno(err, rc, "cli.memory", "submission");
	rc = hs_call_bytes(cli, "POST", "/v1/documents", HS_SUBMISSION_TYPE, body.data, body.len, &reply, err);
	if (rc < 0)
		return rc;
	(void)snprintf(job, job_cap, "%s", hs_submission_job(&reply)); /* ids fit */
	return 0;
}
