/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/info.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "capture/out.h"
#include "capture/proc.h"
#include "capture/target.h"
#include "format/checkpoint.h"
#include "format/cleanup.h"

#define TEXT_MAX (16U << 20)
#define STAT_START_TIME 22

/* What is gathered from; a part that the kernel refuses is left out and told of. */
struct source {
	const struct capture_target *target;
	const struct capture_view *view;
	struct capture_out *out;
	struct ckpt_info *info;
};

static int omit(const struct source *source, const char *name, const char *call, int err)
{
	char what[64];

	if (err == -ENOMEM)
		return err;

	(void)snprintf(what, sizeof(what), "info/%s", name);
	return capture_out_omitted(source->out, what, call, err);
}

/* A link as a key of info.json. Without it the key is "", since the seed's readers need one. */
static int read_link(const struct source *source, const char *name, char **ret)
{
	int r = capture_proc_readlink(source->view->proc_fd, name, ret);

	if (r < 0)
		r = omit(source, name, "readlink", r);
	if (r == 0 && !*ret)
		r = ckpt_strdup("", ret);
	return r;
}

static int read_links(const struct source *source)
{
	struct ckpt_info *info = source->info;
	int r;

	r = read_link(source, "cwd", &info->cwd);
	if (r == 0)
		r = read_link(source, "exe", &info->exe);
	if (r < 0)
		return r;

	r = capture_proc_readlink(source->view->proc_fd, "root", &info->root);
	return r < 0 ? omit(source, "root", "readlink", r) : 0;
}

static int read_text(const struct source *source, const char *name, char **ret, size_t *ret_len)
{
	int r = capture_proc_read(source->view->proc_fd, name, TEXT_MAX, ret, ret_len);

	return r < 0 ? omit(source, name, "read", r) : 0;
}

static int read_comm(const struct source *source)
{
	char *comm = NULL;
	size_t len = 0;
	int r;

	r = read_text(source, "comm", &comm, &len);
	if (r < 0 || !comm)
		return r;

	if (len > 0 && comm[len - 1] == '\n')
		comm[len - 1] = '\0';
	source->info->comm = comm;
	return 0;
}

static int read_cmdline(const struct source *source)
{
	cleanup_free char *text = NULL;
	size_t len = 0;
	int r;

	r = read_text(source, "cmdline", &text, &len);
	for (size_t at = 0; r == 0 && at < len; at += strlen(text + at) + 1)
		r = ckpt_strings_add(&source->info->cmdline, text + at);

	return r;
}

static void read_ids(const char *status, const char *key, uint32_t ids[4])
{
	const char *value;
	size_t len;

	if (capture_status_find(status, key, &value, &len))
		(void)sscanf(value, "%" SCNu32 " %" SCNu32 " %" SCNu32 " %" SCNu32, &ids[0],
			     &ids[1], &ids[2], &ids[3]);
}

static int read_groups(const char *status, struct ckpt_info *info)
{
	const char *value, *end;
	size_t len;

	if (!capture_status_find(status, "Groups", &value, &len))
		return 0;

	/* Each takes a digit and a blank at least. */
	info->groups = calloc(len / 2 + 1, sizeof(*info->groups));
	if (!info->groups)
		return -ENOMEM;

	for (end = value + len; value < end && *value >= '0' && *value <= '9';) {
		char *next;

		info->groups[info->n_groups++] = (uint32_t)strtoul(value, &next, 10);
		value = next + strspn(next, " ");
	}

	return 0;
}

static int read_caps(const char *status, struct ckpt_info *info)
{
	static const struct {
		const char *key, *name;
	} rows[] = {
		{ "CapInh", "inheritable" }, { "CapPrm", "permitted" }, { "CapEff", "effective" },
		{ "CapBnd", "bounding" },    { "CapAmb", "ambient" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t value;
		int r;

		if (capture_status_u64(status, rows[i].key, 16, &value) < 0)
			continue;
		r = ckpt_named_add(&info->caps, rows[i].name, value);
		if (r < 0)
			return r;
	}

	return 0;
}

static int read_status(const struct source *source)
{
	struct ckpt_info *info = source->info;
	cleanup_free char *status = NULL;
	uint64_t value;
	size_t len = 0;
	int r;

	r = read_text(source, "status", &status, &len);
	if (r < 0 || !status)
		return r;

	if (capture_status_u64(status, "PPid", 10, &value) == 0)
		info->ppid = (int32_t)value;
	if (capture_status_u64(status, "Seccomp", 10, &value) == 0)
		info->seccomp = (int32_t)value;
	read_ids(status, "Uid", info->uids);
	read_ids(status, "Gid", info->gids);

	r = read_groups(status, info);
	return r < 0 ? r : read_caps(status, info);
}

static int read_stat(const struct source *source)
{
	cleanup_free char *stat = NULL;
	size_t len = 0;
	int r;

	/* Of the process: a thread's own start is another. */
	r = capture_proc_read(source->target->proc_fd, "stat", TEXT_MAX, &stat, &len);
	if (r == 0)
		r = capture_stat_u64(stat, STAT_START_TIME, &source->info->start_time_ticks);
	return r < 0 ? omit(source, "stat", "read", r) : 0;
}

static int read_personality(const struct source *source)
{
	cleanup_free char *text = NULL;
	size_t len = 0;
	int r;

	r = read_text(source, "personality", &text, &len);
	if (r == 0 && text)
		source->info->personality = (uint32_t)strtoul(text, NULL, 16);
	return r;
}

static int read_namespaces(const struct source *source)
{
	static const char *const names[] = { "cgroup", "ipc",
					     "mnt",    "net",
					     "pid",    "pid_for_children",
					     "time",   "time_for_children",
					     "user",   "uts" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		cleanup_free char *link = NULL;
		uint64_t inode;
		char path[32];
		int r;

		/* "mnt:[4026531841]" */
		(void)snprintf(path, sizeof(path), "ns/%s", names[i]);
		r = capture_proc_readlink(source->view->proc_fd, path, &link);
		if (r == -ENOENT)
			continue; /* a kernel built without it */
		if (r < 0)
			r = omit(source, path, "readlink", r);
		else if (sscanf(link, "%*[a-z_]:[%" SCNu64, &inode) == 1)
			r = ckpt_named_add(&source->info->namespaces, names[i], inode);
		if (r < 0)
			return r;
	}

	return 0;
}

static int read_rlimits(const struct source *source)
{
	static const struct {
		const char *name; /* as prlimit(1) has it */
		int resource;
	} rows[] = {
		{ "as", RLIMIT_AS },
		{ "core", RLIMIT_CORE },
		{ "cpu", RLIMIT_CPU },
		{ "data", RLIMIT_DATA },
		{ "fsize", RLIMIT_FSIZE },
		{ "locks", RLIMIT_LOCKS },
		{ "memlock", RLIMIT_MEMLOCK },
		{ "msgqueue", RLIMIT_MSGQUEUE },
		{ "nice", RLIMIT_NICE },
		{ "nofile", RLIMIT_NOFILE },
		{ "nproc", RLIMIT_NPROC },
		{ "rss", RLIMIT_RSS },
		{ "rtprio", RLIMIT_RTPRIO },
		{ "rttime", RLIMIT_RTTIME },
		{ "sigpending", RLIMIT_SIGPENDING },
		{ "stack", RLIMIT_STACK },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct rlimit limit;
		int r;

		if (prlimit(source->view->tid, rows[i].resource, NULL, &limit) < 0)
			return omit(source, "rlimits", "prlimit", -errno);
		/* RLIM_INFINITY is UINT64_MAX, as the struct has it. */
		r = ckpt_rlimits_add(&source->info->rlimits, rows[i].name, limit.rlim_cur,
				     limit.rlim_max);
		if (r < 0)
			return r;
	}

	return 0;
}

/**
 * capture_info_read() - gather what info.json tells of a stopped process
 * @ret: for ckpt_info_done(); untouched on error
 *
 * Return: 0; -ENOMEM; what the sink returned.
 */
int capture_info_read(const struct capture_target *target, const struct capture_view *view,
		      struct capture_out *out, struct ckpt_info *ret)
{
	static int (*const parts[])(const struct source *source) = {
		read_links, read_comm,	      read_cmdline,    read_status,
		read_stat,  read_personality, read_namespaces, read_rlimits,
	};
	struct ckpt_info info = { .pid = target->pid, .full = true };
	struct source source = { target, view, out, &info };
	int r = 0;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && r == 0; i++)
		r = parts[i](&source);
	if (r < 0) {
		ckpt_info_done(&info);
		return r;
	}

	*ret = info;
	return 0;
}
