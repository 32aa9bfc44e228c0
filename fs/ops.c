/* SPDX-License-Identifier: Apache-2.0 */

/*
 * FUSE requests, translated: each fetches what it is about, calls one function of tree or desk,
 * and replies once. A node's number is its address, but for the root's.
 */

#include "fs/server-internal.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "format/cleanup.h"
#include "format/store.h"
#include "fs/chores.h"
#include "fs/desk.h"
#include "fs/options.h"
#include "fs/terminal.h"
#include "fs/tree.h"

#define OPS_DAY_S 86400.0 /* below a whole checkpoint nothing changes */
#define OPS_ENTRY_MIN 128 /* bytes of an entry with attributes: fewer than any has */

/* An open file. */
struct ops_handle {
	struct ckfs_file file;
	struct ckfs_ctl *ctl; /* NULL: a file of a checkpoint */
	bool same;	      /* as it was when the kernel read it last */
	struct stat st;	      /* of when it was opened */
};

/* An open directory: its names as they were when it was opened, or rewound. */
struct ops_dir {
	pthread_mutex_t lock; /* of all that follows */
	struct ckfs_listing listing;
	bool used;
};

static struct ckfs_server *ops_server(fuse_req_t req)
{
	struct ckfs_server *server = fuse_req_userdata(req);
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	atomic_store_explicit(&server->last_used_ms, now.tv_sec * 1000LL + now.tv_nsec / 1000000,
			      memory_order_relaxed);
	return server;
}

static struct ckfs_node *ops_node(struct ckfs_server *server, fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? ckfs_tree_root(server->tree)
				   : (struct ckfs_node *)(uintptr_t)ino;
}

static fuse_ino_t ops_ino(struct ckfs_server *server, struct ckfs_node *node)
{
	return node == ckfs_tree_root(server->tree) ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)node;
}

static struct fuse_entry_param ops_entry(struct ckfs_server *server, const struct ckfs_entry *entry)
{
	return (struct fuse_entry_param){
		.ino = ops_ino(server, entry->node),
		.attr = entry->st,
		.entry_timeout = entry->trust == CKFS_TRUST_NONE ? 0 : OPS_DAY_S,
		.attr_timeout = entry->trust == CKFS_TRUST_ALL ? OPS_DAY_S : 0,
	};
}

static void ops_init(void *userdata, struct fuse_conn_info *conn)
{
	struct ckfs_server *server = userdata;

	conn->want |= conn->capable &
		      (FUSE_CAP_READDIRPLUS | FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_PARALLEL_DIROPS);
	if (!server->params.options->foreground)
		ckfs_terminal_leave();
	(void)ckfs_desk_tell(server->desk, CKFS_ASK_READY);
}

static void ops_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct ckfs_server *server = ops_server(req);
	struct fuse_entry_param param;
	struct ckfs_entry entry;
	int r;

	r = ckfs_tree_lookup(server->tree, ops_node(server, parent), name, &entry);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}
	param = ops_entry(server, &entry);
	if (fuse_reply_entry(req, &param) < 0)
		ckfs_tree_forget(server->tree, entry.node, 1); /* interrupted: it never counted */
}

static void ops_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n_lookups)
{
	struct ckfs_server *server = ops_server(req);

	ckfs_tree_forget(server->tree, ops_node(server, ino), n_lookups);
	fuse_reply_none(req);
}

static void ops_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct ckfs_server *server = ops_server(req);

	for (size_t i = 0; i < count; i++)
		ckfs_tree_forget(server->tree, ops_node(server, forgets[i].ino),
				 forgets[i].nlookup);
	fuse_reply_none(req);
}

static void ops_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct ckfs_server *server = ops_server(req);
	struct ckfs_entry entry;
	int r;

	r = ckfs_tree_stat(server->tree, ops_node(server, ino), &entry);
	/* The kernel asks, too, for who reads on in a file that was removed: it never changes. */
	if (r == -ENOENT && fi && !((struct ops_handle *)(uintptr_t)fi->fh)->ctl)
		fuse_reply_attr(req, &((struct ops_handle *)(uintptr_t)fi->fh)->st, OPS_DAY_S);
	else if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_attr(req, &entry.st, entry.trust == CKFS_TRUST_ALL ? OPS_DAY_S : 0);
}

/* truncate(2) of ctl is what some shells do for >, and changes nothing. */
static void ops_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
			struct fuse_file_info *fi)
{
	struct ckfs_server *server = ops_server(req);
	bool of_owner = to_set & (FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID);

	if (!ckfs_node_is_ctl(ops_node(server, ino)) || of_owner || !(to_set & FUSE_SET_ATTR_SIZE))
		fuse_reply_err(req, EPERM);
	else
		ops_getattr(req, ino, fi);
}

static void ops_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct ckfs_server *server = ops_server(req);
	cleanup_free char *target = NULL;
	int r;

	r = ckfs_tree_readlink(server->tree, ops_node(server, ino), &target);
	if (r < 0)
		fuse_reply_err(req, -r);
	else
		fuse_reply_readlink(req, target);
}

static struct ops_handle *ops_handle_free(struct ops_handle *handle)
{
	ckfs_file_done(&handle->file);
	ckfs_ctl_free(handle->ctl);
	free(handle);
	return NULL;
}

static int ops_handle_new(struct ckfs_server *server, fuse_req_t req, fuse_ino_t ino, int flags,
			  struct ops_handle **ret)
{
	struct ckfs_node *node = ops_node(server, ino);
	struct ckfs_entry entry = {};
	struct ops_handle *handle;
	int r;

	handle = calloc(1, sizeof(*handle));
	if (!handle)
		return -ENOMEM;
	handle->file.fd = -EBADF;

	if (ckfs_node_is_ctl(node))
		r = ckfs_ctl_new(fuse_req_ctx(req), &handle->ctl);
	else if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC))
		r = -EPERM;
	else
		r = ckfs_tree_open(server->tree, node, &handle->same, &handle->file);
	if (r == 0 && !handle->ctl)
		r = ckfs_tree_stat(server->tree, node, &entry);
	if (r < 0) {
		ops_handle_free(handle);
		return r;
	}

	handle->st = entry.st;
	*ret = handle;
	return 0;
}

static void ops_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct ckfs_server *server = ops_server(req);
	struct ops_handle *handle;
	int r;

	r = ops_handle_new(server, req, ino, fi->flags, &handle);
	if (r < 0) {
		fuse_reply_err(req, -r);
		return;
	}

	fi->fh = (uint64_t)(uintptr_t)handle;
	fi->direct_io = handle->ctl != NULL;
	/* Text that is rendered changes with a rename: what was cached may be another name's. */
	fi->keep_cache = handle->file.fd >= 0 && handle->same;
	fi->noflush = 1;
	atomic_fetch_add(&server->n_open, 1);
	if (fuse_reply_open(req, fi) < 0) {
		atomic_fetch_sub(&server->n_open, 1); /* interrupted: no release will come */
		ops_handle_free(handle);
	}
}

static void ops_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct ckfs_server *server = ops_server(req);

	ops_handle_free((struct ops_handle *)(uintptr_t)fi->fh);
	atomic_fetch_sub(&server->n_open, 1);
	fuse_reply_err(req, 0);
}

/* By a copy: once it is replied to, the file may be closed, and its text freed. */
static void ops_read_text(fuse_req_t req, const struct ckfs_file *file, size_t size,
			  uint64_t offset)
{
	size_t start = offset < file->len ? offset : file->len;
	size_t len = file->len - start < size ? file->len - start : size;
	cleanup_free char *copy = malloc(len + 1);

	if (!copy) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	memcpy(copy, file->text + start, len);
	fuse_reply_buf(req, copy, len);
}

static void ops_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		     struct fuse_file_info *fi)
{
	struct ckfs_server *server = ops_server(req);
	struct ops_handle *handle = (struct ops_handle *)(uintptr_t)fi->fh;
	struct fuse_bufvec buf = FUSE_BUFVEC_INIT(size);
	int r;

	if (handle->ctl) {
		r = ckfs_desk_read(server->desk, handle->ctl, req, size, (uint64_t)offset);
		if (r < 0)
			fuse_reply_err(req, -r);
	} else if (handle->file.fd >= 0) {
		buf.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
		buf.buf[0].fd = handle->file.fd;
		buf.buf[0].pos = offset;
		fuse_reply_data(req, &buf, FUSE_BUF_SPLICE_MOVE);
	} else {
		ops_read_text(req, &handle->file, size, (uint64_t)offset);
	}
}

static void ops_write(fuse_req_t req, fuse_ino_t ino, const char *text, size_t size, off_t offset,
		      struct fuse_file_info *fi)
{
	struct ckfs_server *server = ops_server(req);
	struct ops_handle *handle = (struct ops_handle *)(uintptr_t)fi->fh;
	int r;

	r = handle->ctl ? ckfs_desk_write(server->desk, handle->ctl, req, text, size) : -EPERM;
	if (r < 0)
		fuse_reply_err(req, -r);
}

/* Must never be ENOSYS: one such answer turns SEEK_HOLE off for the whole mount. */
static void ops_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence,
		      struct fuse_file_info *fi)
{
	struct ops_handle *handle = (struct ops_handle *)(uintptr_t)fi->fh;
	off_t len = (off_t)handle->file.len;

	if (whence != SEEK_DATA && whence != SEEK_HOLE) {
		fuse_reply_err(req, EINVAL);
	} else if (handle->file.fd >= 0) {
		/* Reading is by offset: the descriptor's own position is nobody's. */
		offset = lseek(handle->file.fd, offset, whence);
		if (offset < 0)
			fuse_reply_err(req, errno);
		else
			fuse_reply_lseek(req, offset);
	} else if (offset < 0 || offset >= len) {
		fuse_reply_err(req, ENXIO);
	} else {
		fuse_reply_lseek(req, whence == SEEK_DATA ? offset : len);
	}
}

static void ops_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct ckfs_server *server = ops_server(req);
	struct ops_dir *dir = calloc(1, sizeof(*dir));

	if (!dir) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	pthread_mutex_init(&dir->lock, NULL);

	fi->fh = (uint64_t)(uintptr_t)dir;
	fi->cache_readdir = fi->keep_cache =
	    ckfs_tree_is_settled(server->tree, ops_node(server, ino));
	atomic_fetch_add(&server->n_open, 1);
	if (fuse_reply_open(req, fi) < 0) {
		atomic_fetch_sub(&server->n_open, 1);
		free(dir);
	}
}

static void ops_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct ckfs_server *server = ops_server(req);
	struct ops_dir *dir = (struct ops_dir *)(uintptr_t)fi->fh;

	ckfs_listing_done(&dir->listing);
	pthread_mutex_destroy(&dir->lock);
	free(dir);
	atomic_fetch_sub(&server->n_open, 1);
	fuse_reply_err(req, 0);
}

/* The names are taken down once, so an offset means the same name until it is rewound. */
static int ops_dir_fill(struct ckfs_server *server, struct ops_dir *dir, struct ckfs_node *node,
			off_t offset)
{
	int r;

	if (dir->used && offset > 0)
		return 0;
	ckfs_listing_done(&dir->listing);
	dir->used = true;

	r = ckfs_listing_add(&dir->listing, ".", S_IFDIR, 0);
	if (r == 0)
		r = ckfs_listing_add(&dir->listing, "..", S_IFDIR, 0);
	return r < 0 ? r : ckfs_tree_list(server->tree, node, &dir->listing);
}

static bool ops_is_dots(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

static size_t ops_add_plain(fuse_req_t req, char *buf, size_t room, const struct ckfs_name *name,
			    off_t next)
{
	struct stat st = { .st_ino = name->ino ?: FUSE_ROOT_ID, .st_mode = name->mode };

	return fuse_add_direntry(req, buf, room, name->name, &st, next);
}

/*
 * 0 when what the name meant is gone; else its size, be it added or too large for @room.
 * @ret: the node that was looked up, if one was; NULL else
 */
static size_t ops_add_plus(fuse_req_t req, struct ckfs_server *server, struct ckfs_node *node,
			   char *buf, size_t room, const struct ckfs_name *name, off_t next,
			   struct ckfs_node **ret)
{
	struct fuse_entry_param param = {
		.attr = { .st_ino = FUSE_ROOT_ID, .st_mode = name->mode },
	};
	struct ckfs_entry entry = {};
	size_t n;
	int r;

	/*
	 * The kernel looks . and .. up by itself; an entry without a number counts no look-up, and
	 * leaves the kernel to ask what is wrong with it.
	 */
	if (!ops_is_dots(name->name)) {
		param.attr.st_ino = name->ino ?: FUSE_ROOT_ID;
		r = ckfs_tree_lookup(server->tree, node, name->name, &entry);
		if (r == -ENOENT)
			return 0;
		if (r == 0)
			param = ops_entry(server, &entry);
	}
	n = fuse_add_direntry_plus(req, buf, room, name->name, &param, next);
	if (n > room && entry.node)
		ckfs_tree_forget(server->tree, entry.node, 1);
	else
		*ret = entry.node;
	return n;
}

/* What goes into one reply to readdir, or readdirplus. */
struct ops_page {
	char *buf;
	size_t size, len;
	struct ckfs_node **nodes; /* looked up for it; NULL: plain names */
	size_t n_nodes;
};

static int ops_page_fill(fuse_req_t req, struct ckfs_server *server, struct ops_dir *dir,
			 struct ckfs_node *node, off_t offset, struct ops_page *page)
{
	int r;

	r = ops_dir_fill(server, dir, node, offset);
	for (size_t i = (size_t)offset; r == 0 && i < dir->listing.n; i++) {
		const struct ckfs_name *name = &dir->listing.items[i];
		size_t room = page->size - page->len, n;
		char *at = page->buf + page->len;
		struct ckfs_node *found = NULL;

		n = page->nodes
			? ops_add_plus(req, server, node, at, room, name, (off_t)i + 1, &found)
			: ops_add_plain(req, at, room, name, (off_t)i + 1);
		if (n > room)
			break;
		page->len += n;
		if (found)
			page->nodes[page->n_nodes++] = found;
	}
	return r;
}

static void ops_list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		     struct fuse_file_info *fi, bool plus)
{
	struct ckfs_server *server = ops_server(req);
	struct ops_dir *dir = (struct ops_dir *)(uintptr_t)fi->fh;
	cleanup_free char *buf = malloc(size);
	cleanup_free struct ckfs_node **nodes = NULL;
	struct ops_page page = { .buf = buf, .size = size };
	int r;

	if (plus)
		page.nodes = nodes = calloc(size / OPS_ENTRY_MIN + 1, sizeof(*nodes));
	if (!buf || (plus && !nodes)) {
		fuse_reply_err(req, ENOMEM);
		return;
	}

	pthread_mutex_lock(&dir->lock);
	r = ops_page_fill(req, server, dir, ops_node(server, ino), offset, &page);
	pthread_mutex_unlock(&dir->lock);

	r = r < 0 ? fuse_reply_err(req, -r) : fuse_reply_buf(req, buf, page.len);
	/* Interrupted: the kernel took none of the look-ups. After an error there are none. */
	for (size_t i = 0; r < 0 && i < page.n_nodes; i++)
		ckfs_tree_forget(server->tree, page.nodes[i], 1);
}

static void ops_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
			struct fuse_file_info *fi)
{
	ops_list(req, ino, size, offset, fi, false);
}

static void ops_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
			    struct fuse_file_info *fi)
{
	ops_list(req, ino, size, offset, fi, true);
}

static void ops_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct ckfs_server *server = ops_server(req);
	struct statvfs st;

	if (fstatvfs(ckpt_store_fd(server->params.store), &st) < 0)
		fuse_reply_err(req, errno);
	else
		fuse_reply_statfs(req, &st);
}

/* A rename that waits for the broker. */
struct ops_rename {
	struct ckfs_server *server;
	char *name, *new_name; /* both in the root */
};

static struct ops_rename *ops_rename_free(struct ops_rename *rename)
{
	free(rename->name);
	free(rename->new_name);
	free(rename);
	return NULL;
}

static int ops_rename_new(struct ckfs_server *server, const char *name, const char *new_name,
			  struct ops_rename **ret)
{
	struct ops_rename *rename = calloc(1, sizeof(*rename));

	if (!rename)
		return -ENOMEM;
	rename->server = server;
	rename->name = strdup(name);
	rename->new_name = strdup(new_name);
	if (!rename->name || !rename->new_name) {
		ops_rename_free(rename);
		return -ENOMEM;
	}

	*ret = rename;
	return 0;
}

static void ops_rename_now(void *userdata, fuse_req_t req, int error)
{
	struct ops_rename *rename = userdata;
	struct ckfs_tree *tree = rename->server->tree;
	struct ckfs_node *root = ckfs_tree_root(tree);

	if (error != EEXIST) /* a broker that is gone reserves no names */
		error = -ckfs_tree_rename(tree, root, rename->name, root, rename->new_name);
	ops_rename_free(rename);
	fuse_reply_err(req, error);
}

/* A name that a running capture is to have is the broker's to know. */
static int ops_rename_ask(fuse_req_t req, struct ckfs_server *server, const char *name,
			  const char *new_name)
{
	struct ops_rename *rename;
	int r;

	r = ops_rename_new(server, name, new_name, &rename);
	if (r < 0)
		return r;
	r = ckfs_desk_ask_name(server->desk, req, new_name, ops_rename_now, rename);
	if (r == -EIO) {
		ops_rename_now(rename, req, EIO);
		return 0;
	}
	if (r < 0)
		ops_rename_free(rename);
	return r == -EAGAIN ? -EBUSY : r;
}

static void ops_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
		       const char *new_name, unsigned flags)
{
	struct ckfs_server *server = ops_server(req);
	int r = -EINVAL;

	/* Nothing is ever replaced, so RENAME_NOREPLACE asks for what is done anyway. */
	if (!(flags & ~RENAME_NOREPLACE))
		r = ckfs_tree_check_rename(server->tree, ops_node(server, parent), name,
					   ops_node(server, new_parent), new_name);
	if (r == 0)
		r = ops_rename_ask(req, server, name, new_name);
	if (r < 0)
		fuse_reply_err(req, -r);
}

static void ops_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct ckfs_server *server = ops_server(req);
	int r;

	r = ckfs_tree_remove(server->tree, ops_node(server, parent), name);
	if (r == 0)
		ckfs_chores_sweep(server->chores);
	fuse_reply_err(req, -r);
}

/*
 * What would change the tree is refused by name: without a function libfuse answers ENOSYS,
 * and the kernel tries other ways.
 */
static void ops_refuse_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
			     dev_t rdev)
{
	fuse_reply_err(req, EPERM);
}

static void ops_refuse_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	fuse_reply_err(req, EPERM);
}

static void ops_refuse_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, EPERM);
}

static void ops_refuse_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
			       const char *name)
{
	fuse_reply_err(req, EPERM);
}

static void ops_refuse_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, EPERM);
}

static void ops_refuse_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
			      struct fuse_file_info *fi)
{
	fuse_reply_err(req, EPERM);
}

static void ops_refuse_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
				size_t size, int flags)
{
	fuse_reply_err(req, EPERM);
}

static void ops_refuse_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	fuse_reply_err(req, EPERM);
}

const struct fuse_lowlevel_ops ckfs_ops = {
	.init = ops_init,
	.lookup = ops_lookup,
	.forget = ops_forget,
	.forget_multi = ops_forget_multi,
	.getattr = ops_getattr,
	.setattr = ops_setattr,
	.readlink = ops_readlink,
	.open = ops_open,
	.release = ops_release,
	.read = ops_read,
	.write = ops_write,
	.lseek = ops_lseek,
	.opendir = ops_opendir,
	.releasedir = ops_releasedir,
	.readdir = ops_readdir,
	.readdirplus = ops_readdirplus,
	.statfs = ops_statfs,
	.rename = ops_rename,
	.rmdir = ops_rmdir,
	.mknod = ops_refuse_mknod,
	.mkdir = ops_refuse_mkdir,
	.unlink = ops_refuse_unlink,
	.symlink = ops_refuse_symlink,
	.link = ops_refuse_link,
	.create = ops_refuse_create,
	.setxattr = ops_refuse_setxattr,
	.removexattr = ops_refuse_removexattr,
};
