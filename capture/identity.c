/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/identity.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "format/job.h"

struct identity_caps {
	uint64_t effective, permitted, inheritable;
};

static int caps_get(struct identity_caps *ret)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {};

	if (syscall(SYS_capget, &header, data) < 0)
		return -errno;
	*ret = (struct identity_caps){
		.effective = data[0].effective | (uint64_t)data[1].effective << 32,
		.permitted = data[0].permitted | (uint64_t)data[1].permitted << 32,
		.inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32,
	};
	return 0;
}

/* Exactly these from now on, none of them to be passed on by an exec. */
static int caps_set(uint64_t caps)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {};

	data[0].effective = data[0].permitted = (uint32_t)caps;
	data[1].effective = data[1].permitted = (uint32_t)(caps >> 32);
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static int set_ids(const struct ckpt_identity *identity)
{
	/* Or the change of uid below takes all capabilities, before we can say which to keep. */
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return -errno;
	if (setgroups(identity->n_groups, identity->groups) < 0)
		return -errno;
	if (setresgid(identity->gid, identity->gid, identity->gid) < 0)
		return -errno;
	if (setresuid(identity->uid, identity->uid, identity->uid) < 0)
		return -errno;
	return prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0 ? -errno : 0;
}

/* The kernel's own word on it: everything after relies on this. */
static bool taken(const struct ckpt_identity *identity, uint64_t caps)
{
	struct identity_caps now;
	uid_t ruid, euid, suid;
	gid_t rgid, egid, sgid;

	if (getresuid(&ruid, &euid, &suid) < 0 || getresgid(&rgid, &egid, &sgid) < 0 ||
	    caps_get(&now) < 0)
		return false;
	if (ruid != identity->uid || euid != ruid || suid != ruid)
		return false;
	if (rgid != identity->gid || egid != rgid || sgid != rgid)
		return false;
	return now.effective == caps && now.permitted == caps && now.inheritable == 0;
}

/**
 * capture_identity_take() - take on somebody's uid, gid, groups and capabilities, irrevocably
 * @identity: of its capabilities only those we have ourselves
 *
 * Return: 0; -EPERM when we may not, or when it did not take: then nothing else must be done; as
 * setgroups(2), capset(2).
 */
int capture_identity_take(const struct ckpt_identity *identity)
{
	struct identity_caps ours;
	uint64_t caps;
	int r;

	r = caps_get(&ours);
	if (r < 0)
		return r;
	caps = identity->caps & ours.permitted;

	r = set_ids(identity);
	if (r < 0)
		return r;
	/* Ambient ones go first: they must never be more than the inheritable ones. */
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	r = caps_set(caps);
	if (r < 0)
		return r;

	return taken(identity, caps) ? 0 : -EPERM;
}

/*
 * Root in its own store: that is written without any rights, but what others put there must be
 * removable. Groups and gid may be beyond us in a user namespace, where they mean nothing.
 */
static int become_plain_root(gid_t gid)
{
	const uint64_t keep = UINT64_C(1) << CAP_DAC_OVERRIDE | UINT64_C(1) << CAP_FOWNER;
	struct identity_caps caps;
	int r;

	(void)setgroups(0, NULL);
	(void)!setresgid(gid, gid, gid);
	r = caps_get(&caps);
	if (r < 0)
		return r;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	return caps_set(caps.permitted & keep);
}

/**
 * capture_identity_become_owner() - become the user whose files we are going to write
 *
 * Only root can and needs to: anybody else writes as what he is. Whoever it is, no more rights
 * are left than those over files.
 *
 * Return: 0; -EPERM, as setresuid(2), capset(2).
 */
int capture_identity_become_owner(uid_t uid, gid_t gid)
{
	const struct ckpt_identity owner = { .uid = uid, .gid = gid };

	if (geteuid() != 0)
		return 0;
	return uid == 0 ? become_plain_root(gid) : capture_identity_take(&owner);
}

/**
 * capture_identity_hide() - not to be looked into, not to outlive the parent, not to gain rights
 * @parent: what getppid() must say
 *
 * After the last change of identity: that resets both. We hold a stranger's memory, and those
 * whose identity we took on could trace us else.
 *
 * Return: 0; -ECANCELED when the parent is gone already; as prctl(2).
 */
int capture_identity_hide(pid_t parent)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return -errno;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return -errno;
	return getppid() == parent ? 0 : -ECANCELED;
}
