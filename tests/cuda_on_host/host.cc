/* The scheduler: blocks in slots, their threads as fibers, barriers and collectives, shared memory, asynchronous copies. */
#include "tests/cuda_on_host/host.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <utility>
#include <vector>

#include "tests/cuda_on_host/fiber.h"

#define THREADS_MAX 1024u /* of a block */
#define FIBERS_MAX 4096u  /* of all blocks that run at a time */
#define SLOTS_MAX 64u     /* blocks that run at a time */
#define SHARED_MAX 49152u /* what a block may have without asking for more */
#define ARRAYS_MAX 16u    /* of a block */
#define GUARD 64u         /* bytes before and after each array */
#define GUARD_BYTE 0xc3
#define COPIES_MAX 160u   /* asynchronous copies of a thread that are not done */
#define SPINS_MAX 100000u /* of a launch */
#define SHARED_ROOM (SHARED_MAX + ARRAYS_MAX * 512)

enum state { READY, AT_BARRIER, AT_COLLECTIVE, DONE };

struct copy {
	void *to;
	const void *from;
	unsigned bytes;
	bool valid;
	unsigned group;
};

struct thread {
	struct fiber fiber;
	struct hs_host_place place;
	enum state state;
	unsigned slot, index, rank; /* index: in its block */
	const char *site;           /* where it waits */
	uint32_t mask;
	void *operand;
	hs_host_resolve_fn resolve;
	struct copy copies[COPIES_MAX];
	unsigned n_copies, group;
};

struct array {
	const void *key;
	const char *site;
	size_t at, bytes;
};

struct slot {
	bool used;
	unsigned waiting, done; /* threads at the barrier, and gone */
	unsigned barriers;      /* of the block so far */
	char barrier_keys[2];   /* by turns: who is late must not see what comes after the next one */
	struct array arrays[ARRAYS_MAX];
	unsigned n_arrays;
	size_t shared_used, shared_asked;
	unsigned char *shared;
};

static struct {
	char *stacks;
	struct fiber main;
	struct thread *threads; /* (FIBERS_MAX) thread i of slot s is s * block size + i */
	struct slot slots[SLOTS_MAX];
	uint64_t ready[FIBERS_MAX / 64]; /* by rank */
	struct thread *by_rank[FIBERS_MAX];
	struct thread *running;
	unsigned n_slots, per_block, cursor, spins, launches;
	uint64_t random;
	hs_host_body_fn body;
	void *arguments;
	bool failed;
	char message[512];
	char fence_key, end_key;
} host;

struct hs_host_mode hs_host_mode;
const struct hs_host_place *hs_host_place;
int hs_host_plant;

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64_t draw(void)
{
	uint64_t z = host.random += 0x9e3779b97f4a7c15u;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

const char *hs_host_failure(void)
{
	return host.failed ? host.message : nullptr;
}

unsigned hs_host_launches(void)
{
	return host.launches;
}

void hs_host_clear(void)
{
	host.failed = false;
	host.launches = 0;
}

static void vnote(const char *format, va_list arguments)
{
	if (!host.failed)
		(void)vsnprintf(host.message, sizeof host.message, format, arguments); /* a message may be cut */
	host.failed = true;
}

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vnote(format, arguments);
	va_end(arguments);
}

static void to_main(void)
{
	struct thread *t = host.running;
	fiber_switch(&t->fiber, &host.main);
}

void hs_host_fail(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vnote(format, arguments);
	va_end(arguments);
	if (!host.running)
		abort(); /* a kernel's operation outside a kernel */
	to_main();       /* which drops the launch */
	abort();
}

static void set_state(struct thread *t, enum state state)
{
	t->state = state;
	uint64_t bit = (uint64_t)1 << t->rank % 64;
	if (state == READY)
		host.ready[t->rank / 64] |= bit;
	else
		host.ready[t->rank / 64] &= ~bit;
}

/* Wait in `state` until another makes this thread ready. */
static void wait_in(enum state state)
{
	set_state(host.running, state);
	to_main();
}

/* ---- orders ---- */

enum { IN_ORDER, REVERSED, SHUFFLED, LANES_FIRST, WARPS_REVERSED };

struct order {
	int base;
	bool starve, favour; /* one thread in eight goes after or before all others */
	bool round, preempt; /* go on after the last one that ran; let others run at atomics and fences */
	unsigned resident;   /* blocks at a time */
};

static struct order order_of(unsigned number)
{
	static const struct order first[8] = {
	    {IN_ORDER, false, false, false, false, 1},      {REVERSED, false, false, false, false, 1},
	    {SHUFFLED, false, false, false, true, 3},       {SHUFFLED, false, false, true, true, 2},
	    {IN_ORDER, true, false, false, true, 2},        {LANES_FIRST, false, false, true, false, 1},
	    {WARPS_REVERSED, false, false, false, true, 3}, {REVERSED, false, true, false, true, 3},
	};
	if (number < 8)
		return first[number];
	uint64_t r = draw();
	return {(int)(r % 5),       (r >> 8) % 3 == 0,  (r >> 16) % 3 == 0,
		(r >> 24 & 1) != 0, (r >> 32) % 4 != 0, 1 + (unsigned)((r >> 40) % 4)};
}

/* A number that decides who goes first, smaller ones first. */
static uint64_t weight_of(const struct order *o, unsigned index, unsigned n)
{
	uint64_t w = index;
	switch (o->base) {
	case REVERSED:
		w = n - index;
		break;
	case SHUFFLED:
		w = draw() % 65536;
		break;
	case LANES_FIRST:
		w = index % 32 * 64 + index / 32;
		break;
	case WARPS_REVERSED:
		w = (n / 32 - index / 32) * 32 + index % 32;
		break;
	}
	if ((o->starve || o->favour) && draw() % 8 == 0)
		return o->starve ? w + (1u << 20) : w;
	return w + (1u << 19);
}

static int by_weight(const void *a, const void *b)
{
	uint64_t x = *static_cast<const uint64_t *>(a), y = *static_cast<const uint64_t *>(b);
	return (x > y) - (x < y);
}

static struct order order;

static void rank_threads(void)
{
	static uint64_t keys[FIBERS_MAX];
	unsigned n = host.n_slots * host.per_block;
	for (unsigned i = 0; i < n; i++)
		keys[i] = weight_of(&order, i, n) << 16 | i;
	qsort(keys, n, sizeof keys[0], by_weight);
	for (unsigned rank = 0; rank < n; rank++) {
		struct thread *t = &host.threads[keys[rank] & 0xffff];
		t->rank = rank;
		host.by_rank[rank] = t;
	}
}

/* The first ready thread from the cursor on, then from the start; NULL: none. */
static struct thread *pick(void)
{
	unsigned n = (host.n_slots * host.per_block + 63) / 64;
	if (host.cursor >= n * 64)
		host.cursor = 0;
	unsigned at = host.cursor / 64;
	uint64_t word = host.ready[at] & ~(uint64_t)0 << host.cursor % 64;
	for (unsigned i = 0; i <= n; i++) {
		if (word)
			return host.by_rank[at * 64 + (unsigned)__builtin_ctzll(word)];
		at = at + 1 == n ? 0 : at + 1;
		word = host.ready[at];
	}
	return nullptr;
}

/* ---- shared memory ---- */

/* At the end of a block. */
static void check_guards(const struct slot *s)
{
	for (unsigned i = 0; i < s->n_arrays; i++) {
		const struct array *a = &s->arrays[i];
		for (size_t k = 0; k < GUARD; k++)
			if (s->shared[a->at - GUARD + k] != GUARD_BYTE || s->shared[a->at + a->bytes + k] != GUARD_BYTE)
				note("%s: shared memory was written outside of the array of %zu bytes", a->site, a->bytes);
	}
}

/* The poison was there before: ThreadSanitizer must not take it for the thread's own doing, as it would a memset. */
static void fill(unsigned char *p, unsigned char value, size_t n)
{
#if defined(UNDER_TSAN)
	for (volatile unsigned char *at = p; n--; at++)
		*at = value;
#else
	memset(p, value, n);
#endif
}

void *hs_host_shared(const void *key, size_t bytes, const char *site)
{
	struct slot *s = &host.slots[host.running->slot];
	for (unsigned i = 0; i < s->n_arrays; i++)
		if (s->arrays[i].key == key)
			return s->shared + s->arrays[i].at;
	size_t at = (s->shared_used + GUARD + 127) & ~(size_t)127;
	s->shared_asked += (bytes + 15) & ~(size_t)15;
	if (s->n_arrays == ARRAYS_MAX || s->shared_asked > SHARED_MAX)
		hs_host_fail("%s: a block has more shared memory than %u bytes", site, SHARED_MAX);
	s->arrays[s->n_arrays++] = {key, site, at, bytes};
	fill(s->shared + at - GUARD, GUARD_BYTE, GUARD);
	fill(s->shared + at, hs_host_mode.poison, bytes);
	fill(s->shared + at + bytes, GUARD_BYTE, GUARD);
	s->shared_used = at + bytes + GUARD;
	return s->shared + at;
}

/* ---- waiting ---- */

void hs_host_barrier(const char *site)
{
	struct thread *t = host.running;
	struct slot *s = &host.slots[t->slot];
	void *key = &s->barrier_keys[s->barriers % 2];
	t->site = site;
	if (s->done)
		hs_host_fail("%s: a barrier that %u threads of the block never reach", site, s->done);
	fiber_publish(key);
	if (++s->waiting < host.per_block) {
		wait_in(AT_BARRIER);
		fiber_observe(key);
		return;
	}
	s->waiting = 0;
	s->barriers++;
	struct thread *block = &host.threads[t->slot * host.per_block];
	for (unsigned i = 0; i < host.per_block; i++) {
		if (&block[i] != t && block[i].site != site && strcmp(block[i].site, site) != 0)
			hs_host_fail("threads of a block wait at two barriers: %s and %s", site, block[i].site);
		if (&block[i] != t)
			set_state(&block[i], READY);
	}
	if (!order.round)
		host.cursor = 0;
	set_state(t, READY);
	to_main(); /* the order says who goes first now */
	fiber_observe(key);
}

void hs_host_collective(uint32_t mask, const char *site, void *operand, hs_host_resolve_fn resolve)
{
	struct thread *t = host.running;
	unsigned lane = t->index % 32, first = t->index - lane;
	struct thread *warp = &host.threads[t->slot * host.per_block + first];
	void *operands[32] = {};
	if (!(mask >> lane & 1))
		hs_host_fail("%s: a lane that is not in the mask %08x", site, mask);
	t->site = site;
	t->mask = mask;
	t->operand = operand;
	t->resolve = resolve;
	fiber_publish(warp);
	for (unsigned i = 0; i < 32; i++) {
		if (!(mask >> i & 1))
			continue;
		if (first + i >= host.per_block || warp[i].state == DONE)
			hs_host_fail("%s: lane %u of the mask %08x is gone", site, i, mask);
		if (i != lane && (warp[i].state != AT_COLLECTIVE || warp[i].mask != mask || warp[i].resolve != resolve ||
				  strcmp(warp[i].site, site) != 0)) {
			wait_in(AT_COLLECTIVE);
			fiber_observe(warp);
			return;
		}
		operands[i] = warp[i].operand;
	}
	fiber_observe(warp);
	if (resolve)
		resolve(operands);
	fiber_publish(warp);
	for (unsigned i = 0; i < 32; i++)
		if (mask >> i & 1 && i != lane)
			set_state(&warp[i], READY);
	if (!order.round)
		host.cursor = 0;
	to_main();
}

void hs_host_preempt(void)
{
	if (!order.preempt || draw() % 2)
		return;
	host.cursor = host.running->rank + 1;
	to_main();
}

void hs_host_fence(void)
{
	fiber_publish(&host.fence_key);
	fiber_observe(&host.fence_key);
}

void hs_host_spin(const char *site)
{
	if (++host.spins > SPINS_MAX)
		hs_host_fail("%s: waits for what never comes", site);
	host.cursor = host.running->rank + 1;
	to_main();
}

unsigned hs_host_lane(void)
{
	return host.running->index % 32;
}

/* ---- asynchronous copies ---- */

static void copy_now(const struct copy *c)
{
	if (c->valid)
		memcpy(c->to, c->from, c->bytes);
	else
		memset(c->to, 0, c->bytes);
}

void hs_host_copy_async(void *to, const void *from, unsigned bytes, bool valid, const char *site)
{
	struct thread *t = host.running;
	struct copy c = {to, from, bytes, valid, t->group};
	if ((uintptr_t)to % bytes || (valid && (uintptr_t)from % bytes))
		hs_host_fail("%s: an asynchronous copy of %u bytes that are not aligned so", site, bytes);
	if (!hs_host_mode.lazy) {
		copy_now(&c);
		return;
	}
	if (t->n_copies == COPIES_MAX)
		hs_host_fail("%s: more than %u asynchronous copies wait", site, COPIES_MAX);
	memset(to, hs_host_mode.poison, bytes);
	t->copies[t->n_copies++] = c;
}

void hs_host_copy_commit(void)
{
	host.running->group++;
}

void hs_host_copy_wait(unsigned pending)
{
	struct thread *t = host.running;
	unsigned kept = 0;
	for (unsigned i = 0; i < t->n_copies; i++)
		if (t->copies[i].group + pending < t->group)
			copy_now(&t->copies[i]);
		else
			t->copies[kept++] = t->copies[i];
	t->n_copies = kept;
}

/* ---- launches ---- */

static void enter(void)
{
	fiber_entered();
	host.body(host.arguments);
	struct thread *t = host.running;
	struct slot *s = &host.slots[t->slot];
	if (s->waiting)
		hs_host_fail("a thread of the block ends while others wait at the barrier %s",
			     "(all threads of a block must reach it)");
	s->done++;
	fiber_publish(&host.end_key);
	wait_in(DONE);
	abort();
}

static dim3 spread(unsigned i, dim3 size)
{
	return dim3(i % size.x, i / size.x % size.y, i / size.x / size.y);
}

static void start_block(unsigned slot, dim3 index, dim3 grid, dim3 block)
{
	struct slot *s = &host.slots[slot];
	s->used = true;
	s->waiting = s->done = s->n_arrays = s->barriers = 0;
	s->shared_used = s->shared_asked = 0;
	fiber_forget(s->shared, SHARED_ROOM);
	for (unsigned i = 0; i < host.per_block; i++) {
		unsigned n = slot * host.per_block + i;
		struct thread *t = &host.threads[n];
		fiber_init(&t->fiber, host.stacks + (size_t)n * FIBER_STACK, enter);
		t->place = {spread(i, block), index, block, grid};
		t->slot = slot;
		t->index = i;
		t->n_copies = t->group = 0;
		set_state(t, READY);
	}
}

static void describe_stuck(void)
{
	const char *barrier = nullptr, *collective = nullptr;
	unsigned lane = 0;
	uint32_t mask = 0;
	for (unsigned i = 0; i < host.n_slots * host.per_block; i++) {
		struct thread *t = &host.threads[i];
		if (!host.slots[t->slot].used)
			continue;
		if (t->state == AT_BARRIER)
			barrier = t->site;
		if (t->state == AT_COLLECTIVE) {
			collective = t->site;
			lane = t->index;
			mask = t->mask;
		}
	}
	note("no thread can go on: barrier %s; collective %s (thread %u, mask %08x)", barrier ? barrier : "-",
	     collective ? collective : "-", lane, mask);
}

static void prepare(void)
{
	if (host.stacks)
		return;
	void *stacks = mmap(nullptr, (size_t)FIBERS_MAX * FIBER_STACK, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	host.threads = static_cast<struct thread *>(calloc(FIBERS_MAX, sizeof *host.threads));
	if (stacks == MAP_FAILED || !host.threads) {
		(void)fprintf(stderr, "no memory for fibers\n");
		abort();
	}
	host.stacks = static_cast<char *>(stacks);
	for (unsigned i = 0; i < SLOTS_MAX; i++) {
		void *shared = mmap(nullptr, SHARED_ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (shared == MAP_FAILED)
			abort();
		host.slots[i].shared = static_cast<unsigned char *>(shared);
	}
}

/* The sequence in which blocks start. */
static std::vector<unsigned> sequence_of(unsigned n)
{
	std::vector<unsigned> sequence(n);
	for (unsigned i = 0; i < n; i++)
		sequence[i] = order.base == REVERSED || order.base == WARPS_REVERSED ? n - 1 - i : i;
	for (unsigned i = n; order.base == SHUFFLED && i > 1; i--)
		std::swap(sequence[i - 1], sequence[draw() % i]);
	return sequence;
}

static bool run_blocks(dim3 grid, dim3 block)
{
	std::vector<unsigned> sequence = sequence_of(grid.x * grid.y * grid.z);
	size_t started = 0, finished = 0, n = sequence.size();
	for (; started < host.n_slots; started++)
		start_block((unsigned)started, spread(sequence[started], grid), grid, block);
	while (finished < n) {
		struct thread *t = pick();
		if (!t) {
			describe_stuck();
			return false;
		}
		if (order.round)
			host.cursor = t->rank;
		else
			host.cursor = 0;
		host.running = t;
		hs_host_place = &t->place;
		fiber_switch(&host.main, &t->fiber);
		if (host.failed)
			return false;
		struct slot *s = &host.slots[t->slot];
		if (t->state != DONE || s->done < host.per_block)
			continue;
		check_guards(s);
		s->used = false;
		finished++;
		if (started < n)
			start_block(t->slot, spread(sequence[started++], grid), grid, block);
	}
	return !host.failed;
}

int hs_host_run(dim3 grid, dim3 block, bool cooperative, hs_host_body_fn body, void *arguments)
{
	unsigned n_blocks = grid.x * grid.y * grid.z;
	prepare();
	host.launches++;
	host.per_block = block.x * block.y * block.z;
	host.random = hs_host_mode.order * 1000003u + host.launches;
	order = order_of(hs_host_mode.order);
	host.n_slots = cooperative ? n_blocks : order.resident < n_blocks ? order.resident : n_blocks;
	if (host.failed || n_blocks == 0 || host.per_block == 0 || host.per_block > THREADS_MAX || host.n_slots > SLOTS_MAX ||
	    host.n_slots * host.per_block > FIBERS_MAX || grid.y > 65535 || grid.z > 65535)
		return -1;
	host.body = body;
	host.arguments = arguments;
	host.cursor = host.spins = 0;
	memset(host.ready, 0, sizeof host.ready);
	rank_threads();
	bool ok = run_blocks(grid, block);
	fiber_observe(&host.end_key);
	host.running = nullptr;
	hs_host_place = nullptr;
	return ok ? 0 : -1;
}

/* ---- memory ---- */

struct allocation {
	struct allocation *next;
	size_t bytes;
	unsigned char *data;
};
static struct allocation *allocations;

void *hs_host_alloc(size_t bytes)
{
	struct allocation *a = static_cast<struct allocation *>(malloc(sizeof *a));
	size_t room = (bytes + 255) / 256 * 256;
	unsigned char *raw = static_cast<unsigned char *>(aligned_alloc(256, room + 512));
	if (!a || !raw)
		abort();
	memset(raw, GUARD_BYTE, room + 512);
	memset(raw + 256, hs_host_mode.poison, bytes);
	*a = {allocations, bytes, raw + 256};
	allocations = a;
	return a->data;
}

static bool guards_stand(const struct allocation *a)
{
	for (size_t i = 0; i < 256; i++)
		if (a->data[(ptrdiff_t)i - 256] != GUARD_BYTE || a->data[a->bytes + i] != GUARD_BYTE)
			return false;
	return true;
}

bool hs_host_check(void)
{
	for (const struct allocation *a = allocations; a; a = a->next)
		if (!guards_stand(a))
			return false;
	return true;
}

void hs_host_free(void *p)
{
	for (struct allocation **at = &allocations; *at; at = &(*at)->next)
		if ((*at)->data == p) {
			struct allocation *a = *at;
			*at = a->next;
			free(a->data - 256);
			free(a);
			return;
		}
}

void hs_host_free_all(void)
{
	while (allocations)
		hs_host_free(allocations->data);
}
