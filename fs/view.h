/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * What the directory of a checkpoint shows: one table, which lookup, readdir, getattr and open
 * walk. Paths are relative to that directory.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ckfs_content;
struct ckfs_row; /* of the table in view.c */

/* One checkpoint, opened. Nothing in it is owned. */
struct ckfs_place {
	int dirfd;
	const char *name;
	uint32_t version; /* of the layout: 0 the seed's, else files are shown as they are */
	struct ckfs_content *content;
};

struct ckfs_item {
	const struct ckfs_row *row;
	mode_t mode;
	uint64_t size, blocks; /* bytes; 512 bytes each */
	bool fickle;	       /* changes with the checkpoint's name */
};

/* A file open for reading: a descriptor in the store, or text. */
struct ckfs_file {
	int fd; /* -EBADF: text */
	char *text;
	size_t len;
	uint64_t stamp; /* of what is stored; 0: it changes */
};

struct ckfs_name {
	char *name;
	mode_t mode;  /* its kind */
	uint64_t ino; /* for the root's listing; else 0 */
};

#define CKFS_LISTING_MAX (1U << 20) /* names: 65,536 segments, and four files a thread, are fewer */

struct ckfs_listing {
	struct ckfs_name *items;
	size_t n, size;
};

int ckfs_view_find(const struct ckfs_place *place, const char *path, struct ckfs_item *ret);
int ckfs_view_list(const struct ckfs_place *place, const char *path, struct ckfs_listing *ret);
int ckfs_view_open(const struct ckfs_place *place, const char *path, uint64_t known,
		   struct ckfs_file *ret);
int ckfs_view_readlink(const struct ckfs_place *place, const char *path, char **ret);

int ckfs_listing_add(struct ckfs_listing *listing, const char *name, mode_t mode, uint64_t ino);
void ckfs_listing_done(struct ckfs_listing *listing);
void ckfs_file_done(struct ckfs_file *file);
