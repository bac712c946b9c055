/* What hyper.c and load.c share: a file being read, its family, and how a refusal is put. */
#ifndef HISHO_INFERENCE_READER_H
#define HISHO_INFERENCE_READER_H

#include "inference/model/weights.h"

struct hs_reader {
	const struct hs_gguf *g;
	const struct hs_arch *arch;
	unsigned has, may; /* the family's features, of which the file has chosen */
	unsigned found;    /* features whose tensors were found */
	struct hs_err *err;
	bool *bound; /* (tensors of the file) */
	char key[128];
};

static inline int hs_model_bad(struct hs_err *err, const char *hint, const char *object)
{
	return hs_fail(err, EINVAL, "model.invalid", hint, "%s", object);
}

static inline int hs_model_unsupported(struct hs_err *err, const char *hint, const char *object)
{
	return hs_fail(err, ENOTSUP, "model.unsupported", hint, "%s", object);
}

/* All of h; r->has and r->may become what this file has and may have. */
int hs_read_hyper(struct hs_reader *r, struct hs_hyper *h) HS_MUST_CHECK;
/* Each layer's window and rotation: layers (h->n_layers). */
int hs_read_windows(struct hs_reader *r, const struct hs_hyper *h, struct hs_layer *layers) HS_MUST_CHECK;

#endif
