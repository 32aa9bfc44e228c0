/* SPDX-License-Identifier: Apache-2.0 */
#include "helpers/blocking.h"

#include <errno.h>
#include <limits.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LONG_S 86400
#define CHUNK 65536

struct message {
	long type;
	char text[4096];
};

static long result(long r)
{
	return r < 0 ? -errno : r;
}

static long wait_epoll_wait(void)
{
	struct epoll_event event;

	return result(syscall(SYS_epoll_wait, epoll_create1(EPOLL_CLOEXEC), &event, 1, -1));
}

static long wait_epoll_pwait(void)
{
	struct epoll_event event;
	sigset_t set;

	sigfillset(&set);
	return result(epoll_pwait(epoll_create1(EPOLL_CLOEXEC), &event, 1, -1, &set));
}

static long wait_epoll_pwait2(void)
{
	struct epoll_event event;

	return result(syscall(SYS_epoll_pwait2, epoll_create1(EPOLL_CLOEXEC), &event, 1, NULL, NULL,
			      sizeof(uint64_t)));
}

static long wait_sigtimedwait(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMAX);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return result(syscall(SYS_rt_sigtimedwait, &set, NULL, NULL, sizeof(uint64_t)));
}

/* What SysV makes outlives a process, but not the last of its namespace. */
static int own_ipc(void)
{
	return unshare(CLONE_NEWIPC) < 0 ? -errno : 0;
}

static long wait_semop(void)
{
	struct sembuf take = { .sem_op = -1 };
	int r = own_ipc();

	return r < 0 ? r : result(syscall(SYS_semop, semget(IPC_PRIVATE, 1, 0600), &take, 1));
}

static long wait_semtimedop(void)
{
	struct sembuf take = { .sem_op = -1 };
	int r = own_ipc();

	if (r < 0)
		return r;
	return result(syscall(SYS_semtimedop, semget(IPC_PRIVATE, 1, 0600), &take, 1, NULL));
}

static long wait_io_getevents(void)
{
	aio_context_t context = 0;
	struct io_event event;

	if (syscall(SYS_io_setup, 1, &context) < 0)
		return -errno;
	return result(syscall(SYS_io_getevents, context, 1L, 1L, &event, NULL));
}

static long wait_io_uring_enter(void)
{
	struct io_uring_params params = {};
	int fd = (int)syscall(SYS_io_uring_setup, 4, &params);

	if (fd < 0)
		return -errno;
	return result(syscall(SYS_io_uring_enter, fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 8));
}

static long wait_msgrcv(void)
{
	struct message message;
	int r = own_ipc();

	if (r < 0)
		return r;
	return result(msgrcv(msgget(IPC_PRIVATE, 0600), &message, sizeof(message.text), 0, 0));
}

static long wait_msgsnd(void)
{
	struct message message = { .type = 1 };
	int r = own_ipc(), id;

	if (r < 0)
		return r;
	id = msgget(IPC_PRIVATE, 0600);
	do
		r = msgsnd(id, &message, sizeof(message.text), 0);
	while (r == 0);
	return result(r);
}

static long wait_inotify(void)
{
	char event[sizeof(struct inotify_event) + NAME_MAX + 1];

	return result(read(inotify_init1(IN_CLOEXEC), event, sizeof(event)));
}

static int patient(int fd, int option)
{
	struct timeval t = { .tv_sec = LONG_S };

	(void)setsockopt(fd, SOL_SOCKET, option, &t, sizeof(t));
	return fd;
}

/* One end of a pair; the other stays open, and nothing is read or written there. */
static int make_end(int option)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	return patient(ends[0], option);
}

static int make_listener(int option, struct sockaddr_in *ret)
{
	socklen_t len = sizeof(*ret);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*ret = (struct sockaddr_in){ .sin_family = AF_INET };
	ret->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)ret, len) < 0 || listen(fd, 0) < 0 ||
	    getsockname(fd, (struct sockaddr *)ret, &len) < 0)
		return -errno;
	return patient(fd, option);
}

static long wait_read(void)
{
	char byte;

	return result(read(make_end(SO_RCVTIMEO), &byte, 1));
}

static long wait_readv(void)
{
	char byte;
	struct iovec iov = { &byte, 1 };

	return result(readv(make_end(SO_RCVTIMEO), &iov, 1));
}

static long wait_recvfrom(void)
{
	char byte;

	return result(recv(make_end(SO_RCVTIMEO), &byte, 1, 0));
}

static long wait_recvmsg(void)
{
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

	return result(recvmsg(make_end(SO_RCVTIMEO), &message, 0));
}

static long wait_recvmmsg(void)
{
	char byte;
	struct iovec iov = { &byte, 1 };
	struct mmsghdr message = { .msg_hdr = { .msg_iov = &iov, .msg_iovlen = 1 } };

	return result(recvmmsg(make_end(SO_RCVTIMEO), &message, 1, 0, NULL));
}

static long wait_accept(void)
{
	struct sockaddr_in address;

	return result(accept(make_listener(SO_RCVTIMEO, &address), NULL, NULL));
}

static long wait_accept4(void)
{
	struct sockaddr_in address;

	return result(accept4(make_listener(SO_RCVTIMEO, &address), NULL, NULL, SOCK_CLOEXEC));
}

/* The first calls fill the buffer. A stop can cut one short that had begun to: it goes on. */
static long fill(ssize_t (*send_some)(int fd, struct iovec *iov))
{
	static char chunk[CHUNK]; /* zeros */
	struct iovec iov = { chunk, CHUNK };
	int fd = make_end(SO_SNDTIMEO);
	ssize_t n;

	do
		n = send_some(fd, &iov);
	while (n >= 0);
	return -errno;
}

static ssize_t do_write(int fd, struct iovec *iov)
{
	return write(fd, iov->iov_base, iov->iov_len);
}

static ssize_t do_writev(int fd, struct iovec *iov)
{
	return writev(fd, iov, 1);
}

static ssize_t do_sendto(int fd, struct iovec *iov)
{
	return send(fd, iov->iov_base, iov->iov_len, 0);
}

static ssize_t do_sendmsg(int fd, struct iovec *iov)
{
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = 1 };

	return sendmsg(fd, &message, 0);
}

static ssize_t do_sendmmsg(int fd, struct iovec *iov)
{
	struct mmsghdr message = { .msg_hdr = { .msg_iov = iov, .msg_iovlen = 1 } };

	return sendmmsg(fd, &message, 1, 0);
}

static long wait_write(void)
{
	return fill(do_write);
}

static long wait_writev(void)
{
	return fill(do_writev);
}

static long wait_sendto(void)
{
	return fill(do_sendto);
}

static long wait_sendmsg(void)
{
	return fill(do_sendmsg);
}

static long wait_sendmmsg(void)
{
	return fill(do_sendmmsg);
}

/* The first ones fill the listener's queue. Within the machine: TCP gives up after two minutes. */
static long wait_connect(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(address);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd, r;

	/* Without a name the kernel finds one. */
	if (bind(listener, (struct sockaddr *)&address, sizeof(sa_family_t)) < 0 ||
	    getsockname(listener, (struct sockaddr *)&address, &len) < 0 || listen(listener, 0) < 0)
		return -errno;
	do {
		fd = patient(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), SO_SNDTIMEO);
		r = connect(fd, (struct sockaddr *)&address, len);
	} while (r == 0);
	return -errno;
}

static long wait_poll(void)
{
	return result(syscall(SYS_poll, NULL, 0, -1));
}

static long wait_nanosleep(void)
{
	struct timespec t = { .tv_sec = LONG_S };

	return result(syscall(SYS_nanosleep, &t, NULL));
}

static long wait_futex(void)
{
	uint32_t word = 0;

	return result(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL));
}

/* clang-format off */
const struct blocking_call blocking_calls[] = {
	{ "epoll_wait",		SYS_epoll_wait,		wait_epoll_wait,	true },
	{ "epoll_pwait",	SYS_epoll_pwait,	wait_epoll_pwait,	true },
	{ "epoll_pwait2",	SYS_epoll_pwait2,	wait_epoll_pwait2,	true },
	{ "rt_sigtimedwait",	SYS_rt_sigtimedwait,	wait_sigtimedwait,	true },
	{ "semop",		SYS_semop,		wait_semop,		true },
	{ "semtimedop",		SYS_semtimedop,		wait_semtimedop,	true },
	{ "io_getevents",	SYS_io_getevents,	wait_io_getevents,	true },
	{ "io_uring_enter",	SYS_io_uring_enter,	wait_io_uring_enter,	true },
	{ "msgrcv",		SYS_msgrcv,		wait_msgrcv,		false },
	{ "msgsnd",		SYS_msgsnd,		wait_msgsnd,		false },
	{ "read(inotify)",	SYS_read,		wait_inotify,		false },
	{ "read",		SYS_read,		wait_read,		true },
	{ "readv",		SYS_readv,		wait_readv,		true },
	{ "recvfrom",		SYS_recvfrom,		wait_recvfrom,		true },
	{ "recvmsg",		SYS_recvmsg,		wait_recvmsg,		true },
	{ "recvmmsg",		SYS_recvmmsg,		wait_recvmmsg,		true },
	{ "accept",		SYS_accept,		wait_accept,		true },
	{ "accept4",		SYS_accept4,		wait_accept4,		true },
	{ "write",		SYS_write,		wait_write,		true },
	{ "writev",		SYS_writev,		wait_writev,		true },
	{ "sendto",		SYS_sendto,		wait_sendto,		true },
	{ "sendmsg",		SYS_sendmsg,		wait_sendmsg,		true },
	{ "sendmmsg",		SYS_sendmmsg,		wait_sendmmsg,		true },
	{ "connect",		SYS_connect,		wait_connect,		true },
	{ "poll",		SYS_poll,		wait_poll,		false },
	{ "nanosleep",		SYS_nanosleep,		wait_nanosleep,		false },
	{ "futex",		SYS_futex,		wait_futex,		false },
	{},
};
/* clang-format on */

static bool sleeps(pid_t tid)
{
	char path[48], line[512] = "", *p;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	f = fopen(path, "re");
	if (f) {
		(void)!fgets(line, sizeof(line), f);
		fclose(f);
	}
	p = strrchr(line, ')');
	return p && p[1] && p[2] == 'S';
}

/*
 * A thread that has just been let go by its tracer, and has not run yet, still shows the call it
 * was stopped in: but it does not sleep. For poll and nanosleep, once stopped, there is a call of
 * its own.
 */
bool blocking_is_in(pid_t tid, long number)
{
	char path[48];
	bool in = false;
	long shown;
	FILE *f;

	if (!sleeps(tid))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/syscall", tid);
	f = fopen(path, "re");
	if (f) {
		in = fscanf(f, "%ld", &shown) == 1 &&
		     (shown == number || shown == SYS_restart_syscall);
		fclose(f);
	}
	return in;
}
