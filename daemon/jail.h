/*
 * What a process gives up before it looks at its first untrusted byte: no-new-privs, not dumpable, stray descriptors,
 * resource limits, Landlock (files), seccomp (system calls).
 *
 * Every program calls it in the same place: open, jail, validate, serve. Landlock is used up to ABI 2 (Linux 5.19), so a newer
 * kernel gives the same jail as Debian 12's; what an older kernel or a container refuses is missing in the report, which
 * `hisho status` shows, and is an error only where the caller says so (require).
 */
#ifndef HISHO_DAEMON_JAIL_H
#define HISHO_DAEMON_JAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "daemon/messages.h"

#define HS_JAIL_PATHS_MAX 48

enum hs_jail_access {
	HS_JAIL_READ = 1,  /* files and folders below: open for reading, list */
	HS_JAIL_WRITE = 2, /* and write, create, rename, remove */
	HS_JAIL_EXEC = 4,  /* and execute */
};

struct hs_jail_path {
	const char *path; /* one that is not there is left out: nothing below it can be reached then */
	unsigned access;
};

struct hs_jail {
	enum hs_process role;       /* chooses the system calls */
	bool filter_only;           /* the pristine zygote's child: add its seccomp list to a jail that stands */
	struct hs_jail_path paths[HS_JAIL_PATHS_MAX];
	size_t n_paths;
	uint64_t memory_max;        /* address space, bytes; 0: no limit */
	uint64_t cpu_max;           /* seconds; 0: no limit */
	uint64_t file_max;          /* largest file written; UINT64_MAX: no limit; 0: none at all */
	unsigned fds_max;           /* 0: as inherited */
	int keep_fds[16];           /* stay open beside 0, 1, 2, HS_CONTROL_FD and hs_notify_fd(); everything else is closed */
	size_t n_keep_fds;
	bool keep_all_fds;          /* the caller opened what it needs, all of it O_CLOEXEC and wanted */
	bool threads;               /* clone for threads is allowed */
	bool gpu;                   /* infer with a device: ioctl and executable mappings as its driver needs */
	bool no_exec;               /* keeper: units start the programs, so it starts none */
	bool require;               /* a separation that the kernel refuses is an error */
};

enum hs_jail_part {
	HS_JAIL_NO_NEW_PRIVS = 1u << 0,
	HS_JAIL_NOT_DUMPABLE = 1u << 1,
	HS_JAIL_DESCRIPTORS = 1u << 2,
	HS_JAIL_LIMITS = 1u << 3,
	HS_JAIL_LANDLOCK = 1u << 4,
	HS_JAIL_LANDLOCK_REFER = 1u << 5, /* ABI 2: rename across folders is judged */
	HS_JAIL_SECCOMP = 1u << 6,
	HS_JAIL_OWN_USER = 1u << 7, /* it runs as a user of its own: units do that, the demo does not */
};

struct hs_jail_report {
	uint32_t parts; /* enum hs_jail_part */
};

int hs_jail_enter(const struct hs_jail *j, struct hs_jail_report *ret, struct hs_err *err) HS_MUST_CHECK;

/* Append "jail":{"no_new_privs":true,...} (no braces around it), for a program's status. */
int hs_jail_report_json(const struct hs_jail_report *r, struct hs_buf *out) HS_MUST_CHECK;

#endif
