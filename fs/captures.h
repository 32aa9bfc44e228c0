/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The broker's captures: who may ask for one, those that run, and those that are over. */

#include <stdbool.h>
#include <stdio.h>

#include "format/job.h"
#include "fs/bus.h"

struct ckfs_options;
struct ckpt_store;
struct ckfs_captures; /* fields are in captures.c */

struct ckfs_captures_params {
	const struct ckfs_options *options; /* not owned */
	struct ckpt_store *store;	    /* not owned */
	const struct ckpt_job_ops *ops;
	pid_t server;
	/* Tells the writer of command @id how it went: a name, or a positive errno. */
	void (*answer)(void *userdata, uint64_t id, int error, const char *name);
	void *userdata;
};

int ckfs_captures_new(const struct ckfs_captures_params *params, struct ckfs_captures **ret);
struct ckfs_captures *ckfs_captures_free(struct ckfs_captures *captures);

int ckfs_captures_fd(const struct ckfs_captures *captures);
void ckfs_captures_command(struct ckfs_captures *captures, const struct ckfs_ask *ask);
void ckfs_captures_interrupt(struct ckfs_captures *captures, uint64_t id);
void ckfs_captures_step(struct ckfs_captures *captures);
int ckfs_captures_timeout(const struct ckfs_captures *captures);
void ckfs_captures_cancel(struct ckfs_captures *captures);
bool ckfs_captures_reserve(const struct ckfs_captures *captures, const char *name);
size_t ckfs_captures_running(const struct ckfs_captures *captures);
int ckfs_captures_print(const struct ckfs_captures *captures, uid_t reader, char **ret,
			size_t *ret_len);
