/* SPDX-License-Identifier: Apache-2.0 */

/* A descriptor of each kind, and the row of fds.json that it must become. */

#include "helpers/mkproc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

/* Adds the expected row of an fd, or hands its errno on. */
static int expect(struct json_object *facts, int fd, const char *type, struct json_object **ret)
{
	if (fd < 0)
		return -errno;

	*ret = mkproc_row(facts, "fds");
	mkproc_int(*ret, "fd", fd);
	mkproc_string(*ret, "type", type);
	return 0;
}

static void expect_path(struct json_object *row, const char *name)
{
	char dir[PATH_MAX], path[2 * PATH_MAX];

	if (!getcwd(dir, sizeof(dir)))
		return;
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	mkproc_string(row, "path", path);
}

static int make_file(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	struct json_object *row = NULL;
	char data[1000] = "";
	int fd, r;

	fd = open("file", O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0640);
	r = expect(facts, fd, "file", &row);
	if (r < 0)
		return r;
	if (write(fd, data, sizeof(data)) != sizeof(data) || lseek(fd, 321, SEEK_SET) != 321)
		return -EIO;

	expect_path(row, "file");
	mkproc_int(row, "offset", 321);
	mkproc_flag(row, "deleted", false);
	return 0;
}

static int make_deleted(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	int fd = open("deleted", O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct json_object *row = NULL;
	int r;

	r = expect(facts, fd, "file", &row);
	if (r < 0)
		return r;
	if (unlink("deleted") < 0)
		return -errno;

	mkproc_flag(row, "deleted", true);
	return 0;
}

/* A file that exists and merely is called so. */
static int make_called_deleted(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	int fd = open("kept (deleted)", O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
	struct json_object *row = NULL;
	int r;

	r = expect(facts, fd, "file", &row);
	if (r < 0)
		return r;

	expect_path(row, "kept (deleted)");
	mkproc_flag(row, "deleted", false);
	return 0;
}

static int make_odd_name(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	int fd = open("odd \xff\n\"\\name", O_RDONLY | O_CREAT, 0600);
	struct json_object *row = NULL;

	return expect(facts, fd, "file", &row);
}

static int make_o_path(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	struct json_object *row = NULL;

	return expect(facts, open("/etc/passwd", O_PATH), "file", &row);
}

static int make_dir(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	struct json_object *row = NULL;
	int r;

	r = expect(facts, open("/proc/self/task/..", O_RDONLY | O_DIRECTORY), "dir", &row);
	if (r < 0)
		return r;

	return expect(facts, open(".", O_RDONLY | O_DIRECTORY), "dir", &row);
}

static int make_null(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	struct json_object *row = NULL;
	int r;

	r = expect(facts, open("/dev/null", O_RDWR), "other", &row);
	if (r < 0)
		return r;

	mkproc_string(row, "path", "/dev/null");
	return 0;
}

static int expect_two(struct json_object *facts, const int fds[2], const char *type)
{
	struct json_object *row = NULL;
	int r;

	r = expect(facts, fds[0], type, &row);
	if (r < 0)
		return r;

	return expect(facts, fds[1], type, &row);
}

static int make_pipe(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	int fds[2];

	if (pipe2(fds, O_NONBLOCK) < 0)
		return -errno;

	return expect_two(facts, fds, "pipe");
}

static int make_fifo(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	struct json_object *row = NULL;

	if (mkfifo("fifo", 0600) < 0)
		return -errno;

	return expect(facts, open("fifo", O_RDWR), "pipe", &row);
}

/* The row of a socket; the state is left out where it has none. */
static int expect_socket(struct json_object *facts, int fd, const char *family, const char *type,
			 struct json_object **ret)
{
	int r;

	r = expect(facts, fd, "socket", ret);
	if (r < 0)
		return r;

	mkproc_string(*ret, "family", family);
	mkproc_string(*ret, "sock_type", type);
	return 0;
}

static void expect_address(struct json_object *row, const char *key, int fd,
			   int (*name)(int, struct sockaddr *, socklen_t *))
{
	struct sockaddr_storage address = {};
	socklen_t len = sizeof(address);
	const struct sockaddr_in *v4 = (const void *)&address;
	const struct sockaddr_in6 *v6 = (const void *)&address;
	char host[INET6_ADDRSTRLEN], text[INET6_ADDRSTRLEN + 16];

	if (name(fd, (void *)&address, &len) < 0)
		return;

	if (address.ss_family == AF_INET) {
		inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
		snprintf(text, sizeof(text), "%s:%u", host, ntohs(v4->sin_port));
	} else {
		inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
		snprintf(text, sizeof(text), "[%s]:%u", host, ntohs(v6->sin6_port));
	}
	mkproc_string(row, key, text);
}

static int bound_socket(int family, int type)
{
	struct sockaddr_in v4 = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	const void *address = family == AF_INET ? (const void *)&v4 : (const void *)&v6;
	socklen_t len = family == AF_INET ? sizeof(v4) : sizeof(v6);
	int fd = socket(family, type, 0);

	if (fd < 0 || bind(fd, address, len) < 0)
		return -1;

	return fd;
}

/* One that listens, one connected to it, and the one accepted. */
static int make_tcp(int family, const char *name, struct json_object *facts)
{
	struct sockaddr_storage address = {};
	socklen_t len = sizeof(address);
	struct json_object *row = NULL;
	int listening, fds[2], r;

	listening = bound_socket(family, SOCK_STREAM);
	r = expect_socket(facts, listening, name, "stream", &row);
	if (r < 0)
		return r;
	if (listen(listening, 5) < 0 || getsockname(listening, (void *)&address, &len) < 0)
		return -errno;
	mkproc_string(row, "sock_state", "listen");
	expect_address(row, "local", listening, getsockname);

	fds[0] = socket(family, SOCK_STREAM, 0);
	if (fds[0] < 0 || connect(fds[0], (void *)&address, len) < 0)
		return -errno;
	fds[1] = accept(listening, NULL, NULL);

	for (int i = 0; i < 2; i++) {
		r = expect_socket(facts, fds[i], name, "stream", &row);
		if (r < 0)
			return r;
		mkproc_string(row, "sock_state", "established");
		expect_address(row, "local", fds[i], getsockname);
		expect_address(row, "peer", fds[i], getpeername);
	}
	return 0;
}

static int make_tcp4(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	return make_tcp(AF_INET, "inet", facts);
}

static int make_tcp6(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	return make_tcp(AF_INET6, "inet6", facts);
}

static int make_udp(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	int fd = bound_socket(AF_INET, SOCK_DGRAM);
	struct json_object *row = NULL;
	int r;

	r = expect_socket(facts, fd, "inet", "dgram", &row);
	if (r < 0)
		return r;

	expect_address(row, "local", fd, getsockname);
	return 0;
}

static int make_udp6(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	int fd = bound_socket(AF_INET6, SOCK_DGRAM);
	struct json_object *row = NULL;
	int r;

	r = expect_socket(facts, fd, "inet6", "dgram", &row);
	if (r < 0)
		return r;

	expect_address(row, "local", fd, getsockname);
	return 0;
}

static int unix_listen(const struct sockaddr_un *address, socklen_t len, const char *shown,
		       struct json_object *facts)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct json_object *row = NULL;
	int r;

	r = expect_socket(facts, fd, "unix", "stream", &row);
	if (r < 0)
		return r;
	if (bind(fd, (const void *)address, len) < 0 || listen(fd, 1) < 0)
		return -errno;

	mkproc_string(row, "unix_path", shown);
	mkproc_string(row, "sock_state", "listen");
	return 0;
}

static int make_unix_path(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	const struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = "unix.sock" };

	return unix_listen(&address, sizeof(address), "unix.sock", facts);
}

static int make_unix_abstract(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char shown[64];
	int len;

	len = snprintf(shown, sizeof(shown), "@mkproc-%d", getpid());
	memcpy(address.sun_path + 1, shown + 1, len - 1);

	return unix_listen(&address, offsetof(struct sockaddr_un, sun_path) + len, shown, facts);
}

static int make_unix_pair(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	struct json_object *row = NULL;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds) < 0)
		return -errno;

	for (int i = 0; i < 2; i++) {
		int r = expect_socket(facts, fds[i], "unix", "seqpacket", &row);

		if (r < 0)
			return r;
	}
	return 0;
}

static int make_netlink(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	struct json_object *row = NULL;

	return expect_socket(facts, socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), "netlink", "raw",
			     &row);
}

static int make_eventfd(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	struct json_object *row = NULL;

	return expect(facts, eventfd(42, EFD_CLOEXEC), "eventfd", &row);
}

static int make_epoll(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = 77 };
	int fd = epoll_create1(0);
	struct json_object *row = NULL;
	int r;

	r = expect(facts, fd, "epoll", &row);
	if (r < 0)
		return r;

	return epoll_ctl(fd, EPOLL_CTL_ADD, eventfd(0, 0), &event) < 0 ? -errno : 0;
}

static int make_timerfd(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	const struct itimerspec spec = { .it_value.tv_sec = 86400 };
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);
	struct json_object *row = NULL;
	int r;

	r = expect(facts, fd, "timerfd", &row);
	if (r < 0)
		return r;

	return timerfd_settime(fd, 0, &spec, NULL) < 0 ? -errno : 0;
}

static int make_signalfd(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	struct json_object *row = NULL;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	return expect(facts, signalfd(-1, &set, 0), "signalfd", &row);
}

static int make_inotify(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	int fd = inotify_init1(0);
	struct json_object *row = NULL;
	int r;

	r = expect(facts, fd, "inotify", &row);
	if (r < 0)
		return r;

	return inotify_add_watch(fd, ".", IN_CREATE) < 0 ? -errno : 0;
}

static int make_memfd(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	int fd = memfd_create("mkproc", 0);
	struct json_object *row = NULL;
	int r;

	r = expect(facts, fd, "memfd", &row);
	if (r < 0)
		return r;

	return write(fd, "in a memfd", 10) == 10 ? 0 : -EIO;
}

static int make_pidfd(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	struct json_object *row = NULL;

	return expect(facts, (int)syscall(SYS_pidfd_open, getppid(), 0), "pidfd", &row);
}

static int make_io_uring(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	struct io_uring_params params = {};
	struct json_object *row = NULL;

	return expect(facts, (int)syscall(SYS_io_uring_setup, 4, &params), "io_uring", &row);
}

static int make_bpf(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_ARRAY,
		.key_size = 4,
		.value_size = 8,
		.max_entries = 1,
	};
	struct json_object *row = NULL;

	return expect(facts, (int)syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr)), "bpf",
		      &row);
}

static int make_pty(struct mkproc *proc, const char *argument, struct json_object *facts)
{
	int controller = posix_openpt(O_RDWR | O_NOCTTY);
	struct json_object *row = NULL;
	int r;

	if (controller < 0 || grantpt(controller) < 0 || unlockpt(controller) < 0)
		return -errno;

	r = expect(facts, open(ptsname(controller), O_RDWR | O_NOCTTY), "tty", &row);
	if (r < 0)
		return r;

	return expect(facts, controller, "tty", &row);
}

const struct mkproc_factory mkproc_fds[] = {
	{ "file", "a file, appending, somewhere inside", make_file },
	{ "deleted", "a file that is gone", make_deleted },
	{ "called-deleted", "a file that is there, called \"… (deleted)\"", make_called_deleted },
	{ "odd-name", "a file whose name is not UTF-8", make_odd_name },
	{ "o-path", "a file, O_PATH", make_o_path },
	{ "dir", "directories", make_dir },
	{ "null", "/dev/null", make_null },
	{ "pipe", "a pipe", make_pipe },
	{ "fifo", "a named pipe", make_fifo },
	{ "tcp4", "TCP: listening, connected, accepted", make_tcp4 },
	{ "tcp6", "the same on IPv6", make_tcp6, .optional = true },
	{ "udp", "UDP, bound", make_udp },
	{ "udp6", "UDP on IPv6, bound", make_udp6, .optional = true },
	{ "unix-path", "a Unix socket with a path, listening", make_unix_path },
	{ "unix-abstract", "one with an abstract name", make_unix_abstract },
	{ "unix-pair", "a pair of them", make_unix_pair },
	{ "netlink", "a netlink socket", make_netlink },
	{ "eventfd", "an eventfd", make_eventfd },
	{ "epoll", "an epoll that watches an eventfd", make_epoll },
	{ "timerfd", "a timerfd, armed", make_timerfd },
	{ "signalfd", "a signalfd", make_signalfd },
	{ "inotify", "an inotify with a watch", make_inotify },
	{ "memfd", "a memfd with data", make_memfd },
	{ "pidfd", "a pidfd of the parent", make_pidfd },
	{ "io_uring", "an io_uring", make_io_uring, .optional = true },
	{ "bpf", "a bpf map", make_bpf, .optional = true },
	{ "pty", "both ends of a pseudo terminal", make_pty },
	{},
};
