/*
 * HTML by gumbo, which parses as browsers do. The tree is walked without recursion, since its depth is the document's
 * choice; deep nesting is refused before parsing, because an HTML parser takes quadratic time on it.
 */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include <gumbo.h>

#include "base/utf8.h"
#include "ingest/extract/format.h"

#define DEPTH_MAX 2000
#define CHARSET_LOOK 2048 /* bytes in which a <meta> must stand; the standard asks for 1024 */

bool hs_html_charset(const uint8_t *data, size_t n, char ret[static 32])
{
	const char *s = (const char *)data;
	n = HS_MIN(n, (size_t)CHARSET_LOOK);
	for (size_t i = 0; i + 8 < n; i++) {
		if (strncasecmp(s + i, "charset", 7) != 0)
			continue;
		size_t at = i + 7, len = 0;
		while (at < n && strchr(" \t\r\n", s[at]))
			at++;
		if (at >= n || s[at] != '=')
			continue;
		at++;
		while (at < n && strchr(" \"'", s[at]))
			at++;
		while (at < n && len < 31 && s[at] && !strchr(" \"';/>\r\n\t", s[at]))
			ret[len++] = s[at++];
		ret[len] = '\0';
		return len > 0;
	}
	return false;
}

/* Elements that never nest by themselves: void ones, and those that a browser closes when the next one opens. */
static bool shallow(GumboTag tag)
{
	static const GumboTag tags[] = {
		GUMBO_TAG_AREA, GUMBO_TAG_BASE, GUMBO_TAG_BR, GUMBO_TAG_COL, GUMBO_TAG_EMBED, GUMBO_TAG_HR, GUMBO_TAG_IMG,
		GUMBO_TAG_INPUT, GUMBO_TAG_LINK, GUMBO_TAG_META, GUMBO_TAG_PARAM, GUMBO_TAG_SOURCE, GUMBO_TAG_TRACK, GUMBO_TAG_WBR,
		GUMBO_TAG_P, GUMBO_TAG_LI, GUMBO_TAG_DT, GUMBO_TAG_DD, GUMBO_TAG_TR, GUMBO_TAG_TD, GUMBO_TAG_TH, GUMBO_TAG_TBODY,
		GUMBO_TAG_THEAD, GUMBO_TAG_TFOOT, GUMBO_TAG_COLGROUP, GUMBO_TAG_OPTION, GUMBO_TAG_OPTGROUP, GUMBO_TAG_HTML,
		GUMBO_TAG_HEAD, GUMBO_TAG_BODY,
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(tags); i++) {
		if (tag == tags[i])
			return true;
	}
	return false;
}

/*
 * How deep would the elements nest? Counts open elements by name. A hostile file can still trick this count; then the
 * extractor's limit on processor time ends it.
 */
static bool too_deep(const char *s, size_t n)
{
	uint32_t open[GUMBO_TAG_LAST + 1] = {0};
	size_t depth = 0;
	const char *end = s + n;
	for (const char *p = s; (p = memchr(p, '<', (size_t)(end - p)));) {
		p++;
		bool closing = p < end && *p == '/';
		p += closing;
		const char *name = p;
		while (p < end && ((*p | 0x20) >= 'a' && (*p | 0x20) <= 'z'))
			p++;
		while (p < end && p > name && *p >= '0' && *p <= '9')
			p++;
		if (p == name)
			continue;
		GumboTag tag = p - name < 16 ? gumbo_tagn_enum(name, (unsigned)(p - name)) : GUMBO_TAG_UNKNOWN;
		if (shallow(tag))
			continue;
		if (!closing) {
			open[tag]++;
			if (++depth > DEPTH_MAX)
				return true;
		} else if (open[tag]) {
			open[tag]--;
			depth--;
		}
	}
	return false;
}

struct walk {
	struct hs_source *s;
	struct hs_builder *b;
	struct hs_buf text; /* of the block that is being gathered */
	struct hs_block like;
	size_t start, end;  /* its range in the decoded text */
	bool space;         /* white space was passed and not written yet */
	bool space_break;   /* it held a line end */
	unsigned pre, list, row, head, skip; /* open elements of these kinds */
	bool header_row;
	size_t cells;
};

static void fail(struct walk *w, int rc)
{
	if (rc < 0 && w->b->failed == 0)
		w->b->failed = rc;
}

static void flush(struct walk *w)
{
	if (w->text.len) {
		hs_source_range(w->s, w->start, w->end, &w->like.src_start, &w->like.src_end);
		hs_builder_add(w->b, &w->like, (const char *)w->text.data, w->text.len);
		w->text.len = 0;
	}
	w->space = w->space_break = false;
	w->like = (struct hs_block){.kind = w->pre ? HS_BLOCK_CODE : w->list ? HS_BLOCK_LIST_ITEM : HS_BLOCK_PARAGRAPH,
				    .level = w->list ? w->list - 1 : 0};
}

static uint32_t last_char(const struct hs_buf *b)
{
	uint32_t cp = 0;
	size_t at = b->len ? hs_utf8_cut((const char *)b->data, b->len - 1) : 0;
	(void)hs_utf8_decode((const char *)b->data + at, b->len - at, &cp); /* 0 where there is none */
	return cp;
}

/* Text with white space collapsed; a line end between two characters of Japanese is nothing. */
static void put_text(struct walk *w, const char *s, size_t n)
{
	for (size_t i = 0; i < n && w->b->failed == 0;) {
		uint32_t cp = 0;
		size_t len = hs_utf8_decode(s + i, n - i, &cp);
		if (len == 0) {
			i++;
			continue;
		}
		if (w->pre) {
			fail(w, hs_buf_append(&w->text, s + i, len));
		} else if (cp == ' ' || (cp >= '\t' && cp <= '\r')) {
			w->space = true;
			w->space_break = w->space_break || cp == '\n' || cp == '\r';
		} else {
			if (w->space && w->text.len && w->text.data[w->text.len - 1] != '\n' && w->text.data[w->text.len - 1] != '\t' &&
			    !(w->space_break && hs_wide_char(last_char(&w->text)) && hs_wide_char(cp)))
				fail(w, hs_buf_append_byte(&w->text, ' '));
			w->space = w->space_break = false;
			fail(w, hs_buf_append(&w->text, s + i, len));
		}
		i += len;
	}
}

static void take_text(struct walk *w, const GumboNode *node)
{
	const GumboText *t = &node->v.text;
	size_t at = t->start_pos.offset, len = t->original_text.length;
	if (w->skip || w->head)
		return;
	if (w->text.len == 0)
		w->start = at;
	w->end = HS_MIN(at + len, w->s->text.len);
	w->start = HS_MIN(w->start, w->end);
	put_text(w, t->text, strlen(t->text));
}

static bool is_block(GumboTag tag)
{
	static const GumboTag tags[] = {
		GUMBO_TAG_P, GUMBO_TAG_DIV, GUMBO_TAG_SECTION, GUMBO_TAG_ARTICLE, GUMBO_TAG_ASIDE, GUMBO_TAG_HEADER, GUMBO_TAG_FOOTER,
		GUMBO_TAG_NAV, GUMBO_TAG_MAIN, GUMBO_TAG_BLOCKQUOTE, GUMBO_TAG_ADDRESS, GUMBO_TAG_FIGURE, GUMBO_TAG_FIGCAPTION,
		GUMBO_TAG_FORM, GUMBO_TAG_FIELDSET, GUMBO_TAG_LEGEND, GUMBO_TAG_CENTER, GUMBO_TAG_TABLE, GUMBO_TAG_CAPTION,
		GUMBO_TAG_UL, GUMBO_TAG_OL, GUMBO_TAG_DL, GUMBO_TAG_LI, GUMBO_TAG_DT, GUMBO_TAG_DD, GUMBO_TAG_TR, GUMBO_TAG_PRE,
		GUMBO_TAG_H1, GUMBO_TAG_H2, GUMBO_TAG_H3, GUMBO_TAG_H4, GUMBO_TAG_H5, GUMBO_TAG_H6, GUMBO_TAG_HR, GUMBO_TAG_BODY,
		GUMBO_TAG_SUMMARY, GUMBO_TAG_DETAILS, GUMBO_TAG_OPTION,
	};
	for (size_t i = 0; i < HS_ARRAY_LEN(tags); i++) {
		if (tag == tags[i])
			return true;
	}
	return false;
}

/* style="display: none", with any spaces */
static bool style_hides(const char *style)
{
	char squeezed[256];
	size_t n = 0;
	for (; *style && n + 1 < sizeof squeezed; style++) {
		if (*style != ' ' && *style != '\t' && *style != '\n')
			squeezed[n++] = (char)((*style >= 'A' && *style <= 'Z') ? *style | 0x20 : *style);
	}
	squeezed[n] = '\0';
	return strstr(squeezed, "display:none") || strstr(squeezed, "visibility:hidden");
}

/* What a reader of the page does not see must not be cited to them, nor whispered to a model. */
static bool is_hidden(const GumboElement *e)
{
	const GumboAttribute *style = gumbo_get_attribute(&e->attributes, "style");
	return gumbo_get_attribute(&e->attributes, "hidden") || (style && style_hides(style->value));
}

static bool is_skipped(const GumboElement *e)
{
	GumboTag tag = e->tag;
	if (is_hidden(e))
		return true;
	return tag == GUMBO_TAG_SCRIPT || tag == GUMBO_TAG_STYLE || tag == GUMBO_TAG_NOSCRIPT || tag == GUMBO_TAG_TEMPLATE ||
	       tag == GUMBO_TAG_IFRAME || tag == GUMBO_TAG_OBJECT || tag == GUMBO_TAG_SVG || tag == GUMBO_TAG_MATH ||
	       tag == GUMBO_TAG_TEXTAREA || tag == GUMBO_TAG_SELECT || tag == GUMBO_TAG_RP || tag == GUMBO_TAG_RT;
}

static void open_row(struct walk *w, const GumboNode *node)
{
	const GumboElement *e = &node->v.element;
	const GumboNode *parent = node->parent;
	w->row++;
	w->cells = 0;
	size_t heads = 0, datas = 0;
	for (unsigned i = 0; i < e->children.length; i++) {
		const GumboNode *child = e->children.data[i];
		heads += child->type == GUMBO_NODE_ELEMENT && child->v.element.tag == GUMBO_TAG_TH;
		datas += child->type == GUMBO_NODE_ELEMENT && child->v.element.tag == GUMBO_TAG_TD;
	}
	bool in_head = parent && parent->type == GUMBO_NODE_ELEMENT && parent->v.element.tag == GUMBO_TAG_THEAD;
	w->header_row = in_head || (heads > 0 && datas == 0);
}

static void open_element(struct walk *w, const GumboNode *node)
{
	const GumboElement *e = &node->v.element;
	GumboTag tag = e->tag;
	w->skip += is_skipped(e);
	w->head += tag == GUMBO_TAG_HEAD;
	if (tag == GUMBO_TAG_TITLE && w->head && e->children.length) {
		const GumboNode *child = e->children.data[0];
		if (child->type == GUMBO_NODE_TEXT)
			hs_builder_title(w->b, child->v.text.text, strlen(child->v.text.text));
	}
	if (w->skip || w->head)
		return;
	if (w->row && tag != GUMBO_TAG_TR && tag != GUMBO_TAG_TABLE) { /* in a row all is one line, but for a table in a cell */
		if (tag == GUMBO_TAG_TD || tag == GUMBO_TAG_TH) {
			if (w->cells++)
				fail(w, hs_buf_append_byte(&w->text, '\t'));
			w->space = false;
		} else if (is_block(tag) || tag == GUMBO_TAG_BR) {
			w->space = true;
		}
		return;
	}
	if (tag == GUMBO_TAG_BR) {
		if (w->text.len)
			fail(w, hs_buf_append_byte(&w->text, '\n'));
		w->space = false;
		return;
	}
	if (!is_block(tag))
		return;
	w->pre += tag == GUMBO_TAG_PRE;
	w->list += tag == GUMBO_TAG_UL || tag == GUMBO_TAG_OL || tag == GUMBO_TAG_DL;
	flush(w);
	if (tag >= GUMBO_TAG_H1 && tag <= GUMBO_TAG_H6)
		w->like = (struct hs_block){.kind = HS_BLOCK_HEADING, .level = (uint32_t)(tag - GUMBO_TAG_H1) + 1};
	if (tag == GUMBO_TAG_DD)
		w->like.level = w->list;
	if (tag == GUMBO_TAG_TR) {
		open_row(w, node);
		w->like = (struct hs_block){.kind = w->header_row ? HS_BLOCK_TABLE_HEADER : HS_BLOCK_TABLE_ROW};
	}
}

static void close_element(struct walk *w, const GumboNode *node)
{
	GumboTag tag = node->v.element.tag;
	bool hidden = w->skip || w->head;
	w->skip -= is_skipped(&node->v.element);
	w->head -= tag == GUMBO_TAG_HEAD;
	if (hidden)
		return;
	bool inside = w->row && tag != GUMBO_TAG_TR && tag != GUMBO_TAG_TABLE;
	if (inside || !is_block(tag)) {
		w->space = w->space || (inside && is_block(tag));
		return;
	}
	w->pre -= tag == GUMBO_TAG_PRE;
	w->list -= tag == GUMBO_TAG_UL || tag == GUMBO_TAG_OL || tag == GUMBO_TAG_DL;
	w->row -= tag == GUMBO_TAG_TR;
	flush(w);
}

static const GumboVector *children_of(const GumboNode *node)
{
	if (node->type == GUMBO_NODE_DOCUMENT)
		return &node->v.document.children;
	if (node->type == GUMBO_NODE_ELEMENT || node->type == GUMBO_NODE_TEMPLATE)
		return &node->v.element.children;
	return NULL;
}

static void enter(struct walk *w, const GumboNode *node)
{
	if (node->type == GUMBO_NODE_ELEMENT || node->type == GUMBO_NODE_TEMPLATE)
		open_element(w, node);
	else if (node->type == GUMBO_NODE_TEXT || node->type == GUMBO_NODE_WHITESPACE || node->type == GUMBO_NODE_CDATA)
		take_text(w, node);
}

static void leave(struct walk *w, const GumboNode *node)
{
	if (node->type == GUMBO_NODE_ELEMENT || node->type == GUMBO_NODE_TEMPLATE)
		close_element(w, node);
}

/* Depth first by the nodes' own parents: constant memory at any depth. */
static void walk_tree(struct walk *w, const GumboNode *root)
{
	const GumboNode *node = root;
	enter(w, node);
	for (;;) {
		const GumboVector *children = children_of(node);
		if (children && children->length) {
			node = children->data[0];
			enter(w, node);
			continue;
		}
		for (;;) {
			leave(w, node);
			if (node == root)
				return;
			const GumboNode *parent = node->parent;
			const GumboVector *siblings = children_of(parent);
			size_t next = node->index_within_parent + 1;
			if (next < siblings->length) {
				node = siblings->data[next];
				enter(w, node);
				break;
			}
			node = parent;
		}
	}
}

static const GumboNode *next_in_order(const GumboNode *root, const GumboNode *node)
{
	const GumboVector *children = children_of(node);
	if (children && children->length)
		return children->data[0];
	while (node != root) {
		const GumboVector *siblings = children_of(node->parent);
		if (node->index_within_parent + 1 < siblings->length)
			return siblings->data[node->index_within_parent + 1];
		node = node->parent;
	}
	return NULL;
}

/*
 * gumbo frees its tree by recursion, which a deep one turns into a stack overflow: hang every node under the root first.
 * Where there is no memory for that the tree is leaked, as the process ends soon.
 */
static void destroy_tree(GumboOptions *options, GumboOutput *tree)
{
	GumboNode *root = tree->root;
	size_t count = 0;
	for (const GumboNode *node = root; node; node = next_in_order(root, node))
		count++;
	void **all = malloc(count * sizeof *all); /* gumbo's default allocator is malloc, too: it frees this array */
	if (!all)
		return;
	size_t i = 0;
	for (const GumboNode *node = next_in_order(root, root); node; node = next_in_order(root, node))
		all[i++] = (void *)node;
	for (size_t k = 0; k < i; k++) {
		GumboVector *children = (GumboVector *)children_of(all[k]);
		if (children)
			children->length = 0;
	}
	GumboVector *top = (GumboVector *)children_of(root);
	free(top->data);
	*top = (GumboVector){.data = all, .length = (unsigned)i, .capacity = (unsigned)count};
	gumbo_destroy_output(options, tree);
}

int hs_extract_html(struct hs_source *s, struct hs_builder *b, struct hs_err *err)
{
	const char *text = (const char *)s->text.data;
	if (too_deep(text, s->text.len))
		return hs_fail(err, EINVAL, "doc.too_deep", hs_document_hint("doc.too_deep"), "%s: more than %d elements", s->in->name,
			       DEPTH_MAX);
	GumboOptions options = kGumboDefaultOptions;
	options.max_errors = 0;
	GumboOutput *tree = gumbo_parse_with_options(&options, text, s->text.len);
	if (!tree)
		return -ENOMEM;
	struct walk w = {.s = s, .b = b};
	walk_tree(&w, tree->root);
	flush(&w);
	hs_buf_finish(&w.text);
	destroy_tree(&options, tree);
	return 0;
}
