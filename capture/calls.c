/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/calls.h"

#include <string.h>

/*
 * A thread is in one call at most, so it has one entry at most. Where entries of its row are those
 * of others, the one that was looked at least lately makes room: forgetting a call only means that
 * it is started again for once more.
 */

#define WAYS 4U
#define ROWS (CKPT_CALLS_MAX / WAYS)

/*
 * Between two stops a call that is started again goes to sleep once, and the second stop itself is
 * a switch as well (seen for each call of capture/restart.c on 6.18). More of them were made by
 * the program, which has left the call since, or by somebody who woke it for nothing.
 */
#define SWITCHES_MAX 2U

static size_t row_of(pid_t tid)
{
	return (uint32_t)tid % ROWS * WAYS;
}

static bool is_threads(const struct ckpt_call *call, pid_t pid, pid_t tid)
{
	return call->pid == pid && call->tid == tid;
}

/* The entry of a thread. Return: its index; CKPT_CALLS_MAX: none. */
static size_t find(const struct ckpt_calls *calls, pid_t pid, pid_t tid)
{
	size_t row = row_of(tid);

	for (size_t i = row; i < row + WAYS; i++)
		if (is_threads(&calls->items[i], pid, tid))
			return i;

	return CKPT_CALLS_MAX;
}

/* Whether it can still be the same call that was started again at @old's last_ns. */
static bool is_same(const struct ckpt_call *old, const struct ckpt_call *call)
{
	return old->start_ticks == call->start_ticks && old->number == call->number &&
	       old->rip == call->rip && old->rsp == call->rsp &&
	       memcmp(old->args, call->args, sizeof(old->args)) == 0 &&
	       old->length_ns == call->length_ns && call->last_ns >= old->last_ns &&
	       call->last_ns - old->last_ns < old->length_ns &&
	       call->switches - old->switches <= SWITCHES_MAX;
}

/**
 * capture_calls_recall() - find out when a call was seen first
 * @call: as it is now; its first_ns is set back where it is known from before
 */
void capture_calls_recall(const struct ckpt_calls *calls, struct ckpt_call *call)
{
	size_t i = find(calls, call->pid, call->tid);

	if (i < CKPT_CALLS_MAX && is_same(&calls->items[i], call))
		call->first_ns = calls->items[i].first_ns;
}

/* Instead of what was known of its thread. */
void capture_calls_put(struct ckpt_calls *calls, const struct ckpt_call *call)
{
	size_t i = find(calls, call->pid, call->tid), row = row_of(call->tid);

	if (i == CKPT_CALLS_MAX) {
		i = row;
		for (size_t k = row; k < row + WAYS; k++)
			if (calls->items[k].last_ns < calls->items[i].last_ns)
				i = k;
	}
	calls->items[i] = *call;
}

/* The call put at @since_ns goes on at @now_ns: its length counts from here. */
void capture_calls_resumed(struct ckpt_calls *calls, pid_t pid, pid_t tid, uint64_t since_ns,
			   uint64_t now_ns)
{
	size_t i = find(calls, pid, tid);

	/* Else it is one that the thread has left since, for one without a timeout. */
	if (i < CKPT_CALLS_MAX && calls->items[i].last_ns == since_ns)
		calls->items[i].last_ns = now_ns;
}

/**
 * capture_calls_merge() - take what a reader has learnt
 * @pid: the process it was to read: of others it can tell nothing
 * @items: hostile
 */
void capture_calls_merge(struct ckpt_calls *calls, pid_t pid, const struct ckpt_call *items,
			 size_t n, uint64_t now_ns)
{
	for (size_t i = 0; i < n; i++) {
		struct ckpt_call call = items[i];

		if (call.tid <= 0 || call.first_ns > call.last_ns || call.last_ns > now_ns)
			continue;
		call.pid = pid;
		capture_calls_put(calls, &call);
	}
}
