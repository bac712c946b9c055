/*
 * Telling the service manager how a program is: the datagram protocol of sd_notify(3), on a socket that is opened before the
 * jail, since nobody may make one inside it. Without a manager every call does nothing.
 */
#ifndef HISHO_DAEMON_NOTIFY_H
#define HISHO_DAEMON_NOTIFY_H

#include <stdint.h>

/* Once, before the jail: connects to what NOTIFY_SOCKET names, reads WATCHDOG_USEC, and takes both out of the environment. */
void hs_notify_open(void);

/* The socket, which a jail leaves open; -1: none. */
int hs_notify_fd(void);

/* One or more lines of "NAME=value". A message that a busy manager does not take is lost, like any datagram. */
void hs_notify(const char *state);

/* How often, in milliseconds, the loop has to say "WATCHDOG=1": half of what the manager waits. 0: it does not watch. */
uint64_t hs_notify_watchdog_ms(void);

#endif
