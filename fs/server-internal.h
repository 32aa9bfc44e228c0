/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the FUSE operations share. */

#define FUSE_USE_VERSION 314

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "fs/server.h"

struct ckfs_chores;
struct ckfs_desk;
struct ckfs_tree;

struct ckfs_server {
	struct ckfs_server_params params;
	struct fuse_session *session;
	int dead_fd; /* a pipe that nobody reads, see ckfs_server_let_go() */
	struct ckfs_tree *tree;
	struct ckfs_desk *desk;
	struct ckfs_chores *chores;
	atomic_llong last_used_ms; /* CLOCK_MONOTONIC */
	atomic_int n_open;	   /* handles */
};

extern const struct fuse_lowlevel_ops ckfs_ops;

int ckfs_server_start_thread(void *(*work)(void *data), void *data);
