/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The checkpoints that somebody has to do with, whatever they are called now: an image is known
 * by its directory (device, inode, time of birth), so it stays the same through a rename. Their
 * directory fds are opened again when there are too many. Safe from many threads.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "format/job.h"
#include "fs/view.h"

struct ckpt_store;
struct ckfs_images; /* fields are in image.c */
struct ckfs_image;  /* fields are in image.c */

/* Of an image: what its meta.json says now, and its directory where that does not. */
struct ckfs_facts {
	uid_t uid;
	gid_t gid;
	struct timespec created;
	uint32_t version;
	uint64_t key; /* for inode numbers */
};

/* An image while its directory is open: between enter and leave. */
struct ckfs_visit {
	struct ckfs_image *image;
	struct ckfs_place place;
	bool settled; /* nothing below it changes any more: it was not copied in just now */
	char name[CKPT_NAME_SIZE];
};

int ckfs_images_new(struct ckpt_store *store, size_t max_open, struct ckfs_images **ret);
struct ckfs_images *ckfs_images_free(struct ckfs_images *images);
uint64_t ckfs_images_key(struct ckfs_images *images, const char *name);
uint64_t ckfs_images_hash(const struct ckfs_images *images, uint64_t key, const char *path);

int ckfs_image_get(struct ckfs_images *images, const char *name, struct ckfs_image **ret);
struct ckfs_image *ckfs_image_ref(struct ckfs_image *image);
struct ckfs_image *ckfs_image_unref(struct ckfs_image *image);
struct ckfs_facts ckfs_image_facts(struct ckfs_image *image);

int ckfs_image_enter(struct ckfs_image *image, struct ckfs_visit *ret);
void ckfs_image_leave(struct ckfs_visit *visit);
