/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What process/info.json tells of a process. */

struct capture_out;
struct capture_target;
struct capture_view;
struct ckpt_info;

int capture_info_read(const struct capture_target *target, const struct capture_view *view,
		      struct capture_out *out, struct ckpt_info *ret);
