/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* A sink that writes down what it is told, as text; and a source that uses every call. */

#include <stddef.h>

struct ckpt_sink;

/* @fail_at: the call (from 1) that returns -ENOSPC; 0: none does. */
int record_sink_new(unsigned fail_at, struct ckpt_sink **ret);
const char *record_sink_text(const struct ckpt_sink *sink);

/* @n_pages of data, threads, fds …, regions, end; its first error, or 0. */
int play_all(struct ckpt_sink *sink, size_t n_pages);
int play_until_end(struct ckpt_sink *sink, size_t n_pages);
