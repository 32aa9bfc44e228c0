/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The capture of one live process into a sink: what the reader process does. */

#include <stdint.h>
#include <sys/types.h>

#include "format/job.h"

struct ckpt_calls;
struct ckpt_sink;

struct capture_params {
	pid_t pid;
	int pidfd;	  /* of the target, not owned; -EBADF: opened by @pid */
	const char *name; /* for meta.json */
	const char *cow;  /* cow_snapshot, or NULL */
	uint32_t owner_uid;
	enum ckpt_mode mode;
	uint64_t deadline_ms;
	struct ckpt_calls *calls; /* from earlier captures, updated; not owned; NULL: none */

	/*
	 * Called once, before the target is touched, when it is known about how much there will
	 * be: makes the sink. The sink belongs to the caller of capture_process().
	 */
	int (*open_sink)(void *userdata, uint64_t expected_bytes, struct ckpt_sink **ret);
	/*
	 * How long a call of the sink may wait for the other side from now on: a short while
	 * as long as the target is held, UINT64_MAX else. May be NULL.
	 */
	void (*patience)(void *userdata, uint64_t timeout_ms);
	void *userdata;
};

struct capture_result {
	enum ckpt_mode mode;
	uint64_t pause_us; /* the longest time a thread was held at a stretch */
	uint64_t bytes;	   /* captured, without holes */
	char said
	    [CKPT_SAID_SIZE]; /* on failure: a sentence of what was tried; also written on error */
};

int capture_process(const struct capture_params *params, struct capture_result *ret);
