/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/procfile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "capture/copy.h"
#include "capture/maps.h"
#include "capture/out.h"
#include "capture/proc.h"
#include "capture/target.h"
#include "capture/threads.h"
#include "format/checkpoint.h"
#include "format/cleanup.h"

#define SMALL (1U << 20)
#define VDSO_MAX (256U * 1024)
/* smaps walks all page tables while the process is held: 0.1 s for some GiB, 1 ms for this. */
#define SMAPS_RESIDENT_MAX (UINT64_C(64) << 20)

/* In the image a process is as it was: neither stopped by us nor traced by us. */
enum fix {
	FIX_NONE,
	FIX_STATUS,
	FIX_STAT,
	FIX_SMAPS, /* only of a small process */
};

struct row {
	const char *path;
	enum fix fix;
	size_t max;
};

/* clang-format off */
static const struct row process_rows[] = {
	{ "cmdline",       FIX_NONE,   CKPT_PROCFILE_MAX },
	{ "comm",          FIX_NONE,   SMALL },
	{ "environ",       FIX_NONE,   CKPT_PROCFILE_MAX },
	{ "auxv",          FIX_NONE,   SMALL },
	{ "status",        FIX_STATUS, SMALL },
	{ "stat",          FIX_STAT,   SMALL },
	{ "statm",         FIX_NONE,   SMALL },
	{ "limits",        FIX_NONE,   SMALL },
	{ "cgroup",        FIX_NONE,   SMALL },
	{ "io",            FIX_NONE,   SMALL },
	{ "oom_score_adj", FIX_NONE,   SMALL },
	{ "personality",   FIX_NONE,   SMALL },
	{ "maps",          FIX_NONE,   CKPT_PROCFILE_MAX },
	{ "smaps",         FIX_SMAPS,  CKPT_PROCFILE_MAX },
	{ "mountinfo",     FIX_NONE,   CKPT_PROCFILE_MAX },
};

/* Below task/TID. wchan is not here: while we hold a thread it is our own stop. */
static const struct row thread_rows[] = {
	{ "comm",    FIX_NONE,   SMALL },
	{ "status",  FIX_STATUS, SMALL },
	{ "stat",    FIX_STAT,   SMALL },
	{ "syscall", FIX_NONE,   SMALL },
};

/* fs/proc/array.c, task_state_array[] */
static const char *const state_names[] = {
	"R (running)", "S (sleeping)", "D (disk sleep)", "T (stopped)", "t (tracing stop)",
	"X (dead)", "Z (zombie)", "P (parked)", "I (idle)",
};
/* clang-format on */

static const char *state_name(char state)
{
	for (size_t i = 0; i < sizeof(state_names) / sizeof(state_names[0]); i++)
		if (state_names[i][0] == state)
			return state_names[i];

	return NULL;
}

/* Puts @value in the place of the value of a "Key:" line. Return: 0; -ENOMEM. */
static int replace_value(char **text, size_t *len, const char *key, const char *value)
{
	const char *old;
	size_t old_len, before;
	char *changed;
	int n;

	if (!capture_status_find(*text, key, &old, &old_len))
		return 0;

	before = (size_t)(old - *text);
	n = asprintf(&changed, "%.*s%s%s", (int)before, *text, value, old + old_len);
	if (n < 0)
		return -ENOMEM;

	free(*text);
	*text = changed;
	*len = (size_t)n;
	return 0;
}

static int fix_status(char **text, size_t *len, char state)
{
	const char *name = state_name(state);
	int r = 0;

	if (name)
		r = replace_value(text, len, "State", name);
	if (r == 0)
		r = replace_value(text, len, "TracerPid", "0");
	return r;
}

static int fix(enum fix how, char state, char **text, size_t *len)
{
	char *letter;

	if (how == FIX_STATUS)
		return fix_status(text, len, state);

	letter = how == FIX_STAT && state ? capture_stat_state(*text) : NULL;
	if (letter)
		*letter = state;
	return 0;
}

static int omit(struct capture_out *out, const char *path, const char *call, int err)
{
	char what[96];

	(void)snprintf(what, sizeof(what), "proc/%s", path);
	return capture_out_omitted(out, what, call, err);
}

static bool is_small(const struct capture_view *view)
{
	cleanup_free char *statm = NULL;
	uint64_t resident;
	size_t len;

	if (capture_proc_read(view->proc_fd, "statm", SMALL, &statm, &len) < 0 ||
	    sscanf(statm, "%*u %" SCNu64, &resident) != 1)
		return false;

	return resident * CKPT_PAGE_SIZE < SMAPS_RESIDENT_MAX;
}

static int read_row(const struct capture_view *view, const struct row *row, const char *path,
		    char state, struct capture_out *out)
{
	cleanup_free char *text = NULL;
	size_t len;
	int r;

	if (row->fix == FIX_SMAPS && !is_small(view))
		return omit(out, path, "read", -EFBIG);

	r = capture_proc_read(view->proc_fd, path, row->max, &text, &len);
	if (r == -ENOMEM)
		return r;
	if (r < 0)
		return omit(out, path, "read", r);

	r = fix(row->fix, state, &text, &len);
	return r < 0 ? r : capture_out_procfile(out, path, text, len);
}

static int read_thread(const struct capture_view *view, const struct capture_thread *thread,
		       struct capture_out *out)
{
	char path[64];
	int r;

	for (size_t i = 0; i < sizeof(thread_rows) / sizeof(thread_rows[0]); i++) {
		(void)snprintf(path, sizeof(path), "task/%d/%s", thread->tid, thread_rows[i].path);
		r = read_row(view, &thread_rows[i], path, thread->state, out);
		if (r < 0)
			return r;
	}

	if (!thread->wchan[0])
		return 0;
	(void)snprintf(path, sizeof(path), "task/%d/wchan", thread->tid);
	return capture_out_procfile(out, path, thread->wchan, strlen(thread->wchan));
}

/* The code that the kernel gives every process, for tools: it is in no file, and not in memory/. */
static int read_vdso(const struct capture_view *view, const struct capture_maps *maps,
		     struct capture_out *out)
{
	const struct capture_map *map = capture_maps_named(maps, "[vdso]");
	cleanup_free void *code = NULL;
	size_t len;
	int r;

	if (!map)
		return 0;
	len = map->end - map->start;
	if (len > VDSO_MAX)
		return omit(out, "vdso", "process_vm_readv", -EFBIG);

	code = malloc(len);
	if (!code)
		return -ENOMEM;
	r = capture_copy_peek(view, map->start, code, len);
	if (r < 0)
		return omit(out, "vdso", "process_vm_readv", r);

	return capture_out_procfile(out, "vdso", code, len);
}

static const struct capture_thread *thread_of(const struct capture_threads *threads, pid_t tid)
{
	size_t i = 0;

	while (threads->items[i].tid != tid)
		i++;

	return &threads->items[i];
}

/**
 * capture_procfiles_read() - hand over the files of /proc/PID of a stopped process
 * @view: through one of @threads
 *
 * A file that cannot be read is absent, and a row of what was omitted.
 *
 * Return: 0; -ENOMEM; what the sink returned.
 */
int capture_procfiles_read(const struct capture_view *view, const struct capture_threads *threads,
			   const struct capture_maps *maps, struct capture_out *out)
{
	char state = thread_of(threads, view->tid)->state;
	int r = 0;

	for (size_t i = 0; i < sizeof(process_rows) / sizeof(process_rows[0]) && r >= 0; i++)
		r = read_row(view, &process_rows[i], process_rows[i].path, state, out);
	if (r >= 0)
		r = read_vdso(view, maps, out);

	for (size_t i = 0; i < threads->n && r >= 0; i++)
		if (threads->items[i].hold == CAPTURE_STOPPED)
			r = read_thread(view, &threads->items[i], out);

	return r;
}
