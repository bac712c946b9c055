#include "base/err.h"

#include <libintl.h>
#include <stdarg.h>
#include <string.h>

#include "base/utf8.h"

static void make_printable(char *s)
{
	for (; *s; s++) {
		if ((unsigned char)*s < 0x20 || (unsigned char)*s == 0x7f)
			*s = '?';
	}
}

int hs_fail(struct hs_err *err, int num, const char *code, const char *hint, const char *object_fmt, ...)
{
	if (!err)
		return -num;
	err->num = num;
	err->hint = hint ? hint : "";
	(void)snprintf(err->code, sizeof err->code, "%s", code); /* codes are ours and short */
	va_list args;
	va_start(args, object_fmt);
	int n = vsnprintf(err->object, sizeof err->object, object_fmt, args);
	va_end(args);
	if (n >= (int)sizeof err->object)
		err->object[hs_utf8_cut(err->object, sizeof err->object - 1)] = '\0';
	make_printable(err->object);
	return -num;
}

int hs_fail_errno(struct hs_err *err, int rc, const char *code, const char *object)
{
	if (err && !err->num)
		(void)hs_fail(err, -rc, code, "", "%s (%s)", object, strerror(-rc));
	return rc;
}

const char *hs_err_text(const struct hs_err *err, char *buf, size_t len)
{
	const char *hint = err->hint && *err->hint ? gettext(err->hint) : "";
	(void)snprintf(buf, len, "%s%s%s%s%s", err->code, *err->object ? ": " : "", err->object, *hint ? ": " : "", hint);
	return buf;
}
