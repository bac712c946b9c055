#include "tests/cuda_on_host/record.h"

#include "tests/cuda_on_host/host.h"

struct hs_device_graph {
	std::vector<std::function<int(void)>> launches;
};

struct hs_host_recorded hs_host_recorded;

int hs_host_record(void *stream, std::function<int(void)> launch)
{
	static_cast<struct hs_device_graph *>(stream)->launches.push_back(std::move(launch));
	return 0;
}

static hs_gpu_stream begin(void)
{
	hs_host_recorded.alive++;
	return new hs_device_graph;
}

static struct hs_device_graph *end(hs_gpu_stream stream)
{
	hs_host_recorded.graphs++;
	return static_cast<struct hs_device_graph *>(stream);
}

static int replay(struct hs_device_graph *g)
{
	int rc = 0;
	hs_host_recorded.replays++;
	for (const std::function<int(void)> &launch : g->launches)
		rc = rc ? rc : launch();
	return rc;
}

static void destroy(struct hs_device_graph *g)
{
	hs_host_recorded.alive--;
	delete g;
}

const struct hs_host_recorder hs_host_recorder = {begin, end, replay, destroy};
