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

int ckfs_desk_new(const char *spec, int bus_fd, struct ckfs_desk **ret);
/* @error: EEXIST when a capture will be called that; another one; 0. */
typedef void (*ckfs_desk_named_t)(void *userdata, fuse_req_t req, int error);

int ckfs_desk_ask_name(struct ckfs_desk *desk, fuse_req_t req, const char *name,
		       ckfs_desk_named_t named, void *userdata);
int ckfs_desk_tell(struct ckfs_desk *desk, enum ckfs_ask_kind kind);

int ckfs_ctl_new(const struct fuse_ctx *opener, struct ckfs_ctl **ret);
struct ckfs_ctl *ckfs_ctl_free(struct ckfs_ctl *ctl);
int ckfs_desk_write(struct ckfs_desk *desk, struct ckfs_ctl *ctl, fuse_req_t req, const char *text,
		    size_t len);
int ckfs_desk_read(struct ckfs_desk *desk, struct ckfs_ctl *ctl, fuse_req_t req, size_t size,
		   uint64_t offset);
