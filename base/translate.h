/*
 * Sentences in the language of whoever asked. One server speaks to readers of several languages at once, in processes that see
 * no file: so the catalogue of po/ja.po is part of the program, and the language is an argument and no process-wide setting.
 * A client's program uses gettext, as ever.
 */
#ifndef HISHO_BASE_TRANSLATE_H
#define HISHO_BASE_TRANSLATE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Whether a reader with this Accept-Language (RFC 9110, 12.5.4; need not be terminated) is to be told in Japanese: it is wanted
 * at least, and not less than English; where both are wanted alike the first named wins.
 */
bool hs_wants_japanese(const char *accept_language, size_t len);

/* The Japanese of a msgid where it is wanted and there, else the msgid itself. What is returned lives as long as msgid. */
const char *hs_translate(const char *msgid, bool japanese);

#endif
