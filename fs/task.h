/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* Who waits in a write to ctl, as /proc shows the thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ckfs_task {
	pid_t tgid;
	uid_t uids[4]; /* real, effective, saved, filesystem */
	gid_t gids[4];
	gid_t *groups;
	size_t n_groups;
	uint64_t cap_permitted, cap_effective;
	uint64_t pending; /* bit N-1: signal N waits, for the thread or its process */
	uint64_t blocked;
	int seccomp; /* mode; 0: none */
};

int ckfs_task_parse(const char *status, struct ckfs_task *ret);
int ckfs_task_read(pid_t tid, struct ckfs_task *ret);
void ckfs_task_done(struct ckfs_task *task);
bool ckfs_task_is_interrupted(const struct ckfs_task *task);
bool ckfs_task_is_like(const struct ckfs_task *a, const struct ckfs_task *b);
int ckfs_task_check_namespaces(pid_t tid);
int ckfs_task_is_kthread(pid_t pid);
int ckfs_task_comm(pid_t pid, char *ret, size_t ret_size);

static inline void ckfs_cleanup_task_p(struct ckfs_task *p)
{
	ckfs_task_done(p);
}
#define cleanup_task __attribute__((cleanup(ckfs_cleanup_task_p)))
