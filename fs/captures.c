/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/captures.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "format/cleanup.h"
#include "format/name.h"
#include "format/store.h"
#include "fs/ctl.h"
#include "fs/history.h"
#include "fs/options.h"
#include "fs/task.h"

#define CAPTURES_LOOK_MS 100 /* how often a signal of a writer that was woken is looked for */
#define CAPTURES_NAME_TRIES 10000U

/* A capture that runs. */
struct capture {
	struct capture *next;
	struct ckpt_job *job;
	int pidfd;
	uint64_t id;	  /* of the command that waits for it; 0: nobody waits */
	pid_t writer;	  /* its thread */
	bool woken;	  /* a signal came; no second FUSE_INTERRUPT will */
	bool interrupted; /* cancelled for it */
	pid_t pid;
	uid_t uid;		   /* who asked */
	char name[CKPT_NAME_SIZE]; /* reserved */
};

struct ckfs_captures {
	struct ckfs_captures_params params;
	int epoll_fd;		 /* of all jobs' fds */
	struct capture *running; /* newest first */
	struct ckfs_history history;
	struct ckpt_calls calls;
};

/* A command on its way through the checks. */
struct attempt {
	const struct ckfs_ask *ask;
	struct ckfs_command command;
	struct ckfs_task writer;
	int pidfd;
	bool self;    /* the target itself waits in write(2) */
	bool like_us; /* we have no right that the writer lacks */
	bool name_is_default;
	char name[CKPT_NAME_SIZE];
	char said[CKPT_SAID_SIZE];
};

__attribute__((format(printf, 3, 4))) static int attempt_fail(struct attempt *attempt, int err,
							      const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(attempt->said, sizeof(attempt->said), format, ap);
	va_end(ap);
	return err;
}

static int attempt_parse(struct ckfs_captures *captures, struct attempt *attempt)
{
	return ckfs_command_parse(attempt->ask->text, attempt->ask->len, &attempt->command,
				  attempt->said);
}

static int attempt_check_writable(struct ckfs_captures *captures, struct attempt *attempt)
{
	if (captures->params.options->read_only)
		return attempt_fail(attempt, -EROFS, "the store is mounted read-only");
	return 0;
}

/*
 * Only root can take on somebody's uid, gid and groups: for anybody else they must be his own. And
 * if a mount of his has capabilities, they are not for those who have none.
 */
static int attempt_check_takeable(struct attempt *attempt)
{
	const struct ckfs_task *writer = &attempt->writer;
	cleanup_task struct ckfs_task own = {};
	int r;

	if (geteuid() == 0)
		return 0;
	if (writer->uids[3] != geteuid())
		return attempt_fail(attempt, -EPERM, "only root's mount captures for other users");

	r = ckfs_task_read(getpid(), &own);
	if (r < 0)
		return r;
	if (!ckfs_task_is_like(writer, &own))
		return attempt_fail(attempt, -EPERM,
				    "the writer's group or groups are not those of the mount, and "
				    "only root's mount captures for others");
	attempt->like_us = !(own.cap_permitted & ~writer->cap_effective);
	return 0;
}

/*
 * The reader will act with the rights of the thread that waits in write(2): so it must be the
 * one that opened ctl, not a program with more rights that was handed the descriptor, and its
 * ids must mean what they mean here.
 */
static int attempt_check_writer(struct ckfs_captures *captures, struct attempt *attempt)
{
	const struct ckfs_ask *ask = attempt->ask;
	const struct ckfs_task *writer = &attempt->writer;
	int r;

	r = ckfs_task_read(ask->tid, &attempt->writer);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return attempt_fail(attempt, -EPERM, "cannot look at the writer, thread \"%d\": %s",
				    (int)ask->tid, strerror(-r));
	if (writer->uids[1] != ask->uid || writer->uids[3] != ask->uid ||
	    writer->gids[1] != ask->gid || writer->gids[3] != ask->gid ||
	    ask->open_uid != ask->uid || ask->open_gid != ask->gid)
		return attempt_fail(attempt, -EPERM,
				    "ctl was opened by one user and written to by another");
	r = attempt_check_takeable(attempt);
	if (r < 0)
		return r;
	r = ckfs_task_check_namespaces(ask->tid);
	if (r < 0)
		return attempt_fail(attempt, -EPERM,
				    "the writer lives in another pid or user namespace");

	attempt->self = writer->tgid == attempt->command.pid;
	if (writer->seccomp != 0 && !attempt->self)
		return attempt_fail(attempt, -EPERM,
				    "a writer under seccomp may capture only itself");
	return 0;
}

/* What is no process: nothing, a thread, a thread of the kernel. */
static int attempt_open_target(struct ckfs_captures *captures, struct attempt *attempt)
{
	cleanup_task struct ckfs_task target = {};
	pid_t pid = attempt->command.pid;
	int r, kthread;

	attempt->pidfd = pidfd_open(pid, 0);
	if (attempt->pidfd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
		return -errno;

	r = ckfs_task_read(pid, &target);
	if (r == 0 && target.tgid != pid)
		return attempt_fail(attempt, -EINVAL, "\"%d\" is a thread; its process is \"%d\"",
				    (int)pid, (int)target.tgid);
	if (attempt->pidfd < 0 || r == -ESRCH)
		return attempt_fail(attempt, -ESRCH, "there is no process \"%d\"", (int)pid);

	kthread = ckfs_task_is_kthread(pid);
	if (kthread > 0)
		return attempt_fail(attempt, -EPERM, "\"%d\" is a kernel thread", (int)pid);
	return 0;
}

static int attempt_check_target(struct ckfs_captures *captures, struct attempt *attempt)
{
	pid_t pid = attempt->command.pid;
	struct capture *c;

	if (pid == getpid() || pid == captures->params.server)
		return attempt_fail(attempt, -EDEADLK, "\"%d\" is a process of this mount",
				    (int)pid);
	for (c = captures->running; c; c = c->next)
		if (captures->params.ops->owns(c->job, pid))
			return attempt_fail(attempt, -EDEADLK, "\"%d\" is a process of this mount",
					    (int)pid);
	for (c = captures->running; c; c = c->next)
		if (c->pid == pid)
			return attempt_fail(attempt, -EBUSY, "\"%d\" is being captured already",
					    (int)pid);
	return 0;
}

/* What ctl's grammar knows and a plain store in stop mode cannot give. */
static int attempt_check_wish(struct ckfs_captures *captures, struct attempt *attempt)
{
	const struct ckfs_options *options = captures->params.options;
	struct ckfs_command *command = &attempt->command;

	if (command->mode == _CKPT_MODE_INVALID)
		command->mode = options->mode;
	if (command->form == CKPT_FORM_DEFAULT)
		command->form = options->form;

	if (command->mode == CKPT_MODE_LIVE)
		return attempt_fail(attempt, -EINVAL,
				    "mode=live is not supported: say mode=stop or mode=auto");
	if (command->form == CKPT_FORM_PACKED)
		return attempt_fail(attempt, -EINVAL,
				    "store=packed is not supported: say store=plain");
	return 0;
}

static int attempt_check_limits(struct ckfs_captures *captures, struct attempt *attempt)
{
	const struct ckfs_options *options = captures->params.options;
	size_t all = 0, own = 0;

	for (struct capture *c = captures->running; c; c = c->next) {
		all++;
		own += c->uid == attempt->ask->uid;
	}
	if (own >= options->captures_per_user)
		return attempt_fail(attempt, -EAGAIN,
				    "%zu captures of this user are running, and no more may", own);
	if (all >= options->captures)
		return attempt_fail(attempt, -EAGAIN, "%zu captures are running, and no more may",
				    all);
	return 0;
}

/* Whether a running capture will have that name. */
bool ckfs_captures_reserve(const struct ckfs_captures *captures, const char *name)
{
	for (struct capture *c = captures->running; c; c = c->next)
		if (!strcmp(c->name, name))
			return true;
	return false;
}

static bool captures_name_is_taken(const struct ckfs_captures *captures, const char *name)
{
	return ckfs_captures_reserve(captures, name) ||
	       ckpt_store_name_is_taken(captures->params.store, name) != 0;
}

static int attempt_find_name(struct ckfs_captures *captures, struct attempt *attempt)
{
	pid_t pid = attempt->command.pid;
	time_t now = time(NULL);
	char comm[64];
	int r;

	if (attempt->command.name[0]) {
		strcpy(attempt->name, attempt->command.name);
		if (captures_name_is_taken(captures, attempt->name))
			return attempt_fail(attempt, -EEXIST, "the name \"%.128s\" is taken",
					    attempt->name);
		return 0;
	}

	r = ckfs_task_comm(pid, comm, sizeof(comm));
	if (r < 0)
		return attempt_fail(attempt, r, "cannot read the name of process \"%d\": %s",
				    (int)pid, strerror(-r));

	attempt->name_is_default = true;
	for (unsigned i = 1; i < CAPTURES_NAME_TRIES; i++) {
		r = ckpt_name_default(comm, pid, now, i, attempt->name, sizeof(attempt->name));
		if (r < 0)
			return r;
		if (!captures_name_is_taken(captures, attempt->name))
			return 0;
	}
	return attempt_fail(attempt, -EEXIST, "all names for process \"%d\" are taken", (int)pid);
}

static int attempt_check_room(struct ckfs_captures *captures, struct attempt *attempt)
{
	int r = ckpt_store_has_room(captures->params.store,
				    (unsigned)captures->params.options->reserve_percent, 0);

	if (r == -ENOSPC)
		return attempt_fail(attempt, r, "less than %u%% of the store's filesystem is free",
				    (unsigned)captures->params.options->reserve_percent);
	return r;
}

/* In this order: what is wrong with the command itself first, what will pass by itself last. */
static int (*const attempt_checks[])(struct ckfs_captures *captures, struct attempt *attempt) = {
	attempt_parse,	      attempt_check_writable, attempt_check_writer,
	attempt_open_target,  attempt_check_target,   attempt_check_wish,
	attempt_check_limits, attempt_find_name,      attempt_check_room,
};

/* @priority: of the line in the log, if it failed */
static void captures_remember(struct ckfs_captures *captures, uid_t uid,
			      const struct ckpt_job_status *status, int priority)
{
	struct ckfs_record record = { .uid = uid, .status = *status };

	status = &record.status;
	ckfs_said_clean(record.status.said);
	ckfs_history_add(&captures->history, &record);
	if (status->state == CKPT_JOB_FAILED && status->error != ECANCELED &&
	    status->error != EINTR)
		syslog(priority, "capture of \"%d\" for uid %u: %s: %s", (int)status->pid,
		       (unsigned)uid, status->said[0] ? status->said : "failed",
		       strerror(status->error));
}

/* Anybody can write commands that fail, as often as he likes: the log is not for them. */
static void captures_remember_refusal(struct ckfs_captures *captures, const struct attempt *attempt,
				      int err)
{
	struct ckpt_job_status status = {
		.state = CKPT_JOB_FAILED,
		.pid = attempt->command.pid,
		.error = -err,
	};

	strcpy(status.name, attempt->name);
	if (attempt->said[0])
		memcpy(status.said, attempt->said, sizeof(status.said));
	else
		snprintf(status.said, sizeof(status.said), "cannot start a capture: %s",
			 strerror(-err));
	captures_remember(captures, attempt->ask->uid, &status, LOG_DEBUG);
}

static struct capture *capture_free(struct ckfs_captures *captures, struct capture *c)
{
	if (c->job)
		(void)epoll_ctl(captures->epoll_fd, EPOLL_CTL_DEL, captures->params.ops->fd(c->job),
				NULL);
	captures->params.ops->free(c->job);
	close_fd(c->pidfd);
	free(c);
	return NULL;
}

/* Asks the engine for what an attempt has come to want. */
static int attempt_start(struct ckfs_captures *captures, struct attempt *attempt,
			 struct ckpt_job **ret)
{
	const struct ckfs_options *options = captures->params.options;
	const struct ckfs_command *command = &attempt->command;
	const struct ckfs_task *writer = &attempt->writer;
	const struct ckpt_identity identity = {
		.uid = writer->uids[3],
		.gid = writer->gids[3],
		.groups = writer->groups,
		.n_groups = writer->n_groups,
		.caps = writer->cap_effective,
	};
	const struct ckpt_request request = {
		.pid = command->pid,
		.pidfd = attempt->pidfd,
		.name = attempt->name,
		/* Whoever captures itself was told the name already. */
		.name_is_default = attempt->name_is_default && !attempt->self,
		.mode = command->mode,
		.form = command->form,
		.cow = command->cow[0] ? command->cow : NULL,
		.deadline_ms = options->deadline_s * 1000,
		.copy_limit = options->copy_limit,
		.reserve_percent = (unsigned)options->reserve_percent,
		.store_fd = ckpt_store_fd(captures->params.store),
		/* Who is no more than the writer has nothing to give up, and may not change it. */
		.identity = attempt->like_us ? NULL : &identity,
		.owner_uid = writer->uids[3],
		.calls = &captures->calls,
	};

	return captures->params.ops->start(&request, ret);
}

static int captures_start(struct ckfs_captures *captures, struct attempt *attempt)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct capture *c;
	int r;

	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->pidfd = -EBADF;
	r = attempt_start(captures, attempt, &c->job);
	if (r == 0 && epoll_ctl(captures->epoll_fd, EPOLL_CTL_ADD, captures->params.ops->fd(c->job),
				&event) < 0)
		r = -errno;
	if (r < 0) {
		capture_free(captures, c);
		return r;
	}

	c->pidfd = steal_fd(&attempt->pidfd);
	c->id = attempt->self ? 0 : attempt->ask->id;
	c->writer = attempt->ask->tid;
	c->pid = attempt->command.pid;
	c->uid = attempt->ask->uid;
	strcpy(c->name, attempt->name);
	c->next = captures->running;
	captures->running = c;
	return 0;
}

/* What the system has no more of is an EAGAIN like too many captures, and passes like it. */
static int attempt_explain(struct attempt *attempt, int err)
{
	struct rlimit limit = {};

	if (attempt->said[0])
		return err;
	switch (err) {
	case -EMFILE:
		(void)getrlimit(RLIMIT_NOFILE, &limit);
		return attempt_fail(attempt, -EAGAIN,
				    "no more captures fit into the mount's %llu descriptors "
				    "(RLIMIT_NOFILE)",
				    (unsigned long long)limit.rlim_cur);
	case -ENFILE:
		return attempt_fail(attempt, -EAGAIN, "the system has no descriptors left");
	case -EAGAIN:
		return attempt_fail(attempt, -EAGAIN,
				    "the mount may start no more processes (RLIMIT_NPROC, or "
				    "pids.max of its cgroup)");
	default:
		return err;
	}
}

static void captures_answer(struct ckfs_captures *captures, uint64_t id, int error,
			    const char *name)
{
	if (id)
		captures->params.answer(captures->params.userdata, id, error, name);
}

/**
 * ckfs_captures_command() - do what was written to ctl
 * @ask: from the server; its id is not 0
 *
 * The answer comes through params->answer, now or when the capture has ended.
 */
void ckfs_captures_command(struct ckfs_captures *captures, const struct ckfs_ask *ask)
{
	struct attempt attempt = { .ask = ask, .pidfd = -EBADF };
	int r = 0;

	for (size_t i = 0; i < sizeof(attempt_checks) / sizeof(attempt_checks[0]) && r == 0; i++)
		r = attempt_checks[i](captures, &attempt);

	/* It cannot be stopped while it waits for us: it is answered first. */
	if (r == 0 && attempt.self)
		captures_answer(captures, ask->id, 0, attempt.name);
	if (r == 0)
		r = captures_start(captures, &attempt);
	if (r < 0) {
		r = attempt_explain(&attempt, r);
		captures_remember_refusal(captures, &attempt, r);
		/* A writer that was answered already is not waiting: this id means nothing. */
		captures_answer(captures, ask->id, -r, "");
	}

	ckfs_task_done(&attempt.writer);
	close_fd(attempt.pidfd);
}

/* A signal woke the writer: its capture goes on unless the signal asks for an end. */
static void capture_look(struct ckfs_captures *captures, struct capture *c)
{
	cleanup_task struct ckfs_task writer = {};
	int r;

	if (!c->woken || c->interrupted)
		return;
	r = ckfs_task_read(c->writer, &writer);
	if (r == -ENOMEM || (r == 0 && !ckfs_task_is_interrupted(&writer)))
		return;

	c->interrupted = true;
	captures->params.ops->cancel(c->job);
}

void ckfs_captures_interrupt(struct ckfs_captures *captures, uint64_t id)
{
	for (struct capture *c = captures->running; c; c = c->next)
		if (c->id == id && id) {
			c->woken = true;
			capture_look(captures, c);
		}
}

static void capture_finish(struct ckfs_captures *captures, struct capture *c)
{
	struct ckpt_job_status status = *captures->params.ops->status(c->job);
	bool done = status.state == CKPT_JOB_DONE;

	if (!status.name[0])
		strcpy(status.name, c->name);
	status.pid = c->pid;
	if (!done && status.error == 0)
		status.error = EIO;
	if (!done && status.error == ECANCELED)
		status.error = EINTR;

	captures_remember(captures, c->uid, &status, LOG_NOTICE);
	captures_answer(captures, c->id, done ? 0 : status.error, done ? status.name : "");
	capture_free(captures, c);
}

/* Takes what the jobs have to say; those that ended are answered and remembered. */
void ckfs_captures_step(struct ckfs_captures *captures)
{
	struct capture **link = &captures->running;

	while (*link) {
		struct capture *c = *link;

		captures->params.ops->step(c->job);
		if (captures->params.ops->status(c->job)->state == CKPT_JOB_RUNNING) {
			capture_look(captures, c);
			link = &c->next;
			continue;
		}
		*link = c->next;
		capture_finish(captures, c);
	}
}

/* After how many milliseconds a step is due without an event; -1: none is. */
int ckfs_captures_timeout(const struct ckfs_captures *captures)
{
	for (struct capture *c = captures->running; c; c = c->next)
		if (c->woken && !c->interrupted)
			return CAPTURES_LOOK_MS;
	return -1;
}

/* Asks all that run to end; step() sees them off. */
void ckfs_captures_cancel(struct ckfs_captures *captures)
{
	for (struct capture *c = captures->running; c; c = c->next)
		captures->params.ops->cancel(c->job);
}

size_t ckfs_captures_running(const struct ckfs_captures *captures)
{
	size_t n = 0;

	for (struct capture *c = captures->running; c; c = c->next)
		n++;
	return n;
}

/* Readable when step() should be called. */
int ckfs_captures_fd(const struct ckfs_captures *captures)
{
	return captures->epoll_fd;
}

/* How much of a text fits into @max bytes, no line being cut. */
static size_t captures_whole_lines(const char *text, size_t len, size_t max)
{
	const char *end = len > max ? memrchr(text, '\n', max) : NULL;

	if (len <= max)
		return len;
	return end ? (size_t)(end - text) + 1 : 0;
}

/**
 * ckfs_captures_print() - the text of ctl for one reader
 * @ret: the caller frees, after a failure too
 * @ret_len: at most CKFS_STATE_MAX; the oldest lines are left out beyond
 *
 * Return: 0; -ENOMEM.
 */
int ckfs_captures_print(const struct ckfs_captures *captures, uid_t reader, char **ret,
			size_t *ret_len)
{
	FILE *f = open_memstream(ret, ret_len);

	if (!f)
		return -ENOMEM;
	for (struct capture *c = captures->running; c; c = c->next) {
		struct ckfs_record record = {
			.uid = c->uid,
			.status = *captures->params.ops->status(c->job),
		};

		record.status.pid = c->pid;
		if (!record.status.name[0])
			strcpy(record.status.name, c->name);
		record.status.state = CKPT_JOB_RUNNING; /* until it is remembered */
		ckfs_record_print(&record, reader, f);
	}
	ckfs_history_print(&captures->history, reader, f);
	if (fclose(f) != 0)
		return -ENOMEM;

	*ret_len = captures_whole_lines(*ret, *ret_len, CKFS_STATE_MAX);
	return 0;
}

/**
 * ckfs_captures_new() - begin with none
 * @params: copied; what it points to must live on
 *
 * Return: 0; -ENOMEM; as epoll_create1(2).
 */
int ckfs_captures_new(const struct ckfs_captures_params *params, struct ckfs_captures **ret)
{
	struct ckfs_captures *captures = calloc(1, sizeof(*captures));

	if (!captures)
		return -ENOMEM;
	captures->params = *params;
	captures->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (captures->epoll_fd < 0) {
		free(captures);
		return -errno;
	}

	*ret = captures;
	return 0;
}

/* Kills what still runs. */
struct ckfs_captures *ckfs_captures_free(struct ckfs_captures *captures)
{
	struct capture *c;

	if (!captures)
		return NULL;
	while ((c = captures->running)) {
		captures->running = c->next;
		capture_free(captures, c);
	}
	close_fd(captures->epoll_fd);
	free(captures);
	return NULL;
}
