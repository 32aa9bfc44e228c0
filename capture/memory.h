/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Which memory an image holds, and its rows: the memory that no file can give back. */

#include <stdint.h>

#include "capture/copy.h"
#include "capture/pagemap.h"
#include "capture/source.h"
#include "format/checkpoint.h"

struct capture_maps;
struct capture_out;
struct capture_view;

struct capture_memory {
	const struct capture_view *view; /* not owned, as @maps and @out */
	const struct capture_maps *maps;
	struct capture_out *out;     /* NULL: nothing is copied, the rows and bytes alone */
	struct ckpt_regions regions; /* the rows */
	uint64_t expected;	     /* bytes of data they hold */

	struct capture_pagemap pagemap;
	struct capture_sources sources;
	struct capture_copy copy;
};

int capture_memory_walk(struct capture_memory *memory);
void capture_memory_done(struct capture_memory *memory);

#define cleanup_memory __attribute__((cleanup(capture_memory_done)))
