/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The file behind a mapping, as an fd of our own: it tells where data is that the process never
 * touched, and reading it leaves the process's page tables alone.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct capture_map;
struct capture_view;

struct capture_source {
	int fd;		 /* -EBADF: none to be had */
	bool seekable;	 /* its offset is ours: SEEK_DATA does not move the target's */
	bool size_known; /* also without an fd */
	uint64_t size;
	int err; /* why there is no fd, with the call */
	const char *call;
};

/* What is looked up once a capture, on first need. */
struct capture_sources {
	const struct capture_view *view; /* not owned */
	char *mountinfo;
	bool have_fds;
	struct capture_open_file {
		uint32_t major, minor;
		uint64_t inode;
		int fd;
	} * files;
	size_t n_files;
};

void capture_source_open(struct capture_sources *sources, const struct capture_map *map,
			 struct capture_source *ret);
void capture_source_done(struct capture_source *source);
void capture_sources_done(struct capture_sources *sources);

#define cleanup_source __attribute__((cleanup(capture_source_done)))
