/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The process that stays: it mounts, starts the server, captures, and unmounts whatever happens. */

struct ckpt_job_ops;
struct ckpt_store;
struct ckfs_options;

/* Exit codes of mount(8). */
enum ckfs_exit {
	CKFS_EXIT_DONE = 0,
	CKFS_EXIT_USAGE = 1, /* or permission */
	CKFS_EXIT_SYSTEM = 2,
	CKFS_EXIT_MOUNT = 32,
};

#define CKFS_REPORT_SIZE 1024

/* How mounting went: what the waiting parent says, and exits with. */
struct ckfs_report {
	int exit;
	char said[CKFS_REPORT_SIZE]; /* "": nothing */
};

struct ckfs_broker_params {
	const struct ckfs_options *options;
	struct ckpt_store *store;
	const struct ckpt_job_ops *ops;
	const char *dir; /* absolute, resolved */
	/* Called once: the mount is usable, or there is none. */
	void (*ready)(void *userdata, const struct ckfs_report *report);
	void *userdata;
};

enum ckfs_exit ckfs_broker_run(const struct ckfs_broker_params *params);
