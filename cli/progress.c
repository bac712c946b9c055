#include "cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/cli.h"

#define BAR_CELLS 24
#define REDRAW_MS 100

void hs_progress_begin(struct hs_progress *p, uint64_t total)
{
	*p = (struct hs_progress){.shown = isatty(STDERR_FILENO) == 1, .began = hs_monotonic_ms(), .total = total};
}

void hs_progress_show(struct hs_progress *p, uint64_t done, const char *words)
{
	uint64_t now = hs_monotonic_ms();
	if (!p->shown || (now - p->last < REDRAW_MS && done < p->total))
		return;
	p->last = now;
	unsigned percent = p->total ? (unsigned)(done * 100 / p->total) : 100;
	char bar[BAR_CELLS + 1];
	for (unsigned i = 0; i < BAR_CELLS; i++)
		bar[i] = i * 100 < percent * BAR_CELLS ? '#' : '.';
	bar[BAR_CELLS] = '\0';
	uint64_t spent = now - p->began;
	uint64_t left = done ? spent * (p->total - done) / done / 1000 : 0;
	fprintf(stderr, "\r[%s] %3u%%  %s", bar, percent, words);
	if (done && done < p->total)
		fprintf(stderr, "  %s %" PRIu64 ":%02" PRIu64, _("left"), left / 60, left % 60);
	fputs("\033[K", stderr);
}

void hs_progress_end(struct hs_progress *p)
{
	if (p->shown && p->last)
		fputc('\n', stderr);
	p->shown = false;
}
