/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The FUSE server: a process of its own, which serves anyone and captures nothing. */

#include <stdint.h>
#include <sys/types.h>

struct ckpt_store;
struct ckfs_options;
struct fuse_session;
struct ckfs_server; /* fields are in server-internal.h */

struct ckfs_server_params {
	const struct ckfs_options *options; /* not owned */
	struct ckpt_store *store;	    /* not owned */
	uid_t uid;			    /* the mounter's */
	gid_t gid;
};

int ckfs_server_new(const struct ckfs_server_params *params, struct ckfs_server **ret);
struct ckfs_server *ckfs_server_free(struct ckfs_server *server);
int ckfs_server_mount(struct ckfs_server *server, const char *dir);
void ckfs_server_let_go(struct ckfs_server *server);
int ckfs_server_run(struct ckfs_server *server, int bus_fd);
