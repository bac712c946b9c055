/*
 * hisho init: make a state directory (docs/formats/state.md). The format file is written last: until it is there, nothing
 * takes the directory for an appliance, and init may be run again.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/id.h"
#include "cli/cli.h"
#include "crypto/keyring.h"
#include "crypto/passphrase.h"
#include "inference/import/e5s1.h"

#define DICT_SYSTEM "/var/lib/mecab/dic/ipadic-utf8"
#define DICT_FILE_MAX (256u * 1024u * 1024u)
#define DICT_FILES_MAX 64
#define LISTEN_DEFAULT "127.0.0.1:8443"

static const char format_text[] = "hisho-state 1\n";

static int visible(const struct dirent *e)
{
	return e->d_name[0] != '.';
}

/* Copy one file and add its name and bytes to the folder's hash. */
static int copy_file(int from, int to, const char *name, crypto_generichash_state *hash, struct hs_err *err)
{
	HS_BUF_AUTO data = HS_BUF_INIT;
	int rc = hs_file_read(from, name, DICT_FILE_MAX, &data);
	if (rc == 0)
		rc = hs_file_replace(to, name, data.data, data.len, 0644);
	if (rc < 0)
		return hs_fail_errno(err, rc, "init.dict", name);
	(void)crypto_generichash_update(hash, (const uint8_t *)name, strlen(name) + 1); /* cannot fail */
	(void)crypto_generichash_update(hash, data.data, data.len);
	return 0;
}

/*
 * The dictionary is part of an index's generation, so the appliance keeps its own copy, named by the hash of its files: an
 * upgrade of the system's package changes nothing by itself.
 */
static int copy_dict(int state, const char *source, struct hs_err *err)
{
	HS_FD_AUTO from = open(source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (from < 0)
		return hs_fail(err, errno, "init.dict", HS_N_("the MeCab dictionary is missing; install mecab-ipadic-utf8"), "%s",
			       source);
	if (mkdirat(state, "dict/.new", 0755) < 0 && errno != EEXIST)
		return hs_fail_errno(err, -errno, "init.dict", "dict/.new");
	HS_FD_AUTO to = openat(state, "dict/.new", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent **names = NULL;
	int n = to < 0 ? -1 : scandir(source, &names, visible, alphasort);
	if (n < 0)
		return hs_fail_errno(err, -errno, "init.dict", source);
	int rc = n == 0 || n > DICT_FILES_MAX
			 ? hs_fail(err, EINVAL, "init.dict", HS_N_("this is not a MeCab dictionary"), "%s", source)
			 : 0;
	crypto_generichash_state hash;
	(void)crypto_generichash_init(&hash, NULL, 0, 32); /* cannot fail for these lengths */
	for (int i = 0; i < n; i++) {
		struct stat st;
		if (rc == 0 && fstatat(from, names[i]->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
			rc = copy_file(from, to, names[i]->d_name, &hash, err);
		free(names[i]);
	}
	free(names);
	uint8_t digest[32];
	char name[5 + 53] = "dict/";
	(void)crypto_generichash_final(&hash, digest, sizeof digest);
	hs_base32(digest, sizeof digest, name + 5);
	if (rc == 0 && renameat(state, "dict/.new", state, name) < 0 && errno != EEXIST && errno != ENOTEMPTY)
		rc = hs_fail_errno(err, -errno, "init.dict", name);
	return rc;
}

static int write_text(int state, const char *name, const char *text, mode_t mode, struct hs_err *err)
{
	int rc = hs_file_replace(state, name, text, strlen(text), mode);
	return rc < 0 ? hs_fail_errno(err, rc, "init.write", name) : 0;
}

/* What the options ask for. */
struct wanted {
	const char *listen, *dict, *generator, *embedder, *reranker, *passphrase_file;
	bool passphrase;
	struct hs_option_list hosts;
};

/* --- the keyring --- */

static int ask_passphrase(struct hs_passphrase **ret, struct hs_err *err)
{
	HS_PASSPHRASE_AUTO again = NULL;
	HS_PASSPHRASE_AUTO first = NULL;
	int rc = hs_passphrase_read(0, _("Passphrase of the keyring: "), &first, err);
	if (rc == 0 && isatty(0))
		rc = hs_passphrase_read(0, _("The same again: "), &again, err);
	if (rc < 0)
		return rc;
	if (again && (again->len != first->len || sodium_memcmp(again->bytes, first->bytes, first->len) != 0))
		return hs_fail(err, EINVAL, "keyring.passphrase", HS_N_("The two passphrases differ. Nothing was made."), "%s", "");
	*ret = first;
	first = NULL;
	return 0;
}

static int get_passphrase(const struct wanted *w, struct hs_passphrase **ret, struct hs_err *err)
{
	if (!w->passphrase_file)
		return ask_passphrase(ret, err);
	HS_FD_AUTO fd = open(w->passphrase_file, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? hs_fail_errno(err, -errno, "keyring.passphrase", w->passphrase_file) : hs_passphrase_read(fd, "", ret, err);
}

/* A keyring that an init which was cut short has left is taken where the same root opens it, and never replaced. */
static int make_keyring(int state, const struct hs_root *root, struct hs_err *err)
{
	struct hs_keyring *k = NULL;
	int rc = hs_keyring_create(state, "keys/keyring", root, &k, err);
	if (rc == -EEXIST) {
		*err = HS_ERR_INIT;
		rc = hs_keyring_open(state, "keys/keyring", root, &k, err);
	}
	hs_keyring_close(k);
	return rc;
}

/* The root secret is a file beside the data until the administrator moves it into a credential. */
static int make_secret(int state, struct hs_err *err)
{
	HS_KEY_AUTO secret = NULL;
	int rc = hs_root_create(state, "keys/root", err);
	if (rc == -EEXIST) { /* an init that was cut short */
		*err = HS_ERR_INIT;
		rc = 0;
	}
	if (rc == 0)
		rc = write_text(state, "keys/demo", "The root secret lies beside the data: this protects against nothing.\n",
				0600, err);
	if (rc == 0)
		rc = hs_root_read(state, "keys/root", &secret, err);
	if (rc < 0)
		return rc;
	const struct hs_root root = {HS_ROOT_SECRET, secret->bytes, HS_KEY_LEN};
	return make_keyring(state, &root, err);
}

static int make_root(int state, const struct hs_passphrase *p, struct hs_err *err)
{
	if (!p)
		return make_secret(state, err);
	const struct hs_root root = {HS_ROOT_PASSPHRASE, p->bytes, p->len};
	return make_keyring(state, &root, err);
}

/* --- models and configuration --- */

/* Bytes from one file to another, without memory of a model's size. */
static int copy_bytes(int from, int to)
{
	char buffer[1 << 16];
	for (;;) {
		ssize_t n = read(from, buffer, sizeof buffer);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 || fsync(to) < 0 ? -errno : 0;
		int rc = hs_fd_write_all(to, buffer, (size_t)n);
		if (rc < 0)
			return rc;
	}
}

/* The name below models/ that a model file gets. An E5S1 embedder becomes a GGUF. */
static int model_name(const char *file, bool *ret_import, char out[static PATH_MAX], struct hs_err *err)
{
	uint8_t head[64];
	HS_FD_AUTO fd = open(file, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, head, sizeof head);
	if (n < 0)
		return hs_fail_errno(err, -errno, "init.model", file);
	*ret_import = hs_e5s1_is(head, (size_t)n);
	const char *slash = strrchr(file, '/');
	const char *name = slash ? slash + 1 : file;
	const char *dot = strrchr(name, '.');
	int stem = *ret_import && dot ? (int)(dot - name) : (int)strlen(name);
	int k = snprintf(out, PATH_MAX, "models/%.*s%s", stem, name, *ret_import ? ".gguf" : "");
	return k < 0 || k >= PATH_MAX ? hs_fail(err, ENAMETOOLONG, "init.model", "", "%s", file) : 0;
}

/*
 * Put a model into models/: a link where the file lies on the same disk (a gigabyte is not copied for nothing), else a copy.
 * yaml receives "key: models/name".
 */
static int place_model(const char *dir, int state, const char *key, const char *file, struct hs_buf *yaml, struct hs_err *err)
{
	char name[PATH_MAX], full[PATH_MAX];
	bool import = false;
	int rc = model_name(file, &import, name, err);
	if (rc < 0)
		return rc;
	if (import) {
		int k = snprintf(full, sizeof full, "%s/%s", dir, name);
		rc = k < 0 || k >= (int)sizeof full ? hs_fail(err, ENAMETOOLONG, "init.model", "", "%s", file)
						    : hs_e5s1_import(file, full, NULL, NULL, err);
	} else if (linkat(AT_FDCWD, file, state, name, AT_SYMLINK_FOLLOW) < 0 && errno != EEXIST) {
		HS_FD_AUTO from = open(file, O_RDONLY | O_CLOEXEC);
		HS_FD_AUTO to = openat(state, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		rc = from < 0 || to < 0 ? -errno : copy_bytes(from, to);
	}
	if (rc == 0)
		rc = hs_buf_printf(yaml, "%s: %s\n", key, name);
	return rc < 0 ? hs_fail_errno(err, rc, "init.model", file) : 0;
}

static int make_config(const char *dir, int state, const struct wanted *w, struct hs_err *err)
{
	HS_BUF_AUTO text = HS_BUF_INIT;
	int rc = hs_buf_printf(
		&text, "# Hisho's configuration; docs/operations.md explains it.\nversion: 1\nlisten: %s\nhosts: [localhost",
		w->listen);
	for (size_t i = 0; i < w->hosts.count && rc == 0; i++)
		rc = hs_buf_printf(&text, ", %s", w->hosts.items[i]);
	if (rc == 0)
		rc = hs_buf_append_str(&text, "]\n");
	if (rc == 0 && w->generator)
		rc = place_model(dir, state, "generator", w->generator, &text, err);
	if (rc == 0 && w->embedder)
		rc = place_model(dir, state, "embedder", w->embedder, &text, err);
	if (rc == 0 && w->reranker)
		rc = place_model(dir, state, "reranker", w->reranker, &text, err);
	if (rc < 0)
		return hs_fail_errno(err, rc, "cli.memory", "hisho.yaml");
	const char *yaml = hs_buf_cstr(&text);
	return yaml ? write_text(state, "hisho.yaml", yaml, 0644, err) : hs_fail_errno(err, -ENOMEM, "cli.memory", "hisho.yaml");
}

/* A host name or address: nothing that could end a YAML scalar. */
static bool plain(const char *s)
{
	return *s && strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]") == strlen(s) &&
	       strlen(s) < 256;
}

static int make(const char *dir, const struct wanted *w, const struct hs_passphrase *passphrase, struct hs_err *err)
{
	static const char *const folders[] = {"keys", "tenants", "run", "sealed", "tls", "models", "dict"};
	int rc = hs_mkdirs(dir, 0700);
	if (rc < 0)
		return hs_fail_errno(err, rc, "init.dir", dir);
	HS_FD_AUTO state = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (state < 0)
		return hs_fail_errno(err, -errno, "init.dir", dir);
	if (faccessat(state, "format", F_OK, 0) == 0)
		return hs_fail(err, EEXIST, "init.exists", HS_N_("an appliance lives there already"), "%s", dir);
	for (size_t i = 0; i < HS_ARRAY_LEN(folders); i++) {
		if (mkdirat(state, folders[i], 0700) < 0 && errno != EEXIST)
			return hs_fail_errno(err, -errno, "init.dir", folders[i]);
	}
	rc = copy_dict(state, w->dict, err);
	if (rc == 0)
		rc = make_root(state, passphrase, err);
	if (rc == 0)
		rc = make_config(dir, state, w, err);
	return rc == 0 ? write_text(state, "format", format_text, 0644, err) : rc;
}

static int run(struct hs_cli *cli, int argc, char **argv)
{
	struct wanted w = {.listen = LISTEN_DEFAULT, .dict = DICT_SYSTEM};
	const struct hs_option options[] = {
		{"listen", HS_OPTION_STRING, &w.listen, HS_N_("address and port of the page (127.0.0.1:8443)")},
		{"host", HS_OPTION_LIST, &w.hosts, HS_N_("a name by which browsers reach it, beside localhost")},
		{"dict", HS_OPTION_STRING, &w.dict, HS_N_("the MeCab dictionary to copy")},
		{"generator", HS_OPTION_STRING, &w.generator,
		 HS_N_("chat model (GGUF); without one, answers are sentences of the documents")},
		{"embedder", HS_OPTION_STRING, &w.embedder, HS_N_("embedder (GGUF or E5S1); without one, search is by words")},
		{"reranker", HS_OPTION_STRING, &w.reranker, HS_N_("reranker (GGUF); without one, passages stand as search found them")},
		{"passphrase", HS_OPTION_FLAG, &w.passphrase,
		 HS_N_("open the keyring by a passphrase, which is asked for here and at each start")},
		{"passphrase-file", HS_OPTION_STRING, &w.passphrase_file, HS_N_("read the passphrase from the first line of this file")},
	};
	int first, rc;
	if (!hs_cli_parse(cli, &hs_verb_init, options, HS_ARRAY_LEN(options), argc, argv, &first, &rc))
		return rc;
	if (first != argc)
		return hs_cli_usage(&hs_verb_init, _("the directory is given by --dir"));
	bool ok = plain(w.listen) && strrchr(w.listen, ':');
	for (size_t i = 0; i < w.hosts.count; i++)
		ok = ok && plain(w.hosts.items[i]);
	if (!ok)
		return hs_cli_usage(&hs_verb_init, _("--listen takes ADDRESS:PORT, --host a name"));
	struct hs_err err = HS_ERR_INIT;
	HS_PASSPHRASE_AUTO passphrase = NULL;
	if (hs_crypto_init() < 0 || ((w.passphrase || w.passphrase_file) && get_passphrase(&w, &passphrase, &err) < 0) ||
	    make(cli->dir, &w, passphrase, &err) < 0)
		return hs_cli_fail(cli, &err);
	if (!cli->json && passphrase)
		printf(_("An appliance was made in %s. Its passphrase is stored nowhere: without it nothing there can be read.\n"), cli->dir);
	else if (!cli->json)
		printf(_("An appliance was made in %s. Its root secret lies beside its data: good for trying, no protection.\n"),
		       cli->dir);
	return HS_EXIT_OK;
}

const struct hs_verb hs_verb_init = {"init", run,
				     "[--listen ADDRESS:PORT] [--host NAME]... [--passphrase | --passphrase-file FILE]",
				     HS_N_("make a state directory")};
