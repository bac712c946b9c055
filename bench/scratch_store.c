#include "bench/scratch_store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/clock.h"
#include "ingest/chunk.h"
#include "ingest/extract/extract.h"
#include "policy/classes.h"
#include "policy/principal.h"
#include "policy/rules.h"

#define NAMES_MAX (1u << 20)

_Noreturn void scratch_die(const char *what, const struct hs_err *err)
{
	fprintf(stderr, "%s: %s %s\n", what, err ? err->code : "", err ? err->object : "");
	exit(1);
}

static int connect_plain(void *ctx, bool writer, sqlite3 **ret, struct hs_err *err)
{
	if (sqlite3_open_v2(ctx, ret, writer ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY, NULL) !=
	    SQLITE_OK)
		return -EIO;
	return sqlite3_exec(*ret, "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF", NULL, NULL, NULL) == SQLITE_OK ? 0 : -EIO;
}

static int name_compare(const void *a, const void *b)
{
	return strcmp(((const struct scratch_name *)a)->id.s, ((const struct scratch_name *)b)->id.s);
}

const struct scratch_name *scratch_name(const struct scratch_store *s, const struct hs_id *id)
{
	struct scratch_name key = {.id = *id};

	return bsearch(&key, s->names, s->n_names, sizeof(key), name_compare);
}

static void set_up_policy(struct scratch_store *s)
{
	char yaml[2048], list[1024] = "";
	struct hs_err err = HS_ERR_INIT;
	struct hs_policy_change change;
	size_t n = 0;

	for (uint32_t i = 0; i < s->n_classes; i++)
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%sc%u", i ? ", " : "", i); /* 64 names fit */
	(void)snprintf(yaml, sizeof(yaml),
		       "version: 1\ncollections: [%s]\nusers: [{name: reader}]\n"
		       "rules: [{id: all, allow: [ask], who: {users: [reader]}, collections: [%s], level: {up_to: 極秘}}]\n",
		       list, list); /* fits */
	if (hs_store_begin(s->store, &err) < 0 ||
	    hs_policy_apply(hs_store_db(s->store), yaml, strlen(yaml), "local_0", hs_now_ms(), false, &change, NULL, &err) < 0)
		scratch_die("policy", &err);
	for (uint32_t i = 0; i < s->n_classes; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "c%u", i); /* fits */
		if (hs_class_intern(hs_store_db(s->store), name, "公開", "", &s->classes[i], &err) < 0)
			scratch_die("class", &err);
	}
	if (hs_store_commit(s->store, &err) < 0)
		scratch_die("policy", &err);
}

struct hs_grant *scratch_grant(struct scratch_store *s)
{
	static const uint8_t key[HS_GATE_KEY_LEN] = {1};
	struct hs_gate *gate = hs_gate_create("ten_eval", key);
	struct hs_err err = HS_ERR_INIT;
	struct hs_credential c;
	struct hs_principal who;
	struct hs_grant *g = NULL;
	int64_t now = hs_now_ms();

	if (!gate || hs_store_begin(s->store, &err) < 0 ||
	    hs_token_add(gate, hs_store_db(s->store), "reader", HS_SCOPE_ASK, "", now + 1000000, now, &c, &err) < 0 ||
	    hs_authenticate(gate, hs_store_db(s->store), &c, now, &who, &err) < 0 ||
	    hs_policy_resolve(hs_store_db(s->store), &who, now, &g, &err) < 0 || hs_store_commit(s->store, &err) < 0)
		scratch_die("grant", &err);
	hs_gate_destroy(gate);
	return g;
}

static void put(struct scratch_store *s, const json_t *row, uint32_t chunk)
{
	const char *title = json_string_value(json_object_get(row, "title")),
		   *text = json_string_value(json_object_get(row, "text"));
	const char *id = json_string_value(json_object_get(row, "_id"));
	bool markdown = strlen(id) > 3 && strcmp(id + strlen(id) - 3, ".md") == 0;
	struct hs_extract_input in = {.data = (const uint8_t *)text,
				      .len = strlen(text),
				      .name = markdown ? "x.md" : "x.txt",
				      .media = markdown ? "text/markdown" : "text/plain"};
	struct hs_chunk_options options = {.max_chars = chunk};
	struct hs_blob_row blob = {.id = hs_id_new("blb_"), .wrapped_len = 1};
	struct hs_document d = {0};
	struct hs_chunks chunks = {0};
	uint8_t hash[HS_STORE_HASH_LEN] = {0};
	struct scratch_name *name = &s->names[s->n_names];
	struct hs_put p = {.class_id = s->classes[s->n_names % s->n_classes],
			   .title = title ? title : "",
			   .sender = "",
			   .source = "",
			   .submission = "",
			   .now_ms = hs_now_ms(),
			   .text_hash = hash,
			   .canonical = &blob.id,
			   .read = &d};
	struct hs_err err = HS_ERR_INIT;
	struct hs_id version;

	if (s->n_names == NAMES_MAX || hs_extract_document(&in, &d, &err) < 0 || hs_chunk(&d, &options, &chunks, &err) < 0)
		scratch_die(id, &err);
	p.chunks = chunks.items;
	p.n_chunks = chunks.count;
	if (hs_store_blob_add(s->store, &blob, NULL, 0, &err) < 0 || hs_store_put(s->store, &p, &name->id, &version, &err) < 0)
		scratch_die("put", &err);
	(void)snprintf(name->own, sizeof(name->own), "%s", id); /* a longer one is cut, and then not found */
	name->class_id = p.class_id;
	s->n_names++;
	hs_chunks_finish(&chunks);
	hs_document_finish(&d);
}

static void load(struct scratch_store *s, const char *set, uint32_t chunk)
{
	struct hs_err err = HS_ERR_INIT;
	char path[4096], *line = NULL;
	size_t cap = 0;
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/corpus.jsonl", set); /* a cut path is not found */
	f = fopen(path, "re");
	s->names = calloc(NAMES_MAX, sizeof(*s->names));
	if (!f || !s->names || hs_store_begin(s->store, &err) < 0)
		scratch_die(path, &err);
	while (getline(&line, &cap, f) > 0) {
		json_t *row = json_loads(line, 0, NULL);

		put(s, row, chunk);
		json_decref(row);
		if (s->n_names % 100 == 0 && (hs_store_commit(s->store, &err) < 0 || hs_store_begin(s->store, &err) < 0))
			scratch_die("commit", &err);
	}
	if (hs_store_commit(s->store, &err) < 0)
		scratch_die("commit", &err);
	free(line);
	(void)fclose(f);
	qsort(s->names, s->n_names, sizeof(*s->names), name_compare);
}

void scratch_open(struct scratch_store *s, const char *set, uint32_t n_classes, uint32_t chunk)
{
	struct hs_store_options options = {.connect = connect_plain};
	struct hs_err err = HS_ERR_INIT;

	*s = (struct scratch_store){.n_classes = n_classes, .dir = "/tmp/hisho-eval-XXXXXX"};
	if (!mkdtemp(s->dir))
		scratch_die(s->dir, NULL);
	(void)snprintf(s->path, sizeof(s->path), "%s/index.db", s->dir); /* fits */
	options.connect_ctx = s->path;
	if (hs_analyzer_create(HS_DICT_DIR_DEFAULT, &s->analyzer, &err) < 0)
		scratch_die("dictionary", &err);
	options.analyzer = s->analyzer;
	if (hs_store_open(&options, &s->store, &err) < 0)
		scratch_die("open", &err);
	set_up_policy(s);
	load(s, set, chunk);
	if (hs_reader_create(s->store, &s->reader, &err) < 0)
		scratch_die("reader", &err);
}

void scratch_close(struct scratch_store *s)
{
	static const char *const files[] = {"", "-wal", "-shm"};

	hs_reader_destroy(s->reader);
	hs_store_close(s->store);
	hs_analyzer_destroy(s->analyzer);
	free(s->names);
	for (size_t i = 0; i < HS_ARRAY_LEN(files); i++) {
		char path[80];

		(void)snprintf(path, sizeof(path), "%s%s", s->path, files[i]); /* fits */
		(void)unlink(path);                                            /* those that are there */
	}
	(void)rmdir(s->dir); /* what is left tells of itself */
}

/* What was embedded before, by its text's hash, in the file that VECTORS names: rankings change often, texts do not. */
struct kept {
	uint64_t key[2];
	float v[SCRATCH_DIMENSIONS];
};

static struct {
	FILE *file;
	struct kept **slots; /* by key, open addressing */
	size_t used, cap;
} memo;

static void key_of(const char *text, size_t len, uint64_t key[static 2])
{
	key[0] = 0xcbf29ce484222325u; /* FNV-1a, forwards and backwards: no one attacks a bench */
	key[1] = 0xcbf29ce484222325u;
	for (size_t i = 0; i < len; i++) {
		key[0] = (key[0] ^ (uint8_t)text[i]) * 0x100000001b3u;
		key[1] = (key[1] ^ (uint8_t)text[len - 1 - i]) * 0x100000001b3u;
	}
}

static struct kept **memo_slot(const uint64_t key[static 2])
{
	size_t i = key[0] % memo.cap;

	while (memo.slots[i] && memcmp(memo.slots[i]->key, key, sizeof(memo.slots[i]->key)) != 0)
		i = (i + 1) % memo.cap;
	return &memo.slots[i];
}

static void memo_add(const struct kept *k)
{
	struct kept **slot = memo_slot(k->key);

	if (*slot || memo.used == memo.cap / 2) /* half full: the rest is embedded again next time */
		return;
	*slot = malloc(sizeof(**slot));
	if (!*slot)
		scratch_die("memory", NULL);
	**slot = *k;
	memo.used++;
}

static void memo_open(void)
{
	const char *path = getenv("VECTORS");
	struct kept k;

	if (!path || memo.file)
		return;
	memo.cap = 1u << 20;
	memo.slots = calloc(memo.cap, sizeof(struct kept *));
	memo.file = fopen(path, "a+e");
	if (!memo.slots || !memo.file)
		scratch_die(path, NULL);
	rewind(memo.file);
	while (fread(&k, sizeof(k), 1, memo.file) == 1)
		memo_add(&k);
}

/* At most 32 texts with their prefix. */
static void embed(struct hs_model *model, const char *const *lines, const size_t *lens, size_t n, float *out)
{
	const char *unknown[32];
	size_t unknown_lens[32], at[32], count = 0;
	float fresh[32 * SCRATCH_DIMENSIONS];
	struct kept k;

	memo_open();
	for (size_t i = 0; i < n; i++) {
		struct kept *known = NULL;

		key_of(lines[i], lens[i], k.key);
		if (memo.file)
			known = *memo_slot(k.key);
		if (known) {
			memcpy(out + i * SCRATCH_DIMENSIONS, known->v, sizeof(known->v));
			continue;
		}
		unknown[count] = lines[i];
		unknown_lens[count] = lens[i];
		at[count++] = i;
	}
	if (count > 0 && hs_embed(model, unknown, unknown_lens, (uint32_t)count, NULL, NULL, fresh) < 0)
		scratch_die("embed", NULL);
	for (size_t i = 0; i < count; i++) {
		memcpy(k.v, fresh + i * SCRATCH_DIMENSIONS, sizeof(k.v));
		memcpy(out + at[i] * SCRATCH_DIMENSIONS, k.v, sizeof(k.v));
		key_of(unknown[i], unknown_lens[i], k.key);
		if (memo.file && (fwrite(&k, sizeof(k), 1, memo.file) != 1 || fflush(memo.file) != 0))
			scratch_die("VECTORS", NULL);
		if (memo.file)
			memo_add(&k);
	}
}

float *scratch_vectors(struct hs_model *model, const char *prefix, char **texts, size_t n)
{
	float *out = malloc((n + 1) * SCRATCH_DIMENSIONS * sizeof(*out));

	if (!out)
		scratch_die("memory", NULL);
	for (size_t at = 0; at < n; at += 32) {
		char *lines[32];
		size_t lens[32], count = n - at < 32 ? n - at : 32;

		for (size_t i = 0; i < count; i++) {
			lens[i] = (size_t)asprintf(&lines[i], "%s%s", prefix, texts[at + i]);
			if (!lines[i])
				scratch_die("memory", NULL);
		}
		embed(model, (const char *const *)lines, lens, count, out + at * SCRATCH_DIMENSIONS);
		for (size_t i = 0; i < count; i++)
			free(lines[i]);
	}
	return out;
}

size_t scratch_embed(struct scratch_store *s, struct hs_model *model)
{
	static const uint8_t hash[HS_STORE_HASH_LEN] = {1};
	struct hs_err err = HS_ERR_INIT;
	struct hs_pending_list list;
	size_t done = 0;

	if (hs_store_begin(s->store, &err) < 0 || hs_store_use_model(s->store, hash, SCRATCH_DIMENSIONS, &err) < 0 ||
	    hs_store_commit(s->store, &err) < 0)
		scratch_die("model", &err);
	for (;;) {
		char *texts[256];
		float *vectors;

		if (hs_store_pending(s->store, 0, 256, &list, &err) < 0)
			scratch_die("pending", &err);
		if (list.count == 0)
			break;
		for (size_t i = 0; i < list.count; i++)
			texts[i] = list.items[i].text;
		vectors = scratch_vectors(model, "passage: ", texts, list.count);
		if (hs_store_begin(s->store, &err) < 0 ||
		    hs_store_put_vectors(s->store, list.items, vectors, list.count, &err) < 0 ||
		    hs_store_commit(s->store, &err) < 0)
			scratch_die("vectors", &err);
		done += list.count;
		free(vectors);
		hs_pending_list_finish(&list);
	}
	hs_pending_list_finish(&list);
	return done;
}
