/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/threads.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "capture/calls.h"
#include "capture/proc.h"
#include "capture/reaper.h"
#include "capture/restart.h"
#include "capture/said.h"
#include "capture/target.h"
#include "format/checkpoint.h"
#include "format/cleanup.h"

/*
 * The hard parts. A stop cannot be had by force: a vfork parent or a thread in D state reaches
 * it when the kernel lets it, so all are let go after STOP_TRY_NS and tried again. On a busy
 * machine a thread may need longer just to get a CPU: later tries give such ones more time, for
 * to let the others run would only make the wait longer. A thread that has not stopped cannot be
 * detached either: it is marked as leaving, and let go when it does. A thread may stop for a
 * signal instead of for us; that signal is handed back at the detach, and since ptrace keeps its
 * siginfo in the thread, nothing of it changes. A group-stop needs no care: a tracee that is
 * detached while its process is stopped goes on being stopped.
 */

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_SEC UINT64_C(1000000000)
#define STOP_TRY_NS (20 * NS_PER_MS)
#define BUSY_TRY_MAX_NS (320 * NS_PER_MS)
#define BUSY_LOOK_NS (5 * NS_PER_MS)
#define BACK_OFF_MIN_NS (5 * NS_PER_MS)
#define BACK_OFF_MAX_NS (200 * NS_PER_MS)
#define LOOK_AGAIN_NS (20 * NS_PER_MS)
#define SEIZE_TRIES 4
#define KILLED_WAIT_NS (200 * NS_PER_MS)
#define STAT_MAX (64U * 1024)
#define STAT_NUM_THREADS 20
#define STAT_STARTTIME 22

/* How long one try may take, CLOCK_MONOTONIC. */
struct stop_try {
	uint64_t until_ns;
	uint64_t busy_until_ns; /* while nothing but a CPU is waited for */
};

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/**
 * capture_threads_init() - make ready to stop a process's threads
 * @threads: for capture_threads_done(), which puts SIGCHLD's mask and disposition back
 * @target: not owned, to outlive @threads
 *
 * SIGCHLD is blocked from here on, so that a stop can be waited for; it must not be ignored, or
 * the kernel would not send it. One that comes for another child of the caller may be lost.
 *
 * Return: 0; as sigprocmask(2), sigaction(2).
 */
int capture_threads_init(struct capture_threads *threads, const struct capture_target *target)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t chld;

	*threads = (struct capture_threads){ .target = target };
	(void)sigemptyset(&chld);
	(void)sigaddset(&chld, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &chld, &threads->old_mask) < 0)
		return -errno;
	if (sigaction(SIGCHLD, &dfl, &threads->old_chld) < 0) {
		int r = -errno;

		(void)sigprocmask(SIG_SETMASK, &threads->old_mask, NULL);
		return r;
	}

	threads->ready = true;
	return 0;
}

/**
 * capture_threads_list() - the numbers of a process's threads, zombies too
 * @ret: the caller frees
 *
 * Return: 0; -ESRCH the process is gone; -E2BIG above CKPT_THREADS_MAX; as openat(2).
 */
int capture_threads_list(const struct capture_target *target, pid_t **ret, size_t *ret_n)
{
	cleanup_free pid_t *tids = NULL;
	cleanup_dir DIR *dir = NULL;
	size_t n = 0, size = 0;
	struct dirent *entry;
	int fd;

	fd = openat(target->proc_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	dir = fdopendir(fd);
	if (!dir) {
		(void)close_fd(fd);
		return -ENOMEM;
	}

	while ((entry = readdir(dir))) {
		long tid = strtol(entry->d_name, NULL, 10);

		if (tid <= 0 || tid > INT_MAX)
			continue;
		if (n >= CKPT_THREADS_MAX)
			return -E2BIG;
		if (n == size) {
			pid_t *bigger = reallocarray(tids, size ? size * 2 : 64, sizeof(*tids));

			if (!bigger)
				return -ENOMEM;
			tids = bigger;
			size = size ? size * 2 : 64;
		}
		tids[n++] = (pid_t)tid;
	}

	*ret = steal_pointer(tids);
	*ret_n = n;
	return n > 0 ? 0 : -ESRCH;
}

static int compare_tid(const void *a, const void *b)
{
	const struct capture_thread *x = a, *y = b;

	return (x->tid > y->tid) - (x->tid < y->tid);
}

static struct capture_thread *find(struct capture_threads *threads, size_t n_sorted, pid_t tid)
{
	struct capture_thread key = { .tid = tid };

	if (n_sorted == 0)
		return NULL;

	return bsearch(&key, threads->items, n_sorted, sizeof(key), compare_tid);
}

/* What the thread did just before we come: afterwards all that can be seen of it is our stop. */
static void read_before(const struct capture_target *target, struct capture_thread *thread)
{
	cleanup_free char *stat = NULL, *wchan = NULL;
	char path[48], *state;
	size_t len;

	(void)snprintf(path, sizeof(path), "task/%d/stat", thread->tid);
	if (capture_proc_read(target->proc_fd, path, STAT_MAX, &stat, &len) == 0) {
		state = capture_stat_state(stat);
		thread->state = state ? *state : 0;
		(void)capture_stat_u64(stat, STAT_STARTTIME, &thread->start_ticks);
	}

	(void)snprintf(path, sizeof(path), "task/%d/wchan", thread->tid);
	if (capture_proc_read(target->proc_fd, path, STAT_MAX, &wchan, &len) == 0)
		(void)snprintf(thread->wchan, sizeof(thread->wchan), "%s", wchan);
}

static int add(struct capture_threads *threads, pid_t tid)
{
	struct capture_thread *thread;

	if (threads->n >= CKPT_THREADS_MAX)
		return -E2BIG;
	if (threads->n == threads->size) {
		size_t size = threads->size ? threads->size * 2 : 64;

		thread = reallocarray(threads->items, size, sizeof(*thread));
		if (!thread)
			return -ENOMEM;
		threads->items = thread;
		threads->size = size;
	}

	thread = &threads->items[threads->n++];
	*thread = (struct capture_thread){ .tid = tid, .hold = CAPTURE_NEW, .seen = true };
	read_before(threads->target, thread);
	return 0;
}

/* Takes a listing into the table. Return: how many of them are new; -ESRCH; -E2BIG; -ENOMEM. */
static int find_new(struct capture_threads *threads)
{
	cleanup_free pid_t *tids = NULL;
	size_t n_sorted = threads->n, n;
	int r, n_new = 0;

	r = capture_threads_list(threads->target, &tids, &n);
	if (r < 0)
		return r;

	for (size_t i = 0; i < threads->n; i++)
		threads->items[i].seen = false;

	for (size_t i = 0; i < n; i++) {
		struct capture_thread *thread = find(threads, n_sorted, tids[i]);

		if (thread) {
			thread->seen = true;
			/* A zombie, or its number has come again: the seize will tell. */
			if (thread->hold == CAPTURE_DEAD)
				thread->hold = CAPTURE_NEW;
			continue;
		}
		r = add(threads, tids[i]);
		if (r < 0)
			return r;
		n_new++;
	}
	qsort(threads->items, threads->n, sizeof(*threads->items), compare_tid);

	return n_new;
}

/*
 * Who traces a thread. Return: 0, with 0 for nobody in @ret_tracer; -ESRCH it is dead.
 */
static int find_tracer(const struct capture_threads *threads, pid_t tid, pid_t *ret_tracer)
{
	cleanup_free char *status = NULL;
	const char *state;
	uint64_t tracer = 0;
	char path[48];
	size_t len;

	(void)snprintf(path, sizeof(path), "task/%d/status", tid);
	if (capture_proc_read(threads->target->proc_fd, path, STAT_MAX, &status, &len) < 0)
		return -ESRCH;
	if (capture_status_find(status, "State", &state, &len) && (*state == 'Z' || *state == 'X'))
		return -ESRCH;

	(void)capture_status_u64(status, "TracerPid", 10, &tracer);
	*ret_tracer = (pid_t)tracer;
	return 0;
}

/* Return: 1 it is ours now; 0 it is dead; -EBUSY, -EPERM … */
static int seize_tid(struct capture_threads *threads, pid_t tid, struct capture_said *said)
{
	pid_t tracer = 0;
	int r = -EPERM;

	for (unsigned i = 0; i < SEIZE_TRIES && r == -EPERM; i++) {
		/* Without the option an exec would show as a plain SIGTRAP, or not at all. */
		if (ptrace(PTRACE_SEIZE, tid, NULL, PTRACE_O_TRACEEXEC) == 0) {
			(void)ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
			return 1;
		}
		if (errno == ESRCH)
			return 0;
		if (errno != EPERM)
			return capture_say(said, -errno, "cannot trace process %d: %m",
					   threads->target->pid);
		/* A zombie a moment ago can be the leader that an exec has just replaced. */
		if (find_tracer(threads, tid, &tracer) < 0)
			return 0;
		if (tracer == getpid())
			return 1; /* as another thread: an exec has given it this number */
		r = tracer ? -EBUSY : -EPERM;
	}

	if (r == -EBUSY)
		return capture_say(said, r, "cannot capture %d: process %d traces it already",
				   threads->target->pid, tracer);
	return capture_say(said, r, "cannot trace process %d: %m", threads->target->pid);
}

static int seize(struct capture_threads *threads, struct capture_thread *thread,
		 struct capture_said *said)
{
	int r = seize_tid(threads, thread->tid, said);

	if (r >= 0)
		thread->hold = r > 0 ? CAPTURE_SEIZED : CAPTURE_DEAD;

	return r;
}

/* Return: how many are ours now that were not; a negative errno. */
static int seize_new(struct capture_threads *threads, struct capture_said *said)
{
	struct capture_reaper reaper;
	int r, n_seized = 0;

	r = capture_reaper_start(&reaper, threads);
	if (r < 0)
		return capture_say(said, r, "cannot set a timer: %m");

	for (size_t i = 0; i < threads->n && r >= 0; i++) {
		if (threads->items[i].hold != CAPTURE_NEW)
			continue;
		r = seize(threads, &threads->items[i], said);
		n_seized += r > 0;
	}

	capture_reaper_stop(&reaper);
	return r < 0 ? r : n_seized;
}

static void detach(struct capture_threads *threads, struct capture_thread *thread)
{
	uint64_t now, held;

	/* ESRCH: killed while it was held; the next wait reaps it. */
	if (ptrace(PTRACE_DETACH, thread->tid, NULL, (long)thread->signal) == 0) {
		now = now_ns();
		held = now - thread->since_ns;
		if (thread->restarted && threads->calls)
			capture_calls_resumed(threads->calls, threads->target->pid, thread->tid,
					      thread->since_ns, now);
		if (held > threads->longest_ns)
			threads->longest_ns = held;
		thread->hold = CAPTURE_DEAD; /* to us: looked for anew by the next try */
	} else {
		thread->hold = CAPTURE_SEIZED;
		thread->leaving = true;
	}
	thread->signal = 0;
	thread->restarted = false;
}

/* Its process is stopped: what that does to a system call is none of our doing. */
static bool is_group_stop(const siginfo_t *event)
{
	return event->si_status >> 8 == PTRACE_EVENT_STOP && (event->si_status & 0x7f) != SIGTRAP;
}

static void take_event(struct capture_threads *threads, struct capture_thread *thread,
		       const siginfo_t *event)
{
	int kind;

	if (event->si_code != CLD_TRAPPED && event->si_code != CLD_STOPPED) {
		thread->hold = CAPTURE_DEAD;
		return;
	}

	/* An exec's stop is as good as any: the image is the new program's, before its first step. */
	kind = event->si_status >> 8;
	thread->since_ns = now_ns();
	thread->signal = kind == 0 ? event->si_status & 0x7f : 0;
	thread->hold = CAPTURE_STOPPED;
	if (!is_group_stop(event))
		thread->restarted = capture_restart_thread(threads->target, thread, threads->calls);
	if (thread->leaving)
		detach(threads, thread);
}

/* Takes what the kernel has to tell of one thread, without waiting. */
static void poll_thread(struct capture_threads *threads, struct capture_thread *thread)
{
	siginfo_t event = {};
	int r;

	r = capture_reaper_poll(threads->target, thread->tid, &event);
	if (r < 0)
		thread->hold = CAPTURE_DEAD; /* no longer ours: an exec took its number away */
	else if (r > 0)
		take_event(threads, thread, &event);
}

/* Return: how many run still. */
static size_t poll_running(struct capture_threads *threads)
{
	size_t n_running = 0;

	for (size_t i = 0; i < threads->n; i++) {
		struct capture_thread *thread = &threads->items[i];

		if (thread->hold == CAPTURE_SEIZED)
			poll_thread(threads, thread);
		n_running += thread->hold == CAPTURE_SEIZED;
	}

	return n_running;
}

/* Sleeps until a child has something to tell, @until_ns at most. Return: whether there is time. */
static bool wait_event(uint64_t until_ns)
{
	uint64_t now = now_ns();
	struct timespec left;
	sigset_t chld;

	if (now >= until_ns)
		return false;

	left.tv_sec = (time_t)((until_ns - now) / NS_PER_SEC);
	left.tv_nsec = (long)((until_ns - now) % NS_PER_SEC);
	(void)sigemptyset(&chld);
	(void)sigaddset(&chld, SIGCHLD);
	(void)sigtimedwait(&chld, NULL, &left);
	return true;
}

/* A thread that we hold can be killed, and an exec waits until its death is taken note of. */
static void poll_held(struct capture_threads *threads)
{
	for (size_t i = 0; i < threads->n; i++)
		if (threads->items[i].hold == CAPTURE_STOPPED)
			poll_thread(threads, &threads->items[i]);
}

/* Whether all that have not stopped yet would, if only they got a CPU. */
static bool want_cpu_alone(const struct capture_threads *threads)
{
	for (size_t i = 0; i < threads->n; i++) {
		cleanup_free char *stat = NULL;
		char path[48], *state;
		size_t len;

		if (threads->items[i].hold != CAPTURE_SEIZED)
			continue;
		(void)snprintf(path, sizeof(path), "task/%d/stat", threads->items[i].tid);
		if (capture_proc_read(threads->target->proc_fd, path, STAT_MAX, &stat, &len) < 0)
			continue;
		state = capture_stat_state(stat);
		if (state && *state != 'R')
			return false;
	}

	return true;
}

/* Sleeps until something happens. Return: false when the time of the try is over. */
static bool wait_more(const struct capture_threads *threads, const struct stop_try *try)
{
	uint64_t now = now_ns();

	if (now < try->until_ns)
		return wait_event(try->until_ns);
	if (now >= try->busy_until_ns || !want_cpu_alone(threads))
		return false;

	return wait_event(earlier(now + BUSY_LOOK_NS, try->busy_until_ns));
}

/* Return: 0 all have stopped or died; -EAGAIN one has not in time. */
static int wait_stopped(struct capture_threads *threads, const struct stop_try *try)
{
	size_t n_running = poll_running(threads), before;

	while (n_running > 0) {
		if (!wait_more(threads, try))
			return -EAGAIN;
		before = n_running;
		n_running = poll_running(threads);
		if (n_running == before)
			poll_held(threads);
	}

	return 0;
}

/*
 * A number can have been given to another process between the listing and the seize: it is not
 * listed then, and gets let go. Return: how many threads are held.
 */
static size_t drop_foreign(struct capture_threads *threads)
{
	size_t n_held = 0;

	for (size_t i = 0; i < threads->n; i++) {
		struct capture_thread *thread = &threads->items[i];

		if (thread->hold == CAPTURE_STOPPED && !thread->seen)
			detach(threads, thread);
		n_held += thread->hold == CAPTURE_STOPPED;
	}

	return n_held;
}

/*
 * Two things that waitid() does not tell of: a leader that exits while others live, and, where
 * the process is a child of our own, an exec by a thread that we do not trace, which ends the
 * trace of the leader.
 */
static void drop_untraced(struct capture_threads *threads)
{
	for (size_t i = 0; i < threads->n; i++) {
		struct capture_thread *thread = &threads->items[i];
		pid_t tracer;
		int r;

		if (thread->hold != CAPTURE_SEIZED)
			continue;
		r = find_tracer(threads, thread->tid, &tracer);
		if (r < 0 ? thread->tid == threads->target->pid : tracer != getpid())
			thread->hold = CAPTURE_DEAD;
	}
}

/*
 * A thread that we hold can have been killed, or replaced by another that took its number in an
 * exec. Return: how many are no longer held.
 */
static size_t drop_lost(struct capture_threads *threads)
{
	unsigned long message;
	size_t n_lost = 0;

	for (size_t i = 0; i < threads->n; i++) {
		struct capture_thread *thread = &threads->items[i];

		if (thread->hold != CAPTURE_STOPPED ||
		    ptrace(PTRACE_GETEVENTMSG, thread->tid, NULL, &message) == 0)
			continue;
		thread->hold = CAPTURE_SEIZED;
		n_lost++;
	}

	if (n_lost > 0)
		drop_untraced(threads);
	return n_lost;
}

/* Forgets whom we do not hold: a number may come again, as another thread. */
static void forget_dead(struct capture_threads *threads)
{
	size_t n = 0;

	for (size_t i = 0; i < threads->n; i++)
		if (threads->items[i].hold >= CAPTURE_SEIZED &&
		    threads->items[i].hold != CAPTURE_DEAD)
			threads->items[n++] = threads->items[i];
	threads->n = n;
}

/*
 * Whether nobody was overlooked. A listing alone does not tell: readdir ends early when the thread
 * it stands at exits. The kernel's own count does, since whom we hold can neither exit nor make
 * others. It has those that are exiting, too, which are waited for, and a leader that is a zombie.
 * Return: 1; 0; -ESRCH …
 */
static int is_whole(const struct capture_threads *threads)
{
	cleanup_free char *stat = NULL;
	uint64_t count, n = 0;
	size_t len;
	int r;

	r = capture_proc_read(threads->target->proc_fd, "stat", STAT_MAX, &stat, &len);
	if (r == 0)
		r = capture_stat_u64(stat, STAT_NUM_THREADS, &count);
	if (r < 0)
		return r;

	for (size_t i = 0; i < threads->n; i++) {
		const struct capture_thread *thread = &threads->items[i];

		n += thread->seen &&
		     (thread->hold == CAPTURE_STOPPED ||
		      (thread->hold == CAPTURE_DEAD && thread->tid == threads->target->pid));
	}

	return n == count;
}

static void stay(struct capture_threads *threads)
{
	for (size_t i = 0; i < threads->n; i++)
		threads->items[i].leaving = false;
}

/* One try. Return: 0 all are held; -EAGAIN another try may do; -ESRCH, -EPERM, -EBUSY … */
static int freeze_once(struct capture_threads *threads, uint64_t busy_ns, struct capture_said *said)
{
	uint64_t now = now_ns();
	const struct stop_try try = { now + STOP_TRY_NS, now + busy_ns };
	int r, n_new, n_seized;

	stay(threads);
	for (;;) {
		n_new = find_new(threads);
		if (n_new < 0)
			return n_new;

		n_seized = seize_new(threads, said);
		if (n_seized < 0)
			return n_seized;
		r = wait_stopped(threads, &try);
		if (r < 0)
			return r;
		r = n_new == 0 && n_seized == 0 && drop_lost(threads) == 0 ? is_whole(threads) : 0;
		if (r < 0)
			return r;
		if (r > 0)
			return drop_foreign(threads) > 0 ? 0 : -ESRCH;
		if (now_ns() >= try.busy_until_ns)
			return -EAGAIN;
	}
}

/* Lets the others run on for a while, and those go that stop only now. */
static void back_off(struct capture_threads *threads, uint64_t pause_ns, uint64_t deadline_ns)
{
	uint64_t until = now_ns() + pause_ns;

	for (;;) {
		drop_untraced(threads);
		if (poll_running(threads) == 0 ||
		    !wait_event(earlier(now_ns() + LOOK_AGAIN_NS, deadline_ns)))
			break;
	}
	while (wait_event(earlier(until, deadline_ns)))
		;
	forget_dead(threads);
}

/**
 * capture_threads_freeze() - stop all threads of the process
 * @deadline_ms: how long to try; each try holds the threads for 20 ms, and longer only
 *	while all that is missing is a CPU for the others
 *
 * On success every live thread is in threads->items as CAPTURE_STOPPED, the others there are
 * dead. On failure all are let go. After -ETIMEDOUT a thread may be left that could not be
 * stopped and hence not be detached: the caller's process has to exit, which detaches it.
 *
 * Return: 0; -ETIMEDOUT; -ESRCH the process is gone; -EPERM, -EBUSY may not be traced; -E2BIG
 * too many threads; -ENOMEM.
 * Source: ptrace(2), "Attaching and detaching", "execve(2) under ptrace".
 */
int capture_threads_freeze(struct capture_threads *threads, uint64_t deadline_ms,
			   struct capture_said *said)
{
	uint64_t deadline = now_ns() + deadline_ms * NS_PER_MS;
	uint64_t pause = BACK_OFF_MIN_NS, busy = STOP_TRY_NS;
	pid_t pid = threads->target->pid;
	int r;

	for (;;) {
		r = freeze_once(threads, busy, said);
		if (r == 0)
			r = capture_target_check(threads->target);
		if (r == 0)
			return 0;
		if (r == -ESRCH && !capture_target_is_over(threads->target))
			r = -EAGAIN; /* in the middle of an exec */

		capture_threads_thaw(threads);
		if (r != -EAGAIN)
			return capture_say(said, r, "cannot stop process %d: %m", pid);
		if (now_ns() >= deadline)
			return capture_say(said, -ETIMEDOUT,
					   "process %d could not be stopped within %llu ms", pid,
					   (unsigned long long)deadline_ms);

		back_off(threads, pause, deadline);
		pause = earlier(pause * 2, BACK_OFF_MAX_NS);
		busy = earlier(busy * 2, BUSY_TRY_MAX_NS);
	}
}

/**
 * capture_threads_check() - whether all that were held are held still
 *
 * Nothing but SIGKILL takes a thread out of its stop. On its way out it writes to memory (its
 * robust futexes, its clear_child_tid): what was read meanwhile is of no one instant.
 *
 * Return: 0; -ESRCH one was killed.
 */
int capture_threads_check(struct capture_threads *threads)
{
	return drop_lost(threads) > 0 ? -ESRCH : 0;
}

/**
 * capture_threads_thaw() - let all threads go, with the signals they stopped for
 *
 * What has not stopped yet is let go as soon as it is seen to.
 */
void capture_threads_thaw(struct capture_threads *threads)
{
	for (size_t i = 0; i < threads->n; i++) {
		threads->items[i].leaving = true;
		if (threads->items[i].hold == CAPTURE_STOPPED)
			detach(threads, &threads->items[i]);
	}
	(void)poll_running(threads);
	forget_dead(threads);
}

/* The thread that shows the process: the lowest that is held. Return: its number; 0 none. */
pid_t capture_threads_lowest(const struct capture_threads *threads)
{
	for (size_t i = 0; i < threads->n; i++)
		if (threads->items[i].hold == CAPTURE_STOPPED)
			return threads->items[i].tid;

	return 0;
}

void capture_threads_done(struct capture_threads *threads)
{
	uint64_t until = now_ns() + KILLED_WAIT_NS;
	siginfo_t event;

	/* A thread that was killed while we held it stays a zombie until we have taken note. */
	capture_threads_thaw(threads);
	while (poll_running(threads) > 0 && wait_event(until))
		;
	/* So does a leader, and with it the process, whose exit came after that of its others. */
	if (threads->target)
		(void)capture_reaper_poll(threads->target, threads->target->pid, &event);

	if (threads->ready) {
		(void)sigaction(SIGCHLD, &threads->old_chld, NULL);
		(void)sigprocmask(SIG_SETMASK, &threads->old_mask, NULL);
	}
	free(threads->items);
	*threads = (struct capture_threads){};
}
