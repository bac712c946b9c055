/* What infer tells `hisho status` and the metrics of its models: what computes each, why, and what memory it takes. */
#ifndef HISHO_DAEMON_INFER_STATUS_H
#define HISHO_DAEMON_INFER_STATUS_H

#include "daemon/infer/models.h"

/*
 * Append ,"generator":{..},"embedder":{..}, each where it is there. "why" has the parts of an error: whoever shows it translates
 * the hint.
 */
int hs_put_served_models(const struct hs_models *m, struct hs_buf *out) HS_MUST_CHECK;

#endif
