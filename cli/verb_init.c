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

static int make_config(int state, const char *listen, const struct hs_option_list *hosts, struct hs_err *err)
{
	HS_BUF_AUTO text = HS_BUF_INIT;
	int rc = hs_buf_printf(
	    &text, "# Hisho's configuration; docs/operations.md explains it.\nversion: 1\nlisten: %s\nhosts: [localhost", listen);
	for (size_t i = 0; i < hosts->count && rc == 0; i++)
		rc = hs_buf_printf(&text, ", %s", hosts->items[i]);
	if (rc == 0)
		rc = hs_buf_append_str(&text, "]\n");
	const char *yaml = rc == 0 ? hs_buf_cstr(&text) : NULL;
	return yaml ? write_text(state, "hisho.yaml", yaml, 0644, err) : hs_fail_errno(err, -ENOMEM, "cli.memory", "hisho.yaml");
}

/* A host name or address: nothing that could end a YAML scalar. */
static bool plain(const char *s)
{
	return *s && strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]") == strlen(s) &&
	       strlen(s) < 256;
}

static int make(const char *dir, const char *dict, const char *listen, const struct hs_option_list *hosts, struct hs_err *err)
{
	static const char *const folders[] = {"keys", "tenants", "run", "tls", "models", "dict"};
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
	rc = copy_dict(state, dict, err);
	if (rc == 0)
		rc = hs_root_create(state, "keys/root", err);
	if (rc == -EEXIST) { /* an init that was cut short */
		*err = HS_ERR_INIT;
		rc = 0;
	}
	if (rc == 0) /* says that keys/root lies on the same disk as what it opens */
		rc = write_text(state, "keys/demo", "The root secret lies beside the data: this protects against nothing.\n",
				0600, err);
	if (rc == 0)
		rc = make_config(state, listen, hosts, err);
	return rc == 0 ? write_text(state, "format", format_text, 0644, err) : rc;
}

static int run(struct hs_cli *cli, int argc, char **argv)
{
	const char *listen = LISTEN_DEFAULT, *dict = DICT_SYSTEM;
	struct hs_option_list hosts = {0};
	const struct hs_option options[] = {
	    {"listen", HS_OPTION_STRING, &listen, HS_N_("address and port of the page (127.0.0.1:8443)")},
	    {"host", HS_OPTION_LIST, &hosts, HS_N_("a name by which browsers reach it, beside localhost")},
	    {"dict", HS_OPTION_STRING, &dict, HS_N_("the MeCab dictionary to copy")},
	};
	int first, rc;
	if (!hs_cli_parse(cli, &hs_verb_init, options, HS_ARRAY_LEN(options), argc, argv, &first, &rc))
		return rc;
	if (first != argc)
		return hs_cli_usage(&hs_verb_init, _("the directory is given by --dir"));
	bool ok = plain(listen) && strrchr(listen, ':');
	for (size_t i = 0; i < hosts.count; i++)
		ok = ok && plain(hosts.items[i]);
	if (!ok)
		return hs_cli_usage(&hs_verb_init, _("--listen takes ADDRESS:PORT, --host a name"));
	struct hs_err err = HS_ERR_INIT;
	if (hs_crypto_init() < 0 || make(cli->dir, dict, listen, &hosts, &err) < 0)
		return hs_cli_fail(cli, &err);
	if (!cli->json)
		printf(_("An appliance was made in %s. Its root secret lies beside its data: good for trying, no protection.\n"),
		       cli->dir);
	return HS_EXIT_OK;
}

const struct hs_verb hs_verb_init = {"init", run, "[--listen ADDRESS:PORT] [--host NAME]...", HS_N_("make a state directory")};
