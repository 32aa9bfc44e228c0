/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/job-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
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

/* Whoever waits for the end of the program's output must not wait for us. */
static void drop_stdio(void)
{
	cleanup_fd int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)dup2(fd, STDIN_FILENO);
	(void)dup2(fd, STDOUT_FILENO);
}

/* What a program set up for itself is not ours: handlers, a mask, the terminal's Ctrl-C. */
static void drop_signals(void)
{
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		(void)signal(i, SIG_DFL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)setsid();
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

/* What has been removed or interrupted here goes now that nobody waits for us any more. */
static void sweep(const struct job_child *child)
{
	cleanup_store struct ckpt_store *store = NULL;

	if (ckpt_store_open_at(child->request->store_fd, false, &store) == 0)
		(void)ckpt_store_sweep(store);
}

/**
 * capture_job_child() - be one of a job's processes; runs in the child of a fork
 *
 * The parent is single-threaded, so all of the library can be used.
 */
void capture_job_child(enum job_role role, const struct job_child *child)
{
	struct job_report report = {};
	int keep[3] = { child->ring, child->status, child->request->pidfd };
	int r;

	if (role == JOB_WRITER)
		keep[2] = child->request->store_fd;
	(void)prctl(PR_SET_NAME, job_roles[role].comm, 0, 0, 0);
	drop_signals();
	drop_stdio();
	umask(077);

	r = close_others(keep, 3);
	if (r < 0)
		report.error = -r;
	else
		job_roles[role].run(child, &report);

	report.kind = JOB_ENDED;
	capture_job_tell(child, &report);
	if (role == JOB_WRITER && r == 0)
		sweep(child);
	_exit(report.error ? EXIT_FAILURE : EXIT_SUCCESS);
}
