/* hisho-extract: text, Markdown, HTML and CSV to documents. Holds nothing; one child reads one document. */
#include "daemon/extract/program.h"
#include "text/charset.h"
#include "text/chartab.h"

#define MEMORY_MAX (3072ull << 20) /* the tree of 64 MiB of HTML takes 2 GiB */

static int prepare(void)
{
	(void)hs_chartab(); /* built here once, for all children */
	return hs_charset_prepare();
}

int main(int argc, char **argv)
{
	const struct hs_extract_program program = {
		.self = HS_PROCESS_EXTRACT, .reader = hs_extract_document, .input_max = HS_EXTRACT_INPUT_MAX, .memory_max = MEMORY_MAX,
		.prepare = prepare,
	};
	return hs_extract_program_run(&program, argc, argv);
}
