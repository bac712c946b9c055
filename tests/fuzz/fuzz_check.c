/*
 * The check of an answer: question, sentence and passages are anyone's text; the cited range must be whole characters of a
 * passage.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/utf8.h"
#include "retrieval/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The next part, up to a zero byte. */
static const char *part(const uint8_t **data, size_t *size, size_t *ret_len)
{
	const char *s = (const char *)*data;
	const uint8_t *end = memchr(*data, 0, *size);
	*ret_len = end ? (size_t)(end - *data) : *size;
	size_t used = *ret_len + (end != NULL);
	*data += used;
	*size -= used;
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct hs_analyzer *analyzer;
	struct hs_check_passage passages[4] = {0};
	struct hs_check *c;
	struct hs_check_result r;
	size_t question_len, n = 0, len;
	if (!analyzer && hs_analyzer_create(HS_DICT_DIR_DEFAULT, &analyzer, NULL))
		abort();
	const char *question = part(&data, &size, &question_len);
	const char *sentence = part(&data, &size, &len);
	for (; n < 4 && size; n++) {
		passages[n].text = part(&data, &size, &passages[n].len);
		passages[n].context = part(&data, &size, &passages[n].context_len);
	}
	if (hs_check_create(analyzer, question, question_len, passages, n, &c))
		return 0;
	if (!hs_check_sentence(c, sentence, len, &r) && r.why == HS_CHECK_SUPPORTED) {
		const struct hs_check_passage *p = &passages[r.passage];
		hs_assert(r.passage < n && r.start < r.end && r.end <= p->len);
		hs_assert(hs_utf8_valid(p->text + r.start, r.end - r.start, NULL) && r.overlap >= 0 && r.overlap <= 1.001f);
	}
	hs_check_destroy(c);
	return 0;
}
