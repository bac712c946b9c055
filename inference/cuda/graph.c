/*
 * A token's launches, asked for at once. What changes from token to token (ids, positions, pages, wishes) lies in the device's
 * memory, so that passes of one shape are the same launches: the first one of a shape runs as it is, the second is recorded, and
 * from then on it is replayed.
 */
#include <errno.h>

#include "inference/cuda/model.h"

static bool same_shape(const struct hs_gpu_pass *p, const struct hs_gpu_graph *g)
{
	return g->used && g->n == p->n && g->n_views == p->n_views && g->most_tokens == p->most_tokens &&
	       g->longest == p->longest && g->chooses == p->chooses;
}

/* The shape's place, or the one that was used least lately, made empty. */
static struct hs_gpu_graph *find(struct hs_gpu_graphs *all, const struct hs_gpu_pass *p)
{
	struct hs_gpu_graph *oldest = &all->list[0];
	for (struct hs_gpu_graph *g = all->list; g < all->list + HS_GPU_GRAPHS; g++) {
		if (same_shape(p, g))
			return g;
		if (g->used < oldest->used)
			oldest = g;
	}
	hs_device_graph_destroy(p->m->device, oldest->graph);
	*oldest = (struct hs_gpu_graph){
	    .n = p->n, .n_views = p->n_views, .most_tokens = p->most_tokens, .longest = p->longest, .chooses = p->chooses};
	return oldest;
}

/* What a graph that was recorded for a few positions more computes is the same: blocks of what no token sees end at once. */
static uint32_t rounded(uint32_t longest, uint32_t most)
{
	uint32_t to = HS_GPU_GRAPH_POSITIONS;
	while (to < longest)
		to *= 2;
	return HS_MIN(to, most);
}

static void record(struct hs_gpu_pass *p, struct hs_gpu_graph *g, void (*launches)(struct hs_gpu_pass *p))
{
	struct hs_device *d = p->m->device;
	struct hs_yield *y = p->y, none = {0};
	int rc = hs_device_record(d);
	if (rc == 0) {
		p->y = &none; /* what else would run meanwhile is not of the graph */
		launches(p);
		p->y = y;
		rc = hs_device_recorded(d, &g->graph);
		if (p->rc < 0)
			rc = p->rc;
		p->rc = rc == -EINVAL || rc == -ENODEV ? rc : 0;
	}
	if (rc < 0) {
		hs_device_graph_destroy(d, g->graph);
		g->graph = NULL;
		p->m->graphs.off = true;
	}
}

void hs_gpu_pass_replay(struct hs_gpu_pass *p, void (*launches)(struct hs_gpu_pass *p))
{
	struct hs_gpu_graphs *all = &p->m->graphs;
	p->longest = rounded(p->longest, p->m->work.longest);
	struct hs_gpu_graph *g = all->off ? NULL : find(all, p);
	if (g && g->used && !g->graph && p->rc == 0)
		record(p, g, launches);
	if (g)
		g->used = ++all->tick;
	if (!g || !g->graph) {
		launches(p);
		return;
	}
	if (p->rc == 0 && hs_yield_is_due(p->y) && hs_yield_now(p->y))
		p->rc = -ECANCELED;
	if (p->rc == 0)
		p->rc = hs_device_replay(p->m->device, g->graph);
}

void hs_gpu_graphs_finish(struct hs_backend_model *m)
{
	for (struct hs_gpu_graph *g = m->graphs.list; g < m->graphs.list + HS_GPU_GRAPHS; g++)
		hs_device_graph_destroy(m->device, g->graph);
	m->graphs = (struct hs_gpu_graphs){0};
}
