/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The mappings of a process: /proc/PID/maps, and what only smaps tells of them. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct capture_map {
	uint64_t start, end;
	uint64_t offset; /* in the file */
	uint64_t inode;	 /* 0: no file behind it */
	uint32_t major, minor;
	char perms[5];
	char *path; /* as maps shows it; NULL: none */

	/* Of smaps; unset until @flags_known. */
	bool flags_known;
	bool io, pfn; /* VM_IO, VM_PFNMAP: device registers */
	bool dontdump;
	bool hugetlb;
	uint64_t resident; /* Rss and Swap, bytes */
};

struct capture_maps {
	struct capture_map *items; /* ascending */
	size_t n, size;
};

int capture_maps_read(int proc_fd, const char *file, struct capture_maps *ret);
size_t capture_maps_adopt(struct capture_maps *maps, const struct capture_maps *from);
const struct capture_map *capture_maps_named(const struct capture_maps *maps, const char *path);
void capture_maps_done(struct capture_maps *maps);

#define cleanup_maps __attribute__((cleanup(capture_maps_done)))
