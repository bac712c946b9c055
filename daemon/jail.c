#include "daemon/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.h"
#include "daemon/jail_calls.h"
#include "daemon/notify.h"

/* --- Landlock --- */

#ifndef LANDLOCK_ACCESS_FS_REFER
#define LANDLOCK_ACCESS_FS_REFER (1ULL << 13)
#endif

#define FILE_READ LANDLOCK_ACCESS_FS_READ_FILE
#define FILE_WRITE LANDLOCK_ACCESS_FS_WRITE_FILE
#define FILE_EXEC LANDLOCK_ACCESS_FS_EXECUTE
#define DIR_READ LANDLOCK_ACCESS_FS_READ_DIR
#define DIR_WRITE                                                                                                                \
	(LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG)
#define NEVER                                                                                                                    \
	(LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |  \
	 LANDLOCK_ACCESS_FS_MAKE_SYM)

static int add_path(int ruleset, const struct hs_jail_path *p, uint64_t handled)
{
	HS_FD_AUTO fd = open(p->path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 0 : -errno;
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	uint64_t allowed = 0;
	if (p->access & HS_JAIL_READ)
		allowed |= FILE_READ | DIR_READ;
	if (p->access & HS_JAIL_WRITE)
		allowed |= FILE_READ | DIR_READ | FILE_WRITE | DIR_WRITE | LANDLOCK_ACCESS_FS_REFER;
	if (p->access & HS_JAIL_EXEC)
		allowed |= FILE_EXEC;
	if (!S_ISDIR(st.st_mode))
		allowed &= FILE_READ | FILE_WRITE | FILE_EXEC;
	struct landlock_path_beneath_attr rule = {.allowed_access = allowed & handled, .parent_fd = fd};
	return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0 ? -errno : 0;
}

static int enter_landlock(const struct hs_jail *j, uint32_t *parts)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	if (abi < 1)
		return abi < 0 ? -errno : -ENOTSUP;
	struct landlock_ruleset_attr attr = {.handled_access_fs = FILE_READ | FILE_WRITE | FILE_EXEC | DIR_READ | DIR_WRITE | NEVER};
	if (abi >= 2)
		attr.handled_access_fs |= LANDLOCK_ACCESS_FS_REFER;
	HS_FD_AUTO ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
	if (ruleset < 0)
		return -errno;
	for (size_t i = 0; i < j->n_paths; i++) {
		int rc = add_path(ruleset, &j->paths[i], attr.handled_access_fs);
		if (rc < 0)
			return rc;
	}
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		return -errno;
	*parts |= HS_JAIL_LANDLOCK | (abi >= 2 ? HS_JAIL_LANDLOCK_REFER : 0);
	return 0;
}

/* --- limits and descriptors --- */

static int limit(int resource, uint64_t max)
{
	struct rlimit now;
	if (getrlimit(resource, &now) < 0)
		return -errno;
	rlim_t value = max == UINT64_MAX ? now.rlim_max : (rlim_t)HS_MIN(max, (uint64_t)now.rlim_max);
	const struct rlimit l = {value, value};
	return setrlimit(resource, &l) < 0 ? -errno : 0;
}

static int set_limits(const struct hs_jail *j)
{
	int rc = limit(RLIMIT_CORE, 0);
	if (rc == 0 && j->memory_max)
		rc = limit(RLIMIT_AS, j->memory_max);
	if (rc == 0 && j->cpu_max)
		rc = limit(RLIMIT_CPU, j->cpu_max);
	if (rc == 0 && j->fds_max)
		rc = limit(RLIMIT_NOFILE, j->fds_max);
	if (rc == 0 && j->file_max != UINT64_MAX) {
		if (signal(SIGXFSZ, SIG_IGN) == SIG_ERR) /* a write past it fails, and is told */
			return -errno;
		rc = limit(RLIMIT_FSIZE, j->file_max);
	}
	return rc;
}

static bool is_kept(const struct hs_jail *j, unsigned fd)
{
	bool kept = fd <= 2 || fd == HS_CONTROL_FD || (int)fd == hs_notify_fd();
	for (size_t i = 0; i < j->n_keep_fds; i++)
		kept = kept || (j->keep_fds[i] >= 0 && (unsigned)j->keep_fds[i] == fd);
	return kept;
}

static int close_strays(const struct hs_jail *j)
{
	unsigned most = (unsigned)HS_MAX(HS_CONTROL_FD, hs_notify_fd()), from = 0;
	for (size_t i = 0; i < j->n_keep_fds; i++)
		most = HS_MAX(most, (unsigned)HS_MAX(j->keep_fds[i], 0));
	for (unsigned fd = 0; fd <= most; fd++) { /* between what is kept, one by one */
		if (!is_kept(j, fd))
			(void)close((int)fd); /* not ours, or not open */
	}
	from = most + 1;
#ifdef SYS_close_range
	if (syscall(SYS_close_range, from, ~0u, 0) == 0)
		return 0;
#endif
	long open_max = sysconf(_SC_OPEN_MAX);
	for (long fd = from; fd < (open_max > 0 ? open_max : 65536); fd++)
		(void)close((int)fd); /* as above */
	return 0;
}

/* The other end of the control channel is hishod: is our user another? */
static bool has_own_user(void)
{
	struct ucred peer;
	socklen_t len = sizeof peer;
	return getsockopt(HS_CONTROL_FD, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.uid != geteuid() && geteuid() != 0;
}

/* --- all of it --- */

static const char *const part_names[] = {"no_new_privs", "not_dumpable", "descriptors", "limits",
					 "landlock",     "landlock_refer", "seccomp",   "own_user"};

static int judge(const struct hs_jail *j, struct hs_jail_report *report, uint32_t part, int rc, struct hs_err *err)
{
	if (rc == 0) {
		report->parts |= part;
		return 0;
	}
	if (!j->require)
		return 0;
	return hs_fail(err, -rc, "jail.missing",
		       HS_N_("The kernel or the container refuses a separation that this installation requires."), "%s",
		       part_names[__builtin_ctz(part)]);
}

int hs_jail_enter(const struct hs_jail *j, struct hs_jail_report *ret, struct hs_err *err)
{
	struct hs_jail_report report = {0};
	int rc = judge(j, &report, HS_JAIL_NO_NEW_PRIVS, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0, err);
	if (rc == 0 && j->filter_only) {
		rc = judge(j, &report, HS_JAIL_SECCOMP, hs_jail_filter(j), err);
		if (rc == 0)
			*ret = report;
		return rc;
	}
	if (rc == 0)
		rc = judge(j, &report, HS_JAIL_NOT_DUMPABLE, prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ? -errno : 0, err);
	if (rc == 0 && !j->keep_all_fds)
		rc = judge(j, &report, HS_JAIL_DESCRIPTORS, close_strays(j), err);
	if (rc == 0)
		rc = judge(j, &report, HS_JAIL_LIMITS, set_limits(j), err);
	uint32_t landlock = 0;
	if (rc == 0 && j->role != HS_PROCESS_KEEPER)
		rc = judge(j, &report, HS_JAIL_LANDLOCK, enter_landlock(j, &landlock), err);
	report.parts |= landlock;
	if (has_own_user())
		report.parts |= HS_JAIL_OWN_USER;
	if (rc == 0)
		rc = judge(j, &report, HS_JAIL_SECCOMP, hs_jail_filter(j), err);
	if (rc == 0)
		*ret = report;
	return rc;
}

int hs_jail_report_json(const struct hs_jail_report *r, struct hs_buf *out)
{
	int rc = hs_buf_append_str(out, "\"jail\":{");
	for (size_t i = 0; i < HS_ARRAY_LEN(part_names) && rc == 0; i++)
		rc = hs_buf_printf(out, "%s\"%s\":%s", i ? "," : "", part_names[i], r->parts & 1u << i ? "true" : "false");
	return rc < 0 ? rc : hs_buf_append_str(out, "}");
}
