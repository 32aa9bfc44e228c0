/* SPDX-License-Identifier: Apache-2.0 */

/* Every kind of open file is told apart, agrees with /proc, and is left as it was. */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
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
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/capture/child.h"

enum kind {
	KIND_FILE,
	KIND_DELETED,
	KIND_DIR,
	KIND_PIPE,
	KIND_EVENTFD,
	KIND_EPOLL,
	KIND_TIMERFD,
	KIND_SIGNALFD,
	KIND_INOTIFY,
	KIND_MEMFD,
	KIND_PIDFD,
	KIND_IO_URING,
	KIND_BPF,
	KIND_TTY,
	KIND_NULL,
	_KIND_MAX,
};

static int open_deleted(void)
{
	char path[] = "/tmp/sandckpt-test-XXXXXX";
	int fd = mkostemp(path, O_CLOEXEC);

	child_need(fd >= 0 && unlink(path) == 0);
	return fd;
}

static int open_pipe(void)
{
	int ends[2];

	child_need(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
	return ends[0];
}

static int open_signalfd(void)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR1);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static int open_inotify(void)
{
	int fd = inotify_init1(IN_CLOEXEC);

	child_need(inotify_add_watch(fd, "/", IN_CREATE) >= 0);
	return fd;
}

static int open_epoll(void)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = { .events = EPOLLIN };

	child_need(epoll_ctl(fd, EPOLL_CTL_ADD, eventfd(0, EFD_CLOEXEC), &event) == 0);
	return fd;
}

static int open_io_uring(void)
{
	char params[120] = {};

	return (int)syscall(SYS_io_uring_setup, 4, params);
}

/* An array map of one element: BPF_MAP_CREATE, type 2, key 4, value 4, entries 1. */
static int open_bpf(void)
{
	uint32_t attr[18] = { 2, 4, 4, 1 };

	return (int)syscall(SYS_bpf, 0, attr, sizeof(attr));
}

static void child_kinds(struct child *child)
{
	int fds[_KIND_MAX] = {
		[KIND_FILE] = open("/proc/self/exe", O_RDONLY),
		[KIND_DELETED] = open_deleted(),
		[KIND_DIR] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
		[KIND_PIPE] = open_pipe(),
		[KIND_EVENTFD] = eventfd(7, EFD_CLOEXEC),
		[KIND_EPOLL] = open_epoll(),
		[KIND_TIMERFD] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC),
		[KIND_SIGNALFD] = open_signalfd(),
		[KIND_INOTIFY] = open_inotify(),
		[KIND_MEMFD] = memfd_create("note", MFD_CLOEXEC),
		[KIND_PIDFD] = pidfd_open(getpid(), 0),
		[KIND_IO_URING] = open_io_uring(),
		[KIND_BPF] = open_bpf(),
		[KIND_TTY] = posix_openpt(O_RDWR | O_NOCTTY),
		[KIND_NULL] = open("/dev/null", O_RDWR | O_APPEND),
	};

	child_need(lseek(fds[KIND_FILE], 42, SEEK_SET) == 42);
	for (int i = 0; i < _KIND_MAX; i++)
		child->facts[i] = (uint64_t)fds[i];
	child_wait(child);
}

static struct memory_sink *capture(struct child *child)
{
	struct memory_sink *sink;
	struct capture_result result;

	assert_int_equal(child_capture(child, &sink, &result), 0);
	return sink;
}

static void each_kind_has_its_type(void **state)
{
	static const char *const types[_KIND_MAX] = {
		"file",	   "file",  "dir",   "pipe",	 "eventfd", "epoll", "timerfd", "signalfd",
		"inotify", "memfd", "pidfd", "io_uring", "bpf",	    "tty",   "other",
	};
	struct child child = child_start(child_kinds);
	struct memory_sink *sink = capture(&child);

	for (int i = 0; i < _KIND_MAX; i++) {
		int number = (int)child.facts[i];
		const struct ckpt_fd *fd = memory_sink_fd(sink, number);

		if (number < 0) /* this kernel, or this user, has none */
			continue;
		assert_non_null(fd);
		assert_string_equal(fd->type, types[i]);
		assert_int_equal(fd->deleted, i == KIND_DELETED || i == KIND_MEMFD);
	}
	memory_sink_free(sink);
	child_end(&child);
}

static void each_agrees_with_proc(void **state)
{
	struct child child = child_start(child_kinds);
	struct memory_sink *sink = capture(&child);
	char path[64], text[4096];

	assert_true(sink->fds.n >= 10);
	for (size_t i = 0; i < sink->fds.n; i++) {
		const struct ckpt_fd *fd = &sink->fds.items[i];
		const struct memory_procfile *file;
		unsigned long long offset;
		unsigned flags;
		ssize_t n;
		int info;

		assert_true(i == 0 || fd->fd > sink->fds.items[i - 1].fd);
		(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", child.pid, fd->fd);
		n = readlink(path, text, sizeof(text) - 1);
		assert_true(n > 0);
		text[n] = '\0';
		assert_string_equal(fd->path, text);

		(void)snprintf(path, sizeof(path), "/proc/%d/fdinfo/%d", child.pid, fd->fd);
		info = open(path, O_RDONLY | O_CLOEXEC);
		n = read(info, text, sizeof(text) - 1);
		(void)close(info);
		assert_true(n > 0);
		text[n] = '\0';
		assert_int_equal(sscanf(text, "pos: %llu flags: %o", &offset, &flags), 2);
		assert_int_equal(fd->offset, offset);
		assert_int_equal(fd->flags, flags);
		(void)snprintf(path, sizeof(path), "fdinfo/%d", fd->fd);
		file = memory_sink_procfile(sink, path);
		assert_non_null(file);
		assert_string_equal(file->data, text);
	}
	assert_int_equal(memory_sink_fd(sink, (int)child.facts[KIND_FILE])->offset, 42);
	memory_sink_free(sink);
	child_end(&child);
}

static void what_fdinfo_tells_is_kept(void **state)
{
	struct child child = child_start(child_kinds);
	struct memory_sink *sink = capture(&child);
	const struct ckpt_fd *fd = memory_sink_fd(sink, (int)child.facts[KIND_EVENTFD]);
	bool found = false;

	for (size_t i = 0; i < fd->n_fdinfo; i++)
		if (strcmp(fd->fdinfo[i].key, "eventfd-count") == 0)
			found = strtoull(fd->fdinfo[i].value, NULL, 16) == 7;
	assert_true(found);
	memory_sink_free(sink);
	child_end(&child);
}

enum sock {
	SOCK_LISTEN,
	SOCK_CLIENT,
	SOCK_SERVER,
	SOCK_UDP,
	SOCK_V6,
	SOCK_PATH,
	SOCK_ABSTRACT,
	SOCK_PAIR,
	SOCK_NETLINK,
	_SOCK_MAX,
};

static int bind_unix(const char *path, size_t len)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(address.sun_path, path, len);
	child_need(bind(fd, (struct sockaddr *)&address,
			(socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) == 0);
	return fd;
}

static int bind_v6(void)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -1; /* a machine without */
	child_need(listen(fd, 1) == 0);
	return fd;
}

static void child_sockets(struct child *child)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	int fds[_SOCK_MAX], pair[2];
	socklen_t len = sizeof(address);
	char path[64];

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fds[SOCK_LISTEN] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	fds[SOCK_CLIENT] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	child_need(bind(fds[SOCK_LISTEN], (struct sockaddr *)&address, sizeof(address)) == 0);
	child_need(listen(fds[SOCK_LISTEN], 1) == 0);
	child_need(getsockname(fds[SOCK_LISTEN], (struct sockaddr *)&address, &len) == 0);
	child_need(connect(fds[SOCK_CLIENT], (struct sockaddr *)&address, sizeof(address)) == 0);
	fds[SOCK_SERVER] = accept4(fds[SOCK_LISTEN], NULL, NULL, SOCK_CLOEXEC);
	child->facts[_SOCK_MAX] = ntohs(address.sin_port);

	fds[SOCK_UDP] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	fds[SOCK_V6] = bind_v6();
	(void)snprintf(path, sizeof(path), "/tmp/sandckpt-test-%d", getpid());
	fds[SOCK_PATH] = bind_unix(path, strlen(path) + 1);
	(void)unlink(path);
	fds[SOCK_ABSTRACT] = bind_unix("\0sandckpt\0x", 11);
	child_need(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	fds[SOCK_PAIR] = pair[0];
	fds[SOCK_NETLINK] = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);
	for (int i = 0; i < _SOCK_MAX; i++)
		child->facts[i] = (uint64_t)fds[i];
	child_wait(child);
}

static const struct ckpt_fd *expect_socket(const struct memory_sink *sink,
					   const struct child *child, enum sock sock,
					   const char *family, const char *type,
					   const char *sock_state)
{
	const struct ckpt_fd *fd = memory_sink_fd(sink, (int)child->facts[sock]);

	assert_non_null(fd);
	assert_string_equal(fd->type, "socket");
	assert_string_equal(fd->family, family);
	assert_string_equal(fd->sock_type, type);
	assert_string_equal(fd->sock_state, sock_state);
	return fd;
}

static void sockets_have_their_addresses(void **state)
{
	struct child child = child_start(child_sockets);
	struct memory_sink *sink = capture(&child);
	const struct ckpt_fd *fd, *client;
	char server[64], path[64];

	(void)snprintf(server, sizeof(server), "127.0.0.1:%u", (unsigned)child.facts[_SOCK_MAX]);
	fd = expect_socket(sink, &child, SOCK_LISTEN, "inet", "stream", "listen");
	assert_string_equal(fd->local, server);
	assert_null(fd->peer);
	client = expect_socket(sink, &child, SOCK_CLIENT, "inet", "stream", "established");
	assert_string_equal(client->peer, server);
	fd = expect_socket(sink, &child, SOCK_SERVER, "inet", "stream", "established");
	assert_string_equal(fd->local, server);
	assert_string_equal(fd->peer, client->local);
	fd = expect_socket(sink, &child, SOCK_UDP, "inet", "dgram", "unconnected");
	assert_string_equal(fd->local, "0.0.0.0:0");
	if ((int)child.facts[SOCK_V6] >= 0) {
		fd = expect_socket(sink, &child, SOCK_V6, "inet6", "stream", "listen");
		assert_int_equal(strncmp(fd->local, "[::1]:", 6), 0);
	}
	(void)snprintf(path, sizeof(path), "/tmp/sandckpt-test-%d", child.pid);
	fd = expect_socket(sink, &child, SOCK_PATH, "unix", "stream", "unconnected");
	assert_string_equal(fd->unix_path, path);
	fd = expect_socket(sink, &child, SOCK_ABSTRACT, "unix", "stream", "unconnected");
	assert_string_equal(fd->unix_path, "@sandckpt@x");
	fd = expect_socket(sink, &child, SOCK_PAIR, "unix", "seqpacket", "established");
	assert_null(fd->unix_path);
	expect_socket(sink, &child, SOCK_NETLINK, "netlink", "raw", "unconnected");
	memory_sink_free(sink);
	child_end(&child);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_kind_has_its_type),
		cmocka_unit_test(each_agrees_with_proc),
		cmocka_unit_test(what_fdinfo_tells_is_kept),
		cmocka_unit_test(sockets_have_their_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
