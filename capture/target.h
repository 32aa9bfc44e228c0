/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The process to capture, held by a pidfd and a /proc/PID directory, so that its number may be
 * given to somebody else without us noticing too late; and a view into it through one thread,
 * since a process whose leader has exited shows nothing under its own number.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct capture_said;

struct capture_target {
	pid_t pid;
	int pidfd;	/* not owned where the caller gave it */
	int own_pidfd;	/* -EBADF where the caller gave one */
	int proc_fd;	/* /proc/PID */
	bool own_child; /* of the calling process: its exit is not ours to reap */
};

struct capture_view {
	pid_t tid;
	int proc_fd;	/* /proc/TID */
	int mem_fd;	/* O_RDONLY */
	int pagemap_fd; /* -EBADF where the kernel refused it */
	int pidfd;	/* whose files pidfd_getfd() takes; owned */
};

int capture_target_open(pid_t pid, int pidfd, struct capture_target *ret,
			struct capture_said *said);
int capture_target_check(const struct capture_target *target);
bool capture_target_is_over(const struct capture_target *target);
void capture_target_done(struct capture_target *target);

int capture_view_open(const struct capture_target *target, pid_t tid, struct capture_view *ret,
		      struct capture_said *said);
void capture_view_done(struct capture_view *view);

#define CAPTURE_TARGET_UNSET ((struct capture_target){ -1, -EBADF, -EBADF, -EBADF, false })
#define CAPTURE_VIEW_UNSET ((struct capture_view){ -1, -EBADF, -EBADF, -EBADF, -EBADF })
#define cleanup_target __attribute__((cleanup(capture_target_done)))
#define cleanup_view __attribute__((cleanup(capture_view_done)))
