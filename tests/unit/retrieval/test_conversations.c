/* Conversations: each person's own, within limits, and nothing shown that its reader may not read today. */
#include "retrieval/conversations.h"

#include "tests/unit/retrieval/fixture.h"

static const char notice[] = "就業時間は午前9時から午後5時30分までとする。休憩は1時間とする。";
static const char pay[] = "賞与は年2回支給する。";

struct asked { /* a conversation of one question and its answer of two sentences, of two documents */
	struct hs_id conversation, question, answer, notice, pay, notice_version, pay_version;
};

static struct hs_id user_id(struct fixture *f, const char *name)
{
	struct hs_user u;

	must(hs_user_find(hs_store_db(f->store), name, &u, err));
	return u.id;
}

static struct hs_id version_of(struct fixture *f, const struct hs_id *document)
{
	struct hs_document_row row;

	must(hs_store_admin_find(f->reader, document->s, &row, err));
	return row.version;
}

static int ask(struct fixture *f, const char *user, struct hs_id *conversation, bool fresh, const char *text, struct hs_err *err)
{
	struct hs_id id = user_id(f, user);
	struct hs_asked q = {.user = id.s,
			     .conversation = *conversation,
			     .message = hs_id_new("msg_"),
			     .fresh = fresh,
			     .text = text,
			     .len = strlen(text),
			     .now_ms = T0};
	struct hs_err foretold = HS_ERR_INIT;
	int fits = hs_conversation_fits(f->reader, &q, &foretold);
	int rc = hs_store_begin(f->store, err);

	if (rc == 0)
		rc = hs_conversation_ask(f->store, &q, err);
	assert_int_equal(fits, rc); /* what a reader foretells comes true */
	if (rc < 0)
		assert_string_equal(foretold.code, err->code);
	if (rc == 0)
		return hs_store_commit(f->store, err);
	hs_store_rollback(f->store);
	return rc;
}

#define FIRST "休憩は1時間です。[1]"
#define SECOND "賞与は年2回です。[2]"

static struct asked converse(struct fixture *f, const char *user)
{
	struct hs_id id = user_id(f, user);
	struct asked a = {.conversation = hs_id_new("cnv_"), .answer = hs_id_new("msg_")};

	a.notice = fixture_put(f, f->notices, "就業規則", notice);
	a.pay = fixture_put(f, f->pay, "給与規程", pay);
	a.notice_version = version_of(f, &a.notice);
	a.pay_version = version_of(f, &a.pay);
	must(ask(f, user, &a.conversation, true, "休憩と賞与について教えてください\n二行目", err));
	uint32_t rest = (uint32_t)(strstr(notice, "休憩") - notice);
	const struct hs_sentence_source sentences[] = {{.number = 1,
							.at = 0,
							.to = sizeof(FIRST) - 1,
							.document = a.notice.s,
							.version = a.notice_version.s,
							.start = rest,
							.end = sizeof(notice) - 1},
						       {.number = 2,
							.at = sizeof(FIRST),
							.to = sizeof(FIRST "\n" SECOND) - 1,
							.document = a.pay.s,
							.version = a.pay_version.s,
							.start = 0,
							.end = sizeof(pay) - 1,
							.page = 3}};
	struct hs_answered answer = {.user = id.s,
				     .conversation = a.conversation,
				     .message = a.answer,
				     .text = FIRST "\n" SECOND,
				     .len = sizeof(FIRST "\n" SECOND) - 1,
				     .sentences = sentences,
				     .n_sentences = 2,
				     .request = "ans_x",
				     .model = "m",
				     .outcome = 1,
				     .now_ms = T0 + 1};

	must(hs_store_begin(f->store, err));
	must(hs_conversation_answer(f->store, &answer, err));
	must(hs_store_commit(f->store, err));
	return a;
}

struct seen {
	size_t questions, answers, sentences, withheld;
	char text[1024], titles[256], quotes[256];
	int feedback;
};

static int see(void *ctx, const struct hs_shown_message *m)
{
	struct seen *s = ctx;

	s->questions += m->role == HS_MESSAGE_QUESTION;
	s->answers += m->role == HS_MESSAGE_ANSWER;
	s->feedback += m->feedback;
	strncat(s->text, m->text, sizeof(s->text) - strlen(s->text) - 1);
	for (size_t i = 0; i < m->n_sentences; i++) {
		const struct hs_shown_sentence *c = &m->sentences[i];

		s->sentences++;
		if (c->withheld) {
			s->withheld++;
			assert_null(c->text);
			assert_null(c->document);
			assert_null(c->title);
			assert_null(c->quote);
			continue;
		}
		strncat(s->text, c->text, HS_MIN(c->len, sizeof(s->text) - strlen(s->text) - 1));
		strncat(s->titles, c->title, sizeof(s->titles) - strlen(s->titles) - 1);
		if (c->quote)
			strncat(s->quotes, c->quote, HS_MIN(c->quote_len, sizeof(s->quotes) - strlen(s->quotes) - 1));
	}
	return 0;
}

static int open_as(struct fixture *f, const char *user, const struct hs_id *conversation, struct seen *s, struct hs_err *err)
{
	struct hs_grant *g = fixture_grant(f, user, T0);
	bool more;
	int rc;

	*s = (struct seen){0};
	rc = hs_conversation_open(f->reader, g, T0, conversation->s, "", 32, see, s, &more, err);
	hs_grant_destroy(g);
	return rc;
}

static int count_row(void *ctx, const struct hs_conversation_row *row)
{
	++*(size_t *)ctx;
	return 0;
}

static size_t listed(struct fixture *f, const char *user)
{
	struct hs_grant *g = fixture_grant(f, user, T0);
	size_t n = 0;

	must(hs_conversation_list(f->reader, g, "", 100, count_row, &n, err));
	hs_grant_destroy(g);
	return n;
}

static int64_t rows(struct fixture *f, const char *sql)
{
	sqlite3_stmt *st;
	int64_t n;

	assert_int_equal(sqlite3_prepare_v2(hs_store_db(f->store), sql, -1, &st, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(st), SQLITE_ROW);
	n = sqlite3_column_int64(st, 0);
	(void)sqlite3_finalize(st);
	return n;
}

static void test_what_was_said_is_read_back_by_its_person(void **state)
{
	struct fixture *f = *state;
	struct seen s;
	struct hs_conversation_row row;

	SKIP_WITHOUT_DICTIONARY(f);
	struct asked a = converse(f, "sato");

	must(open_as(f, "sato", &a.conversation, &s, err));
	assert_int_equal(s.questions, 1);
	assert_int_equal(s.answers, 1);
	assert_int_equal(s.sentences, 2);
	assert_int_equal(s.withheld, 0);
	assert_string_equal(s.text, "休憩と賞与について教えてください\n二行目" FIRST SECOND);
	assert_string_equal(s.titles, "就業規則給与規程");
	assert_string_equal(s.quotes, "休憩は1時間とする。賞与は年2回支給する。");

	struct hs_grant *g = fixture_grant(f, "sato", T0);

	must(hs_conversation_find(f->reader, g, a.conversation.s, &row, err));
	hs_grant_destroy(g);
	assert_string_equal(row.title, "休憩と賞与について教えてください");
	assert_int_equal(row.n_messages, 2);
	assert_int_equal(row.updated, T0 + 1);
	assert_int_equal(listed(f, "sato"), 1);
}

static void test_another_persons_is_like_one_that_never_was(void **state)
{
	struct fixture *f = *state;
	struct hs_id none = hs_id_new("cnv_");
	struct hs_err foreign = HS_ERR_INIT, missing = HS_ERR_INIT;
	struct seen s;

	SKIP_WITHOUT_DICTIONARY(f);
	struct asked a = converse(f, "sato");

	assert_int_equal(open_as(f, "tanaka", &a.conversation, &s, &foreign), -ENOENT);
	assert_int_equal(open_as(f, "tanaka", &none, &s, &missing), -ENOENT);
	assert_string_equal(foreign.code, missing.code);
	assert_int_equal(listed(f, "tanaka"), 0);

	foreign = HS_ERR_INIT;
	assert_int_equal(ask(f, "tanaka", &a.conversation, false, "続き", &foreign), -ENOENT);
	assert_string_equal(foreign.code, "conversation.unknown");

	struct hs_id tanaka = user_id(f, "tanaka");
	struct hs_feedback good = {.value = 1, .reason = "", .comment = ""};
	struct hs_grant *g = fixture_grant(f, "tanaka", T0);
	HS_BUF_AUTO last = HS_BUF_INIT;

	must(hs_store_begin(f->store, err));
	assert_int_equal(hs_conversation_delete(f->store, tanaka.s, a.conversation.s, NULL), -ENOENT);
	assert_int_equal(hs_conversation_feedback(f->store, tanaka.s, a.answer.s, &good, T0, NULL), -ENOENT);
	hs_store_rollback(f->store);
	assert_int_equal(hs_conversation_last_question(f->reader, g, a.conversation.s, &last, NULL), -ENOENT);
	assert_int_equal(last.len, 0);
	hs_grant_destroy(g);
	assert_int_equal(rows(f, "SELECT count(*) FROM messages"), 2);
}

/* Forbidden, deleted, purged: the sentence is withheld, and the three look alike. */
static void test_a_sentence_is_withheld_like_a_missing_one(void **state)
{
	struct fixture *f = *state;
	struct seen forbidden, deleted, purged;
	static const char without_hr[] =
	    "version: 1\n"
	    "collections: [全社, 営業, 人事]\n"
	    "users: [{name: sato}, {name: suzuki}, {name: tanaka}]\n"
	    "rules:\n"
	    "  - {id: all, allow: [ask, download], who: {everyone: true}, collections: [全社], level: {up_to: 極秘}}\n";

	SKIP_WITHOUT_DICTIONARY(f);
	struct asked a = converse(f, "sato");

	must(hs_store_begin(f->store, err));
	fixture_policy_apply(f, without_hr);
	must(hs_store_commit(f->store, err));
	must(open_as(f, "sato", &a.conversation, &forbidden, err));
	assert_int_equal(forbidden.sentences, 2);
	assert_int_equal(forbidden.withheld, 1);
	assert_non_null(strstr(forbidden.text, FIRST));
	assert_null(strstr(forbidden.text, "賞与は"));

	must(hs_store_begin(f->store, err));
	fixture_policy_apply(f, fixture_policy);
	must(hs_store_commit(f->store, err));
	must(open_as(f, "sato", &a.conversation, &deleted, err));
	assert_int_equal(deleted.withheld, 0); /* allowed again */

	fixture_delete(f, &a.pay);
	must(open_as(f, "sato", &a.conversation, &deleted, err));
	assert_memory_equal(&deleted, &forbidden, sizeof(deleted));

	must(hs_store_purge(f->store, T0 - 1, NULL, NULL, err));
	must(open_as(f, "sato", &a.conversation, &purged, err));
	assert_memory_equal(&purged, &forbidden, sizeof(purged));
	/* And its words are gone from the answer's row, the other sentence's are not. */
	assert_int_equal(rows(f, "SELECT count(*) FROM messages WHERE text LIKE '%賞与は年2回%'"), 0);
	assert_int_equal(rows(f, "SELECT count(*) FROM messages WHERE text LIKE '%休憩は1時間%'"), 1);
	assert_int_equal(rows(f, "SELECT count(*) FROM citations"), 2);
}

static void test_an_expired_document_is_withheld_at_its_instant(void **state)
{
	struct fixture *f = *state;
	struct seen s;

	SKIP_WITHOUT_DICTIONARY(f);
	struct asked a = converse(f, "sato");

	must(hs_store_begin(f->store, err));
	must(hs_store_set_expiry(f->store, &a.pay, T0, err));
	must(hs_store_commit(f->store, err));
	must(open_as(f, "sato", &a.conversation, &s, err));
	assert_int_equal(s.withheld, 1);
}

/* A replaced version is read on, without the words that only the index has; its purge blanks what rested on it. */
static void test_replaced_versions_live_on_for_their_time(void **state)
{
	struct fixture *f = *state;
	struct fixture_put next = {.title = "給与規程", .text = "賞与は年3回支給する。", .class_id = f->pay};
	struct hs_id document, version;
	struct seen s;

	SKIP_WITHOUT_DICTIONARY(f);
	struct asked a = converse(f, "sato");

	next.document = &a.pay;
	must(hs_store_begin(f->store, err));
	must(fixture_try_put(f, &next, &document, &version, err));
	must(hs_store_commit(f->store, err));
	must(hs_store_purge(f->store, T0 - 1, NULL, NULL, err)); /* kept since before it was replaced */
	must(open_as(f, "sato", &a.conversation, &s, err));
	assert_int_equal(s.withheld, 0);
	assert_non_null(strstr(s.text, SECOND));
	assert_null(strstr(s.quotes, "賞与"));
	must(hs_store_purge(f->store, T0 + 1, NULL, NULL, err));
	must(open_as(f, "sato", &a.conversation, &s, err));
	assert_int_equal(s.withheld, 1);
	assert_int_equal(rows(f, "SELECT count(*) FROM messages WHERE text LIKE '%賞与は年2回%'"), 0);
}

/* A row that says what it should not: nothing of it is shown. */
static void test_damaged_citations_show_nothing(void **state)
{
	struct fixture *f = *state;
	static const char *const damage[] = {
	    "UPDATE citations SET answer_end = 100000 WHERE number = 2",
	    "UPDATE citations SET answer_start = -5 WHERE number = 2",
	    "UPDATE citations SET document = 'doc_other' WHERE number = 2",
	    "UPDATE citations SET version = '' WHERE number = 2",
	    "DELETE FROM citations WHERE number = 2",
	};
	struct seen s;

	SKIP_WITHOUT_DICTIONARY(f);
	for (size_t i = 0; i < HS_ARRAY_LEN(damage); i++) {
		struct asked a = converse(f, "sato");

		assert_int_equal(sqlite3_exec(hs_store_db(f->store), damage[i], NULL, NULL, NULL), SQLITE_OK);
		must(open_as(f, "sato", &a.conversation, &s, err));
		assert_non_null(strstr(s.text, FIRST));
		assert_null(strstr(s.text, "賞与は"));
	}
}

static void test_deleting_leaves_no_row(void **state)
{
	struct fixture *f = *state;
	struct hs_feedback bad = {.value = -1, .reason = "wrong", .comment = "違います", .share = true};

	SKIP_WITHOUT_DICTIONARY(f);
	struct asked a = converse(f, "sato");
	struct hs_id sato = user_id(f, "sato");

	must(hs_store_begin(f->store, err));
	must(hs_conversation_feedback(f->store, sato.s, a.answer.s, &bad, T0, err));
	must(hs_conversation_delete(f->store, sato.s, a.conversation.s, err));
	must(hs_store_commit(f->store, err));
	assert_int_equal(rows(f,
			      "SELECT (SELECT count(*) FROM conversations) + (SELECT count(*) FROM messages) + (SELECT count(*)"
			      " FROM answers) + (SELECT count(*) FROM citations) + (SELECT count(*) FROM feedback)"),
			 0);
	assert_int_equal(listed(f, "sato"), 0);
}

static void test_limits_are_named(void **state)
{
	struct fixture *f = *state;
	struct hs_err why = HS_ERR_INIT;
	struct hs_id one = hs_id_new("cnv_");
	char sql[256];

	SKIP_WITHOUT_DICTIONARY(f);
	must(ask(f, "sato", &one, true, "一", err));
	(void)snprintf(sql, sizeof(sql), "UPDATE conversations SET bytes = %d",
		       HS_CONVERSATION_BYTES_MAX - HS_CONVERSATION_ANSWER_MAX - 2);
	assert_int_equal(sqlite3_exec(hs_store_db(f->store), sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(ask(f, "sato", &one, false, "二", &why), -ENOSPC); /* three bytes, and room for two */
	assert_string_equal(why.code, "conversation.full");
	(void)sqlite3_exec(hs_store_db(f->store), "UPDATE conversations SET bytes = 3", NULL, NULL, NULL);
	for (int i = 1; i < HS_CONVERSATION_MESSAGES_MAX - 1; i++)
		must(ask(f, "sato", &one, false, "二", err));
	why = HS_ERR_INIT;
	assert_int_equal(ask(f, "sato", &one, false, "二", &why), -ENOSPC);
	assert_string_equal(why.code, "conversation.full");

	must(hs_store_begin(f->store, err));
	for (int i = 1; i < HS_CONVERSATIONS_PER_USER_MAX; i++) {
		struct hs_id id = user_id(f, "sato");
		struct hs_asked q = {.user = id.s,
				     .conversation = hs_id_new("cnv_"),
				     .message = hs_id_new("msg_"),
				     .fresh = true,
				     .text = "三",
				     .len = 3,
				     .now_ms = T0};

		must(hs_conversation_ask(f->store, &q, err));
	}
	must(hs_store_commit(f->store, err));
	struct hs_id other = hs_id_new("cnv_");

	why = HS_ERR_INIT;
	assert_int_equal(ask(f, "sato", &other, true, "四", &why), -ENOSPC);
	assert_string_equal(why.code, "conversation.limit");
	must(ask(f, "tanaka", &other, true, "四", err)); /* one person's limit is no other's */
}

static void test_what_is_old_goes(void **state)
{
	struct fixture *f = *state;
	bool more = false;

	SKIP_WITHOUT_DICTIONARY(f);
	(void)converse(f, "sato"); /* last used at T0 + 1 */
	must(hs_conversations_expire(f->store, T0 + 1, &more, err));
	assert_false(more);
	assert_int_equal(listed(f, "sato"), 1);
	must(hs_conversations_expire(f->store, T0 + 2, &more, err));
	assert_true(more);
	assert_int_equal(listed(f, "sato"), 0);
	assert_int_equal(rows(f, "SELECT count(*) FROM citations"), 0);
}

static int next_page(void *ctx, const struct hs_shown_message *m)
{
	struct hs_id *first = ctx;

	if (!*first[0].s)
		first[0] = m->id;
	first[1] = m->id;
	return 0;
}

static void test_pages_meet_and_do_not_overlap(void **state)
{
	struct fixture *f = *state;
	struct hs_id one = hs_id_new("cnv_"), newer[2] = {0}, older[2] = {0};
	bool more = false;

	SKIP_WITHOUT_DICTIONARY(f);
	for (int i = 0; i < 5; i++)
		must(ask(f, "sato", &one, i == 0, "問", err));
	struct hs_grant *g = fixture_grant(f, "sato", T0);

	must(hs_conversation_open(f->reader, g, T0, one.s, "", 3, next_page, newer, &more, err));
	assert_true(more);
	must(hs_conversation_open(f->reader, g, T0, one.s, newer[0].s, 3, next_page, older, &more, err));
	assert_false(more);
	assert_string_not_equal(older[1].s, newer[0].s);
	struct hs_id none[2] = {0};

	must(hs_conversation_open(f->reader, g, T0, one.s, older[0].s, 3, next_page, none, &more, err));
	assert_string_equal(none[0].s, "");
	hs_grant_destroy(g);
}

struct heard {
	size_t n, shared, withheld;
	char answer[256], comment[64];
};

static int hear(void *ctx, const struct hs_feedback_row *row)
{
	struct heard *h = ctx;

	h->n++;
	(void)snprintf(h->comment, sizeof(h->comment), "%s", row->comment);
	h->withheld += row->n_withheld;
	assert_int_equal(!row->answer, !row->question);
	if (!row->answer)
		return 0;
	h->shared++;
	(void)snprintf(h->answer, sizeof(h->answer), "%s", row->answer);
	return 0;
}

static struct heard feedback(struct fixture *f, const char *user, const struct hs_id *answer, int value, bool share)
{
	struct hs_feedback given = {.value = value, .reason = "wrong", .comment = "表の行が違います", .share = share};
	struct hs_id id = user_id(f, user);
	struct heard h = {0};

	must(hs_store_begin(f->store, err));
	must(hs_conversation_feedback(f->store, id.s, answer->s, &given, T0, err));
	must(hs_store_commit(f->store, err));
	must(hs_feedback_list(f->reader, T0, "", 10, hear, &h, err));
	return h;
}

/* Who administers hears the thumb and the reason; the texts only where they are shared, and only what their person may read. */
static void test_feedback_shows_texts_by_consent_only(void **state)
{
	struct fixture *f = *state;
	struct heard h;
	struct seen s;

	SKIP_WITHOUT_DICTIONARY(f);
	struct asked a = converse(f, "sato");

	h = feedback(f, "sato", &a.answer, -1, false);
	assert_int_equal(h.n, 1);
	assert_int_equal(h.shared, 0);
	assert_string_equal(h.comment, "表の行が違います");
	h = feedback(f, "sato", &a.answer, 1, true); /* takes the place of the first */
	assert_int_equal(h.n, 1);
	assert_int_equal(h.shared, 1);
	assert_string_equal(h.answer, FIRST "\n" SECOND);
	must(open_as(f, "sato", &a.conversation, &s, err));
	assert_int_equal(s.feedback, 1);

	struct heard after = {0};

	fixture_delete(f, &a.pay);
	must(hs_feedback_list(f->reader, T0, "", 10, hear, &after, err));
	assert_string_equal(after.answer, FIRST);
	assert_int_equal(after.withheld, 1);

	must(hs_store_begin(f->store, err));
	must(hs_user_suspend(hs_store_db(f->store), "sato", true, err));
	must(hs_store_commit(f->store, err));
	after = (struct heard){0};
	must(hs_feedback_list(f->reader, T0, "", 10, hear, &after, err));
	assert_string_equal(after.answer, "");
	assert_int_equal(after.withheld, 2);

	h = feedback(f, "sato", &a.answer, 0, false); /* taken back */
	assert_int_equal(h.n, 0);
	must(hs_store_begin(f->store, err));
	struct hs_id sato = user_id(f, "sato");
	struct hs_feedback wrong = {.value = 2, .reason = "", .comment = ""};
	struct hs_err why = HS_ERR_INIT;

	assert_int_equal(hs_conversation_feedback(f->store, sato.s, a.answer.s, &wrong, T0, &why), -EINVAL);
	hs_store_rollback(f->store);
}

static void test_answers_that_do_not_fit_are_refused(void **state)
{
	struct fixture *f = *state;
	static const struct hs_sentence_source wrong[][2] = {
	    {{.at = 0, .to = 400}, {0}},              /* past the end */
	    {{.at = 1, .to = 6}, {0}},                /* within a character */
	    {{.at = 6, .to = 6}, {0}},                /* empty */
	    {{.at = 0, .to = 6}, {.at = 3, .to = 9}}, /* over one another */
	};

	SKIP_WITHOUT_DICTIONARY(f);
	struct asked a = converse(f, "sato");
	struct hs_id sato = user_id(f, "sato");

	for (size_t i = 0; i < HS_ARRAY_LEN(wrong); i++) {
		struct hs_answered answer = {.user = sato.s,
					     .conversation = a.conversation,
					     .message = hs_id_new("msg_"),
					     .text = "あいう",
					     .len = 9,
					     .sentences = wrong[i],
					     .n_sentences = i == 3 ? 2 : 1,
					     .request = "",
					     .model = "",
					     .now_ms = T0};

		must(hs_store_begin(f->store, err));
		assert_int_equal(hs_conversation_answer(f->store, &answer, NULL), -EINVAL);
		hs_store_rollback(f->store);
	}
}

#define WITH_STORE(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_STORE(test_what_was_said_is_read_back_by_its_person),
	    WITH_STORE(test_another_persons_is_like_one_that_never_was),
	    WITH_STORE(test_a_sentence_is_withheld_like_a_missing_one),
	    WITH_STORE(test_an_expired_document_is_withheld_at_its_instant),
	    WITH_STORE(test_replaced_versions_live_on_for_their_time),
	    WITH_STORE(test_damaged_citations_show_nothing),
	    WITH_STORE(test_deleting_leaves_no_row),
	    WITH_STORE(test_limits_are_named),
	    WITH_STORE(test_what_is_old_goes),
	    WITH_STORE(test_pages_meet_and_do_not_overlap),
	    WITH_STORE(test_feedback_shows_texts_by_consent_only),
	    WITH_STORE(test_answers_that_do_not_fit_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
