/* The audit log's reader: framing and chain over any bytes, and the decoder of a record's plaintext. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file.h"
#include "policy/record.h"
#include "policy/trail.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode(const uint8_t *data, size_t size)
{
	static struct hs_record_view view;
	struct hs_audit_shown shown = {0};
	if (!view.strings)
		hs_assert(!hs_record_view_init(&view));
	if (hs_record_decode(data, size, &view, &shown))
		return;
	hs_assert(strlen(shown.principal) <= HS_RECORD_TEXT_MAX && shown.n_chunks <= HS_AUDIT_CHUNKS_MAX);
	hs_assert(!shown.query || shown.query[shown.query_len] == '\0');
	for (size_t i = 0; i < shown.n_chunks; i++)
		hs_assert(memchr(shown.chunks[i].version, 0, sizeof(shown.chunks[i].version)));
}

static void walk(const uint8_t *data, size_t size)
{
	struct hs_trail_header h;
	struct hs_trail t;
	struct hs_trail_record r;
	HS_FD_AUTO fd = memfd_create("audit", MFD_CLOEXEC);
	hs_assert(fd >= 0 && !hs_fd_write_all(fd, data, size));
	if (hs_trail_header_read(fd, &h, NULL))
		return;
	hs_assert(!hs_trail_init(&t, fd, &h));
	while (hs_trail_next(&t, &r) == 1)
		decode(r.body, r.body_len);
	hs_trail_finish(&t);
}

/* Turn the input into framed records with right chains: u16 length, then a body. */
static void walk_chained(const uint8_t *data, size_t size)
{
	struct hs_trail_header h;
	HS_BUF_AUTO file = HS_BUF_INIT;
	uint8_t chain[HS_AUDIT_CHAIN_LEN], frame[HS_TRAIL_FRAME_LEN];
	uint64_t seq = 0;
	hs_trail_header_make("ten_fuzz", 1, &h);
	memcpy(chain, h.genesis, sizeof(chain));
	if (hs_buf_append(&file, h.bytes, sizeof(h.bytes)))
		abort();
	while (size >= 2) {
		size_t n = HS_MIN((size_t)(data[0] | data[1] << 8), size - 2), at = file.len;
		struct hs_trail_record r = {.kind = HS_TRAIL_ENTRY, .seq = ++seq, .body_len = n};
		hs_trail_frame(&r, frame);
		if (hs_buf_append(&file, frame, sizeof(frame)) || hs_buf_append(&file, data + 2, n))
			abort();
		hs_trail_chain(chain, file.data + at, file.len - at, chain);
		if (hs_buf_append(&file, chain, sizeof(chain)))
			abort();
		data += 2 + n;
		size -= 2 + n;
	}
	struct hs_trail t;
	struct hs_trail_record r;
	HS_FD_AUTO fd = memfd_create("audit", MFD_CLOEXEC);
	hs_assert(fd >= 0 && !hs_fd_write_all(fd, file.data, file.len));
	hs_assert(!hs_trail_init(&t, fd, &h));
	while (hs_trail_next(&t, &r) == 1) {
		seq--;
		decode(r.body, r.body_len);
	}
	hs_assert(seq == 0);
	hs_trail_finish(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t genesis[HS_AUDIT_CHAIN_LEN];
	struct hs_mark m;
	decode(data, size);
	walk(data, size);
	walk_chained(data, size);
	if (size == HS_MARK_LEN)
		hs_assert(hs_mark_decode(data, NULL, genesis, &m) <= 0);
	return 0;
}
