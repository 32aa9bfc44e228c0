/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * A sink whose other end is in another process: a memfd sealed SHRINK|GROW|SEAL holds the
 * messages, a socket wakes whoever sleeps, so that a peer's death is an EOF.
 */

#include <stdint.h>

struct ckpt_sink;

/* The source's end. */
int ckpt_ring_sink_new(int sock, uint64_t size, struct ckpt_sink **ret);
void ckpt_ring_sink_set_patience(struct ckpt_sink *sink, uint64_t timeout_ms);

/* The other end: everything that comes is checked, then given to @sink. */
int ckpt_ring_drain(int sock, uint64_t size_max, struct ckpt_sink *sink);
