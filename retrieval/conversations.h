/*
 * What people asked and what they were answered (docs/formats/schema.md), each person's own.
 *
 * Whose it is comes from the grant (reading) or from the authenticated principal (writing), never from the request. A
 * message of the assistant is kept as the sentences that were released, each with what it rests on; reading looks at every
 * one of them again under the reader's grant of now. A sentence whose document is gone, expired or forbidden is withheld,
 * and the three look alike. Text that no citation covers is not given back at all.
 *
 * Writing belongs to the writer's thread, between hs_store_begin and hs_store_commit.
 */
#ifndef HISHO_RETRIEVAL_CONVERSATIONS_H
#define HISHO_RETRIEVAL_CONVERSATIONS_H

#include "retrieval/store.h"

#define HS_CONVERSATIONS_PER_USER_MAX 1000
#define HS_CONVERSATIONS_BYTES_PER_USER_MAX (32u * 1024u * 1024u) /* of texts, over all of one person's conversations */
#define HS_CONVERSATION_MESSAGES_MAX 400                          /* questions and answers of one conversation */
#define HS_CONVERSATION_BYTES_MAX (1024u * 1024u)                 /* of its texts */
#define HS_CONVERSATION_ANSWER_MAX (64u * 1024u)                  /* room that a question reserves for its answer */
#define HS_CONVERSATION_TITLE_MAX 120                             /* bytes: the beginning of the first question */
#define HS_CONVERSATION_CITATIONS_MAX 64                          /* of one answer */
#define HS_FEEDBACK_REASON_MAX 32
#define HS_FEEDBACK_COMMENT_MAX 2000 /* bytes */

enum hs_message_role { HS_MESSAGE_QUESTION = 1, HS_MESSAGE_ANSWER = 2 };

/* --- writing --- */

struct hs_asked {         /* a question on its way into a conversation */
	const char *user; /* public id */
	struct hs_id conversation, message;
	bool fresh; /* the conversation begins with it */
	const char *text;
	size_t len;
	int64_t now_ms;
};

/*
 * Keep a question. -ENOENT "conversation.unknown": not there, or not theirs; -ENOSPC "conversation.limit" (theirs are too
 * many or too large), "conversation.full" (this one is).
 */
int hs_conversation_ask(struct hs_store *s, const struct hs_asked *q, struct hs_err *err) HS_MUST_CHECK;

/* On a reader, before there is an answer: would it be kept? Fails as above; writes nothing. */
int hs_conversation_fits(struct hs_reader *r, const struct hs_asked *q, struct hs_err *err) HS_MUST_CHECK;

struct hs_sentence_source { /* a released sentence and what it rests on */
	uint32_t number;    /* in [n] */
	uint32_t at, to;    /* bytes of the message */
	const char *document, *version;
	uint32_t start, end, page; /* bytes of the canonical text */
};

struct hs_answered {
	const char *user; /* public id */
	struct hs_id conversation, message;
	const char *text;
	size_t len;
	const struct hs_sentence_source *sentences;
	size_t n_sentences;
	const char *request, *model; /* id of the answer, name of the model */
	int outcome;                 /* as the daemon counts them */
	uint64_t audit_seq;
	uint32_t prompt_tokens, answer_tokens;
	uint8_t hash[HS_STORE_HASH_LEN];
	int64_t now_ms;
};

/* Keep an answer. -ENOENT "conversation.unknown": it was deleted meanwhile. */
int hs_conversation_answer(struct hs_store *s, const struct hs_answered *a, struct hs_err *err) HS_MUST_CHECK;

/* With all its rows. -ENOENT "conversation.unknown". */
int hs_conversation_delete(struct hs_store *s, const char *user, const char *conversation, struct hs_err *err) HS_MUST_CHECK;

struct hs_feedback {
	int value;          /* 1, -1; 0 takes it back */
	const char *reason; /* one of a few names, or "" */
	const char *comment;
	bool share; /* the person shows question and answer to who administers */
};

/* On an answer of one's own; a later one takes the place of an earlier one. -ENOENT "message.unknown"; -EINVAL "feedback.value".
 */
int hs_conversation_feedback(struct hs_store *s, const char *user, const char *message, const struct hs_feedback *f,
			     int64_t now_ms, struct hs_err *err) HS_MUST_CHECK;

/* Delete what was last used before `since`, at most some hundred; *ret_more: there are others. Begins and commits itself. */
int hs_conversations_expire(struct hs_store *s, int64_t since, bool *ret_more, struct hs_err *err) HS_MUST_CHECK;

/*
 * Blank, in the open transaction, the sentences that rest on versions which are about to be purged: the same condition
 * that the purge deletes by. Their citations stay, so that they are shown as withheld.
 */
int hs_conversations_blank(struct hs_store *s, int64_t keep_since, struct hs_err *err) HS_MUST_CHECK;

/* --- reading --- */

struct hs_conversation_row {
	struct hs_id id;
	char title[HS_CONVERSATION_TITLE_MAX + 1];
	int64_t created, updated;
	uint32_t n_messages;
};

/* The grant's holder's, last used first. after: "" or the last id of the page before. Returns what fn returned where not 0. */
int hs_conversation_list(struct hs_reader *r, const struct hs_grant *g, const char *after, size_t limit,
			 int (*fn)(void *ctx, const struct hs_conversation_row *row), void *ctx,
			 struct hs_err *err) HS_MUST_CHECK;

/* One of the grant's holder's. -ENOENT "conversation.unknown". */
int hs_conversation_find(struct hs_reader *r, const struct hs_grant *g, const char *id, struct hs_conversation_row *ret,
			 struct hs_err *err) HS_MUST_CHECK;

/* The last question of one of the holder's, appended to out; nothing where there is none. -ENOENT "conversation.unknown". */
int hs_conversation_last_question(struct hs_reader *r, const struct hs_grant *g, const char *id, struct hs_buf *out,
				  struct hs_err *err) HS_MUST_CHECK;

struct hs_shown_sentence {
	bool withheld; /* then nothing below is filled */
	const char *text;
	size_t len;
	uint32_t number; /* in [n] */
	const char *document, *version;
	uint32_t start, end, page;
	const char *title, *context; /* context: "" where the version was replaced */
	const char *quote;           /* the cited bytes; NULL where the version was replaced: its source has them */
	size_t quote_len;
};

struct hs_shown_message { /* valid during the call */
	struct hs_id id;
	enum hs_message_role role;
	int64_t created;
	const char *text; /* of a question; of an answer its sentences are all there is */
	size_t len;
	int outcome; /* of an answer; -1 where nothing is known of it */
	const char *model;
	int feedback; /* 1, -1; 0: none */
	const char *reason, *comment;
	bool share;
	const struct hs_shown_sentence *sentences;
	size_t n_sentences;
};

/*
 * The messages of one of the holder's conversations, oldest first: the last `limit` of them, or the last before the message
 * `before` ("": the end). *ret_more: there are earlier ones. -ENOENT "conversation.unknown"; -ESTALE "grant.stale".
 */
int hs_conversation_open(struct hs_reader *r, const struct hs_grant *g, int64_t now_ms, const char *id, const char *before,
			 size_t limit, int (*fn)(void *ctx, const struct hs_shown_message *m), void *ctx, bool *ret_more,
			 struct hs_err *err) HS_MUST_CHECK;

/* --- for those who administer --- */

struct hs_feedback_row { /* valid during the call */
	struct hs_id message, conversation;
	char user[HS_ID_LEN + 1];
	int value, outcome;
	int64_t created;
	const char *reason, *comment;  /* what the person says to who administers */
	const char *question, *answer; /* NULL unless the person shares them */
	size_t n_withheld;             /* sentences that are left out of answer */
};

/*
 * Feedback, newest first; question and answer only where their person shares them, and then without the sentences that
 * this person may not read today. after: "" or the last message id of the page before.
 */
int hs_feedback_list(struct hs_reader *r, int64_t now_ms, const char *after, size_t limit,
		     int (*fn)(void *ctx, const struct hs_feedback_row *row), void *ctx, struct hs_err *err) HS_MUST_CHECK;

#endif
