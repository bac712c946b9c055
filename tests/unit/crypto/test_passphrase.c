#include "crypto/passphrase.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "tests/unit/test.h"

/* What hs_passphrase_read makes of these bytes on a pipe. */
static int from_pipe(const void *data, size_t n, struct hs_passphrase **ret, struct hs_err *err)
{
	int pipes[2];
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(write(pipes[1], data, n), (ssize_t)n);
	(void)close(pipes[1]);
	int rc = hs_passphrase_read(pipes[0], "", ret, err);
	(void)close(pipes[0]);
	return rc;
}

static void test_a_line(void **state)
{
	struct hs_err err = HS_ERR_INIT;
	HS_PASSPHRASE_AUTO p = NULL;
	static const char line[] = "正しい馬の電池のホチキス\nthe next line";
	assert_int_equal(from_pipe(line, strlen(line), &p, &err), 0);
	assert_int_equal(p->len, 36);
	assert_memory_equal(p->bytes, line, 36);
	hs_passphrase_destroy(p);
	p = NULL;
	assert_int_equal(from_pipe("without its end", 15, &p, &err), 0);
	assert_int_equal(p->len, 15);
}

static void test_lengths(void **state)
{
	struct hs_err err = HS_ERR_INIT;
	struct hs_passphrase *p = NULL;
	char text[HS_PASSPHRASE_MAX + 2];
	memset(text, 'x', sizeof text);
	assert_int_equal(from_pipe("", 0, &p, &err), -EINVAL);
	assert_int_equal(from_pipe(text, HS_PASSPHRASE_MIN - 1, &p, &err), -EINVAL);
	assert_string_equal(err.code, "keyring.passphrase");
	assert_int_equal(from_pipe(text, HS_PASSPHRASE_MAX + 1, &p, &err), -EINVAL);
	assert_int_equal(from_pipe(text, HS_PASSPHRASE_MAX + 2, &p, &err), -EINVAL);
	assert_null(p);
	assert_int_equal(from_pipe(text, HS_PASSPHRASE_MAX, &p, &err), 0);
	assert_int_equal(p->len, HS_PASSPHRASE_MAX);
	hs_passphrase_destroy(p);
}

/* Wait until the terminal's echo is as said; false after a while. */
static bool echo_becomes(int fd, bool on)
{
	for (int i = 0; i < 1000; i++) {
		struct termios now;
		assert_int_equal(tcgetattr(fd, &now), 0);
		if ((now.c_lflag & ECHO ? true : false) == on)
			return true;
		(void)usleep(5000);
	}
	return false;
}

/* A child that reads at a terminal of its own; its exit status is 0 where it read what was typed. */
static pid_t at_terminal(int *ret_master, int *ret_slave)
{
	assert_int_equal(openpty(ret_master, ret_slave, NULL, NULL, NULL), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct hs_err err = HS_ERR_INIT;
		struct hs_passphrase *p = NULL;
		(void)setsid();
		(void)close(2);
		int rc = hs_passphrase_read(*ret_slave, "?", &p, &err);
		_exit(rc == 0 && p->len == 12 && memcmp(p->bytes, "twelve bytes", 12) == 0 ? 0 : 1);
	}
	assert_true(pid > 0);
	assert_true(echo_becomes(*ret_slave, false));
	return pid;
}

static void test_no_echo_at_a_terminal(void **state)
{
	int master, slave, status;
	pid_t pid = at_terminal(&master, &slave);
	assert_int_equal(write(master, "twelve bytes\n", 13), 13);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_true(echo_becomes(slave, true));
	(void)close(master);
	(void)close(slave);
}

static void test_a_signal_restores_the_echo(void **state)
{
	int master, slave, status;
	pid_t pid = at_terminal(&master, &slave);
	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	assert_true(echo_becomes(slave, true));
	(void)close(master);
	(void)close(slave);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_line),
	    cmocka_unit_test(test_lengths),
	    cmocka_unit_test(test_no_echo_at_a_terminal),
	    cmocka_unit_test(test_a_signal_restores_the_echo),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
