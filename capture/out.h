/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What a capture hands to its sink, counted. */

#include <stddef.h>
#include <stdint.h>

struct ckpt_sink;

struct capture_out {
	struct ckpt_sink *sink; /* not owned; NULL: nothing is handed over */
	uint64_t bytes;		/* of memory, without holes */
	uint32_t n_omitted;
};

int capture_out_pages(struct capture_out *out, uint64_t addr, size_t len, const void *data);
int capture_out_procfile(struct capture_out *out, const char *path, const void *data, size_t len);
int capture_out_omitted(struct capture_out *out, const char *what, const char *call, int err);
int capture_out_hole(struct capture_out *out, uint64_t start, uint64_t end, const char *call,
		     int err);
