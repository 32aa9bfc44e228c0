/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What is mounted where, and unmounting it, as root or through fusermount3. */

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#define CKFS_MOUNT_TYPE "fuse.sandckpt"

struct ckfs_mount {
	uint32_t major, minor; /* of the mounted filesystem */
	bool ours;	       /* CKFS_MOUNT_TYPE */
};

enum ckfs_leave {
	CKFS_LEAVE_UNUSED, /* or not at all */
	CKFS_LEAVE_FORCE,  /* in use or not: requests fail, and it is out of sight at once */
	CKFS_LEAVE_DEAD,   /* the same, but only where its server is gone */
};

int ckfs_mounts_parse(const char *mountinfo, const char *dir, struct ckfs_mount *ret);
int ckfs_mounts_parse_device(const char *mountinfo, const struct ckfs_mount *mount,
			     char ret[PATH_MAX]);
int ckfs_mounts_find(const char *dir, struct ckfs_mount *ret);
int ckfs_mounts_detach(const char *dir, bool force);
int ckfs_mounts_detach_dead(const char *dir);
int ckfs_mounts_leave(const struct ckfs_mount *mount, enum ckfs_leave how);
void ckfs_mounts_abort(const struct ckfs_mount *mount);
void ckfs_mounts_read_ahead(const struct ckfs_mount *mount);
