/* SPDX-License-Identifier: Apache-2.0 */

/* A process is stopped as a whole, told of truly, and goes on as if nothing had been. */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/capture/child.h"

#define N_THREADS 50
#define R12 UINT64_C(0x1234567890abcdef)
#define XMM7_LOW UINT64_C(0x1122334455667788)
#define XMM7_HIGH UINT64_C(0x99aabbccddeeff00)
#define XSTATE_XMM 160 /* of the legacy area, Intel SDM 13.4.1 */

static struct memory_sink *capture(struct child *child, struct capture_result *ret)
{
	struct memory_sink *sink;

	assert_int_equal(child_capture(child, &sink, ret), 0);
	assert_true(sink->ended);
	return sink;
}

/* Counts while its registers hold known values: facts[1] goes up. */
static void *spin(void *arg)
{
	struct child *child = arg;
	volatile uint64_t *count = &child->facts[1];
	uint64_t xmm7[2] = { XMM7_LOW, XMM7_HIGH };

	child->facts[0] = (uint64_t)syscall(SYS_gettid);
	__asm__ volatile("movdqu %1, %%xmm7\n\t"
			 "movq %2, %%r12\n"
			 "1:\tincq (%0)\n\t"
			 "jmp 1b"
			 :
			 : "r"(count), "m"(xmm7), "r"(R12)
			 : "r12", "xmm7", "memory");
	return NULL;
}

static void await_count(struct child *child, uint64_t above)
{
	struct timespec start, now;

	(void)clock_gettime(CLOCK_MONOTONIC, &start);
	do
		(void)clock_gettime(CLOCK_MONOTONIC, &now);
	while (child->facts[1] <= above && now.tv_sec - start.tv_sec < 10);
	assert_true(child->facts[1] > above);
}

static void child_spin(struct child *child)
{
	pthread_t thread;

	child_need(pthread_create(&thread, NULL, spin, child) == 0);
	child_wait(child);
}

static void a_spinning_threads_registers_are_there(void **state)
{
	struct child child = child_start(child_spin);
	const struct user_regs_struct *regs;
	const struct ckpt_thread *thread;
	struct capture_result result;
	struct memory_sink *sink;
	uint64_t xmm7[2], count;

	await_count(&child, 0);
	sink = capture(&child, &result);
	count = child.facts[1];
	thread = memory_sink_thread(sink, (int)child.facts[0]);
	assert_non_null(thread);
	assert_int_equal(sink->threads.items[0].tid, child.pid);
	assert_int_equal(thread->gpregs_len, sizeof(*regs));
	regs = thread->gpregs;
	assert_int_equal(regs->r12, R12);
	assert_true(thread->xstate_len >= 576);
	memcpy(xmm7, (char *)thread->xstate + XSTATE_XMM + 7 * 16, sizeof(xmm7));
	assert_int_equal(xmm7[0], XMM7_LOW);
	assert_int_equal(xmm7[1], XMM7_HIGH);
	assert_int_equal(thread->state, 'R');
	assert_null(thread->syscall);
	assert_string_equal(sink->threads.items[0].syscall, "read");
	await_count(&child, count);
	assert_true(result.pause_us > 0);
	memory_sink_free(sink);
	child_end(&child);
}

static void *block(void *arg)
{
	pthread_barrier_t *barrier = arg;

	(void)pthread_barrier_wait(barrier);
	for (;;)
		(void)pause();
	return NULL;
}

static void child_many(struct child *child)
{
	pthread_barrier_t barrier;
	pthread_t thread;

	child_need(pthread_barrier_init(&barrier, NULL, N_THREADS) == 0);
	for (unsigned i = 1; i < N_THREADS; i++)
		child_need(pthread_create(&thread, NULL, block, &barrier) == 0);
	(void)pthread_barrier_wait(&barrier);
	child_wait(child);
}

static void all_of_50_threads_are_there(void **state)
{
	struct child child = child_start(child_many);
	struct capture_result result;
	struct memory_sink *sink = capture(&child, &result);
	char path[64];

	assert_int_equal(sink->threads.n, N_THREADS);
	for (size_t i = 0; i < N_THREADS; i++) {
		const struct ckpt_thread *thread = &sink->threads.items[i];

		assert_non_null(thread->xstate);
		(void)snprintf(path, sizeof(path), "task/%d/status", thread->tid);
		assert_non_null(strstr(memory_sink_procfile(sink, path)->data, "TracerPid:\t0\n"));
	}
	memory_sink_free(sink);
	child_end(&child);
}

static void *die(void *arg)
{
	(void)__atomic_add_fetch((uint64_t *)arg, 1, __ATOMIC_RELAXED);
	return NULL;
}

static void *breed(void *arg)
{
	struct child *child = arg;

	for (;;) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, die, (void *)&child->facts[1]) == 0)
			(void)pthread_join(thread, NULL);
	}
	return NULL;
}

static void child_breed(struct child *child)
{
	pthread_t thread;

	for (unsigned i = 0; i < 4; i++)
		child_need(pthread_create(&thread, NULL, breed, child) == 0);
	child_wait(child);
}

static int look_for_running(void *userdata)
{
	char path[64];
	struct child *child = userdata;
	uint64_t before = child->facts[1];

	/* Nothing of the process runs while its memory is read. */
	for (unsigned i = 0; i < 50; i++)
		(void)sched_yield();
	(void)snprintf(path, sizeof(path), "/proc/%d", child->pid);
	return child->facts[1] == before && access(path, F_OK) == 0 ? 0 : -EILSEQ;
}

static void threads_that_come_and_go_are_stopped_too(void **state)
{
	struct child child = child_start(child_breed);

	for (unsigned i = 0; i < 30; i++) {
		struct memory_sink *sink = memory_sink_new(true);
		struct capture_params params = child_params(&child, &sink);
		struct capture_result result;
		uint64_t count;

		await_count(&child, child.facts[1]);
		sink->on_pages = look_for_running;
		sink->userdata = &child;
		assert_int_equal(capture_process(&params, &result), 0);
		assert_true(sink->threads.n >= 5);
		count = child.facts[1];
		await_count(&child, count);
		memory_sink_free(sink);
	}
	child_end(&child);
}

static void child_idle(struct child *child)
{
	child_wait(child);
}

static void a_stopped_process_stays_stopped(void **state)
{
	struct child child = child_start(child_many);
	struct capture_result result;
	struct memory_sink *sink;

	child_stop(&child);
	sink = capture(&child, &result);
	for (size_t i = 0; i < sink->threads.n; i++) {
		assert_int_equal(sink->threads.items[i].state, 'T');
		assert_true(child_await_state(sink->threads.items[i].tid, "T"));
	}
	assert_non_null(strstr(memory_sink_procfile(sink, "status")->data, "State:\tT (stopped)\n"));
	assert_non_null(strstr(memory_sink_procfile(sink, "stat")->data, ") T "));
	child_continue(&child);
	assert_true(child_await_state(child.pid, "S"));
	memory_sink_free(sink);
	child_end(&child);
}

/* facts[0] counts the signals, facts[1] sums their values. */
static void child_signals(struct child *child)
{
	sigset_t set;
	siginfo_t info;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGRTMIN);
	child_need(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	child_say_ready(child);
	(void)read(child->wait, &info, 1);
	for (;;) {
		if (sigwaitinfo(&set, &info) != SIGRTMIN)
			continue;
		child->facts[1] += (uint64_t)info.si_value.sival_int;
		child->facts[0]++;
	}
}

static void a_pending_signal_is_told_of_and_delivered_once(void **state)
{
	struct child child = child_start(child_signals);
	struct capture_result result;
	struct memory_sink *sink;

	assert_true(child_await_state(child.pid, "S"));
	assert_int_equal(syscall(SYS_tgkill, child.pid, child.pid, SIGRTMIN), 0);
	sink = capture(&child, &result);
	assert_int_equal(sink->threads.items[0].pending, UINT64_C(1) << (SIGRTMIN - 1));
	assert_int_equal(sink->threads.items[0].sigmask & (UINT64_C(1) << (SIGRTMIN - 1)),
			 UINT64_C(1) << (SIGRTMIN - 1));
	memory_sink_free(sink);
	child_end(&child);
}

static void on_signal(int number, siginfo_t *info, void *context)
{
	volatile uint64_t *facts = *(volatile uint64_t **)(uintptr_t)0;

	(void)number;
	(void)info;
	(void)context;
	(void)facts;
}

static void child_storm(struct child *child)
{
	sigset_t set;
	siginfo_t info;

	(void)on_signal;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGRTMIN);
	child_need(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	child_say_ready(child);
	for (;;) {
		if (sigwaitinfo(&set, &info) != SIGRTMIN)
			continue;
		child->facts[2] += (uint64_t)info.si_value.sival_int;
		child->facts[1]++;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_spinning_threads_registers_are_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
