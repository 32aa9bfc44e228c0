/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Stopping all threads of a process at once and letting them go as they were.
 *
 * Every ptrace call is made by the calling process, which must be single-threaded: its exit, for
 * whatever reason, detaches what is still held.
 */

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct capture_said;
struct capture_target;
struct ckpt_calls;

enum capture_hold {
	CAPTURE_NEW,	 /* found, not ours yet */
	CAPTURE_SEIZED,	 /* ours, asked to stop, runs still */
	CAPTURE_STOPPED, /* held */
	CAPTURE_DEAD,	 /* exited, its leader's entry may stay listed */
};

struct capture_thread {
	pid_t tid;
	enum capture_hold hold;
	bool seen;	      /* in the last listing */
	bool leaving;	      /* to be let go at the moment it stops */
	bool restarted;	      /* our stop interrupted its call: rax says to start it again */
	int signal;	      /* that stopped it and is to be handed on; 0: none */
	char state;	      /* before we touched it; 0: unknown */
	char wchan[64];	      /* before we touched it: ours would be ptrace_stop */
	uint64_t since_ns;    /* CLOCK_MONOTONIC, when it was seen to stop */
	uint64_t start_ticks; /* as in stat; 0: unknown */
};

struct capture_threads {
	const struct capture_target *target; /* not owned */
	struct ckpt_calls *calls;	     /* not owned; NULL: no memory of earlier captures */
	struct capture_thread *items;	     /* ascending by tid */
	size_t n, size;
	uint64_t longest_ns; /* that any thread was held at a stretch */
	bool ready;	     /* the two below are to be put back */
	sigset_t old_mask;
	struct sigaction old_chld;
};

int capture_threads_init(struct capture_threads *threads, const struct capture_target *target);
int capture_threads_freeze(struct capture_threads *threads, uint64_t deadline_ms,
			   struct capture_said *said);
int capture_threads_check(struct capture_threads *threads);
void capture_threads_thaw(struct capture_threads *threads);
pid_t capture_threads_lowest(const struct capture_threads *threads);
void capture_threads_done(struct capture_threads *threads);

int capture_threads_list(const struct capture_target *target, pid_t **ret, size_t *ret_n);
#define cleanup_threads __attribute__((cleanup(capture_threads_done)))
