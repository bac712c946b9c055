/* The service (daemon/api.h) that turns requests, forwarded or local, into exchanges. */
#ifndef HISHO_DAEMON_TENANT_SERVE_H
#define HISHO_DAEMON_TENANT_SERVE_H

#include "daemon/api.h"
#include "daemon/tenant/exchange.h"

/* ctx is the struct hs_tenant. */
extern const struct hs_service hs_tenant_service;

#endif
