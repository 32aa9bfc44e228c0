/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/registers.h"

#include <elf.h>
#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

#include "capture/proc.h"
#include "capture/target.h"
#include "capture/threads.h"
#include "format/checkpoint.h"
#include "format/cleanup.h"

#define STATUS_MAX (64U * 1024)
#define CS_32BIT 0x23 /* __USER32_CS */

_Static_assert(sizeof(struct user_regs_struct) == CKPT_GPREGS_SIZE, "as the seed stores it");

static int read_gpregs(const struct capture_thread *from, struct ckpt_thread *thread)
{
	struct user_regs_struct *regs;

	thread->gpregs = malloc(CKPT_GPREGS_SIZE);
	if (!thread->gpregs)
		return -ENOMEM;

	thread->gpregs_len = CKPT_GPREGS_SIZE;
	if (ptrace(PTRACE_GETREGS, from->tid, NULL, thread->gpregs) < 0)
		return -errno;

	/* As the stop showed them. */
	regs = thread->gpregs;
	if (from->restarted)
		regs->rax = (unsigned long long)-EINTR;
	return 0;
}

static int read_xstate(pid_t tid, struct ckpt_thread *thread)
{
	struct iovec iov = { malloc(CKPT_XSTATE_MAX), CKPT_XSTATE_MAX };
	void *fitted;

	if (!iov.iov_base)
		return -ENOMEM;
	if (ptrace(PTRACE_GETREGSET, tid, (void *)NT_X86_XSTATE, &iov) < 0) {
		int r = -errno;

		free(iov.iov_base);
		return r == -ENODEV ? 0 : r; /* a machine without XSAVE */
	}

	fitted = realloc(iov.iov_base, iov.iov_len);
	thread->xstate = fitted ? fitted : iov.iov_base;
	thread->xstate_len = iov.iov_len;
	return 0;
}

static int read_signals(const struct capture_target *target, const struct capture_thread *from,
			struct ckpt_thread *thread)
{
	cleanup_free char *status = NULL;
	size_t len;
	int r;

	if (ptrace(PTRACE_GETSIGMASK, from->tid, (void *)sizeof(thread->sigmask),
		   &thread->sigmask) < 0)
		return -errno;

	r = capture_thread_status(target, from, &status, &len);
	if (r < 0)
		return r;
	r = capture_status_u64(status, "SigPnd", 16, &thread->pending);
	if (r < 0)
		return r;

	/* Taken off the set already, and given back when we let go. */
	if (from->signal)
		thread->pending |= UINT64_C(1) << (from->signal - 1);
	return 0;
}

/* The name of the call the thread sits in: it may have been interrupted and not returned yet. */
static int name_syscall(struct ckpt_thread *thread)
{
	struct user_regs_struct *regs = thread->gpregs;
	uint32_t arch = regs->cs == CS_32BIT ? SCMP_ARCH_X86 : SCMP_ARCH_X86_64;

	if ((long long)regs->orig_rax < 0)
		return 0;

	thread->syscall = seccomp_syscall_resolve_num_arch(arch, (int)regs->orig_rax);
	return 0;
}

static int read_comm(const struct capture_target *target, pid_t tid, struct ckpt_thread *thread)
{
	char path[48];
	size_t len;
	int r;

	(void)snprintf(path, sizeof(path), "task/%d/comm", tid);
	r = capture_proc_read(target->proc_fd, path, STATUS_MAX, &thread->comm, &len);
	if (r < 0)
		return r;

	/* The newline behind it is the kernel's; one within is the name's own. */
	if (len > 0 && thread->comm[len - 1] == '\n')
		thread->comm[len - 1] = '\0';
	return 0;
}

/**
 * capture_thread_read() - read a stopped thread
 * @thread: that we hold
 * @ret: for ckpt_thread_done(); untouched on error
 *
 * Return: 0; -ESRCH it was killed; -ENOMEM; as ptrace(2).
 */
int capture_thread_read(const struct capture_target *target, const struct capture_thread *thread,
			struct ckpt_thread *ret)
{
	struct ckpt_thread t = { .tid = thread->tid, .state = thread->state };
	int r;

	r = read_gpregs(thread, &t);
	if (r == 0)
		r = read_xstate(t.tid, &t);
	if (r == 0)
		r = read_signals(target, thread, &t);
	if (r == 0)
		r = read_comm(target, t.tid, &t);
	if (r == 0)
		r = name_syscall(&t);
	if (r < 0) {
		ckpt_thread_done(&t);
		return r == -ENOENT ? -ESRCH : r;
	}

	*ret = t;
	return 0;
}

/* The status of a stopped thread, as the kernel shows it. Return: as capture_proc_read(). */
int capture_thread_status(const struct capture_target *target, const struct capture_thread *thread,
			  char **ret, size_t *ret_len)
{
	char path[48];

	(void)snprintf(path, sizeof(path), "task/%d/status", thread->tid);
	return capture_proc_read(target->proc_fd, path, STATUS_MAX, ret, ret_len);
}
