/* SPDX-License-Identifier: Apache-2.0 */

/* Threads, their registers and signals, and those that get in the way of a capture. */

#include "helpers/mkproc.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define KNOWN_R12 UINT64_C(0x5a17c0de12345678)
#define KNOWN_XMM7 "the sixteen of 7"

/* Given to a new thread, which reports its tid and what it is in, then never looks back. */
struct start {
	struct mkproc *proc;
	unsigned number;
	_Atomic pid_t tid;
};

static pid_t thread_id(void)
{
	return (pid_t)syscall(SYS_gettid);
}

static int thread_start(struct start *start, void *(*run)(void *))
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t set;
	int r;

	/* The signal that make_signals() leaves pending for the process finds no taker. */
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setsigmask_np(&attr, &set);
	r = pthread_create(&thread, &attr, run, start);
	pthread_attr_destroy(&attr);
	if (r)
		return -r;

	while (!atomic_load(&start->tid))
		sched_yield();

	return 0;
}

static void gate_join(struct mkproc_gate *gate, struct start *start)
{
	uint64_t seen = gate->round;

	gate->n_threads++;
	atomic_store(&start->tid, thread_id());

	for (;;) {
		pthread_cond_wait(&gate->opened, &gate->lock);
		if (gate->round == seen)
			continue;
		seen = gate->round;
		gate->n_answers++;
		pthread_cond_signal(&gate->answered);
	}
}

/* Every thread behind the gate is woken and must answer; how many did. */
unsigned mkproc_gate_ask(struct mkproc_gate *gate)
{
	unsigned n;

	pthread_mutex_lock(&gate->lock);
	gate->round++;
	gate->n_answers = 0;
	pthread_cond_broadcast(&gate->opened);
	while (gate->n_answers < gate->n_threads)
		pthread_cond_wait(&gate->answered, &gate->lock);
	n = gate->n_answers;
	pthread_mutex_unlock(&gate->lock);

	return n;
}

static void *run_waiter(void *userdata)
{
	struct start *start = userdata;
	char name[16];

	snprintf(name, sizeof(name), "waiter-%u", start->number);
	prctl(PR_SET_NAME, name);

	pthread_mutex_lock(&start->proc->gate.lock);
	gate_join(&start->proc->gate, start);
	return NULL;
}

static void *run_counter(void *userdata)
{
	struct start *start = userdata;
	volatile uint64_t count = 0;
	char name[16];

	snprintf(name, sizeof(name), "counter-%u", start->number);
	prctl(PR_SET_NAME, name);
	atomic_store(&start->tid, thread_id());

	for (;;)
		count = count + 1;
	return NULL;
}

/* One in ten counts without end, the others wait in a futex. */
static int make_threads(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	unsigned n = argument ? atoi(argument) : 10;

	for (unsigned i = 1; i <= n; i++) {
		struct start *start = calloc(1, sizeof(*start));
		bool counts = i % 10 == 0;
		struct json_object *row;
		int r;

		if (!start)
			return -ENOMEM;
		*start = (struct start){ .proc = proc, .number = i };

		r = thread_start(start, counts ? run_counter : run_waiter);
		if (r < 0)
			return r;

		row = mkproc_row(facts, "threads");
		mkproc_int(row, "tid", start->tid);
		if (!counts)
			mkproc_string(row, "syscall", "futex");
	}

	return 0;
}

static void *run_spin(void *userdata)
{
	static const char xmm7[] = KNOWN_XMM7;
	struct start *start = userdata;
	pid_t tid = thread_id();

	/* The tid is shown by the asm itself: then the registers are as announced. */
	asm volatile("movdqu %[xmm7], %%xmm7\n\t"
		     "movabs %[r12], %%r12\n\t"
		     "movl %[tid], %[ready]\n"
		     "1:\n\t"
		     "pause\n\t"
		     "jmp 1b"
		     : [ready] "=m"(start->tid)
		     : [xmm7] "m"(xmm7), [r12] "i"(KNOWN_R12), [tid] "r"(tid)
		     : "r12", "xmm7", "memory");
	__builtin_unreachable();
}

static int make_spin(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	struct start *start = calloc(1, sizeof(*start));
	struct json_object *row;
	char r12[32];
	int r;

	if (!start)
		return -ENOMEM;

	r = thread_start(start, run_spin);
	if (r < 0)
		return r;

	snprintf(r12, sizeof(r12), "%016" PRIx64, KNOWN_R12);
	row = mkproc_row(facts, "threads");
	mkproc_int(row, "tid", start->tid);
	mkproc_string(row, "r12", r12);
	mkproc_string(row, "xmm7", KNOWN_XMM7);
	return 0;
}

static uint64_t bit(int signal)
{
	return UINT64_C(1) << (signal - 1);
}

/* SIGUSR1 waits for the main thread alone, SIGUSR2 for the process. */
static int make_signals(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	struct json_object *row;
	char hex[32];
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGRTMIN + 3);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	if (syscall(SYS_tgkill, getpid(), thread_id(), SIGUSR1) < 0 || kill(getpid(), SIGUSR2) < 0)
		return -errno;

	row = mkproc_row(facts, "threads");
	mkproc_int(row, "tid", thread_id());
	snprintf(hex, sizeof(hex), "%016" PRIx64, bit(SIGUSR1) | bit(SIGUSR2) | bit(SIGRTMIN + 3));
	mkproc_string(row, "sigmask", hex);
	snprintf(hex, sizeof(hex), "%016" PRIx64, bit(SIGUSR1));
	mkproc_string(row, "pending_thread", hex);
	snprintf(hex, sizeof(hex), "%016" PRIx64, bit(SIGUSR2));
	mkproc_string(row, "pending_process", hex);
	return 0;
}

struct vfork_start {
	struct start start;
	int pipe[2];
	_Atomic pid_t child;
};

/*
 * The child shares this memory and leaves the thread in its system call until it exits, so it
 * does system calls alone. Its copy of the pipe's writing end must go, or it would never see
 * the end of file when the process dies.
 */
static void *run_vfork(void *userdata)
{
	struct vfork_start *v = userdata;
	char byte;
	pid_t pid;

	prctl(PR_SET_NAME, "vfork-parent");
	v->start.tid = thread_id();

	pid = vfork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(v->pipe[1]);
		v->child = (pid_t)syscall(SYS_getpid);
		(void)!read(v->pipe[0], &byte, 1);
		_exit(0);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
	for (;;)
		pause();
	return NULL;
}

static int make_vfork(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	struct vfork_start *v = calloc(1, sizeof(*v));
	struct json_object *row;
	int r;

	if (!v)
		return -ENOMEM;
	if (pipe(v->pipe) < 0)
		return -errno;

	r = thread_start(&v->start, run_vfork);
	if (r < 0)
		return r;
	while (!atomic_load(&v->child))
		sched_yield();

	proc->release_fd = v->pipe[1];
	row = mkproc_row(facts, "threads");
	mkproc_int(row, "tid", v->start.tid);
	mkproc_int(facts, "child", v->child);
	return 0;
}

static void trace_parent(int ready)
{
	pid_t parent = getppid();
	char answer = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (ptrace(PTRACE_SEIZE, parent, NULL, NULL) < 0)
		answer = (char)errno;
	(void)!write(ready, &answer, 1);
	for (;;)
		pause();
}

static int make_traced(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	int fds[2];
	char answer;
	pid_t pid;

	if (pipe(fds) < 0)
		return -errno;

	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		trace_parent(fds[1]);

	close(fds[1]);
	if (read(fds[0], &answer, 1) != 1)
		return -EIO;
	close(fds[0]);

	mkproc_int(facts, "tracer", pid);
	return -(int)answer;
}

static int make_leaderless(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	proc->leaderless = true;
	return 0;
}

const struct mkproc_factory mkproc_threads[] = {
	{ "threads", "=N threads, most wait in a futex, one in ten counts", make_threads },
	{ "spin", "a thread that spins with known r12 and xmm7", make_spin },
	{ "signals", "signals blocked and pending", make_signals },
	{ "vfork", "a thread held by its vfork child until \"release\"", make_vfork },
	{ "traced", "a child of its own traces the process", make_traced },
	{ "leaderless", "the main thread exits, the process goes on", make_leaderless },
	{},
};
