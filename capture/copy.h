/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Copying runs of a stopped process's memory into a sink, around what cannot be read. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct capture_map;
struct capture_out;
struct capture_pagemap;
struct capture_source;
struct capture_view;

struct capture_copy {
	const struct capture_view *view; /* not owned, as the next two */
	struct capture_pagemap *pagemap;
	struct capture_out *out;
	bool size_unknown; /* of the file behind the mapping at hand */
	void *buf;	   /* where the sink gives no room of its own */
};

int capture_copy_init(struct capture_copy *copy);
int capture_copy_memory(struct capture_copy *copy, const struct capture_map *map, uint64_t start,
			uint64_t end);
int capture_copy_file(struct capture_copy *copy, const struct capture_map *map,
		      const struct capture_source *source, uint64_t start, uint64_t end);
int capture_copy_peek(const struct capture_view *view, uint64_t addr, void *ret, size_t len);
void capture_copy_done(struct capture_copy *copy);
