/* hisho model list|info|import|tokens|perplexity: model files, without an appliance. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "inference/cuda/load.h"
#include "inference/cuda/plugin.h"
#include "inference/gguf/gguf.h"
#include "inference/import/e5s1.h"
#include "inference/import/encoder.h"
#include "inference/lora/lora.h"
#include "inference/model/weights.h"
#include "inference/perplexity.h"

#define TEXT_MAX (16u * 1024u * 1024u)

static int model_list(struct hs_cli *cli, int argc, char **argv);
static int model_import(struct hs_cli *cli, int argc, char **argv);
static int model_tokens(struct hs_cli *cli, int argc, char **argv);
static int model_info(struct hs_cli *cli, int argc, char **argv);
static int model_perplexity(struct hs_cli *cli, int argc, char **argv);

static const struct hs_verb model_verbs[] = {
	{"model list", model_list, "", HS_N_("list the models of the appliance")},
	{"model import", model_import, "[--type f32|f16|q8_0] [--pooling mean|first] FILE|FOLDER OUT.gguf",
	 HS_N_("make a GGUF of an E5S1 embedder, or of an encoder's folder (config.json, model.safetensors, tokenizer.json)")},
	{"model tokens", model_tokens, "MODEL.gguf [TEXT]",
	 HS_N_("show how a model reads a text (standard input, where none is given)")},
	{"model info", model_info, "MODEL.gguf | ADAPTER.gguf [MODEL.gguf]",
	 HS_N_("what a model or an adapter is made of, and whether the engine can run it")},
	{"model perplexity", model_perplexity, "[--context N] [--pieces N] [--kv f16|q8] MODEL.gguf TEXT",
	 HS_N_("how well a model foresees a text file; as llama-perplexity counts")},
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

/* What the options of an encoder's import say; false after a usage line. */
static bool read_import_options(const char *type, const char *pooling, struct hs_encoder_options *o)
{
	static const struct {
		const char *name;
		enum hs_tensor_type type;
	} types[] = {{"f32", HS_F32}, {"f16", HS_F16}, {"q8_0", HS_Q8_0}};
	bool known = false;
	for (size_t i = 0; i < HS_ARRAY_LEN(types); i++)
		if (strcmp(type, types[i].name) == 0) {
			o->type = types[i].type;
			known = true;
		}
	if (!known)
		(void)hs_cli_usage(&model_verbs[1], _("--type is f32, f16 or q8_0"));
	if (!pooling)
		return known;
	o->pool = strcmp(pooling, "mean") == 0 ? HS_IMPORT_POOL_MEAN : HS_IMPORT_POOL_FIRST;
	if (o->pool == HS_IMPORT_POOL_FIRST && strcmp(pooling, "first") != 0) {
		(void)hs_cli_usage(&model_verbs[1], _("--pooling is mean or first"));
		return false;
	}
	return known;
}

static int model_import(struct hs_cli *cli, int argc, char **argv)
{
	const char *type = "f16", *pooling = NULL;
	struct hs_encoder_options o = {.query_prefix = NULL};
	const struct hs_option options[] = {
		{"type", HS_OPTION_STRING, &type, HS_N_("of an encoder's matrices: f32, f16 (the default) or q8_0")},
		{"pooling", HS_OPTION_STRING, &pooling, HS_N_("an embedder's, where its folder does not say: mean or first")},
		{"query-prefix", HS_OPTION_STRING, &o.query_prefix, HS_N_("what an embedder wants before a question")},
		{"passage-prefix", HS_OPTION_STRING, &o.passage_prefix, HS_N_("what an embedder wants before a passage")},
	};
	int first, rc;
	if (!hs_cli_parse(cli, &model_verbs[1], options, HS_ARRAY_LEN(options), argc, argv, &first, &rc))
		return rc;
	if (argc - first != 2)
		return hs_cli_usage(&model_verbs[1], _("a file or a folder, and the GGUF to make, are needed"));
	if (!read_import_options(type, pooling, &o))
		return HS_EXIT_USAGE;
	struct hs_err err = HS_ERR_INIT;
	struct stat st;
	char name[NAME_MAX + 1] = "";
	const char *slash = strrchr(argv[first + 1], '/'), *base = slash ? slash + 1 : argv[first + 1], *dot = strrchr(base, '.');
	(void)snprintf(name, sizeof name, "%.*s", dot ? (int)(dot - base) : (int)strlen(base), base); /* cut where too long */
	o.name = name;
	if (stat(argv[first], &st) == 0 && S_ISDIR(st.st_mode))
		rc = hs_encoder_import(argv[first], argv[first + 1], &o, &err);
	else
		rc = hs_e5s1_import(argv[first], argv[first + 1], NULL, NULL, &err);
	return rc < 0 ? hs_cli_fail(cli, &err) : HS_EXIT_OK;
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

/* The numbers of a model that the engine can run, into object. */
static int describe_weights(const struct hs_weights *w, json_t *object)
{
	const struct hs_hyper *h = &w->hyper;
	HS_BUF_AUTO features = HS_BUF_INIT;
	uint32_t window = 0;
	for (uint32_t l = 0; l < h->n_layers; l++)
		window = HS_MAX(window, w->layers[l].window);
	for (unsigned bit = 0; hs_feature_name(bit); bit++)
		if ((w->features & 1u << bit) && hs_buf_printf(&features, features.len ? ", %s" : "%s", hs_feature_name(bit)) < 0)
			return -ENOMEM;
	static const char *const poolings[] = {"none", "mean", "first token", "last token"};
	json_t *more = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:s%}", "layers",
				 (json_int_t)h->n_layers, "embedding", (json_int_t)h->n_embd, "heads", (json_int_t)h->n_heads,
				 "key_heads", (json_int_t)h->n_kv_heads, "head_length", (json_int_t)h->head_dim, "feed_forward",
				 (json_int_t)h->n_ff, "experts", (json_int_t)h->n_experts, "experts_used",
				 (json_int_t)h->n_experts_used, "vocabulary", (json_int_t)h->n_vocab, "context",
				 (json_int_t)h->context, "window", (json_int_t)window, "pooling", poolings[h->pool], "labels",
				 (json_int_t)h->n_labels, "parameters", (json_int_t)w->n_params, "cache_bytes_a_token",
				 (json_int_t)hs_kv_bytes(h, false), "cache_bytes_a_token_q8", (json_int_t)hs_kv_bytes(h, true), "features",
				 (const char *)features.data, features.len);
	int rc = more && json_object_update(object, more) == 0 ? 0 : -ENOMEM;
	json_decref(more);
	return rc;
}

/* How many tensors there are of each type, and their bytes. */
static json_t *count_types(const struct hs_gguf *g)
{
	json_t *rows = json_array();
	for (int type = 0; type < 64; type++) {
		json_int_t n = 0, bytes = 0;
		for (size_t i = 0; i < hs_gguf_tensor_count(g); i++)
			if ((int)hs_gguf_tensor_at(g, i)->type == type) {
				n++;
				bytes += (json_int_t)hs_gguf_tensor_at(g, i)->bytes;
			}
		if (n)
			(void)json_array_append_new(rows, json_pack("{s:s, s:I, s:I}", "type",
								    hs_tensor_type_name((enum hs_tensor_type)type), "tensors", n,
								    "megabytes", bytes / 1000000)); /* only shown */
	}
	return rows;
}

/* What the engine says of a part: "yes", or why not. */
static void set_verdict(json_t *object, const char *key, int rc, const struct hs_err *err)
{
	char text[sizeof err->object + sizeof err->hint + 4];
	(void)snprintf(text, sizeof text, "%s: %s", err->object, _(err->hint)); /* both bounded */
	(void)json_object_set_new(object, key, json_string(rc < 0 ? text : _("yes"))); /* only shown */
}

/* What would compute it here, were the configuration silent: the first GPU, or the CPU and why. */
static void set_device(json_t *object, const struct hs_weights *w)
{
	const struct hs_device_wish wish = {.kind = HS_DEVICE_AUTO};
	char text[sizeof((struct hs_err *)0)->object + 400];
	struct hs_err why = HS_ERR_INIT;
	struct hs_gpu gpu;
	int rc = hs_gpu_open(wish, hs_cuda_plugin_path, &gpu, &why);
	if (rc == 0)
		rc = gpu.plugin->judge(w, &why);
	if (rc == 0)
		(void)snprintf(text, sizeof text, "cuda:%u %s", gpu.index, gpu.device.name); /* both bounded */
	else
		(void)snprintf(text, sizeof text, "cpu (%s: %s)", why.object, _(why.hint)); /* a longer hint is cut */
	(void)json_object_set_new(object, "device", json_string(text));                     /* only shown */
}

/* An adapter; base: the file of the model that it is for, or NULL: then only what it says of itself. */
static int adapter_info(struct hs_cli *cli, const struct hs_gguf *g, const char *file, const char *base)
{
	struct hs_err err = HS_ERR_INIT, why = HS_ERR_INIT;
	struct hs_gguf *b = NULL;
	struct hs_weights *w = NULL;
	struct hs_lora *lora = NULL;
	float alpha = NAN;
	uint64_t rank = 0;
	if (base && (hs_gguf_open(base, &b, &err) < 0 || hs_weights_bind(b, &w, &err) < 0)) {
		hs_gguf_close(b);
		return hs_cli_fail(cli, &err);
	}
	for (size_t i = 0; i < hs_gguf_tensor_count(g); i++) { /* the shorter side of a pair's matrices */
		const struct hs_gguf_tensor *t = hs_gguf_tensor_at(g, i);
		rank = HS_MAX(rank, HS_MIN(t->dims[0], t->dims[1]));
	}
	(void)hs_gguf_get_f32(g, "adapter.lora.alpha", &alpha); /* told below where a model is given */
	json_t *object = describe(g, file);
	(void)json_object_set_new(object, "adapter", json_true()); /* all of these are only shown */
	(void)json_object_set_new(object, "rank", json_integer((json_int_t)rank));
	(void)json_object_set_new(object, "alpha", isfinite(alpha) ? json_real((double)alpha) : json_null());
	(void)json_object_set_new(object, "device", json_string("cpu"));
	int fits = base ? hs_lora_bind(g, w, &lora, &why) : 0;
	if (base)
		set_verdict(object, "computes", fits, &why);
	int rc = cli->json ? hs_print_json(object) : 0;
	if (!cli->json)
		hs_print_fields(object);
	json_decref(object);
	hs_lora_destroy(lora);
	hs_weights_destroy(w);
	hs_gguf_close(b);
	return rc == 0 && fits == 0 ? HS_EXIT_OK : HS_EXIT_FAILED;
}

static int model_info(struct hs_cli *cli, int argc, char **argv)
{
	int first, rc;
	if (!hs_cli_parse(cli, &model_verbs[3], NULL, 0, argc, argv, &first, &rc))
		return rc;
	if (argc - first != 1 && argc - first != 2)
		return hs_cli_usage(&model_verbs[3], _("a model is needed"));
	struct hs_err err = HS_ERR_INIT, why = HS_ERR_INIT;
	struct hs_gguf *g = NULL;
	if (hs_gguf_open(argv[first], &g, &err) < 0)
		return hs_cli_fail(cli, &err);
	if (hs_lora_is(g) || argc - first == 2) {
		rc = hs_lora_is(g) ? adapter_info(cli, g, argv[first], argv[first + 1]) /* NULL ends the arguments */
				   : hs_cli_usage(&model_verbs[3], _("the first of two files is an adapter"));
		hs_gguf_close(g);
		return rc;
	}
	json_t *object = describe(g, argv[first]), *types = count_types(g);
	struct hs_weights *w = NULL;
	struct hs_tokenizer *t = NULL;
	rc = hs_weights_bind(g, &w, &why);
	set_verdict(object, "computes", rc, &why);
	bool runs = rc == 0;
	rc = runs ? describe_weights(w, object) : 0;
	if (runs)
		set_device(object, w);
	why = HS_ERR_INIT;
	int tokenizer = hs_tokenizer_create(g, &t, &why);
	set_verdict(object, "reads_text", tokenizer, &why);
	(void)json_object_set(object, "types", types); /* only shown */
	if (rc == 0 && cli->json) {
		rc = hs_print_json(object);
	} else if (rc == 0) {
		static const struct hs_column columns[] = {
			{.title = HS_N_("TYPE"), .key = "type"},
			{.title = HS_N_("TENSORS"), .key = "tensors", .right = true},
			{.title = HS_N_("MB"), .key = "megabytes", .right = true},
		};
		hs_print_fields(object);
		putchar('\n');
		rc = hs_print_table(cli, types, columns, HS_ARRAY_LEN(columns));
	}
	json_decref(types);
	json_decref(object);
	hs_tokenizer_destroy(t);
	hs_weights_destroy(w);
	hs_gguf_close(g);
	return rc != 0 ? HS_EXIT_FAILED : runs && tokenizer == 0 ? HS_EXIT_OK : HS_EXIT_FAILED;
}

static void show_piece(void *arg, uint32_t piece, uint32_t n_pieces, double so_far)
{
	(void)arg; /* standard error is all it needs */
	fprintf(stderr, "%" PRIu32 "/%" PRIu32 "  %.4f\n", piece, n_pieces, so_far);
}

static int model_perplexity(struct hs_cli *cli, int argc, char **argv)
{
	struct hs_perplexity p = {.context = 512, .progress = show_piece};
	const char *kv = NULL;
	const struct hs_option options[] = {
		{"kv", HS_OPTION_STRING, &kv, HS_N_("how keys and values are kept: f16 or q8 (f16)")},
		{"context", HS_OPTION_COUNT, &p.context, HS_N_("tokens a piece (512)")},
		{"pieces", HS_OPTION_COUNT, &p.max_pieces, HS_N_("only the first pieces")},
	};
	int first, rc;
	if (!hs_cli_parse(cli, &model_verbs[4], options, HS_ARRAY_LEN(options), argc, argv, &first, &rc))
		return rc;
	if (argc - first != 2)
		return hs_cli_usage(&model_verbs[4], _("a model and a text file are needed"));
	if (kv && strcmp(kv, "f16") != 0 && strcmp(kv, "q8") != 0)
		return hs_cli_usage(&model_verbs[4], _("keys and values are kept as f16 or as q8"));
	const struct hs_model_options how = {.kv_q8 = kv && strcmp(kv, "q8") == 0};
	struct hs_err err = HS_ERR_INIT;
	struct hs_model *m = NULL;
	HS_BUF_AUTO text = HS_BUF_INIT;
	rc = hs_file_read(AT_FDCWD, argv[first + 1], TEXT_MAX, &text);
	rc = rc < 0 ? hs_fail_errno(&err, rc, "model.perplexity", argv[first + 1]) : hs_model_load(argv[first], &how, &m, &err);
	if (rc == 0)
		rc = hs_perplexity_of(m, (const char *)text.data, text.len, &p, &err);
	hs_model_destroy(m);
	if (rc < 0)
		return hs_cli_fail(cli, &err);
	json_t *object = json_pack("{s:f, s:f, s:I, s:I}", "perplexity", p.perplexity, "deviation", p.deviation, "pieces",
				   (json_int_t)p.n_pieces, "tokens_scored", (json_int_t)p.n_scored);
	rc = HS_EXIT_OK;
	if (cli->json)
		rc = hs_print_json(object);
	else
		hs_print_fields(object);
	json_decref(object);
	return rc;
}

static int run(struct hs_cli *cli, int argc, char **argv)
{
	return hs_cli_dispatch(cli, "model", model_verbs, HS_ARRAY_LEN(model_verbs), argc, argv);
}

const struct hs_verb hs_verb_model = {"model", run, "list|import|tokens|info|perplexity", HS_N_("model files")};
