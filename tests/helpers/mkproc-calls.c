/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Threads in system calls that a capture interrupts. The process aborts as soon as one of them
 * gets an EINTR that it has not asked for, or misses one that it needs.
 */

#include "helpers/mkproc.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "helpers/blocking.h"

#define ALARM_NS 20000000
#define ALARM_SIGNAL (SIGRTMIN + 4)
#define SHORT_MS 300
/*
 * At worst a wait is seen first just before its end, and started again just before it has been
 * seen for as long: three lengths, and what its thread was held meanwhile on a busy machine.
 */
#define SHORT_MAX_MS 2000
#define TRIES 10000

#ifndef sigev_notify_thread_id /* glibc has SIGEV_THREAD_ID, but not the field's name */
#define sigev_notify_thread_id _sigev_un._tid
#endif

struct call_start {
	struct mkproc *proc;
	const struct blocking_call *call;
	_Atomic pid_t tid;
	_Atomic long failed; /* a negative errno of the set-up, before it could wait */
	atomic_bool waits;   /* from here on it must not come back */
};

_Noreturn static void die(const char *what, long result)
{
	fprintf(stderr, "mkproc: \"%s\" came back: %s\n", what,
		result < 0 ? strerror((int)-result) : "done");
	abort();
}

static void *run_call(void *userdata)
{
	struct call_start *start = userdata;
	long r;

	start->tid = (pid_t)syscall(SYS_gettid);
	r = start->call->wait();
	if (start->waits)
		die(start->call->name, r);
	start->failed = r;
	return NULL;
}

static int call_start(void *(*run)(void *), void *userdata)
{
	pthread_attr_t attr;
	pthread_t thread;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	r = pthread_create(&thread, &attr, run, userdata);
	pthread_attr_destroy(&attr);
	return -r;
}

/* Return: 0 it waits; -EAGAIN not in time; what its set-up failed with. */
static int await_wait(struct call_start *start)
{
	const struct timespec moment = { .tv_nsec = 1000000 };

	for (unsigned i = 0; i < TRIES && !start->failed; i++) {
		if (start->tid && blocking_is_in(start->tid, start->call->number)) {
			start->waits = true;
			return 0;
		}
		nanosleep(&moment, NULL);
	}
	return start->failed ? (int)start->failed : -EAGAIN;
}

/* A call that the kernel refuses to this user is left out, and the facts say so. */
static int make_calls(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	for (const struct blocking_call *call = blocking_calls; call->name; call++) {
		struct call_start *start = calloc(1, sizeof(*start));
		struct json_object *row;
		int r;

		if (!start)
			return -ENOMEM;
		start->proc = proc;
		start->call = call;
		r = call_start(run_call, start);
		if (r < 0)
			return r;

		r = await_wait(start);
		if (r == -EAGAIN)
			return r;
		row = mkproc_row(facts, r == 0 ? "threads" : "refused");
		mkproc_string(row, "call", call->name);
		if (r == 0)
			mkproc_int(row, "tid", start->tid);
	}
	return 0;
}

static void on_alarm(int signal)
{
}

static timer_t make_alarm(void)
{
	struct sigaction action = { .sa_handler = on_alarm };
	struct sigevent event = {
		.sigev_notify = SIGEV_THREAD_ID,
		.sigev_signo = ALARM_SIGNAL,
	};
	timer_t timer;

	event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
	if (sigaction(ALARM_SIGNAL, &action, NULL) < 0 ||
	    timer_create(CLOCK_MONOTONIC, &event, &timer) < 0)
		die("an alarm", -errno);
	return timer;
}

/* It waits for ever, unless each signal ends its wait. */
static void *run_alarm(void *userdata)
{
	const struct itimerspec soon = { .it_value = { .tv_nsec = ALARM_NS } };
	struct mkproc *proc = userdata;
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	timer_t timer = make_alarm();
	struct epoll_event event;

	for (;;) {
		timer_settime(timer, 0, &soon, NULL);
		if (epoll_wait(epoll_fd, &event, 1, -1) >= 0 || errno != EINTR)
			die("a wait that an alarm should end", -errno);
		proc->n_alarms++;
	}
	return NULL;
}

static int make_alarms(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	return call_start(run_alarm, proc);
}

static long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void *run_short(void *userdata)
{
	struct mkproc *proc = userdata;
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC), r;
	struct epoll_event event;
	long begin;

	for (;;) {
		begin = now_ms();
		r = epoll_wait(epoll_fd, &event, 1, SHORT_MS);
		if (r != 0)
			die("a wait of 300 ms", r < 0 ? -errno : r);
		if (now_ms() - begin > SHORT_MAX_MS)
			die("a wait of 300 ms, after more than two seconds", r);
		proc->n_shorts++;
	}
	return NULL;
}

static int make_shorts(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	return call_start(run_short, proc);
}

const struct mkproc_factory mkproc_calls[] = {
	{ "calls", "threads in all calls that a stop interrupts, and aborts on EINTR", make_calls },
	{ "alarm", "a thread whose waits are ended by a signal's EINTR alone", make_alarms },
	{ "short", "a thread that waits 300 ms at a time, and aborts after two seconds",
	  make_shorts },
	{},
};
