/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/server-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "format/cleanup.h"
#include "format/store.h"
#include "fs/chores.h"
#include "fs/desk.h"
#include "fs/options.h"
#include "fs/terminal.h"
#include "fs/tree.h"

#define SERVER_OPEN_MAX 4096U /* directories of checkpoints */
#define SERVER_NAME "sandckpt-server"

__attribute__((format(printf, 2, 0))) static void server_log(enum fuse_log_level level,
							     const char *format, va_list ap)
{
	vsyslog((int)level, format, ap); /* libfuse's levels are syslog's */
}

/* A comma or a backslash in @value would end it. */
static int server_escape(const char *value, char **ret)
{
	char *escaped = malloc(2 * strlen(value) + 1), *p = escaped;

	if (!escaped)
		return -ENOMEM;
	for (; *value; value++) {
		if (*value == ',' || *value == '\\')
			*p++ = '\\';
		*p++ = *value;
	}
	*p = '\0';
	*ret = escaped;
	return 0;
}

/* The source is named as it was given, or mount -a would mount it once more. */
static int server_mount_options(const struct ckfs_options *options, char **ret)
{
	cleanup_free char *source = NULL;
	int r;

	r = server_escape(options->spec, &source);
	if (r < 0)
		return r;
	if (asprintf(ret, "-ofsname=%s,subtype=sandckpt,default_permissions%s%s%s%s%s%s", source,
		     options->allow_other ? ",allow_other" : "",
		     options->auto_unmount ? ",auto_unmount" : "", options->read_only ? ",ro" : "",
		     options->debug ? ",debug" : "", options->passed ? "," : "",
		     options->passed ?: "") < 0)
		return -ENOMEM;
	return 0;
}

/* The end of a pipe that nobody reads: poll() says POLLERR of it. */
static int server_open_dead(int *ret)
{
	int fds[2];

	*ret = -EBADF;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	close_fd(fds[0]);
	*ret = fds[1];
	return 0;
}

/**
 * ckfs_server_new() - prepare a FUSE session
 * @params: copied; what it points to must outlive the server
 * @ret: ckfs_server_free() frees it
 *
 * Return: 0; -ENOMEM; -EINVAL when libfuse does not take the options, it says why.
 */
int ckfs_server_new(const struct ckfs_server_params *params, struct ckfs_server **ret)
{
	char name[] = "mount.sandckpt";
	char *argv[] = { name, NULL, NULL };
	struct fuse_args args = { .argc = 2, .argv = argv };
	struct ckfs_server *server;
	char *options = NULL;
	int r;

	server = calloc(1, sizeof(*server));
	if (!server)
		return -ENOMEM;
	server->params = *params;
	fuse_set_log_func(server_log);

	r = server_open_dead(&server->dead_fd);
	r = r < 0 ? r : server_mount_options(params->options, &options);
	if (r < 0) {
		ckfs_server_free(server);
		return r;
	}
	argv[1] = options;
	server->session = fuse_session_new(&args, &ckfs_ops, sizeof(ckfs_ops), server);
	fuse_opt_free_args(&args); /* libfuse's copies, if it made some */
	free(options);
	if (!server->session) {
		ckfs_server_free(server);
		return -EINVAL;
	}

	*ret = server;
	return 0;
}

/* Mounts it; libfuse says why not. Return: 0; a negative errno, -EIO when it is unknown. */
int ckfs_server_mount(struct ckfs_server *server, const char *dir)
{
	errno = 0;
	if (fuse_session_mount(server->session, dir) == 0)
		return 0;
	return errno ? -errno : -EIO;
}

/*
 * The process that runs the server alone may hold the connection: then its death, whatever the
 * cause, ends the connection, and nobody hangs. In the other one libfuse is to forget the mount
 * without unmounting it, which it does when poll() says POLLERR of its descriptor: so it is given
 * a pipe that nobody reads, which was made before, since then nothing here can fail.
 */
void ckfs_server_let_go(struct ckfs_server *server)
{
	int r;

	do
		r = dup3(server->dead_fd, fuse_session_fd(server->session), O_CLOEXEC);
	while (r < 0 && (errno == EINTR || errno == EBUSY));
	fuse_session_unmount(server->session);
}

struct ckfs_server *ckfs_server_free(struct ckfs_server *server)
{
	if (!server)
		return NULL;
	if (server->session)
		fuse_session_destroy(server->session);
	close_fd(server->dead_fd);
	free(server);
	return NULL;
}

static int server_compare_ints(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Keeps stdio and what it serves from; the rest is the broker's. */
static void server_close_rest(struct ckfs_server *server, int bus_fd)
{
	int keep[] = { STDERR_FILENO, ckpt_store_fd(server->params.store), bus_fd,
		       fuse_session_fd(server->session) };
	size_t n = sizeof(keep) / sizeof(keep[0]);

	closelog(); /* or it would write to whatever has its number next */
	qsort(keep, n, sizeof(keep[0]), server_compare_ints);
	for (size_t i = 0; i < n; i++) {
		unsigned last = i + 1 < n ? (unsigned)keep[i + 1] - 1 : ~0U;

		if ((unsigned)keep[i] + 1 <= last)
			(void)close_range((unsigned)keep[i] + 1, last, 0);
	}
	ckfs_terminal_keep();
}

/* Ctrl-C and a hangup are the broker's to decide on; a TERM ends us, and the mount with us. */
static void server_set_signals(void)
{
	sigset_t none;

	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Files of a store belong to its owner: nothing needs to be done as anybody else. */
static int server_become_owner(struct ckfs_server *server)
{
	uid_t uid = ckpt_store_owner(server->params.store);
	gid_t gid = ckpt_store_group(server->params.store);

	if (geteuid() != 0 || uid == 0)
		return 0;
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return -errno;
	return 0;
}

/* Of the descriptors, of which the broker raised the number, half are for open files. */
static size_t server_max_open(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return SERVER_OPEN_MAX / 16;
	return files.rlim_cur / 2 < SERVER_OPEN_MAX ? files.rlim_cur / 2 : SERVER_OPEN_MAX;
}

/* Starts a thread that nobody waits for. Return: 0; -EAGAIN. */
int ckfs_server_start_thread(void *(*work)(void *data), void *data)
{
	pthread_t thread;
	int r;

	r = pthread_create(&thread, NULL, work, data);
	if (r > 0)
		return -r;
	pthread_detach(thread);
	return 0;
}

static int server_start(struct ckfs_server *server, int bus_fd)
{
	const struct ckfs_tree_params tree = {
		.store = server->params.store,
		.uid = server->params.uid,
		.gid = server->params.gid,
		.allow_other = server->params.options->allow_other,
		.max_open = server_max_open(),
	};
	int r;

	r = ckfs_tree_new(&tree, &server->tree);
	if (r < 0)
		return r;
	r = ckfs_desk_new(server->params.options->spec, bus_fd, &server->desk);
	if (r < 0)
		return r;

	r = ckfs_chores_new(server, &server->chores);
	if (r < 0)
		return r;
	/* What a crash left behind has no other chance until the next removal. */
	if (!server->params.options->read_only)
		ckfs_chores_sweep(server->chores);
	return 0;
}

static int server_loop(struct ckfs_server *server)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int r;

	if (!config)
		return -ENOMEM;
	fuse_loop_cfg_set_clone_fd(config, 0);
	fuse_loop_cfg_set_max_threads(config, (unsigned)server->params.options->max_threads);
	r = fuse_session_loop_mt(server->session, config);
	fuse_loop_cfg_destroy(config);

	return r > 0 ? -r : r;
}

/**
 * ckfs_server_run() - be the server, until it is unmounted
 * @bus_fd: to the broker
 *
 * For a process of its own, forked after ckfs_server_mount(); it ends with _exit(), since threads
 * of ours still run.
 *
 * Return: 0; a negative errno.
 */
int ckfs_server_run(struct ckfs_server *server, int bus_fd)
{
	int r;

	(void)prctl(PR_SET_NAME, SERVER_NAME);
	server_close_rest(server, bus_fd);
	server_set_signals();
	umask(077);

	r = server_become_owner(server);
	if (r == 0)
		r = server_start(server, bus_fd);
	if (r == 0)
		r = server_loop(server);
	if (r < 0)
		syslog(LOG_ERR, "the server of \"%s\" fails: %s", server->params.options->spec,
		       strerror(-r));
	return r;
}
