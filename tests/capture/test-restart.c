/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A system call that a capture interrupts goes on: it returns no EINTR that no handler of the
 * program's own accounts for, waits no longer than it may under frequent captures, and nothing
 * but the calls of a closed table is ever done twice.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "capture/calls.h"
#include "capture/restart.h"
#include "tests/capture/child.h"
#include "tests/helpers/blocking.h"

#define DEADLINE_MS 20000
#define MS UINT64_C(1000000)
#define PERIOD_MS 50
#define LENGTH_MS 300
#define N_THREADS 4

/* facts[] */
enum {
	WHICH,	 /* row of blocking_calls[] */
	RETURNS, /* how often the call came back */
	RESULT,	 /* of the last time */
	HANDLED, /* how often a handler ran */
	FD,
	TOOK_MS,
	TID,
};

static int64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void take_breath(void)
{
	(void)poll(NULL, 0, 1);
}

/* Until the child sits in the call, or the call has returned. Return: whether it sits there. */
static bool await_call(const struct child *child, pid_t tid, long number, uint64_t returns)
{
	int64_t deadline = now_ms() + DEADLINE_MS;

	while (now_ms() < deadline && child->facts[RETURNS] == returns) {
		if (blocking_is_in(tid, number))
			return true;
		take_breath();
	}
	return false;
}

static bool await_fact(const struct child *child, int fact, uint64_t value)
{
	int64_t deadline = now_ms() + DEADLINE_MS;

	while (now_ms() < deadline && child->facts[fact] < value)
		take_breath();
	return child->facts[fact] >= value;
}

/* The memory is not looked at here. Kept, it would be part of the next child, and its capture. */
static int drop_pages(struct ckpt_sink *sink, uint64_t addr, size_t len, const void *data)
{
	struct memory_sink *m = (struct memory_sink *)sink;

	return m->on_pages ? m->on_pages(m->userdata) : 0;
}

static int drop_zero(struct ckpt_sink *sink, uint64_t addr, uint64_t len)
{
	return 0;
}

static struct memory_sink *capture(const struct child *child, struct ckpt_calls *calls,
				   int (*while_held)(void *userdata))
{
	struct memory_sink *sink = memory_sink_new(true);
	struct capture_params params = child_params(child, &sink);
	const struct ckpt_sink_ops *kept = sink->sink.ops;
	struct ckpt_sink_ops ops = *kept;
	struct capture_result result;
	int r;

	ops.pages = drop_pages;
	ops.zero = drop_zero;
	sink->sink.ops = &ops;
	sink->on_pages = while_held;
	sink->userdata = (void *)child;
	params.calls = calls;
	r = capture_process(&params, &result);
	if (r < 0)
		fail_msg("%s: %s", strerror(-r), result.said);
	sink->sink.ops = kept;
	return sink;
}

static void capture_once(const struct child *child, struct ckpt_calls *calls)
{
	memory_sink_free(capture(child, calls, NULL));
}

/* As any debugger does it. Return: rax of the stop. */
static int64_t attach_and_detach(pid_t pid)
{
	struct user_regs_struct regs;
	int status;

	assert_int_equal(ptrace(PTRACE_SEIZE, pid, NULL, NULL), 0);
	assert_int_equal(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL), 0);
	assert_int_equal(waitpid(pid, &status, __WALL), pid);
	assert_true(WIFSTOPPED(status));
	assert_int_equal(ptrace(PTRACE_GETREGS, pid, NULL, &regs), 0);
	assert_int_equal(ptrace(PTRACE_DETACH, pid, NULL, NULL), 0);
	return (int64_t)regs.rax;
}

/* Every call, for real. */

/* The row is told by what the test wrote there before; pause() comes back from no stop. */
static void child_block(struct child *child)
{
	child_say_ready(child);
	while (!child->facts[WHICH])
		take_breath();
	child->facts[RESULT] = (uint64_t)blocking_calls[child->facts[WHICH] - 1].wait();
	child->facts[RETURNS]++;
	for (;;)
		(void)pause();
}

static struct child start_blocking(size_t i)
{
	struct child child = child_start(child_block);

	child.facts[WHICH] = i + 1;
	if (!await_call(&child, child.pid, blocking_calls[i].number, 0))
		fail_msg("%s does not wait: %s", blocking_calls[i].name,
			 strerror(-(int)child.facts[RESULT]));
	return child;
}

/* A send can have been half done, which is no EINTR yet. */
static bool dies_of_a_debugger(size_t i, int64_t *ret_rax)
{
	struct child child = start_blocking(i);
	bool died = false;

	for (int k = 0; k < 5 && !died; k++) {
		*ret_rax = attach_and_detach(child.pid);
		died = !await_call(&child, child.pid, blocking_calls[i].number, 0);
	}
	if (died)
		assert_int_equal((int64_t)child.facts[RESULT], -EINTR);
	child_end(&child);
	return died;
}

static void a_call_is_interrupted_by_a_debugger_and_not_by_us(void **state)
{
	for (size_t i = 0; blocking_calls[i].name; i++) {
		struct child child;
		int64_t rax = 0;
		bool died = dies_of_a_debugger(i, &rax);

		print_message("%-16s rax %4lld after a stop: %s\n", blocking_calls[i].name,
			      (long long)rax, died ? "EINTR for the program" : "goes on by itself");
		/* Of other kernels only the end of it is known: that it goes on under us. */
		if (blocking_calls[i].shows_eintr && !died)
			print_message("%-16s no longer shows EINTR\n", blocking_calls[i].name);

		child = start_blocking(i);
		for (int k = 0; k < 2; k++) {
			capture_once(&child, NULL);
			if (!await_call(&child, child.pid, blocking_calls[i].number, 0))
				fail_msg("%s came back: %lld", blocking_calls[i].name,
					 (long long)child.facts[RESULT]);
		}
		child_end(&child);
	}
}

static size_t row_of(const char *name)
{
	size_t i = 0;

	while (strcmp(blocking_calls[i].name, name) != 0)
		i++;
	return i;
}

static void the_image_has_the_registers_as_the_stop_showed_them(void **state)
{
	struct child child = start_blocking(row_of("epoll_wait"));
	struct memory_sink *sink = capture(&child, NULL, NULL);
	const struct user_regs_struct *regs = sink->threads.items[0].gpregs;

	assert_int_equal((int64_t)regs->rax, -EINTR);
	assert_int_equal(regs->orig_rax, SYS_epoll_wait);
	memory_sink_free(sink);
	child_end(&child);
}

/* In a process of its own, whose death is what the kernel makes of it. */
static int die(void *userdata)
{
	(void)userdata;
	return raise(SIGKILL);
}

static void a_call_goes_on_when_we_are_killed_while_we_hold_it(void **state)
{
	struct child child = start_blocking(row_of("epoll_wait"));
	int status;
	pid_t pid;

	for (int i = 0; i < 5; i++) {
		pid = fork();
		if (pid == 0) {
			(void)capture(&child, NULL, die);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		assert_true(await_call(&child, child.pid, SYS_epoll_wait, 0));
	}
	child_end(&child);
}

/* Signals. */

static volatile uint64_t *handled;

static void count_signal(int signal)
{
	(void)signal;
	++*handled;
}

static void handle(struct child *child, int signal, void (*handler)(int))
{
	struct sigaction action = { .sa_handler = handler };

	handled = &child->facts[HANDLED];
	child_need(sigaction(signal, &action, NULL) == 0);
}

static void wait_for_events(struct child *child)
{
	struct epoll_event event;
	long r;

	r = syscall(SYS_epoll_wait, epoll_create1(EPOLL_CLOEXEC), &event, 1, -1);
	child->facts[RESULT] = (uint64_t)(r < 0 ? -errno : r);
	__atomic_add_fetch(&child->facts[RETURNS], 1, __ATOMIC_SEQ_CST);
	for (;;)
		(void)pause();
}

static void child_handles(struct child *child)
{
	handle(child, SIGUSR1, count_signal);
	child_say_ready(child);
	wait_for_events(child);
}

static void child_ignores(struct child *child)
{
	handle(child, SIGUSR1, SIG_IGN);
	child_say_ready(child);
	wait_for_events(child);
}

/* Again and again is no harm: it is pending already. */
static int send_usr1(void *userdata)
{
	const struct child *child = userdata;

	return kill(child->pid, SIGUSR1) < 0 ? -errno : 0;
}

static int send_harmless(void *userdata)
{
	const struct child *child = userdata;

	(void)kill(child->pid, SIGCHLD);
	(void)kill(child->pid, SIGWINCH);
	(void)kill(child->pid, SIGURG);
	return send_usr1(userdata);
}

static void a_signal_that_is_handled_brings_its_eintr(void **state)
{
	struct child child = child_start(child_handles);

	assert_true(await_call(&child, child.pid, SYS_epoll_wait, 0));
	memory_sink_free(capture(&child, NULL, send_usr1));
	assert_true(await_fact(&child, RETURNS, 1));
	assert_int_equal((int64_t)child.facts[RESULT], -EINTR);
	assert_int_equal(child.facts[HANDLED], 1);
	child_end(&child);
}

static void a_signal_that_is_ignored_brings_none(void **state)
{
	struct child child = child_start(child_ignores);

	assert_true(await_call(&child, child.pid, SYS_epoll_wait, 0));
	memory_sink_free(capture(&child, NULL, send_harmless));
	assert_true(await_call(&child, child.pid, SYS_epoll_wait, 0));
	capture_once(&child, NULL);
	assert_true(await_call(&child, child.pid, SYS_epoll_wait, 0));
	child_end(&child);
}

static void *run_wait(void *arg)
{
	struct child *child = arg;

	__atomic_add_fetch(&child->facts[TID], 1, __ATOMIC_SEQ_CST);
	wait_for_events(child);
	return NULL;
}

static void child_handles_in_threads(struct child *child)
{
	pthread_t thread;

	handle(child, SIGUSR1, count_signal);
	for (int i = 1; i < N_THREADS; i++)
		child_need(pthread_create(&thread, NULL, run_wait, child) == 0);
	child_say_ready(child);
	wait_for_events(child);
}

static unsigned count_in_call(const struct memory_sink *sink, long number)
{
	unsigned n = 0;

	for (size_t i = 0; i < sink->threads.n; i++)
		n += blocking_is_in(sink->threads.items[i].tid, number);
	return n;
}

static void a_signal_to_the_process_interrupts_the_thread_that_takes_it_alone(void **state)
{
	struct child child = child_start(child_handles_in_threads);
	int64_t deadline = now_ms() + DEADLINE_MS;
	struct memory_sink *sink = NULL;

	/* All wait: then a first capture has seen them all do so. */
	do {
		memory_sink_free(sink);
		sink = capture(&child, NULL, NULL);
		take_breath();
	} while (count_in_call(sink, SYS_epoll_wait) < N_THREADS && now_ms() < deadline);
	assert_int_equal(sink->threads.n, N_THREADS);
	assert_int_equal(child.facts[RETURNS], 0);

	memory_sink_free(capture(&child, NULL, send_usr1));
	assert_true(await_fact(&child, RETURNS, 1));
	assert_int_equal(child.facts[HANDLED], 1);
	while (count_in_call(sink, SYS_epoll_wait) < N_THREADS - 1 && now_ms() < deadline)
		take_breath();
	assert_int_equal(count_in_call(sink, SYS_epoll_wait), N_THREADS - 1);
	assert_int_equal(child.facts[RETURNS], 1);
	memory_sink_free(sink);
	child_end(&child);
}

/* It hangs for ever if the alarm rings and epoll_wait() does not return for it. */
static void child_needs_eintr(struct child *child)
{
	struct epoll_event event;
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);

	handle(child, SIGALRM, count_signal);
	child_say_ready(child);
	for (;;) {
		struct itimerval soon = { .it_value.tv_usec = 10000 };

		child_need(setitimer(ITIMER_REAL, &soon, NULL) == 0);
		child_need(epoll_wait(epoll_fd, &event, 1, -1) < 0 && errno == EINTR);
		child->facts[RETURNS]++;
	}
}

static void an_alarm_without_sa_restart_ends_a_wait_at_any_moment_of_a_capture(void **state)
{
	struct child child = child_start(child_needs_eintr);
	uint64_t returns = 0;

	for (int i = 0; i < 60; i++) {
		capture_once(&child, NULL);
		if (i % 10 == 9) {
			assert_true(await_fact(&child, RETURNS, returns + 1));
			returns = child.facts[RETURNS];
		}
	}
	child_end(&child);
}

/* Pending since it was stopped: the signal that comes while it is held. */
static int await_alarm(void *userdata)
{
	const struct child *child = userdata;
	int64_t deadline = now_ms() + DEADLINE_MS;
	unsigned long long pending = 0;
	char path[32], line[128];

	(void)snprintf(path, sizeof(path), "/proc/%d/status", child->pid);
	while (!(pending & (1 << (SIGALRM - 1))) && now_ms() < deadline) {
		FILE *f = fopen(path, "re");

		while (f && fgets(line, sizeof(line), f))
			if (sscanf(line, "ShdPnd: %llx", &pending) == 1)
				break;
		if (f)
			(void)fclose(f);
	}
	return pending & (1 << (SIGALRM - 1)) ? 0 : -ETIMEDOUT;
}

static void an_alarm_that_rings_while_all_is_held_ends_the_wait(void **state)
{
	struct child child = child_start(child_needs_eintr);
	uint64_t returns;

	for (int i = 0; i < 5; i++) {
		assert_true(await_fact(&child, RETURNS, child.facts[RETURNS] + 1));
		returns = child.facts[RETURNS];
		memory_sink_free(capture(&child, NULL, await_alarm));
		assert_true(await_fact(&child, RETURNS, returns + 1));
	}
	child_end(&child);
}

static void the_eintr_of_a_stopped_process_is_its_due(void **state)
{
	struct child child = start_blocking(row_of("epoll_wait"));

	child_stop(&child);
	capture_once(&child, NULL);
	assert_true(child_await_state(child.pid, "T"));
	assert_int_equal(child.facts[RETURNS], 0);
	child_continue(&child);
	assert_true(await_fact(&child, RETURNS, 1));
	assert_int_equal((int64_t)child.facts[RESULT], -EINTR);
	child_end(&child);
}

static void child_awaits_event(struct child *child)
{
	struct epoll_event event = { .events = EPOLLIN };
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);

	child->facts[FD] = (uint64_t)eventfd(0, EFD_CLOEXEC);
	child_need(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, (int)child->facts[FD], &event) == 0);
	child_say_ready(child);
	child->facts[RESULT] = (uint64_t)epoll_wait(epoll_fd, &event, 1, LENGTH_MS * 100);
	child->facts[RETURNS]++;
	child_wait(child);
}

static void a_call_started_again_returns_what_it_waited_for(void **state)
{
	struct child child = child_start(child_awaits_event);
	uint64_t one = 1;
	char path[48];
	int fd;

	assert_true(await_call(&child, child.pid, SYS_epoll_wait, 0));
	capture_once(&child, NULL);
	assert_true(await_call(&child, child.pid, SYS_epoll_wait, 0));
	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", child.pid, (int)child.facts[FD]);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0) { /* an eventfd cannot be opened anew */
		int pidfd = (int)syscall(SYS_pidfd_open, child.pid, 0);

		fd = (int)syscall(SYS_pidfd_getfd, pidfd, (int)child.facts[FD], 0);
		(void)close(pidfd);
	}
	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
	assert_true(await_fact(&child, RETURNS, 1));
	assert_int_equal(child.facts[RESULT], 1);
	(void)close(fd);
	child_end(&child);
}

/* Timeouts. */

static void note_end(struct child *child, long r, int64_t begin)
{
	child->facts[RESULT] = (uint64_t)(r < 0 ? -errno : r);
	child->facts[TOOK_MS] = (uint64_t)(now_ms() - begin);
	child->facts[RETURNS]++;
	for (;;)
		(void)pause();
}

static void child_short_epoll(struct child *child)
{
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event;
	int64_t begin = now_ms();

	child_say_ready(child);
	note_end(child, syscall(SYS_epoll_wait, epoll_fd, &event, 1, LENGTH_MS), begin);
}

static void child_short_recv(struct child *child)
{
	struct timeval t = { .tv_usec = LENGTH_MS * 1000 };
	int64_t begin = now_ms();
	int ends[2];
	char byte;

	child_need(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	child_need(setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t)) == 0);
	child_say_ready(child);
	note_end(child, recv(ends[0], &byte, 1, 0), begin);
}

static void child_short_sigtimedwait(struct child *child)
{
	struct timespec t = { .tv_nsec = LENGTH_MS * 1000000 };
	int64_t begin = now_ms();
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR2);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	child_say_ready(child);
	note_end(child, sigtimedwait(&set, NULL, &t), begin);
}

static const struct {
	child_fn fn;
	long number;
	int over;
} shorts[] = {
	{ child_short_epoll, SYS_epoll_wait, 0 },
	{ child_short_recv, SYS_recvfrom, -EAGAIN },
	{ child_short_sigtimedwait, SYS_rt_sigtimedwait, -EAGAIN },
};

static int make_ticker(void)
{
	struct itimerspec period = { { 0, PERIOD_MS * 1000000 }, { 0, PERIOD_MS * 1000000 } };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(timerfd_settime(fd, 0, &period, NULL), 0);
	return fd;
}

static void capture_at_ticks(struct child *child, struct ckpt_calls *calls, unsigned n)
{
	int ticker = make_ticker();
	uint64_t ticks;

	for (unsigned i = 0; i < n && child->facts[RETURNS] == 0; i++) {
		assert_int_equal(read(ticker, &ticks, sizeof(ticks)), sizeof(ticks));
		capture_once(child, calls);
	}
	(void)close(ticker);
}

static void a_wait_of_300_ms_ends_in_time_under_a_capture_every_50_ms(void **state)
{
	for (size_t i = 0; i < sizeof(shorts) / sizeof(shorts[0]); i++) {
		struct ckpt_calls *calls = calloc(1, sizeof(*calls));
		struct child child = child_start(shorts[i].fn);

		assert_true(await_call(&child, child.pid, shorts[i].number, 0));
		capture_at_ticks(&child, calls, 1000 / PERIOD_MS);
		assert_true(await_fact(&child, RETURNS, 1));
		assert_int_equal((int64_t)child.facts[RESULT], shorts[i].over);
		assert_true(child.facts[TOOK_MS] >= LENGTH_MS);
		assert_true(child.facts[TOOK_MS] < 1000);
		child_end(&child);
		free(calls);
	}
}

static void without_a_memory_it_is_the_first_capture_each_time(void **state)
{
	struct child child = child_start(child_short_epoll);

	assert_true(await_call(&child, child.pid, SYS_epoll_wait, 0));
	capture_at_ticks(&child, NULL, 1000 / PERIOD_MS);
	assert_int_equal(child.facts[RETURNS], 0);
	/* Left alone it ends. */
	assert_true(await_fact(&child, RETURNS, 1));
	assert_int_equal(child.facts[RESULT], 0);
	child_end(&child);
}

/* One call after the other from the same place, each ended by an event: facts[RETURNS] of them. */
static void child_polls_in_a_loop(struct child *child)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct itimerspec period = { { 0, 5000000 }, { 0, 5000000 } };
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC), fd = timerfd_create(CLOCK_MONOTONIC, 0);
	uint64_t ticks;

	child_need(timerfd_settime(fd, 0, &period, NULL) == 0);
	child_need(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
	child_say_ready(child);
	for (;;) {
		if (epoll_wait(epoll_fd, &event, 1, LENGTH_MS) != 1)
			child->facts[RESULT]++;
		child_need(read(fd, &ticks, sizeof(ticks)) == sizeof(ticks));
		child->facts[HANDLED]++;
	}
}

static void calls_that_end_by_themselves_are_not_taken_for_one(void **state)
{
	struct ckpt_calls *calls = calloc(1, sizeof(*calls));
	struct child child = child_start(child_polls_in_a_loop);

	capture_at_ticks(&child, calls, 1000 / PERIOD_MS);
	assert_true(child.facts[HANDLED] > 20);
	assert_int_equal(child.facts[RESULT], 0);
	child_end(&child);
	free(calls);
}

/* The decision. */

static struct capture_call_facts interrupted(long number)
{
	return (struct capture_call_facts){
		.regs = { .rax = (uint64_t)-EINTR, .orig_rax = (uint64_t)number, .cs = 0x33 },
		.code = { 0x0f, 0x05 },
		.pointed_ns = CAPTURE_FOREVER,
	};
}

static bool is_restarted(const struct capture_call_facts *facts)
{
	struct capture_restart restart;

	return capture_restart_decide(facts, &restart);
}

static const long always[] = {
	SYS_epoll_wait, SYS_epoll_pwait,  SYS_epoll_pwait2,   SYS_rt_sigtimedwait, SYS_semop,
	SYS_semtimedop, SYS_io_getevents, SYS_io_uring_enter, SYS_msgrcv,	   SYS_msgsnd,
};
static const long receives[] = { SYS_read,     SYS_readv,  SYS_recvfrom, SYS_recvmsg,
				 SYS_recvmmsg, SYS_accept, SYS_accept4 };
static const long sends[] = { SYS_write,   SYS_writev,	 SYS_sendto,
			      SYS_sendmsg, SYS_sendmmsg, SYS_connect };
#define N(a) (sizeof(a) / sizeof((a)[0]))

static bool is_one_of(const long *numbers, size_t n, long number)
{
	for (size_t i = 0; i < n; i++)
		if (numbers[i] == number)
			return true;
	return false;
}

static void no_call_but_those_of_the_table_is_ever_repeated(void **state)
{
	for (long number = -600; number < 1100; number++) {
		struct capture_call_facts facts = interrupted(number);

		assert_int_equal(is_restarted(&facts), is_one_of(always, N(always), number));

		facts.fd = CAPTURE_CALL_INOTIFY;
		assert_int_equal(is_restarted(&facts),
				 is_one_of(always, N(always), number) || number == SYS_read);

		facts.fd = CAPTURE_CALL_SOCKET;
		assert_int_equal(is_restarted(&facts), is_one_of(always, N(always), number));
		facts.receive_ns = MS;
		assert_int_equal(is_restarted(&facts),
				 is_one_of(always, N(always), number) ||
				     is_one_of(receives, N(receives), number));
		facts.receive_ns = 0;
		facts.send_ns = MS;
		assert_int_equal(is_restarted(&facts), is_one_of(always, N(always), number) ||
							   is_one_of(sends, N(sends), number));
	}
}

static void only_eintr_is_replaced(void **state)
{
	struct capture_call_facts facts = interrupted(SYS_epoll_wait);

	for (int64_t rax = -600; rax < 600; rax++) {
		facts.regs.rax = (uint64_t)rax;
		assert_int_equal(is_restarted(&facts), rax == -EINTR);
	}
	/* The upper half alone makes another value of it. */
	facts.regs.rax = (uint32_t)-EINTR;
	assert_false(is_restarted(&facts));
}

static void only_a_syscall_instruction_of_64_bit_code_counts(void **state)
{
	struct capture_call_facts facts = interrupted(SYS_epoll_wait);

	facts.regs.cs = 0x23;
	assert_false(is_restarted(&facts));
	facts = interrupted(SYS_epoll_wait);
	facts.code[0] = 0xcd; /* int 0x80: the number is of another table */
	facts.code[1] = 0x80;
	assert_false(is_restarted(&facts));
	facts = interrupted(SYS_epoll_wait | 0x40000000); /* x32 */
	assert_false(is_restarted(&facts));
}

static void a_length_that_cannot_be_told_leaves_the_call_alone(void **state)
{
	struct capture_call_facts facts = interrupted(SYS_epoll_pwait2);

	facts.pointed_ns = CAPTURE_NS_UNKNOWN;
	assert_false(is_restarted(&facts));
}

static void each_call_ends_as_its_timeout_would(void **state)
{
	static const struct {
		long number;
		bool is_unix;
		int over;
	} ends[] = {
		{ SYS_epoll_wait, false, 0 },
		{ SYS_epoll_pwait, false, 0 },
		{ SYS_epoll_pwait2, false, 0 },
		{ SYS_io_getevents, false, 0 },
		{ SYS_rt_sigtimedwait, false, -EAGAIN },
		{ SYS_semtimedop, false, -EAGAIN },
		{ SYS_io_uring_enter, false, -ETIME },
		{ SYS_recvfrom, false, -EAGAIN },
		{ SYS_accept, false, -EAGAIN },
		{ SYS_sendto, false, -EAGAIN },
		{ SYS_connect, false, -EINPROGRESS },
		{ SYS_connect, true, -EAGAIN },
	};

	for (size_t i = 0; i < N(ends); i++) {
		struct capture_call_facts facts = interrupted(ends[i].number);
		struct capture_restart restart;

		facts.regs.r10 = 5;
		facts.pointed_ns = facts.receive_ns = facts.send_ns = 5 * MS;
		facts.fd = CAPTURE_CALL_SOCKET;
		facts.is_unix = ends[i].is_unix;
		assert_true(capture_restart_decide(&facts, &restart));
		assert_int_equal(restart.length_ns, 5 * MS);
		assert_int_equal(restart.over, ends[i].over);
	}
}

static void a_negative_timeout_is_none(void **state)
{
	struct capture_call_facts facts = interrupted(SYS_epoll_wait);
	struct capture_restart restart;

	/* An int: what is above it in the register is anything. */
	facts.regs.r10 = UINT64_C(0x12345678ffffffff);
	assert_true(capture_restart_decide(&facts, &restart));
	assert_int_equal(restart.length_ns, CAPTURE_FOREVER);
	facts.regs.r10 = UINT64_C(0xffffffff00000007);
	assert_true(capture_restart_decide(&facts, &restart));
	assert_int_equal(restart.length_ns, 7 * MS);
}

/* The memory. */

static struct ckpt_call known_call(void)
{
	return (struct ckpt_call){
		.pid = 10,
		.tid = 11,
		.start_ticks = 5,
		.number = SYS_epoll_wait,
		.rip = 1000,
		.rsp = 2000,
		.args = { 1, 2, 3, 4, 5, 6 },
		.switches = 7,
		.first_ns = 100 * MS,
		.last_ns = 150 * MS,
		.length_ns = 300 * MS,
	};
}

/* Seen again 50 ms later, after what a restart makes of it. */
static struct ckpt_call known_call_again(void)
{
	struct ckpt_call call = known_call();

	call.switches += 2;
	call.first_ns = call.last_ns = 200 * MS;
	return call;
}

static void other_pid(struct ckpt_call *call)
{
	call->pid++;
}

static void other_tid(struct ckpt_call *call)
{
	call->tid++;
}

static void other_start(struct ckpt_call *call)
{
	call->start_ticks++;
}

static void other_number(struct ckpt_call *call)
{
	call->number++;
}

static void other_rip(struct ckpt_call *call)
{
	call->rip++;
}

static void other_rsp(struct ckpt_call *call)
{
	call->rsp++;
}

static void other_arg(struct ckpt_call *call)
{
	call->args[5]++;
}

static void other_length(struct ckpt_call *call)
{
	call->length_ns++;
}

static void other_switches(struct ckpt_call *call)
{
	call->switches++;
}

static void other_time(struct ckpt_call *call)
{
	call->first_ns = call->last_ns = (150 + 300) * MS;
}

static void a_call_is_the_same_only_if_it_can_be(void **state)
{
	static void (*const others[])(struct ckpt_call * call) = {
		other_pid, other_tid, other_start,  other_number,   other_rip,
		other_rsp, other_arg, other_length, other_switches, other_time,
	};
	struct ckpt_calls *calls = calloc(1, sizeof(*calls));
	struct ckpt_call call = known_call();

	capture_calls_put(calls, &call);
	call = known_call_again();
	capture_calls_recall(calls, &call);
	assert_int_equal(call.first_ns, 100 * MS);

	for (size_t i = 0; i < N(others); i++) {
		uint64_t first;

		call = known_call_again();
		others[i](&call);
		first = call.first_ns;
		capture_calls_recall(calls, &call);
		assert_int_equal(call.first_ns, first);
	}
	free(calls);
}

static void the_time_a_call_was_held_does_not_make_it_another(void **state)
{
	struct ckpt_calls *calls = calloc(1, sizeof(*calls));
	struct ckpt_call call = known_call();

	capture_calls_put(calls, &call);
	capture_calls_resumed(calls, call.pid, call.tid, call.last_ns, 2000 * MS);
	call = known_call_again();
	call.first_ns = call.last_ns = 2050 * MS;
	capture_calls_recall(calls, &call);
	assert_int_equal(call.first_ns, 100 * MS);
	free(calls);
}

static void a_reader_tells_of_its_own_process_alone(void **state)
{
	struct ckpt_calls *calls = calloc(1, sizeof(*calls));
	struct ckpt_call call = known_call();

	capture_calls_merge(calls, call.pid + 1, &call, 1, 1000 * MS);
	call = known_call_again();
	capture_calls_recall(calls, &call);
	assert_int_equal(call.first_ns, 200 * MS);

	call = known_call();
	capture_calls_merge(calls, call.pid, &call, 1, 1000 * MS);
	call = known_call_again();
	capture_calls_recall(calls, &call);
	assert_int_equal(call.first_ns, 100 * MS);
	free(calls);
}

static void what_a_reader_cannot_know_is_not_taken(void **state)
{
	struct ckpt_calls *calls = calloc(1, sizeof(*calls)), *none = calloc(1, sizeof(*none));
	struct ckpt_call bad[3] = { known_call(), known_call(), known_call() };

	bad[0].tid = -1;
	bad[1].first_ns = bad[1].last_ns + 1;
	bad[2].last_ns = 1001 * MS; /* to come */
	capture_calls_merge(calls, 10, bad, N(bad), 1000 * MS);
	assert_memory_equal(calls, none, sizeof(*none));
	free(calls);
	free(none);
}

static void more_calls_than_there_is_room_for_are_forgotten(void **state)
{
	struct ckpt_calls *calls = calloc(1, sizeof(*calls));
	struct ckpt_call call = known_call();

	for (int i = 0; i < 10 * CKPT_CALLS_MAX; i++) {
		call.tid = i + 1;
		call.last_ns++;
		capture_calls_put(calls, &call);
	}
	call.first_ns = call.last_ns;
	capture_calls_recall(calls, &call);
	assert_int_equal(call.first_ns, 100 * MS);
	call.tid = 1;
	capture_calls_recall(calls, &call);
	free(calls);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_is_interrupted_by_a_debugger_and_not_by_us),
		cmocka_unit_test(the_image_has_the_registers_as_the_stop_showed_them),
		cmocka_unit_test(a_call_goes_on_when_we_are_killed_while_we_hold_it),
		cmocka_unit_test(a_signal_that_is_handled_brings_its_eintr),
		cmocka_unit_test(a_signal_that_is_ignored_brings_none),
		cmocka_unit_test(a_signal_to_the_process_interrupts_the_thread_that_takes_it_alone),
		cmocka_unit_test(
		    an_alarm_without_sa_restart_ends_a_wait_at_any_moment_of_a_capture),
		cmocka_unit_test(an_alarm_that_rings_while_all_is_held_ends_the_wait),
		cmocka_unit_test(the_eintr_of_a_stopped_process_is_its_due),
		cmocka_unit_test(a_call_started_again_returns_what_it_waited_for),
		cmocka_unit_test(a_wait_of_300_ms_ends_in_time_under_a_capture_every_50_ms),
		cmocka_unit_test(without_a_memory_it_is_the_first_capture_each_time),
		cmocka_unit_test(calls_that_end_by_themselves_are_not_taken_for_one),
		cmocka_unit_test(no_call_but_those_of_the_table_is_ever_repeated),
		cmocka_unit_test(only_eintr_is_replaced),
		cmocka_unit_test(only_a_syscall_instruction_of_64_bit_code_counts),
		cmocka_unit_test(a_length_that_cannot_be_told_leaves_the_call_alone),
		cmocka_unit_test(each_call_ends_as_its_timeout_would),
		cmocka_unit_test(a_negative_timeout_is_none),
		cmocka_unit_test(a_call_is_the_same_only_if_it_can_be),
		cmocka_unit_test(the_time_a_call_was_held_does_not_make_it_another),
		cmocka_unit_test(a_reader_tells_of_its_own_process_alone),
		cmocka_unit_test(what_a_reader_cannot_know_is_not_taken),
		cmocka_unit_test(more_calls_than_there_is_room_for_are_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
