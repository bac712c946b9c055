/*
 * Every message between Hisho's processes, and who may send it: the trust map (docs/formats/messages.md).
 *
 *                                   hishod  (no key; starts, watches, wires)
 *                control channel  /   |   |    \      \
 *                                /    |   |     \      \
 *                        hisho-keyd  web  tenant  infer  extract, extract-pdf
 *                          keys      TLS  one key  models  nothing
 *
 *   tenant -- keyd      KEY_*, HEAD_*      a tenant's channel unwraps that tenant's key and no other
 *   web    -- tenant    HTTP_*             web carries credentials and does not judge them
 *   tenant -- infer     EMBED, RERANK..    infer sees prompts of every tenant; it holds no key
 *   tenant -- extract   EXTRACT            bytes in, blocks out, one document a child
 *
 * Framing is base/frame.h. Each side treats the other's bytes as hostile: decoders below check every length, count and
 * enumeration before a field is used, and return -EPROTO. Slices point into the frame. Encoders append to a buffer.
 */
#ifndef HISHO_DAEMON_MESSAGES_H
#define HISHO_DAEMON_MESSAGES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/frame.h"
#include "base/wire.h"

enum hs_process { /* of a process; also the peer named by HS_MSG_CHANNEL */
	HS_PROCESS_KEEPER = 1,
	HS_PROCESS_KEYD = 2,
	HS_PROCESS_WEB = 3,
	HS_PROCESS_TENANT = 4,
	HS_PROCESS_EXTRACT = 5,
	HS_PROCESS_EXTRACT_PDF = 6,
	HS_PROCESS_INFER = 7,
};
#define HS_PROCESS_MAX 7

/*
 * Every program is started with its control channel to hishod as this descriptor: by fork and exec, or by the connection that
 * its unit's socket accepted, which systemd passes in the same place.
 */
#define HS_CONTROL_FD 3

enum hs_msg {
	/* any channel */
	HS_MSG_HELLO = 1,  /* both, first:     struct hs_hello */
	HS_MSG_CANCEL = 2, /* asker:           empty; ends the request of its id */
	HS_MSG_CREDIT = 3, /* receiver of bodies: u32 bytes that the sender may send on */
	HS_MSG_ERROR = 4,  /* answerer:        struct hs_msg_error; ends the request */

	/* hishod to a child, and back, on the control channel */
	/*
	 * hishod: u8 role, str name + 1 descriptor: a fresh channel to that peer. name: the tenant's id, or ""; to hisho-web the id,
	 * a slash and the tenant's name, and without a descriptor: forget that tenant; to hisho-infer the id, a space and the tenant's
	 * limits (daemon/limits.h).
	 */
	HS_MSG_CHANNEL = 16,
	HS_MSG_READY = 17,        /* child:  struct hs_msg_ready; it is jailed and serves */
	HS_MSG_SHUTDOWN = 18,     /* hishod: empty; finish what runs, then exit 0 */
	HS_MSG_PING = 19,         /* hishod: empty; answered by PONG from the loop thread */
	HS_MSG_PONG = 20,         /* child:  empty */
	HS_MSG_CONNECTION = 21,   /* hishod to tenant: u32 uid, u32 gid, u32 pid + 1 descriptor: an accepted admin connection */
	HS_MSG_STATUS = 22,       /* hishod: empty */
	HS_MSG_STATUS_REPLY = 23, /* child:  JSON text, no tenant content */
	HS_MSG_ACT = 25,          /* hishod to tenant: u8 enum hs_act, u32 uid: what was done to it, and by whom; for its audit log */
	HS_MSG_START = 24,        /* hishod: struct hs_msg_start, before its HELLO, to a program that a unit started */

	/* hishod and tenants to hisho-keyd: fixed sizes */
	HS_MSG_KEY = 32,           /* tenant: empty; the channel's name says which */
	HS_MSG_KEY_REPLY = 33,     /* keyd:   struct hs_msg_key */
	HS_MSG_TENANT_ADD = 34,    /* hishod: char id[HS_ID_LEN], char name[64] zero-padded */
	HS_MSG_TENANT_ADDED = 35,  /* keyd:   empty */
	HS_MSG_TENANT_LIST = 36,   /* hishod: empty */
	HS_MSG_TENANT_ROW = 37,    /* keyd:   char id[HS_ID_LEN], char name[64]; MORE until the last; an empty payload: none */
	HS_MSG_HEAD_SIGN = 38,     /* tenant: struct hs_msg_head; never below the last that was signed */
	HS_MSG_HEAD_SIGNED = 39,   /* keyd:   u8 public key[32], u8 signature[64] */

	/* tenant to an extractor */
	HS_MSG_EXTRACT = 48,      /* tenant: str name, str media type + 2 descriptors: input (read), output pipe (write) */
	HS_MSG_EXTRACT_DONE = 49, /* extractor: i32 0, or ERROR instead */

	/* web to tenant: HTTP that the tenant answers; bodies flow against CREDIT */
	HS_MSG_HTTP_REQUEST = 64,  /* web:    struct hs_msg_http_request */
	HS_MSG_HTTP_BODY = 65,     /* web:    bytes; MORE until the last */
	HS_MSG_HTTP_RESPONSE = 66, /* tenant: struct hs_msg_http_response */
	HS_MSG_HTTP_CONTENT = 67,  /* tenant: bytes; MORE until the last */

	/* tenant to infer */
	HS_MSG_MODELS = 80,       /* tenant: empty */
	HS_MSG_MODELS_REPLY = 81, /* infer:  struct hs_msg_models */
	HS_MSG_EMBED = 82,        /* tenant: struct hs_msg_embed (MORE joins frames) */
	HS_MSG_VECTORS = 83,      /* infer:  u32 count, u32 dimensions, then floats (MORE joins frames); of RERANK a score each */
	HS_MSG_GENERATE = 84,     /* tenant: struct hs_msg_generate (MORE joins frames) */
	HS_MSG_KEPT = 85,         /* infer:  struct hs_msg_kept, before anything is decoded */
	HS_MSG_GO = 86,           /* tenant: empty; the audit record of what was kept is on disk */
	HS_MSG_TEXT = 87,         /* infer:  UTF-8 bytes, whole characters */
	HS_MSG_DONE = 88,         /* infer:  struct hs_msg_done */
	HS_MSG_WIPE = 89,         /* tenant: empty; seal, destroy, revocation: forget what this tenant left */
	HS_MSG_WIPED = 90,        /* infer:  empty, within 2 s */
	HS_MSG_RERANK = 91,       /* tenant: struct hs_msg_rerank (MORE joins frames); answered by VECTORS of dimension 1 */
};

enum hs_act { HS_ACT_ADDED = 1, HS_ACT_SEALED = 2, HS_ACT_UNSEALED = 3, HS_ACT_REBUILT = 4 };

/* Limits of single fields, checked by the decoders. */
#define HS_MSG_NAME_MAX 256
#define HS_MSG_TEXT_MAX (4u * 1024u * 1024u) /* joined EMBED and GENERATE payloads */
#define HS_MSG_SEGMENTS_MAX 256
#define HS_MSG_SCHEMA_MAX (16u * 1024u)
#define HS_MSG_EMBED_MAX 256
#define HS_MSG_RERANK_MAX 64
#define HS_MSG_MODELS_MAX 16
#define HS_MSG_HEADERS_MAX 16
#define HS_MSG_PATH_MAX 2048
#define HS_MSG_CREDENTIAL_MAX 512
#define HS_MSG_ARGUMENTS_MAX 96
#define HS_MSG_ARGUMENT_MAX 2048
#define HS_MSG_URL_MAX 400
#define HS_TENANT_NAME_MAX 63 /* [a-z0-9-], starts with a letter */

struct hs_slice {
	const char *s; /* not terminated */
	size_t len;
};

struct hs_hello {
	uint16_t version_min, version_max;
	enum hs_process role;
	struct hs_slice name; /* tenant id, or "" */
};

struct hs_msg_error {
	uint32_t num; /* errno */
	struct hs_slice code, object, hint;
};

struct hs_msg_head { /* of the tenant's audit log (policy/audit.h); seq 0: none */
	uint64_t seq;
	int64_t time;
	uint8_t chain[32];
};

struct hs_msg_start { /* what stands on the command line of a program that hishod starts itself, without its name */
	uint32_t count;
	struct hs_slice items[HS_MSG_ARGUMENTS_MAX]; /* no zero bytes in them */
};

struct hs_msg_ready {
	uint32_t pid;        /* its own, as it says: for people to read, never to act on */
	struct hs_slice url; /* hisho-web: where the page is; else "" */
};

struct hs_msg_key {
	uint32_t generation;
	uint8_t db_uuid[16];
	uint8_t key[32];
	uint8_t signer[32];      /* keyd's public key */
	struct hs_msg_head head; /* the last that keyd signed for this tenant */
};
#define HS_MSG_KEY_LEN (4 + 16 + 32 + 32 + 8 + 8 + 32)

struct hs_msg_http_request {
	struct hs_slice method, path, query;  /* path decoded once, query raw */
	struct hs_slice credential;           /* bearer token or session cookie, as sent; "" where none */
	struct hs_slice content_type, accept_language, peer;
	bool cookie;           /* the credential came as a cookie: the tenant wants proof of same origin */
	bool same_origin;      /* Origin or Sec-Fetch-Site says so */
	bool has_body;
	uint64_t content_length; /* UINT64_MAX where chunked */
};

struct hs_msg_header {
	struct hs_slice name, value;
};

struct hs_msg_http_response {
	uint16_t status;
	bool stream; /* flush each content frame to the client */
	uint32_t n_headers;
	struct hs_msg_header headers[HS_MSG_HEADERS_MAX];
};

enum hs_embed_kind {
	HS_EMBED_QUERY = 1,   /* first of all queues */
	HS_EMBED_PASSAGE = 2, /* last of all queues */
};

struct hs_msg_embed {
	enum hs_embed_kind kind;
	uint32_t count;
	struct hs_slice texts[HS_MSG_EMBED_MAX]; /* without the model's prefix: infer adds it */
};

struct hs_msg_rerank { /* the passages are the asker's own, or what the asking person's grant allows: infer cannot tell */
	struct hs_slice question;
	uint32_t count;
	struct hs_slice passages[HS_MSG_RERANK_MAX];
};

enum hs_segment_role {
	HS_SEGMENT_SYSTEM = 1,
	HS_SEGMENT_USER = 2,
	HS_SEGMENT_ASSISTANT = 3,
};

enum hs_segment_kind {
	HS_SEGMENT_INSTRUCTION = 1, /* Hisho's own words */
	HS_SEGMENT_DATA = 2,        /* documents, questions, clients' text: never a special token */
};

enum hs_cache_scope {
	HS_CACHE_NONE = 0,
	HS_CACHE_TEMPLATE = 1, /* holds no data: may be shared by all */
	HS_CACHE_USER = 2,     /* under the request's cache key */
};

struct hs_segment { /* neighbours of one role form one message of the chat template */
	enum hs_segment_role role;
	enum hs_segment_kind kind;
	enum hs_cache_scope scope;
	uint8_t priority; /* 0: must be kept; larger ones are dropped first, whole, when the budget is short */
	struct hs_slice text;
};

enum hs_answer_form { /* what the answer may be: inference/grammar/grammar.h */
	HS_FORM_FREE = 0,   /* as the model will */
	HS_FORM_CITES = 1,  /* text, in which "[" and digits name one of the passages that were kept: USER-scoped data, from 1 */
	HS_FORM_SCHEMA = 2, /* JSON of a schema */
};

struct hs_msg_generate {
	uint32_t max_tokens;      /* of the answer */
	uint32_t prompt_budget;   /* tokens; 0: infer's own, from its measured prefill rate */
	float temperature, top_p; /* temperature 0: greedy */
	uint32_t top_k;
	uint64_t seed;
	uint8_t cache_key[32]; /* tenant, user, visible classes */
	enum hs_answer_form form;
	struct hs_slice schema; /* of HS_FORM_SCHEMA, at most HS_MSG_SCHEMA_MAX bytes */
	uint32_t n_segments;
	struct hs_segment segments[HS_MSG_SEGMENTS_MAX];
};

struct hs_msg_kept {
	uint32_t prompt_tokens, budget_tokens;
	float prefill_rate;  /* tokens a second, measured */
	uint32_t n_segments; /* as asked */
	uint8_t kept[HS_MSG_SEGMENTS_MAX];
	uint32_t queue_position; /* among this tenant's own requests; 0: next */
};

enum hs_done_reason {
	HS_DONE_END = 1,    /* the model ended its turn */
	HS_DONE_LENGTH = 2, /* max_tokens or the context */
	HS_DONE_CANCELLED = 3,
};

struct hs_msg_done {
	enum hs_done_reason reason;
	uint32_t prompt_tokens, answer_tokens;
	uint32_t prefill_ms, decode_ms;
	float mean_logprob, least_logprob;
};

struct hs_msg_model {
	struct hs_slice id, architecture;
	bool encoder, scores; /* scores: a reranker; it embeds nothing */
	uint32_t dimensions, context;
	float prefill_rate; /* tokens a second, measured; of generators and rerankers */
	uint8_t hash[32]; /* of the file: part of the index generation */
};

struct hs_msg_models {
	uint32_t count;
	struct hs_msg_model items[HS_MSG_MODELS_MAX];
};

int hs_put_hello(struct hs_buf *b, const struct hs_hello *v) HS_MUST_CHECK;
int hs_get_hello(const void *data, size_t len, struct hs_hello *ret) HS_MUST_CHECK;

int hs_put_error(struct hs_buf *b, const struct hs_err *err) HS_MUST_CHECK;
int hs_get_error(const void *data, size_t len, struct hs_msg_error *ret) HS_MUST_CHECK;

int hs_put_start(struct hs_buf *b, const struct hs_msg_start *v) HS_MUST_CHECK;
int hs_get_start(const void *data, size_t len, struct hs_msg_start *ret) HS_MUST_CHECK;

int hs_put_ready(struct hs_buf *b, const struct hs_msg_ready *v) HS_MUST_CHECK;
int hs_get_ready(const void *data, size_t len, struct hs_msg_ready *ret) HS_MUST_CHECK;

int hs_put_channel(struct hs_buf *b, enum hs_process role, struct hs_slice name) HS_MUST_CHECK;
int hs_get_channel(const void *data, size_t len, enum hs_process *ret_role, struct hs_slice *ret_name) HS_MUST_CHECK;

int hs_put_key(struct hs_buf *b, const struct hs_msg_key *v) HS_MUST_CHECK;
int hs_get_key(const void *data, size_t len, struct hs_msg_key *ret) HS_MUST_CHECK;

int hs_put_head(struct hs_buf *b, const struct hs_msg_head *v) HS_MUST_CHECK;
int hs_get_head(const void *data, size_t len, struct hs_msg_head *ret) HS_MUST_CHECK;

int hs_put_extract(struct hs_buf *b, struct hs_slice name, struct hs_slice media) HS_MUST_CHECK;
int hs_get_extract(const void *data, size_t len, struct hs_slice *ret_name, struct hs_slice *ret_media) HS_MUST_CHECK;

int hs_put_http_request(struct hs_buf *b, const struct hs_msg_http_request *v) HS_MUST_CHECK;
int hs_get_http_request(const void *data, size_t len, struct hs_msg_http_request *ret) HS_MUST_CHECK;

int hs_put_http_response(struct hs_buf *b, const struct hs_msg_http_response *v) HS_MUST_CHECK;
int hs_get_http_response(const void *data, size_t len, struct hs_msg_http_response *ret) HS_MUST_CHECK;

int hs_put_embed(struct hs_buf *b, const struct hs_msg_embed *v) HS_MUST_CHECK;
int hs_get_embed(const void *data, size_t len, struct hs_msg_embed *ret) HS_MUST_CHECK;

int hs_put_rerank(struct hs_buf *b, const struct hs_msg_rerank *v) HS_MUST_CHECK;
int hs_get_rerank(const void *data, size_t len, struct hs_msg_rerank *ret) HS_MUST_CHECK;

int hs_put_generate(struct hs_buf *b, const struct hs_msg_generate *v) HS_MUST_CHECK;
int hs_get_generate(const void *data, size_t len, struct hs_msg_generate *ret) HS_MUST_CHECK;

int hs_put_kept(struct hs_buf *b, const struct hs_msg_kept *v) HS_MUST_CHECK;
int hs_get_kept(const void *data, size_t len, struct hs_msg_kept *ret) HS_MUST_CHECK;

int hs_put_done(struct hs_buf *b, const struct hs_msg_done *v) HS_MUST_CHECK;
int hs_get_done(const void *data, size_t len, struct hs_msg_done *ret) HS_MUST_CHECK;

int hs_put_models(struct hs_buf *b, const struct hs_msg_models *v) HS_MUST_CHECK;
int hs_get_models(const void *data, size_t len, struct hs_msg_models *ret) HS_MUST_CHECK;

#endif
