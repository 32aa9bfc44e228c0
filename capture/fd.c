/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/out.h"
#include "capture/proc.h"
#include "capture/target.h"
#include "format/checkpoint.h"
#include "format/cleanup.h"
#include "format/sink.h"

#define FDINFO_MAX (4U << 20) /* an inotify or epoll has a line a watch */
#define MOUNTINFO_MAX (16U << 20)
#define DELETED " (deleted)"

static bool has_prefix(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool ends_deleted(const char *path)
{
	size_t len = strlen(path), n = strlen(DELETED);

	return len > n && strcmp(path + len - n, DELETED) == 0;
}

static bool has_kind(const struct capture_fd_facts *facts, mode_t kind)
{
	return facts->have_stat && (facts->stat.stx_mode & S_IFMT) == kind;
}

/* anon_inode:[eventpoll], and anon_inode:inotify without brackets: the kernel is not of one mind. */
static bool is_anon(const struct capture_fd_facts *facts, const char *name)
{
	const char *p = facts->path;

	if (!has_prefix(p, "anon_inode:"))
		return false;
	p += strlen("anon_inode:");
	return has_prefix(p + (*p == '['), name);
}

#define ANON_PROBE(type, name)                                                                     \
	static bool probe_##type(const struct capture_fd_facts *facts)                             \
	{                                                                                          \
		return is_anon(facts, name);                                                       \
	}

ANON_PROBE(eventfd, "eventfd")
ANON_PROBE(epoll, "eventpoll")
ANON_PROBE(timerfd, "timerfd")
ANON_PROBE(signalfd, "signalfd")
ANON_PROBE(inotify, "inotify")
ANON_PROBE(io_uring, "io_uring")

static bool probe_pidfd(const struct capture_fd_facts *facts)
{
	return is_anon(facts, "pidfd") || has_prefix(facts->path, "pidfd:");
}

static bool probe_bpf(const struct capture_fd_facts *facts)
{
	return is_anon(facts, "bpf") || is_anon(facts, "btf");
}

static bool probe_memfd(const struct capture_fd_facts *facts)
{
	return has_prefix(facts->path, "/memfd:") && ends_deleted(facts->path) &&
	       has_kind(facts, S_IFREG);
}

static bool probe_tty(const struct capture_fd_facts *facts)
{
	unsigned major = facts->stat.stx_rdev_major;

	/* Documentation/admin-guide/devices.txt: consoles and serial lines, /dev/tty, pty, USB. */
	return has_kind(facts, S_IFCHR) &&
	       (major == 4 || major == 5 || (major >= 128 && major <= 143) || major == 166 ||
		major == 188 || major == 204);
}

static bool probe_pipe(const struct capture_fd_facts *facts)
{
	return has_prefix(facts->path, "pipe:[") || has_kind(facts, S_IFIFO);
}

static bool probe_dir(const struct capture_fd_facts *facts)
{
	return has_kind(facts, S_IFDIR);
}

static bool probe_file(const struct capture_fd_facts *facts)
{
	return has_kind(facts, S_IFREG) && facts->path[0] == '/';
}

static bool probe_other(const struct capture_fd_facts *facts)
{
	(void)facts;
	return true;
}

static const struct capture_fd_class class_eventfd = { "eventfd", probe_eventfd, NULL };
static const struct capture_fd_class class_epoll = { "epoll", probe_epoll, NULL };
static const struct capture_fd_class class_timerfd = { "timerfd", probe_timerfd, NULL };
static const struct capture_fd_class class_signalfd = { "signalfd", probe_signalfd, NULL };
static const struct capture_fd_class class_inotify = { "inotify", probe_inotify, NULL };
static const struct capture_fd_class class_io_uring = { "io_uring", probe_io_uring, NULL };
static const struct capture_fd_class class_pidfd = { "pidfd", probe_pidfd, NULL };
static const struct capture_fd_class class_bpf = { "bpf", probe_bpf, NULL };
static const struct capture_fd_class class_memfd = { "memfd", probe_memfd, NULL };
static const struct capture_fd_class class_tty = { "tty", probe_tty, NULL };
static const struct capture_fd_class class_pipe = { "pipe", probe_pipe, NULL };
static const struct capture_fd_class class_dir = { "dir", probe_dir, NULL };
static const struct capture_fd_class class_file = { "file", probe_file, NULL };
static const struct capture_fd_class class_other = { "other", probe_other, NULL };

/* The first that says yes; the last one takes what is left. */
static const struct capture_fd_class *const classes[] = {
	&capture_fd_socket, &class_eventfd,  &class_epoll, &class_timerfd, &class_signalfd,
	&class_inotify,	    &class_io_uring, &class_pidfd, &class_bpf,	   &class_memfd,
	&class_tty,	    &class_pipe,     &class_dir,   &class_file,	   &class_other,
};

static const struct capture_fd_class *classify(const struct capture_fd_facts *facts)
{
	size_t i = 0;

	while (!classes[i]->probe(facts))
		i++;

	return classes[i];
}

/* "key:\tvalue" lines; pos and flags have fields of their own. Cuts @text up. */
static int parse_fdinfo(char *text, struct ckpt_fd *fd)
{
	for (char *line = text, *next; line && *line; line = next) {
		char *value = strchr(line, ':');
		int r;

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		if (!value || (next && value >= next))
			continue;

		*value++ = '\0';
		value += strspn(value, " \t");
		if (strcmp(line, "pos") == 0) {
			fd->offset = strtoull(value, NULL, 10);
			continue;
		}
		if (strcmp(line, "flags") == 0) {
			fd->flags = (int32_t)strtoul(value, NULL, 8);
			continue;
		}
		r = ckpt_fd_add_fdinfo(fd, line, value);
		if (r < 0)
			return r;
	}

	return 0;
}

static int omit(struct capture_out *out, int number, const char *call, int err)
{
	char what[32];

	(void)snprintf(what, sizeof(what), "fd/%d", number);
	return capture_out_omitted(out, what, call, err);
}

static int read_fdinfo(const struct capture_view *view, struct capture_out *out, struct ckpt_fd *fd)
{
	cleanup_free char *text = NULL;
	char path[32];
	size_t len;
	int r;

	(void)snprintf(path, sizeof(path), "fdinfo/%d", fd->fd);
	r = capture_proc_read(view->proc_fd, path, FDINFO_MAX, &text, &len);
	if (r < 0)
		return omit(out, fd->fd, "fdinfo", r);

	r = capture_out_procfile(out, path, text, len);
	if (r < 0)
		return r;

	return parse_fdinfo(text, fd);
}

/* Never opened: behind the link may be a file whose server is the stopped process. */
static int read_stat(const struct capture_view *view, struct capture_out *out,
		     struct capture_fd_facts *facts, struct ckpt_fd *fd)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "fd/%d", facts->fd);
	if (statx(view->proc_fd, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_BASIC_STATS,
		  &facts->stat) < 0)
		return omit(out, facts->fd, "statx", -errno);

	facts->have_stat = true;
	fd->inode = facts->stat.stx_ino;
	fd->mode = facts->stat.stx_mode;
	return 0;
}

/* Filesystems that answer by themselves; with a disk below it has a device number of its own. */
static const char *const plain_filesystems[] = { "tmpfs", "overlay", "btrfs", "zfs" };

/* The line of /proc/PID/mountinfo that starts with @mnt_id. Source: proc_pid_mountinfo(5). */
static bool is_plain_mount(const char *mountinfo, const char *mnt_id)
{
	const char *line, *type;
	size_t len = strlen(mnt_id);

	for (line = mountinfo; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, mnt_id, len) == 0 && line[len] == ' ')
			break;
	}
	type = line ? strstr(line, " - ") : NULL;
	if (!type)
		return false;

	type += strlen(" - ");
	for (size_t i = 0; i < sizeof(plain_filesystems) / sizeof(plain_filesystems[0]); i++) {
		len = strlen(plain_filesystems[i]);
		if (strncmp(type, plain_filesystems[i], len) == 0 && type[len] == ' ')
			return true;
	}
	return false;
}

/* A walk through a FUSE or network filesystem could wait for the very process that is stopped. */
static bool may_walk(const struct capture_view *view, const struct capture_fd_facts *facts,
		     const struct ckpt_fd *fd)
{
	cleanup_free char *mountinfo = NULL;
	size_t len;

	if (facts->stat.stx_dev_major != 0)
		return true;
	for (size_t i = 0; i < fd->n_fdinfo; i++)
		if (strcmp(fd->fdinfo[i].key, "mnt_id") == 0)
			return capture_proc_read(view->proc_fd, "mountinfo", MOUNTINFO_MAX,
						 &mountinfo, &len) == 0 &&
			       is_plain_mount(mountinfo, fd->fdinfo[i].value);

	return false;
}

/*
 * The kernel's " (deleted)" may be the end of a real name, and a deleted file can have other links:
 * then it is asked whether the path leads to it.
 */
static bool is_deleted(const struct capture_view *view, const struct capture_fd_facts *facts,
		       const struct ckpt_fd *fd)
{
	char path[PATH_MAX];
	struct statx there;
	int n;

	if (!ends_deleted(facts->path))
		return false;
	if (!facts->have_stat || facts->stat.stx_nlink == 0 || !may_walk(view, facts, fd))
		return true;

	n = snprintf(path, sizeof(path), "root%s", facts->path);
	if (n >= (int)sizeof(path) ||
	    statx(view->proc_fd, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW,
		  STATX_INO, &there) < 0)
		return true;
	return there.stx_ino != facts->stat.stx_ino ||
	       there.stx_dev_major != facts->stat.stx_dev_major ||
	       there.stx_dev_minor != facts->stat.stx_dev_minor;
}

/* Fills @fd. Return: 0, whatever could not be had; -ENOMEM; what the sink returned. */
static int read_one(const struct capture_view *view, struct capture_out *out, struct ckpt_fd *fd)
{
	struct capture_fd_facts facts = { .fd = fd->fd };
	const struct capture_fd_class *class;
	const char *call = NULL;
	char path[32];
	int r;

	(void)snprintf(path, sizeof(path), "fd/%d", fd->fd);
	r = capture_proc_readlink(view->proc_fd, path, &fd->path);
	if (r < 0) {
		r = omit(out, fd->fd, "readlink", r);
		if (r == 0)
			r = ckpt_strdup("", &fd->path);
		if (r < 0)
			return r;
	}
	facts.path = fd->path;

	r = read_fdinfo(view, out, fd);
	if (r == 0)
		r = read_stat(view, out, &facts, fd);
	if (r < 0)
		return r;
	fd->deleted = is_deleted(view, &facts, fd);

	class = classify(&facts);
	r = ckpt_strdup(class->type, &fd->type);
	if (r < 0 || !class->read)
		return r;

	r = class->read(view, &facts, fd, &call);
	return r < 0 ? omit(out, fd->fd, call, r) : 0;
}

static int compare_int(const void *a, const void *b)
{
	const int *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static int list_fds(const struct capture_view *view, int **ret, size_t *ret_n)
{
	cleanup_free int *fds = NULL;
	cleanup_dir DIR *dir = NULL;
	size_t n = 0, size = 0;
	struct dirent *entry;
	int fd;

	fd = openat(view->proc_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir) {
		(void)close_fd(fd);
		return -ENOMEM;
	}

	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		if (n >= CKPT_FDS_MAX)
			return -E2BIG;
		if (n == size) {
			int *bigger = reallocarray(fds, size ? size * 2 : 64, sizeof(*fds));

			if (!bigger)
				return -ENOMEM;
			fds = bigger;
			size = size ? size * 2 : 64;
		}
		fds[n++] = atoi(entry->d_name);
	}

	if (n > 0)
		qsort(fds, n, sizeof(*fds), compare_int);
	*ret = steal_pointer(fds);
	*ret_n = n;
	return 0;
}

/**
 * capture_fds_read() - hand over all open files of a stopped process, ascending
 *
 * What cannot be had of one is a row of what was omitted.
 *
 * Return: 0; -E2BIG above CKPT_FDS_MAX; -ENOMEM; what the sink returned.
 */
int capture_fds_read(const struct capture_view *view, struct capture_out *out)
{
	cleanup_free int *fds = NULL;
	size_t n = 0;
	int r;

	r = list_fds(view, &fds, &n);
	if (r == -E2BIG || r == -ENOMEM)
		return r;
	if (r < 0)
		return capture_out_omitted(out, "fd", "openat", r);

	for (size_t i = 0; i < n && r >= 0; i++) {
		struct ckpt_fd fd = { .fd = fds[i] };

		r = read_one(view, out, &fd);
		if (r >= 0)
			r = ckpt_sink_fd(out->sink, &fd);
		ckpt_fd_done(&fd);
	}

	return r;
}
