/* SPDX-License-Identifier: Apache-2.0 */
#include "format/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "format/cleanup.h"
#include "format/convert.h"
#include "format/json.h"
#include "format/ring-internal.h"
#include "format/sink.h"

/*
 * The other end. Whoever fills the ring reads a stranger's memory and may have been taken over:
 * it can change any byte here at any time. So a message is copied out once, and what is checked
 * and used is the copy.
 */

#define DRAIN_SMALL (64U << 10)
#define DRAIN_FD_MAX (6 * CKPT_FDINFO_MAX) /* JSON of one fd; a byte takes up to 5, if not UTF-8 */

/* An argument of a call, as it comes in. */
struct drain_argument {
	char *data; /* one NUL behind @len bytes; NULL: it did not come */
	size_t len, size;
};

struct drain {
	int sock;		/* not owned */
	struct ckpt_sink *sink; /* not owned */
	struct ring_shared *shared;
	const char *data;
	uint64_t size;
	uint64_t tail; /* ours; the shared one is for the other end */
	void *payload; /* ring_payload_max() bytes: the copy */
	uint32_t call; /* whose arguments are coming in; RING_PAD: none */
	struct drain_argument arguments[RING_ARGUMENTS];
};

typedef int (*drain_call_t)(struct drain *drain);

/* Keeps the compiler from reading again in shared memory what was copied from it. */
static void drain_copied(void)
{
	__asm__ volatile("" ::: "memory");
}

static void drain_forget_arguments(struct drain *drain)
{
	for (size_t i = 0; i < RING_ARGUMENTS; i++) {
		free(drain->arguments[i].data);
		drain->arguments[i] = (struct drain_argument){};
	}
	drain->call = RING_PAD;
}

/* An argument that did not come is -EPROTO; else as ckpt_json_parse(). */
static int drain_parse(const struct drain *drain, unsigned argument, struct json_object **ret)
{
	const struct drain_argument *a = &drain->arguments[argument];

	if (!a->data)
		return -EPROTO;
	return ckpt_json_parse(a->data, a->len, ret);
}

static int drain_begin(struct drain *drain)
{
	cleanup_regions struct ckpt_regions plan = {};
	cleanup_json struct json_object *json = NULL;
	cleanup_json struct json_object *list = NULL;
	struct ckpt_begin begin = {};
	int64_t pid;
	int r;

	r = drain_parse(drain, 0, &json);
	if (r < 0)
		return r;
	r = ckpt_json_get_i64(json, "pid", INT32_MIN, INT32_MAX, &pid);
	if (r <= 0)
		return r < 0 ? r : -EBADMSG;
	r = ckpt_json_get_u64(json, "expected_bytes", UINT64_MAX, &begin.expected_bytes);
	if (r <= 0)
		return r < 0 ? r : -EBADMSG;

	if (drain->arguments[1].data) {
		r = drain_parse(drain, 1, &list);
		if (r < 0)
			return r;
		r = ckpt_regions_from_json(list, &plan);
		if (r < 0)
			return r;
		begin.plan = &plan;
	}
	begin.pid = (int32_t)pid;
	return ckpt_sink_begin(drain->sink, &begin);
}

static int drain_thread(struct drain *drain)
{
	cleanup_json struct json_object *json = NULL;
	struct ckpt_thread thread = {};
	int r;

	r = drain_parse(drain, 0, &json);
	if (r < 0)
		return r;
	r = ckpt_thread_from_json(json, &thread);
	if (r < 0)
		return r;

	thread.gpregs = steal_pointer(drain->arguments[1].data);
	thread.gpregs_len = drain->arguments[1].len;
	thread.xstate = steal_pointer(drain->arguments[2].data);
	thread.xstate_len = drain->arguments[2].len;
	r = ckpt_sink_thread(drain->sink, &thread);
	ckpt_thread_done(&thread);
	return r;
}

static int drain_fd(struct drain *drain)
{
	cleanup_json struct json_object *json = NULL;
	struct ckpt_fd fd = {};
	int r;

	r = drain_parse(drain, 0, &json);
	if (r < 0)
		return r;
	r = ckpt_fd_from_json(json, &fd);
	if (r < 0)
		return r;

	r = ckpt_sink_fd(drain->sink, &fd);
	ckpt_fd_done(&fd);
	return r;
}

static int drain_procfile(struct drain *drain)
{
	const struct drain_argument *path = &drain->arguments[0];
	const struct drain_argument *data = &drain->arguments[1];

	if (!path->data || !data->data)
		return -EPROTO;
	if (strlen(path->data) != path->len)
		return -EBADMSG;
	return ckpt_sink_procfile(drain->sink, path->data, data->data, data->len);
}

static int drain_omitted(struct drain *drain)
{
	cleanup_json struct json_object *json = NULL;
	struct ckpt_omitteds row = {};
	int r;

	r = drain_parse(drain, 0, &json);
	if (r < 0)
		return r;
	r = ckpt_omitted_from_json(json, &row);
	if (r == 0)
		r = ckpt_sink_omitted(drain->sink, &row.items[0]);
	ckpt_omitteds_done(&row);
	return r;
}

static int drain_regions(struct drain *drain)
{
	cleanup_regions struct ckpt_regions regions = {};
	cleanup_json struct json_object *json = NULL;
	int r;

	r = drain_parse(drain, 0, &json);
	if (r < 0)
		return r;
	r = ckpt_regions_from_json(json, &regions);
	if (r < 0)
		return r;
	return ckpt_sink_regions(drain->sink, &regions);
}

static int drain_end_objects(struct drain *drain, struct ckpt_meta *meta, struct ckpt_info *info)
{
	cleanup_json struct json_object *meta_json = NULL;
	cleanup_json struct json_object *info_json = NULL;
	struct ckpt_threads threads = {};
	int r;

	r = drain_parse(drain, 0, &meta_json);
	if (r == 0)
		r = ckpt_meta_from_json(meta_json, meta);
	if (r == 0)
		r = drain_parse(drain, 1, &info_json);
	if (r == 0)
		r = ckpt_info_from_json(info_json, info, &threads);
	ckpt_threads_done(&threads);
	return r;
}

/* Returns 1 after a good end: there is nothing to come. */
static int drain_end(struct drain *drain)
{
	struct ckpt_meta meta = {};
	struct ckpt_info info = {};
	const struct ckpt_end end = {
		.meta = &meta,
		.info = &info,
		.policy = drain->arguments[2].data,
		.policy_len = drain->arguments[2].len,
		.app_state = drain->arguments[3].data,
		.app_state_len = drain->arguments[3].len,
	};
	int r;

	r = drain_end_objects(drain, &meta, &info);
	if (r == 0)
		r = ckpt_sink_end(drain->sink, &end);
	ckpt_meta_done(&meta);
	ckpt_info_done(&info);
	return r < 0 ? r : 1;
}

/* Each call: what it does, and the most bytes each of its arguments may have. */
static const struct drain_type {
	drain_call_t call;
	size_t max[RING_ARGUMENTS];
} drain_types[_RING_TYPE_MAX] = {
	[RING_BEGIN] = { drain_begin, { DRAIN_SMALL, CKPT_JSON_MAX } },
	[RING_THREAD] = { drain_thread, { DRAIN_SMALL, CKPT_XSTATE_MAX, CKPT_XSTATE_MAX } },
	[RING_FD] = { drain_fd, { DRAIN_FD_MAX } },
	[RING_PROCFILE] = { drain_procfile, { DRAIN_SMALL, CKPT_PROCFILE_MAX } },
	[RING_OMITTED] = { drain_omitted, { DRAIN_SMALL } },
	[RING_REGIONS] = { drain_regions, { CKPT_JSON_MAX } },
	[RING_END] = { drain_end,
		       { CKPT_JSON_MAX, CKPT_JSON_MAX, CKPT_PROCFILE_MAX, CKPT_PROCFILE_MAX } },
};

static int drain_append(struct drain_argument *argument, const void *data, size_t len)
{
	size_t need = argument->len + len + 1, size = argument->size;
	char *bigger;

	if (need > size) {
		size = need > 2 * size ? need : 2 * size;
		bigger = realloc(argument->data, size);
		if (!bigger)
			return -ENOMEM;
		argument->data = bigger;
		argument->size = size;
	}
	memcpy(argument->data + argument->len, data, len);
	argument->len += len;
	argument->data[argument->len] = '\0';
	return 0;
}

static int drain_take_part(struct drain *drain, const struct ring_message *message)
{
	const struct drain_type *type;
	struct drain_argument *argument;

	if (message->call >= _RING_TYPE_MAX || message->argument >= RING_ARGUMENTS)
		return -EBADMSG;
	if (drain->call != RING_PAD && drain->call != message->call)
		return -EPROTO;
	type = &drain_types[message->call];
	argument = &drain->arguments[message->argument];
	if (!type->call || message->len > type->max[message->argument] ||
	    argument->len > type->max[message->argument] - message->len)
		return -EBADMSG;

	drain->call = message->call;
	return drain_append(argument, drain->payload, message->len);
}

static int drain_take_call(struct drain *drain, const struct ring_message *message)
{
	const struct drain_type *type = &drain_types[message->type];
	int r;

	if (!type->call || message->len != 0)
		return -EBADMSG;
	if (drain->call != message->type)
		return -EPROTO;

	r = type->call(drain);
	drain_forget_arguments(drain);
	return r;
}

static int drain_check_range(const struct ring_message *message, uint64_t len)
{
	if (len == 0 || message->addr % CKPT_PAGE_SIZE || len % CKPT_PAGE_SIZE)
		return -EBADMSG;
	if (message->addr > CKPT_ADDRESS_MAX || len > CKPT_ADDRESS_MAX - message->addr)
		return -EBADMSG;
	return 0;
}

static int drain_take(struct drain *drain, const struct ring_message *message)
{
	int r;

	switch (message->type) {
	case RING_PAD:
		return 0;
	case RING_PART:
		return drain_take_part(drain, message);
	case RING_PAGES:
		r = drain_check_range(message, message->len);
		return r < 0 ? r
			     : ckpt_sink_pages(drain->sink, message->addr, message->len,
					       drain->payload);
	case RING_ZERO:
		r = drain_check_range(message, message->span);
		return r < 0 ? r : ckpt_sink_zero(drain->sink, message->addr, message->span);
	}
	return drain_take_call(drain, message);
}

static int drain_check_message(const struct drain *drain, const struct ring_message *message,
			       uint64_t used)
{
	uint64_t to_end = drain->size - drain->tail % drain->size;

	if (message->type >= _RING_TYPE_MAX)
		return -EBADMSG;
	if (message->len > used - sizeof(*message) || message->len > to_end - sizeof(*message))
		return -EBADMSG;
	if (ring_round(message->len) > used - sizeof(*message))
		return -EBADMSG;
	if (message->type == RING_PAD) /* the rest of the ring, to its very end */
		return message->len == to_end - sizeof(*message) ? 0 : -EBADMSG;
	if (message->len > ring_payload_max(drain->size))
		return -EBADMSG;
	return 0;
}

/* Gives room back before the message is dealt with: the target may be waiting for it. */
static void drain_advance(struct drain *drain, uint64_t by)
{
	uint64_t head, room;

	drain->tail += by;
	atomic_store(&drain->shared->tail, drain->tail);
	if (!atomic_load(&drain->shared->source_sleeps))
		return;

	head = atomic_load(&drain->shared->head);
	room = drain->size - (head - drain->tail);
	if (room < ring_wake_room(drain->size) ||
	    !atomic_exchange(&drain->shared->source_sleeps, 0))
		return;
	/* Gone? What it left in the ring still counts; drain_wait() finds out. */
	(void)ckpt_ring_wake(drain->sock);
}

/* One record of the @used bytes that are there. 1 after a good end. */
static int drain_step(struct drain *drain, uint64_t used)
{
	const char *record = drain->data + drain->tail % drain->size;
	struct ring_message message;
	int r;

	if (used < sizeof(message))
		return -EBADMSG;
	memcpy(&message, record, sizeof(message));
	drain_copied();
	r = drain_check_message(drain, &message, used);
	if (r < 0)
		return r;

	if (message.type != RING_PAD) {
		memcpy(drain->payload, record + sizeof(message), message.len);
		drain_copied();
	}
	drain_advance(drain, sizeof(message) + ring_round(message.len));
	return drain_take(drain, &message);
}

/* How many bytes are there to be taken. */
static int drain_used(const struct drain *drain, uint64_t *ret)
{
	uint64_t used =
	    atomic_load_explicit(&drain->shared->head, memory_order_acquire) - drain->tail;

	if (used > drain->size || used % RING_ALIGN)
		return -EBADMSG;
	*ret = used;
	return 0;
}

/* Waits until something is there. A source that is gone is looked at only when nothing is. */
static int drain_wait(struct drain *drain, uint64_t *ret)
{
	bool gone = false;
	int r;

	for (;;) {
		r = drain_used(drain, ret);
		if (r < 0 || *ret > 0)
			return r;
		if (gone)
			return -ECANCELED;

		/* Say that we sleep, then look again: it may have gone on in between. */
		atomic_store(&drain->shared->drain_sleeps, 1);
		r = drain_used(drain, ret);
		if (r < 0 || *ret > 0)
			return r;

		r = ckpt_ring_sleep(drain->sock, -1);
		if (r < 0 && r != -EPIPE)
			return r;
		gone = r == -EPIPE;
	}
}

static int drain_run(struct drain *drain)
{
	uint64_t used;
	int r;

	for (;;) {
		r = drain_wait(drain, &used);
		if (r < 0)
			return r;
		r = drain_step(drain, used);
		if (r != 0)
			return r < 0 ? r : 0;
	}
}

/* The one descriptor of a message; what else came with it is closed. */
static int drain_take_fd(struct msghdr *msg, int *ret)
{
	cleanup_fd int found = -EBADF;
	struct cmsghdr *cmsg;
	size_t n_fds = 0;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = CMSG_LEN(0); at + sizeof(int) <= cmsg->cmsg_len;
		     at += sizeof(int)) {
			close_fd(found);
			memcpy(&found, (char *)cmsg + at, sizeof(found));
			n_fds++;
		}
	}
	if (n_fds != 1 || msg->msg_flags & MSG_CTRUNC)
		return -EBADMSG;

	*ret = steal_fd(&found);
	return 0;
}

static int drain_receive_fd(int sock, int *ret)
{
	union {
		char bytes[CMSG_SPACE(16 * sizeof(int))];
		struct cmsghdr align;
	} control = {};
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n;

	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno != ECONNRESET)
		return -errno;
	if (n <= 0)
		return -ECANCELED;

	return drain_take_fd(&msg, ret);
}

/*
 * Whether it is memory that stays: a file that can shrink is a SIGBUS, and so is a page of
 * hugetlbfs that cannot be had.
 */
static int drain_check_fd(int fd, uint64_t size_max, uint64_t *ret_size)
{
	const int want = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	struct statfs fs;
	struct stat st;
	uint64_t size;
	int seals;

	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0 || (seals & want) != want)
		return -EBADMSG;
	if (fstatfs(fd, &fs) < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (fs.f_type != TMPFS_MAGIC || st.st_size % CKPT_PAGE_SIZE || st.st_size < 0)
		return -EBADMSG;

	size = (uint64_t)st.st_size;
	if (size < RING_SIZE_MIN + CKPT_PAGE_SIZE || size > size_max + CKPT_PAGE_SIZE)
		return -EBADMSG;
	*ret_size = size - CKPT_PAGE_SIZE;
	return 0;
}

static int drain_open(struct drain *drain, uint64_t size_max)
{
	cleanup_fd int fd = -EBADF;
	void *map;
	int r;

	r = drain_receive_fd(drain->sock, &fd);
	if (r < 0)
		return r;
	r = drain_check_fd(fd, size_max, &drain->size);
	if (r < 0)
		return r;
	drain->payload = malloc(ring_payload_max(drain->size));
	if (!drain->payload)
		return -ENOMEM;
	map = mmap(NULL, CKPT_PAGE_SIZE + drain->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return errno == EPERM ? -EBADMSG : -errno; /* sealed against us */

	drain->shared = map;
	drain->data = (const char *)map + CKPT_PAGE_SIZE;
	return 0;
}

/* The last word: how it ended, then the wake-up for a source that waits for it. */
static void drain_close(struct drain *drain, int result)
{
	drain_forget_arguments(drain);
	free(drain->payload);
	if (!drain->shared)
		return;

	atomic_store(&drain->shared->result, result);
	atomic_store(&drain->shared->finished, 1);
	(void)ckpt_ring_wake(drain->sock);
	(void)munmap(drain->shared, CKPT_PAGE_SIZE + drain->size);
}

/**
 * ckpt_ring_drain() - take what ckpt_ring_sink_new() of another process hands over, to its end
 * @sock: the other end of its socket, not owned
 * @size_max: bytes: the most @size of ckpt_ring_sink_new() can be
 * @sink: gets every call, none after the first that fails; not owned
 *
 * Return: 0 once the sink's end() returned 0; -ECANCELED when the source is gone before; -EBADMSG
 * or -EPROTO for what no source of ours sends; -ENOMEM; what the sink returned.
 */
int ckpt_ring_drain(int sock, uint64_t size_max, struct ckpt_sink *sink)
{
	struct drain drain = { .sock = sock, .sink = sink };
	int r;

	r = drain_open(&drain, ring_size(size_max));
	if (r == 0)
		r = drain_run(&drain);
	drain_close(&drain, r);
	return r;
}
