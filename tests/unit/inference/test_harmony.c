#include "inference/template/harmony.h"

#include <string.h>

#include "tests/unit/test.h"

/* A stream: < and a letter for a mark (start, channel, message, end, return, call, constrain: scmerCj), the rest is text. */
static void follow(const char *stream, const char *wanted, bool ends)
{
	static const char marks[] = "scmerCj";
	struct hs_harmony h = {0};
	char out[256];
	size_t n = 0;
	bool over = false;
	for (const char *s = stream; *s && !over; s++) {
		if (*s == '<') {
			over = hs_harmony_push_mark(&h, (enum hs_harmony_mark)(strchr(marks, *++s) - marks));
		} else if (hs_harmony_push_text(&h, s, 1)) {
			out[n++] = *s;
		}
	}
	out[n] = '\0';
	if (strcmp(out, wanted) != 0 || over != ends)
		fail_msg("%s: \"%s\", %s", stream, out, over ? "over" : "not over");
}

static void test_channels(void **state)
{
	follow("<cfinal<myes<r", "yes", true);
	follow("<cfinal<myes<e", "yes", true);
	follow("<canalysis<mno<e<sassistant<cfinal<myes<r", "yes", true);
	follow("<canalysis<mno<e<sassistant<ccommentary<mno<e<sassistant<cfinal<myes", "yes", false);
	follow("<cfinal <jjson<m{}<r", "{}", true);
	follow("<c final<myes<r", "yes", true);
	follow("<canalysis<mno<e<s assistant<c final <myes<r", "yes", true);
}

static void test_what_stays_hidden(void **state)
{
	follow("words without a channel", "", false);
	follow("<mwords without a channel", "", false);
	follow("<cfinale<mno", "", false);
	follow("<cFINAL<mno", "", false);
	follow("<cother<mno<e", "", false);
	follow("<c   <mno<e", "", false);
	follow("<cfinal.<mno<e", "", false);
	follow("<c<mno<e", "", false);
	follow("<cfinal to=functions.f<mno", "", false);
	follow("<ccommentary to=functions.f <jjson<m{}<C", "", true);
	follow(" to=functions.f<cfinal<mno", "", false);
	follow("<e<efinal<mno", "", false);
	follow("<r", "", true);
}

/* It speaks for the user or the system: the turn is over. */
static void test_other_roles(void **state)
{
	follow("<canalysis<mno<e<suser<mno", "", true);
	follow("<canalysis<mno<e<ssystem<cfinal<mno", "", true);
	follow("<canalysis<mno<e<s<cfinal<mno", "", true);
	follow("x<cfinal<mno", "", true);
}

static void test_long_headers(void **state)
{
	struct hs_harmony h = {0};
	char long_name[HS_HARMONY_HEADER_MAX + 1];
	memset(long_name, 'f', sizeof long_name);
	assert_false(hs_harmony_push_mark(&h, HS_HARMONY_CHANNEL));
	assert_false(hs_harmony_push_text(&h, "final ", 6));
	assert_false(hs_harmony_push_text(&h, long_name, sizeof long_name));
	assert_false(hs_harmony_push_mark(&h, HS_HARMONY_MESSAGE));
	assert_false(hs_harmony_push_text(&h, "no", 2));
	assert_false(hs_harmony_push_mark(&h, HS_HARMONY_START));
	assert_false(hs_harmony_push_text(&h, "assistant", 9));
	assert_false(hs_harmony_push_mark(&h, HS_HARMONY_CHANNEL));
	assert_false(hs_harmony_push_text(&h, "final", 5));
	assert_false(hs_harmony_push_mark(&h, HS_HARMONY_MESSAGE));
	assert_int_equal(h.channel, HS_HARMONY_FINAL);
	assert_true(hs_harmony_push_text(&h, "yes", 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_channels),
	    cmocka_unit_test(test_what_stays_hidden),
	    cmocka_unit_test(test_other_roles),
	    cmocka_unit_test(test_long_headers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
