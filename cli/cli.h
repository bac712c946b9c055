/*
 * What every verb of the program `hisho` shares: where the appliance is, how output looks, options, exit codes.
 *
 * A verb is one file and one row of the table in main.c; a verb with sub-verbs has a table of its own of the same shape.
 * Verbs print results on standard output and everything else on standard error.
 */
#ifndef HISHO_CLI_CLI_H
#define HISHO_CLI_CLI_H

#include <libintl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define _(msgid) gettext(msgid)

enum hs_exit {
	HS_EXIT_OK = 0,
	HS_EXIT_FAILED = 1, /* refused, unreachable, wrong input; the reason is on standard error */
	HS_EXIT_USAGE = 2,
	HS_EXIT_NOT_FOUND = 3, /* ask: the documents do not say */
	HS_EXIT_PARTLY = 4,    /* ingest: some files were not taken; each is named */
};

struct hs_cli {
	const char *dir;        /* the state directory: HISHO_DIR, --dir, /var/lib/hisho */
	const char *url;        /* an appliance on another host: HISHO_URL, --url; NULL: the admin socket of dir */
	const char *token_file; /* --token-file; a token in HISHO_TOKEN otherwise */
	const char *cacert;     /* --cacert: whom to trust as url; the certificate in dir otherwise */
	const char *tenant;     /* HISHO_TENANT, --tenant */
	bool json;
};

/* One option of a verb. to points to what the letter of kind says. */
enum hs_option_kind {
	HS_OPTION_FLAG,   /* bool */
	HS_OPTION_STRING, /* const char * */
	HS_OPTION_COUNT,  /* uint32_t, from 1 */
	HS_OPTION_LIST,   /* struct hs_option_list; may be given again */
};

#define HS_OPTION_LIST_MAX 64
struct hs_option_list {
	const char *items[HS_OPTION_LIST_MAX];
	size_t count;
};

struct hs_option {
	const char *name; /* without the dashes */
	enum hs_option_kind kind;
	void *to;
	const char *help; /* msgid */
};

struct hs_verb {
	const char *name;
	int (*run)(struct hs_cli *cli, int argc, char **argv); /* argv[0] is the verb; an enum hs_exit */
	const char *arguments;                                 /* for the usage line */
	const char *summary;                                   /* msgid */
};

/*
 * Parse a verb's options and the common ones. Returns true with *ret_first the index of the first argument; false where
 * the verb is to return *ret_exit at once (help was shown, or the usage was wrong and has been explained).
 */
bool hs_cli_parse(struct hs_cli *cli, const struct hs_verb *verb, const struct hs_option *options, size_t n, int argc,
		  char **argv, int *ret_first, int *ret_exit) HS_MUST_CHECK;

/* Dispatch argv[1] over a table of sub-verbs. */
int hs_cli_dispatch(struct hs_cli *cli, const char *parent, const struct hs_verb *verbs, size_t n, int argc, char **argv);

/* Say on standard error that a verb was used wrongly; returns HS_EXIT_USAGE. */
int hs_cli_usage(const struct hs_verb *verb, const char *why);

/* Print err to standard error (as JSON where asked); returns HS_EXIT_FAILED. */
int hs_cli_fail(const struct hs_cli *cli, const struct hs_err *err);

/* The verbs. */
extern const struct hs_verb hs_verb_ask, hs_verb_audit, hs_verb_docs, hs_verb_eval, hs_verb_feedback,
	hs_verb_ingest, hs_verb_init, hs_verb_model, hs_verb_policy, hs_verb_seal, hs_verb_search, hs_verb_sender, hs_verb_status,
	hs_verb_tenant, hs_verb_token, hs_verb_user;

#endif
