/* The web process's routes: the page from memory, the rest to the tenant it is for. Loop thread only. */
#ifndef HISHO_DAEMON_WEB_WEB_H
#define HISHO_DAEMON_WEB_WEB_H

#include "base/id.h"
#include "crypto/token.h"
#include "daemon/forward.h"
#include "daemon/http.h"

#define HS_WEB_FILES 6
#define HS_WEB_SIGN_INS_A_MINUTE 10 /* of one address */
#define HS_WEB_ADDRESSES 1024

struct hs_web_tenant;

struct hs_web {
	uv_loop_t *loop;
	struct hs_buf files[HS_WEB_FILES]; /* as hs_web_file_names */
	struct hs_web_tenant *tenants;
	struct hs_web_bucket { /* tries to sign in, by a hash of the address: neighbours in a slot share it */
		uint64_t since; /* monotonic ms */
		unsigned count;
	} buckets[HS_WEB_ADDRESSES];
};

/* The page's files in its folder; index.html, the first, is served as "/". */
extern const char *const hs_web_file_names[HS_WEB_FILES];

/* A tenant's channel: name is "<id>/<name>"; fd -1 forgets it. Takes fd. */
void hs_web_tenant(struct hs_web *w, const char *name, int fd);

size_t hs_web_open_requests(const struct hs_web *w);
void hs_web_finish(struct hs_web *w);

extern const struct hs_service hs_web_service; /* ctx: struct hs_web */

#endif
