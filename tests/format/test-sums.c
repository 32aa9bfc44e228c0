/* SPDX-License-Identifier: Apache-2.0 */
/* SHA256SUMS: the lines sha256sum(1) writes, read strictly; and the digests in them. */
#include "format/sums.h"

#include <errno.h>

#include "tests/format/scratch.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static const char sorted[] =
    EMPTY "  meta.json\n" ABC "  policy.dat\n" EMPTY "  process/fds.json\n";

static void add(struct ckpt_sums *sums, const char *path, const char *data)
{
	uint8_t digest[CKPT_SHA256_SIZE];

	assert_int_equal(ckpt_sha256(data, strlen(data), digest), 0);
	assert_int_equal(ckpt_sums_add(sums, path, digest), 0);
}

static void assert_prints(const struct ckpt_sums *sums, const char *expected)
{
	char *text;
	size_t len;

	assert_int_equal(ckpt_sums_print(sums, &text, &len), 0);
	assert_string_equal(text, expected);
	assert_int_equal(len, strlen(expected));
	free(text);
}

static void lines_are_sorted_and_as_sha256sum_writes_them(void **state)
{
	struct ckpt_sums sums = {};

	assert_prints(&sums, "");
	add(&sums, "process/fds.json", "");
	add(&sums, "policy.dat", "abc");
	add(&sums, "meta.json", "");
	ckpt_sums_sort(&sums);
	assert_prints(&sums, sorted);
	ckpt_sums_done(&sums);
}

static void odd_bytes_of_a_path_are_escaped(void **state)
{
	struct ckpt_sums sums = {}, again = {};
	/* What coreutils 9.1 prints for a file of this name. */
	const char *line = "\\" ABC "  a\\rb\\\\c\\nd\n";

	add(&sums, "a\rb\\c\nd", "abc");
	assert_prints(&sums, line);
	assert_int_equal(ckpt_sums_parse(line, strlen(line), &again), 0);
	assert_string_equal(again.items[0].path, "a\rb\\c\nd");
	ckpt_sums_done(&sums);
	ckpt_sums_done(&again);
}

static void a_file_reads_and_prints_the_same(void **state)
{
	struct ckpt_sums sums = {};
	const struct ckpt_sum *sum;

	assert_int_equal(ckpt_sums_parse(sorted, strlen(sorted), &sums), 0);
	assert_int_equal(sums.n, 3);
	assert_prints(&sums, sorted);
	sum = ckpt_sums_find(&sums, "policy.dat");
	assert_non_null(sum);
	assert_int_equal(sum->digest[0], 0xba);
	assert_null(ckpt_sums_find(&sums, "policy"));
	ckpt_sums_done(&sums);
	assert_null(ckpt_sums_find(&sums, "policy.dat"));
}

static void any_order_is_read_and_sorted(void **state)
{
	const char *text = ABC "  b\n" EMPTY "  a\n";
	struct ckpt_sums sums = {};

	assert_int_equal(ckpt_sums_parse(text, strlen(text), &sums), 0);
	assert_string_equal(sums.items[0].path, "a");
	ckpt_sums_done(&sums);
}

static void a_blank_or_dots_inside_a_name_are_fine(void **state)
{
	const char *text = ABC "  a b/..c/d..\n" ABC "  ...\n";
	struct ckpt_sums sums = {};

	assert_int_equal(ckpt_sums_parse(text, strlen(text), &sums), 0);
	ckpt_sums_done(&sums);
}

/* clang-format off */
static const char *const malformed[] = {
	ABC "  a", "\n", ABC "\n", ABC "  \n", ABC " a\n", ABC " *a\n", ABC "\ta\n", "a  " ABC "\n",
	"# comment\n",
	"BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD  a\n",
	"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015a  a\n",
	"ga7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  a\n",
	ABC "  /etc/passwd\n", ABC "  ../x\n", ABC "  a/../b\n", ABC "  ..\n", ABC "  .\n",
	ABC "  ./a\n", ABC "  a//b\n",
	ABC "  a/\n", ABC "  a/..\n", ABC "  a\n" EMPTY "  a\n", ABC "  a\n\n",
	"\\" ABC "  a\\tb\n", "\\" ABC "  a\\\n", "\\\n", "\\" ABC "  a\\", "\\" ABC "  ..\n",
};
/* clang-format on */

static void malformed_text_is_ebadmsg(void **state)
{
	for (size_t i = 0; i < sizeof(malformed) / sizeof(malformed[0]); i++) {
		struct ckpt_sums sums = {};

		if (ckpt_sums_parse(malformed[i], strlen(malformed[i]), &sums) != -EBADMSG)
			fail_msg("taken: %s", malformed[i]);
		assert_null(sums.items);
	}
}

static void a_nul_in_a_line_is_ebadmsg(void **state)
{
	char text[] = ABC "  a\0b\n";
	struct ckpt_sums sums = {};

	assert_int_equal(ckpt_sums_parse(text, sizeof(text) - 1, &sums), -EBADMSG);
	text[5] = '\0';
	assert_int_equal(ckpt_sums_parse(text, sizeof(text) - 1, &sums), -EBADMSG);
}

static void a_name_longer_than_any_file_is_ebadmsg(void **state)
{
	char text[1024];
	struct ckpt_sums sums = {};

	snprintf(text, sizeof(text), ABC "  %0256d\n", 0);
	assert_int_equal(ckpt_sums_parse(text, strlen(text), &sums), -EBADMSG);
	snprintf(text, sizeof(text), ABC "  %0255d\n", 0);
	assert_int_equal(ckpt_sums_parse(text, strlen(text), &sums), 0);
	ckpt_sums_done(&sums);
}

static void an_fd_is_digested_from_its_start(void **state)
{
	struct scratch *scratch = *state;
	uint8_t digest[CKPT_SHA256_SIZE], expected[CKPT_SHA256_SIZE];
	size_t len = 3 * 256 * 1024 + 17;
	char *data = malloc(len);
	int fd;

	for (size_t i = 0; i < len; i++)
		data[i] = (char)(i * 31 >> 3);
	scratch_write(scratch->fd, "data", data, len);
	fd = openat(scratch->fd, "data", O_RDONLY | O_CLOEXEC);
	assert_int_equal(lseek(fd, 5, SEEK_SET), 5);
	assert_int_equal(ckpt_sha256(data, len, expected), 0);
	assert_int_equal(ckpt_sha256_fd(fd, digest), 0);
	assert_memory_equal(digest, expected, sizeof(digest));
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 5);
	close(fd);
	free(data);
}

static void an_fd_that_cannot_be_read_is_its_errno(void **state)
{
	struct scratch *scratch = *state;
	uint8_t digest[CKPT_SHA256_SIZE];

	assert_int_equal(ckpt_sha256_fd(scratch->fd, digest), -EISDIR);
	assert_int_equal(ckpt_sha256_fd(-1, digest), -EBADF);
}

static void sha256sum_agrees(void **state)
{
	struct scratch *scratch = *state;
	struct ckpt_sums sums = {};
	char command[128], *text;
	size_t len;

	scratch_text(scratch->fd, "a\nb", "abc");
	scratch_text(scratch->fd, "meta.json", "");
	add(&sums, "a\nb", "abc");
	add(&sums, "meta.json", "");
	assert_int_equal(ckpt_sums_print(&sums, &text, &len), 0);
	scratch_write(scratch->fd, "SHA256SUMS", text, len);
	snprintf(command, sizeof(command), "cd %s && sha256sum --strict --status -c SHA256SUMS",
		 scratch->path);
	assert_int_equal(system(command), 0);
	free(text);
	ckpt_sums_done(&sums);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_sorted_and_as_sha256sum_writes_them),
		cmocka_unit_test(odd_bytes_of_a_path_are_escaped),
		cmocka_unit_test(a_file_reads_and_prints_the_same),
		cmocka_unit_test(any_order_is_read_and_sorted),
		cmocka_unit_test(a_blank_or_dots_inside_a_name_are_fine),
		cmocka_unit_test(malformed_text_is_ebadmsg),
		cmocka_unit_test(a_nul_in_a_line_is_ebadmsg),
		cmocka_unit_test(a_name_longer_than_any_file_is_ebadmsg),
		cmocka_unit_test_setup_teardown(an_fd_is_digested_from_its_start, scratch_setup,
						scratch_teardown),
		cmocka_unit_test_setup_teardown(an_fd_that_cannot_be_read_is_its_errno,
						scratch_setup, scratch_teardown),
		cmocka_unit_test_setup_teardown(sha256sum_agrees, scratch_setup, scratch_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
