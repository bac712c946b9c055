#include "text/document.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include <sodium.h>

#include "base/utf8.h"
#include "base/wire.h"

#define MAGIC_DOCUMENT 0x31445348u /* "HSD1" */
#define MAGIC_ERROR 0x31455348u    /* "HSE1" */
#define BLOCK_LEN 52               /* bytes of an encoded block */

void hs_document_finish(struct hs_document *d)
{
	free(d->title);
	free(d->text);
	free(d->blocks);
	free(d->format);
	free(d->charset);
	free(d->extractor);
	*d = (struct hs_document){0};
}

void hs_chunks_finish(struct hs_chunks *c)
{
	for (size_t i = 0; i < c->count; i++)
		free(c->items[i].context);
	free(c->items);
	*c = (struct hs_chunks){0};
}

/* Codes with their sentences: one place, because an extractor's bytes may name a code but not speak. */
static const struct {
	const char *code, *hint;
} hints[] = {
	{"doc.empty", HS_N_("The file holds no text.")},
	{"doc.too_large", HS_N_("The file is larger than Hisho reads; split it.")},
	{"doc.too_much_text", HS_N_("The file holds more text than Hisho keeps in one document; split it.")},
	{"doc.binary", HS_N_("This is not a text file.")},
	{"doc.charset", HS_N_("The file's character encoding is not known or broken; save it as UTF-8.")},
	{"doc.type_mismatch", HS_N_("The content is of another kind than the file's name says.")},
	{"doc.unsupported", HS_N_("Hisho does not read this kind of file; export it as PDF, HTML or text.")},
	{"doc.encrypted_pdf", HS_N_("The PDF is protected by a password; save it without one.")},
	{"doc.damaged_pdf", HS_N_("The PDF is damaged; open and save it again in another program.")},
	{"doc.no_text", HS_N_("The PDF has no text layer (a scan); run character recognition on it first.")},
	{"doc.too_deep", HS_N_("The file's elements are nested too deeply.")},
	{"doc.csv_quote", HS_N_("A quoted cell of the CSV file is never closed.")},
	{"doc.malformed", HS_N_("The extractor's result breaks its format; the document was not taken.")},
	{"doc.extractor_crashed", HS_N_("The program that reads this kind of file crashed on it; the file may be damaged.")},
	{"doc.extractor_timeout", HS_N_("Reading the file took too long; split or simplify it.")},
	{"doc.extractor_memory", HS_N_("Reading the file took too much memory; split or simplify it.")},
	{"doc.unreadable", HS_N_("The file could not be read; open and save it again in another program.")},
	{"doc.too_long", HS_N_("The file has too many passages for one document; split it.")},
	{"doc.class", HS_N_("The document's collection, level or list is unknown to the tenant; correct the policy or the filing.")},
	{"doc.source", HS_N_("The source id is too long; file the document with `hisho ingest`.")},
	{"doc.source_exists", HS_N_("This source has a document already; the next filing becomes a version of it.")},
	{"doc.chunk", HS_N_("A passage does not lie within the text; the document was not taken. Report this with the file's kind.")},
	{"doc.expires", HS_N_("Give a time after 1970, or 0 for none.")},
	{"doc.row", HS_N_("The database is damaged; restore it from a backup.")},
	{"doc.range", HS_N_("The range is not one of this version's text, or longer than a citation.")},
	{"doc.unknown", HS_N_("There is no such document.")},
};

const char *hs_document_hint(const char *code)
{
	for (size_t i = 0; i < HS_ARRAY_LEN(hints); i++) {
		if (strcmp(hints[i].code, code) == 0)
			return hints[i].hint;
	}
	return "";
}

static int malformed(struct hs_err *err, const char *field)
{
	return hs_fail(err, EBADMSG, "doc.malformed", hs_document_hint("doc.malformed"), "%s", field);
}

static bool valid_string(const char *s, size_t n, size_t max)
{
	return n <= max && !memchr(s, 0, n) && hs_utf8_valid(s, n, NULL);
}

/* Is there only white space in text[start..end)? */
static bool only_space(const char *text, size_t start, size_t end)
{
	for (size_t i = start; i < end; i++) {
		if (!strchr(" \t\n\f\r", text[i]))
			return false;
	}
	return true;
}

static bool on_boundary(const struct hs_document *d, uint32_t at)
{
	return at == d->len || ((unsigned char)d->text[at] & 0xc0) != 0x80;
}

static int check_block(const struct hs_document *d, const struct hs_block *b, uint32_t last_end, struct hs_err *err)
{
	if (b->start < last_end || b->end <= b->start || b->end > d->len)
		return malformed(err, "block range");
	if (!on_boundary(d, b->start) || !on_boundary(d, b->end))
		return malformed(err, "block boundary");
	if (!only_space(d->text, last_end, b->start))
		return malformed(err, "text outside the blocks");
	if ((unsigned)b->kind > HS_BLOCK_CODE || b->level > HS_DOCUMENT_LEVEL_MAX)
		return malformed(err, "block kind");
	if (b->page > d->n_pages || b->src_end < b->src_start)
		return malformed(err, "block source");
	for (int i = 0; i < 4; i++) {
		if (!isfinite(b->box[i]))
			return malformed(err, "block box");
	}
	return 0;
}

int hs_document_check(const struct hs_document *d, struct hs_err *err)
{
	if (!d->title || !d->text || !d->format || !d->charset || !d->extractor || (d->n_blocks && !d->blocks))
		return malformed(err, "a missing field");
	if (!valid_string(d->title, strlen(d->title), HS_DOCUMENT_TITLE_MAX))
		return malformed(err, "title");
	if (!valid_string(d->format, strlen(d->format), HS_DOCUMENT_NAME_MAX) ||
	    !valid_string(d->charset, strlen(d->charset), HS_DOCUMENT_NAME_MAX) ||
	    !valid_string(d->extractor, strlen(d->extractor), HS_DOCUMENT_NAME_MAX))
		return malformed(err, "a name");
	if (!valid_string(d->text, d->len, HS_DOCUMENT_TEXT_MAX) || d->text[d->len] != '\0')
		return malformed(err, "text");
	if (d->n_blocks > HS_DOCUMENT_BLOCKS_MAX || d->n_pages > HS_DOCUMENT_PAGES_MAX)
		return malformed(err, "a count");
	uint32_t last_end = 0;
	for (size_t i = 0; i < d->n_blocks; i++) {
		int rc = check_block(d, &d->blocks[i], last_end, err);
		if (rc < 0)
			return rc;
		last_end = d->blocks[i].end;
	}
	return only_space(d->text, last_end, d->len) ? 0 : malformed(err, "text outside the blocks");
}

void hs_document_text_hash(const struct hs_document *d, uint8_t out[static HS_DOCUMENT_HASH_LEN])
{
	int rc = crypto_generichash(out, HS_DOCUMENT_HASH_LEN, (const unsigned char *)d->text, d->len, NULL, 0);
	hs_assert(rc == 0); /* fails only for lengths that it does not know */
}

static int put_block(struct hs_buf *out, const struct hs_block *b)
{
	int rc = hs_put_u32(out, b->start);
	if (rc == 0)
		rc = hs_put_u32(out, b->end);
	if (rc == 0)
		rc = hs_put_u16(out, (uint16_t)b->kind);
	if (rc == 0)
		rc = hs_put_u16(out, (uint16_t)b->level);
	if (rc == 0)
		rc = hs_put_u32(out, b->page);
	if (rc == 0)
		rc = hs_put_u64(out, b->src_start);
	if (rc == 0)
		rc = hs_put_u64(out, b->src_end);
	for (int i = 0; rc == 0 && i < 4; i++)
		rc = hs_put_f32(out, b->box[i]);
	return rc == 0 ? hs_put_u32(out, 0) : rc;
}

int hs_document_encode(const struct hs_document *d, struct hs_buf *out)
{
	int rc = hs_document_check(d, NULL);
	if (rc < 0)
		return rc;
	size_t before = out->len;
	rc = hs_buf_reserve(out, d->len + d->n_blocks * BLOCK_LEN + 4096);
	if (rc == 0)
		rc = hs_put_u32(out, MAGIC_DOCUMENT);
	const char *strings[] = {d->format, d->charset, d->extractor, d->title};
	for (size_t i = 0; rc == 0 && i < HS_ARRAY_LEN(strings); i++)
		rc = hs_put_str(out, strings[i], strlen(strings[i]));
	if (rc == 0)
		rc = hs_put_u32(out, d->n_pages);
	if (rc == 0)
		rc = hs_put_str(out, d->text, d->len);
	if (rc == 0)
		rc = hs_put_u32(out, (uint32_t)d->n_blocks);
	for (size_t i = 0; rc == 0 && i < d->n_blocks; i++)
		rc = put_block(out, &d->blocks[i]);
	if (rc < 0)
		out->len = before;
	return rc;
}

int hs_document_encode_error(const struct hs_err *failure, struct hs_buf *out)
{
	size_t before = out->len;
	int rc = hs_put_u32(out, MAGIC_ERROR);
	if (rc == 0)
		rc = hs_put_u32(out, (uint32_t)(failure->num > 0 ? failure->num : EIO));
	if (rc == 0)
		rc = hs_put_str(out, failure->code, strlen(failure->code));
	if (rc == 0)
		rc = hs_put_str(out, failure->object, strlen(failure->object));
	if (rc < 0)
		out->len = before;
	return rc;
}

/* A failure that an extractor reports: only known codes pass, and the number must be an errno. */
static int take_error(struct hs_wire *w, struct hs_err *err)
{
	uint32_t num = hs_wire_u32(w);
	size_t code_len, object_len;
	const char *code = hs_wire_str(w, sizeof err->code - 1, &code_len);
	const char *object = hs_wire_str(w, sizeof err->object - 1, &object_len);
	if (!hs_wire_done(w) || num == 0 || num > 4095 || !hs_utf8_valid(object, object_len, NULL))
		return malformed(err, "error");
	for (size_t i = 0; i < HS_ARRAY_LEN(hints); i++) {
		if (strlen(hints[i].code) == code_len && memcmp(hints[i].code, code, code_len) == 0)
			return hs_fail(err, (int)num, hints[i].code, hints[i].hint, "%.*s", (int)object_len, object);
	}
	return malformed(err, "error code");
}

static char *take_str(struct hs_wire *w, size_t max, size_t *ret_len)
{
	size_t n;
	const char *s = hs_wire_str(w, max, &n);
	if (!s || memchr(s, 0, n)) {
		w->failed = true;
		return NULL;
	}
	char *copy = malloc(n + 1);
	if (!copy)
		return NULL;
	memcpy(copy, s, n);
	copy[n] = '\0';
	if (ret_len)
		*ret_len = n;
	return copy;
}

static void take_block(struct hs_wire *w, struct hs_block *b)
{
	b->start = hs_wire_u32(w);
	b->end = hs_wire_u32(w);
	b->kind = hs_wire_u16(w);
	b->level = hs_wire_u16(w);
	b->page = hs_wire_u32(w);
	b->src_start = hs_wire_u64(w);
	b->src_end = hs_wire_u64(w);
	for (int i = 0; i < 4; i++)
		b->box[i] = hs_wire_f32(w);
	if (hs_wire_u32(w) != 0)
		w->failed = true; /* reserved */
}

int hs_document_decode(const void *data, size_t len, struct hs_document *ret, struct hs_err *err)
{
	struct hs_wire w = hs_wire_over(data, len);
	uint32_t magic = hs_wire_u32(&w);
	if (magic == MAGIC_ERROR)
		return take_error(&w, err);
	if (magic != MAGIC_DOCUMENT)
		return malformed(err, "magic");
	struct hs_document d = {0};
	int rc;
	char **strings[] = {&d.format, &d.charset, &d.extractor, &d.title};
	const size_t limits[] = {HS_DOCUMENT_NAME_MAX, HS_DOCUMENT_NAME_MAX, HS_DOCUMENT_NAME_MAX, HS_DOCUMENT_TITLE_MAX};
	for (size_t i = 0; i < HS_ARRAY_LEN(strings); i++) {
		*strings[i] = take_str(&w, limits[i], NULL);
		if (!*strings[i])
			goto failed;
	}
	d.n_pages = hs_wire_u32(&w);
	d.text = take_str(&w, HS_DOCUMENT_TEXT_MAX, &d.len);
	if (!d.text)
		goto failed;
	uint32_t count = hs_wire_u32(&w);
	if (w.failed || count > HS_DOCUMENT_BLOCKS_MAX || w.len - w.at != (size_t)count * BLOCK_LEN) {
		w.failed = true;
		goto failed;
	}
	if (count) {
		d.blocks = calloc(count, sizeof *d.blocks);
		if (!d.blocks)
			goto failed;
	}
	d.n_blocks = count;
	for (uint32_t i = 0; i < count; i++)
		take_block(&w, &d.blocks[i]);
	if (!hs_wire_done(&w))
		goto failed;
	rc = hs_document_check(&d, err);
	if (rc < 0) {
		hs_document_finish(&d);
		return rc;
	}
	*ret = d;
	return 0;
failed:
	hs_document_finish(&d);
	return w.failed ? malformed(err, "length") : hs_fail_errno(err, -ENOMEM, "doc.malformed", "document");
}
