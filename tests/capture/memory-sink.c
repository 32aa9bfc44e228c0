/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/capture/memory-sink.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "format/convert.h"

struct page {
	uint64_t addr;
	unsigned char bytes[CKPT_PAGE_SIZE];
};

#define ARENA_SIZE (UINT64_C(64) << 20)

/*
 * Pages lie where a fork does not copy them: the next child would bring the memory of all the
 * captures before its own, which doubles it each time under an allocator that keeps what is freed.
 */
struct memory_arena {
	struct memory_arena *next;
	size_t used;
};

static struct page *new_page(struct memory_sink *m)
{
	struct memory_arena *arena = m->arenas;

	if (!arena || arena->used + sizeof(struct page) > ARENA_SIZE) {
		arena = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (arena == MAP_FAILED)
			return NULL;
		(void)madvise(arena, ARENA_SIZE, MADV_DONTFORK);
		arena->next = m->arenas;
		arena->used = sizeof(struct memory_arena);
		m->arenas = arena;
	}

	arena->used += sizeof(struct page);
	return (void *)((char *)arena + arena->used - sizeof(struct page));
}

static void free_arenas(struct memory_sink *m)
{
	struct memory_arena *arena;

	while ((arena = m->arenas)) {
		m->arenas = arena->next;
		(void)munmap(arena, ARENA_SIZE);
	}
}

static void keep(void *page)
{
}

static struct memory_sink *of(struct ckpt_sink *sink)
{
	return (struct memory_sink *)sink;
}

static int compare(const void *a, const void *b)
{
	const struct page *x = a, *y = b;

	return (x->addr > y->addr) - (x->addr < y->addr);
}

static bool is_open(const struct memory_sink *m)
{
	return m->begun && !m->ended && m->regions.n == 0;
}

static int copy_regions(struct ckpt_regions *to, const struct ckpt_regions *from)
{
	int r = ckpt_regions_check(from);

	for (size_t i = 0; i < from->n && r == 0; i++)
		r = ckpt_regions_add(to, &from->items[i]);
	return r;
}

static int on_begin(struct ckpt_sink *sink, const struct ckpt_begin *begin)
{
	struct memory_sink *m = of(sink);

	if (m->begun)
		return -EPROTO;
	m->begun = true;
	return begin->plan ? copy_regions(&m->plan, begin->plan) : 0;
}

static int put_page(struct memory_sink *m, uint64_t addr, const void *data)
{
	struct page key = { .addr = addr }, **found = tfind(&key, &m->pages, compare), *page;

	if (!found) {
		page = new_page(m);
		if (!page)
			return -ENOMEM;
		page->addr = addr;
		found = tsearch(page, &m->pages, compare);
		if (!found)
			return -ENOMEM;
		m->n_pages++;
	}
	memcpy((*found)->bytes, data, CKPT_PAGE_SIZE);
	return 0;
}

static int on_pages(struct ckpt_sink *sink, uint64_t addr, size_t len, const void *data)
{
	struct memory_sink *m = of(sink);
	int r = m->on_pages ? m->on_pages(m->userdata) : 0;

	if (r < 0)
		return r;
	if (!is_open(m) || addr % CKPT_PAGE_SIZE || len % CKPT_PAGE_SIZE || len == 0)
		return -EPROTO;
	for (size_t at = 0; at < len && r == 0; at += CKPT_PAGE_SIZE)
		r = put_page(m, addr + at, (const char *)data + at);
	return r;
}

static int on_zero(struct ckpt_sink *sink, uint64_t addr, uint64_t len)
{
	static const char zeros[CKPT_PAGE_SIZE];
	int r = 0;

	for (uint64_t at = 0; at < len && r == 0; at += CKPT_PAGE_SIZE)
		r = put_page(of(sink), addr + at, zeros);
	return r;
}

static int dup_bytes(const void *from, size_t len, void **ret)
{
	*ret = malloc(len + 1);
	if (!*ret)
		return -ENOMEM;
	memcpy(*ret, from, len);
	((char *)*ret)[len] = '\0';
	return 0;
}

static int on_thread(struct ckpt_sink *sink, const struct ckpt_thread *thread)
{
	struct ckpt_thread copy = *thread;
	int r;

	if (!is_open(of(sink)))
		return -EPROTO;
	copy.comm = copy.syscall = NULL;
	copy.gpregs = copy.xstate = NULL;
	r = ckpt_strdup(thread->comm, &copy.comm);
	if (r == 0)
		r = ckpt_strdup(thread->syscall, &copy.syscall);
	if (r == 0)
		r = dup_bytes(thread->gpregs, thread->gpregs_len, &copy.gpregs);
	if (r == 0 && thread->xstate)
		r = dup_bytes(thread->xstate, thread->xstate_len, &copy.xstate);
	if (r == 0)
		r = ckpt_threads_add(&of(sink)->threads, &copy);
	return r;
}

static int on_fd(struct ckpt_sink *sink, const struct ckpt_fd *fd)
{
	struct json_object *object = NULL;
	struct ckpt_fd copy = {};
	int r;

	if (!is_open(of(sink)))
		return -EPROTO;
	r = ckpt_fd_to_json(fd, &object);
	if (r == 0)
		r = ckpt_fd_from_json(object, &copy);
	if (r == 0)
		r = ckpt_fds_add(&of(sink)->fds, &copy);
	json_object_put(object);
	return r;
}

static int on_procfile(struct ckpt_sink *sink, const char *path, const void *data, size_t len)
{
	struct memory_sink *m = of(sink);
	struct memory_procfile *bigger, file = { .len = len };
	void *bytes = NULL;
	int r;

	if (!is_open(m) || memory_sink_procfile(m, path))
		return -EPROTO;
	r = ckpt_strdup(path, &file.path);
	if (r == 0)
		r = dup_bytes(data, len, &bytes);
	if (r < 0)
		return r;
	file.data = bytes;
	bigger = reallocarray(m->procfiles, m->n_procfiles + 1, sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	m->procfiles = bigger;
	m->procfiles[m->n_procfiles++] = file;
	return 0;
}

static int on_omitted(struct ckpt_sink *sink, const struct ckpt_omitted *omitted)
{
	struct ckpt_omitteds *list = &of(sink)->omitted;
	struct ckpt_omitted *bigger, *row;

	if (!is_open(of(sink)))
		return -EPROTO;
	bigger = reallocarray(list->items, list->n + 1, sizeof(*bigger));
	if (!bigger)
		return -ENOMEM;
	list->items = bigger;
	row = &list->items[list->n++];
	*row = (struct ckpt_omitted){ strdup(omitted->what), strdup(omitted->call),
				      strdup(omitted->err) };
	return 0;
}

static int on_regions(struct ckpt_sink *sink, const struct ckpt_regions *regions)
{
	return is_open(of(sink)) ? copy_regions(&of(sink)->regions, regions) : -EPROTO;
}

static int on_end(struct ckpt_sink *sink, const struct ckpt_end *end)
{
	struct memory_sink *m = of(sink);
	int r;

	if (!m->begun || m->ended)
		return -EPROTO;
	m->ended = true;
	r = ckpt_info_to_json(end->info, &m->threads, &m->info);
	return r < 0 ? r : ckpt_meta_to_json(end->meta, &m->meta);
}

static int on_space(struct ckpt_sink *sink, size_t want, void **ret, size_t *ret_len)
{
	struct memory_sink *m = of(sink);

	*ret = m->room;
	*ret_len = want < sizeof(m->room) ? want : sizeof(m->room);
	return 0;
}

static void on_free(struct ckpt_sink *sink)
{
	struct memory_sink *m = of(sink);

	tdestroy(m->pages, keep);
	free_arenas(m);
	ckpt_regions_done(&m->plan);
	ckpt_regions_done(&m->regions);
	ckpt_threads_done(&m->threads);
	ckpt_fds_done(&m->fds);
	ckpt_omitteds_done(&m->omitted);
	for (size_t i = 0; i < m->n_procfiles; i++) {
		free(m->procfiles[i].path);
		free(m->procfiles[i].data);
	}
	free(m->procfiles);
	json_object_put(m->info);
	json_object_put(m->meta);
	free(m);
}

static const struct ckpt_sink_ops ops = {
	.begin = on_begin,
	.pages = on_pages,
	.zero = on_zero,
	.thread = on_thread,
	.fd = on_fd,
	.procfile = on_procfile,
	.omitted = on_omitted,
	.regions = on_regions,
	.end = on_end,
	.free = on_free,
};

static const struct ckpt_sink_ops ops_with_room = {
	.begin = on_begin,
	.pages = on_pages,
	.zero = on_zero,
	.thread = on_thread,
	.fd = on_fd,
	.procfile = on_procfile,
	.omitted = on_omitted,
	.regions = on_regions,
	.end = on_end,
	.space = on_space,
	.free = on_free,
};

struct memory_sink *memory_sink_new(bool give_room)
{
	struct memory_sink *m = malloc(sizeof(*m));

	if (!m)
		abort();
	*m = (struct memory_sink){ .sink.ops = give_room ? &ops_with_room : &ops };
	return m;
}

struct memory_sink *memory_sink_free(struct memory_sink *sink)
{
	ckpt_sink_free(sink ? &sink->sink : NULL);
	return NULL;
}

const unsigned char *memory_sink_page(const struct memory_sink *sink, uint64_t addr)
{
	struct page key = { .addr = addr }, **found = tfind(&key, &sink->pages, compare);

	return found ? (*found)->bytes : NULL;
}

const struct ckpt_region *memory_sink_region(const struct memory_sink *sink, uint64_t addr)
{
	for (size_t i = 0; i < sink->regions.n; i++)
		if (addr >= sink->regions.items[i].start && addr < sink->regions.items[i].end)
			return &sink->regions.items[i];

	return NULL;
}

const struct memory_procfile *memory_sink_procfile(const struct memory_sink *sink, const char *path)
{
	for (size_t i = 0; i < sink->n_procfiles; i++)
		if (strcmp(sink->procfiles[i].path, path) == 0)
			return &sink->procfiles[i];

	return NULL;
}

const struct ckpt_fd *memory_sink_fd(const struct memory_sink *sink, int fd)
{
	for (size_t i = 0; i < sink->fds.n; i++)
		if (sink->fds.items[i].fd == fd)
			return &sink->fds.items[i];

	return NULL;
}

const struct ckpt_thread *memory_sink_thread(const struct memory_sink *sink, int tid)
{
	for (size_t i = 0; i < sink->threads.n; i++)
		if (sink->threads.items[i].tid == tid)
			return &sink->threads.items[i];

	return NULL;
}

const struct ckpt_omitted *memory_sink_omitted(const struct memory_sink *sink, const char *what)
{
	for (size_t i = 0; i < sink->omitted.n; i++)
		if (strcmp(sink->omitted.items[i].what, what) == 0)
			return &sink->omitted.items[i];

	return NULL;
}
