/* SPDX-License-Identifier: Apache-2.0 */
/* Whole reads and writes, and that no path leads out of the directory it is walked from. */
#include "format/fdio.h"

#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "format/cancel.h"
#include "format/cleanup.h"
#include "tests/format/scratch.h"

static void beneath_opens_files_and_directories(void **state)
{
	struct scratch *scratch = *state;
	int fd;

	scratch_checkpoint(scratch->fd, "a");
	fd = ckpt_fd_open_beneath(scratch->fd, "a/process/info.json", O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	fd = ckpt_fd_open_beneath(scratch->fd, "a/process", O_RDONLY | O_DIRECTORY);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(ckpt_fd_open_beneath(scratch->fd, "a/none", O_RDONLY), -ENOENT);
	assert_int_equal(ckpt_fd_open_beneath(scratch->fd, "a/meta.json/x", O_RDONLY), -ENOTDIR);
}

static void beneath_does_not_leave_the_directory(void **state)
{
	struct scratch *scratch = *state;
	int fd;

	assert_int_equal(ckpt_fd_mkdir(scratch->fd, "in", 0700, &fd), 0);
	scratch_text(scratch->fd, "out", "x");
	assert_int_equal(ckpt_fd_open_beneath(fd, "../out", O_RDONLY), -EXDEV);
	assert_int_equal(ckpt_fd_open_beneath(fd, "..", O_RDONLY), -EXDEV);
	assert_int_equal(ckpt_fd_open_beneath(fd, "/etc/passwd", O_RDONLY), -EXDEV);
	close(fd);
}

static void beneath_follows_no_link(void **state)
{
	struct scratch *scratch = *state;

	scratch_checkpoint(scratch->fd, "a");
	assert_int_equal(symlinkat("a", scratch->fd, "link"), 0);
	assert_int_equal(ckpt_fd_open_beneath(scratch->fd, "link", O_RDONLY), -ELOOP);
	assert_int_equal(ckpt_fd_open_beneath(scratch->fd, "link/meta.json", O_RDONLY), -ELOOP);
}

static void a_fifo_does_not_block(void **state)
{
	struct scratch *scratch = *state;
	void *data;
	size_t len;

	assert_int_equal(mkfifoat(scratch->fd, "fifo", 0600), 0);
	assert_int_equal(ckpt_fd_read_all(scratch->fd, "fifo", 10, &data, &len), -EBADMSG);
}

static void read_all_gives_the_bytes_and_a_nul(void **state)
{
	struct scratch *scratch = *state;
	char big[10000];
	char *data;
	size_t len;

	memset(big, 'x', sizeof(big));
	scratch_write(scratch->fd, "big", big, sizeof(big));
	scratch_text(scratch->fd, "empty", "");
	assert_int_equal(ckpt_fd_read_all(scratch->fd, "big", sizeof(big), (void **)&data, &len),
			 0);
	assert_int_equal(len, sizeof(big));
	assert_memory_equal(data, big, len);
	assert_int_equal(data[len], 0);
	free(data);
	assert_int_equal(ckpt_fd_read_all(scratch->fd, "empty", 0, (void **)&data, &len), 0);
	assert_int_equal(len, 0);
	free(data);
}

static void a_file_above_the_limit_is_efbig(void **state)
{
	struct scratch *scratch = *state;
	void *data;
	size_t len;
	int fd;

	scratch_text(scratch->fd, "four", "1234");
	assert_int_equal(ckpt_fd_read_all(scratch->fd, "four", 3, &data, &len), -EFBIG);
	/* The same where st_size says nothing. */
	fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	assert_int_equal(ckpt_fd_slurp(fd, 100, &data, &len), -EFBIG);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_int_equal(ckpt_fd_slurp(fd, 1 << 20, &data, &len), 0);
	assert_memory_equal(data, "Name:", 5);
	free(data);
	close(fd);
}

static void pread_past_the_end_is_enodata(void **state)
{
	struct scratch *scratch = *state;
	char buf[8];
	int fd;

	scratch_text(scratch->fd, "file", "12345678");
	fd = openat(scratch->fd, "file", O_RDONLY | O_CLOEXEC);
	assert_int_equal(ckpt_fd_pread(fd, buf, 4, 4), 0);
	assert_memory_equal(buf, "5678", 4);
	assert_int_equal(ckpt_fd_pread(fd, buf, 5, 4), -ENODATA);
	close(fd);
}

static void writes_are_whole(void **state)
{
	struct scratch *scratch = *state;
	size_t len = 1 << 20; /* more than a pipe holds */
	char *data = calloc(len, 1), *got;
	size_t got_len;
	int fds[2];
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		close(fds[0]);
		_exit(ckpt_fd_write(fds[1], data, len) == 0 ? 0 : 1);
	}
	close(fds[1]);
	assert_int_equal(ckpt_fd_slurp(fds[0], len, (void **)&got, &got_len), 0);
	assert_int_equal(got_len, len);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	free(got);
	close(fds[0]);

	fds[0] = openat(scratch->fd, "f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(ckpt_fd_pwrite(fds[0], "ab", 2, 5), 0);
	assert_int_equal(ckpt_fd_pread(fds[0], data, 7, 0), 0);
	assert_memory_equal(data, "\0\0\0\0\0ab", 7);
	close(fds[0]);
	free(data);
}

static void write_file_replaces_nothing(void **state)
{
	struct scratch *scratch = *state;
	struct stat st;

	assert_int_equal(ckpt_fd_write_file(scratch->fd, "f", 0400, "a", 1), 0);
	assert_int_equal(fstatat(scratch->fd, "f", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0400);
	assert_int_equal(ckpt_fd_write_file(scratch->fd, "f", 0400, "b", 1), -EEXIST);
	assert_int_equal(symlinkat("elsewhere", scratch->fd, "link"), 0);
	assert_int_equal(ckpt_fd_write_file(scratch->fd, "link", 0400, "b", 1), -EEXIST);
}

static void mkdir_opens_what_is_there_but_no_link(void **state)
{
	struct scratch *scratch = *state;
	int fd;

	assert_int_equal(ckpt_fd_mkdir(scratch->fd, "d", 0700, NULL), 0);
	assert_int_equal(ckpt_fd_mkdir(scratch->fd, "d", 0700, &fd), 0);
	close(fd);
	assert_int_equal(symlinkat("d", scratch->fd, "link"), 0);
	assert_int_equal(ckpt_fd_mkdir(scratch->fd, "link", 0700, &fd), -ENOTDIR);
}

static void remove_tree_takes_links_away_not_their_targets(void **state)
{
	struct scratch *scratch = *state;

	scratch_checkpoint(scratch->fd, "keep");
	scratch_checkpoint(scratch->fd, "gone");
	assert_int_equal(symlinkat("../keep", scratch->fd, "gone/link"), 0);
	assert_int_equal(symlinkat("keep", scratch->fd, "link"), 0);
	assert_int_equal(ckpt_fd_remove_tree(scratch->fd, "gone"), 0);
	assert_int_equal(ckpt_fd_remove_tree(scratch->fd, "link"), 0);
	assert_int_equal(ckpt_fd_remove_tree(scratch->fd, "link"), 0);
	assert_int_equal(faccessat(scratch->fd, "gone", F_OK, AT_SYMLINK_NOFOLLOW), -1);
	assert_int_equal(faccessat(scratch->fd, "link", F_OK, AT_SYMLINK_NOFOLLOW), -1);
	assert_int_equal(faccessat(scratch->fd, "keep/process/memory/0.bin", F_OK, 0), 0);
}

static int remove_as_nobody(const char *path)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		_exit(setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0
			  ? -ckpt_fd_remove_tree(AT_FDCWD, path)
			  : 255);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* Root's rights would hide it: the owner is nobody here. */
static void remove_tree_gets_through_read_only_directories(void **state)
{
	struct scratch *scratch = *state;
	char path[64];
	int fd;

	if (geteuid() != 0)
		skip();
	assert_int_equal(fchmod(scratch->fd, 0777), 0);
	assert_int_equal(ckpt_fd_mkdir(scratch->fd, "d", 0700, &fd), 0);
	assert_int_equal(mkdirat(fd, "sub", 0700), 0);
	scratch_text(fd, "file", "x");
	assert_int_equal(fchownat(fd, "sub", 65534, 65534, 0), 0);
	assert_int_equal(fchmodat(fd, "sub", 0555, 0), 0);
	assert_int_equal(fchown(fd, 65534, 65534), 0);
	assert_int_equal(fchmod(fd, 0555), 0);
	close(fd);
	snprintf(path, sizeof(path), "%s/d", scratch->path);
	assert_int_equal(remove_as_nobody(path), 0);
	assert_int_equal(faccessat(scratch->fd, "d", F_OK, 0), -1);
}

/* What is mounted in it is somebody else's; what can go goes. An errno. */
static int remove_around_a_mount(const struct scratch *scratch)
{
	char path[64];
	int dirfd, r;

	snprintf(path, sizeof(path), "%s/d/mnt", scratch->path);
	if (unshare(CLONE_NEWNS) < 0 || mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", path, "tmpfs", 0, "size=1m") < 0)
		return 255;
	dirfd = open(scratch->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* sees the mount */
	scratch_text(dirfd, "d/mnt/kept", "x");
	r = ckpt_fd_remove_tree(dirfd, "d");
	if (faccessat(dirfd, "d/mnt/kept", F_OK, 0) < 0)
		return 254;
	return ckpt_fd_remove_tree(dirfd, "d/mnt") == r ? -r : 253;
}

static void remove_tree_goes_on_past_a_mount_and_keeps_it(void **state)
{
	struct scratch *scratch = *state;
	int status;
	pid_t pid;

	assert_int_equal(mkdirat(scratch->fd, "d", 0700), 0);
	assert_int_equal(mkdirat(scratch->fd, "d/mnt", 0700), 0);
	for (char name[] = "d/a"; name[2] <= 'z'; name[2]++)
		scratch_text(scratch->fd, name, "x");
	pid = fork();
	if (pid == 0)
		_exit(remove_around_a_mount(scratch));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WEXITSTATUS(status) == 255)
		skip(); /* a mount needs root */
	assert_int_equal(WEXITSTATUS(status), EXDEV);
	for (char name[] = "d/a"; name[2] <= 'z'; name[2]++)
		assert_int_equal(faccessat(scratch->fd, name, F_OK, 0), -1);
}

/* @depth directories, each in the one before. */
static void make_deep(int dirfd, unsigned depth)
{
	int fd, next;

	assert_int_equal(ckpt_fd_mkdir(dirfd, "deep", 0700, &fd), 0);
	for (unsigned i = 1; i < depth; i++) {
		assert_int_equal(ckpt_fd_mkdir(fd, "d", 0700, &next), 0);
		close(fd);
		fd = next;
	}
	close(fd);
}

static void trees_are_walked_to_a_bounded_depth(void **state)
{
	struct scratch *scratch = *state;

	char half[2 * 45] = "deep";

	make_deep(scratch->fd, 10);
	assert_int_equal(ckpt_fd_sync_tree(scratch->fd, false, NULL), 0);
	assert_int_equal(ckpt_fd_remove_tree(scratch->fd, "deep"), 0);
	make_deep(scratch->fd, 80);
	assert_int_equal(ckpt_fd_sync_tree(scratch->fd, false, NULL), -E2BIG);
	assert_int_equal(ckpt_fd_remove_tree(scratch->fd, "deep"), -E2BIG);
	/* In two, so that the teardown can. */
	for (int i = 0; i < 40; i++)
		strcat(half, "/d");
	assert_int_equal(renameat(scratch->fd, half, scratch->fd, "half"), 0);
}

static void sync_tree_syncs_what_it_can_open(void **state)
{
	struct scratch *scratch = *state;

	scratch_checkpoint(scratch->fd, "a");
	assert_int_equal(mkfifoat(scratch->fd, "a/fifo", 0600), 0);
	assert_int_equal(symlinkat("nowhere", scratch->fd, "a/link"), 0);
	assert_int_equal(ckpt_fd_sync_tree(scratch->fd, false, NULL), 0);
	assert_int_equal(ckpt_fd_sync_tree(-1, false, NULL), -EBADF);
}

static bool asked_thrice(void *userdata)
{
	return ++*(unsigned *)userdata >= 3;
}

static void sync_tree_can_be_cancelled_between_files(void **state)
{
	struct scratch *scratch = *state;
	unsigned asked = 0;
	const struct ckpt_cancel cancel = { asked_thrice, &asked };

	scratch_checkpoint(scratch->fd, "a");
	assert_int_equal(ckpt_fd_sync_tree(scratch->fd, true, &cancel), -ECANCELED);
	assert_int_equal(asked, 3);
}

#define SCRATCH_TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCRATCH_TEST(beneath_opens_files_and_directories),
		SCRATCH_TEST(beneath_does_not_leave_the_directory),
		SCRATCH_TEST(beneath_follows_no_link),
		SCRATCH_TEST(a_fifo_does_not_block),
		SCRATCH_TEST(read_all_gives_the_bytes_and_a_nul),
		SCRATCH_TEST(a_file_above_the_limit_is_efbig),
		SCRATCH_TEST(pread_past_the_end_is_enodata),
		SCRATCH_TEST(writes_are_whole),
		SCRATCH_TEST(write_file_replaces_nothing),
		SCRATCH_TEST(mkdir_opens_what_is_there_but_no_link),
		SCRATCH_TEST(remove_tree_takes_links_away_not_their_targets),
		SCRATCH_TEST(remove_tree_gets_through_read_only_directories),
		SCRATCH_TEST(remove_tree_goes_on_past_a_mount_and_keeps_it),
		SCRATCH_TEST(trees_are_walked_to_a_bounded_depth),
		SCRATCH_TEST(sync_tree_syncs_what_it_can_open),
		SCRATCH_TEST(sync_tree_can_be_cancelled_between_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
