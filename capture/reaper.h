/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Reaping of traced threads that die while we try to trace more.
 *
 * PTRACE_SEIZE waits for an exec that is under way; the exec waits for all other threads to be
 * reaped, and those that are traced are ours to reap: both would wait for ever. A timer's handler
 * reaps meanwhile.
 */

#include <signal.h>
#include <sys/types.h>
#include <time.h>

struct capture_target;
struct capture_threads;

struct capture_reaper {
	timer_t timer;
	struct sigaction old_action;
	sigset_t old_mask;
};

int capture_reaper_start(struct capture_reaper *ret, struct capture_threads *threads);
void capture_reaper_stop(struct capture_reaper *reaper);

int capture_reaper_poll(const struct capture_target *target, pid_t tid, siginfo_t *ret);
