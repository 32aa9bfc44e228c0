/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Which pages of a mapping are there, without touching them: PAGEMAP_SCAN of Linux 6.7, or the
 * entries of /proc/PID/pagemap where there is no such ioctl.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct capture_run {
	uint64_t start, end;
	bool anonymous; /* not a page of the mapped file */
	bool zero;	/* the kernel's zero page */
	bool guard;	/* MADV_GUARD_INSTALL: holds nothing and cannot be read */
};

/* Takes runs as they come; a positive return ends the scan, a negative one is its failure. */
typedef int (*capture_run_fn)(void *userdata, const struct capture_run *run);

struct capture_pagemap {
	int fd;	       /* not owned; -EBADF: nothing is known */
	bool no_scan;  /* no ioctl */
	bool no_guard; /* the ioctl does not know guard pages */
};

int capture_pagemap_scan(struct capture_pagemap *pagemap, uint64_t start, uint64_t end,
			 bool anonymous_only, capture_run_fn fn, void *userdata);
