/* hisho seal: a document into FILE.age and FILE.manifest, here, to be handed in by `hisho seal --send` from anywhere. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "cli/client.h"
#include "cli/output.h"
#include "cli/submit.h"

#define SEALED_MAX (HS_MANIFEST_CIPHERTEXT_MAX + 1)

static int with_suffix(const char *base, const char *suffix, char out[static PATH_MAX], struct hs_err *err)
{
	int n = snprintf(out, PATH_MAX, "%s%s", base, suffix);
	return n < 0 || n >= PATH_MAX ? hs_fail(err, ENAMETOOLONG, "file.path", "", "%s", base) : 0;
}

static int write_pair(const char *base, const struct hs_buf *manifest, const struct hs_buf *ciphertext, struct hs_err *err)
{
	char path[PATH_MAX];
	int rc = with_suffix(base, ".age", path, err);
	if (rc == 0 && (rc = hs_file_replace(AT_FDCWD, path, ciphertext->data, ciphertext->len, 0600)) < 0)
		return hs_fail_errno(err, rc, "cli.write", path);
	if (rc == 0)
		rc = with_suffix(base, ".manifest", path, err);
	if (rc == 0 && (rc = hs_file_replace(AT_FDCWD, path, manifest->data, manifest->len, 0600)) < 0)
		return hs_fail_errno(err, rc, "cli.write", path);
	return rc;
}

/* Where the pair lies. */
static int print_sealed(const char *base, struct hs_err *err)
{
	char manifest[PATH_MAX], ciphertext[PATH_MAX];
	int rc = with_suffix(base, ".manifest", manifest, err);
	if (rc == 0)
		rc = with_suffix(base, ".age", ciphertext, err);
	if (rc < 0)
		return rc;
	json_t *j = json_pack("{s:s, s:s}", "manifest", manifest, "ciphertext", ciphertext);
	rc = j && hs_print_json(j) == HS_EXIT_OK ? 0 : hs_fail_errno(err, -EIO, "cli.write", "-");
	json_decref(j);
	return rc;
}

static int print_sent(const char *job)
{
	json_t *j = *job ? json_pack("{s:s, s:b}", "job", job, "known", 0) : json_pack("{s:b}", "known", 1);
	int rc = j && hs_print_json(j) == HS_EXIT_OK ? 0 : -EIO;
	json_decref(j);
	return rc;
}

static int send_pair(const struct hs_cli *cli, const char *base, struct hs_err *err)
{
	char path[PATH_MAX], job[48];
	HS_BUF_AUTO manifest = HS_BUF_INIT;
	HS_BUF_AUTO ciphertext = HS_BUF_INIT;
	int rc = with_suffix(base, ".manifest", path, err);
	if (rc == 0 && (rc = hs_file_read(AT_FDCWD, path, HS_MANIFEST_MAX, &manifest)) < 0)
		return hs_fail_errno(err, rc, "file.open", path);
	if (rc == 0)
		rc = with_suffix(base, ".age", path, err);
	if (rc == 0 && (rc = hs_file_read(AT_FDCWD, path, SEALED_MAX, &ciphertext)) < 0)
		return hs_fail_errno(err, rc, "file.open", path);
	if (rc == 0)
		rc = hs_submit(cli, &manifest, &ciphertext, job, sizeof job, err);
	if (rc == 0 && cli->json)
		return print_sent(job);
	if (rc == 0)
		printf("%s\n", *job ? job : _("known: it was handed in before, and nothing changes"));
	return rc;
}

static int run(struct hs_cli *cli, int argc, char **argv)
{
	const char *sender = NULL, *tenant_file = NULL, *out = NULL, *expires = NULL;
	bool send = false;
	struct hs_filing where = {.list = ""};
	const struct hs_option options[] = {
		{"sender", HS_OPTION_STRING, &sender, HS_N_("key file of the sender")},
		{"to", HS_OPTION_STRING, &tenant_file, HS_N_("JSON of `hisho tenant info`, in place of asking the appliance")},
		{"collection", HS_OPTION_STRING, &where.collection, HS_N_("collection that it is filed under")},
		{"level", HS_OPTION_STRING, &where.level, HS_N_("its level")},
		{"list", HS_OPTION_STRING, &where.list, HS_N_("its named access list")},
		{"expires", HS_OPTION_STRING, &expires, HS_N_("hide the document after this date")},
		{"out", HS_OPTION_STRING, &out, HS_N_("write OUT.age and OUT.manifest (FILE.age and FILE.manifest)")},
		{"send", HS_OPTION_FLAG, &send, HS_N_("hand in what was sealed before: FILE.age with FILE.manifest")},
	};
	int first, rc;
	if (!hs_cli_parse(cli, &hs_verb_seal, options, HS_ARRAY_LEN(options), argc, argv, &first, &rc))
		return rc;
	if (argc - first != 1)
		return hs_cli_usage(&hs_verb_seal, _("one file is needed"));
	struct hs_err err = HS_ERR_INIT;
	if (send)
		return send_pair(cli, argv[first], &err) < 0 ? hs_cli_fail(cli, &err) : HS_EXIT_OK;
	if (!sender || !where.collection || !where.level)
		return hs_cli_usage(&hs_verb_seal, _("--sender, --collection and --level are needed"));
	if (expires && !hs_time_parse(expires, strlen(expires), &where.expires))
		return hs_cli_usage(&hs_verb_seal, _("--expires takes a date such as 2027-03-31"));
	const char *slash = strrchr(argv[first], '/');
	struct hs_filer *filer = NULL;
	HS_BUF_AUTO manifest = HS_BUF_INIT;
	HS_BUF_AUTO ciphertext = HS_BUF_INIT;
	rc = hs_filer_open(cli, sender, tenant_file, &filer, &err);
	if (rc == 0)
		rc = hs_filer_seal(filer, argv[first], slash ? slash + 1 : argv[first], &where, true, &manifest, &ciphertext,
				   &err);
	if (rc == 0)
		rc = write_pair(out ? out : argv[first], &manifest, &ciphertext, &err);
	if (rc == 0) /* whether it is ever handed in is not known here */
		rc = hs_filer_set_aside(filer, &err);
	hs_filer_close(filer);
	if (rc == 0 && cli->json)
		rc = print_sealed(out ? out : argv[first], &err);
	return rc < 0 ? hs_cli_fail(cli, &err) : HS_EXIT_OK;
}

const struct hs_verb hs_verb_seal = {"seal", run, "--sender KEYFILE --collection C --level L FILE | --send FILE",
				     HS_N_("seal one document to files, or hand in what was sealed")};
