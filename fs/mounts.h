/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What is mounted where, and unmounting it, as root or through fusermount3. */

#include <stdbool.h>
#include <stdint.h>

#define CKFS_MOUNT_TYPE "fuse.sandckpt"

struct ckfs_mount {
	uint32_t major, minor; /* of the mounted filesystem */
	bool ours;	       /* CKFS_MOUNT_TYPE */
};

int ckfs_mounts_parse(const char *mountinfo, const char *dir, struct ckfs_mount *ret);
int ckfs_mounts_find(const char *dir, struct ckfs_mount *ret);
int ckfs_mounts_detach(const char *dir, bool lazy);
int ckfs_mounts_detach_dead(const char *dir);
void ckfs_mounts_read_ahead(const struct ckfs_mount *mount);
