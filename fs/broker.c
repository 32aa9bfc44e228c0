/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/broker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "format/cleanup.h"
#include "format/store.h"
#include "fs/bus.h"
#include "fs/captures.h"
#include "fs/mounts.h"
#include "fs/options.h"
#include "fs/server.h"

#define BROKER_NAME "mount.sandckpt"
#define BROKER_CANCEL_MS 10000 /* for captures to clean up behind them */
#define BROKER_LEAVE_MS 300    /* for answers to arrive, before what is in use is forced */
#define BROKER_SERVER_MS 1000  /* for the server to see that it is unmounted */
#define BROKER_KILL_MS 1000    /* for it to die */
#define BROKER_RETRY_MS 20

struct broker {
	const struct ckfs_broker_params *params;
	struct ckfs_server *server;
	struct ckfs_captures *captures;
	struct ckfs_mount mount;
	bool mounted;	    /* and mount is known */
	bool ready;	    /* the parent was told */
	bool stopping;	    /* until no capture runs */
	bool asked;	    /* to stop, by a signal */
	bool server_ending; /* it has closed the bus */
	bool server_gone;
	bool server_well; /* and it went because it was unmounted */
	long long stop_by_ms;
	pid_t server_pid;
	int server_pidfd, bus_fd, signal_fd, epoll_fd;
};

static long long broker_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

__attribute__((format(printf, 3, 4))) static enum ckfs_exit
broker_report(struct broker *broker, enum ckfs_exit code, const char *format, ...)
{
	struct ckfs_report report = { .exit = (int)code };
	va_list ap;

	if (broker->ready)
		return code;
	broker->ready = true;
	va_start(ap, format);
	vsnprintf(report.said, sizeof(report.said), format, ap);
	va_end(ap);
	broker->params->ready(broker->params->userdata, &report);
	return code;
}

static void broker_stop(struct broker *broker)
{
	if (broker->stopping)
		return;
	broker->stopping = true;
	broker->stop_by_ms = broker_now_ms() + BROKER_CANCEL_MS;
	ckfs_captures_cancel(broker->captures);
}

/*
 * Without answers its writers would wait for ever: a server that takes none is ended. One that is
 * too long is the trouble of whoever asked for it.
 */
static void broker_send(struct broker *broker, uint64_t id, int error, const char *text, size_t len)
{
	int r = ckfs_bus_answer(broker->bus_fd, id, error, text, len);

	if (r == -EMSGSIZE)
		r = ckfs_bus_answer(broker->bus_fd, id, EMSGSIZE, "", 0);
	if (r == 0)
		return;
	if (r != -EPIPE && r != -ECONNRESET)
		syslog(LOG_ERR, "the server of \"%s\" takes no answer: %s",
		       broker->params->options->spec, strerror(-r));
	broker_stop(broker);
}

static void broker_answer(void *userdata, uint64_t id, int error, const char *name)
{
	broker_send(userdata, id, error, name, strlen(name));
}

static void broker_on_ready(struct broker *broker, const struct ckfs_ask *ask)
{
	if (broker->ready)
		return;
	if (broker->mounted)
		ckfs_mounts_read_ahead(&broker->mount);
	broker_report(broker, CKFS_EXIT_DONE, "%s", "");
}

static void broker_on_command(struct broker *broker, const struct ckfs_ask *ask)
{
	if (broker->stopping)
		broker_send(broker, ask->id, EIO, "", 0);
	else
		ckfs_captures_command(broker->captures, ask);
}

static void broker_on_interrupt(struct broker *broker, const struct ckfs_ask *ask)
{
	ckfs_captures_interrupt(broker->captures, ask->id);
}

static void broker_on_state(struct broker *broker, const struct ckfs_ask *ask)
{
	cleanup_free char *text = NULL;
	size_t len = 0;
	int r;

	r = ckfs_captures_print(broker->captures, ask->uid, &text, &len);
	broker_send(broker, ask->id, -r, text, r < 0 ? 0 : len);
}

/* Of CKPT_NAME_SIZE bytes and more there is none. */
static void broker_on_name(struct broker *broker, const struct ckfs_ask *ask)
{
	char name[CKPT_NAME_SIZE] = "";

	if (ask->len < sizeof(name))
		memcpy(name, ask->text, ask->len);
	broker_send(broker, ask->id, ckfs_captures_reserve(broker->captures, name) ? EEXIST : 0, "",
		    0);
}

/* Not lazily: who has his working directory there is not seen by the server, but by umount. */
static void broker_on_idle(struct broker *broker, const struct ckfs_ask *ask)
{
	if (broker->mounted && ckfs_captures_running(broker->captures) == 0)
		(void)ckfs_mounts_leave(&broker->mount, CKFS_LEAVE_UNUSED);
}

static void (*const broker_on_ask[_CKFS_ASK_MAX])(struct broker *broker,
						  const struct ckfs_ask *ask) = {
	[CKFS_ASK_READY] = broker_on_ready,	    [CKFS_ASK_COMMAND] = broker_on_command,
	[CKFS_ASK_INTERRUPT] = broker_on_interrupt, [CKFS_ASK_STATE] = broker_on_state,
	[CKFS_ASK_IDLE] = broker_on_idle,	    [CKFS_ASK_NAME] = broker_on_name,
};

static void broker_on_bus(struct broker *broker)
{
	struct ckfs_ask ask = {};
	int r;

	r = ckfs_bus_take_ask(broker->bus_fd, &ask);
	if (r > 0) {
		broker_on_ask[ask.kind](broker, &ask);
		return;
	}
	if (r == -EAGAIN)
		return;
	if (r < 0)
		syslog(LOG_ERR, "the server of \"%s\" is not understood: %s",
		       broker->params->options->spec, strerror(-r));
	/* Its end is told by its pidfd; there is nothing more to be read here. */
	broker->server_ending = true;
	(void)epoll_ctl(broker->epoll_fd, EPOLL_CTL_DEL, broker->bus_fd, NULL);
	broker_stop(broker);
}

static void broker_on_server(struct broker *broker)
{
	int status = 0;

	if (waitpid(broker->server_pid, &status, WNOHANG) != broker->server_pid)
		return;
	broker->server_gone = true;
	broker->server_well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
	(void)epoll_ctl(broker->epoll_fd, EPOLL_CTL_DEL, broker->server_pidfd, NULL);
	if (!broker->server_well)
		syslog(LOG_ERR, "the server of \"%s\" ended: %s %d", broker->params->options->spec,
		       WIFSIGNALED(status) ? "signal" : "status",
		       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	broker_stop(broker);
}

static void broker_on_signal(struct broker *broker)
{
	struct signalfd_siginfo info;

	if (read(broker->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	/* HUP means look again, and every look at the store is a new one. */
	if (info.ssi_signo != SIGTERM && info.ssi_signo != SIGINT)
		return;
	broker->asked = true;
	broker_stop(broker);
}

static void broker_on_captures(struct broker *broker)
{
	ckfs_captures_step(broker->captures);
}

static int broker_timeout(const struct broker *broker)
{
	int timeout = ckfs_captures_timeout(broker->captures);
	long long left;

	if (!broker->stopping)
		return timeout;
	left = broker->stop_by_ms - broker_now_ms();
	left = left < 0 ? 0 : left;
	return timeout < 0 || left < timeout ? (int)left : timeout;
}

/* How the server ended says whether there is anything left to unmount: that is waited for. */
static bool broker_is_done(const struct broker *broker)
{
	if (!broker->stopping)
		return false;
	if (broker_now_ms() >= broker->stop_by_ms)
		return true;
	return ckfs_captures_running(broker->captures) == 0 &&
	       (!broker->server_ending || broker->server_gone);
}

static void broker_loop(struct broker *broker)
{
	while (!broker_is_done(broker)) {
		struct epoll_event event;
		void (*on_event)(struct broker * broker);
		int n = epoll_wait(broker->epoll_fd, &event, 1, broker_timeout(broker));

		if (n == 0)
			ckfs_captures_step(broker->captures);
		if (n <= 0)
			continue;
		on_event = event.data.ptr;
		on_event(broker);
	}
}

static int broker_watch(struct broker *broker, int fd, void (*on_event)(struct broker *broker))
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = on_event };

	return epoll_ctl(broker->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* From here on signals come as reads; the server and the writers set their own. */
static int broker_take_signals(struct broker *broker)
{
	sigset_t taken;

	sigemptyset(&taken);
	sigaddset(&taken, SIGTERM);
	sigaddset(&taken, SIGINT);
	sigaddset(&taken, SIGHUP);
	sigaddset(&taken, SIGPIPE);
	if (sigprocmask(SIG_BLOCK, &taken, NULL) < 0)
		return -errno;
	broker->signal_fd = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
	return broker->signal_fd < 0 ? -errno : 0;
}

/* For as many captures as were asked for, and for the server, which inherits it. */
static void broker_raise_files(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return;
	files.rlim_cur = files.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &files);
}

static int broker_fork_server(struct broker *broker)
{
	int bus[2];
	int r;

	r = ckfs_bus_new(bus);
	if (r < 0)
		return r;

	broker->server_pid = fork();
	if (broker->server_pid == 0)
		_exit(ckfs_server_run(broker->server, bus[1]) < 0 ? 1 : 0);
	close_fd(bus[1]);
	broker->bus_fd = bus[0];
	if (broker->server_pid < 0)
		return -errno;

	broker->server_pidfd = pidfd_open(broker->server_pid, 0);
	return broker->server_pidfd < 0 ? -errno : 0;
}

static int broker_start(struct broker *broker)
{
	const struct ckfs_captures_params captures = {
		.options = broker->params->options,
		.store = broker->params->store,
		.ops = broker->params->ops,
		.server = broker->server_pid,
		.answer = broker_answer,
		.userdata = broker,
	};
	int r;

	r = ckfs_captures_new(&captures, &broker->captures);
	if (r < 0)
		return r;
	broker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (broker->epoll_fd < 0)
		return -errno;

	r = broker_watch(broker, broker->signal_fd, broker_on_signal);
	r = r < 0 ? r : broker_watch(broker, broker->bus_fd, broker_on_bus);
	r = r < 0 ? r : broker_watch(broker, broker->server_pidfd, broker_on_server);
	return r < 0 ? r
		     : broker_watch(broker, ckfs_captures_fd(broker->captures), broker_on_captures);
}

/* Return: whether the server is gone. It may be waited for in vain: a thread of it in a dead disk. */
static bool broker_wait_server(struct broker *broker, int timeout_ms)
{
	struct pollfd end = { .fd = broker->server_pidfd, .events = POLLIN };

	if (broker->server_gone)
		return true;
	(void)poll(&end, 1, timeout_ms);
	broker->server_gone = waitpid(broker->server_pid, NULL, WNOHANG) != 0;
	return broker->server_gone;
}

/*
 * Somebody may have unmounted it, and mounted another one in its place, which can even have the
 * device number that ours had: without a server ours is a dead one, and with it nobody else has
 * its number.
 */
static int broker_unmount(struct broker *broker)
{
	long long until = broker_now_ms() + BROKER_LEAVE_MS;
	int r;

	if (!broker->mounted)
		return 0;
	if (broker->server_gone)
		return ckfs_mounts_leave(&broker->mount, CKFS_LEAVE_DEAD);

	do
		r = ckfs_mounts_leave(&broker->mount, CKFS_LEAVE_UNUSED);
	while (r == -EBUSY && !broker_wait_server(broker, BROKER_RETRY_MS) &&
	       broker_now_ms() < until);
	if (r == 0)
		return 0;

	if (broker->server_gone)
		return ckfs_mounts_leave(&broker->mount, CKFS_LEAVE_DEAD);
	ckfs_mounts_abort(&broker->mount);
	return ckfs_mounts_leave(&broker->mount, CKFS_LEAVE_FORCE);
}

/* It ends by itself when it is unmounted and the last handle is closed, which may take for ever. */
static void broker_end_server(struct broker *broker)
{
	if (broker_wait_server(broker, BROKER_SERVER_MS))
		return;
	(void)kill(broker->server_pid, SIGKILL);
	if (broker_wait_server(broker, BROKER_KILL_MS))
		return;
	syslog(LOG_ERR, "the server of \"%s\", process %d, cannot be ended: it waits for the store",
	       broker->params->options->spec, (int)broker->server_pid);
}

static void broker_done(struct broker *broker)
{
	int r;

	broker->captures = ckfs_captures_free(broker->captures);
	if (broker->server_pid > 0) {
		r = broker_unmount(broker);
		if (r < 0)
			syslog(LOG_ERR, "cannot unmount \"%s\": %s", broker->params->dir,
			       strerror(-r));
		broker_end_server(broker);
		/* Where it could not be told which mount is ours, a dead one is. */
		if (!broker->mounted)
			(void)ckfs_mounts_detach_dead(broker->params->dir);
	}
	ckfs_server_free(broker->server);
	close_fd(broker->epoll_fd);
	close_fd(broker->bus_fd);
	close_fd(broker->server_pidfd);
	close_fd(broker->signal_fd);
}

static enum ckfs_exit broker_mount(struct broker *broker)
{
	const struct ckfs_options *options = broker->params->options;
	const struct ckfs_server_params server = {
		.options = options,
		.store = broker->params->store,
		.uid = geteuid(),
		.gid = getegid(),
	};
	int r;

	r = ckfs_server_new(&server, &broker->server);
	if (r < 0)
		return broker_report(broker, CKFS_EXIT_SYSTEM,
				     "cannot prepare the mount of \"%s\": %s", options->spec,
				     strerror(-r));
	r = ckfs_server_mount(broker->server, broker->params->dir);
	if (r < 0 && access("/dev/fuse", F_OK) < 0)
		return broker_report(broker, CKFS_EXIT_MOUNT,
				     "cannot mount \"%s\": there is no \"/dev/fuse\" here; "
				     "sandckpt-capture works without",
				     options->spec);
	if (r < 0)
		return broker_report(broker, CKFS_EXIT_MOUNT, "cannot mount \"%s\" on \"%s\": %s",
				     options->spec, broker->params->dir, strerror(-r));

	broker->mounted =
	    ckfs_mounts_find(broker->params->dir, &broker->mount) > 0 && broker->mount.ours;
	return CKFS_EXIT_DONE;
}

static enum ckfs_exit broker_serve(struct broker *broker)
{
	int r;

	r = broker_fork_server(broker);
	ckfs_server_let_go(broker->server);
	if (r == 0)
		r = broker_start(broker);
	if (r < 0) {
		/* Nobody serves what is mounted: it must not stay, whoever it was. */
		(void)ckfs_mounts_detach(broker->params->dir, true);
		return broker_report(broker, CKFS_EXIT_SYSTEM,
				     "cannot start the server of \"%s\": %s",
				     broker->params->options->spec, strerror(-r));
	}

	broker_loop(broker);
	/* Nobody waits in the foreground; who waits for a daemon shall hear that there is none. */
	if (!broker->ready && broker->asked && broker->params->options->foreground)
		return CKFS_EXIT_DONE;
	if (!broker->ready)
		return broker_report(broker, CKFS_EXIT_SYSTEM,
				     "the server of \"%s\" ended before the mount was usable",
				     broker->params->options->spec);
	return broker->server_gone && !broker->server_well ? CKFS_EXIT_SYSTEM : CKFS_EXIT_DONE;
}

/**
 * ckfs_broker_run() - mount, serve, unmount
 *
 * Returns when it is unmounted, by whomever. The caller is single-threaded.
 *
 * Return: the exit code; what went wrong was told to @params->ready, or logged.
 */
enum ckfs_exit ckfs_broker_run(const struct ckfs_broker_params *params)
{
	struct broker broker = {
		.params = params,
		.server_pidfd = -EBADF,
		.bus_fd = -EBADF,
		.signal_fd = -EBADF,
		.epoll_fd = -EBADF,
	};
	enum ckfs_exit code;
	int r;

	(void)prctl(PR_SET_NAME, BROKER_NAME);
	broker_raise_files();
	r = broker_take_signals(&broker);
	if (r < 0)
		return broker_report(&broker, CKFS_EXIT_SYSTEM, "cannot take signals: %s",
				     strerror(-r));

	code = broker_mount(&broker);
	if (code == CKFS_EXIT_DONE)
		code = broker_serve(&broker);
	broker_done(&broker);
	return code;
}
