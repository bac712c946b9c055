/* How a program learns what it is to do, and tells its manager how it is. */
#include "daemon/child.h"

#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/notify.h"
#include "tests/unit/test.h"

/* As systemd starts a program: LISTEN_PID is its own, and the connection lies at HS_CONTROL_FD. Returns what it exits with. */
static int started_by_unit(const char *fds, bool say_start)
{
	pid_t pid = fork();
	if (pid == 0) {
		char self[16];
		int pair[2];
		char *argv[] = {(char *)"program", NULL}, **taken = argv;
		int argc = 1;
		struct hs_err err = HS_ERR_INIT;
		if (hs_channel_pair(pair) < 0 || dup2(pair[1], HS_CONTROL_FD) < 0)
			_exit(99);
		(void)snprintf(self, sizeof self, "%d", (int)getpid());
		(void)setenv("LISTEN_PID", self, 1);
		(void)setenv("LISTEN_FDS", fds, 1);
		HS_BUF_AUTO b = HS_BUF_INIT;
		static const struct hs_msg_start start = {.count = 1, .items = {{"--x", 3}}};
		struct hs_frame f = {.type = HS_MSG_START};
		if (say_start && hs_put_start(&b, &start) == 0) {
			f.payload = b.data;
			f.payload_len = b.len;
			(void)!hs_frame_send(pair[0], &f);
		}
		int rc = hs_child_arguments(&argc, &taken, &err);
		const struct passwd *keeper = getpwnam(HS_KEEPER_USER);
		if (rc == 0) /* only where we are hishod's user ourselves */
			_exit(keeper && keeper->pw_uid == geteuid() && argc == 2 && strcmp(taken[1], "--x") == 0 ? 0 : 98);
		_exit(argc == 1 && taken == argv ? -rc : 97);
	}
	int status = 0;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_only_hishod_starts_a_unit(void **state)
{
	const struct passwd *keeper = getpwnam(HS_KEEPER_USER);
	int expected = !keeper ? ENOENT : keeper->pw_uid != geteuid() ? EACCES : 0;
	assert_int_equal(started_by_unit("1", true), expected);
	assert_int_equal(started_by_unit("2", true), EINVAL);
}

static void test_a_command_line_stays(void **state)
{
	char *argv[] = {(char *)"program", (char *)"--state", NULL}, **taken = argv;
	int argc = 2;
	struct hs_err err = HS_ERR_INIT;
	(void)setenv("LISTEN_PID", "1", 1); /* another process's */
	(void)setenv("LISTEN_FDS", "1", 1);
	assert_int_equal(hs_child_arguments(&argc, &taken, &err), 0);
	assert_int_equal(argc, 2);
	assert_ptr_equal(taken, argv);
}

static void test_the_manager_is_told(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char text[128];
	int n = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "hisho-test-notify-%d", (int)getpid());
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(
	    bind(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)), 0);
	hs_notify("READY=1"); /* no manager: nothing happens */
	(void)snprintf(text, sizeof text, "@%s", address.sun_path + 1);
	(void)setenv("NOTIFY_SOCKET", text, 1);
	(void)setenv("WATCHDOG_USEC", "4000000", 1);
	hs_notify_open();
	assert_null(getenv("NOTIFY_SOCKET"));
	assert_int_equal(hs_notify_watchdog_ms(), 2000);
	hs_notify("READY=1");
	ssize_t got = recv(fd, text, sizeof text, MSG_DONTWAIT);
	assert_int_equal(got, 7);
	assert_memory_equal(text, "READY=1", 7);
	(void)close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_only_hishod_starts_a_unit),
	    cmocka_unit_test(test_a_command_line_stays),
	    cmocka_unit_test(test_the_manager_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
