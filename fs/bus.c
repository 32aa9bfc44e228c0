/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/bus.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

#include "format/cleanup.h"

#define BUS_PATIENCE_S 5

/**
 * ckfs_bus_new() - make the pair of ends
 * @ret: [0] the broker's, [1] the server's; the caller's
 *
 * The broker waits for a server that does not read, but not for ever: it has captures to look
 * after. Return: 0; as socketpair(2).
 */
int ckfs_bus_new(int ret[2])
{
	const struct timeval patience = { .tv_sec = BUS_PATIENCE_S };
	int size = 2 * CKFS_ANSWER_SIZE;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret) < 0)
		return -errno;
	if (setsockopt(ret[0], SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0 ||
	    setsockopt(ret[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) < 0) {
		int saved = errno;

		ret[0] = close_fd(ret[0]);
		ret[1] = close_fd(ret[1]);
		return -saved;
	}
	return 0;
}

/* Never waits: a FUSE thread calls it. Return: 0; -EAGAIN; -EIO when the broker is gone. */
int ckfs_bus_ask(int fd, const struct ckfs_ask *ask)
{
	size_t len = offsetof(struct ckfs_ask, text) + ask->len;

	if (send(fd, ask, len, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)len)
		return 0;
	return errno == EAGAIN ? -EAGAIN : -EIO;
}

/* Return: 1; 0 at the other side's end; -EAGAIN when there is none; -EBADMSG. */
int ckfs_bus_take_ask(int fd, struct ckfs_ask *ret)
{
	ssize_t n;

	do
		n = recv(fd, ret, sizeof(*ret), MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	if (n == 0)
		return 0;
	if ((size_t)n < offsetof(struct ckfs_ask, text) || ret->len > CKFS_COMMAND_MAX + 1 ||
	    (size_t)n != offsetof(struct ckfs_ask, text) + ret->len ||
	    (unsigned)ret->kind >= _CKFS_ASK_MAX)
		return -EBADMSG;

	return 1;
}

/* Return: 0; -EMSGSIZE; -EPIPE when the server is gone; -EAGAIN when it does not read. */
int ckfs_bus_answer(int fd, uint64_t id, int error, const char *text, size_t len)
{
	struct ckfs_answer answer = { .id = id, .error = error, .len = (uint32_t)len };
	struct iovec parts[] = {
		{ .iov_base = &answer, .iov_len = sizeof(answer) },
		{ .iov_base = (void *)text, .iov_len = len },
	};
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };
	ssize_t n;

	if (len > CKFS_STATE_MAX)
		return -EMSGSIZE;
	do
		n = sendmsg(fd, &message, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);

	return n < 0 ? -errno : 0;
}

/**
 * ckfs_bus_take_answer() - wait for what the broker says
 * @ret: of CKFS_ANSWER_SIZE bytes
 *
 * Return: 1; 0 at the broker's end; -EBADMSG; as recv(2).
 */
int ckfs_bus_take_answer(int fd, struct ckfs_answer *ret)
{
	ssize_t n;

	do
		n = recv(fd, ret, CKFS_ANSWER_SIZE, 0);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	if (n == 0)
		return 0;
	if ((size_t)n < sizeof(*ret) || (size_t)n != sizeof(*ret) + ret->len)
		return -EBADMSG;

	return 1;
}
