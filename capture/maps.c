/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/maps.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/checkpoint.h"
#include "format/cleanup.h"

static FILE *open_text(int proc_fd, const char *file)
{
	cleanup_fd int fd = -EBADF;
	FILE *f;

	fd = openat(proc_fd, file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;

	f = fdopen(fd, "r");
	if (f)
		(void)steal_fd(&fd);
	return f;
}

/* "7f12-7f34 rw-p 0000 08:01 1234   /path": whether the line opens a mapping; smaps adds others. */
static bool parse_head(char *line, struct capture_map *ret)
{
	struct capture_map map = {};
	int n = 0;

	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 "%n", &map.start,
		   &map.end, map.perms, &map.offset, &map.major, &map.minor, &map.inode, &n) != 7)
		return false;

	line += n;
	line += strspn(line, " ");
	line[strcspn(line, "\n")] = '\0';
	map.path = *line ? line : NULL;
	*ret = map;
	return true;
}

static int add(struct capture_maps *maps, const struct capture_map *map)
{
	struct capture_map *bigger, copy = *map;
	uint64_t last = maps->n ? maps->items[maps->n - 1].end : 0;

	if (map->start >= map->end || (map->start | map->end) % CKPT_PAGE_SIZE ||
	    strlen(map->perms) != 4)
		return -EBADMSG;
	/* Between two reads a running process can move what was shown already. */
	if (map->start < last)
		return 0;
	if (maps->n >= CKPT_REGIONS_MAX)
		return -E2BIG;
	if (maps->n == maps->size) {
		size_t size = maps->size ? maps->size * 2 : 128;

		bigger = reallocarray(maps->items, size, sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		maps->items = bigger;
		maps->size = size;
	}

	if (map->path) {
		copy.path = strdup(map->path);
		if (!copy.path)
			return -ENOMEM;
	}
	maps->items[maps->n++] = copy;
	return 0;
}

/* "VmFlags: rd wr mr mw me ac sd", proc_pid_smaps(5). */
static void parse_flags(const char *flags, struct capture_map *map)
{
	map->flags_known = true;
	map->io = strstr(flags, " io");
	map->pfn = strstr(flags, " pf");
	map->dontdump = strstr(flags, " dd");
	map->hugetlb = strstr(flags, " ht");
}

static void parse_detail(const char *line, struct capture_map *map)
{
	uint64_t kib;

	if (strncmp(line, "VmFlags:", 8) == 0)
		parse_flags(line + 8, map);
	else if (sscanf(line, "Rss: %" SCNu64, &kib) == 1 ||
		 sscanf(line, "Swap: %" SCNu64, &kib) == 1)
		map->resident += kib * 1024;
}

/**
 * capture_maps_read() - read the mappings of a process
 * @proc_fd: its /proc directory, not owned
 * @file: "maps", or "smaps" for the flags too, which walks all its page tables
 * @ret: for capture_maps_done(); untouched on error
 *
 * A running process can show a mapping twice or not at all: only that of a stopped one is whole.
 *
 * Return: 0; -ESRCH; -EBADMSG; -E2BIG above CKPT_REGIONS_MAX; -ENOMEM; as openat(2).
 * Source: proc_pid_maps(5), proc_pid_smaps(5); fs/proc/task_mmu.c, show_map_vma().
 */
int capture_maps_read(int proc_fd, const char *file, struct capture_maps *ret)
{
	cleanup_maps struct capture_maps maps = {};
	cleanup_free char *line = NULL;
	cleanup_file FILE *f = NULL;
	bool skipped = true;
	size_t size = 0;
	int r;

	f = open_text(proc_fd, file);
	if (!f)
		return -errno;

	for (;;) {
		struct capture_map map;
		size_t before = maps.n;

		errno = 0;
		if (getline(&line, &size, f) < 0)
			break;
		if (!parse_head(line, &map)) {
			if (!skipped)
				parse_detail(line, &maps.items[maps.n - 1]);
			continue;
		}
		r = add(&maps, &map);
		if (r < 0)
			return r;
		skipped = maps.n == before;
	}
	if (errno)
		return -errno;

	*ret = maps;
	maps = (struct capture_maps){};
	return 0;
}

static bool same(const struct capture_map *a, const struct capture_map *b)
{
	return a->start == b->start && a->end == b->end && a->offset == b->offset &&
	       a->inode == b->inode && a->major == b->major && a->minor == b->minor &&
	       strcmp(a->perms, b->perms) == 0 && !a->path == !b->path &&
	       (!a->path || strcmp(a->path, b->path) == 0);
}

/**
 * capture_maps_adopt() - take the flags over for mappings that have not changed
 *
 * Return: how many mappings are left without flags.
 */
size_t capture_maps_adopt(struct capture_maps *maps, const struct capture_maps *from)
{
	size_t j = 0, n_unknown = 0;

	for (size_t i = 0; i < maps->n; i++) {
		struct capture_map *map = &maps->items[i];

		while (j < from->n && from->items[j].start < map->start)
			j++;
		if (j < from->n && same(map, &from->items[j])) {
			map->flags_known = from->items[j].flags_known;
			map->io = from->items[j].io;
			map->pfn = from->items[j].pfn;
			map->dontdump = from->items[j].dontdump;
			map->hugetlb = from->items[j].hugetlb;
			map->resident = from->items[j].resident;
		}
		n_unknown += !map->flags_known;
	}

	return n_unknown;
}

/* The mapping that maps shows as @path, such as "[vdso]"; NULL: none. */
const struct capture_map *capture_maps_named(const struct capture_maps *maps, const char *path)
{
	for (size_t i = 0; i < maps->n; i++)
		if (maps->items[i].path && strcmp(maps->items[i].path, path) == 0)
			return &maps->items[i];

	return NULL;
}

void capture_maps_done(struct capture_maps *maps)
{
	for (size_t i = 0; i < maps->n; i++)
		free(maps->items[i].path);
	free(maps->items);
	*maps = (struct capture_maps){};
}
