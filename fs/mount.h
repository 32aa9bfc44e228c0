/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* mount.sandckpt but for its main(). */

#include <stdio.h>

struct ckpt_job_ops;

int ckfs_mount_main(int argc, char **argv, const struct ckpt_job_ops *ops);
