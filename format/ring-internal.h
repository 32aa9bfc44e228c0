/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The memory both ends of a ring share, and the messages in it. Nothing of this is on a disk or
 * leaves the machine: both ends are one program.
 *
 *	page 0		struct ring_shared
 *	page 1 …	records: struct ring_message, its payload, padding to RING_ALIGN
 *
 * Positions count bytes for ever; a record lies at its position modulo the size and is never
 * split: a PAD record fills the rest. A call of the sink is one PAGES or ZERO record; any other
 * is a PART record for each bit of its arguments, then a record of its type.
 */

#include <stdatomic.h>
#include <stdint.h>

#include "format/checkpoint.h"

#define RING_ALIGN 64U
#define RING_SIZE_MIN (UINT64_C(1) << 20)
#define RING_SIZE_MAX (UINT64_C(1) << 44)
#define RING_PAYLOAD_MAX (UINT64_C(1) << 20) /* of one record; a quarter of the ring if less */
#define RING_ARGUMENTS 4
#define RING_ERRNO_MAX 4095

/* The peer writes here whenever it likes: load once, check, use what was loaded. */
struct ring_shared {
	/* of the source */
	_Alignas(RING_ALIGN) _Atomic uint64_t head; /* position behind the last whole record */
	_Atomic uint32_t source_sleeps;
	/* of the drain */
	_Alignas(RING_ALIGN) _Atomic uint64_t tail; /* position behind the last one taken */
	_Atomic uint32_t drain_sleeps;
	_Atomic uint32_t finished; /* @result is there, nothing is taken any more */
	_Atomic int32_t result;	   /* 0 or a negative errno */
};
_Static_assert(sizeof(struct ring_shared) <= CKPT_PAGE_SIZE, "fits its page");

enum ring_type {
	RING_PAD,
	RING_PART,
	RING_BEGIN,
	RING_PAGES,
	RING_ZERO,
	RING_THREAD,
	RING_FD,
	RING_PROCFILE,
	RING_OMITTED,
	RING_REGIONS,
	RING_END,
	_RING_TYPE_MAX,
};

struct ring_message {
	uint32_t type;
	uint32_t argument; /* PART: of which */
	uint64_t len;	   /* bytes of payload */
	uint64_t addr;	   /* PAGES, ZERO */
	uint64_t span;	   /* ZERO: bytes */
	uint32_t call;	   /* PART: of which call it is a part */
	uint8_t unused[28];
};
_Static_assert(sizeof(struct ring_message) == RING_ALIGN, "a record's head is one unit");

/* The bytes of a ring that was asked to have @size: whole pages within the limits. */
static inline uint64_t ring_size(uint64_t size)
{
	if (size < RING_SIZE_MIN)
		return RING_SIZE_MIN;
	if (size > RING_SIZE_MAX)
		return RING_SIZE_MAX;
	return (size + CKPT_PAGE_SIZE - 1) & ~(uint64_t)(CKPT_PAGE_SIZE - 1);
}

static inline uint64_t ring_payload_max(uint64_t size)
{
	uint64_t quarter = size / 4 & ~(uint64_t)(CKPT_PAGE_SIZE - 1);

	return quarter < RING_PAYLOAD_MAX ? quarter : RING_PAYLOAD_MAX;
}

static inline uint64_t ring_round(uint64_t len)
{
	return (len + RING_ALIGN - 1) & ~(uint64_t)(RING_ALIGN - 1);
}

/* The room at which a sleeping source is woken: more than any record, less than a lap. */
static inline uint64_t ring_wake_room(uint64_t size)
{
	uint64_t room = size / 2;

	return room < 8 * RING_PAYLOAD_MAX ? room : 8 * RING_PAYLOAD_MAX;
}

int ckpt_ring_wake(int sock);
int ckpt_ring_sleep(int sock, int timeout_ms);
