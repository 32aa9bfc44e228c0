/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint's directory as objects: sandlock's samples, and whatever else a directory holds. */
#include "format/layout.h"

#include <errno.h>
#include <sys/stat.h>

#include "tests/format/scratch.h"

static struct ckpt_checkpoint *read_sample(const char *name, int *ret_fd)
{
	struct ckpt_checkpoint *checkpoint = NULL;
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", SAMPLES_DIR, name);
	*ret_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(*ret_fd >= 0);
	assert_int_equal(ckpt_layout_is_checkpoint(*ret_fd), 1);
	assert_int_equal(ckpt_layout_read(*ret_fd, &checkpoint), 0);
	return checkpoint;
}

static void samples_load(void **state)
{
	struct ckpt_checkpoint *checkpoint;
	int fd;

	checkpoint = read_sample("rich", &fd);
	assert_string_equal(
	    checkpoint->meta.name,
	    "na\xc3\xafve caf\xc3\xa9 \"quoted\" \\ \xe6\x97\xa5\xe6\x9c\xac/tab\t");
	assert_string_equal(checkpoint->meta.cow_snapshot, "/snap/na\xc3\xafve");
	assert_false(checkpoint->meta.ours);
	assert_int_equal(checkpoint->info.pid, 26763);
	assert_string_equal(checkpoint->info.exe, "/usr/bin/sleep");
	assert_int_equal(checkpoint->fds.n, 5);
	assert_string_equal(checkpoint->fds.items[4].path, "pipe:[189137]");
	assert_int_equal(checkpoint->regions.n, 8);
	assert_string_equal(checkpoint->regions.items[1].path, "[heap]");
	assert_int_equal(checkpoint->threads.n, 1);
	assert_int_equal(checkpoint->threads.items[0].tid, 26763);
	ckpt_checkpoint_free(checkpoint);
	close(fd);

	ckpt_checkpoint_free(read_sample("sleep", &fd));
	close(fd);
}

static void registers_of_a_sample_are_raw(void **state)
{
	struct ckpt_checkpoint *checkpoint;
	size_t len;
	int fd;
	char *raw = scratch_load(SAMPLES_DIR, "sleep/process/threads/0.bin", &len);

	checkpoint = read_sample("sleep", &fd);
	assert_null(checkpoint->threads.items[0].gpregs);
	assert_int_equal(ckpt_layout_read_registers(fd, &checkpoint->threads), 0);
	/* Once more must not leak. */
	assert_int_equal(ckpt_layout_read_registers(fd, &checkpoint->threads), 0);
	assert_int_equal(checkpoint->threads.items[0].gpregs_len, CKPT_GPREGS_SIZE);
	assert_memory_equal(checkpoint->threads.items[0].gpregs, raw, len);
	assert_null(checkpoint->threads.items[0].xstate);
	ckpt_checkpoint_free(checkpoint);
	close(fd);
	free(raw);
}

static void segments_open_by_row(void **state)
{
	struct ckpt_checkpoint *checkpoint;
	int fd;

	checkpoint = read_sample("sleep", &fd);
	for (size_t i = 0; i < checkpoint->regions.n; i++) {
		const struct ckpt_region *region = &checkpoint->regions.items[i];
		int segment = ckpt_layout_open_segment(fd, checkpoint, i);
		struct stat st;

		assert_true(segment >= 0);
		assert_int_equal(fstat(segment, &st), 0);
		assert_int_equal(st.st_size, region->end - region->start);
		close(segment);
	}
	assert_int_equal(ckpt_layout_open_segment(fd, checkpoint, checkpoint->regions.n), -ENOENT);
	ckpt_checkpoint_free(checkpoint);
	close(fd);
}

static void a_version_is_eprotonosupport(void **state)
{
	struct ckpt_checkpoint *checkpoint = NULL;
	struct ckpt_meta meta = {};
	int fd = open(SAMPLES_DIR "/v3-sleep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_int_equal(ckpt_layout_is_checkpoint(fd), 1);
	assert_int_equal(ckpt_layout_read(fd, &checkpoint), -EPROTONOSUPPORT);
	assert_null(checkpoint);
	assert_int_equal(ckpt_layout_read_meta(fd, &meta), 0);
	assert_int_equal(meta.version, 3);
	assert_string_equal(meta.name, "v3-sleep");
	ckpt_meta_done(&meta);
	close(fd);
}

static void a_small_one_loads(void **state)
{
	struct scratch *scratch = *state;
	struct ckpt_checkpoint *checkpoint;

	scratch_fill_checkpoint(scratch->fd);
	assert_int_equal(ckpt_layout_read(scratch->fd, &checkpoint), 0);
	assert_int_equal(ckpt_layout_read_registers(scratch->fd, &checkpoint->threads), 0);
	assert_int_equal(checkpoint->threads.items[0].gpregs_len, 9);
	ckpt_checkpoint_free(checkpoint);
}

static void every_thread_has_its_registers(void **state)
{
	struct scratch *scratch = *state;
	struct ckpt_checkpoint *checkpoint;
	int fd;

	scratch_fill_checkpoint(scratch->fd);
	fd = openat(scratch->fd, "process", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(unlinkat(fd, "info.json", 0), 0);
	scratch_text(fd, "info.json",
		     "{\"pid\": 7, \"cwd\": \"/\", \"exe\": \"/x\", \"ppid\": 1, "
		     "\"threads\": [{\"tid\": 7}, {\"tid\": 9}]}");
	assert_int_equal(ckpt_layout_read(scratch->fd, &checkpoint), 0);
	assert_int_equal(checkpoint->threads.n, 2);
	assert_int_equal(ckpt_layout_read_registers(scratch->fd, &checkpoint->threads), -ENOENT);

	scratch_text(fd, "threads.1", "second");
	assert_int_equal(renameat(fd, "threads.1", fd, "threads/1.bin"), 0);
	scratch_text(fd, "threads.1", "xstate");
	assert_int_equal(renameat(fd, "threads.1", fd, "threads/1.xstate"), 0);
	assert_int_equal(ckpt_layout_read_registers(scratch->fd, &checkpoint->threads), 0);
	assert_memory_equal(checkpoint->threads.items[1].gpregs, "second", 6);
	assert_memory_equal(checkpoint->threads.items[1].xstate, "xstate", 6);
	ckpt_checkpoint_free(checkpoint);
	close(fd);
}

/* What stands in the place of a file, and what reading gives then. */
enum trap {
	TRAP_NOTHING,
	TRAP_LINK,
	TRAP_FIFO,
	TRAP_DIRECTORY,
	TRAP_HUGE,
};

/* clang-format off */
static const struct {
	const char *path;
	enum trap trap;
	int r;
} traps[] = {
	{ CKPT_PATH_META, TRAP_NOTHING, -ENOENT }, { CKPT_PATH_META, TRAP_LINK, -ELOOP },
	{ CKPT_PATH_META, TRAP_FIFO, -EBADMSG }, { CKPT_PATH_META, TRAP_DIRECTORY, -EBADMSG },
	{ CKPT_PATH_META, TRAP_HUGE, -EFBIG },
	{ CKPT_PATH_INFO, TRAP_NOTHING, -ENOENT }, { CKPT_PATH_INFO, TRAP_LINK, -ELOOP },
	{ CKPT_PATH_INFO, TRAP_FIFO, -EBADMSG }, { CKPT_PATH_INFO, TRAP_DIRECTORY, -EBADMSG },
	{ CKPT_PATH_FDS, TRAP_NOTHING, -ENOENT }, { CKPT_PATH_FDS, TRAP_HUGE, -EFBIG },
	{ CKPT_PATH_MAP, TRAP_NOTHING, -ENOENT }, { CKPT_PATH_MAP, TRAP_LINK, -ELOOP },
	{ CKPT_PATH_THREADS "/0.bin", TRAP_NOTHING, -ENOENT },
	{ CKPT_PATH_THREADS "/0.bin", TRAP_LINK, -ELOOP },
	{ CKPT_PATH_THREADS "/0.bin", TRAP_HUGE, -EFBIG },
	{ CKPT_PATH_THREADS "/0.xstate", TRAP_HUGE, -EFBIG },
	{ CKPT_PATH_THREADS "/0.xstate", TRAP_LINK, -ELOOP },
	{ CKPT_PATH_MEMORY "/0.bin", TRAP_NOTHING, -ENOENT },
	{ CKPT_PATH_MEMORY "/0.bin", TRAP_LINK, -ELOOP },
	{ CKPT_PATH_MEMORY "/0.bin", TRAP_FIFO, -EBADMSG },
	{ CKPT_PATH_MEMORY "/0.bin", TRAP_DIRECTORY, -EBADMSG },
	{ CKPT_PATH_MEMORY, TRAP_LINK, -ELOOP }, { CKPT_PATH_PROCESS, TRAP_LINK, -ELOOP },
};
/* clang-format on */

static void set_trap(int dirfd, const char *path, enum trap trap)
{
	int fd;

	assert_int_equal(ckpt_fd_remove_tree(dirfd, path), 0);
	switch (trap) {
	case TRAP_NOTHING:
		break;
	case TRAP_LINK:
		assert_int_equal(symlinkat("/etc/passwd", dirfd, path), 0);
		break;
	case TRAP_FIFO:
		assert_int_equal(mkfifoat(dirfd, path, 0600), 0);
		break;
	case TRAP_DIRECTORY:
		assert_int_equal(mkdirat(dirfd, path, 0700), 0);
		break;
	case TRAP_HUGE:
		fd = openat(dirfd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		assert_int_equal(ftruncate(fd, (off_t)1 << 40), 0);
		close(fd);
		break;
	}
}

/* As a reader of everything would: the first error. */
static int read_whole(int dirfd)
{
	struct ckpt_checkpoint *checkpoint;
	int r;

	r = ckpt_layout_read(dirfd, &checkpoint);
	if (r < 0)
		return r;
	r = ckpt_layout_read_registers(dirfd, &checkpoint->threads);
	if (r == 0)
		r = ckpt_layout_open_segment(dirfd, checkpoint, 0);
	if (r >= 0)
		close(r);
	ckpt_checkpoint_free(checkpoint);
	return r;
}

static void whatever_stands_there_is_an_errno(void **state)
{
	struct scratch *scratch = *state;

	for (size_t i = 0; i < sizeof(traps) / sizeof(traps[0]); i++) {
		char name[16];
		int fd, r;

		snprintf(name, sizeof(name), "%zu", i);
		scratch_checkpoint(scratch->fd, name);
		fd = openat(scratch->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(read_whole(fd) >= 0);
		set_trap(fd, traps[i].path, traps[i].trap);
		r = read_whole(fd);
		if (r != traps[i].r)
			fail_msg("%s, trap %d, gives %d", traps[i].path, traps[i].trap, r);
		close(fd);
	}
}

static void malformed_files_are_ebadmsg(void **state)
{
	static const char *const rejects[][2] = {
		{ CKPT_PATH_META, "meta-truncated.json" },
		{ CKPT_PATH_INFO, "info-float-pid.json" },
		{ CKPT_PATH_FDS, "fds-negative-fd.json" },
		{ CKPT_PATH_MAP, "map-overlap.json" },
	};
	struct scratch *scratch = *state;

	for (size_t i = 0; i < sizeof(rejects) / sizeof(rejects[0]); i++) {
		char name[16];
		char *text;
		size_t len;
		int fd;

		snprintf(name, sizeof(name), "%zu", i);
		scratch_checkpoint(scratch->fd, name);
		fd = openat(scratch->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		text = scratch_load(REJECT_DIR, rejects[i][1], &len);
		assert_int_equal(unlinkat(fd, rejects[i][0], 0), 0);
		scratch_write(fd, rejects[i][0], text, len);
		assert_int_equal(read_whole(fd), -EBADMSG);
		free(text);
		close(fd);
	}
}

static void is_a_checkpoint_with_meta_and_process_alone(void **state)
{
	struct scratch *scratch = *state;

	assert_int_equal(ckpt_layout_is_checkpoint(scratch->fd), 0);
	scratch_text(scratch->fd, "meta.json", "");
	assert_int_equal(ckpt_layout_is_checkpoint(scratch->fd), 0);
	scratch_text(scratch->fd, "process", "");
	assert_int_equal(ckpt_layout_is_checkpoint(scratch->fd), 0);
	set_trap(scratch->fd, "process", TRAP_DIRECTORY);
	assert_int_equal(ckpt_layout_is_checkpoint(scratch->fd), 1);
	set_trap(scratch->fd, "meta.json", TRAP_LINK);
	assert_int_equal(ckpt_layout_is_checkpoint(scratch->fd), 0);
	assert_int_equal(ckpt_layout_is_checkpoint(-1), -EBADF);
}

#define SCRATCH_TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(samples_load),
		cmocka_unit_test(registers_of_a_sample_are_raw),
		cmocka_unit_test(segments_open_by_row),
		cmocka_unit_test(a_version_is_eprotonosupport),
		SCRATCH_TEST(a_small_one_loads),
		SCRATCH_TEST(every_thread_has_its_registers),
		SCRATCH_TEST(whatever_stands_there_is_an_errno),
		SCRATCH_TEST(malformed_files_are_ebadmsg),
		SCRATCH_TEST(is_a_checkpoint_with_meta_and_process_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
