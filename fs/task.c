/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/task.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "format/cleanup.h"
#include "format/fdio.h"

#define TASK_TEXT_MAX (1U << 20) /* status grows with the groups: 65,536 of up to 11 bytes */
#define TASK_GROUPS_MAX 65536U
#define TASK_PF_KTHREAD UINT64_C(0x00200000) /* include/linux/sched.h */

#define SIGNAL_BIT(n) (UINT64_C(1) << ((n)-1))

/*
 * Signals that wake the writer but tell it nothing that it must hear now: a shell whose background
 * child exits must not lose its capture. STOP takes effect once the write is done.
 */
#define TASK_PATIENT                                                                               \
	(SIGNAL_BIT(SIGCHLD) | SIGNAL_BIT(SIGWINCH) | SIGNAL_BIT(SIGURG) | SIGNAL_BIT(SIGCONT) |   \
	 SIGNAL_BIT(SIGIO) | SIGNAL_BIT(SIGSTOP))

static int task_read_text(pid_t pid, const char *name, char **ret)
{
	cleanup_fd int fd = -EBADF;
	char path[64];
	void *text;
	size_t len;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	r = ckpt_fd_slurp(fd, TASK_TEXT_MAX, &text, &len);
	if (r < 0)
		return r;

	*ret = text;
	return 0;
}

static const char *task_find(const char *status, const char *key)
{
	const char *line = status;
	size_t len = strlen(key);

	while (line && strncmp(line, key, len) != 0) {
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	return line ? line + len : NULL;
}

static int task_get(const char *status, const char *key, int base, uint64_t *ret)
{
	const char *value = task_find(status, key);
	char *end;

	if (!value)
		return -EBADMSG;
	*ret = strtoull(value, &end, base);
	return end == value ? -EBADMSG : 0;
}

static int task_get_ids(const char *status, const char *key, uint32_t ret[4])
{
	const char *value = task_find(status, key);

	if (!value || sscanf(value, "%" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32, &ret[0],
			     &ret[1], &ret[2], &ret[3]) != 4)
		return -EBADMSG;
	return 0;
}

static int task_get_groups(const char *status, gid_t **ret, size_t *ret_n)
{
	const char *p = task_find(status, "Groups:");
	cleanup_free gid_t *groups = NULL;
	size_t n = 0, size = 0;

	if (!p)
		return -EBADMSG;

	for (;;) {
		char *end;

		p += strspn(p, " \t");
		if (*p < '0' || *p > '9')
			break;
		if (n == size) {
			gid_t *bigger;

			size = size ? size * 2 : 16;
			bigger =
			    size > TASK_GROUPS_MAX ? NULL : realloc(groups, size * sizeof(*groups));
			if (!bigger)
				return -ENOMEM;
			groups = bigger;
		}
		groups[n++] = (gid_t)strtoul(p, &end, 10);
		p = end;
	}

	*ret = steal_pointer(groups);
	*ret_n = n;
	return 0;
}

/**
 * ckfs_task_parse() - read the text of /proc/TID/status
 * @ret: ckfs_task_done() frees it
 *
 * Return: 0; -EBADMSG where a line is missing; -ENOMEM.
 * Source: proc_pid_status(5).
 */
int ckfs_task_parse(const char *status, struct ckfs_task *ret)
{
	uint64_t tgid, of_thread, of_process, blocked, permitted, effective, seccomp;
	struct ckfs_task task = {};
	int r;

	if (task_get(status, "Tgid:", 10, &tgid) < 0 ||
	    task_get(status, "SigPnd:", 16, &of_thread) < 0 ||
	    task_get(status, "ShdPnd:", 16, &of_process) < 0 ||
	    task_get(status, "SigBlk:", 16, &blocked) < 0 ||
	    task_get(status, "CapPrm:", 16, &permitted) < 0 ||
	    task_get(status, "CapEff:", 16, &effective) < 0 ||
	    task_get(status, "Seccomp:", 10, &seccomp) < 0 ||
	    task_get_ids(status, "Uid:", task.uids) < 0 ||
	    task_get_ids(status, "Gid:", task.gids) < 0)
		return -EBADMSG;

	r = task_get_groups(status, &task.groups, &task.n_groups);
	if (r < 0)
		return r;

	task.tgid = (pid_t)tgid;
	task.pending = of_thread | of_process;
	task.blocked = blocked;
	task.cap_permitted = permitted;
	task.cap_effective = effective;
	task.seccomp = (int)seccomp;
	*ret = task;
	return 0;
}

/* Return: 0; -ESRCH when there is no such thread; as ckfs_task_parse(). */
int ckfs_task_read(pid_t tid, struct ckfs_task *ret)
{
	cleanup_free char *status = NULL;
	int r;

	r = task_read_text(tid, "status", &status);
	if (r < 0)
		return r;

	return ckfs_task_parse(status, ret);
}

void ckfs_task_done(struct ckfs_task *task)
{
	free(task->groups);
	*task = (struct ckfs_task){};
}

/* Whether a signal waits that the write must end for. A ptrace stop shows as none at all. */
bool ckfs_task_is_interrupted(const struct ckfs_task *task)
{
	return task->pending & ~task->blocked & ~TASK_PATIENT;
}

/* Whether the kernel judges both by the same ids; the order of groups is the kernel's. */
bool ckfs_task_is_like(const struct ckfs_task *a, const struct ckfs_task *b)
{
	return a->uids[3] == b->uids[3] && a->gids[3] == b->gids[3] && a->n_groups == b->n_groups &&
	       (a->n_groups == 0 ||
		!memcmp(a->groups, b->groups, a->n_groups * sizeof(a->groups[0])));
}

/**
 * ckfs_task_check_namespaces() - whether a thread's ids mean what ours mean
 *
 * Return: 0; -EPERM when its pid or user namespace is another one, or may not be looked at;
 * -ESRCH.
 */
int ckfs_task_check_namespaces(pid_t tid)
{
	static const char *const names[] = { "pid", "user" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct stat own, other;
		char path[64];

		snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
		if (stat(path, &own) < 0)
			return -errno;
		snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)tid, names[i]);
		if (stat(path, &other) < 0)
			return errno == ENOENT || errno == ESRCH ? -ESRCH : -EPERM;
		if (own.st_dev != other.st_dev || own.st_ino != other.st_ino)
			return -EPERM;
	}

	return 0;
}

/* Return: 1 for a kernel thread, which has no memory of its own; 0; -ESRCH; -EBADMSG. */
int ckfs_task_is_kthread(pid_t pid)
{
	cleanup_free char *text = NULL;
	uint64_t flags;
	const char *p;
	int r;

	r = task_read_text(pid, "stat", &text);
	if (r < 0)
		return r;
	p = strrchr(text, ')'); /* comm may hold anything */
	if (!p || sscanf(p, ") %*c %*d %*d %*d %*d %*d %" SCNu64, &flags) != 1)
		return -EBADMSG;

	return flags & TASK_PF_KTHREAD ? 1 : 0;
}

/* The process's comm without its newline. Return: 0; -ESRCH. */
int ckfs_task_comm(pid_t pid, char *ret, size_t ret_size)
{
	cleanup_free char *text = NULL;
	int r;

	r = task_read_text(pid, "comm", &text);
	if (r < 0)
		return r;

	if (*text && text[strlen(text) - 1] == '\n')
		text[strlen(text) - 1] = '\0';
	snprintf(ret, ret_size, "%s", text);
	return 0;
}
