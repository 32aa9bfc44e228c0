/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The files of /proc/PID that an image keeps as they were. */

struct capture_maps;
struct capture_out;
struct capture_threads;
struct capture_view;

int capture_procfiles_read(const struct capture_view *view, const struct capture_threads *threads,
			   const struct capture_maps *maps, struct capture_out *out);
