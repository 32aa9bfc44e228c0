/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "format/cleanup.h"
#include "format/fdio.h"
#include "format/store.h"
#include "fs/broker.h"
#include "fs/mounts.h"
#include "fs/options.h"
#include "fs/terminal.h"
#include "fs/tree.h"

#define MOUNT_PROGRAM "mount.sandckpt"

__attribute__((format(printf, 2, 3))) static int mount_fail(enum ckfs_exit code, const char *format,
							    ...)
{
	va_list ap;

	fputs(MOUNT_PROGRAM ": ", stderr);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	return (int)code;
}

static bool mount_is_denied(int r)
{
	return r == -EACCES || r == -EPERM;
}

/* -N: a PID, or a path, as mount(8) takes it. */
static int mount_enter_namespace(const char *ns)
{
	cleanup_fd int fd = -EBADF;
	char path[64];

	if (strspn(ns, "0123456789") == strlen(ns)) {
		snprintf(path, sizeof(path), "/proc/%.20s/ns/mnt", ns);
		ns = path;
	}
	fd = open(ns, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return setns(fd, CLONE_NEWNS) < 0 ? -errno : 0;
}

/* The path of a mount point whose mount is dead cannot be walked to its end. */
static int mount_resolve_parent(const char *dir, char ret[PATH_MAX])
{
	cleanup_free char *copy = strdup(dir), *parent = NULL;
	char *slash, *base;
	int n;

	if (!copy)
		return -ENOMEM;
	for (slash = copy + strlen(copy); slash > copy + 1 && slash[-1] == '/';)
		*--slash = '\0';
	slash = strrchr(copy, '/');
	base = slash ? slash + 1 : copy;
	if (slash)
		*slash = '\0';
	parent = realpath(slash ? (*copy ? copy : "/") : ".", NULL);
	if (!parent)
		return -errno;

	n = snprintf(ret, PATH_MAX, "%s/%s", strcmp(parent, "/") ? parent : "", base);
	return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* A mount of ours that serves but captures nothing: who is on top of it would never be rid of it. */
static bool mount_has_no_broker(const char *dir)
{
	cleanup_fd int fd = -EBADF;
	struct ckfs_mount mount;
	char path[PATH_MAX + 8], byte;

	if (ckfs_mounts_find(dir, &mount) <= 0 || !mount.ours)
		return false;
	snprintf(path, sizeof(path), "%s/" CKFS_CTL, dir);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	return fd >= 0 && read(fd, &byte, 1) < 0 && errno == EIO;
}

/* Absolute, no links, a directory, nothing dead on it. */
static int mount_resolve(const char *dir, char ret[PATH_MAX])
{
	struct stat st;
	int r;

	if (stat(dir, &st) < 0 && errno == ENOTCONN) {
		r = mount_resolve_parent(dir, ret);
		if (r == 0)
			r = ckfs_mounts_detach_dead(ret);
		if (r < 0)
			return r;
	}
	if (stat(dir, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	if (!realpath(dir, ret))
		return -errno;

	return mount_has_no_broker(ret) ? ckfs_mounts_detach(ret, true) : 0;
}

/* Whether a store could be made. */
static int mount_check_store_parent(const char *spec)
{
	char path[PATH_MAX];
	int r;

	r = mount_resolve_parent(spec, path);
	if (r < 0)
		return r;
	*strrchr(path, '/') = '\0';
	return faccessat(AT_FDCWD, *path ? path : "/", W_OK | X_OK, AT_EACCESS) < 0 ? -errno : 0;
}

/* A store that is about to be made is not there yet, and a check makes none. */
static int mount_open_store(const struct ckfs_options *options, struct ckpt_store **ret)
{
	bool create = !options->fake && !options->read_only;
	int r;

	r = ckpt_store_open(options->spec, create, options->read_only || options->fake, ret);
	if (r != -ENOENT || !options->fake || options->read_only)
		return r;

	*ret = NULL;
	return mount_check_store_parent(options->spec);
}

static int mount_fail_store(const struct ckfs_options *options, int r)
{
	if (r == -EPROTONOSUPPORT)
		return mount_fail(CKFS_EXIT_MOUNT,
				  "\"%s\" is a store of a later version, which we do not know",
				  options->spec);
	if (r == -ENOENT && !options->read_only)
		return mount_fail(CKFS_EXIT_MOUNT,
				  "cannot make the store \"%s\": the directory it would lie in is "
				  "missing",
				  options->spec);
	return mount_fail(mount_is_denied(r) ? CKFS_EXIT_USAGE : CKFS_EXIT_MOUNT,
			  "cannot open the store \"%s\": %s", options->spec, strerror(-r));
}

/* The store would be walked by way of its own mount, which waits for itself. */
static bool mount_is_beneath_store(const char *dir, const char *spec)
{
	cleanup_free char *store = realpath(spec, NULL);
	size_t len = store ? strlen(store) : 0;

	if (len == 1)
		return dir[1];
	return len > 0 && !strncmp(dir, store, len) && dir[len] == '/';
}

static void mount_say_ready(const struct ckfs_options *options, const char *dir)
{
	if (options->verbose)
		printf("%s: \"%s\" is mounted on \"%s\"\n", MOUNT_PROGRAM, options->spec, dir);
	(void)fflush(stdout);
}

static void mount_ready_foreground(void *userdata, const struct ckfs_report *report)
{
	const struct ckfs_broker_params *params = userdata;

	if (report->said[0])
		mount_fail(report->exit, "%s", report->said);
	else
		mount_say_ready(params->options, params->dir);
}

static int mount_run_foreground(struct ckfs_broker_params *params)
{
	params->ready = mount_ready_foreground;
	params->userdata = params;
	return (int)ckfs_broker_run(params);
}

/* Tells the parent, and lets go of the terminal when there is a mount. */
static void mount_ready_daemon(void *userdata, const struct ckfs_report *report)
{
	int *pipe_fd = userdata;

	if (report->exit == CKFS_EXIT_DONE)
		ckfs_terminal_leave();
	(void)ckpt_fd_write(*pipe_fd, report, sizeof(*report));
	*pipe_fd = close_fd(*pipe_fd);
}

static int mount_wait(int pipe_fd, const struct ckfs_broker_params *params)
{
	cleanup_free void *bytes = NULL;
	struct ckfs_report report;
	size_t len = 0;
	int r;

	r = ckpt_fd_slurp(pipe_fd, sizeof(report), &bytes, &len);
	if (r < 0 || len != sizeof(report))
		return mount_fail(CKFS_EXIT_SYSTEM, "mounting \"%s\" ended unexpectedly",
				  params->options->spec);

	memcpy(&report, bytes, sizeof(report));
	if (report.exit != CKFS_EXIT_DONE)
		return mount_fail(report.exit, "%s", report.said);
	mount_say_ready(params->options, params->dir);
	return CKFS_EXIT_DONE;
}

static int mount_run_daemon(struct ckfs_broker_params *params)
{
	cleanup_fd int read_fd = -EBADF, write_fd = -EBADF;
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return mount_fail(CKFS_EXIT_SYSTEM, "cannot make a pipe: %s", strerror(errno));
	read_fd = fds[0];
	write_fd = fds[1];

	pid = fork();
	if (pid < 0)
		return mount_fail(CKFS_EXIT_SYSTEM, "cannot start a process: %s", strerror(errno));
	if (pid > 0) {
		write_fd = close_fd(write_fd);
		return mount_wait(read_fd, params);
	}

	read_fd = close_fd(read_fd);
	(void)setsid();
	(void)!chdir("/");
	params->ready = mount_ready_daemon;
	params->userdata = &write_fd;
	return (int)ckfs_broker_run(params);
}

static int mount_run(const struct ckfs_options *options, const struct ckpt_job_ops *ops)
{
	cleanup_store struct ckpt_store *store = NULL;
	struct ckfs_broker_params params = { .options = options, .ops = ops };
	char dir[PATH_MAX];
	int r;

	r = options->mount_ns ? mount_enter_namespace(options->mount_ns) : 0;
	if (r < 0)
		return mount_fail(mount_is_denied(r) ? CKFS_EXIT_USAGE : CKFS_EXIT_SYSTEM,
				  "cannot enter the mount namespace \"%s\": %s", options->mount_ns,
				  strerror(-r));
	r = mount_resolve(options->dir, dir);
	if (r < 0)
		return mount_fail(mount_is_denied(r) ? CKFS_EXIT_USAGE : CKFS_EXIT_MOUNT,
				  "cannot mount on \"%s\": %s", options->dir, strerror(-r));
	r = mount_open_store(options, &store);
	if (r < 0)
		return mount_fail_store(options, r);
	if (mount_is_beneath_store(dir, options->spec))
		return mount_fail(CKFS_EXIT_USAGE,
				  "cannot mount \"%s\" on \"%s\": it lies in the store itself",
				  options->spec, options->dir);
	if (options->fake)
		return CKFS_EXIT_DONE;

	params.store = store;
	params.dir = dir;
	return options->foreground ? mount_run_foreground(&params) : mount_run_daemon(&params);
}

/**
 * ckfs_mount_main() - the program, but for what can capture
 * @ops: the engine
 *
 * Return: the exit code, of mount(8).
 */
int ckfs_mount_main(int argc, char **argv, const struct ckpt_job_ops *ops)
{
	cleanup_options struct ckfs_options options = {};
	int r;

	r = ckfs_options_parse(argc, argv, &options);
	if (r < 0)
		return mount_fail(CKFS_EXIT_USAGE, "%s; try --help", options.said);
	if (options.help) {
		ckfs_options_help(stdout);
		return CKFS_EXIT_DONE;
	}
	if (options.version) {
		puts("sandckpt " SANDCKPT_VERSION);
		return CKFS_EXIT_DONE;
	}

	/* Who waits for the end of a pipe that we inherited must not wait for the mount's. */
	(void)close_range(STDERR_FILENO + 1, ~0U, 0);
	ckfs_terminal_keep();
	(void)setlogmask(LOG_UPTO(options.debug ? LOG_DEBUG : LOG_INFO));
	return mount_run(&options, ops);
}
