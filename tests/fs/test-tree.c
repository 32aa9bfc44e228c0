/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree over a store, without a mount: what is shown of a checkpoint and what is not, under
 * which names and numbers, and what remains when parts are damaged, renamed or removed.
 */
#include "fs/tree.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <fcntl.h>
#include <unistd.h>

#include "format/fdio.h"
#include "format/store.h"
#include "format/sums.h"

#define PATH_SIZE 4096
#define OWNER 4711

struct fixture {
	char path[64];
	struct ckpt_store *store;
	struct ckfs_tree *tree;
};

__attribute__((format(printf, 1, 2))) static void shell(const char *format, ...)
{
	char command[3 * PATH_SIZE];
	va_list ap;

	va_start(ap, format);
	vsnprintf(command, sizeof(command), format, ap);
	va_end(ap);
	assert_int_equal(system(command), 0);
}

static void open_tree(struct fixture *f, size_t max_open)
{
	struct ckfs_tree_params params = { .uid = OWNER, .gid = OWNER, .max_open = max_open };

	assert_int_equal(ckpt_store_open(f->path, false, false, &f->store), 0);
	params.store = f->store;
	assert_int_equal(ckfs_tree_new(&params, &f->tree), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->path, "/tmp/ckfs-test-XXXXXX");
	assert_non_null(mkdtemp(f->path));
	shell("cp -r '%s/rich' '%s/sleep' '%s/v3-sleep' %s && chmod -R u+w %s", SAMPLES_DIR,
	      SAMPLES_DIR, SAMPLES_DIR, f->path, f->path);
	open_tree(f, 64);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ckfs_tree_free(f->tree);
	ckpt_store_free(f->store);
	assert_int_equal(ckpt_fd_remove_tree(AT_FDCWD, f->path), 0);
	free(f);
	return 0;
}

/* Walks a path from the root; the node that is found keeps one look-up. */
static int walk(struct fixture *f, const char *path, struct ckfs_entry *ret)
{
	struct ckfs_node *node = ckfs_tree_root(f->tree);
	char copy[PATH_SIZE], *rest = copy, *name;
	int r = 0;

	strcpy(copy, path);
	while (r == 0 && (name = strsep(&rest, "/"))) {
		r = ckfs_tree_lookup(f->tree, node, name, ret);
		ckfs_tree_forget(f->tree, node, 1);
		if (r == 0)
			node = ret->node;
	}
	return r;
}

static struct ckfs_node *must(struct fixture *f, const char *path, struct ckfs_entry *ret)
{
	if (walk(f, path, ret) != 0)
		fail_msg("there is no \"%s\"", path);
	return ret->node;
}

static void assert_absent(struct fixture *f, const char *path)
{
	struct ckfs_entry entry;

	if (walk(f, path, &entry) != -ENOENT)
		fail_msg("there is a \"%s\"", path);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in a directory, sorted, a blank between; and each can be looked up as it is listed. */
static void assert_list(struct fixture *f, const char *path, const char *expected)
{
	struct ckfs_listing listing = {};
	char text[PATH_SIZE] = "", *names[256];
	struct ckfs_node *node = ckfs_tree_root(f->tree);
	struct ckfs_entry entry;

	if (*path)
		node = must(f, path, &entry);
	assert_int_equal(ckfs_tree_list(f->tree, node, &listing), 0);
	assert_true(listing.n < 256);
	for (size_t i = 0; i < listing.n; i++) {
		names[i] = listing.items[i].name;
		assert_int_equal(ckfs_tree_lookup(f->tree, node, names[i], &entry), 0);
		assert_int_equal(entry.st.st_mode & S_IFMT, listing.items[i].mode);
		assert_int_equal(entry.st.st_ino, listing.items[i].ino);
		ckfs_tree_forget(f->tree, entry.node, 1);
	}
	qsort(names, listing.n, sizeof(names[0]), compare_names);
	for (size_t i = 0; i < listing.n; i++) {
		strcat(text, i ? " " : "");
		strcat(text, names[i]);
	}
	assert_string_equal(text, expected);
	ckfs_listing_done(&listing);
	ckfs_tree_forget(f->tree, node, 1);
}

static char *read_file(struct fixture *f, const char *path, size_t *ret_len)
{
	struct ckfs_entry entry;
	struct ckfs_file file;
	bool same;
	struct ckfs_node *node = must(f, path, &entry);
	void *data;
	int r;

	r = ckfs_tree_open(f->tree, node, &same, &file);
	ckfs_tree_forget(f->tree, node, 1);
	if (r < 0)
		fail_msg("cannot open \"%s\": %s", path, strerror(-r));
	if (file.fd >= 0) {
		assert_int_equal(ckpt_fd_slurp(file.fd, SIZE_MAX / 4, &data, ret_len), 0);
	} else {
		data = malloc(file.len + 1);
		memcpy(data, file.text, file.len);
		((char *)data)[file.len] = '\0';
		*ret_len = file.len;
	}
	ckfs_file_done(&file);
	assert_int_equal(entry.st.st_size, *ret_len);
	return data;
}

static int open_error(struct fixture *f, const char *path)
{
	struct ckfs_entry entry;
	struct ckfs_file file;
	bool same;
	struct ckfs_node *node = must(f, path, &entry);
	int r;

	r = ckfs_tree_open(f->tree, node, &same, &file);
	if (r == 0)
		ckfs_file_done(&file);
	ckfs_tree_forget(f->tree, node, 1);
	return r;
}

static void assert_link(struct fixture *f, const char *path, const char *expected)
{
	struct ckfs_entry entry;
	struct ckfs_node *node = must(f, path, &entry);
	char *target;

	assert_true(S_ISLNK(entry.st.st_mode));
	assert_int_equal(ckfs_tree_readlink(f->tree, node, &target), 0);
	assert_string_equal(target, expected);
	assert_int_equal(entry.st.st_size, strlen(expected));
	free(target);
	ckfs_tree_forget(f->tree, node, 1);
}

static void the_root_lists_ctl_and_checkpoints(void **state)
{
	struct fixture *f = *state;

	shell("mkdir %s/stray %s/half.tmp && cp -r %s/rich/. %s/half.tmp && ln -s rich %s/link && "
	      "mkfifo %s/fifo && mkdir -p %s/.sandckpt/staging && touch %s/file",
	      f->path, f->path, f->path, f->path, f->path, f->path, f->path, f->path);
	assert_list(f, "", "ctl rich sleep v3-sleep");
	assert_absent(f, "stray");
	assert_absent(f, "half.tmp");
	assert_absent(f, "link");
	assert_absent(f, "fifo");
	assert_absent(f, "file");
	assert_absent(f, ".sandckpt");
}

static void a_checkpoint_shows_its_layout(void **state)
{
	struct fixture *f = *state;

	assert_list(f, "rich", "app_state.bin fds.json memory meta.json policy.dat proc process");
	assert_list(f, "sleep", "fds.json memory meta.json policy.dat proc process");
	assert_list(f, "rich/process", "fds.json info.json memory memory_map.json threads");
	assert_list(f, "rich/process/threads", "0.bin");
	assert_list(f, "rich/process/memory", "0.bin 1.bin 2.bin 3.bin 4.bin 5.bin 6.bin 7.bin");
	assert_list(f, "rich/proc", "cwd exe fd");
	assert_list(f, "rich/proc/fd", "0 1 10 2 251");
	assert_link(f, "rich/fds.json", "process/fds.json");
	assert_link(f, "rich/memory", "process/memory");
	assert_link(f, "rich/proc/exe", "frozen:/usr/bin/sleep");
	assert_link(f, "rich/proc/fd/251", "frozen:pipe:[189137]");
}

static void strays_are_not_shown(void **state)
{
	static const char *const strays[] = {
		"rich/core",
		"rich/policy.json",
		"rich/process/extra",
		"rich/extra.d",
		"rich/process/threads/x.bin",
		"rich/process/threads/00.bin",
		"rich/process/memory/8.bin",
		"rich/process/memory/01.bin",
		"rich/process/memory/0.bin.bak",
		"rich/proc/.hidden",
		"rich/proc/bad name",
		"rich/proc/link",
		"rich/proc/fd/999",
		"rich/proc/fd/00",
		"rich/proc/a/b/c/d/e",
	};
	struct fixture *f = *state;

	shell("cd %s/rich && mkdir -p extra.d proc/fd proc/a/b/c/d && touch core policy.json "
	      "process/extra process/threads/x.bin process/threads/00.bin process/memory/8.bin "
	      "process/memory/01.bin process/memory/0.bin.bak proc/.hidden 'proc/bad name' "
	      "proc/fd/999 proc/fd/00 proc/a/b/c/d/e && ln -s /etc/passwd proc/link",
	      f->path);
	for (size_t i = 0; i < sizeof(strays) / sizeof(strays[0]); i++)
		assert_absent(f, strays[i]);
	assert_list(f, "rich", "app_state.bin fds.json memory meta.json policy.dat proc process");
	assert_list(f, "rich/process", "fds.json info.json memory memory_map.json threads");
	assert_list(f, "rich/process/threads", "0.bin");
	assert_list(f, "rich/process/memory", "0.bin 1.bin 2.bin 3.bin 4.bin 5.bin 6.bin 7.bin");
	assert_list(f, "rich/proc", "a cwd exe fd");
	assert_list(f, "rich/proc/a/b/c", "d");
	assert_list(f, "rich/proc/a/b/c/d", "");
}

static void links_in_the_store_are_not_followed(void **state)
{
	struct fixture *f = *state;

	shell("cd %s/rich && rm policy.dat process/info.json && ln -s meta.json policy.dat && "
	      "ln -s ../meta.json process/info.json && mv process/threads t && "
	      "ln -s ../t process/threads && mkfifo proc-fifo && mkdir proc && mkfifo proc/status",
	      f->path);
	assert_absent(f, "rich/policy.dat");
	assert_absent(f, "rich/process/info.json");
	assert_absent(f, "rich/process/threads");
	assert_absent(f, "rich/proc/status");
	assert_list(f, "rich", "app_state.bin fds.json memory meta.json proc process");
}

static void stored_proc_files_are_shown(void **state)
{
	struct fixture *f = *state;
	size_t len;
	char *text;

	shell("cd %s/rich && mkdir -p proc/task/12 proc/fdinfo && printf hello > "
	      "proc/task/12/comm && touch proc/status proc/oom_score_adj proc/fdinfo/3",
	      f->path);
	assert_list(f, "rich/proc", "cwd exe fd fdinfo oom_score_adj status task");
	assert_list(f, "rich/proc/task/12", "comm");
	text = read_file(f, "rich/proc/task/12/comm", &len);
	assert_string_equal(text, "hello");
	free(text);
}

static void our_names_win_over_stored_ones(void **state)
{
	struct fixture *f = *state;

	shell("cd %s/rich && mkdir proc && printf x > proc/exe && mkdir proc/fd && "
	      "printf x > proc/fd/1 && printf x > fds.json && mkdir memory",
	      f->path);
	assert_link(f, "rich/proc/exe", "frozen:/usr/bin/sleep");
	assert_link(f, "rich/proc/fd/1", "frozen:/dev/null");
	assert_link(f, "rich/fds.json", "process/fds.json");
	assert_link(f, "rich/memory", "process/memory");
}

static void damaged_json_hides_only_what_is_made_from_it(void **state)
{
	struct fixture *f = *state;
	size_t len;
	char *text;

	shell("cd %s/rich && printf '{' > process/info.json && printf '[{' > process/fds.json && "
	      "printf 'x' > process/memory_map.json && printf 'no json' > meta.json",
	      f->path);
	assert_list(f, "rich/proc", "fd");
	assert_list(f, "rich/proc/fd", "");
	assert_list(f, "rich/process", "fds.json info.json memory memory_map.json threads");
	assert_list(f, "rich/process/memory", "0.bin 1.bin 2.bin 3.bin 4.bin 5.bin 6.bin 7.bin");
	text = read_file(f, "rich/meta.json", &len);
	assert_string_equal(text, "no json");
	free(text);
	text = read_file(f, "rich/process/info.json", &len);
	assert_string_equal(text, "{");
	free(text);
}

static void another_layout_is_shown_as_plain_files(void **state)
{
	struct fixture *f = *state;

	shell("cd %s/v3-sleep && touch .hidden && mkdir -p a/b/c/d/e && ln -s x link", f->path);
	assert_list(f, "v3-sleep", "a meta.json policy.dat process");
	assert_list(f, "v3-sleep/process", "fds.json info.json memory memory_map.json threads");
	assert_list(f, "v3-sleep/process/threads", "0.bin fpregs.bin");
	assert_list(f, "v3-sleep/a/b/c", "d");
	assert_list(f, "v3-sleep/a/b/c/d", "");
	assert_absent(f, "v3-sleep/proc");
	assert_absent(f, "v3-sleep/memory");
	assert_absent(f, "v3-sleep/link");
}

static enum ckfs_trust trust_in(struct fixture *f, const char *path)
{
	struct ckfs_entry entry;

	ckfs_tree_forget(f->tree, must(f, path, &entry), 1);
	return entry.trust;
}

/* SHA256SUMS is written last of all; that more could come is over when the clock has gone on. */
static void settle(struct fixture *f, const char *name)
{
	time_t until = time(NULL) + 8; /* sooner than by being left alone for long */
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), "%s/process", name);
	shell("touch %s/%s/SHA256SUMS", f->path, name);
	while (trust_in(f, path) == CKFS_TRUST_NONE)
		assert_true(time(NULL) < until);
}

static void modes_and_owners_keep_secrets(void **state)
{
	struct fixture *f = *state;
	struct ckfs_entry entry;

	shell("cd %s/rich && chmod 0777 . process && chmod 0666 policy.dat", f->path);
	settle(f, "rich");
	ckfs_tree_forget(f->tree, must(f, "rich", &entry), 1);
	assert_int_equal(entry.st.st_mode, S_IFDIR | 0700);
	assert_int_equal(entry.trust, CKFS_TRUST_NONE);
	ckfs_tree_forget(f->tree, must(f, "rich/policy.dat", &entry), 1);
	assert_int_equal(entry.st.st_mode, S_IFREG | 0400);
	assert_int_equal(entry.st.st_uid, geteuid());
	assert_int_equal(entry.trust, CKFS_TRUST_ALL);
	ckfs_tree_forget(f->tree, must(f, "rich/app_state.bin", &entry), 1);
	assert_int_equal(entry.st.st_mode, S_IFREG | 0600);
	ckfs_tree_forget(f->tree, must(f, "rich/meta.json", &entry), 1);
	assert_int_equal(entry.trust, CKFS_TRUST_ENTRY);
	ckfs_tree_forget(f->tree, must(f, "ctl", &entry), 1);
	assert_int_equal(entry.st.st_mode, S_IFREG | 0600);
	assert_int_equal(entry.st.st_uid, OWNER);
	assert_int_equal(ckfs_tree_stat(f->tree, ckfs_tree_root(f->tree), &entry), 0);
	assert_int_equal(entry.st.st_mode, S_IFDIR | 0700);
	assert_int_equal(entry.st.st_ino, 1);
}

static void owner_and_time_come_from_meta_json(void **state)
{
	struct fixture *f = *state;
	struct ckfs_entry entry;

	shell("cat > %s/rich/meta.json <<E\n"
	      "{\"name\": \"rich\", \"cow_snapshot\": null, \"sandckpt\": \"0.1.0\", "
	      "\"created\": \"2026-11-23T20:15:00.123456789Z\", \"owner_uid\": 12345, "
	      "\"mode\": \"stop\", \"mode_reason\": null, \"pause_us\": 1, \"bytes\": 2, "
	      "\"omitted\": []}\nE",
	      f->path);
	ckfs_tree_forget(f->tree, must(f, "rich/process/info.json", &entry), 1);
	assert_int_equal(entry.st.st_uid, 12345);
	assert_int_equal(entry.st.st_mtim.tv_sec, 1795464900);
	assert_int_equal(entry.st.st_mtim.tv_nsec, 123456789);
}

static void numbers_are_stable(void **state)
{
	struct fixture *f = *state;
	struct ckfs_entry one, two;
	ino_t ino;

	must(f, "rich/policy.dat", &one);
	ino = one.st.st_ino;
	must(f, "rich/policy.dat", &two);
	assert_ptr_equal(one.node, two.node);
	ckfs_tree_forget(f->tree, one.node, 2);

	ckfs_tree_forget(f->tree, must(f, "rich/policy.dat", &one), 1);
	assert_int_equal(one.st.st_ino, ino);
	ckfs_tree_forget(f->tree, must(f, "sleep/policy.dat", &two), 1);
	assert_int_not_equal(two.st.st_ino, ino);
}

static void meta_json_has_the_directorys_name(void **state)
{
	struct fixture *f = *state;
	size_t len;
	char *text;

	text = read_file(f, "rich/meta.json", &len);
	assert_string_equal(text, "{\n  \"name\": \"rich\",\n  \"cow_snapshot\": "
				  "\"/snap/na\xc3\xafve\"\n}");
	free(text);
}

static void a_rename_keeps_the_node(void **state)
{
	struct fixture *f = *state;
	struct ckfs_node *root = ckfs_tree_root(f->tree);
	struct ckfs_entry dir, file, after;
	struct ckfs_file open;
	bool same;
	size_t len;
	char *text;

	must(f, "rich", &dir);
	must(f, "rich/meta.json", &file);
	assert_int_equal(ckfs_tree_rename(f->tree, root, "rich", root, "a much longer name"), 0);

	assert_absent(f, "rich");
	must(f, "a much longer name", &after);
	assert_ptr_equal(after.node, dir.node);
	ckfs_tree_forget(f->tree, dir.node, 2);

	assert_int_equal(ckfs_tree_stat(f->tree, file.node, &after), 0);
	assert_int_equal(after.st.st_size,
			 file.st.st_size + (off_t)(strlen("a much longer name") - strlen("rich")));
	assert_int_equal(ckfs_tree_open(f->tree, file.node, &same, &open), 0);
	assert_non_null(strstr(open.text, "\"a much longer name\""));
	ckfs_file_done(&open);
	ckfs_tree_forget(f->tree, file.node, 1);

	text = read_file(f, "a much longer name/meta.json", &len);
	free(text);
}

static void a_rename_by_others_is_followed(void **state)
{
	struct fixture *f = *state;
	struct ckfs_entry dir, after;

	must(f, "rich", &dir);
	shell("mv %s/rich %s/other", f->path, f->path);
	assert_absent(f, "rich");
	must(f, "other", &after);
	assert_ptr_equal(after.node, dir.node);
	ckfs_tree_forget(f->tree, dir.node, 2);
}

static void only_checkpoints_in_the_root_are_renamed(void **state)
{
	struct fixture *f = *state;
	struct ckfs_node *root = ckfs_tree_root(f->tree);
	struct ckfs_entry dir;

	must(f, "rich", &dir);
	assert_int_equal(ckfs_tree_rename(f->tree, root, "ctl", root, "x"), -EPERM);
	assert_int_equal(ckfs_tree_rename(f->tree, dir.node, "process", root, "x"), -EPERM);
	assert_int_equal(ckfs_tree_rename(f->tree, root, "sleep", dir.node, "x"), -EPERM);
	assert_int_equal(ckfs_tree_rename(f->tree, root, "rich", root, "sleep"), -EEXIST);
	assert_int_equal(ckfs_tree_rename(f->tree, root, "rich", root, ".x"), -EINVAL);
	assert_int_equal(ckfs_tree_rename(f->tree, root, "rich", root, "x.tmp"), -EINVAL);
	assert_int_equal(ckfs_tree_rename(f->tree, root, "rich", root, "ctl"), -EINVAL);
	assert_int_equal(ckfs_tree_rename(f->tree, root, "none", root, "x"), -ENOENT);
	ckfs_tree_forget(f->tree, dir.node, 1);
	assert_list(f, "", "ctl rich sleep v3-sleep");
}

static void an_open_file_outlives_its_checkpoint(void **state)
{
	struct fixture *f = *state;
	struct ckfs_node *root = ckfs_tree_root(f->tree);
	struct ckfs_entry dir, entry;
	struct ckfs_file open;
	bool same;
	size_t len;
	void *data;

	must(f, "rich", &dir);
	must(f, "rich/policy.dat", &entry);
	assert_int_equal(ckfs_tree_open(f->tree, entry.node, &same, &open), 0);
	assert_int_equal(ckfs_tree_remove(f->tree, dir.node, "process"), -EPERM);
	assert_int_equal(ckfs_tree_remove(f->tree, root, "ctl"), -EPERM);
	assert_int_equal(ckfs_tree_remove(f->tree, root, "rich"), 0);
	assert_int_equal(ckpt_store_sweep(f->store), 0);

	assert_absent(f, "rich");
	assert_list(f, "", "ctl sleep v3-sleep");
	assert_int_equal(ckpt_fd_slurp(open.fd, SIZE_MAX / 4, &data, &len), 0);
	assert_int_equal(len, entry.st.st_size);
	free(data);
	ckfs_file_done(&open);
	ckfs_tree_forget(f->tree, entry.node, 1);
	ckfs_tree_forget(f->tree, dir.node, 1);
}

static void another_checkpoint_of_the_name_is_another_node(void **state)
{
	struct fixture *f = *state;
	struct ckfs_entry old, new;

	must(f, "rich", &old);
	shell("cd %s && mv rich .old && cp -r .old rich", f->path);
	must(f, "rich", &new);
	assert_ptr_not_equal(old.node, new.node);
	ckfs_tree_forget(f->tree, old.node, 1);
	ckfs_tree_forget(f->tree, new.node, 1);
}

static void a_directory_is_opened_again_when_there_are_too_many(void **state)
{
	struct fixture *f = *state;
	struct ckfs_entry dirs[3], entry;
	static const char *const names[] = { "rich", "sleep", "v3-sleep" };

	ckfs_tree_free(f->tree);
	ckpt_store_free(f->store);
	open_tree(f, 1);
	for (int i = 0; i < 3; i++)
		must(f, names[i], &dirs[i]);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(ckfs_tree_lookup(f->tree, dirs[i].node, "policy.dat", &entry), 0);
		ckfs_tree_forget(f->tree, entry.node, 1);
	}

	/* What has the name by then is something else. */
	shell("cd %s && mv rich .old && cp -r .old rich", f->path);
	assert_int_equal(ckfs_tree_lookup(f->tree, dirs[0].node, "policy.dat", &entry), -ENOENT);
	for (int i = 0; i < 3; i++)
		ckfs_tree_forget(f->tree, dirs[i].node, 1);
}

static void files_are_held_against_their_digests(void **state)
{
	struct fixture *f = *state;
	size_t len;
	char *text;

	shell("cd %s/rich && find . -type f ! -name SHA256SUMS | sed 's,^./,,' | sort | "
	      "xargs sha256sum > SHA256SUMS && printf X | dd of=policy.dat conv=notrunc "
	      "status=none && printf X | dd of=process/memory/3.bin conv=notrunc status=none",
	      f->path);
	assert_int_equal(open_error(f, "rich/policy.dat"), -EIO);
	assert_int_equal(open_error(f, "rich/process/memory/3.bin"), -EIO);
	assert_int_equal(open_error(f, "rich/process/memory/2.bin"), 0);
	assert_int_equal(open_error(f, "rich/meta.json"), 0);
	text = read_file(f, "rich/SHA256SUMS", &len);
	assert_non_null(strstr(text, "  meta.json\n"));
	free(text);
}

static void a_damaged_meta_json_is_eio(void **state)
{
	struct fixture *f = *state;

	shell("cd %s/rich && sha256sum meta.json > SHA256SUMS && sed -i s/snap/spam/ meta.json",
	      f->path);
	assert_int_equal(open_error(f, "rich/meta.json"), -EIO);
}

static void sums_hold_for_what_is_shown(void **state)
{
	struct fixture *f = *state;
	struct ckpt_sums sums = {};
	const struct ckpt_sum *sum;
	uint8_t digest[CKPT_SHA256_SIZE];
	char *text;
	size_t len;

	shell("cd %s/rich && sha256sum meta.json policy.dat > SHA256SUMS", f->path);
	text = read_file(f, "rich/SHA256SUMS", &len);
	assert_int_equal(ckpt_sums_parse(text, len, &sums), 0);
	free(text);
	text = read_file(f, "rich/meta.json", &len);
	assert_int_equal(ckpt_sha256(text, len, digest), 0);
	free(text);
	sum = ckpt_sums_find(&sums, "meta.json");
	assert_non_null(sum);
	assert_memory_equal(sum->digest, digest, sizeof(digest));
	ckpt_sums_done(&sums);
}

static void nothing_is_believed_of_a_checkpoint_that_may_be_growing(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(trust_in(f, "rich/policy.dat"), CKFS_TRUST_NONE);
	settle(f, "rich");
	assert_int_equal(trust_in(f, "rich/policy.dat"), CKFS_TRUST_ALL);
	shell("printf x > %s/rich/process/memory/0.bin", f->path);
	assert_int_equal(trust_in(f, "rich/policy.dat"), CKFS_TRUST_NONE);
}

static void what_is_copied_in_while_it_is_looked_at_becomes_whole(void **state)
{
	struct fixture *f = *state;
	struct ckfs_entry top;

	shell("cd %s && mkdir -p late/process && printf '{' > late/meta.json", f->path);
	must(f, "late", &top);
	assert_list(f, "late/proc", "fd");
	shell("cd %s && printf '[{' > late/process/fds.json", f->path);
	assert_list(f, "late/proc/fd", "");
	shell("cd %s && cp -r rich/. late", f->path);
	assert_list(f, "late/proc", "cwd exe fd");
	assert_list(f, "late/proc/fd", "0 1 10 2 251");
	assert_list(f, "late/process/memory", "0.bin 1.bin 2.bin 3.bin 4.bin 5.bin 6.bin 7.bin");
	ckfs_tree_forget(f->tree, top.node, 1);
}

static void a_meta_json_replaced_in_place_is_shown(void **state)
{
	struct fixture *f = *state;
	struct ckfs_entry top, entry;
	size_t len;
	char *text;

	settle(f, "rich");
	must(f, "rich", &top);
	free(read_file(f, "rich/meta.json", &len));
	shell("printf '{\"name\": \"rich\", \"version\": 3}' > %s/rich/meta.json", f->path);
	text = read_file(f, "rich/meta.json", &len);
	assert_string_equal(text, "{\"name\": \"rich\", \"version\": 3}");
	free(text);
	must(f, "rich/process", &entry);
	ckfs_tree_forget(f->tree, entry.node, 1);
	assert_absent(f, "rich/proc");
	ckfs_tree_forget(f->tree, top.node, 1);
}

static void a_meta_json_too_large_to_be_rendered_is_shown_as_stored(void **state)
{
	struct fixture *f = *state;
	size_t len;
	char *text;

	shell("cd %s/rich && { printf '{\"name\": \"other\", \"x\": \"'; "
	      "head -c 1100000 /dev/zero | tr '\\0' x; printf '\"}'; } > meta.json && "
	      "sha256sum meta.json > SHA256SUMS",
	      f->path);
	text = read_file(f, "rich/meta.json", &len);
	assert_memory_equal(text, "{\"name\": \"other\"", 16);
	assert_true(len > 1100000);
	free(text);
	free(read_file(f, "rich/SHA256SUMS", &len));
}

static bool opens_the_same(struct fixture *f, struct ckfs_node *node)
{
	struct ckfs_file file;
	bool same;

	assert_int_equal(ckfs_tree_open(f->tree, node, &same, &file), 0);
	ckfs_file_done(&file);
	return same;
}

static void a_file_that_changed_is_not_the_same(void **state)
{
	struct fixture *f = *state;
	struct ckfs_entry entry;
	bool same = false;

	must(f, "rich/policy.dat", &entry);
	/* One that changed a moment ago is not, either: until the clock has gone on. */
	for (int i = 0; i < 10000000 && !same; i++)
		same = opens_the_same(f, entry.node);
	assert_true(same);
	shell("printf X | dd of=%s/rich/policy.dat conv=notrunc status=none", f->path);
	assert_false(opens_the_same(f, entry.node));
	ckfs_tree_forget(f->tree, entry.node, 1);
}

static void a_listing_has_a_limit(void **state)
{
	struct ckfs_listing listing = {};

	for (unsigned i = 0; i < CKFS_LISTING_MAX; i++)
		assert_int_equal(ckfs_listing_add(&listing, "x", S_IFREG, 1), 0);
	assert_int_equal(ckfs_listing_add(&listing, "x", S_IFREG, 1), -E2BIG);
	ckfs_listing_done(&listing);
}

static void ctl_is_another_node_each_time(void **state)
{
	struct fixture *f = *state;
	struct ckfs_entry one, two;

	must(f, "ctl", &one);
	must(f, "ctl", &two);
	assert_true(ckfs_node_is_ctl(one.node) && ckfs_node_is_ctl(two.node));
	assert_ptr_not_equal(one.node, two.node);
	assert_int_equal(one.st.st_ino, two.st.st_ino);
	ckfs_tree_forget(f->tree, one.node, 1);
	ckfs_tree_forget(f->tree, two.node, 1);
}

static void a_file_is_no_directory(void **state)
{
	struct fixture *f = *state;
	struct ckfs_listing listing = {};
	struct ckfs_entry ctl, entry;

	must(f, "ctl", &ctl);
	assert_int_equal(ckfs_tree_lookup(f->tree, ctl.node, "x", &entry), -ENOTDIR);
	assert_int_equal(ckfs_tree_list(f->tree, ctl.node, &listing), -ENOTDIR);
	ckfs_tree_forget(f->tree, ctl.node, 1);
	assert_absent(f, "rich/policy.dat/x");
	assert_absent(f, "rich/..");
	assert_absent(f, "rich/.");
}

#define TREE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TREE_TEST(the_root_lists_ctl_and_checkpoints),
		TREE_TEST(a_checkpoint_shows_its_layout),
		TREE_TEST(strays_are_not_shown),
		TREE_TEST(links_in_the_store_are_not_followed),
		TREE_TEST(stored_proc_files_are_shown),
		TREE_TEST(our_names_win_over_stored_ones),
		TREE_TEST(damaged_json_hides_only_what_is_made_from_it),
		TREE_TEST(another_layout_is_shown_as_plain_files),
		TREE_TEST(modes_and_owners_keep_secrets),
		TREE_TEST(owner_and_time_come_from_meta_json),
		TREE_TEST(numbers_are_stable),
		TREE_TEST(meta_json_has_the_directorys_name),
		TREE_TEST(a_rename_keeps_the_node),
		TREE_TEST(a_rename_by_others_is_followed),
		TREE_TEST(only_checkpoints_in_the_root_are_renamed),
		TREE_TEST(an_open_file_outlives_its_checkpoint),
		TREE_TEST(another_checkpoint_of_the_name_is_another_node),
		TREE_TEST(a_directory_is_opened_again_when_there_are_too_many),
		TREE_TEST(files_are_held_against_their_digests),
		TREE_TEST(a_damaged_meta_json_is_eio),
		TREE_TEST(sums_hold_for_what_is_shown),
		TREE_TEST(nothing_is_believed_of_a_checkpoint_that_may_be_growing),
		TREE_TEST(what_is_copied_in_while_it_is_looked_at_becomes_whole),
		TREE_TEST(a_meta_json_replaced_in_place_is_shown),
		TREE_TEST(a_meta_json_too_large_to_be_rendered_is_shown_as_stored),
		TREE_TEST(a_file_that_changed_is_not_the_same),
		TREE_TEST(a_listing_has_a_limit),
		TREE_TEST(ctl_is_another_node_each_time),
		TREE_TEST(a_file_is_no_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
