#include "daemon/tenant/prompt.h"

#include <errno.h>
#include <string.h>

/* A model that must repeat the question's words reads the passages better than one that may answer in a word: docs/answers.md. */
static const char instructions[] =
	"あなたは社内文書にもとづいて質問に答える秘書です。必ず資料に書かれていることだけを使い、資料の言葉のまま、"
	"「(質問の主語)は(答え)です。」の形で、質問の言葉をくり返した完全な一文で答えてください。"
	"資料に答えがないときは「資料には記載がありません」とだけ答えてください。";

static const char in_json[] =
	"\n答えは次のスキーマのJSONで書き、値には資料の文をそのまま使ってください。資料にない値はnullか空にしてください。スキーマ: ";

/* Segments before the first passage. */
#define BEFORE_PASSAGES 2

uint32_t hs_prompt_segment_of(uint32_t passage, uint32_t n)
{
	return BEFORE_PASSAGES + n - 1 - passage;
}

static struct hs_slice slice(const char *s)
{
	return (struct hs_slice){s, strlen(s)};
}

static bool passage_text(struct hs_arena *arena, const struct hs_prompt_passage *p, struct hs_slice *ret)
{
	size_t title = strlen(p->title), context = strlen(p->context);
	size_t cap = title + context + p->len + 16;
	char *text = hs_arena_alloc(arena, cap);
	if (!text)
		return false;
	int n = snprintf(text, cap, "■%s%s%s\n%.*s\n", p->title, context ? " " : "", p->context, (int)p->len, p->text);
	*ret = (struct hs_slice){text, (size_t)n};
	return true;
}

int hs_prompt_build(struct hs_arena *arena, const struct hs_chat_request *request, const struct hs_prompt_passage *passages,
		    uint32_t n, struct hs_msg_generate *ret)
{
	hs_assert(n <= HS_PROMPT_PASSAGES_MAX);
	*ret = (struct hs_msg_generate){.form = request->schema ? HS_FORM_SCHEMA : HS_FORM_CITES,
					.schema = slice(request->schema ? request->schema : ""),
					.max_tokens = request->max_tokens, .temperature = request->temperature,
					.top_p = request->top_p, .seed = request->seed};
	struct hs_segment *s = ret->segments;
	*s++ = (struct hs_segment){HS_SEGMENT_SYSTEM, HS_SEGMENT_INSTRUCTION, HS_CACHE_TEMPLATE, 0, slice(instructions)};
	*s++ = (struct hs_segment){HS_SEGMENT_USER, HS_SEGMENT_INSTRUCTION, HS_CACHE_TEMPLATE, 0, slice("資料:\n")};
	for (uint32_t i = n; i-- > 0;) { /* what stands nearest to the question is read best */
		struct hs_slice text;
		if (!passage_text(arena, &passages[i], &text))
			return -ENOMEM;
		*s++ = (struct hs_segment){HS_SEGMENT_USER, HS_SEGMENT_DATA, HS_CACHE_USER, (uint8_t)(i + 1), text};
	}
	if (*request->style) {
		*s++ = (struct hs_segment){HS_SEGMENT_USER, HS_SEGMENT_INSTRUCTION, HS_CACHE_NONE, 200, slice("\n文体の希望: ")};
		*s++ = (struct hs_segment){HS_SEGMENT_USER, HS_SEGMENT_DATA, HS_CACHE_NONE, 200, slice(request->style)};
	}
	if (request->schema) {
		*s++ = (struct hs_segment){HS_SEGMENT_USER, HS_SEGMENT_INSTRUCTION, HS_CACHE_NONE, 100, slice(in_json)};
		*s++ = (struct hs_segment){HS_SEGMENT_USER, HS_SEGMENT_DATA, HS_CACHE_NONE, 100, slice(request->schema)};
	}
	*s++ = (struct hs_segment){HS_SEGMENT_USER, HS_SEGMENT_INSTRUCTION, HS_CACHE_NONE, 0, slice("\n質問: ")};
	*s++ = (struct hs_segment){HS_SEGMENT_USER, HS_SEGMENT_DATA, HS_CACHE_NONE, 0, slice(request->question)};
	ret->n_segments = (uint32_t)(s - ret->segments);
	return 0;
}
