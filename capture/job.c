/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/job.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "capture/calls.h"
#include "capture/job-internal.h"
#include "format/cleanup.h"
#include "format/name.h"

/*
 * A job is over when both processes are reaped: then the target is let go for certain, and what
 * the store holds is all it will hold. Neither process is trusted further than its report: the
 * one reads a stranger's memory, the other a ring that this one fills.
 */

#define JOB_ERRNO_MAX 4095
#define JOB_STEP_MAX 64 /* packets; what is left makes the fd readable again */

struct job_process {
	pid_t pid;
	int pidfd;  /* -EBADF: reaped */
	int status; /* our end; -EBADF: it has ended */
	int wait_status;
	bool reported; /* .report is its last one */
	struct job_report report;
};

struct ckpt_job {
	struct ckpt_job_status status;
	struct job_process processes[_JOB_ROLE_MAX];
	int epoll_fd;
	struct ckpt_calls *calls; /* not owned; may be NULL */
	uint64_t expected;
	bool cancelled;
};

static const char *const job_role_names[_JOB_ROLE_MAX] = {
	[JOB_WRITER] = "writer",
	[JOB_READER] = "reader",
};

/* start() */

static int job_watch(const struct ckpt_job *job, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(job->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int job_fork(struct ckpt_job *job, enum job_role role, const struct ckpt_request *request,
		    int ring)
{
	struct job_process *process = &job->processes[role];
	struct job_child child = { .request = request, .parent = getpid(), .ring = ring };
	cleanup_fd int theirs = -EBADF;
	int ends[2], r;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	process->status = ends[0];
	child.status = theirs = ends[1];

	process->pid = fork();
	if (process->pid < 0) {
		process->pid = 0;
		return -errno;
	}
	if (process->pid == 0)
		capture_job_child(role, &child);

	/* Not reaped yet, so the number is still its own. */
	process->pidfd = pidfd_open(process->pid, 0);
	if (process->pidfd < 0) {
		process->pidfd = -EBADF;
		return -errno;
	}
	r = job_watch(job, process->pidfd);
	if (r < 0)
		return r;
	return job_watch(job, process->status);
}

static int job_start_processes(struct ckpt_job *job, const struct ckpt_request *request)
{
	cleanup_fd int reader_end = -EBADF;
	cleanup_fd int writer_end = -EBADF;
	int ends[2], r;

	job->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (job->epoll_fd < 0)
		return -errno;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	reader_end = ends[0];
	writer_end = ends[1];

	r = job_fork(job, JOB_WRITER, request, writer_end);
	if (r < 0)
		return r;
	/* The reader must not hold the writer's end, or would never see it go. */
	writer_end = close_fd(writer_end);
	return job_fork(job, JOB_READER, request, reader_end);
}

/* By pidfd: a caller that waits for all its children may have reaped it, and the number is gone. */
static void process_kill(const struct job_process *process)
{
	if (process->pidfd >= 0)
		(void)pidfd_send_signal(process->pidfd, SIGKILL, NULL, 0);
	else if (process->pid > 0)
		(void)kill(process->pid, SIGKILL);
}

static struct ckpt_job *job_free(struct ckpt_job *job)
{
	if (!job)
		return NULL;
	for (int role = 0; role < _JOB_ROLE_MAX; role++) {
		struct job_process *process = &job->processes[role];

		if (process->pid > 0) {
			process_kill(process);
			while (waitpid(process->pid, NULL, 0) < 0 && errno == EINTR)
				;
		}
		close_fd(process->pidfd);
		close_fd(process->status);
	}
	close_fd(job->epoll_fd);
	free(job);
	return NULL;
}

static int job_start(const struct ckpt_request *request, struct ckpt_job **ret)
{
	struct ckpt_job *job;
	int r;

	r = ckpt_name_check(request->name);
	if (r < 0)
		return r;
	job = calloc(1, sizeof(*job));
	if (!job)
		return -ENOMEM;
	job->epoll_fd = -EBADF;
	job->status.pid = request->pid;
	job->calls = request->calls;
	for (int role = 0; role < _JOB_ROLE_MAX; role++) {
		job->processes[role].pidfd = -EBADF;
		job->processes[role].status = -EBADF;
	}

	r = job_start_processes(job, request);
	if (r < 0) {
		job_free(job);
		return r;
	}
	*ret = job;
	return 0;
}

/* step() */

/* A line of what a process said, whatever it sent. */
static void report_text(char *text, size_t size)
{
	text[size - 1] = '\0';
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
}

static void report_check(struct job_report *report)
{
	report_text(report->name, sizeof(report->name));
	report_text(report->said, sizeof(report->said));
	if (report->error < 0 || report->error > JOB_ERRNO_MAX)
		report->error = EIO;
	if (report->mode < 0 || report->mode >= _CKPT_MODE_MAX)
		report->mode = CKPT_MODE_AUTO;
}

static void job_take_report(struct ckpt_job *job, enum job_role role, struct job_report *report)
{
	struct job_process *process = &job->processes[role];
	uint64_t percent = 0;

	report_check(report);
	if (process->reported)
		return;
	if (report->kind == JOB_ENDED) {
		process->report = *report;
		process->reported = true;
	}
	if (role == JOB_READER && report->expected)
		job->expected = report->expected;
	if (role == JOB_WRITER && report->bytes)
		job->status.bytes = report->bytes;

	/* The last percent is the commit. */
	if (job->expected)
		percent = job->status.bytes >= job->expected
			      ? 99
			      : (uint64_t)((double)job->status.bytes / (double)job->expected * 99);
	if (percent > job->status.progress)
		job->status.progress = (uint32_t)percent;
}

static void job_take_calls(struct ckpt_job *job, enum job_role role, const struct job_calls *calls)
{
	struct timespec now;

	if (!job->calls || role != JOB_READER || calls->n > JOB_CALLS_MAX)
		return;
	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	capture_calls_merge(job->calls, job->status.pid, calls->items, calls->n,
			    (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec);
}

/* Up to @max packets: a process that sends without end must not keep us here. */
static void job_receive(struct ckpt_job *job, enum job_role role, unsigned max)
{
	struct job_process *process = &job->processes[role];

	while (process->status >= 0 && max-- > 0) {
		union {
			struct job_report report;
			struct job_calls calls;
		} packet;
		ssize_t n;

		n = recv(process->status, &packet, sizeof(packet), MSG_DONTWAIT | MSG_TRUNC);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) /* closed: epoll forgets it */
			process->status = close_fd(process->status);
		else if (n == sizeof(packet.report))
			job_take_report(job, role, &packet.report);
		else if (n == sizeof(packet.calls))
			job_take_calls(job, role, &packet.calls);
	}
}

static void job_reap(struct ckpt_job *job, enum job_role role)
{
	struct job_process *process = &job->processes[role];
	pid_t pid;

	if (process->pid == 0)
		return;
	do
		pid = waitpid(process->pid, &process->wait_status, WNOHANG);
	while (pid < 0 && errno == EINTR);
	if (pid == 0)
		return;

	process->pid = 0;
	process->pidfd = close_fd(process->pidfd);
	job_receive(job, role, UINT_MAX); /* what it sent before it ended */
	process->status = close_fd(process->status);
}

/* An error that only tells of the other process's end. */
static bool is_echo(int error)
{
	return error == EPIPE || error == ECANCELED;
}

static void job_fail(struct ckpt_job *job, int error, const char *said)
{
	job->status.state = CKPT_JOB_FAILED;
	job->status.error = error;
	snprintf(job->status.said, sizeof(job->status.said), "%s", said);
}

/* A process that went without a word: 1 when there is one, and it is the cause. */
static bool job_fail_silent(struct ckpt_job *job)
{
	char said[CKPT_SAID_SIZE];

	for (int role = 0; role < _JOB_ROLE_MAX; role++) {
		const struct job_process *process = &job->processes[role];

		if (process->reported)
			continue;
		if (WIFSIGNALED(process->wait_status))
			snprintf(said, sizeof(said),
				 "cannot capture process %d: the %s was killed by signal %d",
				 job->status.pid, job_role_names[role],
				 WTERMSIG(process->wait_status));
		else
			snprintf(said, sizeof(said), "cannot capture process %d: the %s is gone",
				 job->status.pid, job_role_names[role]);
		job_fail(job, EIO, said);
		return true;
	}
	return false;
}

/* The cause is the first error that is none of the other process's end; the writer knows more. */
static void job_fail_reported(struct ckpt_job *job)
{
	for (int echo = 0; echo < 2; echo++) {
		for (int role = 0; role < _JOB_ROLE_MAX; role++) {
			const struct job_report *report = &job->processes[role].report;

			if (!job->processes[role].reported || !report->error ||
			    is_echo(report->error) != echo)
				continue;
			/* A silent end explains an echo, not the other way round. */
			if (echo && job_fail_silent(job))
				return;
			job_fail(job, report->error, report->said);
			return;
		}
	}
	if (!job_fail_silent(job))
		job_fail(job, EIO, "the writer made no checkpoint");
}

static void job_finish(struct ckpt_job *job)
{
	const struct job_process *writer = &job->processes[JOB_WRITER];
	const struct job_report *read = &job->processes[JOB_READER].report;

	job->status.mode = (enum ckpt_mode)read->mode;
	job->status.pause_us = read->pause_us;
	if (writer->reported && !writer->report.error &&
	    ckpt_name_check(writer->report.name) == 0) {
		job->status.state = CKPT_JOB_DONE;
		job->status.progress = 100;
		job->status.bytes = writer->report.bytes;
		job->status.stored = writer->report.stored;
		memcpy(job->status.name, writer->report.name, sizeof(job->status.name));
		return;
	}
	if (job->cancelled)
		job_fail(job, ECANCELED, "the capture was cancelled");
	else
		job_fail_reported(job);
}

static void job_step(struct ckpt_job *job)
{
	bool running = false;

	if (job->status.state != CKPT_JOB_RUNNING)
		return;
	for (int role = 0; role < _JOB_ROLE_MAX; role++) {
		job_receive(job, role, JOB_STEP_MAX);
		job_reap(job, role);
		running |= job->processes[role].pid > 0;
	}
	if (!running)
		job_finish(job);
}

/* The rest */

static int job_fd(const struct ckpt_job *job)
{
	return job->epoll_fd;
}

static const struct ckpt_job_status *job_status(const struct ckpt_job *job)
{
	return &job->status;
}

/* The reader's end lets the target go; the writer looks for the end of its socket. */
static void job_cancel(struct ckpt_job *job)
{
	if (job->status.state != CKPT_JOB_RUNNING)
		return;
	job->cancelled = true;
	process_kill(&job->processes[JOB_READER]);
	if (job->processes[JOB_WRITER].status >= 0)
		(void)shutdown(job->processes[JOB_WRITER].status, SHUT_WR);
}

static bool job_owns(const struct ckpt_job *job, pid_t pid)
{
	for (int role = 0; role < _JOB_ROLE_MAX; role++)
		if (pid > 0 && job->processes[role].pid == pid)
			return true;
	return false;
}

const struct ckpt_job_ops capture_job_ops = {
	.start = job_start,
	.fd = job_fd,
	.step = job_step,
	.status = job_status,
	.cancel = job_cancel,
	.owns = job_owns,
	.free = job_free,
};
