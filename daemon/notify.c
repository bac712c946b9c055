#include "daemon/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int manager = -1;
static uint64_t watchdog_us;

static int connect_manager(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t n = strlen(path);
	if ((path[0] != '/' && path[0] != '@') || n < 2 || n >= sizeof address.sun_path)
		return -1;
	memcpy(address.sun_path, path, n);
	if (path[0] == '@') /* an abstract name */
		address.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0) {
		(void)close(fd); /* never used */
		fd = -1;
	}
	return fd;
}

void hs_notify_open(void)
{
	const char *path = getenv("NOTIFY_SOCKET"), *us = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");
	if (path)
		manager = connect_manager(path);
	if (manager >= 0 && us && (!pid || strtol(pid, NULL, 10) == (long)getpid()))
		watchdog_us = strtoull(us, NULL, 10); /* what is no number is 0: not watched */
	(void)unsetenv("NOTIFY_SOCKET");              /* these names are valid: cannot fail */
	(void)unsetenv("WATCHDOG_USEC");
	(void)unsetenv("WATCHDOG_PID");
}

int hs_notify_fd(void)
{
	return manager;
}

void hs_notify(const char *state)
{
	if (manager >= 0)
		(void)send(manager, state, strlen(state), MSG_NOSIGNAL); /* a manager that is gone has nothing to be told */
}

uint64_t hs_notify_watchdog_ms(void)
{
	return watchdog_us / 2000;
}
