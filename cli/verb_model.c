/* hisho model list|import|tokens: model files, without an appliance. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "inference/gguf/gguf.h"
#include "inference/import/e5s1.h"
#include "inference/tok/tokenizer.h"

#define TEXT_MAX (16u * 1024u * 1024u)

static int model_list(struct hs_cli *cli, int argc, char **argv);
static int model_import(struct hs_cli *cli, int argc, char **argv);
static int model_tokens(struct hs_cli *cli, int argc, char **argv);

static const struct hs_verb model_verbs[] = {
	{"model list", model_list, "", HS_N_("list the models of the appliance")},
	{"model import", model_import, "FILE OUT.gguf", HS_N_("make a GGUF of an E5S1 embedder")},
	{"model tokens", model_tokens, "MODEL.gguf [TEXT]",
	 HS_N_("show how a model reads a text (standard input, where none is given)")},
};

static json_t *describe(const struct hs_gguf *g, const char *file)
{
	struct hs_gguf_str arch = {"?", 1}, name = {"", 0}, licence = {"", 0};
	(void)hs_gguf_get_str(g, "general.architecture", &arch); /* what is absent stays as set above */
	(void)hs_gguf_get_str(g, "general.name", &name);
	(void)hs_gguf_get_str(g, "general.license", &licence);
	uint64_t bytes = 0;
	for (size_t i = 0; i < hs_gguf_tensor_count(g); i++)
		bytes += hs_gguf_tensor_at(g, i)->bytes;
	return json_pack("{s:s, s:s%, s:s%, s:s%, s:I, s:I}", "file", file, "architecture", arch.s, arch.len, "name", name.s,
			 name.len, "licence", licence.s, licence.len, "tensors", (json_int_t)hs_gguf_tensor_count(g), "megabytes",
			 (json_int_t)(bytes / 1000000));
}

static int model_list(struct hs_cli *cli, int argc, char **argv)
{
	int first, rc;
	if (!hs_cli_parse(cli, &model_verbs[0], NULL, 0, argc, argv, &first, &rc))
		return rc;
	struct hs_err err = HS_ERR_INIT;
	char folder[PATH_MAX];
	int n = snprintf(folder, sizeof folder, "%s/models", cli->dir);
	DIR *dir = n > 0 && n < (int)sizeof folder ? opendir(folder) : NULL;
	if (!dir) {
		(void)hs_fail_errno(&err, -errno, "model.folder", folder);
		return hs_cli_fail(cli, &err);
	}
	json_t *rows = json_array();
	for (struct dirent *e; (e = readdir(dir)) != NULL;) {
		const char *dot = strrchr(e->d_name, '.');
		if (!dot || strcmp(dot, ".gguf") != 0)
			continue;
		char path[PATH_MAX + 256];
		(void)snprintf(path, sizeof path, "%s/%s", folder, e->d_name); /* both bounded */
		struct hs_gguf *g = NULL;
		err = HS_ERR_INIT;
		if (hs_gguf_open(path, &g, &err) < 0) {
			(void)hs_cli_fail(cli, &err);
			continue;
		}
		(void)json_array_append_new(rows, describe(g, e->d_name)); /* a file whose name is not UTF-8 is left out */
		hs_gguf_close(g);
	}
	(void)closedir(dir); /* reading it is over */
	static const struct hs_column columns[] = {
		{.title = HS_N_("FILE"), .key = "file"},
		{.title = HS_N_("KIND"), .key = "architecture"},
		{.title = HS_N_("MB"), .key = "megabytes", .right = true},
		{.title = HS_N_("LICENCE"), .key = "licence"},
		{.title = HS_N_("NAME"), .key = "name"},
	};
	rc = hs_print_table(cli, rows, columns, HS_ARRAY_LEN(columns));
	json_decref(rows);
	return rc;
}

static int model_import(struct hs_cli *cli, int argc, char **argv)
{
	int first, rc;
	if (!hs_cli_parse(cli, &model_verbs[1], NULL, 0, argc, argv, &first, &rc))
		return rc;
	if (argc - first != 2)
		return hs_cli_usage(&model_verbs[1], _("a file and the GGUF to make are needed"));
	struct hs_err err = HS_ERR_INIT;
	if (hs_e5s1_import(argv[first], argv[first + 1], NULL, NULL, &err) < 0)
		return hs_cli_fail(cli, &err);
	return HS_EXIT_OK;
}

static int print_tokens(const struct hs_cli *cli, const struct hs_tokenizer *t, const struct hs_tok_ids *ids, struct hs_err *err)
{
	json_t *list = json_array();
	for (size_t i = 0; i < ids->count; i++) {
		HS_BUF_AUTO piece = HS_BUF_INIT;
		int rc = hs_tok_bytes(t, ids->ids[i], &piece);
		if (rc < 0) {
			json_decref(list);
			return hs_fail_errno(err, rc, "model.tokens", "");
		}
		if (cli->json) {
			(void)json_array_append_new(list,
						    json_integer(ids->ids[i])); /* a failed append shows in the count below */
			continue;
		}
		printf("%8" PRId32 "  ", ids->ids[i]);
		if (hs_tok_is_special(t, ids->ids[i]))
			fputs(_("(unknown)"), stdout);
		else
			hs_print_safe(stdout, (const char *)piece.data, piece.len);
		putchar('\n');
	}
	int rc = cli->json && (json_array_size(list) != ids->count || hs_print_json(list) != HS_EXIT_OK) ? -ENOMEM : 0;
	json_decref(list);
	return rc < 0 ? hs_fail_errno(err, rc, "model.tokens", "") : 0;
}

static int model_tokens(struct hs_cli *cli, int argc, char **argv)
{
	int first, rc;
	if (!hs_cli_parse(cli, &model_verbs[2], NULL, 0, argc, argv, &first, &rc))
		return rc;
	if (argc - first != 1 && argc - first != 2)
		return hs_cli_usage(&model_verbs[2], _("a model and a text are needed"));
	struct hs_err err = HS_ERR_INIT;
	struct hs_gguf *g = NULL;
	struct hs_tokenizer *t = NULL;
	struct hs_tok_ids ids = {0};
	HS_BUF_AUTO text = HS_BUF_INIT;
	rc = hs_gguf_open(argv[first], &g, &err);
	if (rc == 0)
		rc = hs_tokenizer_create(g, &t, &err);
	if (rc == 0)
		rc = argc - first == 2 ? hs_buf_append_str(&text, argv[first + 1])
				       : hs_fd_read_all(STDIN_FILENO, TEXT_MAX, &text);
	if (rc == 0)
		rc = hs_tok_encode(t, (const char *)text.data, text.len, &ids);
	if (rc == 0)
		rc = print_tokens(cli, t, &ids, &err);
	hs_tok_ids_finish(&ids);
	hs_tokenizer_destroy(t);
	hs_gguf_close(g);
	if (rc < 0) {
		(void)hs_fail_errno(&err, rc, "model.tokens", argv[first]);
		return hs_cli_fail(cli, &err);
	}
	return HS_EXIT_OK;
}

static int run(struct hs_cli *cli, int argc, char **argv)
{
	return hs_cli_dispatch(cli, "model", model_verbs, HS_ARRAY_LEN(model_verbs), argc, argv);
}

const struct hs_verb hs_verb_model = {"model", run, "list|import|tokens", HS_N_("model files")};
