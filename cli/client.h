/*
 * The HTTP client of the verbs: the same requests over this host's admin socket (DIR/run/admin.sock) or over HTTPS.
 *
 * On the admin socket a tenant's routes stand under /t/NAME and the caller's uid is the credential; over HTTPS the token
 * says who and which tenant. TLS is never unverified: the trusted certificate is --cacert, else DIR/tls/cert.pem where it
 * can be read, else the system's authorities.
 */
#ifndef HISHO_CLI_CLIENT_H
#define HISHO_CLI_CLIENT_H

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"
#include "cli/cli.h"

#define HS_REPLY_MAX (256u * 1024u * 1024u)

struct hs_reply {
	long status;        /* HTTP */
	struct hs_buf body; /* as received */
	json_t *json;       /* parsed body; NULL where it was not JSON */
};

void hs_reply_finish(struct hs_reply *r);
#define HS_REPLY_AUTO HS_CLEANUP(hs_reply_finish) struct hs_reply

/*
 * A request is made again where the appliance says that it is busy (429), later each time and not before it said (Retry-After):
 * for half a minute, or what is said below. After that it is the error of that answer.
 */

/* The path of what the name names: before, the name escaped, after. Lives in b. NULL: out of memory, and err says so. */
const char *hs_path_of(struct hs_buf *b, const char *before, const char *name, const char *after,
		       struct hs_err *err) HS_MUST_CHECK;

/* A request of the tenant (or, over HTTPS, of the token's tenant). path begins with "/v1/". body may be NULL; is consumed. */
int hs_call(const struct hs_cli *cli, const char *method, const char *path, json_t *body, struct hs_reply *ret,
	    struct hs_err *err) HS_MUST_CHECK;

/* The same with bytes for a body. */
int hs_call_bytes(const struct hs_cli *cli, const char *method, const char *path, const char *content_type, const void *data,
		  size_t len, struct hs_reply *ret, struct hs_err *err) HS_MUST_CHECK;

/*
 * Several POSTs of the tenant on their way at one time, each over a connection of its own; they end in any order. body is taken
 * over; at most HS_POSTS_MAX may be on their way. Each is tried for patience_s; while some wait for their next try, on_busy is
 * told now and then how many.
 */
#define HS_POSTS_MAX 16 /* half of what a tenant takes at one time */

struct hs_posts;
int hs_posts_create(const struct hs_cli *cli, uint32_t patience_s, void (*on_busy)(void *ctx, size_t n), void *ctx,
		    struct hs_posts **ret) HS_MUST_CHECK;
void hs_posts_destroy(struct hs_posts *p); /* takes NULL; gives up what is on its way */
size_t hs_posts_count(const struct hs_posts *p);
int hs_posts_add(struct hs_posts *p, const char *path, const char *content_type, struct hs_buf *body, void *tag,
		 struct hs_err *err) HS_MUST_CHECK;

/* Wait until one ended: 1 with its reply, or a negative errno with err; *ret_tag is its tag. 0: none is on its way. */
int hs_posts_wait(struct hs_posts *p, void **ret_tag, struct hs_reply *ret, struct hs_err *err) HS_MUST_CHECK;

/* A request of the host itself (tenants, status): the admin socket only. */
int hs_call_host(const struct hs_cli *cli, const char *method, const char *path, json_t *body, struct hs_reply *ret,
		 struct hs_err *err) HS_MUST_CHECK;

/*
 * A request of a person: over HTTPS with their token, because admin rights never include reading. Where no --url is given,
 * the address is the one that the appliance in dir wrote into run/url.
 */
int hs_call_person(const struct hs_cli *cli, const char *method, const char *path, json_t *body, struct hs_reply *ret,
		   struct hs_err *err) HS_MUST_CHECK;

/* The same, streamed: on_event sees the JSON of each server-sent event; non-zero ends the stream and is returned. */
int hs_call_person_stream(const struct hs_cli *cli, const char *path, json_t *body, int (*on_event)(void *ctx, json_t *event),
			  void *ctx, struct hs_err *err) HS_MUST_CHECK;

/* The appliance's address without a slash at its end: --url, or what dir's web process wrote into run/url. Appended to out. */
int hs_client_base(const struct hs_cli *cli, struct hs_buf *out, struct hs_err *err) HS_MUST_CHECK;

/* End what is kept between requests; before the program exits. */
void hs_client_close(void);

/* Percent-encode a path segment or query value, appended to out. */
int hs_url_escape(struct hs_buf *out, const char *s) HS_MUST_CHECK;

#endif
