#include "daemon/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "tests/unit/test.h"

/* --- what an attacker would try: each returns 0 where it worked, else -errno --- */

static char inside[64];  /* the folder that the jail leaves */
static char outside[64]; /* a file that it does not */

static long told(long rc)
{
	return rc < 0 ? -errno : 0;
}

static long open_passwd(void) { return told(open("/etc/passwd", O_RDONLY | O_CLOEXEC)); }
static long open_root_home(void) { return told(open("/root", O_RDONLY | O_DIRECTORY | O_CLOEXEC)); }
static long open_proc_mem(void) { return told(open("/proc/self/mem", O_RDWR | O_CLOEXEC)); }
static long open_parent_environ(void) { return told(open("/proc/1/environ", O_RDONLY | O_CLOEXEC)); }
static long create_in_tmp(void) { return told(open("/tmp/hisho-jail-escape", O_CREAT | O_WRONLY | O_CLOEXEC, 0600)); }
static long make_dir(void) { return told(mkdir("/tmp/hisho-jail-escape.d", 0700)); }
static long make_symlink(void) { return told(symlink("/etc/shadow", "link")); }
static long make_hard_link(void) { return told(link("/etc/passwd", "/tmp/hisho-jail-link")); }
static long make_fifo(void) { return told(mknod("/tmp/hisho-jail-fifo", S_IFIFO | 0600, 0)); }
static long rename_away(void) { return told(rename(outside, "/tmp/hisho-jail-renamed")); }
static long remove_file(void) { return told(unlink(outside)); }
static long overwrite(void) { return told(open(outside, O_WRONLY | O_TRUNC | O_CLOEXEC)); }
static long truncate_path(void) { return told(truncate("/etc/hostname", 0)); }
static long change_mode(void) { return told(chmod("/etc/hostname", 0777)); }
static long change_owner(void) { return told(chown("/etc/hostname", 1, 1)); }
static long set_xattr(void) { return told(syscall(SYS_setxattr, "/etc/hostname", "user.a", "b", 1, 0)); }
static long make_socket(void) { return told(socket(AF_INET, SOCK_STREAM, 0)); }
static long make_udp(void) { return told(socket(AF_INET6, SOCK_DGRAM, 0)); }
static long make_unix(void) { return told(socket(AF_UNIX, SOCK_STREAM, 0)); }
static long make_netlink(void) { return told(socket(AF_NETLINK, SOCK_RAW, 0)); }
static long make_packet(void) { return told(socket(AF_PACKET, SOCK_RAW, 0)); }
static long make_vsock(void) { return told(socket(AF_VSOCK, SOCK_STREAM, 0)); }
static long connect_somewhere(void) { return told(syscall(SYS_connect, 0, NULL, 0)); }
static long run_shell(void)
{
	char *argv[] = {"sh", "-c", "true", NULL};
	return told(execve("/bin/sh", argv, NULL));
}
static long run_by_fd(void) { return told(syscall(SYS_execveat, 0, "", NULL, NULL, 0x1000)); }
static long fork_off(void)
{
	long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		_exit(0);
	return told(pid);
}
static long new_user_namespace(void) { return told(unshare(CLONE_NEWUSER)); }
static long new_mounts(void) { return told(unshare(CLONE_NEWNS)); }
static long mount_proc(void) { return told(mount("proc", "/mnt", "proc", 0, NULL)); }
static long change_root(void) { return told(chroot("/")); }
static long trace_parent(void) { return told(syscall(SYS_ptrace, 16, getppid(), 0, 0)); }
static long read_parent(void) { return told(syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0)); }
static long kill_parent(void) { return told(kill(getppid(), 0)); }
static long load_bpf(void) { return told(syscall(SYS_bpf, 0, NULL, 0)); }
static long ring(void) { return told(syscall(SYS_io_uring_setup, 1, NULL)); }
static long fault_handler(void) { return told(syscall(SYS_userfaultfd, 0)); }
static long perf(void) { return told(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0)); }
static long add_key(void) { return told(syscall(SYS_add_key, "user", "a", "b", 1, -3)); }
static long key_control(void) { return told(syscall(SYS_keyctl, 0, -3, 0)); }
static long load_module(void) { return told(syscall(SYS_init_module, NULL, 0, "")); }
static long kexec(void) { return told(syscall(SYS_kexec_load, 0, 0, NULL, 0)); }
static long become_root(void) { return told(setuid(0)); }
static long set_groups(void) { return told(syscall(SYS_setgroups, 0, NULL)); }
static long write_and_run(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? -errno : 0;
}
static long raise_limits_of_parent(void)
{
	const struct rlimit l = {RLIM_INFINITY, RLIM_INFINITY};
	return told(syscall(SYS_prlimit64, getppid(), RLIMIT_CORE, &l, NULL));
}
static long become_dumpable(void) { return told(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)); }
static long personality_change(void) { return told(syscall(SYS_personality, 0x0040000)); }
static long set_clock(void) { return told(syscall(SYS_clock_settime, 0, NULL)); }
static long message_queue(void) { return told(syscall(SYS_mq_open, "/hisho", O_CREAT | O_RDWR, 0600, NULL)); }
static long shared_memory(void) { return told(syscall(SYS_shmget, 0, 4096, 0600)); }
static long swap_on(void) { return told(syscall(SYS_swapon, "/tmp/x", 0)); }
static long handle_open(void) { return told(syscall(SYS_open_by_handle_at, -1, NULL, 0)); }
static long steal_fd(void) { return told(syscall(SYS_pidfd_open, getppid(), 0)); }

#define ATTACK(fn) {#fn, fn}
static const struct attack {
	const char *name;
	long (*run)(void);
} attacks[] = {
    ATTACK(open_passwd),
    ATTACK(open_root_home),
    ATTACK(open_proc_mem),
    ATTACK(open_parent_environ),
    ATTACK(create_in_tmp),
    ATTACK(make_dir),
    ATTACK(make_symlink),
    ATTACK(make_hard_link),
    ATTACK(make_fifo),
    ATTACK(rename_away),
    ATTACK(remove_file),
    ATTACK(overwrite),
    ATTACK(truncate_path),
    ATTACK(change_mode),
    ATTACK(change_owner),
    ATTACK(set_xattr),
    ATTACK(make_socket),
    ATTACK(make_udp),
    ATTACK(make_unix),
    ATTACK(make_netlink),
    ATTACK(make_packet),
    ATTACK(make_vsock),
    ATTACK(connect_somewhere),
    ATTACK(run_shell),
    ATTACK(run_by_fd),
    ATTACK(fork_off),
    ATTACK(new_user_namespace),
    ATTACK(new_mounts),
    ATTACK(mount_proc),
    ATTACK(change_root),
    ATTACK(trace_parent),
    ATTACK(read_parent),
    ATTACK(kill_parent),
    ATTACK(load_bpf),
    ATTACK(ring),
    ATTACK(fault_handler),
    ATTACK(perf),
    ATTACK(add_key),
    ATTACK(key_control),
    ATTACK(load_module),
    ATTACK(kexec),
    ATTACK(become_root),
    ATTACK(set_groups),
    ATTACK(write_and_run),
    ATTACK(raise_limits_of_parent),
    ATTACK(become_dumpable),
    ATTACK(personality_change),
    ATTACK(set_clock),
    ATTACK(message_queue),
    ATTACK(shared_memory),
    ATTACK(swap_on),
    ATTACK(handle_open),
    ATTACK(steal_fd),
};

/* Run one attack in a jailed child: its exit code is the errno, 0 where it worked, 200 where there was no jail. */
static int in_jail(const struct hs_jail *j, const struct attack *a, uint32_t need)
{
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct hs_jail_report report;
		if (hs_jail_enter(j, &report, NULL) < 0 || (report.parts & need) != need)
			_exit(200);
		long rc = a->run();
		_exit(rc < 0 && rc > -200 ? (int)-rc : 0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static bool landlock_works(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, 1) >= 1;
}

static struct hs_jail jail_of(enum hs_process role)
{
	return (struct hs_jail){.role = role, .threads = true, .file_max = UINT64_MAX, .n_paths = 1,
				.paths = {{inside, HS_JAIL_READ | HS_JAIL_WRITE}}};
}

static void test_attacks_are_denied(void **state)
{
	if (!landlock_works()) {
		print_message("no Landlock in this kernel\n");
		skip();
	}
	static const enum hs_process roles[] = {HS_PROCESS_KEYD, HS_PROCESS_WEB, HS_PROCESS_TENANT, HS_PROCESS_INFER};
	for (size_t r = 0; r < HS_ARRAY_LEN(roles); r++) {
		const struct hs_jail j = jail_of(roles[r]);
		for (size_t i = 0; i < HS_ARRAY_LEN(attacks); i++) {
			int got = in_jail(&j, &attacks[i], HS_JAIL_SECCOMP | HS_JAIL_LANDLOCK | HS_JAIL_NO_NEW_PRIVS);
			if (got != EPERM && got != EACCES && got != ENOSYS)
				print_error("role %d: %s: %d\n", (int)roles[r], attacks[i].name, got);
			assert_true(got == EPERM || got == EACCES || got == ENOSYS);
		}
	}
}

/* An extractor's child is killed, or sees an error; nothing works. */
static void test_an_extractor_that_attacks_dies(void **state)
{
	if (!landlock_works()) {
		print_message("no Landlock in this kernel\n");
		skip();
	}
	const struct hs_jail j = {.role = HS_PROCESS_EXTRACT, .file_max = 0};
	size_t killed = 0;
	for (size_t i = 0; i < HS_ARRAY_LEN(attacks); i++) {
		if (attacks[i].run == fork_off || attacks[i].run == kill_parent || attacks[i].run == raise_limits_of_parent ||
		    attacks[i].run == become_dumpable)
			continue; /* the zygote may; its child's second filter, below, does not */
		int got = in_jail(&j, &attacks[i], HS_JAIL_SECCOMP | HS_JAIL_LANDLOCK);
		if (got != 1000 + SIGSYS && got != EACCES)
			print_error("%s: %d\n", attacks[i].name, got);
		assert_true(got == 1000 + SIGSYS || got == EACCES);
		killed += got == 1000 + SIGSYS;
	}
	assert_true(killed > 30);
}

static long fork_then_filter(void)
{
	pid_t pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		const struct hs_jail child = {.role = HS_PROCESS_EXTRACT, .filter_only = true};
		struct hs_jail_report report;
		if (hs_jail_enter(&child, &report, NULL) < 0 || !(report.parts & HS_JAIL_SECCOMP))
			_exit(3);
		(void)fork_off();
		_exit(0);
	}
	int status;
	if (waitpid(pid, &status, 0) != pid)
		return -errno;
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS ? 0 : -EINVAL;
}

static void test_the_zygote_forks_and_its_child_cannot(void **state)
{
	const struct hs_jail j = {.role = HS_PROCESS_EXTRACT, .file_max = 0};
	const struct attack a = ATTACK(fork_then_filter);
	assert_int_equal(in_jail(&j, &a, HS_JAIL_SECCOMP), 0);
}

static void *count_up(void *arg)
{
	(*(int *)arg)++;
	return NULL;
}

/* What work needs still works. */
static long work(void)
{
	char path[128];
	(void)snprintf(path, sizeof path, "%s/file", inside);
	if (hs_file_replace(AT_FDCWD, path, "data", 4, 0600) < 0)
		return -1;
	HS_BUF_AUTO b = HS_BUF_INIT;
	if (hs_file_read(AT_FDCWD, path, 10, &b) < 0 || b.len != 4 || unlink(path) < 0)
		return -2;
	int n = 0;
	pthread_t thread;
	if (pthread_create(&thread, NULL, count_up, &n) != 0 || pthread_join(thread, NULL) != 0 || n != 1)
		return -3;
	void *big = malloc(8 * 1024 * 1024);
	if (!big || mlock(big, 4096) < 0)
		return -4;
	free(big);
	int pair[2];
	if (pipe2(pair, O_CLOEXEC) < 0 || write(pair[1], "x", 1) != 1)
		return -5;
	if (fcntl(9, F_GETFD) != -1)
		return -6; /* a stray descriptor survived */
	struct rlimit core;
	return getrlimit(RLIMIT_CORE, &core) == 0 && core.rlim_max == 0 ? 0 : -7;
}

static void test_work_goes_on(void **state)
{
	int stray = fcntl(2, F_DUPFD, 9);
	const struct attack a = ATTACK(work);
	const struct hs_jail tenant = jail_of(HS_PROCESS_TENANT);
	assert_int_equal(in_jail(&tenant, &a, HS_JAIL_SECCOMP), 0);
	close(stray);
}

static void test_the_report_names_every_part(void **state)
{
	HS_BUF_AUTO b = HS_BUF_INIT;
	const struct hs_jail_report r = {HS_JAIL_SECCOMP | HS_JAIL_NO_NEW_PRIVS};
	assert_int_equal(hs_jail_report_json(&r, &b), 0);
	assert_string_equal(hs_buf_cstr(&b),
			    "\"jail\":{\"no_new_privs\":true,\"not_dumpable\":false,\"descriptors\":false,\"limits\":false,"
			    "\"landlock\":false,\"landlock_refer\":false,\"seccomp\":true,\"own_user\":false}");
}

static int make_inside(void **state)
{
	(void)snprintf(inside, sizeof inside, "/tmp/hisho-jail-XXXXXX");
	(void)snprintf(outside, sizeof outside, "/tmp/hisho-outside-XXXXXX");
	int fd = mkstemp(outside);
	return fd >= 0 && close(fd) == 0 && mkdtemp(inside) ? 0 : -1;
}

static int remove_inside(void **state)
{
	return unlink(outside) | rmdir(inside);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_attacks_are_denied), cmocka_unit_test(test_an_extractor_that_attacks_dies),
		cmocka_unit_test(test_the_zygote_forks_and_its_child_cannot), cmocka_unit_test(test_work_goes_on),
		cmocka_unit_test(test_the_report_names_every_part),
	};
	return cmocka_run_group_tests(tests, make_inside, remove_inside);
}
