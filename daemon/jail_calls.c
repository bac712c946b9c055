/*
 * System calls by role.
 *
 *   keeper           starts programs, whose filters come on top of its own: everything but a list of what nobody here needs
 *   infer with a GPU its driver's calls are not ours to list: the same, and no network
 *   all others       a list of what they need; the rest fails with EPERM
 *   extractors       the same, and the rest kills: their input is hostile and they are made to die
 */
#include "daemon/jail_calls.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* Kept by every process. */
static const char *const common[] = {
	"read", "write", "readv", "writev", "pread64", "pwrite64", "close", "fstat", "newfstatat", "statx", "lseek", "munmap", "mremap",
	"madvise", "brk", "mlock", "munlock", "mlock2", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "futex",
	"nanosleep", "clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday", "time", "getpid", "gettid", "getppid", "getuid",
	"geteuid", "getgid", "getegid", "getresuid", "getresgid", "sched_yield", "sched_getaffinity", "getrandom", "exit", "exit_group",
	"restart_syscall", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "eventfd2", "pipe2", "poll", "ppoll", "select",
	"pselect6", "recvmsg", "sendmsg", "recvfrom", "sendto", "shutdown", "getsockopt", "getsockname", "getpeername", "fcntl", "dup",
	"dup2", "dup3", "uname", "sysinfo", "set_robust_list", "rseq", "set_tid_address", "arch_prctl", "getrlimit", "membarrier",
	"getrusage", "getcpu",
};

/* Paths, which Landlock judges. */
static const char *const files[] = {
	"open", "openat", "access", "faccessat", "faccessat2", "readlink", "readlinkat", "getdents64", "getcwd", "fadvise64", "stat",
	"lstat", "fstatfs", "statfs", "memfd_create",
};

static const char *const writers[] = {
	"fsync", "fdatasync", "ftruncate", "fallocate", "rename", "renameat", "renameat2", "unlink", "unlinkat", "mkdir", "mkdirat",
	"rmdir", "flock", "fchmod", "sync_file_range",
};

static const char *const listeners[] = {"accept4", "accept", "listen", "setsockopt"};

/* The pristine extractor forks a child a document and waits for it. */
static const char *const forkers[] = {"wait4", "waitid", "kill", "setsid"};

static const char *const computers[] = {"sched_setaffinity", "setpriority", "getpriority", "mincore", "set_mempolicy", "mbind"};

/* Nobody needs these: kernel surface that has been broken through before, and what changes the host. */
static const char *const never[] = {
	"ptrace", "process_vm_readv", "process_vm_writev", "bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key",
	"request_key", "io_uring_setup", "io_uring_enter", "io_uring_register", "kexec_load", "kexec_file_load",
	"init_module", "finit_module", "delete_module", "mount", "umount2", "move_mount", "fsopen", "fsmount", "fsconfig",
	"open_tree", "pivot_root", "chroot", "swapon", "swapoff", "reboot", "sethostname", "setdomainname", "settimeofday",
	"clock_settime", "clock_adjtime", "adjtimex", "acct", "quotactl", "iopl", "ioperm", "personality", "unshare",
	"setns", "open_by_handle_at", "name_to_handle_at", "lookup_dcookie", "nfsservctl", "syslog", "vhangup",
	"modify_ldt", "kcmp", "pidfd_getfd", "fanotify_init", "mknod", "mknodat",
};

/* Told as absent, not as forbidden: the C library then takes the older call, whose arguments a filter can see. */
static const char *const absent[] = {"clone3", "openat2", "close_range", "epoll_pwait2"};

static int rule(scmp_filter_ctx f, uint32_t action, const char *name)
{
	int call = seccomp_syscall_resolve_name(name);
	if (call == __NR_SCMP_ERROR)
		return 0; /* this architecture or library does not know it: the default holds */
	int rc = seccomp_rule_add(f, action, call, 0);
	return rc == -EDOM || rc == -EEXIST ? 0 : rc;
}

static int rules(scmp_filter_ctx f, uint32_t action, const char *const *names, size_t n)
{
	int rc = 0;
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = rule(f, action, names[i]);
	return rc;
}
#define RULES(f, action, list) rules(f, action, list, HS_ARRAY_LEN(list))

#define NAMESPACES (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

static int allow_arguments(scmp_filter_ctx f, const struct hs_jail *j)
{
	const uint32_t ok = SCMP_ACT_ALLOW;
	static const unsigned long requests[] = {FIONREAD, FIONBIO, FIOCLEX, 0x5401 /* TCGETS: is the log a terminal */};
	int rc = 0;
	for (size_t i = 0; i < HS_ARRAY_LEN(requests) && rc == 0; i++)
		rc = seccomp_rule_add(f, ok, SCMP_SYS(ioctl), 1, SCMP_A1(SCMP_CMP_EQ, requests[i]));
	static const int maps[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect)};
	for (size_t i = 0; i < HS_ARRAY_LEN(maps) && rc == 0; i++) { /* never writable and executable at once */
		rc = seccomp_rule_add(f, ok, maps[i], 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
		if (rc == 0)
			rc = seccomp_rule_add(f, ok, maps[i], 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC | PROT_WRITE, PROT_EXEC));
	}
	if (rc == 0) /* our own limits and those of nobody else; the fourth argument is where old ones go */
		rc = seccomp_rule_add(f, ok, SCMP_SYS(prlimit64), 1, SCMP_A0(SCMP_CMP_EQ, 0));
	if (rc == 0) /* abort() */
		rc = seccomp_rule_add(f, ok, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid()));
	if (rc == 0)
		rc = seccomp_rule_add(f, ok, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, 15 /* PR_SET_NAME */));
	if (rc == 0) /* names an anonymous mapping: glibc's allocator */
		rc = seccomp_rule_add(f, ok, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, 0x53564d41 /* PR_SET_VMA */));
	if (rc == 0 && j->threads)
		rc = seccomp_rule_add(f, ok, SCMP_SYS(clone), 1, SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | NAMESPACES, CLONE_THREAD));
	return rc;
}

static bool is_extractor(const struct hs_jail *j)
{
	return j->role == HS_PROCESS_EXTRACT || j->role == HS_PROCESS_EXTRACT_PDF;
}

static int allow_list(scmp_filter_ctx f, const struct hs_jail *j)
{
	int rc = RULES(f, SCMP_ACT_ALLOW, common);
	if (rc == 0)
		rc = RULES(f, SCMP_ACT_ALLOW, files);
	if (rc == 0 && (j->role == HS_PROCESS_TENANT || j->role == HS_PROCESS_KEYD))
		rc = RULES(f, SCMP_ACT_ALLOW, writers);
	if (rc == 0 && j->role == HS_PROCESS_WEB)
		rc = RULES(f, SCMP_ACT_ALLOW, listeners);
	if (rc == 0 && j->role == HS_PROCESS_INFER)
		rc = RULES(f, SCMP_ACT_ALLOW, computers);
	if (rc == 0 && is_extractor(j) && !j->filter_only)
		rc = RULES(f, SCMP_ACT_ALLOW, forkers);
	if (rc == 0 && is_extractor(j) && !j->filter_only) /* fork, and the filter of the child */
		rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
				      SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD | CLONE_VM | NAMESPACES, 0));
	static const char *const again[] = {"seccomp", "prctl", "setrlimit", "prlimit64", "tgkill", "setsockopt"};
	if (rc == 0 && is_extractor(j) && !j->filter_only)
		rc = RULES(f, SCMP_ACT_ALLOW, again);
	if (rc == 0)
		rc = allow_arguments(f, j);
	if (rc == 0)
		rc = RULES(f, SCMP_ACT_ERRNO(ENOSYS), absent);
	return rc;
}

static int deny_list(scmp_filter_ctx f, const struct hs_jail *j)
{
	int rc = RULES(f, SCMP_ACT_ERRNO(EPERM), never);
	static const int families[] = {AF_INET, AF_INET6, AF_PACKET, AF_NETLINK};
	for (size_t i = 0; i < HS_ARRAY_LEN(families) && rc == 0 && j->role != HS_PROCESS_KEEPER; i++)
		rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]));
	static const char *const starters[] = {"execve", "execveat"};
	if (rc == 0 && (j->role != HS_PROCESS_KEEPER || j->no_exec))
		rc = RULES(f, SCMP_ACT_ERRNO(EPERM), starters);
	return rc;
}

int hs_jail_filter(const struct hs_jail *j)
{
	bool by_denying = j->role == HS_PROCESS_KEEPER || (j->role == HS_PROCESS_INFER && j->gpu);
	uint32_t otherwise = by_denying ? SCMP_ACT_ALLOW : is_extractor(j) ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ERRNO(EPERM);
	scmp_filter_ctx f = seccomp_init(otherwise);
	if (!f)
		return -ENOMEM;
	int rc = by_denying ? deny_list(f, j) : allow_list(f, j);
	if (rc == 0)
		rc = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
	if (rc == 0)
		rc = seccomp_load(f);
	seccomp_release(f);
	return rc;
}
