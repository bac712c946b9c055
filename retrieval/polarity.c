#include "retrieval/polarity.h"

#include <string.h>

#include "base/macros.h"

#define REACH 8 /* tokens back from a negation to what it denies: 利用 する こと が でき ませ ん */

/* The second says the contrary of the first. */
static const char *const pairs[][2] = {
	{"有料", "無料"},     {"有効", "無効"},	  {"増加", "減少"},   {"増える", "減る"},     {"上昇", "低下"},
	{"上昇", "下落"},     {"上昇", "下降"},	  {"増やす", "減らす"}, {"賛成", "反対"},     {"可決", "否決"},
	{"合格", "不合格"},   {"含む", "除く"},	  {"義務", "任意"},   {"認める", "禁じる"},   {"開始", "終了"},
	{"最大", "最小"},     {"最高", "最低"},	  {"上限", "下限"},   {"勝利", "敗北"},	      {"勝つ", "負ける"},
	{"多い", "少ない"},   {"高い", "低い"},	  {"大きい", "小さい"}, {"長い", "短い"},     {"早い", "遅い"},
	{"成功", "失敗"},     {"黒字", "赤字"},	  {"増収", "減収"},   {"増益", "減益"},	      {"肯定", "否定"},
	{"許可", "禁止"},     {"必要", "不要"},	  {"可能", "不可能"}, {"有利", "不利"},	      {"満たす", "欠く"},
	{"入る", "出る"},     {"採用", "不採用"}, {"公開", "非公開"}, {"一致", "不一致"},     {"安全", "危険"},
};

/* Words that deny what stands before them, besides their own meaning. */
static const char *const deniers[] = {"ない", "無い", "ぬ", "ん", "ず", "まい", "なし", "無し", "不可", "不可能", "禁止", "禁ずる", "禁じる", "外"};
static const char *const denying_prefixes[] = {"非", "未", "不", "無"};

/* Spellings with a negation in them that deny nothing. */
static const char *const idioms[] = {
	"なければならな", "なければなりませ", "なければいけな", "なければいけませ", "なくてはならな", "なくてはなりませ", "なくてはいけな",
	"なくてはいけませ", "ないといけな", "ないといけませ", "ねばならな", "ねばなりませ", "ねばならぬ", "かもしれな", "かもしれませ",
	"に過ぎな", "にすぎな", "に過ぎませ", "にすぎませ", "にほかならな", "に他ならな", "違いな", "違いありませ", "だけでな", "のみならず",
	"ばかりでな", "ざるを得な", "ざるを得ませ", "少なくな", "やむを得な", "にもかかわらず", "関わらず", "かかわらず", "ならびに", "必ず",
	"まず", "思わず", "とりあえず", "つまらな", "間もな", "まもな",
};

uint64_t hs_lemma_hash(const char *s, size_t n)
{
	uint64_t h = 14695981039346656037u;
	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)s[i]) * 1099511628211u;
	return h;
}

static bool is(const struct hs_tokens *t, size_t i, const char *what)
{
	return t->items[i].term_len == strlen(what) && !strncmp(t->terms + t->items[i].term, what, t->items[i].term_len);
}

static bool is_one_of(const struct hs_tokens *t, size_t i, const char *const *words, size_t n)
{
	for (size_t k = 0; k < n; k++)
		if (is(t, i, words[k]))
			return true;
	return false;
}

/* Does an idiom cover the bytes from start to end? */
static bool within_idiom(const char *text, size_t n, size_t start, size_t end)
{
	for (size_t k = 0; k < HS_ARRAY_LEN(idioms); k++) {
		size_t len = strlen(idioms[k]), reach = HS_MIN(len, start);
		for (size_t at = start - reach; at <= start && at + len <= n; at++)
			if (at + len + 3 >= end && !strncmp(text + at, idioms[k], len))
				return true;
	}
	return false;
}

static void pair_up(const struct hs_tokens *t, size_t i, struct hs_word *w)
{
	for (size_t k = 0; k < HS_ARRAY_LEN(pairs); k++) {
		for (int side = 0; side < 2; side++) {
			if (!is(t, i, pairs[k][side]))
				continue;
			w->lemma = hs_lemma_hash(pairs[k][0], strlen(pairs[k][0]));
			w->opposed = true;
			w->negated ^= side == 1;
			return;
		}
	}
}

static const struct {
	const char *text;
	uint32_t modality;
} modalities[] = {
	/* Bounds of a number, which are compared as such. */
	{"超えてはならな", 0},		   {"超えてはなりませ", 0},	   {"超えてはいけ", 0},		   {"下回ってはならな", 0},
	{"下回ってはなりませ", 0},	   {"下回ってはいけ", 0},	   {"超えることはできな", 0},	   {"超えることはできませ", 0},
	{"なければならな", HS_MUST},	   {"なければなりませ", HS_MUST},  {"なければいけ", HS_MUST},	   {"なくてはならな", HS_MUST},
	{"なくてはなりませ", HS_MUST},	   {"ねばならな", HS_MUST},	   {"ねばなりませ", HS_MUST},	   {"必要がある", HS_MUST},
	{"必要があり", HS_MUST},	   {"必要とする", HS_MUST},	   {"必要です", HS_MUST},	   {"必要である", HS_MUST},
	{"を要する", HS_MUST},		   {"を要します", HS_MUST},	   {"義務", HS_MUST},		   {"必要はな", HS_NEED_NOT},
	{"必要がな", HS_NEED_NOT},	   {"必要はありませ", HS_NEED_NOT}, {"必要がありませ", HS_NEED_NOT},
	{"必要ありませ", HS_NEED_NOT},	   {"必要ではな", HS_NEED_NOT},	   {"不要", HS_NEED_NOT},	   {"を要しな", HS_NEED_NOT},
	{"を要しませ", HS_NEED_NOT},	   {"なくてもよ", HS_NEED_NOT},	   {"なくても良", HS_NEED_NOT},	   {"なくてもい", HS_NEED_NOT},
	{"なくてよ", HS_NEED_NOT},	   {"なくても構", HS_NEED_NOT},	   {"なくてもかま", HS_NEED_NOT},  {"義務はな", HS_NEED_NOT},
	{"してもよ", HS_MAY},		   {"しても良", HS_MAY},	   {"してもい", HS_MAY},	   {"ても構", HS_MAY},
	{"てもかま", HS_MAY},		   {"てよい", HS_MAY},		   {"ことができる", HS_MAY},	   {"できます", HS_MAY},
	{"できる", HS_MAY},		   {"可能", HS_MAY},		   {"認められる", HS_MAY},	   {"認められま", HS_MAY},
	{"てはならな", HS_MAY_NOT},	   {"てはなりませ", HS_MAY_NOT},   {"てはいけ", HS_MAY_NOT},	   {"できな", HS_MAY_NOT},
	{"できませ", HS_MAY_NOT},	   {"禁止", HS_MAY_NOT},	   {"禁じ", HS_MAY_NOT},	   {"不可", HS_MAY_NOT},
	{"認められな", HS_MAY_NOT},	   {"認められませ", HS_MAY_NOT},   {"認めな", HS_MAY_NOT},	   {"ことを得な", HS_MAY_NOT},
};

uint32_t hs_modality_find(const char *text, size_t n)
{
	uint32_t found = 0;
	for (size_t i = 0; i < n; i++) {
		if (((unsigned char)text[i] & 0xc0) == 0x80)
			continue;
		size_t best = 0;
		uint32_t what = 0;
		for (size_t k = 0; k < HS_ARRAY_LEN(modalities); k++) {
			size_t len = strlen(modalities[k].text);
			if (len > best && n - i >= len && !strncmp(text + i, modalities[k].text, len)) {
				best = len;
				what = modalities[k].modality;
			}
		}
		found |= what;
		if (best)
			i += best - 1;
	}
	return found;
}

void hs_polarity_mark(const char *text, size_t n, const struct hs_tokens *tokens, struct hs_word *words)
{
	size_t last = SIZE_MAX;
	for (size_t i = 0; i < tokens->count; i++) {
		const struct hs_token *x = &tokens->items[i];
		words[i] = (struct hs_word){.lemma = hs_lemma_hash(tokens->terms + x->term, x->term_len),
					    .token = (uint32_t)i,
					    .content = x->content,
					    .proper = x->proper};
		pair_up(tokens, i, &words[i]);
	}
	for (size_t i = 0; i < tokens->count; i++) {
		const struct hs_token *x = &tokens->items[i];
		if (i + 1 < tokens->count && is_one_of(tokens, i, denying_prefixes, HS_ARRAY_LEN(denying_prefixes)) &&
		    tokens->items[i + 1].content && tokens->items[i + 1].start == x->end) {
			words[i + 1].negated ^= true;
			words[i].content = false;
			continue;
		}
		if (!is_one_of(tokens, i, deniers, HS_ARRAY_LEN(deniers))) {
			if (x->content)
				last = i;
			continue;
		}
		words[i].content = false; /* its meaning goes to what it denies */
		if (within_idiom(text, n, x->start, x->end))
			continue;
		if (last != SIZE_MAX && i - last <= REACH)
			words[last].negated ^= true;
		else
			words[i].content = x->content;
	}
	if (last != SIZE_MAX)
		words[last].main = true;
}
