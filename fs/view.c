/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/view.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/cleanup.h"
#include "format/fdio.h"
#include "format/layout.h"
#include "fs/content.h"

#define VIEW_DEPTH_MAX 4 /* components below a ** */
#define VIEW_FROZEN "frozen:"

/* Where what a row shows comes from. */
struct view_source {
	int (*find)(const struct ckfs_place *place, const struct ckfs_row *row, const char *path,
		    struct ckfs_item *ret);
	int (*open)(const struct ckfs_place *place, const char *path, uint64_t known,
		    struct ckfs_file *ret);
	int (*readlink)(const struct ckfs_place *place, const struct ckfs_row *row,
			const char *path, char **ret);
};

struct ckfs_row {
	const char *pattern; /* last component: a name, * for any, ** for any path of any depth */
	mode_t mode;	     /* 0: a file or a directory, as stored */
	const struct view_source *source;
	const char *target; /* of a link within the checkpoint */
	int link;	    /* enum ckfs_link, of a frozen one */
	bool (*shows)(const struct ckfs_place *place, const char *path); /* NULL: all */
	/* Names that no directory of the store holds. */
	int (*list)(const struct ckfs_place *place, struct ckfs_listing *listing);
};

static const char *view_base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* What stands where a file should, or leads away, is not there. */
static int view_missing(int r)
{
	return r == -ELOOP || r == -ENOTDIR || r == -EXDEV ? -ENOENT : r;
}

static int view_find_stored(const struct ckfs_place *place, const struct ckfs_row *row,
			    const char *path, struct ckfs_item *ret)
{
	cleanup_fd int fd = -EBADF;
	struct stat st;
	mode_t mode;

	fd = ckpt_fd_open_beneath(place->dirfd, path, O_PATH | O_NOFOLLOW);
	if (fd < 0)
		return view_missing(fd);
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return -ENOENT;
	mode = row->mode ?: S_ISDIR(st.st_mode) ? S_IFDIR | 0700 : S_IFREG | 0400;
	if ((mode & S_IFMT) != (st.st_mode & S_IFMT))
		return -ENOENT;

	*ret = (struct ckfs_item){ .row = row, .mode = mode };
	if (S_ISREG(mode)) {
		ret->size = (uint64_t)st.st_size;
		ret->blocks = (uint64_t)st.st_blocks;
	}
	return 0;
}

/* Held against SHA256SUMS unless it is what it was when that was done before. */
static int view_open_stored(const struct ckfs_place *place, const char *path, uint64_t known,
			    struct ckfs_file *ret)
{
	cleanup_fd int fd = -EBADF;
	uint64_t stamp;
	struct stat st;
	int r;

	fd = ckpt_fd_open_beneath(place->dirfd, path, O_RDONLY | O_NOFOLLOW);
	if (fd < 0)
		return view_missing(fd);
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOENT;
	stamp = ckfs_content_stamp(&st);
	if (!stamp || stamp != known) {
		r = ckfs_content_check(place->content, place->dirfd, path, fd);
		if (r < 0)
			return r;
	}

	*ret = (struct ckfs_file){ .fd = steal_fd(&fd), .stamp = stamp };
	return 0;
}

static int view_find_meta(const struct ckfs_place *place, const struct ckfs_row *row,
			  const char *path, struct ckfs_item *ret)
{
	struct ckfs_item item;
	int r;

	r = view_find_stored(place, row, path, &item);
	if (r < 0)
		return r;
	r = ckfs_content_meta_size(place->content, place->dirfd, place->name, &item.size);
	if (r < 0 && r != -EFBIG)
		return r;

	item.fickle = true;
	*ret = item;
	return 0;
}

/* Damage is looked for in what is stored, and what is shown is made from it. */
static int view_open_meta(const struct ckfs_place *place, const char *path, uint64_t known,
			  struct ckfs_file *ret)
{
	struct ckfs_file stored = { .fd = -EBADF }, file = { .fd = -EBADF };
	int r;

	r = view_open_stored(place, path, known, &stored);
	if (r < 0)
		return r;
	r = ckfs_content_meta(place->content, place->dirfd, place->name, &file.text, &file.len);
	if (r == -EFBIG) {
		*ret = stored;
		return 0;
	}
	file.stamp = stored.stamp;
	ckfs_file_done(&stored);
	if (r < 0)
		return r;

	*ret = file;
	return 0;
}

/* As long as what is stored: a digest takes the place of a digest. */
static int view_find_sums(const struct ckfs_place *place, const struct ckfs_row *row,
			  const char *path, struct ckfs_item *ret)
{
	int r = view_find_stored(place, row, path, ret);

	if (r == 0)
		ret->fickle = true;
	return r;
}

static int view_open_sums(const struct ckfs_place *place, const char *path, uint64_t known,
			  struct ckfs_file *ret)
{
	struct ckfs_file file = { .fd = -EBADF };
	int r;

	r = ckfs_content_sums(place->content, place->dirfd, place->name, &file.text, &file.len);
	if (r < 0)
		return r;

	*ret = file;
	return 0;
}

static int view_find_dir(const struct ckfs_place *place, const struct ckfs_row *row,
			 const char *path, struct ckfs_item *ret)
{
	*ret = (struct ckfs_item){ .row = row, .mode = row->mode };
	return 0;
}

static int view_readlink_within(const struct ckfs_place *place, const struct ckfs_row *row,
				const char *path, char **ret)
{
	cleanup_fd int fd = -EBADF;

	fd = ckpt_fd_open_beneath(place->dirfd, row->target, O_PATH | O_NOFOLLOW);
	if (fd < 0)
		return view_missing(fd);

	*ret = strdup(row->target);
	return *ret ? 0 : -ENOMEM;
}

/* Today's file of that name is not the frozen one: such a link leads nowhere. */
static int view_freeze(char *path, char **ret)
{
	cleanup_free char *owned = path;
	char *target;

	if (strlen(path) + strlen(VIEW_FROZEN) >= PATH_MAX)
		return -ENOENT; /* no link can be as long */
	if (asprintf(&target, "%s%s", VIEW_FROZEN, owned) < 0)
		return -ENOMEM;

	*ret = target;
	return 0;
}

static int view_readlink_info(const struct ckfs_place *place, const struct ckfs_row *row,
			      const char *path, char **ret)
{
	char *frozen;
	int r;

	r = ckfs_content_link(place->content, place->dirfd, (enum ckfs_link)row->link, &frozen);
	return r < 0 ? r : view_freeze(frozen, ret);
}

/* A number as we write it: no sign, no leading zeros. @ret_end: behind it. */
static bool view_number(const char *text, uint64_t max, uint64_t *ret, const char **ret_end)
{
	uint64_t n = 0;
	const char *p;

	for (p = text; *p >= '0' && *p <= '9'; p++) {
		if (n > max / 10)
			return false;
		n = n * 10 + (uint64_t)(*p - '0');
	}
	if (p == text || n > max || (*text == '0' && p - text > 1))
		return false;

	*ret = n;
	*ret_end = p;
	return true;
}

static int view_readlink_fd(const struct ckfs_place *place, const struct ckfs_row *row,
			    const char *path, char **ret)
{
	const char *end;
	char *frozen;
	uint64_t fd;
	int r;

	if (!view_number(view_base(path), INT32_MAX, &fd, &end) || *end)
		return -ENOENT;
	r = ckfs_content_fd(place->content, place->dirfd, (int32_t)fd, &frozen);
	return r < 0 ? r : view_freeze(frozen, ret);
}

static int view_find_link(const struct ckfs_place *place, const struct ckfs_row *row,
			  const char *path, struct ckfs_item *ret)
{
	cleanup_free char *target = NULL;
	int r;

	r = row->source->readlink(place, row, path, &target);
	if (r < 0)
		return r;

	*ret = (struct ckfs_item){ .row = row, .mode = row->mode, .size = strlen(target) };
	return 0;
}

static int view_add_fd(void *userdata, int32_t fd)
{
	char name[16];

	snprintf(name, sizeof(name), "%d", fd);
	return ckfs_listing_add(userdata, name, S_IFLNK | 0777, 0);
}

static int view_list_fds(const struct ckfs_place *place, struct ckfs_listing *listing)
{
	int r = ckfs_content_each_fd(place->content, place->dirfd, view_add_fd, listing);

	return r == -ENOENT ? 0 : r;
}

static bool view_shows_thread(const struct ckfs_place *place, const char *path)
{
	const char *end;
	uint64_t n;

	return view_number(view_base(path), UINT32_MAX, &n, &end) &&
	       (!strcmp(end, ".bin") || !strcmp(end, ".xstate"));
}

static bool view_shows_segment(const struct ckfs_place *place, const char *path)
{
	const char *end;
	uint64_t n;

	return view_number(view_base(path), UINT32_MAX, &n, &end) && !strcmp(end, ".bin") &&
	       n < ckfs_content_rows(place->content, place->dirfd);
}

/* Names as /proc has them: letters, digits and _ . - in each component, no leading dot. */
static bool view_shows_proc(const struct ckfs_place *place, const char *path)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789_.-";
	const char *p = path;

	for (;;) {
		size_t len = strspn(p, letters);

		if (len == 0 || *p == '.' || (p[len] && p[len] != '/'))
			return false;
		if (!p[len])
			return true;
		p += len + 1;
	}
}

static bool view_shows_visible(const struct ckfs_place *place, const char *path)
{
	return *view_base(path) != '.';
}

/* clang-format off */
static const struct view_source
	view_stored = { .find = view_find_stored, .open = view_open_stored },
	view_meta = { .find = view_find_meta, .open = view_open_meta },
	view_sums = { .find = view_find_sums, .open = view_open_sums },
	view_dir = { .find = view_find_dir },
	view_within = { .find = view_find_link, .readlink = view_readlink_within },
	view_info = { .find = view_find_link, .readlink = view_readlink_info },
	view_fd = { .find = view_find_link, .readlink = view_readlink_fd };

/* In readdir order. The first row that matches a path decides, so our names win over strays. */
static const struct ckfs_row view_seed[] = {
	{ CKPT_PATH_META,         S_IFREG | 0400, &view_meta },
	{ CKPT_PATH_POLICY,       S_IFREG | 0400, &view_stored },
	{ CKPT_PATH_APP_STATE,    S_IFREG | 0600, &view_stored },
	{ CKPT_PATH_SUMS,         S_IFREG | 0400, &view_sums },
	{ "fds.json",             S_IFLNK | 0777, &view_within, .target = CKPT_PATH_FDS },
	{ "memory",               S_IFLNK | 0777, &view_within, .target = CKPT_PATH_MEMORY },
	{ CKPT_PATH_PROCESS,      S_IFDIR | 0700, &view_stored },
	{ CKPT_PATH_INFO,         S_IFREG | 0400, &view_stored },
	{ CKPT_PATH_FDS,          S_IFREG | 0400, &view_stored },
	{ CKPT_PATH_MAP,          S_IFREG | 0400, &view_stored },
	{ CKPT_PATH_THREADS,      S_IFDIR | 0700, &view_stored },
	{ CKPT_PATH_THREADS "/*", S_IFREG | 0400, &view_stored, .shows = view_shows_thread },
	{ CKPT_PATH_MEMORY,       S_IFDIR | 0700, &view_stored },
	{ CKPT_PATH_MEMORY "/*",  S_IFREG | 0400, &view_stored, .shows = view_shows_segment },
	{ CKPT_PATH_PROC,         S_IFDIR | 0700, &view_dir },
	{ CKPT_PATH_PROC "/exe",  S_IFLNK | 0777, &view_info, .link = CKFS_LINK_EXE },
	{ CKPT_PATH_PROC "/cwd",  S_IFLNK | 0777, &view_info, .link = CKFS_LINK_CWD },
	{ CKPT_PATH_PROC "/root", S_IFLNK | 0777, &view_info, .link = CKFS_LINK_ROOT },
	{ CKPT_PATH_PROC "/fd",   S_IFDIR | 0700, &view_dir },
	{ CKPT_PATH_PROC "/fd/*", S_IFLNK | 0777, &view_fd, .list = view_list_fds },
	{ CKPT_PATH_PROC "/**",   0,              &view_stored, .shows = view_shows_proc },
	{}
};

/* A layout that is not the seed's. */
static const struct ckfs_row view_foreign[] = {
	{ CKPT_PATH_META,         S_IFREG | 0400, &view_meta },
	{ "**",                   0,              &view_stored, .shows = view_shows_visible },
	{}
};
/* clang-format on */

static const struct ckfs_row *view_table(const struct ckfs_place *place)
{
	return place->version == 0 ? view_seed : view_foreign;
}

static unsigned view_depth(const char *path)
{
	unsigned depth = *path ? 1 : 0;

	for (; *path; path++)
		depth += *path == '/';
	return depth;
}

/* @ret_last: the pattern's last component; its length before that, slash included, is returned. */
static size_t view_split(const struct ckfs_row *row, const char **ret_last)
{
	*ret_last = view_base(row->pattern);
	return (size_t)(*ret_last - row->pattern);
}

static bool view_row_matches(const struct ckfs_row *row, const char *path)
{
	const char *last;
	size_t len = view_split(row, &last);

	if (*last != '*')
		return !strcmp(row->pattern, path);
	if (strncmp(path, row->pattern, len) != 0 || !path[len])
		return false;
	return view_depth(path + len) <= (last[1] == '*' ? VIEW_DEPTH_MAX : 1);
}

/* Whether what the row shows may lie directly in directory @path. */
static bool view_row_is_in(const struct ckfs_row *row, const char *path)
{
	const char *last;
	size_t len = view_split(row, &last), path_len = strlen(path);

	if (last[0] == '*' && last[1] == '*' && path_len > 0 && path_len >= len)
		return !strncmp(path, row->pattern, len) && view_depth(path + len) < VIEW_DEPTH_MAX;
	return len == path_len + (path_len > 0) && !strncmp(path, row->pattern, path_len);
}

static const struct ckfs_row *view_match(const struct ckfs_place *place, const char *path)
{
	const struct ckfs_row *row;

	for (row = view_table(place); row->pattern; row++)
		if (view_row_matches(row, path))
			return !row->shows || row->shows(place, path) ? row : NULL;
	return NULL;
}

/**
 * ckfs_view_find() - what there is at a path of a checkpoint
 *
 * Return: 0; -ENOENT, for strays too; as openat2(2).
 */
int ckfs_view_find(const struct ckfs_place *place, const char *path, struct ckfs_item *ret)
{
	const struct ckfs_row *row = view_match(place, path);

	return row ? row->source->find(place, row, path, ret) : -ENOENT;
}

/**
 * ckfs_view_open() - open a file of a checkpoint
 * @known: the stamp it had when it was held against SHA256SUMS before; else 0
 * @ret: ckfs_file_done() frees it
 *
 * Return: 0; -ENOENT; -EIO when it is damaged; as openat2(2).
 */
int ckfs_view_open(const struct ckfs_place *place, const char *path, uint64_t known,
		   struct ckfs_file *ret)
{
	const struct ckfs_row *row = view_match(place, path);

	if (!row || !row->source->open)
		return -ENOENT;
	return row->source->open(place, path, known, ret);
}

/* Return: 0, the caller frees @ret; -ENOENT; -EINVAL when it is no link. */
int ckfs_view_readlink(const struct ckfs_place *place, const char *path, char **ret)
{
	const struct ckfs_row *row = view_match(place, path);

	if (!row)
		return -ENOENT;
	if (!row->source->readlink)
		return -EINVAL;
	return row->source->readlink(place, row, path, ret);
}

static bool view_is_of_kind(int dirfd, const struct dirent *de, mode_t mode, mode_t *ret)
{
	mode_t kind = (mode_t)DTTOIF(de->d_type);
	struct statx stx;

	if (de->d_type == DT_UNKNOWN) {
		if (statx(dirfd, de->d_name, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, STATX_TYPE,
			  &stx) < 0)
			return false;
		kind = stx.stx_mode & S_IFMT;
	}
	if (kind != S_IFREG && kind != S_IFDIR)
		return false;

	*ret = kind;
	return mode == 0 || (mode & S_IFMT) == kind;
}

/* The names in the store's directory that this row shows, no other. */
static int view_list_stored(const struct ckfs_place *place, const struct ckfs_row *row,
			    const char *path, struct ckfs_listing *listing)
{
	cleanup_dir DIR *dir = NULL;
	cleanup_fd int fd = -EBADF;
	char below[PATH_MAX];
	struct dirent *de;
	mode_t kind;
	int r;

	fd = ckpt_fd_open_beneath(place->dirfd, *path ? path : ".", O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return view_missing(fd) == -ENOENT ? 0 : fd;
	dir = fdopendir(fd);
	if (!dir)
		return -errno;
	steal_fd(&fd);

	for (;;) {
		errno = 0;
		de = readdir(dir);
		if (!de)
			return -errno;
		if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
			continue;
		snprintf(below, sizeof(below), "%s%s%s", path, *path ? "/" : "", de->d_name);
		if (view_match(place, below) != row ||
		    !view_is_of_kind(dirfd(dir), de, row->mode, &kind))
			continue;
		r = ckfs_listing_add(listing, de->d_name, kind, 0);
		if (r < 0)
			return r;
	}
}

static int view_list_row(const struct ckfs_place *place, const struct ckfs_row *row,
			 const char *path, struct ckfs_listing *listing)
{
	struct ckfs_item item;
	const char *last;
	int r;

	view_split(row, &last);
	if (row->list)
		return row->list(place, listing);
	if (*last == '*')
		return view_list_stored(place, row, path, listing);

	r = ckfs_view_find(place, row->pattern, &item);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	return ckfs_listing_add(listing, last, item.mode, 0);
}

/**
 * ckfs_view_list() - the names in a directory of a checkpoint
 * @path: "" for the checkpoint's own
 * @ret: what is found is added; also on failure ckfs_listing_done() frees it
 *
 * Return: 0; -E2BIG; -ENOMEM; as openat2(2), readdir(3).
 */
int ckfs_view_list(const struct ckfs_place *place, const char *path, struct ckfs_listing *ret)
{
	int r;

	for (const struct ckfs_row *row = view_table(place); row->pattern; row++) {
		if (!view_row_is_in(row, path))
			continue;
		r = view_list_row(place, row, path, ret);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Return: 0; -E2BIG above CKFS_LISTING_MAX names; -ENOMEM. */
int ckfs_listing_add(struct ckfs_listing *listing, const char *name, mode_t mode, uint64_t ino)
{
	struct ckfs_name *bigger;
	size_t size;

	if (listing->n >= CKFS_LISTING_MAX)
		return -E2BIG;
	if (listing->n == listing->size) {
		size = listing->size ? listing->size * 2 : 32;
		bigger = reallocarray(listing->items, size, sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		listing->items = bigger;
		listing->size = size;
	}

	listing->items[listing->n] = (struct ckfs_name){
		.name = strdup(name),
		.mode = mode & S_IFMT,
		.ino = ino,
	};
	if (!listing->items[listing->n].name)
		return -ENOMEM;
	listing->n++;
	return 0;
}

void ckfs_listing_done(struct ckfs_listing *listing)
{
	for (size_t i = 0; i < listing->n; i++)
		free(listing->items[i].name);
	free(listing->items);
	*listing = (struct ckfs_listing){};
}

void ckfs_file_done(struct ckfs_file *file)
{
	file->fd = close_fd(file->fd);
	free(file->text);
	file->text = NULL;
}
