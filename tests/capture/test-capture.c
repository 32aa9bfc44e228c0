/* SPDX-License-Identifier: Apache-2.0 */

/* A process is stopped as a whole, told of truly, and goes on as if nothing had been. */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
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

#include "capture/reaper.h"
#include "capture/target.h"
#include "capture/threads.h"
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
	assert_true(child_await_state(child.pid, "S"));
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

/* Nothing of the process runs while its memory is read: no thread was overlooked. */
static int look_for_running(void *userdata)
{
	const struct child *child = userdata;
	struct dirent *entry;
	char path[32];
	int r = 0;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", child->pid);
	dir = opendir(path);
	if (!dir)
		return -errno;
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.' && child_state(atoi(entry->d_name)) != 't')
			r = -EILSEQ;
	(void)closedir(dir);
	return r;
}

static void threads_that_come_and_go_are_stopped_too(void **state)
{
	struct child child = child_start(child_breed);

	for (unsigned i = 0; i < 30; i++) {
		struct memory_sink *sink = memory_sink_new(true);
		struct capture_params params = child_params(&child, &sink);
		struct capture_result result;
		uint64_t count;
		int r;

		await_count(&child, child.facts[1]);
		sink->on_pages = look_for_running;
		sink->userdata = &child;
		r = capture_process(&params, &result);
		if (r < 0)
			print_message("%s\n", result.said);
		assert_int_equal(r, 0);
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
	assert_non_null(
	    strstr(memory_sink_procfile(sink, "status")->data, "State:\tT (stopped)\n"));
	assert_non_null(strstr(memory_sink_procfile(sink, "stat")->data, ") T "));
	child_continue(&child);
	assert_true(child_await_state(child.pid, "S"));
	memory_sink_free(sink);
	child_end(&child);
}

static void child_blocked_signal(struct child *child)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGRTMIN);
	child_need(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	child_need(syscall(SYS_tgkill, getpid(), getpid(), SIGRTMIN) == 0);
	child_wait(child);
}

static void a_pending_signal_and_the_mask_are_told_of(void **state)
{
	struct child child = child_start(child_blocked_signal);
	uint64_t bit = UINT64_C(1) << (SIGRTMIN - 1);
	struct capture_result result;
	struct memory_sink *sink = capture(&child, &result);

	assert_int_equal(sink->threads.items[0].pending, bit);
	assert_int_equal(sink->threads.items[0].sigmask, bit);
	memory_sink_free(sink);
	child_end(&child);
}

/* The value is where to count: a signal that lost its siginfo has none, and crashes. */
static void count_signal(int number, siginfo_t *info, void *context)
{
	volatile uint64_t *count = info->si_value.sival_ptr;

	(void)number;
	(void)context;
	++*count;
}

static void child_count_signals(struct child *child)
{
	struct sigaction action = { .sa_sigaction = count_signal, .sa_flags = SA_SIGINFO };

	child_need(sigaction(SIGRTMIN, &action, NULL) == 0);
	child_say_ready(child);
	for (;;)
		child->facts[0]++;
}

#define N_SIGNALS 500

static pid_t send_signals(const struct child *child)
{
	union sigval value = { .sival_ptr = (void *)&child->facts[1] };
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid > 0)
		return pid;

	for (unsigned i = 0; i < N_SIGNALS; i++) {
		while (sigqueue(child->pid, SIGRTMIN, value) < 0)
			child_need(errno == EAGAIN);
		/* One at a time, so that many captures meet one that is being delivered. */
		while (child->facts[1] <= i && child_state(child->pid))
			(void)sched_yield();
	}
	_exit(0);
}

static void no_signal_is_lost_or_doubled(void **state)
{
	struct child child = child_start(child_count_signals);
	pid_t sender = send_signals(&child);
	struct capture_result result;
	siginfo_t info = {};

	while (waitid(P_PID, (id_t)sender, &info, WEXITED | WNOHANG) == 0 && !info.si_pid)
		memory_sink_free(capture(&child, &result));
	memory_sink_free(capture(&child, &result));
	assert_int_equal(info.si_status, 0);
	assert_int_equal(child.facts[1], N_SIGNALS);
	child_end(&child);
}

/* For a child's own child: it is not the one to say that all is ready. */
static void idle_silently(void)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
}

static void child_traced(struct child *child)
{
	pid_t pid = fork();

	child_need(pid >= 0);
	if (pid == 0)
		idle_silently();
	child_need(ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_EXITKILL) == 0);
	child->facts[0] = (uint64_t)pid;
	child_wait(child);
}

static int try_capture(pid_t pid, struct capture_result *ret)
{
	struct child child = { .pid = pid };
	struct memory_sink *sink = memory_sink_new(true);
	struct capture_params params = child_params(&child, &sink);
	int r = capture_process(&params, ret);

	memory_sink_free(sink);
	if (r < 0)
		assert_true(ret->said[0] != '\0');
	return r;
}

static void a_traced_process_is_busy(void **state)
{
	struct child child = child_start(child_traced);
	struct capture_result result;
	char tracer[32];

	assert_int_equal(try_capture((pid_t)child.facts[0], &result), -EBUSY);
	(void)snprintf(tracer, sizeof(tracer), "process %d", child.pid);
	assert_non_null(strstr(result.said, tracer));
	child_end(&child);
}

static void a_threads_number_is_refused_with_its_process(void **state)
{
	struct child child = child_start(child_spin);
	struct capture_result result;
	char process[32];

	await_count(&child, 0);
	assert_int_equal(try_capture((pid_t)child.facts[0], &result), -EINVAL);
	(void)snprintf(process, sizeof(process), "process %d", child.pid);
	assert_non_null(strstr(result.said, process));
	child_end(&child);
}

static void we_ourselves_are_a_deadlock(void **state)
{
	struct capture_result result;

	assert_int_equal(try_capture(getpid(), &result), -EDEADLK);
}

static void a_kernel_thread_is_not_permitted(void **state)
{
	struct capture_result result;
	char link[16];

	/* In a container 2 may be anybody. */
	if (readlink("/proc/2/exe", link, sizeof(link)) >= 0 || access("/proc/2", F_OK) < 0)
		skip();
	assert_int_equal(try_capture(2, &result), -EPERM);
	assert_non_null(strstr(result.said, "kernel thread"));
}

static void a_zombie_and_nobody_are_no_process(void **state)
{
	struct child child = child_start(child_idle);
	struct capture_result result;

	assert_int_equal(kill(child.pid, SIGKILL), 0);
	assert_true(child_await_state(child.pid, "Z"));
	assert_int_equal(try_capture(child.pid, &result), -ESRCH);
	assert_int_equal(waitpid(child.pid, NULL, 0), child.pid);
	assert_int_equal(try_capture(child.pid, &result), -ESRCH);
	child_end(&child);
}

static void a_reused_pid_is_no_process(void **state)
{
	struct child child = child_start(child_idle), other = child_start(child_idle);
	struct memory_sink *sink = memory_sink_new(true);
	struct capture_params params = child_params(&child, &sink);
	struct capture_result result;

	/* The pidfd of one that is gone with the number of one that is there. */
	params.pidfd = pidfd_open(other.pid, 0);
	assert_true(params.pidfd >= 0);
	child_end(&other);
	assert_int_equal(capture_process(&params, &result), -ESRCH);
	(void)close(params.pidfd);
	memory_sink_free(sink);
	child_end(&child);
}

static void live_mode_is_refused(void **state)
{
	struct child child = child_start(child_idle);
	struct memory_sink *sink = memory_sink_new(true);
	struct capture_params params = child_params(&child, &sink);
	struct capture_result result;

	params.mode = CKPT_MODE_LIVE;
	assert_int_equal(capture_process(&params, &result), -EINVAL);
	assert_true(result.said[0] != '\0');
	memory_sink_free(sink);
	child_end(&child);
}

static int kill_it(void *userdata)
{
	const struct child *child = userdata;

	return kill(child->pid, SIGKILL) < 0 ? -errno : 0;
}

static void an_exit_in_the_middle_is_no_process(void **state)
{
	struct child child = child_start(child_many);
	struct memory_sink *sink = memory_sink_new(true);
	struct capture_params params = child_params(&child, &sink);
	struct capture_result result;
	int status;

	sink->on_pages = kill_it;
	sink->userdata = &child;
	assert_int_equal(capture_process(&params, &result), -ESRCH);
	assert_true(result.said[0] != '\0');
	assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	memory_sink_free(sink);
	child_end(&child);
}

static void *go_on_alone(void *arg)
{
	struct child *child = arg;

	child->facts[0] = (uint64_t)syscall(SYS_gettid);
	/* Its leader is a zombie when there is nobody left to run the rest of it. */
	while (child_state(getpid()) != 'Z')
		;
	child_wait(child);
}

static void child_without_leader(struct child *child)
{
	static struct child copy; /* outlives this stack */
	pthread_t thread;

	copy = *child;
	child_need(pthread_create(&thread, NULL, go_on_alone, &copy) == 0);
	pthread_exit(NULL);
}

static void without_its_leader_the_lowest_thread_shows_the_process(void **state)
{
	struct child child = child_start(child_without_leader);
	struct capture_result result;
	struct memory_sink *sink = capture(&child, &result);

	assert_int_equal(sink->threads.n, 1);
	assert_int_equal(sink->threads.items[0].tid, child.facts[0]);
	assert_true(sink->regions.n > 5);
	assert_true(sink->fds.n > 0);
	assert_int_equal(json_object_get_int(json_object_object_get(sink->info, "pid")), child.pid);
	memory_sink_free(sink);
	child_end(&child);
}

/* In vfork() until @go is closed: the kernel lets it stop only then. */
static void child_in_vfork(struct child *child)
{
	char byte;

	if (vfork() == 0) {
		(void)write(child->ready, "r", 1);
		(void)read(child->wait, &byte, 1);
		_exit(0);
	}
	child->facts[0] = 1;
	for (;;)
		(void)pause();
}

static void what_does_not_stop_is_let_go(void **state)
{
	struct child child = child_start(child_in_vfork);
	struct timespec start, now;
	struct capture_result result;
	int status, go = child.go;
	pid_t pid;

	/* A process of its own: its exit is what detaches. */
	assert_true(child_await_state(child.pid, "D"));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct memory_sink *sink = memory_sink_new(true);
		struct capture_params params = child_params(&child, &sink);

		(void)close(go);
		params.deadline_ms = 100;
		_exit(-capture_process(&params, &result));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), ETIMEDOUT);

	assert_int_equal(child.facts[0], 0);
	(void)close(go);
	(void)clock_gettime(CLOCK_MONOTONIC, &start);
	do
		(void)clock_gettime(CLOCK_MONOTONIC, &now);
	while (!child.facts[0] && now.tv_sec - start.tv_sec < 10);
	assert_int_equal(child.facts[0], 1);
	assert_true(child_await_state(child.pid, "S"));
	child.go = -1;
	child_end(&child);
}

#define RESPAWN "respawn"

static void *spawn_again(void *arg)
{
	char *const argv[] = { (char *)"/proc/self/exe", (char *)RESPAWN, NULL };

	/* Of this thread alone, so it has to be asked for each time. */
	(void)arg;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)execv(argv[0], argv);
	_exit(1);
}

/* One program after the other, each started by a thread that is not the leader. */
static int respawn(void)
{
	pthread_t thread;

	for (unsigned i = 0; i < 3; i++)
		child_need(pthread_create(&thread, NULL, die, &(uint64_t){ 0 }) == 0);
	child_need(pthread_create(&thread, NULL, spawn_again, NULL) == 0);
	for (;;)
		(void)pause();
	return 0;
}

static void child_respawn(struct child *child)
{
	child_say_ready(child);
	(void)spawn_again(NULL);
}

static void an_exec_in_the_middle_is_seen(void **state)
{
	struct child child = child_start(child_respawn);
	siginfo_t event = {};

	for (unsigned i = 0; i < 20; i++) {
		struct capture_result result;
		struct memory_sink *sink = capture(&child, &result);

		assert_true(sink->threads.n >= 1);
		assert_true(sink->regions.n >= 1);
		memory_sink_free(sink);
	}
	/* Not by its state: during such an exec the leader is a zombie for a moment. */
	assert_int_equal(waitid(P_PID, (id_t)child.pid, &event, WEXITED | WNOHANG | WNOWAIT), 0);
	assert_int_equal(event.si_pid, 0);
	child_end(&child);
}

static void the_facts_are_those_of_proc(void **state)
{
	struct child child = child_start(child_many);
	struct json_object *info, *meta, *value;
	struct capture_result result;
	struct memory_sink *sink;
	char exe[256] = "";
	static const char *const keys[] = { "cwd",  "exe",	    "ppid",	  "comm",
					    "uids", "capabilities", "seccomp",	  "namespaces",
					    "root", "rlimits",	    "personality" };
	static const char *const files[] = { "cmdline",	     "comm", "environ",	  "auxv",
					     "status",	     "stat", "statm",	  "limits",
					     "cgroup",	     "maps", "mountinfo", "vdso",
					     "oom_score_adj" };

	assert_true(child_await_state(child.pid, "S"));
	sink = capture(&child, &result);
	info = sink->info;
	meta = sink->meta;
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		assert_true(json_object_object_get_ex(info, keys[i], &value));
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		assert_non_null(memory_sink_procfile(sink, files[i]));
	assert_true(readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0);
	assert_string_equal(json_object_get_string(json_object_object_get(info, "exe")), exe);
	assert_int_equal(json_object_get_int(json_object_object_get(info, "ppid")), getpid());
	assert_string_equal(json_object_get_string(json_object_object_get(meta, "mode")), "stop");
	assert_non_null(json_object_get_string(json_object_object_get(meta, "mode_reason")));
	assert_int_equal(json_object_get_int64(json_object_object_get(meta, "pause_us")),
			 result.pause_us);
	assert_non_null(strstr(memory_sink_procfile(sink, "status")->data, "TracerPid:\t0\n"));
	assert_non_null(
	    strstr(memory_sink_procfile(sink, "status")->data, "State:\tS (sleeping)\n"));
	assert_memory_equal(memory_sink_procfile(sink, "vdso")->data, "\177ELF", 4);
	/* Of a process of 64 MiB and more smaps is left out, which is told of. */
	assert_int_equal(!memory_sink_procfile(sink, "smaps"), sink->omitted.n);
	memory_sink_free(sink);
	child_end(&child);
}

/* Asked for deaths alone, waitid() takes a tracee's stop too, and nobody would let it go. */
static void the_reaper_leaves_a_stop_alone(void **state)
{
	struct child child = child_start(child_spin);
	struct capture_target target;
	struct capture_threads threads;
	struct capture_reaper reaper;
	siginfo_t event;

	await_count(&child, 0);
	assert_int_equal(capture_target_open(child.pid, -1, &target, NULL), 0);
	assert_int_equal(capture_threads_init(&threads, &target), 0);
	threads.items = calloc(1, sizeof(*threads.items));
	threads.items[0] =
	    (struct capture_thread){ .tid = (pid_t)child.facts[0], .hold = CAPTURE_SEIZED };
	threads.n = threads.size = 1;
	assert_int_equal(ptrace(PTRACE_SEIZE, threads.items[0].tid, NULL, NULL), 0);
	assert_int_equal(ptrace(PTRACE_INTERRUPT, threads.items[0].tid, NULL, NULL), 0);
	assert_true(child_await_state(threads.items[0].tid, "t"));

	assert_int_equal(capture_reaper_start(&reaper, &threads), 0);
	assert_int_equal(poll(NULL, 0, 1000), -1); /* until its first signal */
	capture_reaper_stop(&reaper);
	assert_int_equal(capture_reaper_poll(&target, threads.items[0].tid, &event), 1);
	assert_int_equal(event.si_code, CLD_TRAPPED);

	threads.items[0].hold = CAPTURE_STOPPED;
	capture_threads_done(&threads);
	capture_target_done(&target);
	await_count(&child, child.facts[1]);
	child_end(&child);
}

static void the_signal_mask_of_the_caller_is_put_back(void **state)
{
	struct child child = child_start(child_idle);
	struct sigaction before, after;
	struct capture_result result;
	sigset_t mask_before, mask_after;

	(void)sigprocmask(SIG_SETMASK, NULL, &mask_before);
	(void)sigaction(SIGCHLD, NULL, &before);
	memory_sink_free(capture(&child, &result));
	(void)sigprocmask(SIG_SETMASK, NULL, &mask_after);
	(void)sigaction(SIGCHLD, NULL, &after);
	for (int i = 1; i <= SIGRTMAX; i++)
		assert_int_equal(sigismember(&mask_before, i), sigismember(&mask_after, i));
	assert_ptr_equal(before.sa_handler, after.sa_handler);
	child_end(&child);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_spinning_threads_registers_are_there),
		cmocka_unit_test(all_of_50_threads_are_there),
		cmocka_unit_test(threads_that_come_and_go_are_stopped_too),
		cmocka_unit_test(a_stopped_process_stays_stopped),
		cmocka_unit_test(a_pending_signal_and_the_mask_are_told_of),
		cmocka_unit_test(no_signal_is_lost_or_doubled),
		cmocka_unit_test(a_traced_process_is_busy),
		cmocka_unit_test(a_threads_number_is_refused_with_its_process),
		cmocka_unit_test(we_ourselves_are_a_deadlock),
		cmocka_unit_test(a_kernel_thread_is_not_permitted),
		cmocka_unit_test(a_zombie_and_nobody_are_no_process),
		cmocka_unit_test(a_reused_pid_is_no_process),
		cmocka_unit_test(live_mode_is_refused),
		cmocka_unit_test(an_exit_in_the_middle_is_no_process),
		cmocka_unit_test(without_its_leader_the_lowest_thread_shows_the_process),
		cmocka_unit_test(what_does_not_stop_is_let_go),
		cmocka_unit_test(an_exec_in_the_middle_is_seen),
		cmocka_unit_test(the_facts_are_those_of_proc),
		cmocka_unit_test(the_reaper_leaves_a_stop_alone),
		cmocka_unit_test(the_signal_mask_of_the_caller_is_put_back),
	};

	if (argc > 1 && strcmp(argv[1], RESPAWN) == 0)
		return respawn();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
