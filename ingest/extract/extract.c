#include "ingest/extract/extract.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "ingest/extract/format.h"

/* A format: how its files are named, and the code that reads them. The version rises when its output changes. */
struct format {
	const char *name, *extractor;
	const char *extensions[6], *media[3];
	int (*read)(struct hs_source *s, struct hs_builder *b, struct hs_err *err);
};

static const struct format formats[] = {
	{"text", "text/1", {"txt", "text", "log"}, {"text/plain"}, hs_extract_text},
	{"markdown", "markdown/1", {"md", "markdown", "mkd"}, {"text/markdown"}, hs_extract_markdown},
	{"html", "html/1", {"html", "htm", "xhtml"}, {"text/html", "application/xhtml+xml"}, hs_extract_html},
	{"csv", "csv/1", {"csv", "tsv"}, {"text/csv", "text/tab-separated-values"}, hs_extract_csv},
};

/* Files that are not text, known by their first bytes. */
static const struct {
	const char *what;
	size_t len;
	const char *bytes;
} others[] = {
	{"a PDF", 5, "%PDF-"},
	{"a zip archive or an Office document", 4, "PK\x03\x04"},
	{"an empty zip archive", 4, "PK\x05\x06"},
	{"an old Office document", 8, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"},
	{"a gzip archive", 3, "\x1f\x8b\x08"},
	{"an xz archive", 6, "\xfd" "7zXZ\0"},
	{"a 7-Zip archive", 6, "7z\xbc\xaf\x27\x1c"},
	{"a RAR archive", 6, "Rar!\x1a\x07"},
	{"an RTF document", 5, "{\\rtf"},
	{"a PNG image", 8, "\x89PNG\r\n\x1a\n"},
	{"a JPEG image", 3, "\xff\xd8\xff"},
	{"a GIF image", 4, "GIF8"},
	{"a program", 4, "\x7f" "ELF"},
	{"an SQLite database", 16, "SQLite format 3"},
	{"an age file", 21, "age-encryption.org/v1"},
	{"PostScript", 4, "%!PS"},
};

#define PDF_MAGIC_WITHIN 1024 /* Acrobat's own rule: junk may stand before the header */

bool hs_extract_is_pdf(const uint8_t *head, size_t n)
{
	return memmem(head, HS_MIN(n, (size_t)PDF_MAGIC_WITHIN), "%PDF-", 5) != NULL;
}

static const char *kind_by_magic(const uint8_t *data, size_t n)
{
	for (size_t i = 0; i < HS_ARRAY_LEN(others); i++) {
		if (others[i].len <= n && memcmp(data, others[i].bytes, others[i].len) == 0)
			return others[i].what;
	}
	return NULL;
}

static const char *extension(const char *name)
{
	const char *dot = strrchr(name, '.');
	return dot && !strchr(dot, '/') ? dot + 1 : "";
}

static bool looks_like_html(const uint8_t *data, size_t n)
{
	size_t i = n >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
	while (i < n && strchr(" \t\r\n", data[i]) && data[i])
		i++;
	const char *s = (const char *)data + i;
	return (n - i >= 14 && strncasecmp(s, "<!doctype html", 14) == 0) || (n - i >= 5 && strncasecmp(s, "<html", 5) == 0);
}

/* By the name, then by the declared type, then by the look of it; plain text where nothing says more. */
static const struct format *choose(const struct hs_extract_input *in)
{
	const char *ext = extension(in->name);
	size_t media_len = strcspn(in->media, "; ");
	for (size_t i = 0; i < HS_ARRAY_LEN(formats); i++) {
		for (size_t k = 0; k < HS_ARRAY_LEN(formats[i].extensions) && formats[i].extensions[k]; k++) {
			if (strcasecmp(ext, formats[i].extensions[k]) == 0)
				return i == 0 && looks_like_html(in->data, in->len) ? &formats[2] : &formats[i];
		}
	}
	for (size_t i = 1; i < HS_ARRAY_LEN(formats); i++) {
		for (size_t k = 0; k < HS_ARRAY_LEN(formats[i].media) && formats[i].media[k]; k++) {
			if (strlen(formats[i].media[k]) == media_len && strncasecmp(in->media, formats[i].media[k], media_len) == 0)
				return &formats[i];
		}
	}
	return looks_like_html(in->data, in->len) ? &formats[2] : &formats[0];
}

/* The extension promises something that this program does not read. */
static const char *promised(const char *ext)
{
	static const char *const kinds[][2] = {
		{"pdf", "a PDF"}, {"doc", "Word"}, {"docx", "Word"}, {"xls", "Excel"}, {"xlsx", "Excel"}, {"ppt", "PowerPoint"},
		{"pptx", "PowerPoint"}, {"odt", "OpenDocument"}, {"rtf", "RTF"}, {"jtd", "Ichitaro"}, {"zip", "a zip archive"},
		{"png", "an image"}, {"jpg", "an image"}, {"jpeg", "an image"}, {"gif", "an image"},
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(kinds); i++) {
		if (strcasecmp(ext, kinds[i][0]) == 0)
			return kinds[i][1];
	}
	return NULL;
}

static int check(const struct hs_extract_input *in, struct hs_err *err)
{
	if (in->len > HS_EXTRACT_INPUT_MAX)
		return hs_fail(err, EFBIG, "doc.too_large", hs_document_hint("doc.too_large"), "%s: %zu MiB, at most %u MiB", in->name,
			       in->len >> 20, HS_EXTRACT_INPUT_MAX >> 20);
	if (in->len == 0)
		return hs_fail(err, ENODATA, "doc.empty", hs_document_hint("doc.empty"), "%s", in->name);
	const char *found = kind_by_magic(in->data, in->len), *name_says = promised(extension(in->name));
	if (name_says && strcmp(name_says, "a PDF") == 0 && !(found && strcmp(found, name_says) == 0))
		return hs_fail(err, EINVAL, "doc.type_mismatch", hs_document_hint("doc.type_mismatch"), "%s: the content is %s", in->name,
			       found ? found : "no PDF");
	if (found)
		return hs_fail(err, ENOTSUP, "doc.unsupported", hs_document_hint("doc.unsupported"), "%s: %s", in->name, found);
	if (name_says)
		return hs_fail(err, EINVAL, "doc.type_mismatch", hs_document_hint("doc.type_mismatch"), "%s: the name says %s", in->name,
			       name_says);
	return 0;
}

/* "text/html; charset=Shift_JIS" */
static bool media_charset(const char *media, char ret[static 32])
{
	return hs_html_charset((const uint8_t *)media, strlen(media), ret);
}

int hs_extract_document(const struct hs_extract_input *in, struct hs_document *ret, struct hs_err *err)
{
	int rc = check(in, err);
	if (rc < 0)
		return rc;
	const struct format *format = choose(in);
	char hint[32];
	bool hinted = media_charset(in->media, hint) || (format->read == hs_extract_html && hs_html_charset(in->data, in->len, hint));
	struct hs_source source;
	rc = hs_source_open(&source, in, hinted ? hint : NULL, err);
	if (rc == -EMSGSIZE)
		return hs_fail(err, EFBIG, "doc.too_much_text", hs_document_hint("doc.too_much_text"), "%s", in->name);
	if (rc == -ENOMEM)
		return hs_fail(err, ENOMEM, "doc.extractor_memory", hs_document_hint("doc.extractor_memory"), "%s", in->name);
	if (rc < 0)
		return rc;
	struct hs_builder builder = {0};
	rc = format->read(&source, &builder, err);
	if (rc == 0) {
		rc = hs_builder_finish(&builder, in->name, format->name, source.charset, format->extractor, 0, ret, err);
	} else {
		hs_builder_drop(&builder);
		if (rc == -ENOMEM)
			(void)hs_fail(err, ENOMEM, "doc.extractor_memory", hs_document_hint("doc.extractor_memory"), "%s", in->name);
	}
	hs_source_finish(&source);
	return rc;
}
