/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/job-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/cleanup.h"
#include "format/store.h"

static const struct job_role_type {
	const char *comm; /* 15 bytes at most */
	void (*run)(const struct job_child *child, struct job_report *report);
} job_roles[_JOB_ROLE_MAX] = {
	[JOB_WRITER] = { "sandckpt-writer", capture_job_write },
	[JOB_READER] = { "sandckpt-reader", capture_job_read },
};

static int compare_fds(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* All but @keep, which is sorted here, and 0, 1, 2; -EBADF in it is nothing. */
static int close_others(int *keep, size_t n)
{
	int next = STDERR_FILENO + 1;

	qsort(keep, n, sizeof(*keep), compare_fds);
	for (size_t i = 0; i < n; i++) {
		if (keep[i] < next)
			continue;
		if (keep[i] > next && close_range((unsigned)next, (unsigned)keep[i] - 1, 0) < 0)
			return -errno;
		next = keep[i] + 1;
	}
	return close_range((unsigned)next, ~0U, 0) < 0 ? -errno : 0;
}

/* Above 0, 1 and 2, where a program that was started without those may have got it. */
static int move_up(int *fd)
{
	int r;

	if (*fd < 0 || *fd > STDERR_FILENO)
		return 0;
	r = fcntl(*fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (r < 0)
		return -errno;
	*fd = r;
	return 0;
}

/* Whoever waits for the end of the program's output must not wait for us. */
static void drop_stdio(int last)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	for (int i = STDIN_FILENO; i <= last; i++)
		if (i != fd)
			(void)dup2(fd, i);
	if (fd > last)
		(void)close(fd);
}

/*
 * What a program set up for itself is not ours: handlers, a mask, the terminal's Ctrl-C. A file
 * that grows too large is an error of its write, after which we clean up.
 */
static void drop_signals(void)
{
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		(void)signal(i, i == SIGXFSZ ? SIG_IGN : SIG_DFL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)setsid();
}

/*
 * Where memory gets short for our sake, the one to be killed is us: we hold the copy, and any
 * other choice may be the process we copy. Before we become undumpable, when the file is root's.
 */
static void die_first(void)
{
	cleanup_fd int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd >= 0)
		(void)!write(fd, "1000", strlen("1000"));
}

/**
 * capture_job_tell() - send a report to the job
 *
 * One that only says how far it is may be lost, the last one is waited for.
 */
void capture_job_tell(const struct job_child *child, const struct job_report *report)
{
	int flags = MSG_NOSIGNAL | (report->kind == JOB_ENDED ? 0 : MSG_DONTWAIT);
	ssize_t n;

	do
		n = send(child->status, report, sizeof(*report), flags);
	while (n < 0 && errno == EINTR);
}

/*
 * What has been removed or interrupted here goes now that nobody waits for us any more: in a
 * process that is nobody's child, since it may take long and the job ends with us.
 */
static void sweep(const struct job_child *child)
{
	cleanup_store struct ckpt_store *store = NULL;

	if (ckpt_store_open_at(child->request->store_fd, false, &store) < 0 ||
	    ckpt_store_has_litter(store) <= 0 || fork() != 0)
		return;
	(void)close(child->ring);
	(void)close(child->status);
	drop_stdio(STDERR_FILENO);
	(void)ckpt_store_sweep(store);
}

static int child_prepare(struct job_child *child, struct ckpt_request *request, enum job_role role)
{
	int *const fds[] = { &child->ring, &child->status,
			     role == JOB_WRITER ? &request->store_fd : &request->pidfd };
	int keep[3], r;

	for (size_t i = 0; i < 3; i++) {
		r = move_up(fds[i]);
		if (r < 0)
			return r;
		keep[i] = *fds[i];
	}
	drop_stdio(STDOUT_FILENO);
	return close_others(keep, 3);
}

/**
 * capture_job_child() - be one of a job's processes; runs in the child of a fork
 *
 * The parent is single-threaded, so all of the library can be used.
 */
void capture_job_child(enum job_role role, const struct job_child *from)
{
	struct ckpt_request request = *from->request;
	struct job_child child = *from;
	struct job_report report = {};
	int r;

	child.request = &request;
	(void)prctl(PR_SET_NAME, job_roles[role].comm, 0, 0, 0);
	die_first();
	drop_signals();
	umask(077);

	r = child_prepare(&child, &request, role);
	if (r < 0)
		report.error = -r;
	else
		job_roles[role].run(&child, &report);

	report.kind = JOB_ENDED;
	capture_job_tell(&child, &report);
	if (role == JOB_WRITER && r == 0)
		sweep(&child);
	_exit(report.error ? EXIT_FAILURE : EXIT_SUCCESS);
}
