/* hisho-extract-pdf: PDF to documents, by poppler, which is GPL and therefore lives in this program alone. */
#include "daemon/extract/program.h"
#include "ingest/extract/pdf.h"

#define MEMORY_MAX (4096ull << 20)

static int prepare(void)
{
	hs_extract_pdf_prepare();
	return 0;
}

int main(int argc, char **argv)
{
	const struct hs_extract_program program = {
		.self = HS_PROCESS_EXTRACT_PDF, .reader = hs_extract_pdf, .input_max = HS_EXTRACT_PDF_MAX, .memory_max = MEMORY_MAX,
		.data = {"/usr/share/poppler"}, /* the character maps of Japanese fonts, from poppler-data */
		.prepare = prepare,
	};
	return hs_extract_program_run(&program, argc, argv);
}
