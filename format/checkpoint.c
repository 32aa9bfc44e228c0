/* SPDX-License-Identifier: Apache-2.0 */
#include "format/checkpoint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "format/cleanup.h"

#define FDINFO_RECENT 16 /* keys whose lines may alternate */

static const char *const mode_names[_CKPT_MODE_MAX] = {
	[CKPT_MODE_AUTO] = "auto",
	[CKPT_MODE_LIVE] = "live",
	[CKPT_MODE_STOP] = "stop",
};

/* NULL for what is no mode. */
const char *ckpt_mode_name(enum ckpt_mode mode)
{
	return mode >= 0 && mode < _CKPT_MODE_MAX ? mode_names[mode] : NULL;
}

/* Return: the mode; _CKPT_MODE_INVALID, which is -EINVAL. */
enum ckpt_mode ckpt_mode_parse(const char *name)
{
	for (int i = 0; i < _CKPT_MODE_MAX; i++)
		if (strcmp(name, mode_names[i]) == 0)
			return (enum ckpt_mode)i;
	return _CKPT_MODE_INVALID;
}

/* Makes room for one item more in an array of @size that holds @n. */
static int list_grow(void **items, size_t n, size_t *size, size_t item_size, size_t max)
{
	size_t bigger = *size ? *size * 2 : 8;
	void *p;

	if (n >= max)
		return -E2BIG;
	if (n < *size)
		return 0;

	p = reallocarray(*items, bigger, item_size);
	if (!p)
		return -ENOMEM;
	*items = p;
	*size = bigger;
	return 0;
}

/* Every list is { items, n, size }: the one cast this costs is here. */
#define LIST_GROW(list, max)                                                                       \
	list_grow((void **)&(list)->items, (list)->n, &(list)->size, sizeof((list)->items[0]), max)

/**
 * ckpt_strdup() - a copy of a string
 * @s: NULL gives NULL
 *
 * Return: 0; -ENOMEM.
 */
int ckpt_strdup(const char *s, char **ret)
{
	char *copy = NULL;

	if (s) {
		copy = strdup(s);
		if (!copy)
			return -ENOMEM;
	}
	*ret = copy;
	return 0;
}

void ckpt_region_done(struct ckpt_region *region)
{
	free(region->path);
	*region = (struct ckpt_region){};
}

void ckpt_regions_done(struct ckpt_regions *regions)
{
	for (size_t i = 0; i < regions->n; i++)
		ckpt_region_done(&regions->items[i]);
	free(regions->items);
	*regions = (struct ckpt_regions){};
}

/**
 * ckpt_regions_add() - append a copy of a region, its path too
 *
 * Nothing is checked: ckpt_regions_check() looks at the whole list.
 *
 * Return: 0; -E2BIG above CKPT_REGIONS_MAX; -ENOMEM.
 */
int ckpt_regions_add(struct ckpt_regions *regions, const struct ckpt_region *region)
{
	struct ckpt_region copy = *region;
	int r;

	r = LIST_GROW(regions, CKPT_REGIONS_MAX);
	if (r < 0)
		return r;
	r = ckpt_strdup(region->path, &copy.path);
	if (r < 0)
		return r;

	regions->items[regions->n++] = copy;
	return 0;
}

/**
 * ckpt_regions_check() - whether a list is in order: ascending, none overlaps another, each of
 * whole pages and not empty, all below CKPT_ADDRESS_MAX
 *
 * Return: 0; -EBADMSG.
 */
int ckpt_regions_check(const struct ckpt_regions *regions)
{
	uint64_t last_end = 0;

	for (size_t i = 0; i < regions->n; i++) {
		const struct ckpt_region *region = &regions->items[i];

		if (region->start % CKPT_PAGE_SIZE || region->end % CKPT_PAGE_SIZE)
			return -EBADMSG;
		if (region->start < last_end || region->start >= region->end)
			return -EBADMSG;
		if (region->end > CKPT_ADDRESS_MAX)
			return -EBADMSG;
		last_end = region->end;
	}
	return 0;
}

void ckpt_thread_done(struct ckpt_thread *thread)
{
	free(thread->comm);
	free(thread->syscall);
	free(thread->gpregs);
	free(thread->xstate);
	*thread = (struct ckpt_thread){};
}

void ckpt_threads_done(struct ckpt_threads *threads)
{
	for (size_t i = 0; i < threads->n; i++)
		ckpt_thread_done(&threads->items[i]);
	free(threads->items);
	*threads = (struct ckpt_threads){};
}

/**
 * ckpt_threads_add() - append a thread
 * @thread: what it holds moves into the list and it is left empty; on failure it stays as it is
 *
 * Return: 0; -E2BIG above CKPT_THREADS_MAX; -ENOMEM.
 */
int ckpt_threads_add(struct ckpt_threads *threads, struct ckpt_thread *thread)
{
	int r = LIST_GROW(threads, CKPT_THREADS_MAX);

	if (r < 0)
		return r;
	threads->items[threads->n++] = *thread;
	*thread = (struct ckpt_thread){};
	return 0;
}

void ckpt_fd_done(struct ckpt_fd *fd)
{
	char *strings[] = { fd->path,	    fd->type,  fd->family, fd->sock_type,
			    fd->sock_state, fd->local, fd->peer,   fd->unix_path };

	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		free(strings[i]);
	for (size_t i = 0; i < fd->n_fdinfo; i++) {
		free(fd->fdinfo[i].key);
		free(fd->fdinfo[i].value);
	}
	free(fd->fdinfo);
	*fd = (struct ckpt_fd){};
}

void ckpt_fds_done(struct ckpt_fds *fds)
{
	for (size_t i = 0; i < fds->n; i++)
		ckpt_fd_done(&fds->items[i]);
	free(fds->items);
	*fds = (struct ckpt_fds){};
}

/**
 * ckpt_fds_add() - append a file descriptor
 * @fd: what it holds moves into the list and it is left empty; on failure it stays as it is
 *
 * Return: 0; -E2BIG above CKPT_FDS_MAX or CKPT_FDINFO_TOTAL_MAX; -ENOMEM.
 */
int ckpt_fds_add(struct ckpt_fds *fds, struct ckpt_fd *fd)
{
	int r;

	if (fd->fdinfo_bytes > CKPT_FDINFO_TOTAL_MAX - fds->fdinfo_bytes)
		return -E2BIG;
	r = LIST_GROW(fds, CKPT_FDS_MAX);
	if (r < 0)
		return r;
	fds->fdinfo_bytes += fd->fdinfo_bytes;
	fds->items[fds->n++] = *fd;
	*fd = (struct ckpt_fd){};
	return 0;
}

/* The entry of a key the kernel has just shown: one that comes again comes soon. NULL: new. */
static struct ckpt_fdinfo *fdinfo_find(struct ckpt_fd *fd, const char *key)
{
	for (size_t i = 0; i < fd->n_fdinfo && i < FDINFO_RECENT; i++) {
		struct ckpt_fdinfo *fdinfo = &fd->fdinfo[fd->n_fdinfo - 1 - i];

		if (strcmp(fdinfo->key, key) == 0)
			return fdinfo;
	}
	return NULL;
}

static int fdinfo_append(struct ckpt_fdinfo *fdinfo, const char *line, size_t len)
{
	size_t need = fdinfo->len + len + 2;
	char *value;

	if (need > fdinfo->size) {
		value = realloc(fdinfo->value, 2 * need);
		if (!value)
			return -ENOMEM;
		fdinfo->value = value;
		fdinfo->size = 2 * need;
	}
	fdinfo->value[fdinfo->len++] = '\n';
	memcpy(fdinfo->value + fdinfo->len, line, len + 1);
	fdinfo->len += len;
	return 0;
}

static int fdinfo_add(struct ckpt_fd *fd, const char *key, const char *value, size_t len)
{
	cleanup_free char *k = NULL;
	cleanup_free char *v = NULL;
	int r;

	r = list_grow((void **)&fd->fdinfo, fd->n_fdinfo, &fd->fdinfo_size, sizeof(fd->fdinfo[0]),
		      CKPT_FDINFO_KEYS_MAX);
	if (r < 0)
		return r;
	r = ckpt_strdup(key, &k);
	if (r < 0)
		return r;
	r = ckpt_strdup(value, &v);
	if (r < 0)
		return r;

	fd->fdinfo[fd->n_fdinfo++] = (struct ckpt_fdinfo){
		.key = steal_pointer(k),
		.value = steal_pointer(v),
		.len = len,
		.size = len + 1,
	};
	return 0;
}

/**
 * ckpt_fd_add_fdinfo() - append a line of fdinfo to its key, or several with newlines between
 *
 * Return: 0; -E2BIG above CKPT_FDINFO_MAX bytes or CKPT_FDINFO_KEYS_MAX; -ENOMEM. Both strings
 * are copied.
 */
int ckpt_fd_add_fdinfo(struct ckpt_fd *fd, const char *key, const char *value)
{
	struct ckpt_fdinfo *fdinfo = fdinfo_find(fd, key);
	size_t len = strlen(value), more = len + 1 + (fdinfo ? 0 : strlen(key));
	int r;

	if (more > CKPT_FDINFO_MAX - fd->fdinfo_bytes)
		return -E2BIG;
	r = fdinfo ? fdinfo_append(fdinfo, value, len) : fdinfo_add(fd, key, value, len);
	if (r == 0)
		fd->fdinfo_bytes += more;
	return r;
}

void ckpt_omitteds_done(struct ckpt_omitteds *omitted)
{
	for (size_t i = 0; i < omitted->n; i++) {
		free(omitted->items[i].what);
		free(omitted->items[i].call);
		free(omitted->items[i].err);
	}
	free(omitted->items);
	*omitted = (struct ckpt_omitteds){};
}

/**
 * ckpt_omitteds_add_row() - append a row with the error's name as it is
 *
 * Return: 0; -E2BIG above CKPT_OMITTED_MAX; -ENOMEM. The strings are copied.
 */
int ckpt_omitteds_add_row(struct ckpt_omitteds *omitted, const struct ckpt_omitted *row)
{
	cleanup_free char *what = NULL;
	cleanup_free char *call = NULL;
	cleanup_free char *err = NULL;
	int r;

	r = LIST_GROW(omitted, CKPT_OMITTED_MAX);
	if (r < 0)
		return r;
	r = ckpt_strdup(row->what, &what);
	if (r < 0)
		return r;
	r = ckpt_strdup(row->call, &call);
	if (r < 0)
		return r;
	r = ckpt_strdup(row->err, &err);
	if (r < 0)
		return r;

	omitted->items[omitted->n++] = (struct ckpt_omitted){ .what = steal_pointer(what),
							      .call = steal_pointer(call),
							      .err = steal_pointer(err) };
	return 0;
}

/**
 * ckpt_omitteds_add() - append what could not be had
 * @err: errno of @call, of either sign
 *
 * Return: 0; -E2BIG above CKPT_OMITTED_MAX; -ENOMEM. The strings are copied.
 */
int ckpt_omitteds_add(struct ckpt_omitteds *omitted, const char *what, const char *call, int err)
{
	const char *name = strerrorname_np(err < 0 ? -err : err);
	struct ckpt_omitted row = {
		.what = (char *)what,
		.call = (char *)call,
		.err = (char *)(name ? name : "EIO"),
	};

	return ckpt_omitteds_add_row(omitted, &row);
}

static void strings_done(struct ckpt_strings *strings)
{
	for (size_t i = 0; i < strings->n; i++)
		free(strings->items[i]);
	free(strings->items);
	*strings = (struct ckpt_strings){};
}

/* Return: 0; -E2BIG above CKPT_STRINGS_MAX; -ENOMEM. @s is copied. */
int ckpt_strings_add(struct ckpt_strings *strings, const char *s)
{
	int r;

	r = LIST_GROW(strings, CKPT_STRINGS_MAX);
	if (r < 0)
		return r;
	r = ckpt_strdup(s, &strings->items[strings->n]);
	if (r < 0)
		return r;
	strings->n++;
	return 0;
}

static void named_done(struct ckpt_named_u64s *named)
{
	for (size_t i = 0; i < named->n; i++)
		free(named->items[i].name);
	free(named->items);
	*named = (struct ckpt_named_u64s){};
}

/* Return: 0; -E2BIG above CKPT_NAMED_MAX; -ENOMEM. @name is copied. */
int ckpt_named_add(struct ckpt_named_u64s *named, const char *name, uint64_t value)
{
	struct ckpt_named_u64 item = { .value = value };
	int r;

	r = LIST_GROW(named, CKPT_NAMED_MAX);
	if (r < 0)
		return r;
	r = ckpt_strdup(name, &item.name);
	if (r < 0)
		return r;
	named->items[named->n++] = item;
	return 0;
}

static void rlimits_done(struct ckpt_rlimits *rlimits)
{
	for (size_t i = 0; i < rlimits->n; i++)
		free(rlimits->items[i].name);
	free(rlimits->items);
	*rlimits = (struct ckpt_rlimits){};
}

/* Return: 0; -E2BIG above CKPT_NAMED_MAX; -ENOMEM. @name is copied. */
int ckpt_rlimits_add(struct ckpt_rlimits *rlimits, const char *name, uint64_t soft, uint64_t hard)
{
	struct ckpt_rlimit item = { .soft = soft, .hard = hard };
	int r;

	r = LIST_GROW(rlimits, CKPT_NAMED_MAX);
	if (r < 0)
		return r;
	r = ckpt_strdup(name, &item.name);
	if (r < 0)
		return r;
	rlimits->items[rlimits->n++] = item;
	return 0;
}

void ckpt_info_done(struct ckpt_info *info)
{
	free(info->cwd);
	free(info->exe);
	free(info->comm);
	free(info->root);
	free(info->groups);
	strings_done(&info->cmdline);
	named_done(&info->caps);
	named_done(&info->namespaces);
	rlimits_done(&info->rlimits);
	*info = (struct ckpt_info){};
}

void ckpt_meta_done(struct ckpt_meta *meta)
{
	free(meta->name);
	free(meta->cow_snapshot);
	free(meta->sandckpt);
	free(meta->mode_reason);
	ckpt_omitteds_done(&meta->omitted);
	*meta = (struct ckpt_meta){};
}

struct ckpt_checkpoint *ckpt_checkpoint_free(struct ckpt_checkpoint *checkpoint)
{
	if (!checkpoint)
		return NULL;
	ckpt_meta_done(&checkpoint->meta);
	ckpt_info_done(&checkpoint->info);
	ckpt_fds_done(&checkpoint->fds);
	ckpt_regions_done(&checkpoint->regions);
	ckpt_threads_done(&checkpoint->threads);
	free(checkpoint);
	return NULL;
}
