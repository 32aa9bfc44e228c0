/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/target.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "capture/kernel.h"
#include "capture/proc.h"
#include "capture/said.h"
#include "format/cleanup.h"

#define STATUS_MAX (64U * 1024)
#define STAT_FLAGS 9	       /* the field's number in stat, proc_pid_stat(5) */
#define PF_KTHREAD 0x00200000U /* include/linux/sched.h; in stat's flags since 2.6.32 */

static int open_proc(pid_t tid)
{
	char path[32];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d", tid);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;

	return fd;
}

static int check_group(pid_t pid, const char *status, struct capture_said *said)
{
	uint64_t tgid;
	int r;

	r = capture_status_u64(status, "Tgid", 10, &tgid);
	if (r < 0)
		return capture_say(said, r, "cannot read the status of process %d: %m", pid);
	if (tgid != (uint64_t)pid)
		return capture_say(said, -EINVAL,
				   "cannot capture %d: it is a thread of process %d, name that one",
				   pid, (int)tgid);

	return 0;
}

static int check_kind(const struct capture_target *target, struct capture_said *said)
{
	cleanup_free char *stat = NULL;
	uint64_t flags;
	size_t len;
	int r;

	r = capture_proc_read(target->proc_fd, "stat", STATUS_MAX, &stat, &len);
	if (r < 0)
		return capture_say(said, r, "cannot read the state of process %d: %m", target->pid);

	r = capture_stat_u64(stat, STAT_FLAGS, &flags);
	if (r < 0)
		return capture_say(said, r, "cannot read the state of process %d: %m", target->pid);
	if (flags & PF_KTHREAD)
		return capture_say(said, -EPERM, "cannot capture %d: it is a kernel thread",
				   target->pid);

	return 0;
}

static int check_status(struct capture_target *target, struct capture_said *said)
{
	cleanup_free char *status = NULL;
	uint64_t tracer = 0, parent = 0;
	size_t len;
	int r;

	r = capture_proc_read(target->proc_fd, "status", STATUS_MAX, &status, &len);
	if (r < 0)
		return capture_say(said, r, "cannot read the status of process %d: %m",
				   target->pid);

	r = check_group(target->pid, status, said);
	if (r < 0)
		return r;

	r = check_kind(target, said);
	if (r < 0)
		return r;

	(void)capture_status_u64(status, "TracerPid", 10, &tracer);
	if (tracer)
		return capture_say(said, -EBUSY, "cannot capture %d: process %d traces it already",
				   target->pid, (int)tracer);

	(void)capture_status_u64(status, "PPid", 10, &parent);
	target->own_child = parent == (uint64_t)getpid();
	return 0;
}

static int open_pidfd(pid_t pid, struct capture_said *said)
{
	cleanup_free char *status = NULL;
	cleanup_fd int proc_fd = -EBADF;
	size_t len;
	int fd, r;

	fd = pidfd_open(pid, 0);
	if (fd >= 0)
		return fd;

	/* A thread's number gives EINVAL or ENOENT here, by kernel; its status knows better. */
	r = errno == EINVAL || errno == ENOENT ? -ESRCH : -errno;
	proc_fd = open_proc(pid);
	if (proc_fd >= 0 && !capture_proc_read(proc_fd, "status", STATUS_MAX, &status, &len) &&
	    check_group(pid, status, said) == -EINVAL)
		return -EINVAL;

	return capture_say(said, r, "cannot capture process %d: %m", pid);
}

/**
 * capture_target_open() - take hold of a process and check that it may be captured at all
 * @pid: its number
 * @pidfd: of it, not owned and to outlive @ret; -EBADF: opened here
 * @ret: for capture_target_done(); untouched on error
 *
 * Whether we may trace it is the kernel's to say, later.
 *
 * Return: 0; -ESRCH no such process; -EINVAL the number of a thread; -EPERM a kernel thread;
 * -EBUSY traced by somebody; -EDEADLK ourselves; as openat(2).
 */
int capture_target_open(pid_t pid, int pidfd, struct capture_target *ret, struct capture_said *said)
{
	cleanup_target struct capture_target target = CAPTURE_TARGET_UNSET;
	int r;

	if (pid <= 0)
		return capture_say(said, -EINVAL, "cannot capture %d: not a process id", pid);
	if (pid == getpid())
		return capture_say(said, -EDEADLK,
				   "cannot capture %d: a process cannot stop itself", pid);

	target.pid = pid;
	if (pidfd < 0) {
		target.own_pidfd = open_pidfd(pid, said);
		if (target.own_pidfd < 0)
			return target.own_pidfd;
		pidfd = target.own_pidfd;
	}
	target.pidfd = pidfd;

	target.proc_fd = open_proc(pid);
	if (target.proc_fd < 0)
		return capture_say(said, target.proc_fd, "cannot capture process %d: %m", pid);

	/* Alive now: so the number was its own when the directory was opened. */
	r = capture_target_check(&target);
	if (r < 0)
		return capture_say(said, r, "cannot capture process %d: %m", pid);

	r = check_status(&target, said);
	if (r < 0)
		return r;

	*ret = target;
	target = CAPTURE_TARGET_UNSET;
	return 0;
}

/**
 * capture_target_check() - whether the process behind the pidfd still owns its number
 *
 * Return: 0; -ESRCH.
 */
int capture_target_check(const struct capture_target *target)
{
	/* EPERM is an answer too: there is somebody whom we may not signal. */
	if (pidfd_send_signal(target->pidfd, 0, NULL, 0) < 0 && errno != EPERM)
		return -errno;

	return 0;
}

/**
 * capture_target_is_over() - whether all threads of the process have ended
 *
 * In the middle of an exec it can look so through /proc, but not to the pidfd.
 */
bool capture_target_is_over(const struct capture_target *target)
{
	struct pollfd pidfd = { .fd = target->pidfd, .events = POLLIN };

	return poll(&pidfd, 1, 0) == 1;
}

void capture_target_done(struct capture_target *target)
{
	target->proc_fd = close_fd(target->proc_fd);
	target->own_pidfd = close_fd(target->own_pidfd);
	target->pidfd = -EBADF;
}

/* The pidfd of the process serves, unless its leader is gone: then its files are, too. */
static int view_pidfd(const struct capture_target *target, pid_t tid)
{
	if (tid != target->pid)
		return pidfd_open(tid, PIDFD_THREAD);

	return fcntl(target->pidfd, F_DUPFD_CLOEXEC, 3);
}

static int view_proc(const struct capture_target *target, pid_t tid)
{
	cleanup_free char *status = NULL;
	cleanup_fd int fd = -EBADF;
	const char *state;
	uint64_t tgid;
	size_t len;
	int r;

	/* Not task/TID: that has no map_files. */
	fd = open_proc(tid);
	if (fd < 0)
		return fd;

	r = capture_proc_read(fd, "status", STATUS_MAX, &status, &len);
	if (r < 0)
		return r;
	r = capture_status_u64(status, "Tgid", 10, &tgid);
	if (r < 0)
		return r;
	if (tgid != (uint64_t)target->pid)
		return -ESRCH;
	/* A zombie has neither memory nor files. */
	if (capture_status_find(status, "State", &state, &len) && (*state == 'Z' || *state == 'X'))
		return -ESRCH;

	return steal_fd(&fd);
}

/**
 * capture_view_open() - open what shows a process's memory and files, through one live thread
 * @tid: the thread
 * @ret: for capture_view_done(); untouched on error
 *
 * mem and pagemap belong to the address space of this moment: after an exec they show the old.
 *
 * Return: 0; -ESRCH; -EPERM when we may not trace it; as openat(2).
 */
int capture_view_open(const struct capture_target *target, pid_t tid, struct capture_view *ret,
		      struct capture_said *said)
{
	cleanup_view struct capture_view view = CAPTURE_VIEW_UNSET;

	view.tid = tid;
	view.proc_fd = view_proc(target, tid);
	if (view.proc_fd < 0)
		return capture_say(said, view.proc_fd, "cannot capture process %d: %m",
				   target->pid);

	view.mem_fd = openat(view.proc_fd, "mem", O_RDONLY | O_CLOEXEC);
	if (view.mem_fd < 0) {
		int r = errno == EACCES ? -EPERM : errno == ENOENT ? -ESRCH : -errno;

		return capture_say(said, r, "cannot read the memory of process %d: %m",
				   target->pid);
	}

	/* May fail: then every page is read. */
	view.pagemap_fd = openat(view.proc_fd, "pagemap", O_RDONLY | O_CLOEXEC);
	view.pidfd = view_pidfd(target, tid);

	*ret = view;
	view = CAPTURE_VIEW_UNSET;
	return 0;
}

void capture_view_done(struct capture_view *view)
{
	view->proc_fd = close_fd(view->proc_fd);
	view->mem_fd = close_fd(view->mem_fd);
	view->pagemap_fd = close_fd(view->pagemap_fd);
	view->pidfd = close_fd(view->pidfd);
}
