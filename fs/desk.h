/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The server's side of ctl. What is asked there may take minutes, so no FUSE thread waits for it:
 * the request is put aside, and a thread that listens to the broker replies to it.
 */

#include "fs/bus.h"
#include "fs/server-internal.h"

struct ckfs_desk; /* fields are in desk.c */
struct ckfs_ctl;  /* an open handle of ctl; fields are in desk.c */

int ckfs_desk_new(int bus_fd, struct ckfs_desk **ret);
int ckfs_desk_tell(struct ckfs_desk *desk, enum ckfs_ask_kind kind);

int ckfs_ctl_new(const struct fuse_ctx *opener, struct ckfs_ctl **ret);
struct ckfs_ctl *ckfs_ctl_free(struct ckfs_ctl *ctl);
int ckfs_desk_write(struct ckfs_desk *desk, struct ckfs_ctl *ctl, fuse_req_t req, const char *text,
		    size_t len);
int ckfs_desk_read(struct ckfs_desk *desk, struct ckfs_ctl *ctl, fuse_req_t req, size_t size,
		   uint64_t offset);
