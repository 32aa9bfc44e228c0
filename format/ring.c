/* SPDX-License-Identifier: Apache-2.0 */
#include "format/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "format/cleanup.h"
#include "format/convert.h"
#include "format/json.h"
#include "format/ring-internal.h"
#include "format/sink.h"

/*
 * The source's end. It may run with more rights than the other one, so it trusts what that
 * writes no further than its own memory: positions are checked, and nothing is read back.
 */

#define RING_POPULATE_STEP (UINT64_C(64) << 20)

struct ring {
	struct ckpt_sink sink; /* first */
	int sock;	       /* not owned */
	struct ring_shared *shared;
	char *data;
	uint64_t size; /* bytes of @data */
	uint64_t head; /* ours; the shared one is for the other end */
	uint64_t patience_ms;
	void *space; /* what space() handed out last, in the ring; NULL: nothing */
	size_t space_len;
	int error; /* negative: nothing goes any more */
};

static struct ring *ring_of(struct ckpt_sink *sink)
{
	return (struct ring *)sink;
}

/* Wakes the peer. 0; -EPIPE when it is gone. */
int ckpt_ring_wake(int sock)
{
	ssize_t n;

	do
		n = send(sock, "w", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);

	/* A full socket is a wake-up the peer has not read yet. */
	return n < 0 && errno != EAGAIN ? -EPIPE : 0;
}

/*
 * Waits for the peer: 1 it woke us, or something else did and the caller looks again; 0 the time
 * is over; -EPIPE it is gone.
 */
int ckpt_ring_sleep(int sock, int timeout_ms)
{
	struct pollfd pfd = { .fd = sock, .events = POLLIN };
	char bytes[64];
	ssize_t n;
	int r;

	r = poll(&pfd, 1, timeout_ms);
	if (r < 0)
		return errno == EINTR ? 1 : -errno;
	if (r == 0)
		return 0;

	n = recv(sock, bytes, sizeof(bytes), MSG_DONTWAIT);
	if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
		return 1;
	return -EPIPE;
}

static uint64_t ring_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* The other end's last word: 1 none yet, else its result. */
static int ring_result(const struct ring *ring)
{
	int32_t result;

	if (!atomic_load_explicit(&ring->shared->finished, memory_order_acquire))
		return 1;
	result = atomic_load(&ring->shared->result);
	return result > 0 || result < -RING_ERRNO_MAX ? -EPIPE : result;
}

/* What to say when the other end is gone: why it went, if it said so. */
static int ring_gone(const struct ring *ring)
{
	int r = ring_result(ring);

	return r < 0 ? r : -EPIPE;
}

/* A sleep of what is left of the patience. */
static int ring_nap(const struct ring *ring, uint64_t since_ms)
{
	uint64_t passed;
	int r;

	if (ring->patience_ms == UINT64_MAX) {
		r = ckpt_ring_sleep(ring->sock, -1);
	} else {
		passed = ring_now_ms() - since_ms;
		if (passed >= ring->patience_ms)
			return 0;
		passed = ring->patience_ms - passed;
		r = ckpt_ring_sleep(ring->sock, passed > 60000 ? 60000 : (int)passed);
		if (r == 0)
			return ring_now_ms() - since_ms < ring->patience_ms ? 1 : 0;
	}

	return r < 0 ? ring_gone(ring) : r;
}

/* 1 there are @need bytes free; 0 not so; negative when the other end is done or talks rubbish. */
static int ring_has_room(const struct ring *ring, uint64_t need, uint64_t *ret_tail)
{
	uint64_t tail;
	int r;

	r = ring_result(ring);
	if (r <= 0)
		return r < 0 ? r : -EPIPE;

	tail = atomic_load_explicit(&ring->shared->tail, memory_order_acquire);
	if (ring->head - tail > ring->size)
		return -EBADMSG;
	*ret_tail = tail;
	return ring->size - (ring->head - tail) >= need;
}

/* Waits until @need bytes are free. Patience is for an end that takes nothing at all. */
static int ring_wait_room(struct ring *ring, uint64_t need)
{
	uint64_t tail = 0, seen = UINT64_MAX, since_ms = 0;
	int r;

	for (;;) {
		r = ring_has_room(ring, need, &tail);
		if (r != 0)
			return r < 0 ? r : 0;
		if (tail != seen) {
			seen = tail;
			since_ms = ring_now_ms();
		}

		/* Say that we sleep, then look again: it may have gone on in between. */
		atomic_store(&ring->shared->source_sleeps, 1);
		r = ring_has_room(ring, need, &tail);
		if (r != 0)
			return r < 0 ? r : 0;

		r = ring_nap(ring, since_ms);
		if (r < 0)
			return r;
		if (r == 0 && atomic_load(&ring->shared->tail) == seen)
			return -ETIMEDOUT;
	}
}

static int ring_publish(struct ring *ring, const struct ring_message *message)
{
	memcpy(ring->data + ring->head % ring->size, message, sizeof(*message));
	ring->head += sizeof(*message) + ring_round(message->len);
	atomic_store(&ring->shared->head, ring->head);
	ring->space = NULL;

	if (atomic_load(&ring->shared->drain_sleeps) &&
	    atomic_exchange(&ring->shared->drain_sleeps, 0) && ckpt_ring_wake(ring->sock) < 0)
		return ring_gone(ring);
	return 0;
}

/*
 * Room for the payload of one record, at the head: @want bytes, or fewer where the ring ends
 * before, in whole units.
 */
static int ring_reserve(struct ring *ring, size_t want, size_t unit, char **ret, size_t *ret_len)
{
	uint64_t to_end = ring->size - ring->head % ring->size;
	int r;

	if (want > ring_payload_max(ring->size))
		want = ring_payload_max(ring->size);
	if (to_end < sizeof(struct ring_message) + unit) {
		struct ring_message pad = { .type = RING_PAD };

		pad.len = to_end - sizeof(pad);
		r = ring_wait_room(ring, to_end);
		if (r < 0)
			return r;
		r = ring_publish(ring, &pad);
		if (r < 0)
			return r;
		to_end = ring->size;
	}

	if (want > to_end - sizeof(struct ring_message))
		want = to_end - sizeof(struct ring_message);
	want -= want % unit;
	r = ring_wait_room(ring, sizeof(struct ring_message) + ring_round(want));
	if (r < 0)
		return r;

	*ret = ring->data + ring->head % ring->size + sizeof(struct ring_message);
	*ret_len = want;
	return 0;
}

/* Passes @r on; after an error the other end knows no more where it stands. */
static int ring_done(struct ring *ring, int r)
{
	if (r < 0)
		ring->error = r;
	return r;
}

static int ring_send_plain(struct ring *ring, const struct ring_message *message)
{
	size_t len;
	char *p;
	int r;

	r = ring_reserve(ring, 0, 1, &p, &len);
	if (r < 0)
		return r;
	return ring_publish(ring, message);
}

/* An argument, in as many records as it needs; an empty one too: it is not the same as none. */
static int ring_send_part(struct ring *ring, enum ring_type call, unsigned argument,
			  const void *data, size_t len)
{
	const char *from = data;

	do {
		struct ring_message message = {
			.type = RING_PART,
			.argument = argument,
			.call = call,
		};
		size_t n;
		char *p;
		int r;

		r = ring_reserve(ring, len, 1, &p, &n);
		if (r < 0)
			return r;
		if (n > 0)
			memcpy(p, from, n);
		message.len = n;
		r = ring_publish(ring, &message);
		if (r < 0)
			return r;
		from += n;
		len -= n;
	} while (len > 0);

	return 0;
}

/* Takes over @json. */
static int ring_send_json(struct ring *ring, enum ring_type call, unsigned argument,
			  struct json_object *json)
{
	cleanup_json struct json_object *object = json;
	cleanup_free char *text = NULL;
	size_t len;
	int r;

	r = ckpt_json_print(object, &text, &len);
	if (r < 0)
		return r;
	return ring_send_part(ring, call, argument, text, len);
}

static int ring_send_call(struct ring *ring, enum ring_type call)
{
	const struct ring_message message = { .type = call };

	return ring_send_plain(ring, &message);
}

/* The calls of the sink */

static int ring_send_begin(struct ring *ring, const struct ckpt_begin *begin)
{
	struct json_object *json;
	int r;

	json = json_object_new_object();
	if (!json)
		return -ENOMEM;
	r = ckpt_json_add_i64(json, "pid", begin->pid);
	if (r == 0)
		r = ckpt_json_add_u64(json, "expected_bytes", begin->expected_bytes);
	if (r < 0) {
		json_object_put(json);
		return r;
	}
	r = ring_send_json(ring, RING_BEGIN, 0, json);
	if (r < 0)
		return r;

	if (begin->plan) {
		r = ckpt_regions_to_json(begin->plan, &json);
		if (r == 0)
			r = ring_send_json(ring, RING_BEGIN, 1, json);
		if (r < 0)
			return r;
	}
	return ring_send_call(ring, RING_BEGIN);
}

static int ring_begin(struct ckpt_sink *sink, const struct ckpt_begin *begin)
{
	struct ring *ring = ring_of(sink);

	if (ring->error < 0)
		return ring->error;
	return ring_done(ring, ring_send_begin(ring, begin));
}

static int ring_space(struct ckpt_sink *sink, size_t want, void **ret, size_t *ret_len)
{
	struct ring *ring = ring_of(sink);
	size_t len;
	char *p;
	int r;

	if (ring->error < 0)
		return ring->error;
	if (want < CKPT_PAGE_SIZE)
		want = CKPT_PAGE_SIZE;
	r = ring_reserve(ring, want, CKPT_PAGE_SIZE, &p, &len);
	if (r < 0)
		return ring_done(ring, r);

	ring->space = p;
	ring->space_len = len;
	*ret = p;
	*ret_len = len;
	return 0;
}

static int ring_send_pages(struct ring *ring, uint64_t addr, size_t len, const char *data)
{
	while (len > 0) {
		struct ring_message message = { .type = RING_PAGES, .addr = addr };
		size_t n = len;
		char *p;
		int r;

		if (data == ring->space && len > ring->space_len)
			return -EINVAL;
		if (data != ring->space) {
			r = ring_reserve(ring, len, CKPT_PAGE_SIZE, &p, &n);
			if (r < 0)
				return r;
			memcpy(p, data, n);
		}
		message.len = n;
		r = ring_publish(ring, &message);
		if (r < 0)
			return r;
		addr += n;
		data += n;
		len -= n;
	}
	return 0;
}

static int ring_pages(struct ckpt_sink *sink, uint64_t addr, size_t len, const void *data)
{
	struct ring *ring = ring_of(sink);

	if (ring->error < 0)
		return ring->error;
	if (len % CKPT_PAGE_SIZE)
		return ring_done(ring, -EINVAL);
	return ring_done(ring, ring_send_pages(ring, addr, len, data));
}

static int ring_zero(struct ckpt_sink *sink, uint64_t addr, uint64_t len)
{
	const struct ring_message message = { .type = RING_ZERO, .addr = addr, .span = len };
	struct ring *ring = ring_of(sink);

	if (ring->error < 0)
		return ring->error;
	return ring_done(ring, ring_send_plain(ring, &message));
}

static int ring_send_thread(struct ring *ring, const struct ckpt_thread *thread)
{
	struct json_object *json = NULL;
	int r;

	r = ckpt_thread_to_json(thread, &json);
	if (r == 0)
		r = ring_send_json(ring, RING_THREAD, 0, json);
	if (r == 0 && thread->gpregs)
		r = ring_send_part(ring, RING_THREAD, 1, thread->gpregs, thread->gpregs_len);
	if (r == 0 && thread->xstate)
		r = ring_send_part(ring, RING_THREAD, 2, thread->xstate, thread->xstate_len);
	if (r == 0)
		r = ring_send_call(ring, RING_THREAD);
	return r;
}

static int ring_thread(struct ckpt_sink *sink, const struct ckpt_thread *thread)
{
	struct ring *ring = ring_of(sink);

	if (ring->error < 0)
		return ring->error;
	return ring_done(ring, ring_send_thread(ring, thread));
}

/* A call whose one argument is JSON; takes over @json. */
static int ring_send_one(struct ring *ring, enum ring_type call, struct json_object *json)
{
	int r;

	r = ring_send_json(ring, call, 0, json);
	if (r < 0)
		return r;
	return ring_send_call(ring, call);
}

static int ring_fd(struct ckpt_sink *sink, const struct ckpt_fd *fd)
{
	struct ring *ring = ring_of(sink);
	struct json_object *json = NULL;
	int r;

	if (ring->error < 0)
		return ring->error;
	r = ckpt_fd_to_json(fd, &json);
	if (r == 0)
		r = ring_send_one(ring, RING_FD, json);
	return ring_done(ring, r);
}

static int ring_procfile(struct ckpt_sink *sink, const char *path, const void *data, size_t len)
{
	struct ring *ring = ring_of(sink);
	int r;

	if (ring->error < 0)
		return ring->error;
	r = ring_send_part(ring, RING_PROCFILE, 0, path, strlen(path));
	if (r == 0)
		r = ring_send_part(ring, RING_PROCFILE, 1, data, len);
	if (r == 0)
		r = ring_send_call(ring, RING_PROCFILE);
	return ring_done(ring, r);
}

static int ring_omitted(struct ckpt_sink *sink, const struct ckpt_omitted *omitted)
{
	struct ring *ring = ring_of(sink);
	struct json_object *json = NULL;
	int r;

	if (ring->error < 0)
		return ring->error;
	r = ckpt_omitted_to_json(omitted, &json);
	if (r == 0)
		r = ring_send_one(ring, RING_OMITTED, json);
	return ring_done(ring, r);
}

static int ring_regions(struct ckpt_sink *sink, const struct ckpt_regions *regions)
{
	struct ring *ring = ring_of(sink);
	struct json_object *json = NULL;
	int r;

	if (ring->error < 0)
		return ring->error;
	r = ckpt_regions_to_json(regions, &json);
	if (r == 0)
		r = ring_send_one(ring, RING_REGIONS, json);
	return ring_done(ring, r);
}

static int ring_send_end(struct ring *ring, const struct ckpt_end *end)
{
	const struct ckpt_threads no_threads = {};
	struct ckpt_meta meta;
	struct json_object *json = NULL;
	int r;

	if (!end->meta || !end->info)
		return -EINVAL;
	meta = *end->meta; /* strings stay the source's */
	meta.ours = true;  /* or what it knows would not be printed */
	if (!meta.sandckpt)
		meta.sandckpt = (char *)SANDCKPT_VERSION;

	r = ckpt_meta_to_json(&meta, &json);
	if (r == 0)
		r = ring_send_json(ring, RING_END, 0, json);
	if (r < 0)
		return r;
	r = ckpt_info_to_json(end->info, &no_threads, &json);
	if (r == 0)
		r = ring_send_json(ring, RING_END, 1, json);
	if (r == 0 && end->policy)
		r = ring_send_part(ring, RING_END, 2, end->policy, end->policy_len);
	if (r == 0 && end->app_state)
		r = ring_send_part(ring, RING_END, 3, end->app_state, end->app_state_len);
	if (r == 0)
		r = ring_send_call(ring, RING_END);
	return r;
}

/* The other end may digest and sync for long: once all is taken, the memory is of no more use. */
static void ring_give_back(struct ring *ring)
{
	if (ring_wait_room(ring, ring->size) == 0)
		(void)madvise(ring->data, ring->size, MADV_REMOVE);
}

/* Until the other end has said how it ended. */
static int ring_wait_result(struct ring *ring)
{
	uint64_t since_ms = ring_now_ms();
	int r;

	for (;;) {
		r = ring_result(ring);
		if (r <= 0)
			return r;
		r = ring_nap(ring, since_ms);
		if (r < 0) {
			/* Its last word may have come with its end. */
			r = ring_result(ring);
			return r <= 0 ? r : -EPIPE;
		}
		if (r == 0)
			return -ETIMEDOUT;
	}
}

static int ring_end(struct ckpt_sink *sink, const struct ckpt_end *end)
{
	struct ring *ring = ring_of(sink);
	int r;

	if (ring->error < 0)
		return ring->error;
	r = ring_send_end(ring, end);
	if (r == 0) {
		ring_give_back(ring);
		r = ring_wait_result(ring);
	}
	ring->error = r < 0 ? r : -EPROTO; /* nothing comes after it */
	return r;
}

static void ring_unmap(struct ring *ring)
{
	if (ring->shared)
		(void)munmap(ring->shared, CKPT_PAGE_SIZE + ring->size);
}

static void ring_free(struct ckpt_sink *sink)
{
	struct ring *ring = ring_of(sink);

	/* The other end sees it at once, whoever holds a copy of the socket. */
	(void)shutdown(ring->sock, SHUT_RDWR);
	ring_unmap(ring);
	free(ring);
}

static const struct ckpt_sink_ops ring_ops = {
	.begin = ring_begin,
	.pages = ring_pages,
	.zero = ring_zero,
	.thread = ring_thread,
	.fd = ring_fd,
	.procfile = ring_procfile,
	.omitted = ring_omitted,
	.regions = ring_regions,
	.end = ring_end,
	.space = ring_space,
	.free = ring_free,
};

static int ring_send_fd(int sock, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {};
	struct iovec iov = { .iov_base = (char[]){ 'f' }, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	ssize_t n;

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(fd));

	do
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -EPIPE : -errno;
	return 0;
}

/* Kernels before 5.14: allocated first, since a page that cannot be had is a SIGBUS. */
static int ring_touch(int fd, void *map, uint64_t len)
{
	if (fallocate(fd, 0, 0, (off_t)len) < 0)
		return errno == ENOSPC ? -ENOMEM : -errno;
	memset(map, 0, len);
	return 0;
}

/*
 * All pages there and mapped: one that came at its first use would come while the target waits. In
 * steps, so that the lock on our memory and a shortage of it are met early and not all at once.
 */
static int ring_populate(int fd, char *map, uint64_t len)
{
	for (uint64_t at = 0; at < len; at += RING_POPULATE_STEP) {
		uint64_t n = len - at < RING_POPULATE_STEP ? len - at : RING_POPULATE_STEP;

		if (madvise(map + at, n, MADV_POPULATE_WRITE) == 0)
			continue;
		return errno == EINVAL ? ring_touch(fd, map, len) : -ENOMEM;
	}
	return 0;
}

/* Memory that stays as long as it is; its mapping is the ring's from here on. */
static int ring_allocate(struct ring *ring, int *ret)
{
	const uint64_t len = CKPT_PAGE_SIZE + ring->size;
	cleanup_fd int fd = -EBADF;
	void *map;

	fd = memfd_create("sandckpt-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, (off_t)len) < 0)
		return -errno;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;

	ring->shared = map;
	ring->data = (char *)map + CKPT_PAGE_SIZE;
	*ret = steal_fd(&fd);
	return 0;
}

static int ring_open(struct ring *ring)
{
	cleanup_fd int fd = -EBADF;
	int r;

	r = ring_allocate(ring, &fd);
	if (r < 0)
		return r;
	r = ring_populate(fd, (char *)ring->shared, CKPT_PAGE_SIZE + ring->size);
	if (r < 0)
		return r;
	return ring_send_fd(ring->sock, fd);
}

/**
 * ckpt_ring_sink_new() - a sink that hands over to ckpt_ring_drain() in another process
 * @sock: a connected Unix socket, not owned; closed or shut down it is the end of the ring
 * @size: bytes the ring holds; 1 MiB at least, all of it is allocated here
 * @ret: freed by ckpt_sink_free()
 *
 * Its end() returns what the other end's sink answered, and so does any call once that one has
 * failed: -ENOSPC, say. A gone peer is -EPIPE, one that takes nothing for too long -ETIMEDOUT.
 *
 * Return: 0; -ENOMEM; -E2BIG; -EPIPE; as memfd_create(2).
 */
int ckpt_ring_sink_new(int sock, uint64_t size, struct ckpt_sink **ret)
{
	struct ring *ring;
	int r;

	if (size > RING_SIZE_MAX)
		return -E2BIG;
	ring = malloc(sizeof(*ring));
	if (!ring)
		return -ENOMEM;

	*ring = (struct ring){
		.sink = { .ops = &ring_ops },
		.sock = sock,
		.size = ring_size(size),
		.patience_ms = UINT64_MAX,
	};
	r = ring_open(ring);
	if (r < 0) {
		ring_unmap(ring);
		free(ring);
		return r;
	}

	*ret = &ring->sink;
	return 0;
}

/**
 * ckpt_ring_sink_set_patience() - how long a call may wait for an end that takes nothing
 * @timeout_ms: UINT64_MAX: for ever, which is how it starts
 */
void ckpt_ring_sink_set_patience(struct ckpt_sink *sink, uint64_t timeout_ms)
{
	ring_of(sink)->patience_ms = timeout_ms;
}
