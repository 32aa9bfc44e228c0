/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/restart.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "capture/calls.h"
#include "capture/proc.h"
#include "capture/target.h"
#include "capture/threads.h"
#include "format/cleanup.h"

/*
 * The kernel starts most calls again by itself after a stop. Some return EINTR instead, which a
 * program that handles no signals never expects. For those alone the kernel's answer is replaced
 * by its own code for "again, unless a handler is to run": it is looked at when the thread goes
 * on, so a signal that comes at any moment before still gets its EINTR, and only in the thread
 * that it is delivered to. It is put there as soon as the thread has stopped, so the call goes on
 * even if we are killed while we hold it.
 *
 * A call with a timeout would begin it anew each time, and never end under frequent captures.
 * It is started again only until it has been seen for as long as it may take, and then returns
 * what its timeout does.
 *
 * The table is closed. A call that is not in it may have done its work before it was interrupted:
 * a close() done twice closes somebody else's file.
 */

#define NS_PER_SEC UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_US UINT64_C(1000)
#define SEC_MAX (UINT64_C(1) << 33) /* from there on: for ever */
#define STATUS_MAX (64U * 1024)
#define CS_64BIT 0x33 /* __USER_CS */
#define ARGS 6

#ifndef PIDFD_THREAD /* 6.9 */
#define PIDFD_THREAD O_EXCL
#endif
/* linux/io_uring.h of 6.13; Debian 12 has 6.1's. */
#define URING_ABS_TIMER (1U << 5)
#define URING_EXT_ARG_REG (1U << 6)

enum call_on {
	ON_ANY,
	ON_INOTIFY,
	ON_RECEIVE, /* a socket with SO_RCVTIMEO */
	ON_SEND,    /* a socket with SO_SNDTIMEO */
};

enum call_length {
	LENGTH_FOREVER,
	LENGTH_MS,	 /* the argument is an int */
	LENGTH_TIMESPEC, /* it points to one */
	LENGTH_URING,	 /* it points to what the flags say */
	LENGTH_SOCKET,	 /* the socket's option */
};

/* clang-format off */
static const struct call {
	unsigned number;
	enum call_on on;
	enum call_length length;
	unsigned argument; /* with the length, from 0 */
	int over;	   /* what it returns after that */
} calls_table[] = {
	{ SYS_epoll_wait,	ON_ANY,		LENGTH_MS,	 3, 0 },
	{ SYS_epoll_pwait,	ON_ANY,		LENGTH_MS,	 3, 0 },
	{ SYS_epoll_pwait2,	ON_ANY,		LENGTH_TIMESPEC, 3, 0 },
	{ SYS_rt_sigtimedwait,	ON_ANY,		LENGTH_TIMESPEC, 2, -EAGAIN },
	{ SYS_semop,		ON_ANY,		LENGTH_FOREVER,	 0, 0 },
	{ SYS_semtimedop,	ON_ANY,		LENGTH_TIMESPEC, 3, -EAGAIN },
	{ SYS_io_getevents,	ON_ANY,		LENGTH_TIMESPEC, 4, 0 },
	{ SYS_io_uring_enter,	ON_ANY,		LENGTH_URING,	 4, -ETIME },
	{ SYS_msgrcv,		ON_ANY,		LENGTH_FOREVER,	 0, 0 },
	{ SYS_msgsnd,		ON_ANY,		LENGTH_FOREVER,	 0, 0 },
	{ SYS_read,		ON_INOTIFY,	LENGTH_FOREVER,	 0, 0 },
	{ SYS_read,		ON_RECEIVE,	LENGTH_SOCKET,	 0, -EAGAIN },
	{ SYS_readv,		ON_RECEIVE,	LENGTH_SOCKET,	 0, -EAGAIN },
	{ SYS_recvfrom,		ON_RECEIVE,	LENGTH_SOCKET,	 0, -EAGAIN },
	{ SYS_recvmsg,		ON_RECEIVE,	LENGTH_SOCKET,	 0, -EAGAIN },
	{ SYS_recvmmsg,		ON_RECEIVE,	LENGTH_SOCKET,	 0, -EAGAIN },
	{ SYS_accept,		ON_RECEIVE,	LENGTH_SOCKET,	 0, -EAGAIN },
	{ SYS_accept4,		ON_RECEIVE,	LENGTH_SOCKET,	 0, -EAGAIN },
	{ SYS_write,		ON_SEND,	LENGTH_SOCKET,	 0, -EAGAIN },
	{ SYS_writev,		ON_SEND,	LENGTH_SOCKET,	 0, -EAGAIN },
	{ SYS_sendto,		ON_SEND,	LENGTH_SOCKET,	 0, -EAGAIN },
	{ SYS_sendmsg,		ON_SEND,	LENGTH_SOCKET,	 0, -EAGAIN },
	{ SYS_sendmmsg,		ON_SEND,	LENGTH_SOCKET,	 0, -EAGAIN },
	{ SYS_connect,		ON_SEND,	LENGTH_SOCKET,	 0, -EINPROGRESS },
};
/* clang-format on */
#define N_CALLS (sizeof(calls_table) / sizeof(calls_table[0]))

static void copy_args(const struct user_regs_struct *regs, uint64_t ret[ARGS])
{
	const uint64_t args[ARGS] = {
		regs->rdi, regs->rsi, regs->rdx, regs->r10, regs->r8, regs->r9
	};

	memcpy(ret, args, sizeof(args));
}

/* A call of the table that returned EINTR, by a syscall instruction of 64-bit code. */
static bool is_interrupted(const struct user_regs_struct *regs)
{
	if ((int64_t)regs->rax != -EINTR || (int64_t)regs->orig_rax < 0 || regs->cs != CS_64BIT)
		return false;

	for (size_t i = 0; i < N_CALLS; i++)
		if (calls_table[i].number == regs->orig_rax)
			return true;
	return false;
}

static bool is_on(const struct call *call, const struct capture_call_facts *facts)
{
	switch (call->on) {
	case ON_ANY:
		return true;
	case ON_INOTIFY:
		return facts->fd == CAPTURE_CALL_INOTIFY;
	case ON_RECEIVE:
		return facts->fd == CAPTURE_CALL_SOCKET && facts->receive_ns > 0;
	case ON_SEND:
		return facts->fd == CAPTURE_CALL_SOCKET && facts->send_ns > 0;
	}
	return false;
}

static uint64_t length_of(const struct call *call, const struct capture_call_facts *facts)
{
	uint64_t args[ARGS];
	int ms;

	copy_args(&facts->regs, args);
	switch (call->length) {
	case LENGTH_FOREVER:
		return CAPTURE_FOREVER;
	case LENGTH_MS:
		ms = (int)args[call->argument];
		return ms < 0 ? CAPTURE_FOREVER : (uint64_t)ms * NS_PER_MS;
	case LENGTH_TIMESPEC:
	case LENGTH_URING:
		return facts->pointed_ns;
	case LENGTH_SOCKET:
		return call->on == ON_RECEIVE ? facts->receive_ns : facts->send_ns;
	}
	return CAPTURE_NS_UNKNOWN;
}

/**
 * capture_restart_decide() - whether a stopped thread's call is to be started again
 *
 * It is not where how long it may take cannot be told.
 *
 * Return: whether it is; in @ret until when.
 */
bool capture_restart_decide(const struct capture_call_facts *facts, struct capture_restart *ret)
{
	if (!is_interrupted(&facts->regs) || facts->code[0] != 0x0f || facts->code[1] != 0x05)
		return false;

	for (size_t i = 0; i < N_CALLS; i++) {
		const struct call *call = &calls_table[i];
		uint64_t length;

		if (call->number != facts->regs.orig_rax || !is_on(call, facts))
			continue;
		length = length_of(call, facts);
		if (length == CAPTURE_NS_UNKNOWN)
			return false;
		ret->length_ns = length;
		ret->over = call->over;
		/* A connection within the machine does not go on being made. */
		if (call->over == -EINPROGRESS && facts->is_unix)
			ret->over = -EAGAIN;
		return true;
	}
	return false;
}

/* Words of the target's memory. By ptrace, which pins no page. Return: 0; a negative errno. */
static int peek(pid_t tid, uint64_t addr, uint64_t *ret, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		errno = 0;
		ret[i] = (uint64_t)ptrace(PTRACE_PEEKDATA, tid, (void *)(addr + i * 8), NULL);
		if (errno)
			return -errno;
	}
	return 0;
}

/* The two bytes before rip, wherever its page ends. */
static int peek_code(pid_t tid, uint64_t rip, unsigned char ret[2])
{
	uint64_t word;

	if (peek(tid, rip - 2, &word, 1) == 0) {
		memcpy(ret, &word, 2);
		return 0;
	}
	if (peek(tid, rip - 8, &word, 1) == 0) {
		memcpy(ret, (char *)&word + 6, 2);
		return 0;
	}
	return -EFAULT;
}

static uint64_t length_from(uint64_t sec, uint64_t ns)
{
	if ((int64_t)sec < 0 || ns >= NS_PER_SEC)
		return CAPTURE_NS_UNKNOWN;

	return sec >= SEC_MAX ? CAPTURE_FOREVER : sec * NS_PER_SEC + ns;
}

static uint64_t peek_timespec(pid_t tid, uint64_t addr)
{
	uint64_t words[2];

	if (addr == 0)
		return CAPTURE_FOREVER;
	if (peek(tid, addr, words, 2) < 0)
		return CAPTURE_NS_UNKNOWN;

	return length_from(words[0], words[1]);
}

/* The last word of struct io_uring_getevents_arg points to the timespec. */
static uint64_t peek_uring(pid_t tid, const uint64_t args[ARGS])
{
	uint64_t words[3], flags = args[3];

	if (flags & URING_EXT_ARG_REG)
		return CAPTURE_NS_UNKNOWN;
	/* A time of the clock stays the same however often it is waited for. */
	if (!(flags & IORING_ENTER_EXT_ARG) || (flags & URING_ABS_TIMER))
		return CAPTURE_FOREVER;
	if (args[5] < sizeof(words) || peek(tid, args[4], words, 3) < 0)
		return CAPTURE_NS_UNKNOWN;

	return peek_timespec(tid, words[2]);
}

static uint64_t socket_timeout(int fd, int option)
{
	struct timeval t = {};
	socklen_t len = sizeof(t);

	if (getsockopt(fd, SOL_SOCKET, option, &t, &len) < 0 || len != sizeof(t))
		return 0;

	return length_from((uint64_t)t.tv_sec, (uint64_t)t.tv_usec * NS_PER_US);
}

/* Of the thread, which may have descriptors of its own; before 6.9 of its process. */
static int get_fd(const struct capture_target *target, pid_t tid, int fd)
{
	cleanup_fd int pidfd = pidfd_open(tid, PIDFD_THREAD);

	return pidfd_getfd(pidfd >= 0 ? pidfd : target->pidfd, fd, 0);
}

/* What the descriptor in the first argument is. Only a socket is touched, to read its options. */
static void look_at_fd(const struct capture_target *target, pid_t tid,
		       struct capture_call_facts *facts)
{
	cleanup_free char *link = NULL;
	cleanup_fd int fd = -EBADF;
	char path[64], socket[64];
	int domain = 0, number = (int)facts->regs.rdi;
	socklen_t len = sizeof(domain);
	struct stat st;

	(void)snprintf(path, sizeof(path), "task/%d/fd/%d", tid, number);
	if (capture_proc_readlink(target->proc_fd, path, &link) < 0)
		return;
	/* The names are the kernel's: a file's begins with a slash. */
	if (strcmp(link, "anon_inode:inotify") == 0)
		facts->fd = CAPTURE_CALL_INOTIFY;
	if (strncmp(link, "socket:[", strlen("socket:[")) != 0)
		return;

	fd = get_fd(target, tid, number);
	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	(void)snprintf(socket, sizeof(socket), "socket:[%llu]", (unsigned long long)st.st_ino);
	if (strcmp(link, socket) != 0)
		return;

	facts->fd = CAPTURE_CALL_SOCKET;
	facts->receive_ns = socket_timeout(fd, SO_RCVTIMEO);
	facts->send_ns = socket_timeout(fd, SO_SNDTIMEO);
	facts->is_unix =
	    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX;
}

/* What a row of the table wants to know beyond the registers. */
static void gather(const struct capture_target *target, pid_t tid, struct capture_call_facts *facts)
{
	uint64_t args[ARGS];
	bool looked = false;

	copy_args(&facts->regs, args);
	for (size_t i = 0; i < N_CALLS; i++) {
		const struct call *call = &calls_table[i];

		if (call->number != facts->regs.orig_rax)
			continue;
		if (call->on != ON_ANY && !looked) {
			look_at_fd(target, tid, facts);
			looked = true;
		}
		if (call->length == LENGTH_TIMESPEC)
			facts->pointed_ns = peek_timespec(tid, args[call->argument]);
		if (call->length == LENGTH_URING)
			facts->pointed_ns = peek_uring(tid, args);
	}
}

/* How often it has gone to sleep. Return: 0; a negative errno: a stranger's thread, for one. */
static int read_switches(const struct capture_target *target, pid_t tid, uint64_t *ret)
{
	cleanup_free char *status = NULL;
	char path[48];
	size_t len;
	int r;

	(void)snprintf(path, sizeof(path), "task/%d/status", tid);
	r = capture_proc_read(target->proc_fd, path, STATUS_MAX, &status, &len);
	if (r < 0)
		return r;

	return capture_status_u64(status, "voluntary_ctxt_switches", 10, ret);
}

/* Whether a call has been seen for as long as it may take; remembers it if not. */
static bool is_over(const struct capture_target *target, const struct capture_thread *thread,
		    const struct user_regs_struct *regs, uint64_t length_ns,
		    struct ckpt_calls *calls)
{
	struct ckpt_call call = {
		.pid = target->pid,
		.tid = thread->tid,
		.start_ticks = thread->start_ticks,
		.number = regs->orig_rax,
		.rip = regs->rip,
		.rsp = regs->rsp,
		.first_ns = thread->since_ns,
		.last_ns = thread->since_ns,
		.length_ns = length_ns,
	};
	bool over;

	copy_args(regs, call.args);
	if (read_switches(target, thread->tid, &call.switches) < 0)
		return false;

	capture_calls_recall(calls, &call);
	over = thread->since_ns - call.first_ns >= length_ns;
	/* What comes next is another call, however much like this one. */
	if (over)
		call.length_ns = 0;
	capture_calls_put(calls, &call);
	return over;
}

/* It stops its process, and the EINTR that a stop brings to a program is its due. */
static bool is_stop_signal(int signal)
{
	return signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU;
}

/**
 * capture_restart_thread() - have a thread's call started again when the thread goes on
 * @thread: that has just stopped, and not because its whole process did
 * @calls: what is known of before, updated; NULL: each stop is the first
 *
 * Nothing but rax is changed, and only where it says EINTR.
 *
 * Return: whether it was.
 * Source: signal(7), "Interruption of system calls"; arch/x86/kernel/signal.c,
 * arch_do_signal_or_restart().
 */
bool capture_restart_thread(const struct capture_target *target,
			    const struct capture_thread *thread, struct ckpt_calls *calls)
{
	struct capture_call_facts facts = { .pointed_ns = CAPTURE_NS_UNKNOWN };
	struct capture_restart restart;
	int64_t rax = -CAPTURE_ERESTARTNOHAND;

	if (ptrace(PTRACE_GETREGS, thread->tid, NULL, &facts.regs) < 0 ||
	    !is_interrupted(&facts.regs) || is_stop_signal(thread->signal) ||
	    peek_code(thread->tid, facts.regs.rip, facts.code) < 0)
		return false;

	gather(target, thread->tid, &facts);
	if (!capture_restart_decide(&facts, &restart))
		return false;
	if (calls && restart.length_ns != CAPTURE_FOREVER &&
	    is_over(target, thread, &facts.regs, restart.length_ns, calls))
		rax = restart.over;

	return ptrace(PTRACE_POKEUSER, thread->tid, offsetof(struct user, regs.rax), rax) == 0;
}
