/* Packets and payloads between processes: the first byte chooses the decoder; what is decoded encodes to the same bytes. */
#include <stdint.h>
#include <string.h>

#include "daemon/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same(const struct hs_buf *b, int rc, const uint8_t *data, size_t size)
{
	hs_assert(rc == 0 && b->len == size && (size == 0 || memcmp(b->data, data, size) == 0));
}

#define ROUND_TRIP(name, type)                                                                                                   \
	do {                                                                                                                     \
		static struct type v;                                                                                            \
		if (hs_get_##name(data, size, &v) == 0)                                                                          \
			same(&b, hs_put_##name(&b, &v), data, size);                                                             \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	uint8_t which = *data++;
	size--;
	HS_BUF_AUTO b = HS_BUF_INIT;
	struct hs_frame frame;
	struct hs_msg_error error;
	struct hs_slice name, media;
	enum hs_process role;
	switch (which % 16) {
	case 0: (void)!hs_frame_parse(data, size, &frame, NULL); break;
	case 1: ROUND_TRIP(hello, hs_hello); break;
	case 2: (void)!hs_get_error(data, size, &error); break;
	case 3:
		if (hs_get_channel(data, size, &role, &name) == 0)
			same(&b, hs_put_channel(&b, role, name), data, size);
		break;
	case 4: ROUND_TRIP(key, hs_msg_key); break;
	case 5:
		if (hs_get_extract(data, size, &name, &media) == 0)
			same(&b, hs_put_extract(&b, name, media), data, size);
		break;
	case 6: ROUND_TRIP(http_request, hs_msg_http_request); break;
	case 7: ROUND_TRIP(http_response, hs_msg_http_response); break;
	case 8: ROUND_TRIP(embed, hs_msg_embed); break;
	case 9: ROUND_TRIP(generate, hs_msg_generate); break;
	case 10: ROUND_TRIP(kept, hs_msg_kept); break;
	case 11: ROUND_TRIP(done, hs_msg_done); break;
	case 12: ROUND_TRIP(start, hs_msg_start); break;
	case 13: ROUND_TRIP(ready, hs_msg_ready); break;
	case 14: ROUND_TRIP(rerank, hs_msg_rerank); break;
	default: ROUND_TRIP(models, hs_msg_models); break;
	}
	return 0;
}
