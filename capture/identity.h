/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Becoming somebody else, for good, before anything is touched that the kernel should judge. */

#include <sys/types.h>

struct ckpt_identity;

int capture_identity_take(const struct ckpt_identity *identity);
int capture_identity_become_owner(uid_t uid, gid_t gid);
int capture_identity_hide(pid_t parent);
