/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/reaper.h"

#include <errno.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/target.h"
#include "capture/threads.h"

#define REAPER_SIGNAL (SIGRTMAX - 2)
#define REAPER_PERIOD_NS 5000000

#ifndef sigev_notify_thread_id /* glibc has SIGEV_THREAD_ID, but not the field's name */
#define sigev_notify_thread_id _sigev_un._tid
#endif

static int take(pid_t tid, int what, siginfo_t *ret)
{
	*ret = (siginfo_t){};
	if (waitid(P_PID, (id_t)tid, ret, what | WNOHANG | __WALL) < 0)
		return -errno;

	return ret->si_pid ? 1 : 0;
}

static bool is_stop(const siginfo_t *event)
{
	return event->si_code == CLD_TRAPPED || event->si_code == CLD_STOPPED;
}

/**
 * capture_reaper_poll() - take a stop or the death of a traced thread
 *
 * The death of our own child is looked at and left, for whoever waits for it by rights. Safe in a
 * signal handler.
 *
 * Return: 1 in @ret, as waitid(2) fills it; 0 nothing happened; -ECHILD not traced by us.
 */
int capture_reaper_poll(const struct capture_target *target, pid_t tid, siginfo_t *ret)
{
	int r;

	r = take(tid, WEXITED | WSTOPPED | WNOWAIT, ret);
	if (r <= 0)
		return r;
	if (target->own_child && tid == target->pid && !is_stop(ret))
		return 1;

	return take(tid, WEXITED | WSTOPPED, ret);
}

static void reap(int signal, siginfo_t *info, void *context)
{
	const struct capture_threads *threads = info->si_value.sival_ptr;
	int saved = errno;
	siginfo_t event;

	(void)signal;
	(void)context;
	for (size_t i = 0; i < threads->n; i++) {
		const struct capture_thread *thread = &threads->items[i];

		/* The leader stays: a whole process that died is told of by the main flow. */
		if ((thread->hold != CAPTURE_SEIZED && thread->hold != CAPTURE_STOPPED) ||
		    thread->tid == threads->target->pid)
			continue;
		/* Looked at first: WEXITED alone would take a tracee's stop as well, and lose it. */
		if (take(thread->tid, WEXITED | WNOWAIT, &event) > 0 && !is_stop(&event))
			(void)take(thread->tid, WEXITED, &event);
	}
	errno = saved;
}

/**
 * capture_reaper_start() - reap the dead among @threads every few ms from now on
 * @ret: for capture_reaper_stop()
 * @threads: whose table must not be resized until then
 *
 * A thread that was reaped so answers the next capture_reaper_poll() with -ECHILD.
 *
 * Return: 0; as sigaction(2), timer_create(2).
 */
int capture_reaper_start(struct capture_reaper *ret, struct capture_threads *threads)
{
	struct sigaction action = { .sa_sigaction = reap, .sa_flags = SA_SIGINFO | SA_RESTART };
	struct itimerspec period = { { 0, REAPER_PERIOD_NS }, { 0, REAPER_PERIOD_NS } };
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD_ID,
		.sigev_signo = REAPER_SIGNAL,
		.sigev_value.sival_ptr = threads,
	};
	sigset_t set;
	int r;

	event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
	if (sigaction(REAPER_SIGNAL, &action, &ret->old_action) < 0)
		return -errno;
	if (timer_create(CLOCK_MONOTONIC, &event, &ret->timer) < 0) {
		r = -errno;
		(void)sigaction(REAPER_SIGNAL, &ret->old_action, NULL);
		return r;
	}

	(void)sigemptyset(&set);
	(void)sigaddset(&set, REAPER_SIGNAL);
	(void)sigprocmask(SIG_UNBLOCK, &set, &ret->old_mask);
	(void)timer_settime(ret->timer, 0, &period, NULL);
	return 0;
}

void capture_reaper_stop(struct capture_reaper *reaper)
{
	/* With the timer gone none of its signals can be pending: the handler is still there. */
	(void)timer_delete(reaper->timer);
	(void)sigprocmask(SIG_SETMASK, &reaper->old_mask, NULL);
	(void)sigaction(REAPER_SIGNAL, &reaper->old_action, NULL);
}
