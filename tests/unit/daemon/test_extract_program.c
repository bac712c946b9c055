/* The real programs, jailed, as hishod starts them: a document in, a document out; PDFs whole, empty, encrypted, damaged. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "tests/unit/test.h"

#include "tests/unit/daemon/extract_asker.h"

static struct asker asker;
static pid_t child;
static int control = -1;

/* Start the program with its control channel and give it a channel to us. */
static void start(const char *path, enum hs_process which)
{
	int fds[2], tenant[2];
	memset(&asker, 0, sizeof asker);
	assert_int_equal(uv_loop_init(&asker.loop), 0);
	assert_int_equal(hs_channel_pair(fds), 0);
	child = fork();
	if (child == 0) {
		if (dup2(fds[1], HS_CONTROL_FD) < 0 || fcntl(HS_CONTROL_FD, F_SETFD, 0) < 0)
			_exit(99);
		(void)execl(path, path, (char *)NULL); /* returns only on failure */
		_exit(98);
	}
	assert_true(child > 0);
	assert_int_equal(close(fds[1]), 0);
	control = fds[0];
	HS_BUF_AUTO hello = HS_BUF_INIT;
	const struct hs_hello h = {HS_FRAME_VERSION, HS_FRAME_VERSION, HS_PROCESS_KEEPER, {"", 0}};
	assert_int_equal(hs_put_hello(&hello, &h), 0);
	struct hs_frame f = {.type = HS_MSG_HELLO, .payload = hello.data, .payload_len = hello.len};
	assert_int_equal(hs_frame_send(control, &f), 0);
	assert_int_equal(hs_channel_pair(tenant), 0);
	HS_BUF_AUTO channel = HS_BUF_INIT;
	assert_int_equal(hs_put_channel(&channel, HS_PROCESS_TENANT, asker_slice("ten_x")), 0);
	f = (struct hs_frame){.type = HS_MSG_CHANNEL, .payload = channel.data, .payload_len = channel.len, .n_fds = 1, .fds = {tenant[1]}};
	assert_int_equal(hs_frame_send(control, &f), 0);
	assert_int_equal(close(tenant[1]), 0);
	asker_open(&asker, which, tenant[0]);
}

static void stop(void)
{
	const struct hs_frame f = {.type = HS_MSG_SHUTDOWN};
	assert_int_equal(hs_frame_send(control, &f), 0);
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(close(control), 0);
	hs_channel_destroy(asker.channel);
	while (uv_run(&asker.loop, UV_RUN_DEFAULT))
		;
	assert_int_equal(uv_loop_close(&asker.loop), 0);
}

static int read_one(const char *name, const void *data, size_t n, struct hs_document *d, struct hs_err *err)
{
	int fd = asker_send(&asker, 1, name, data, n);
	unsigned before = asker.done + asker.errors;
	asker_wait(&asker, before + 1);
	assert_int_equal(asker.gone, 0);
	assert_string_equal(asker.code, "");
	return asker_decode(fd, d, err);
}

#if defined(__SANITIZE_ADDRESS__)
#define NEED_PROGRAM(path) skip() /* a sanitised program needs more address space than its jail gives */
#else
#define NEED_PROGRAM(path)                                                                                                   \
	do {                                                                                                                 \
		if (access(path, X_OK) < 0) {                                                                                \
			print_message("# skipped: %s is not built\n", path);                                                 \
			skip();                                                                                              \
		}                                                                                                            \
	} while (0)
#endif

static void test_texts_in_every_charset(void **state)
{
	NEED_PROGRAM(EXTRACT_PROGRAM);
	static const struct {
		const char *name, *bytes, *charset, *text;
	} cases[] = {
		{"a.txt", "秘書", "UTF-8", "秘書"},
		{"a.txt", "\x94\xe9\x8f\x91\x87\x40", "CP932", "秘書①"}, /* needs glibc's converters inside the jail */
		{"a.txt", "\xc8\xeb\xbd\xf1", "EUC-JP-MS", "秘書"},
		{"a.txt", "\x1b$BHk=q\x1b(B", "ISO-2022-JP", "秘書"},
		{"a.html", "<meta charset=latin1><p>caf\xe9", "WINDOWS-1252", "café"},
		{"a.md", "# 題", "UTF-8", "題"},
		{"a.csv", "1,2", "UTF-8", "1\t2"},
	};
	start(EXTRACT_PROGRAM, HS_PROCESS_EXTRACT);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct hs_document d = {0};
		assert_int_equal(read_one(cases[i].name, cases[i].bytes, strlen(cases[i].bytes), &d, NULL), 0);
		assert_string_equal(d.charset, cases[i].charset);
		assert_string_equal(d.text, cases[i].text);
		hs_document_finish(&d);
	}
	stop();
}

/* A one-page PDF with this content stream; returned in a static buffer. */
static const char *pdf_with(const char *content, size_t *ret_len)
{
	static char out[4096];
	int n = snprintf(out, sizeof out,
			 "%%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
			 "3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]/Contents 4 0 R/Resources<</Font<</F 5 0 R/J 6 0 R>>>>>>endobj\n"
			 "4 0 obj<</Length %zu>>stream\n%s\nendstream endobj\n5 0 obj<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>endobj\n"
			 "6 0 obj<</Type/Font/Subtype/Type0/BaseFont/Ryumin-Light/Encoding/90ms-RKSJ-H/DescendantFonts[7 0 R]>>endobj\n"
			 "7 0 obj<</Type/Font/Subtype/CIDFontType0/BaseFont/Ryumin-Light/CIDSystemInfo<</Registry(Adobe)/Ordering(Japan1)"
			 "/Supplement 2>>>>endobj\ntrailer<</Root 1 0 R>>\n",
			 strlen(content), content);
	*ret_len = (size_t)n;
	return out;
}

static void test_pdf(void **state)
{
	NEED_PROGRAM(EXTRACT_PDF_PROGRAM);
	start(EXTRACT_PDF_PROGRAM, HS_PROCESS_EXTRACT_PDF);
	struct hs_document d = {0};
	struct hs_err err = HS_ERR_INIT;
	size_t n;
	const char *pdf = pdf_with("BT /F 12 Tf 20 250 Td (Hello secretary) Tj ET", &n);
	assert_int_equal(read_one("a.pdf", pdf, n, &d, &err), 0);
	assert_string_equal(d.text, "Hello secretary");
	assert_int_equal(d.n_pages, 1);
	assert_int_equal(d.blocks[0].page, 1);
	assert_true(d.blocks[0].box[0] > 15 && d.blocks[0].box[0] < 25 && d.blocks[0].box[2] > 60);
	assert_true(d.blocks[0].box[1] > 30 && d.blocks[0].box[3] < 60); /* from the top, not as PDF counts */
	hs_document_finish(&d);
	/* a legacy Japanese font without ToUnicode: its CMap is a file that must be readable from inside the jail */
	pdf = pdf_with("BT /J 12 Tf 20 250 Td <94e98f91> Tj ET", &n);
	assert_int_equal(read_one("a.pdf", pdf, n, &d, &err), 0);
	assert_string_equal(d.text, "秘書");
	hs_document_finish(&d);
	pdf = pdf_with("0 0 m 10 10 l S", &n);
	assert_int_equal(read_one("scan.pdf", pdf, n, &d, &err), -ENODATA);
	assert_string_equal(err.code, "doc.no_text");
	assert_int_equal(read_one("bad.pdf", "%PDF-1.4 rubbish", 16, &d, &err), -EINVAL);
	assert_string_equal(err.code, "doc.damaged_pdf");
	assert_int_equal(read_one("zip.pdf", "PK\x03\x04", 4, &d, &err), -EINVAL);
	assert_string_equal(err.code, "doc.type_mismatch");
	static const char locked[] =
		"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n"
		"3 0 obj<</Filter/Standard/V 1/R 2/P -4/O<0000000000000000000000000000000000000000000000000000000000000000>"
		"/U<0000000000000000000000000000000000000000000000000000000000000000>>>endobj\n"
		"trailer<</Root 1 0 R/Encrypt 3 0 R/ID[<00><00>]>>\n";
	assert_int_equal(read_one("locked.pdf", locked, sizeof locked - 1, &d, &err), -EACCES);
	assert_string_equal(err.code, "doc.encrypted_pdf");
	stop();
}

int main(void)
{
	(void)signal(SIGPIPE, SIG_IGN); /* a known signal: cannot fail */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts_in_every_charset),
		cmocka_unit_test(test_pdf),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
