/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/pagemap.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "capture/kernel.h"
#include "format/checkpoint.h"
#include "format/cleanup.h"

#define SCAN_REGIONS 1024
#define READ_ENTRIES (64U * 1024) /* of 8 bytes: 256 MiB of the target at a time */

static void fill_arg(const struct capture_pagemap *pagemap, bool anonymous_only,
		     struct pm_scan_arg *arg)
{
	arg->category_anyof_mask = PAGE_IS_PRESENT | PAGE_IS_SWAPPED;
	arg->return_mask = PAGE_IS_FILE | PAGE_IS_PFNZERO;
	if (!pagemap->no_guard) {
		arg->category_anyof_mask |= PAGE_IS_GUARD;
		arg->return_mask |= PAGE_IS_GUARD;
	}
	if (anonymous_only) {
		arg->category_mask = PAGE_IS_FILE;
		arg->category_inverted = PAGE_IS_FILE;
	}
}

static int emit(const struct page_region *region, capture_run_fn fn, void *userdata)
{
	struct capture_run run = {
		.start = region->start,
		.end = region->end,
		.anonymous = !(region->categories & PAGE_IS_FILE),
		.zero = region->categories & PAGE_IS_PFNZERO,
		.guard = region->categories & PAGE_IS_GUARD,
	};

	return fn(userdata, &run);
}

/* Return: 0; 1 ended by @fn; -ENOTTY no such ioctl; as ioctl(2), and what @fn returned. */
static int scan(struct capture_pagemap *pagemap, uint64_t start, uint64_t end, bool anonymous_only,
		capture_run_fn fn, void *userdata)
{
	struct page_region regions[SCAN_REGIONS];

	while (start < end) {
		struct pm_scan_arg arg = {
			.size = sizeof(arg),
			.start = start,
			.end = end,
			.vec = (uintptr_t)regions,
			.vec_len = SCAN_REGIONS,
		};
		long n;

		fill_arg(pagemap, anonymous_only, &arg);
		n = ioctl(pagemap->fd, PAGEMAP_SCAN, &arg);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EINVAL && !pagemap->no_guard) {
			pagemap->no_guard = true;
			continue;
		}
		if (n < 0)
			return errno == EINVAL ? -ENOTTY : -errno;

		for (long i = 0; i < n; i++) {
			int r = emit(&regions[i], fn, userdata);

			if (r != 0)
				return r;
		}
		/*
		 * Not by walk_end: where the kernel takes the scan in several goes, as from 512 runs
		 * on, it is left at the end of the first (seen on 6.18), and runs would come twice.
		 */
		if (n < SCAN_REGIONS)
			return 0;
		start = regions[n - 1].end;
	}

	return 0;
}

/* The categories of an entry, as PAGEMAP_SCAN has them; 0: absent. */
static uint64_t categories(uint64_t entry, bool anonymous_only)
{
	uint64_t c = 0;

	if (!(entry & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED | PAGEMAP_GUARD)))
		return 0;
	if (entry & PAGEMAP_FILE)
		c |= PAGE_IS_FILE;
	if (entry & PAGEMAP_GUARD)
		c |= PAGE_IS_GUARD;
	if (anonymous_only && (c & PAGE_IS_FILE))
		return 0;

	return c | PAGE_IS_PRESENT;
}

/* One buffer of entries, equal neighbours as one run. */
static int emit_entries(const uint64_t *entries, size_t n, uint64_t start, bool anonymous_only,
			capture_run_fn fn, void *userdata)
{
	for (size_t i = 0, j; i < n; i = j) {
		uint64_t c = categories(entries[i], anonymous_only);
		struct page_region region = { .categories = c };
		int r;

		for (j = i + 1; j < n && categories(entries[j], anonymous_only) == c; j++)
			;
		if (!c)
			continue;

		region.start = start + i * CKPT_PAGE_SIZE;
		region.end = start + j * CKPT_PAGE_SIZE;
		r = emit(&region, fn, userdata);
		if (r != 0)
			return r;
	}

	return 0;
}

static int read_entries(struct capture_pagemap *pagemap, uint64_t start, uint64_t end,
			bool anonymous_only, capture_run_fn fn, void *userdata)
{
	cleanup_free uint64_t *entries = NULL;

	entries = malloc(READ_ENTRIES * sizeof(*entries));
	if (!entries)
		return -ENOMEM;

	while (start < end) {
		uint64_t n = (end - start) / CKPT_PAGE_SIZE;
		ssize_t got;
		int r;

		if (n > READ_ENTRIES)
			n = READ_ENTRIES;
		got = pread(pagemap->fd, entries, n * sizeof(*entries),
			    (off_t)(start / CKPT_PAGE_SIZE * sizeof(*entries)));
		if (got < 0 && errno == EINTR)
			continue;
		if (got < (ssize_t)sizeof(*entries))
			return got < 0 ? -errno : -ESRCH;

		n = (uint64_t)got / sizeof(*entries);
		r = emit_entries(entries, n, start, anonymous_only, fn, userdata);
		if (r != 0)
			return r;
		start += n * CKPT_PAGE_SIZE;
	}

	return 0;
}

/**
 * capture_pagemap_scan() - the runs of pages that are present or swapped, ascending
 * @start: of the range; it should lie within one mapping
 * @anonymous_only: those that are no page of a file
 * @fn: called for each run; a return that is not 0 ends the scan
 *
 * The zero page is told apart by the ioctl alone: else it is a run like another, and reads as
 * zeros.
 *
 * Return: 0; what @fn returned; -EBADF there is no pagemap; as ioctl(2), pread(2).
 * Source: Documentation/admin-guide/mm/pagemap.rst.
 */
int capture_pagemap_scan(struct capture_pagemap *pagemap, uint64_t start, uint64_t end,
			 bool anonymous_only, capture_run_fn fn, void *userdata)
{
	int r;

	if (pagemap->fd < 0)
		return -EBADF;

	if (!pagemap->no_scan) {
		r = scan(pagemap, start, end, anonymous_only, fn, userdata);
		if (r != -ENOTTY)
			return r;
		pagemap->no_scan = true;
	}

	return read_entries(pagemap, start, end, anonymous_only, fn, userdata);
}
