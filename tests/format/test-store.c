/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store in the plain form: what is a checkpoint in it and what is not, that a commit shows all
 * or nothing, and that several processes at work in it do not harm each other.
 */
#include "format/store.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "format/cleanup.h"
#include "tests/format/scratch.h"

static struct ckpt_store *open_store(const struct scratch *scratch)
{
	struct ckpt_store *store = NULL;

	assert_int_equal(ckpt_store_open(scratch->path, false, false, &store), 0);
	return store;
}

static bool exists(const struct scratch *scratch, const char *path)
{
	return faccessat(scratch->fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

struct names {
	char text[1024];
	int stop_after;
};

static int visit(void *userdata, const char *name)
{
	struct names *names = userdata;

	strcat(names->text, name);
	strcat(names->text, " ");
	return names->stop_after > 0 && --names->stop_after == 0 ? 7 : 0;
}

/* How many checkpoints there are. */
static unsigned count(struct ckpt_store *store)
{
	struct names names = {};
	unsigned n = 0;

	assert_int_equal(ckpt_store_each(store, visit, &names), 0);
	for (const char *p = names.text; *p; p++)
		n += *p == ' ';
	return n;
}

/* How many entries lie in staging; 0 where there is none. */
static unsigned count_staged(const struct scratch *scratch)
{
	cleanup_dir DIR *dir = NULL;
	unsigned n = 0;
	int fd = openat(scratch->fd, ".sandckpt/staging", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	dir = fdopendir(fd);
	for (struct dirent *de; (de = readdir(dir));)
		n += de->d_name[0] != '.';
	return n;
}

static int commit(struct ckpt_store *store, const char *name)
{
	cleanup_stage struct ckpt_stage *stage = NULL;
	int r;

	r = ckpt_stage_new(store, &stage);
	if (r < 0)
		return r;
	scratch_fill_checkpoint(ckpt_stage_fd(stage));
	r = ckpt_stage_sync(stage, false, NULL);
	return r < 0 ? r : ckpt_stage_commit(stage, name);
}

static void opening_makes_the_last_directory_only(void **state)
{
	struct scratch *scratch = *state;
	struct ckpt_store *store;
	struct stat st;
	char path[64];

	snprintf(path, sizeof(path), "%s/new", scratch->path);
	assert_int_equal(ckpt_store_open(path, false, false, &store), -ENOENT);
	assert_int_equal(ckpt_store_open(path, true, true, &store), -ENOENT);
	assert_int_equal(ckpt_store_open(path, true, false, &store), 0);
	assert_int_equal(fstat(ckpt_store_fd(store), &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0700);
	assert_int_equal(ckpt_store_owner(store), geteuid());
	assert_int_equal(ckpt_store_group(store), st.st_gid);
	ckpt_store_free(store);

	snprintf(path, sizeof(path), "%s/none/new", scratch->path);
	assert_int_equal(ckpt_store_open(path, true, false, &store), -ENOENT);
	scratch_text(scratch->fd, "file", "");
	snprintf(path, sizeof(path), "%s/file", scratch->path);
	assert_int_equal(ckpt_store_open(path, true, false, &store), -ENOTDIR);
}

static void opening_and_reading_writes_nothing(void **state)
{
	struct scratch *scratch = *state;
	struct ckpt_store *store = open_store(scratch);
	enum ckpt_store_form form;

	assert_int_equal(count(store), 0);
	assert_int_equal(ckpt_store_form(store, &form), 0);
	assert_int_equal(form, CKPT_FORM_PLAIN);
	assert_int_equal(ckpt_store_sweep(store), 0);
	assert_false(exists(scratch, ".sandckpt"));
	ckpt_store_free(store);
}

/* Longer than what is read of the file at all. */
#define LONG_VERSION                                                                               \
	"sandckpt 1\n and a text that is much longer than any version will ever be, and then "     \
	"some\n"

static void a_version_that_is_not_ours_is_eprotonosupport(void **state)
{
	static const char *const versions[] = { "sandckpt 2\n", "sandckpt 1", "", "sandckpt 1\nx",
						LONG_VERSION };
	struct scratch *scratch = *state;
	struct ckpt_store *store;
	int fd;

	assert_int_equal(ckpt_fd_mkdir(scratch->fd, ".sandckpt", 0700, &fd), 0);
	for (size_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		scratch_text(fd, "version", versions[i]);
		assert_int_equal(ckpt_store_open(scratch->path, false, false, &store),
				 -EPROTONOSUPPORT);
		assert_int_equal(unlinkat(fd, "version", 0), 0);
	}
	assert_int_equal(symlinkat("/etc/passwd", fd, "version"), 0);
	assert_int_equal(ckpt_store_open(scratch->path, false, false, &store), -EPROTONOSUPPORT);
	close(fd);
}

static void default_says_the_form(void **state)
{
	struct scratch *scratch = *state;
	struct ckpt_store *store = open_store(scratch);
	enum ckpt_store_form form;
	int fd;

	assert_int_equal(ckpt_fd_mkdir(scratch->fd, ".sandckpt", 0700, &fd), 0);
	scratch_text(fd, "default", "packed\n");
	assert_int_equal(ckpt_store_form(store, &form), 0);
	assert_int_equal(form, CKPT_FORM_PACKED);
	assert_int_equal(unlinkat(fd, "default", 0), 0);
	scratch_text(fd, "default", "plain\n");
	assert_int_equal(ckpt_store_form(store, &form), 0);
	assert_int_equal(form, CKPT_FORM_PLAIN);
	assert_int_equal(unlinkat(fd, "default", 0), 0);
	scratch_text(fd, "default", "frozen\n");
	assert_int_equal(ckpt_store_form(store, &form), -EPROTONOSUPPORT);
	close(fd);
	ckpt_store_free(store);
}

/* Everything a store's directory may hold that is no checkpoint. */
static void fill_with_strays(int fd)
{
	scratch_text(fd, "file", "x");
	assert_int_equal(mkdirat(fd, "empty", 0700), 0);
	scratch_checkpoint(fd, "good.tmp");
	scratch_checkpoint(fd, ".hidden");
	scratch_checkpoint(fd, "ctl");
	scratch_checkpoint(fd, "new\nline");
	scratch_checkpoint(fd, "broken\xff");
	assert_int_equal(symlinkat("good", fd, "link"), 0);
	assert_int_equal(symlinkat("/", fd, "root"), 0);
	assert_int_equal(mkfifoat(fd, "fifo", 0600), 0);
	scratch_checkpoint(fd, "no-meta");
	assert_int_equal(unlinkat(fd, "no-meta/meta.json", 0), 0);
	scratch_checkpoint(fd, "link-meta");
	assert_int_equal(unlinkat(fd, "link-meta/meta.json", 0), 0);
	assert_int_equal(symlinkat("../good/meta.json", fd, "link-meta/meta.json"), 0);
	assert_int_equal(mkdirat(fd, "no-process", 0700), 0);
	scratch_text(fd, "no-process/meta.json", "{}");
}

static void links_strays_and_tmp_are_not_listed(void **state)
{
	struct scratch *scratch = *state;
	struct ckpt_store *store = open_store(scratch);
	struct names names = {};

	scratch_checkpoint(scratch->fd, "good");
	fill_with_strays(scratch->fd);
	assert_int_equal(ckpt_store_each(store, visit, &names), 0);
	assert_string_equal(names.text, "good ");
	ckpt_store_free(store);
}

static void links_strays_and_tmp_are_enoent(void **state)
{
	static const char *const none[] = { "file",	    "empty",	 "good.tmp",   ".hidden",
					    "ctl",	    "new\nline", "broken\xff", "link",
					    "root",	    "fifo",	 "no-meta",    "link-meta",
					    "no-process",   ".",	 "..",	       "",
					    "good/process", "absent",	 ".sandckpt",  "/" };
	struct scratch *scratch = *state;
	struct ckpt_store *store = open_store(scratch);
	int fd;

	scratch_checkpoint(scratch->fd, "good");
	fill_with_strays(scratch->fd);
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		if (ckpt_store_lookup(store, none[i], &fd) != -ENOENT)
			fail_msg("found: %s", none[i]);
		assert_int_equal(ckpt_store_remove(store, none[i]), -ENOENT);
		assert_int_equal(ckpt_store_rename(store, none[i], "other"), -ENOENT);
	}
	assert_int_equal(ckpt_store_lookup(store, "good", &fd), 0);
	assert_int_equal(faccessat(fd, "meta.json", F_OK, 0), 0);
	close(fd);
	ckpt_store_free(store);
}

static void each_stops_when_told(void **state)
{
	struct scratch *scratch = *state;
	struct ckpt_store *store = open_store(scratch);
	struct names names = { .stop_after = 2 };

	for (char name[] = "a"; name[0] < 'f'; name[0]++)
		scratch_checkpoint(scratch->fd, name);
	assert_int_equal(ckpt_store_each(store, visit, &names), 7);
	assert_int_equal(strlen(names.text), 4);
	ckpt_store_free(store);
}

static void what_others_do_shows(void **state)
{
	struct scratch *scratch = *state;
	struct ckpt_store *store = open_store(scratch);
	int fd;

	scratch_checkpoint(scratch->fd, "x.tmp");
	assert_int_equal(ckpt_store_lookup(store, "x", &fd), -ENOENT);
	assert_int_equal(renameat(scratch->fd, "x.tmp", scratch->fd, "x"), 0);
	assert_int_equal(ckpt_store_lookup(store, "x", &fd), 0);
	close(fd);
	assert_int_equal(ckpt_fd_remove_tree(scratch->fd, "x"), 0);
	assert_int_equal(ckpt_store_lookup(store, "x", &fd), -ENOENT);
	ckpt_store_free(store);
}

static void a_stage_is_invisible_until_its_commit(void **state)
{
	struct scratch *scratch = *state;
	struct ckpt_store *store = open_store(scratch);
	struct ckpt_stage *stage;
	struct stat st;
	int fd;

	assert_int_equal(ckpt_stage_new(store, &stage), 0);
	scratch_fill_checkpoint(ckpt_stage_fd(stage));
	assert_int_equal(ckpt_stage_sync(stage, false, NULL), 0);
	assert_int_equal(count(store), 0);
	assert_int_equal(count_staged(scratch), 1);
	assert_int_equal(ckpt_stage_commit(stage, "x"), 0);
	assert_int_equal(count(store), 1);
	assert_null(ckpt_stage_free(stage));

	assert_int_equal(count(store), 1);
	assert_int_equal(count_staged(scratch), 0);
	assert_int_equal(ckpt_store_lookup(store, "x", &fd), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0700);
	close(fd);
	ckpt_store_free(store);
}

static void the_first_stage_says_the_version(void **state)
{
	struct scratch *scratch = *state;
	struct ckpt_store *store = open_store(scratch);
	char *text;
	size_t len;

	assert_int_equal(commit(store, "x"), 0);
	assert_int_equal(
	    ckpt_fd_read_all(scratch->fd, ".sandckpt/version", 100, (void **)&text, &len), 0);
	assert_string_equal(text, "sandckpt 1\n");
	free(text);
	ckpt_store_free(store);
	store = open_store(scratch);
	assert_int_equal(count(store), 1);
	ckpt_store_free(store);
}

static void an_uncommitted_stage_leaves_nothing(void **state)
{
	struct scratch *scratch = *state;
	struct ckpt_store *store = open_store(scratch);
	struct ckpt_stage *stage;

	assert_int_equal(ckpt_stage_new(store, &stage), 0);
	scratch_fill_checkpoint(ckpt_stage_fd(stage));
	ckpt_stage_free(stage);
	assert_int_equal(count(store), 0);
	assert_int_equal(count_staged(scratch), 0);
	assert_null(ckpt_stage_free(NULL));
	assert_null(ckpt_store_free(NULL));
	ckpt_store_free(store);
}

static void a_taken_name_is_eexist_and_another_may_be_tried(void **state)
{
	struct scratch *scratch = *state;
	struct ckpt_store *store = open_store(scratch);
	struct ckpt_stage *stage;

	assert_int_equal(commit(store, "x"), 0);
	scratch_text(scratch->fd, "stray", "kept");
	assert_int_equal(mkdirat(scratch->fd, "empty", 0700), 0);

	assert_int_equal(ckpt_stage_new(store, &stage), 0);
	scratch_fill_checkpoint(ckpt_stage_fd(stage));
	assert_int_equal(ckpt_stage_commit(stage, "x"), -EEXIST);
	assert_int_equal(ckpt_stage_commit(stage, "stray"), -EEXIST);
	assert_int_equal(ckpt_stage_commit(stage, "empty"), -EEXIST);
	assert_int_equal(ckpt_stage_commit(stage, "a/b"), -EINVAL);
	assert_int_equal(ckpt_stage_commit(stage, "ctl"), -EINVAL);
	assert_int_equal(ckpt_stage_commit(stage, "x.2"), 0);
	ckpt_stage_free(stage);
	assert_int_equal(count(store), 2);
	ckpt_store_free(store);
}

static void rename_moves_and_replaces_nothing(void **state)
{
	struct scratch *scratch = *state;
	struct ckpt_store *store = open_store(scratch);

	scratch_checkpoint(scratch->fd, "a");
	scratch_checkpoint(scratch->fd, "b");
	assert_int_equal(ckpt_store_rename(store, "a", "b"), -EEXIST);
	assert_int_equal(ckpt_store_rename(store, "a", "x.tmp"), -EINVAL);
	assert_int_equal(ckpt_store_rename(store, "a", "../a"), -EINVAL);
	assert_int_equal(ckpt_store_rename(store, "a", "c"), 0);
	assert_false(exists(scratch, "a"));
	assert_true(exists(scratch, "c/meta.json"));
	assert_false(exists(scratch, ".sandckpt"));
	ckpt_store_free(store);
}

static void remove_renames_away_and_sweep_drops(void **state)
{
	struct scratch *scratch = *state;
	struct ckpt_store *store = open_store(scratch);

	scratch_checkpoint(scratch->fd, "a");
	assert_int_equal(ckpt_store_remove(store, "a"), 0);
	assert_false(exists(scratch, "a"));
	assert_int_equal(count_staged(scratch), 1);
	assert_int_equal(ckpt_store_sweep(store), 0);
	assert_int_equal(count_staged(scratch), 0);
	assert_int_equal(ckpt_store_remove(store, "a"), -ENOENT);
	ckpt_store_free(store);
}

/* Moving a directory needs the right to write in it, which root has anyway. */
static void a_read_only_checkpoint_is_removed_as_well(void **state)
{
	struct scratch *scratch = *state;
	char command[64];
	int status;
	pid_t pid;

	scratch_checkpoint(scratch->fd, "a");
	assert_int_equal(fchmodat(scratch->fd, "a/process", 0500, 0), 0);
	assert_int_equal(fchmodat(scratch->fd, "a", 0500, 0), 0);
	snprintf(command, sizeof(command), "chown -R 65534 %s", scratch->path);
	if (geteuid() == 0)
		assert_int_equal(system(command), 0);
	pid = fork();
	if (pid == 0) {
		struct ckpt_store *store = NULL;
		int r;

		if (geteuid() == 0 && setuid(65534) < 0)
			_exit(1);
		r = ckpt_store_open(scratch->path, false, false, &store);
		if (r == 0)
			r = ckpt_store_remove(store, "a");
		if (r == 0)
			r = ckpt_store_sweep(store);
		_exit(-r);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_false(exists(scratch, "a"));
	assert_int_equal(count_staged(scratch), 0);
}

static void litter_is_what_nobody_holds(void **state)
{
	struct scratch *scratch = *state;
	struct ckpt_store *store = open_store(scratch);
	struct ckpt_stage *stage;

	assert_int_equal(ckpt_store_has_litter(store), 0);
	assert_int_equal(ckpt_stage_new(store, &stage), 0);
	assert_int_equal(ckpt_store_has_litter(store), 0);
	assert_int_equal(mkdirat(scratch->fd, ".sandckpt/staging/left", 0700), 0);
	assert_int_equal(ckpt_store_has_litter(store), 1);
	assert_int_equal(ckpt_store_sweep(store), 0);
	assert_int_equal(ckpt_store_has_litter(store), 0);
	ckpt_stage_free(stage);
	ckpt_store_free(store);
}

static void an_open_checkpoint_stays_readable_when_removed(void **state)
{
	struct scratch *scratch = *state;
	struct ckpt_store *store = open_store(scratch);
	int fd, file;

	scratch_checkpoint(scratch->fd, "a");
	assert_int_equal(ckpt_store_lookup(store, "a", &fd), 0);
	file = openat(fd, "meta.json", O_RDONLY | O_CLOEXEC);
	assert_int_equal(ckpt_store_remove(store, "a"), 0);
	assert_int_equal(faccessat(fd, "process/memory/0.bin", F_OK, 0), 0);
	assert_int_equal(ckpt_store_sweep(store), 0);
	assert_true(lseek(file, 0, SEEK_END) > 0);
	close(file);
	close(fd);
	ckpt_store_free(store);
}

static void sweep_leaves_what_is_being_written(void **state)
{
	struct scratch *scratch = *state;
	struct ckpt_store *store = open_store(scratch), *other = open_store(scratch);
	struct ckpt_stage *stage;

	assert_int_equal(ckpt_stage_new(store, &stage), 0);
	scratch_fill_checkpoint(ckpt_stage_fd(stage));
	assert_int_equal(mkdirat(scratch->fd, ".sandckpt/staging/left", 0700), 0);
	assert_int_equal(symlinkat("../..", scratch->fd, ".sandckpt/staging/link"), 0);
	assert_int_equal(ckpt_store_sweep(other), 0);
	assert_false(exists(scratch, ".sandckpt/staging/left"));
	assert_int_equal(ckpt_stage_commit(stage, "x"), 0);
	ckpt_stage_free(stage);
	assert_int_equal(ckpt_store_sweep(other), 0);
	assert_int_equal(count(store), 1);
	ckpt_store_free(other);
	ckpt_store_free(store);
}

static void sweep_takes_what_a_killed_writer_left(void **state)
{
	struct scratch *scratch = *state;
	struct ckpt_store *store = open_store(scratch);
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct ckpt_stage *stage;

		if (ckpt_stage_new(store, &stage) < 0)
			_exit(1);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(count_staged(scratch), 1);
	assert_int_equal(ckpt_store_sweep(store), 0);
	assert_int_equal(count_staged(scratch), 0);
	ckpt_store_free(store);
}

static void read_only_writes_nothing(void **state)
{
	struct scratch *scratch = *state;
	struct ckpt_store *store;
	struct ckpt_stage *stage;
	int fd;

	scratch_checkpoint(scratch->fd, "a");
	assert_int_equal(ckpt_store_open(scratch->path, true, true, &store), 0);
	assert_int_equal(ckpt_stage_new(store, &stage), -EROFS);
	assert_int_equal(ckpt_store_remove(store, "a"), -EROFS);
	assert_int_equal(ckpt_store_rename(store, "a", "b"), -EROFS);
	assert_int_equal(ckpt_store_sweep(store), -EROFS);
	assert_int_equal(ckpt_store_lookup(store, "a", &fd), 0);
	close(fd);
	assert_false(exists(scratch, ".sandckpt"));
	ckpt_store_free(store);
}

static void room_is_what_the_reserve_leaves(void **state)
{
	struct scratch *scratch = *state;
	struct ckpt_store *store = open_store(scratch);

	assert_int_equal(ckpt_store_has_room(store, 0, 0), 0);
	assert_int_equal(ckpt_store_has_room(store, 100, 1), -ENOSPC);
	assert_int_equal(ckpt_store_has_room(store, 0, UINT64_MAX), -ENOSPC);
	ckpt_store_free(store);
}

#define N_WRITERS 4
#define N_ROUNDS 8

/* Commits the same names as all the others; says how many of them it won. */
static int race(const struct scratch *scratch)
{
	struct ckpt_store *store = open_store(scratch);
	int won = 0;

	for (int i = 0; i < N_ROUNDS; i++) {
		char name[16];
		int r;

		snprintf(name, sizeof(name), "x%d", i);
		r = commit(store, name);
		if (r < 0 && r != -EEXIST)
			return 255;
		won += r == 0;
		if (ckpt_store_sweep(store) < 0)
			return 255;
	}
	ckpt_store_free(store);
	return won;
}

static void each_name_is_won_by_one_of_several_processes(void **state)
{
	struct scratch *scratch = *state;
	struct ckpt_store *store;
	pid_t pids[N_WRITERS];
	int won = 0;

	for (int i = 0; i < N_WRITERS; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			_exit(race(scratch));
	}
	for (int i = 0; i < N_WRITERS; i++) {
		int status;

		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_true(WIFEXITED(status));
		assert_int_not_equal(WEXITSTATUS(status), 255);
		won += WEXITSTATUS(status);
	}
	assert_int_equal(won, N_ROUNDS);
	store = open_store(scratch);
	assert_int_equal(count(store), N_ROUNDS);
	assert_int_equal(count_staged(scratch), 0);
	ckpt_store_free(store);
}

#define SCRATCH_TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(opening_makes_the_last_directory_only),
		SCRATCH_TEST(opening_and_reading_writes_nothing),
		SCRATCH_TEST(a_version_that_is_not_ours_is_eprotonosupport),
		SCRATCH_TEST(default_says_the_form),
		SCRATCH_TEST(links_strays_and_tmp_are_not_listed),
		SCRATCH_TEST(links_strays_and_tmp_are_enoent),
		SCRATCH_TEST(each_stops_when_told),
		SCRATCH_TEST(what_others_do_shows),
		SCRATCH_TEST(a_stage_is_invisible_until_its_commit),
		SCRATCH_TEST(the_first_stage_says_the_version),
		SCRATCH_TEST(an_uncommitted_stage_leaves_nothing),
		SCRATCH_TEST(a_taken_name_is_eexist_and_another_may_be_tried),
		SCRATCH_TEST(rename_moves_and_replaces_nothing),
		SCRATCH_TEST(remove_renames_away_and_sweep_drops),
		SCRATCH_TEST(a_read_only_checkpoint_is_removed_as_well),
		SCRATCH_TEST(litter_is_what_nobody_holds),
		SCRATCH_TEST(an_open_checkpoint_stays_readable_when_removed),
		SCRATCH_TEST(sweep_leaves_what_is_being_written),
		SCRATCH_TEST(sweep_takes_what_a_killed_writer_left),
		SCRATCH_TEST(read_only_writes_nothing),
		SCRATCH_TEST(room_is_what_the_reserve_leaves),
		SCRATCH_TEST(each_name_is_won_by_one_of_several_processes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
