/* The system calls that each process keeps (jail_calls.c); inside daemon/ only. */
#ifndef HISHO_DAEMON_JAIL_CALLS_H
#define HISHO_DAEMON_JAIL_CALLS_H

#include "daemon/jail.h"

/* Load the seccomp filter of j->role. Needs no-new-privs. Negative errno where the kernel refuses. */
int hs_jail_filter(const struct hs_jail *j) HS_MUST_CHECK;

#endif
