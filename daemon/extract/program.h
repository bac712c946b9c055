/* What hisho-extract and hisho-extract-pdf have in common: open, jail, validate, serve. */
#ifndef HISHO_DAEMON_EXTRACT_PROGRAM_H
#define HISHO_DAEMON_EXTRACT_PROGRAM_H

#include "daemon/extract/zygote.h"

struct hs_extract_program {
	enum hs_process self;
	hs_extract_reader reader;
	size_t input_max;
	uint64_t memory_max;  /* address space of the program and of each child */
	const char *data[2];  /* folders of public data that the readers open while they read */
	int (*prepare)(void); /* load everything that the readers load lazily: after it the file system is closed */
};

/* Returns the exit status. Takes no arguments of its own. */
int hs_extract_program_run(const struct hs_extract_program *p, int argc, char **argv);

#endif
