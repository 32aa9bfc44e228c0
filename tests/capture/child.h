/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A child process in a known state, and its capture into a memory sink. The child says through a
 * pipe when it is ready, and dies with the test.
 */

#include <stdint.h>
#include <sys/types.h>

#include "capture/capture.h"
#include "tests/capture/memory-sink.h"

#define CHILD_FACTS 64

struct child {
	pid_t pid;
	int go;			  /* closing it ends a child that waits */
	volatile uint64_t *facts; /* shared with it */
	int ready;		  /* its end of the readiness pipe, in the child */
	int wait;		  /* its end of @go, in the child */
};

typedef void (*child_fn)(struct child *child);

/* Starts it and waits until it is ready. */
struct child child_start(child_fn fn);
void child_end(struct child *child);

/* In the child. */
void child_say_ready(struct child *child);
_Noreturn void child_wait(struct child *child); /* says ready, then waits for the end */
void child_need(int ok);			/* exits when a set-up failed */

/* Stops it by SIGSTOP, as a user would, and waits until it has. */
void child_stop(const struct child *child);
void child_continue(const struct child *child);
char child_state(pid_t tid);
/* Waits until its state is one of @states, with a deadline. Return: whether it is. */
int child_await_state(pid_t pid, const char *states);

struct capture_params child_params(const struct child *child, struct memory_sink **sink);
int child_capture(const struct child *child, struct memory_sink **ret_sink,
		  struct capture_result *ret);
