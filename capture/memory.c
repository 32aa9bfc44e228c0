/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/memory.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "capture/maps.h"
#include "capture/out.h"
#include "capture/target.h"

/*
 * What is where, and why it is read as it is:
 *
 * private anonymous	an absent page is zero. It is never read: that would fill the page tables
 * private file		the pages that were written to are the process's own, all others are the
 *			file's, whether they were ever read or not
 * shared		another process may have written what this one never touched, and its own
 *			page tables show nothing: only the object behind it knows where data is
 *
 * Runs come in ascending order and are copied as they come, so memory is bounded by the rows.
 */

#define PAGE ((uint64_t)CKPT_PAGE_SIZE)
#define CUT (UINT64_C(64) << 20) /* a hole that ends a row */
#define ELF_MAGIC "\177ELF"

enum kind {
	KIND_NONE,
	KIND_ANONYMOUS,
	KIND_FILE,
	KIND_SHARED,
	KIND_GIVEN_BACK, /* by the file: at most its ELF header is kept */
};

/* One mapping while it is walked, with the row that grows. */
struct walk {
	struct capture_memory *memory;
	const struct capture_map *map;
	const struct capture_source *source; /* NULL: none is looked for */
	bool open;
	uint64_t start, end; /* of the row */
	uint64_t cursor;     /* in a private file mapping: what is done */
};

static bool is_never(const struct capture_map *map)
{
	static const char *const never[] = { "[vvar]", "[vvar_vclock]", "[vsyscall]", "[vdso]" };

	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		if (map->path && strcmp(map->path, never[i]) == 0)
			return true;

	return map->io || map->pfn;
}

static bool has_suffix(const char *s, const char *suffix)
{
	size_t len = strlen(s), n = strlen(suffix);

	return len >= n && strcmp(s + len - n, suffix) == 0;
}

/*
 * Whether no path gives the file back. A file may really be called "x (deleted)"; asking would
 * mean to walk a path of the target's, which may hang, so such a file is captured as well.
 */
static bool is_pathless(const struct capture_map *map)
{
	return !map->path || map->path[0] != '/' || has_suffix(map->path, " (deleted)");
}

/* Private memory that starts as zeros although maps shows a file. */
static bool is_anonymous(const struct capture_map *map)
{
	return !map->inode || (map->path && (strcmp(map->path, "/dev/zero") == 0 ||
					     strcmp(map->path, "/anon_hugepage (deleted)") == 0));
}

static int found(void *userdata, const struct capture_run *run)
{
	(void)userdata;
	(void)run;
	return 1;
}

/* Return: 1 there is a page of the process's own, or nobody knows; 0; -ESRCH … */
static int has_own_page(struct capture_memory *memory, const struct capture_map *map)
{
	int r;

	if (memory->pagemap.no_scan && map->flags_known && !map->resident)
		return 0;

	r = capture_pagemap_scan(&memory->pagemap, map->start, map->end, true, found, NULL);
	return r == -EBADF ? 1 : r;
}

/* Return: an enum kind; a negative errno. */
static int decide(struct capture_memory *memory, const struct capture_map *map)
{
	bool pathless = map->inode && is_pathless(map);
	int r;

	if (is_never(map))
		return KIND_NONE;
	if (map->perms[3] == 's')
		return pathless ? KIND_SHARED : KIND_GIVEN_BACK;
	if (map->perms[1] == 'w')
		return is_anonymous(map) ? KIND_ANONYMOUS : KIND_FILE;
	if (pathless && !is_anonymous(map))
		return KIND_FILE;

	r = has_own_page(memory, map);
	if (r < 0)
		return r;
	if (r > 0)
		return is_anonymous(map) ? KIND_ANONYMOUS : KIND_FILE;

	return map->inode ? KIND_GIVEN_BACK : KIND_NONE;
}

static int end_row(struct walk *walk)
{
	const struct capture_map *map = walk->map;
	struct ckpt_region row = {
		.start = walk->start,
		.end = walk->end,
		/* Without a file the kernel shows 0, whatever the place. */
		.offset = map->inode ? map->offset + (walk->start - map->start) : map->offset,
		.dontdump = map->dontdump,
		.path = map->path,
	};

	walk->open = false;
	memcpy(row.perms, map->perms, sizeof(row.perms));
	return ckpt_regions_add(&walk->memory->regions, &row);
}

/* A run of data begins or goes on: a long hole before it ends the row. */
static int grow_row(struct walk *walk, uint64_t start, uint64_t end)
{
	int r;

	if (walk->open && start - walk->end >= CUT) {
		r = end_row(walk);
		if (r < 0)
			return r;
		walk->start = start;
	} else if (!walk->open) {
		walk->start = start - walk->map->start >= CUT ? start : walk->map->start;
	}

	walk->open = true;
	walk->end = end;
	walk->memory->expected += end - start;
	return 0;
}

/* The mapping has ended. A wholly absent one is a row that is a hole, or none if it is long. */
static int finish_row(struct walk *walk)
{
	const struct capture_map *map = walk->map;

	if (!walk->open) {
		if (map->end - map->start >= CUT)
			return 0;
		walk->start = map->start;
		walk->end = map->end;
	}
	if (map->end - walk->end < CUT)
		walk->end = map->end;

	return end_row(walk);
}

static int put_memory(struct walk *walk, uint64_t start, uint64_t end)
{
	int r = grow_row(walk, start, end);

	if (r < 0 || !walk->memory->out)
		return r;

	return capture_copy_memory(&walk->memory->copy, walk->map, start, end);
}

static int put_file(struct walk *walk, uint64_t start, uint64_t end)
{
	int r = grow_row(walk, start, end);

	if (r < 0 || !walk->memory->out)
		return r;

	return capture_copy_file(&walk->memory->copy, walk->map, walk->source, start, end);
}

static int put_run(void *userdata, const struct capture_run *run)
{
	struct walk *walk = userdata;

	if (run->zero)
		return 0;
	if (run->guard)
		return walk->memory->out ? capture_out_hole(walk->memory->out, run->start, run->end,
							    "process_vm_readv", -EFAULT)
					 : 0;

	return put_memory(walk, run->start, run->end);
}

static int walk_anonymous(struct walk *walk)
{
	struct capture_memory *memory = walk->memory;
	const struct capture_map *map = walk->map;
	int r;

	/* Entry by entry a reservation of 1 TiB takes a second, so don't where smaps knows. */
	if (memory->pagemap.no_scan && map->flags_known && !map->resident)
		return 0;

	r = capture_pagemap_scan(&memory->pagemap, map->start, map->end, false, put_run, walk);
	if (r == -EBADF)
		return put_memory(walk, map->start, map->end);

	return r;
}

/* The data in a part of a file, by SEEK_DATA; @offset and @end in the file, whole pages. */
static int seek_data(struct walk *walk, uint64_t offset, uint64_t end)
{
	uint64_t base = walk->map->start - walk->map->offset; /* may wrap, and back */
	int fd = walk->source->fd;

	while (offset < end) {
		off_t data = lseek(fd, (off_t)offset, SEEK_DATA), hole;
		uint64_t from, to;
		int r;

		if (data < 0 && errno == ENXIO)
			return 0;
		if (data < 0)
			return put_file(walk, base + offset, base + end);
		hole = lseek(fd, data, SEEK_HOLE);

		from = (uint64_t)data / PAGE * PAGE;
		from = from > offset ? from : offset;
		to = hole > data ? ((uint64_t)hole + PAGE - 1) / PAGE * PAGE : end;
		to = to < end ? to : end;
		if (from >= end)
			return 0;
		r = put_file(walk, base + from, base + to);
		if (r < 0)
			return r;
		offset = to;
	}

	return 0;
}

/* A part of a mapping that shows the file's own pages. */
static int put_backing(struct walk *walk, uint64_t start, uint64_t end)
{
	const struct capture_source *source = walk->source;
	const struct capture_map *map = walk->map;

	if (source->size_known) {
		uint64_t left = source->size > map->offset ? source->size - map->offset : 0;

		left = (left + PAGE - 1) / PAGE * PAGE;
		if (left < map->end - map->start && end > map->start + left)
			end = map->start + left;
	}
	if (start >= end)
		return 0;
	if (source->fd < 0)
		return put_memory(walk, start, end);
	if (!source->seekable)
		return put_file(walk, start, end);

	return seek_data(walk, map->offset + (start - map->start),
			 map->offset + (end - map->start));
}

static int put_own_run(void *userdata, const struct capture_run *run)
{
	struct walk *walk = userdata;
	int r;

	r = put_backing(walk, walk->cursor, run->start);
	if (r < 0)
		return r;

	walk->cursor = run->end;
	return put_run(walk, run);
}

static int walk_file(struct walk *walk)
{
	const struct capture_map *map = walk->map;
	int r;

	/* With neither pagemap nor file to tell own pages from the file's, memory shows both. */
	walk->cursor = map->start;
	r = capture_pagemap_scan(&walk->memory->pagemap, map->start, map->end, true, put_own_run,
				 walk);
	if (r == -EBADF)
		return put_memory(walk, map->start, map->end);
	if (r < 0)
		return r;

	return put_backing(walk, walk->cursor, map->end);
}

static int walk_shared(struct walk *walk)
{
	const struct capture_map *map = walk->map;
	int r;

	/* Nothing is missing, but reading all of it made absent pages of it present. */
	if (walk->source->fd < 0 && walk->memory->out) {
		r = capture_out_hole(walk->memory->out, map->start, map->end, walk->source->call,
				     walk->source->err);
		if (r < 0)
			return r;
	}

	return put_backing(walk, map->start, map->end);
}

/* The file gives all of it back; an ELF image's first page lets tools find its build ID. */
static int walk_given_back(struct walk *walk)
{
	const struct capture_map *map = walk->map;
	char magic[4];
	int r;

	if (map->perms[0] != 'r' ||
	    capture_copy_peek(walk->memory->view, map->start, magic, sizeof(magic)) < 0 ||
	    memcmp(magic, ELF_MAGIC, sizeof(magic)) != 0)
		return 0;

	r = put_memory(walk, map->start, map->start + PAGE);
	return r < 0 ? r : end_row(walk);
}

static int walk_map(struct capture_memory *memory, const struct capture_map *map)
{
	cleanup_source struct capture_source source = { .fd = -EBADF };
	struct walk walk = { .memory = memory, .map = map, .source = &source };
	int kind = decide(memory, map), r;

	if (kind == KIND_FILE || kind == KIND_SHARED)
		capture_source_open(&memory->sources, map, &source);
	memory->copy.size_unknown = !source.size_known;

	switch (kind) {
	case KIND_ANONYMOUS:
		r = walk_anonymous(&walk);
		break;
	case KIND_FILE:
		r = walk_file(&walk);
		break;
	case KIND_SHARED:
		r = walk_shared(&walk);
		break;
	case KIND_GIVEN_BACK:
		return walk_given_back(&walk);
	default:
		return kind < 0 ? kind : 0;
	}

	return r < 0 ? r : finish_row(&walk);
}

/**
 * capture_memory_walk() - go through all memory of an image: make its rows, copy its data
 * @memory: view, maps and out are set, the rest is zero; capture_memory_done() frees
 *
 * Without @out the process may be running: rows and bytes are an estimate then.
 *
 * Return: 0; -ESRCH the process is gone; -E2BIG; -ENOMEM; what the sink returned.
 */
int capture_memory_walk(struct capture_memory *memory)
{
	int r;

	memory->pagemap = (struct capture_pagemap){ .fd = memory->view->pagemap_fd };
	memory->sources = (struct capture_sources){ .view = memory->view };
	memory->copy = (struct capture_copy){
		.view = memory->view,
		.pagemap = &memory->pagemap,
		.out = memory->out,
	};
	if (memory->out) {
		r = capture_copy_init(&memory->copy);
		if (r < 0)
			return r;
	}

	for (size_t i = 0; i < memory->maps->n; i++) {
		r = walk_map(memory, &memory->maps->items[i]);
		if (r < 0)
			return r;
	}

	return 0;
}

void capture_memory_done(struct capture_memory *memory)
{
	capture_copy_done(&memory->copy);
	capture_sources_done(&memory->sources);
	ckpt_regions_done(&memory->regions);
}
