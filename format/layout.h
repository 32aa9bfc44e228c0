/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The directory of one checkpoint, in the layout of sandlock-core 0.4.2, read into objects. */

#include "format/checkpoint.h"

/* Every file of the layout is named here once, relative to the checkpoint's directory. */
#define CKPT_PATH_META "meta.json"
#define CKPT_PATH_POLICY "policy.dat"
#define CKPT_PATH_APP_STATE "app_state.bin"
#define CKPT_PATH_SUMS "SHA256SUMS"
#define CKPT_PATH_PROCESS "process"
#define CKPT_PATH_INFO "process/info.json"
#define CKPT_PATH_FDS "process/fds.json"
#define CKPT_PATH_MAP "process/memory_map.json"
#define CKPT_PATH_THREADS "process/threads"
#define CKPT_PATH_MEMORY "process/memory"
#define CKPT_PATH_PROC "proc"

int ckpt_layout_is_checkpoint(int dirfd);
int ckpt_layout_read_meta(int dirfd, struct ckpt_meta *ret);
int ckpt_layout_read(int dirfd, struct ckpt_checkpoint **ret);
int ckpt_layout_read_registers(int dirfd, struct ckpt_threads *threads);
int ckpt_layout_open_segment(int dirfd, const struct ckpt_checkpoint *checkpoint, size_t i);
