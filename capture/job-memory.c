/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/job-internal.h"

#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "format/cleanup.h"

/*
 * How much memory a copy may take. Too much of it makes the kernel look for somebody to kill, and
 * the largest process around is likely the very one that is captured.
 */

#define CGROUP_LINE_MAX (PATH_MAX + 64)

/* Where the limits of a hierarchy are. Usage counts page cache; what can be dropped at once is free. */
static const struct memory_cgroup {
	const char *controllers; /* the second field of /proc/PID/cgroup */
	const char *mount;	 /* below /sys/fs/cgroup */
	const char *limit, *usage, *cache;
} memory_cgroups[] = {
	{ "", "", "memory.max", "memory.current", "inactive_file" },
	{ "", "/unified", "memory.max", "memory.current", "inactive_file" },
	{ "memory", "/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
	  "total_inactive_file" },
};
#define N_CGROUPS (sizeof(memory_cgroups) / sizeof(memory_cgroups[0]))

/* The number behind @key on a line of its own, or alone in the file for "". */
static bool memory_read(const char *dir, const char *name, const char *key, uint64_t *ret)
{
	cleanup_file FILE *f = NULL;
	char path[CGROUP_LINE_MAX], line[256];
	size_t len = strlen(key);

	if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
		return false;
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, key, len) == 0 && sscanf(line + len, "%" SCNu64, ret) == 1)
			return true;
	return false;
}

/* What one group may still take; UINT64_MAX where nothing limits it. */
static uint64_t memory_group_room(const struct memory_cgroup *cgroup, const char *dir)
{
	uint64_t limit, usage, cache = 0;

	if (!memory_read(dir, cgroup->limit, "", &limit) ||
	    !memory_read(dir, cgroup->usage, "", &usage))
		return UINT64_MAX;
	(void)memory_read(dir, "memory.stat", cgroup->cache, &cache);
	usage -= cache < usage ? cache : usage;
	return usage < limit ? limit - usage : 0;
}

/*
 * The least of a group and all above it. Inside a container the path may lead nowhere below the
 * mount, whose root is then the group itself: the walk ends there anyway.
 */
static uint64_t memory_chain_room(const struct memory_cgroup *cgroup, const char *sysfs,
				  const char *group)
{
	char dir[CGROUP_LINE_MAX];
	size_t root;
	uint64_t least = UINT64_MAX;

	root = (size_t)snprintf(dir, sizeof(dir), "%s%s", sysfs, cgroup->mount);
	if (root >= sizeof(dir) ||
	    snprintf(dir + root, sizeof(dir) - root, "%s", group) >= (int)(sizeof(dir) - root))
		return UINT64_MAX;

	for (;;) {
		uint64_t room = memory_group_room(cgroup, dir);
		char *slash;

		if (room < least)
			least = room;
		slash = strrchr(dir + root, '/');
		if (!slash)
			return least;
		*slash = '\0';
	}
}

static bool memory_has_controller(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (; list; list = strchr(list, ',')) {
		list += *list == ',';
		if (strncmp(list, name, len) == 0 && (list[len] == ',' || list[len] == '\0'))
			return true;
	}
	return false;
}

static uint64_t memory_line_room(char *line, const char *sysfs)
{
	char *controllers = strchr(line, ':'), *group;
	uint64_t least = UINT64_MAX;

	group = controllers ? strchr(controllers + 1, ':') : NULL;
	if (!group)
		return least;
	*controllers++ = '\0';
	*group++ = '\0';
	group[strcspn(group, "\n")] = '\0';

	for (size_t i = 0; i < N_CGROUPS; i++) {
		const struct memory_cgroup *cgroup = &memory_cgroups[i];
		uint64_t room;

		if (*cgroup->controllers ? !memory_has_controller(controllers, cgroup->controllers)
					 : *controllers != '\0')
			continue;
		room = memory_chain_room(cgroup, sysfs, group);
		if (room < least)
			least = room;
	}
	return least;
}

/**
 * capture_job_cgroup_room() - what the control groups of a process let it take still
 * @proc_cgroup: path of its /proc/PID/cgroup
 * @sysfs: path of /sys/fs/cgroup
 *
 * Return: bytes; UINT64_MAX where none limits it, or none can be read.
 * Source: cgroups(7); Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst.
 */
uint64_t capture_job_cgroup_room(const char *proc_cgroup, const char *sysfs)
{
	cleanup_file FILE *f = fopen(proc_cgroup, "re");
	char line[CGROUP_LINE_MAX];
	uint64_t least = UINT64_MAX;

	while (f && fgets(line, sizeof(line), f)) {
		uint64_t room = memory_line_room(line, sysfs);

		if (room < least)
			least = room;
	}
	return least;
}

/* A line of /proc/meminfo in bytes; 0 where the kernel does not say. */
static uint64_t memory_info(const char *key)
{
	uint64_t kib = 0;

	(void)memory_read("/proc", "meminfo", key, &kib);
	return kib * 1024;
}

/* A quarter of what there is to be had without swapping, and without anybody being killed. */
uint64_t capture_job_memory_free(void)
{
	uint64_t room = capture_job_cgroup_room("/proc/self/cgroup", "/sys/fs/cgroup");
	uint64_t available = memory_info("MemAvailable:");

	return (room < available ? room : available) / 4;
}

/* The most capture_job_memory_free() can say, in any process at any time. */
uint64_t capture_job_memory_most(void)
{
	return memory_info("MemTotal:") / 4;
}
