#include "crypto/payload.h"

#include <errno.h>
#include <string.h>

#include "base/utf8.h"
#include "base/wire.h"

static const uint8_t magic[4] = {'H', 'S', 'p', 'l'};
#define VERSION 1

int hs_payload_put_header(struct hs_buf *out, const struct hs_payload *p)
{
	if (p->name_len > HS_PAYLOAD_NAME_MAX || p->title_len > HS_PAYLOAD_TITLE_MAX || p->media_len > HS_PAYLOAD_MEDIA_MAX ||
	    p->content_len > HS_PAYLOAD_CONTENT_MAX)
		return -EMSGSIZE;
	if (hs_buf_append(out, magic, sizeof magic) || hs_put_u16(out, VERSION) || hs_put_u16(out, 0) ||
	    hs_put_str(out, p->name, p->name_len) || hs_put_str(out, p->title, p->title_len) ||
	    hs_put_str(out, p->media, p->media_len) || hs_put_u64(out, p->content_len))
		return -ENOMEM;
	return 0;
}

static int refuse(struct hs_err *err, const char *field)
{
	return hs_fail(err, EPROTO, "submission.payload",
		       HS_N_("What was sealed is not a document of this format. Seal it again with this version of hisho."), "%s", field);
}

int hs_payload_parse(const void *data, size_t len, struct hs_payload *ret, struct hs_err *err)
{
	struct hs_payload p;
	struct hs_wire w = hs_wire_over(data, len);
	const uint8_t *start = hs_wire_bytes(&w, sizeof magic);
	for (size_t i = 0; i < sizeof magic; i++) {
		if (!start || start[i] != magic[i])
			return refuse(err, "magic");
	}
	if (hs_wire_u16(&w) != VERSION || hs_wire_u16(&w) != 0)
		return refuse(err, "version");
	p.name = hs_wire_str(&w, HS_PAYLOAD_NAME_MAX, &p.name_len);
	if (w.failed || p.name_len == 0 || !hs_utf8_valid(p.name, p.name_len, NULL) || memchr(p.name, '\0', p.name_len))
		return refuse(err, "name");
	p.title = hs_wire_str(&w, HS_PAYLOAD_TITLE_MAX, &p.title_len);
	if (w.failed || !hs_utf8_valid(p.title, p.title_len, NULL))
		return refuse(err, "title");
	p.media = hs_wire_str(&w, HS_PAYLOAD_MEDIA_MAX, &p.media_len);
	if (w.failed || !hs_utf8_valid(p.media, p.media_len, NULL))
		return refuse(err, "media type");
	p.content_len = hs_wire_u64(&w);
	if (w.failed || p.content_len > HS_PAYLOAD_CONTENT_MAX || p.content_len != w.len - w.at)
		return refuse(err, "content length");
	p.content = hs_wire_bytes(&w, p.content_len);
	*ret = p;
	return 0;
}
