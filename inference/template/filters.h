/* What the files of filters share. Internal to template/. */
#ifndef HISHO_INFERENCE_TEMPLATE_FILTERS_H
#define HISHO_INFERENCE_TEMPLATE_FILTERS_H

#include "inference/template/value.h"

const struct hs_tcallable *hs_t_sequence_filter(const char *s, size_t n); /* sequences.c */

#endif
