/* How verbs show what they were told: a table, or the JSON itself. Text from the appliance has its control characters replaced.
 */
#ifndef HISHO_CLI_OUTPUT_H
#define HISHO_CLI_OUTPUT_H

#include <jansson.h>
#include <stdio.h>

#include "cli/cli.h"

struct hs_column {
	const char *title; /* msgid */
	const char *key;   /* of each row's object; a dot goes one object deeper */
	bool right;        /* numbers stand at the right */
	bool time;         /* UTC milliseconds, shown in the reader's zone */
};

/* Rows of a JSON array of objects as a table; with --json, the array. Returns an enum hs_exit. */
int hs_print_table(const struct hs_cli *cli, const json_t *rows, const struct hs_column *columns, size_t n);

/* The scalars of an object, one a line. */
void hs_print_fields(const json_t *object);

/* One JSON value, indented, and a newline. */
int hs_print_json(const json_t *value);

/* Text that came from elsewhere: nothing in it can move a terminal's cursor. */
void hs_print_safe(FILE *out, const char *s, size_t n);

/* UTC milliseconds in the reader's zone, "2026-04-01 09:00". */
void hs_print_time(int64_t ms, char out[static 32]);

#endif
