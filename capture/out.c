/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/out.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "format/checkpoint.h"
#include "format/sink.h"

/* A target chooses how much of it cannot be read; the list says that much and then that it ends. */
#define OMITTED_MAX 50000U

int capture_out_pages(struct capture_out *out, uint64_t addr, size_t len, const void *data)
{
	out->bytes += len;
	return out->sink ? ckpt_sink_pages(out->sink, addr, len, data) : 0;
}

int capture_out_procfile(struct capture_out *out, const char *path, const void *data, size_t len)
{
	return out->sink ? ckpt_sink_procfile(out->sink, path, data, len) : 0;
}

/**
 * capture_out_omitted() - a row of meta.json's "omitted"
 * @what: "fd/7", "proc/io"
 * @call: that failed
 * @err: negative errno
 *
 * Return: 0, also past the list's end; what the sink returns.
 */
int capture_out_omitted(struct capture_out *out, const char *what, const char *call, int err)
{
	const char *name = strerrorname_np(-err);
	struct ckpt_omitted row = {
		.what = (char *)what,
		.call = (char *)call,
		.err = (char *)(name ? name : "EIO"),
	};

	if (!out->sink || out->n_omitted > OMITTED_MAX)
		return 0;
	if (out->n_omitted++ == OMITTED_MAX) {
		row.what = (char *)"more of the same";
		row.err = (char *)"E2BIG";
	}

	return ckpt_sink_omitted(out->sink, &row);
}

/* The same for a run of memory. */
int capture_out_hole(struct capture_out *out, uint64_t start, uint64_t end, const char *call,
		     int err)
{
	char what[64];

	(void)snprintf(what, sizeof(what), "memory/%" PRIx64 "-%" PRIx64, start, end);
	return capture_out_omitted(out, what, call, err);
}
