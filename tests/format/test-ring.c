/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Verifies format/ring.c and format/ring-drain.c: what goes in at one end comes out at the other,
 * in two processes and through a ring smaller than the whole; either end notices the other's
 * death; and nothing a hostile source puts into the memory hurts the drain.
 */

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "format/checkpoint.h"
#include "format/cleanup.h"
#include "format/ring-internal.h"
#include "format/ring.h"
#include "format/sink.h"
#include "record-sink.h"

#define DEADLINE_SECONDS 60
#define N_PAGES 2500 /* some 10 MiB through 1 MiB */

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

struct ends {
	int source, drain;
};

static void make_ends(struct ends *ends)
{
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	*ends = (struct ends){ sv[0], sv[1] };
}

static void close_ends(struct ends *ends)
{
	ends->source = close_fd(ends->source);
	ends->drain = close_fd(ends->drain);
}

/* The drain's end in a child, which leaves with the errno of its result. */
static pid_t fork_drain(struct ends *ends, unsigned fail_at)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct ckpt_sink *sink = NULL;
		int r;

		alarm(DEADLINE_SECONDS);
		close_fd(ends->source);
		r = record_sink_new(fail_at, &sink);
		if (r == 0)
			r = ckpt_ring_drain(ends->drain, UINT64_MAX, sink);
		_exit(-r);
	}
	ends->drain = close_fd(ends->drain);
	return pid;
}

/* The source's end in a child, which leaves with the errno of its result. */
static pid_t fork_source(struct ends *ends, int (*play)(struct ckpt_sink *, size_t), bool die)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct ckpt_sink *sink = NULL;
		int r;

		alarm(DEADLINE_SECONDS);
		close_fd(ends->drain);
		r = ckpt_ring_sink_new(ends->source, 0, &sink);
		if (r == 0)
			r = play(sink, N_PAGES);
		if (die)
			raise(SIGKILL);
		ckpt_sink_free(sink);
		_exit(-r);
	}
	ends->source = close_fd(ends->source);
	return pid;
}

static int wait_for(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* Says the first line that differs: the texts are long. */
static void assert_same(const char *a, const char *b)
{
	size_t i = 0;

	while (a[i] && a[i] == b[i])
		i++;
	if (a[i] == b[i])
		return;
	while (i > 0 && a[i - 1] != '\n')
		i--;
	fail_msg("%.*s is not %.*s", (int)strcspn(a + i, "\n"), a + i, (int)strcspn(b + i, "\n"),
		 b + i);
}

static void ring_passes_every_call_on(void **state)
{
	cleanup_sink struct ckpt_sink *direct = NULL;
	cleanup_sink struct ckpt_sink *passed = NULL;
	struct ends ends;
	pid_t pid;

	assert_int_equal(record_sink_new(0, &direct), 0);
	assert_int_equal(record_sink_new(0, &passed), 0);
	assert_int_equal(play_all(direct, N_PAGES), 0);

	make_ends(&ends);
	pid = fork_source(&ends, play_all, false);
	assert_int_equal(ckpt_ring_drain(ends.drain, UINT64_MAX, passed), 0);
	assert_int_equal(wait_for(pid), 0);
	assert_same(record_sink_text(passed), record_sink_text(direct));
	close_ends(&ends);
}

static void source_that_dies_is_ecanceled(void **state)
{
	cleanup_sink struct ckpt_sink *direct = NULL;
	cleanup_sink struct ckpt_sink *passed = NULL;
	struct ends ends;
	pid_t pid;

	assert_int_equal(record_sink_new(0, &direct), 0);
	assert_int_equal(record_sink_new(0, &passed), 0);
	assert_int_equal(play_until_end(direct, N_PAGES), 0);

	make_ends(&ends);
	pid = fork_source(&ends, play_until_end, true);
	assert_int_equal(ckpt_ring_drain(ends.drain, UINT64_MAX, passed), -ECANCELED);
	assert_true(WIFSIGNALED(wait_for(pid)));
	/* What was in the ring when it died came nonetheless. */
	assert_same(record_sink_text(passed), record_sink_text(direct));
	close_ends(&ends);
}

static void source_that_gives_up_is_ecanceled(void **state)
{
	cleanup_sink struct ckpt_sink *passed = NULL;
	struct ends ends;
	pid_t pid;

	assert_int_equal(record_sink_new(0, &passed), 0);
	make_ends(&ends);
	pid = fork_source(&ends, play_until_end, false);
	assert_int_equal(ckpt_ring_drain(ends.drain, UINT64_MAX, passed), -ECANCELED);
	assert_int_equal(wait_for(pid), 0);
	close_ends(&ends);
}

static void drain_that_dies_is_epipe(void **state)
{
	cleanup_sink struct ckpt_sink *sink = NULL;
	struct ends ends;
	pid_t pid;

	make_ends(&ends);
	assert_int_equal(ckpt_ring_sink_new(ends.source, 0, &sink), 0);
	pid = fork();
	if (pid == 0)
		_exit(0); /* its copy of the other end goes with it */
	ends.drain = close_fd(ends.drain);
	assert_int_equal(wait_for(pid), 0);

	assert_int_equal(play_all(sink, N_PAGES), -EPIPE);
	assert_int_equal(ckpt_sink_zero(sink, 0, CKPT_PAGE_SIZE), -EPIPE);
	sink = ckpt_sink_free(sink);
	close_ends(&ends);
}

static void failure_of_the_far_sink_comes_back(void **state)
{
	/* Early: the source learns of it while it sends. The last call: at the end. */
	static const unsigned fail_at[] = { 1, 100, N_PAGES + 1, N_PAGES + 2, N_PAGES + 14 };

	for (size_t i = 0; i < sizeof(fail_at) / sizeof(fail_at[0]); i++) {
		cleanup_sink struct ckpt_sink *sink = NULL;
		struct ends ends;
		pid_t pid;

		make_ends(&ends);
		pid = fork_drain(&ends, fail_at[i]);
		assert_int_equal(ckpt_ring_sink_new(ends.source, 0, &sink), 0);
		assert_int_equal(play_all(sink, N_PAGES), -ENOSPC);
		assert_int_equal(WEXITSTATUS(wait_for(pid)), ENOSPC);
		sink = ckpt_sink_free(sink);
		close_ends(&ends);
	}
}

static void drain_that_takes_nothing_is_etimedout(void **state)
{
	cleanup_sink struct ckpt_sink *sink = NULL;
	struct ends ends;

	make_ends(&ends);
	assert_int_equal(ckpt_ring_sink_new(ends.source, 0, &sink), 0);
	ckpt_ring_sink_set_patience(sink, 20);
	assert_int_equal(play_all(sink, N_PAGES), -ETIMEDOUT);
	sink = ckpt_sink_free(sink);
	close_ends(&ends);
}

static void calls_after_the_end_are_eproto(void **state)
{
	cleanup_sink struct ckpt_sink *sink = NULL;
	struct ends ends;
	pid_t pid;

	make_ends(&ends);
	pid = fork_drain(&ends, 0);
	assert_int_equal(ckpt_ring_sink_new(ends.source, 0, &sink), 0);
	assert_int_equal(play_all(sink, 1), 0);
	assert_int_equal(ckpt_sink_zero(sink, 0, CKPT_PAGE_SIZE), -EPROTO);
	assert_int_equal(wait_for(pid), 0);
	sink = ckpt_sink_free(sink);
	close_ends(&ends);
}

static void space_is_whole_pages_within_the_ring(void **state)
{
	static const size_t wants[] = { 1, CKPT_PAGE_SIZE, 100000, 1U << 20, SIZE_MAX / 2 };
	cleanup_sink struct ckpt_sink *sink = NULL;
	struct ends ends;

	make_ends(&ends);
	assert_int_equal(ckpt_ring_sink_new(ends.source, 0, &sink), 0);
	for (size_t i = 0; i < sizeof(wants) / sizeof(wants[0]); i++) {
		size_t len = 0;
		void *p = NULL;

		assert_int_equal(sink->ops->space(sink, wants[i], &p, &len), 0);
		assert_true(len > 0 && len % CKPT_PAGE_SIZE == 0);
		assert_true(len <= wants[i] || len == CKPT_PAGE_SIZE);
		memset(p, 1, len);
	}
	sink = ckpt_sink_free(sink);
	close_ends(&ends);
}

/* The hostile source: memory made by hand, filled, and sent whole before the drain starts. */

#define FORGED_SIZE_MAX (2 * RING_SIZE_MIN)

struct forged {
	int fd;
	uint64_t size;
	struct ring_shared *shared;
	char *data;
	uint64_t head;
};

static void forge(struct forged *forged, uint64_t size)
{
	void *map;

	*forged = (struct forged){ .size = size };
	forged->fd = memfd_create("forged", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_true(forged->fd >= 0);
	assert_int_equal(ftruncate(forged->fd, (off_t)(CKPT_PAGE_SIZE + size)), 0);
	map = mmap(NULL, CKPT_PAGE_SIZE + size, PROT_READ | PROT_WRITE, MAP_SHARED, forged->fd, 0);
	assert_ptr_not_equal(map, MAP_FAILED);
	forged->shared = map;
	forged->data = (char *)map + CKPT_PAGE_SIZE;
}

static void seal(struct forged *forged)
{
	assert_int_equal(fcntl(forged->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
			 0);
}

static void forged_done(struct forged *forged)
{
	(void)munmap(forged->shared, CKPT_PAGE_SIZE + forged->size);
	close_fd(forged->fd);
}

static void put(struct forged *forged, const struct ring_message *message, const void *payload,
		size_t len)
{
	char *at = forged->data + forged->head % forged->size;

	memcpy(at, message, sizeof(*message));
	if (len > 0)
		memcpy(at + sizeof(*message), payload, len);
	forged->head += sizeof(*message) + ring_round(len);
	atomic_store(&forged->shared->head, forged->head);
}

static void put_part(struct forged *forged, enum ring_type call, unsigned argument,
		     const char *text, size_t len)
{
	const struct ring_message message = {
		.type = RING_PART, .call = call, .argument = argument, .len = len
	};

	put(forged, &message, text, len);
}

static void put_call(struct forged *forged, enum ring_type call)
{
	const struct ring_message message = { .type = call };

	put(forged, &message, NULL, 0);
}

static void put_begin(struct forged *forged)
{
	const char *text = "{\"pid\":1,\"expected_bytes\":0}";

	put_part(forged, RING_BEGIN, 0, text, strlen(text));
	put_call(forged, RING_BEGIN);
}

static void send_fds(int sock, const int *fds, size_t n)
{
	union {
		char bytes[CMSG_SPACE(4 * sizeof(int))];
		struct cmsghdr align;
	} control = {};
	struct iovec iov = { .iov_base = (char[]){ 'f' }, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n > 0) {
		struct cmsghdr *cmsg;

		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(n * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, n * sizeof(int));
	}
	assert_int_equal(sendmsg(sock, &msg, MSG_NOSIGNAL), 1);
}

/* What the drain answers to these descriptors and whatever lies in them. */
static int drain_of(const int *fds, size_t n)
{
	struct ckpt_sink *sink = NULL;
	struct ends ends;
	int r;

	make_ends(&ends);
	send_fds(ends.source, fds, n);
	ends.source = close_fd(ends.source);
	assert_int_equal(record_sink_new(0, &sink), 0);
	r = ckpt_ring_drain(ends.drain, FORGED_SIZE_MAX, sink);
	ckpt_sink_free(sink);
	close_ends(&ends);
	return r;
}

struct corruption {
	const char *what;
	void (*make)(struct forged *forged);
	int expected;
};

static void nothing_at_all(struct forged *f)
{
}

static void begin_alone(struct forged *f)
{
	put_begin(f);
}

static void head_beyond_the_ring(struct forged *f)
{
	atomic_store(&f->shared->head, f->size + RING_ALIGN);
}

static void head_before_the_tail(struct forged *f)
{
	atomic_store(&f->shared->head, (uint64_t)0 - RING_ALIGN);
}

static void head_between_records(struct forged *f)
{
	put_begin(f);
	atomic_store(&f->shared->head, f->head + 1);
}

static void unknown_type(struct forged *f)
{
	put_call(f, (enum ring_type)99);
}

static void put_len(struct forged *f, enum ring_type type, uint64_t len, uint64_t head)
{
	const struct ring_message message = { .type = type, .len = len };

	put(f, &message, NULL, 0);
	atomic_store(&f->shared->head, head);
}

static void length_beyond_what_is_there(struct forged *f)
{
	put_len(f, RING_PAGES, CKPT_PAGE_SIZE, 2 * RING_ALIGN);
}

static void length_that_rounds_beyond(struct forged *f)
{
	put_len(f, RING_PART, UINT64_MAX, 2 * RING_ALIGN);
}

static void length_of_all_bits_but_one(struct forged *f)
{
	put_len(f, RING_PAD, UINT64_MAX - 31, f->size);
}

/* Records up to the last unit of the ring. */
static void fill_to_the_last_unit(struct forged *f)
{
	static const char block[1U << 18];

	while (f->head < f->size - RING_ALIGN) {
		uint64_t left = f->size - 2 * RING_ALIGN - f->head;

		put_part(f, RING_END, 3, block, left < sizeof(block) ? left : sizeof(block));
	}
}

static void length_beyond_the_end(struct forged *f)
{
	const struct ring_message last = { .type = RING_PAGES, .len = CKPT_PAGE_SIZE };

	fill_to_the_last_unit(f);
	memcpy(f->data + f->size - RING_ALIGN, &last, sizeof(last));
	atomic_store(&f->shared->head, f->size);
}

static void pad_that_ends_before_the_ring_does(struct forged *f)
{
	put_len(f, RING_PAD, f->size - 2 * RING_ALIGN, f->size);
}

static void more_than_a_record_holds(struct forged *f)
{
	put_len(f, RING_PAGES, f->size / 2, f->size);
}

static void put_pages(struct forged *f, uint64_t addr, uint64_t len)
{
	const struct ring_message message = { .type = RING_PAGES, .addr = addr, .len = len };
	static const char page[CKPT_PAGE_SIZE];

	put(f, &message, page, len);
}

static void pages_of_odd_length(struct forged *f)
{
	put_pages(f, CKPT_PAGE_SIZE, 100);
}

static void pages_of_no_length(struct forged *f)
{
	put_pages(f, CKPT_PAGE_SIZE, 0);
}

static void pages_at_an_odd_address(struct forged *f)
{
	put_pages(f, 8, CKPT_PAGE_SIZE);
}

static void pages_beyond_all_addresses(struct forged *f)
{
	put_pages(f, CKPT_ADDRESS_MAX, CKPT_PAGE_SIZE);
}

static void pages_at_the_last_address(struct forged *f)
{
	put_pages(f, UINT64_MAX - CKPT_PAGE_SIZE + 1, CKPT_PAGE_SIZE);
}

static void zero_beyond_all_addresses(struct forged *f)
{
	const struct ring_message message = { .type = RING_ZERO,
					      .addr = CKPT_PAGE_SIZE,
					      .span = (uint64_t)0 - CKPT_PAGE_SIZE };

	put(f, &message, NULL, 0);
}

static void part_of_an_argument_there_is_not(struct forged *f)
{
	put_part(f, RING_FD, RING_ARGUMENTS, "{}", 2);
}

static void part_of_an_argument_the_call_has_not(struct forged *f)
{
	put_part(f, RING_FD, 1, "{}", 2);
}

static void part_of_a_call_without_arguments(struct forged *f)
{
	put_part(f, RING_PAGES, 0, "{}", 2);
}

static void part_of_an_unknown_call(struct forged *f)
{
	put_part(f, _RING_TYPE_MAX, 0, "{}", 2);
}

static void argument_over_its_limit(struct forged *f)
{
	static const char block[CKPT_XSTATE_MAX];

	put_part(f, RING_THREAD, 2, block, sizeof(block));
	put_part(f, RING_THREAD, 2, block, 1);
}

static void parts_of_two_calls(struct forged *f)
{
	put_part(f, RING_FD, 0, "{}", 2);
	put_part(f, RING_THREAD, 0, "{}", 2);
}

static void parts_of_another_call(struct forged *f)
{
	put_part(f, RING_FD, 0, "{}", 2);
	put_call(f, RING_REGIONS);
}

static void call_without_its_argument(struct forged *f)
{
	put_part(f, RING_THREAD, 1, "12345678", 8);
	put_call(f, RING_THREAD);
}

static void call_without_any(struct forged *f)
{
	put_call(f, RING_END);
}

static void call_with_a_payload(struct forged *f)
{
	const struct ring_message message = { .type = RING_FD, .len = 8 };

	put_part(f, RING_FD, 0, "{}", 2);
	put(f, &message, "12345678", 8);
}

static void put_text(struct forged *f, enum ring_type call, const char *text)
{
	put_part(f, call, 0, text, strlen(text));
	put_call(f, call);
}

static void begin_that_is_no_json(struct forged *f)
{
	put_text(f, RING_BEGIN, "{\"pid\":");
}

static void begin_that_is_a_list(struct forged *f)
{
	put_text(f, RING_BEGIN, "[]");
}

static void begin_of_a_huge_pid(struct forged *f)
{
	put_text(f, RING_BEGIN, "{\"pid\":4294967296,\"expected_bytes\":0}");
}

static void thread_that_is_a_number(struct forged *f)
{
	put_text(f, RING_THREAD, "7");
}

static void omitted_without_errno(struct forged *f)
{
	put_text(f, RING_OMITTED, "{\"what\":\"a\",\"call\":\"b\"}");
}

static void regions_that_overlap(struct forged *f)
{
	put_text(f, RING_REGIONS,
		 "[{\"start\":4096,\"end\":12288,\"perms\":\"rw-p\",\"offset\":0,\"path\":null},"
		 "{\"start\":8192,\"end\":16384,\"perms\":\"rw-p\",\"offset\":0,\"path\":null}]");
}

static void path_with_a_nul(struct forged *f)
{
	put_part(f, RING_PROCFILE, 0, "a\0b", 3);
	put_part(f, RING_PROCFILE, 1, "", 0);
	put_call(f, RING_PROCFILE);
}

static void end_without_info(struct forged *f)
{
	put_text(f, RING_END, "{\"name\":\"x\",\"cow_snapshot\":null}");
}

#define ROW(f, expected)                                                                           \
	{                                                                                          \
#f, f, expected                                                                    \
	}
static const struct corruption corruptions[] = {
	ROW(nothing_at_all, -ECANCELED),
	ROW(begin_alone, -ECANCELED),
	ROW(head_beyond_the_ring, -EBADMSG),
	ROW(head_before_the_tail, -EBADMSG),
	ROW(head_between_records, -EBADMSG),
	ROW(unknown_type, -EBADMSG),
	ROW(length_beyond_what_is_there, -EBADMSG),
	ROW(length_that_rounds_beyond, -EBADMSG),
	ROW(length_of_all_bits_but_one, -EBADMSG),
	ROW(length_beyond_the_end, -EBADMSG),
	ROW(pad_that_ends_before_the_ring_does, -EBADMSG),
	ROW(more_than_a_record_holds, -EBADMSG),
	ROW(pages_of_odd_length, -EBADMSG),
	ROW(pages_of_no_length, -EBADMSG),
	ROW(pages_at_an_odd_address, -EBADMSG),
	ROW(pages_beyond_all_addresses, -EBADMSG),
	ROW(pages_at_the_last_address, -EBADMSG),
	ROW(zero_beyond_all_addresses, -EBADMSG),
	ROW(part_of_an_argument_there_is_not, -EBADMSG),
	ROW(part_of_an_argument_the_call_has_not, -EBADMSG),
	ROW(part_of_a_call_without_arguments, -EBADMSG),
	ROW(part_of_an_unknown_call, -EBADMSG),
	ROW(argument_over_its_limit, -EBADMSG),
	ROW(parts_of_two_calls, -EPROTO),
	ROW(parts_of_another_call, -EPROTO),
	ROW(call_without_its_argument, -EPROTO),
	ROW(call_without_any, -EPROTO),
	ROW(call_with_a_payload, -EBADMSG),
	ROW(begin_that_is_no_json, -EBADMSG),
	ROW(begin_that_is_a_list, -EBADMSG),
	ROW(begin_of_a_huge_pid, -EBADMSG),
	ROW(thread_that_is_a_number, -EBADMSG),
	ROW(omitted_without_errno, -EBADMSG),
	ROW(regions_that_overlap, -EBADMSG),
	ROW(path_with_a_nul, -EBADMSG),
	ROW(end_without_info, -EPROTO),
};

static void what_no_source_of_ours_sends_is_refused(void **state)
{
	for (size_t i = 0; i < sizeof(corruptions) / sizeof(corruptions[0]); i++) {
		struct forged forged;
		int r;

		forge(&forged, RING_SIZE_MIN);
		corruptions[i].make(&forged);
		seal(&forged);
		r = drain_of(&forged.fd, 1);
		forged_done(&forged);
		if (r != corruptions[i].expected)
			fail_msg("%s: %d instead of %d", corruptions[i].what, r,
				 corruptions[i].expected);
	}
}

/* Records whose heads are half sense, half noise; the answer does not matter, an end does. */
static void noise_hurts_nobody(void **state)
{
	unsigned short seed[3] = { 1, 2, 3 };

	for (unsigned round = 0; round < 300; round++) {
		struct forged forged;

		forge(&forged, RING_SIZE_MIN);
		put_begin(&forged);
		for (unsigned i = 0; i < 40; i++) {
			const uint64_t lens[] = { 0, 2, CKPT_PAGE_SIZE, (uint64_t)jrand48(seed) };
			struct ring_message message = {
				.type = (uint32_t)(nrand48(seed) % (_RING_TYPE_MAX + 1)),
				.argument = (uint32_t)(nrand48(seed) % 5),
				.call = (uint32_t)(nrand48(seed) % (_RING_TYPE_MAX + 1)),
				.len = lens[nrand48(seed) % (round % 8 ? 3 : 4)],
				.addr = (uint64_t)nrand48(seed) * (round % 2 ? CKPT_PAGE_SIZE : 1),
				.span = (uint64_t)nrand48(seed) * CKPT_PAGE_SIZE,
			};
			static const char payload[CKPT_PAGE_SIZE] = "{}";

			put(&forged, &message, payload,
			    message.len <= CKPT_PAGE_SIZE ? message.len : 0);
		}
		seal(&forged);
		assert_true(drain_of(&forged.fd, 1) < 0);
		forged_done(&forged);
	}
}

static void memory_that_can_shrink_is_refused(void **state)
{
	static const int seals[] = { 0, F_SEAL_GROW | F_SEAL_SEAL, F_SEAL_SHRINK | F_SEAL_SEAL,
				     F_SEAL_SHRINK | F_SEAL_GROW };

	for (size_t i = 0; i < sizeof(seals) / sizeof(seals[0]); i++) {
		struct forged forged;

		forge(&forged, RING_SIZE_MIN);
		put_begin(&forged);
		assert_int_equal(fcntl(forged.fd, F_ADD_SEALS, seals[i]), 0);
		assert_int_equal(drain_of(&forged.fd, 1), -EBADMSG);
		forged_done(&forged);
	}
}

static void memory_we_cannot_write_is_refused(void **state)
{
	struct forged forged;

	forge(&forged, RING_SIZE_MIN);
	assert_int_equal(fcntl(forged.fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
	seal(&forged);
	assert_int_equal(drain_of(&forged.fd, 1), -EBADMSG);
	forged_done(&forged);
}

static void memory_of_odd_sizes_is_refused(void **state)
{
	static const uint64_t sizes[] = { 0, CKPT_PAGE_SIZE, RING_SIZE_MIN - CKPT_PAGE_SIZE,
					  RING_SIZE_MIN + 1, FORGED_SIZE_MAX + CKPT_PAGE_SIZE };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct forged forged;

		forge(&forged, sizes[i]);
		seal(&forged);
		assert_int_equal(drain_of(&forged.fd, 1), -EBADMSG);
		forged_done(&forged);
	}
}

static void what_is_no_memory_is_refused(void **state)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(drain_of(&fds[0], 1), -EBADMSG);
	close_fd(fds[0]);
	close_fd(fds[1]);
}

static void no_descriptor_or_two_are_refused(void **state)
{
	struct forged forged;
	int fds[2];

	forge(&forged, RING_SIZE_MIN);
	seal(&forged);
	fds[0] = fds[1] = forged.fd;
	assert_int_equal(drain_of(fds, 0), -EBADMSG);
	assert_int_equal(drain_of(fds, 2), -EBADMSG);
	forged_done(&forged);
}

static void end_of_the_socket_before_the_memory_is_ecanceled(void **state)
{
	cleanup_sink struct ckpt_sink *sink = NULL;
	struct ends ends;

	make_ends(&ends);
	ends.source = close_fd(ends.source);
	assert_int_equal(record_sink_new(0, &sink), 0);
	assert_int_equal(ckpt_ring_drain(ends.drain, UINT64_MAX, sink), -ECANCELED);
	close_ends(&ends);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ring_passes_every_call_on),
		cmocka_unit_test(source_that_dies_is_ecanceled),
		cmocka_unit_test(source_that_gives_up_is_ecanceled),
		cmocka_unit_test(drain_that_dies_is_epipe),
		cmocka_unit_test(failure_of_the_far_sink_comes_back),
		cmocka_unit_test(drain_that_takes_nothing_is_etimedout),
		cmocka_unit_test(calls_after_the_end_are_eproto),
		cmocka_unit_test(space_is_whole_pages_within_the_ring),
		cmocka_unit_test(what_no_source_of_ours_sends_is_refused),
		cmocka_unit_test(noise_hurts_nobody),
		cmocka_unit_test(memory_that_can_shrink_is_refused),
		cmocka_unit_test(memory_we_cannot_write_is_refused),
		cmocka_unit_test(memory_of_odd_sizes_is_refused),
		cmocka_unit_test(what_is_no_memory_is_refused),
		cmocka_unit_test(no_descriptor_or_two_are_refused),
		cmocka_unit_test(end_of_the_socket_before_the_memory_is_ecanceled),
	};

	alarm(DEADLINE_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
