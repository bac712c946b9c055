/*
 * HTTP over a channel: the web process forwards (client), the tenant process answers (server).
 *
 *   web     HTTP_REQUEST {id} ---------------------------->  tenant      body and content flow against CREDIT, a window of
 *           HTTP_BODY* (MORE until the last) -------------->             HS_HTTP_WINDOW bytes in each direction;
 *           <------------------------------ CREDIT {bytes}               CANCEL {id} where the client went away;
 *           <------------------------ HTTP_RESPONSE {id}                 ERROR {id} where the tenant process cannot answer
 *           <---------- HTTP_CONTENT* (MORE until the last)
 *           CREDIT {bytes} -------------------------------->
 *
 * Neither owns the channel: its owner passes frames in, and says when it is gone. Loop thread only.
 */
#ifndef HISHO_DAEMON_FORWARD_H
#define HISHO_DAEMON_FORWARD_H

#include "daemon/api.h"
#include "daemon/channel.h"

#define HS_FORWARD_MAX 2048                        /* requests at one time on one channel; beyond it: 503 */
#define HS_FORWARD_CONTENT_MAX (64u * 1024u * 1024u) /* of one answer that waits for its client in the tenant process */

/* --- web's side --- */
struct hs_forward_client;

int hs_forward_client_create(struct hs_channel *channel, struct hs_forward_client **ret) HS_MUST_CHECK;

/* Every open request ends in a 503 "tenant.lost", or in an error event where the answer had begun. Takes NULL. */
void hs_forward_client_destroy(struct hs_forward_client *f);

/* As hs_service.request; with hs_forward_service's other calls it makes a whole service. ctx is the struct hs_forward_client. */
void *hs_forward_request(void *ctx, const struct hs_request *q, struct hs_responder *r);
extern const struct hs_service hs_forward_service;

/* A frame from the tenant. -EPROTO: it broke the rules, and the channel is to be given up. */
int hs_forward_client_frame(struct hs_forward_client *f, const struct hs_frame *frame) HS_MUST_CHECK;

size_t hs_forward_client_open(const struct hs_forward_client *f); /* requests that run */

/* --- the tenant's side --- */
struct hs_forward_server;

int hs_forward_server_create(struct hs_channel *channel, const struct hs_service *service, void *ctx,
			     struct hs_forward_server **ret) HS_MUST_CHECK;

/* Every open request's gone() is called. Takes NULL. */
void hs_forward_server_destroy(struct hs_forward_server *f);

/* A frame from web: HTTP_REQUEST, HTTP_BODY, CREDIT, CANCEL. -EPROTO as above. */
int hs_forward_server_frame(struct hs_forward_server *f, const struct hs_frame *frame) HS_MUST_CHECK;

#endif
