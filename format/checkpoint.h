/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The checkpoint as objects, the same behind every layout. Strings are the exact bytes, NUL
 * ended, heap memory of the struct they are in; what is not UTF-8 gets its JSON form when it is
 * written (format/json.h). A struct filled with zeros is a valid empty one, and every _done()
 * and _free() copes with it.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CKPT_PAGE_SIZE 4096U
#define CKPT_ADDRESS_MAX (UINT64_C(1) << 56) /* x86_64 with five-level page tables */
#define CKPT_GPREGS_SIZE 216U		     /* struct user_regs_struct: 27 registers of 8 bytes */
#define CKPT_XSTATE_MAX (64U * 1024)	     /* NT_X86_XSTATE: 11 KiB with AMX tile data */

/* Limits of what a store or a target may make us hold; -E2BIG or -EFBIG above. */
#define CKPT_JSON_MAX (64U << 20) /* bytes of one JSON file */
#define CKPT_JSON_DEPTH 16
#define CKPT_REGIONS_MAX (1U << 20) /* rows; the kernel's own default is 65,530 mappings */
#define CKPT_FDS_MAX (1U << 20)
#define CKPT_THREADS_MAX (1U << 17)
#define CKPT_PROCFILE_MAX (256U << 20)
#define CKPT_FDINFO_MAX (4U << 20)	  /* bytes of one fd: an epoll has a line an entry */
#define CKPT_FDINFO_TOTAL_MAX (32U << 20) /* of all fds together */
#define CKPT_FDINFO_KEYS_MAX (1U << 16)
#define CKPT_OMITTED_MAX (1U << 16)
#define CKPT_STRINGS_MAX (1U << 22) /* words of a command line */
#define CKPT_NAMED_MAX 4096U	    /* namespaces, capabilities, limits */
#define CKPT_GROUPS_MAX (1U << 16)  /* NGROUPS_MAX */

/* One run of memory: a mapping, or a part of one. A row of memory_map.json. */
struct ckpt_region {
	uint64_t start, end; /* addresses, whole pages */
	uint64_t offset;     /* in the file, bytes */
	char perms[5];	     /* as proc_pid_maps(5) shows them: "rw-p" */
	bool dontdump;	     /* MADV_DONTDUMP: in memory/, not in core */
	char *path;	     /* as in maps; NULL: none */
};

struct ckpt_regions {
	struct ckpt_region *items; /* ascending, none overlaps another */
	size_t n, size;
};

/* One thread; the first of a checkpoint is the main thread, or the lowest one alive. */
struct ckpt_thread {
	int32_t tid;
	char state;	   /* of task/TID/stat before we stopped it: R, S, D, T … ; 0: unknown */
	char *comm;	   /* NULL: unknown */
	uint64_t sigmask;  /* bit N-1: signal N */
	uint64_t pending;  /* of the thread itself */
	char *syscall;	   /* name of the call it sits in; NULL: none, or unknown */
	void *gpregs;	   /* raw user_regs_struct */
	size_t gpregs_len; /* CKPT_GPREGS_SIZE, or what a foreign file held */
	void *xstate;	   /* raw NT_X86_XSTATE; NULL: none */
	size_t xstate_len;
};

struct ckpt_threads {
	struct ckpt_thread *items;
	size_t n, size;
};

/*
 * A key of /proc/PID/fdinfo/N, but for pos and flags. One that comes in several lines (an epoll's
 * tfd, an inotify's wd) has them all, with a newline between.
 */
struct ckpt_fdinfo {
	char *key, *value;
	size_t len, size; /* of @value, without its NUL; of its memory */
};

/* One file descriptor: an entry of fds.json. The first four keys are the seed's. */
struct ckpt_fd {
	int32_t fd;
	int32_t flags; /* O_…, as fdinfo shows them */
	uint64_t offset;
	char *path; /* what /proc/PID/fd/N points to */
	char *type; /* "file", "dir", "pipe" …; NULL in sandlock's: what follows is unset */
	uint64_t inode;
	uint32_t mode; /* st_mode */
	bool deleted;
	char *family, *sock_type, *sock_state; /* sockets: "inet", "stream", "established" */
	char *local, *peer;		       /* address:port, [v6]:port */
	char *unix_path;		       /* abstract ones with a leading @ */
	struct ckpt_fdinfo *fdinfo;	       /* in the kernel's order */
	size_t n_fdinfo, fdinfo_size;
	size_t fdinfo_bytes; /* of all keys and values */
};

struct ckpt_fds {
	struct ckpt_fd *items; /* ascending */
	size_t n, size;
	size_t fdinfo_bytes;
};

/* Something the capture could not get, as a row of meta.json. */
struct ckpt_omitted {
	char *what; /* "fd/7", "memory/7f0000-7f1000", "proc/io" */
	char *call; /* "openat", "process_vm_readv" */
	char *err;  /* "EACCES" */
};

struct ckpt_omitteds {
	struct ckpt_omitted *items;
	size_t n, size;
};

struct ckpt_strings {
	char **items;
	size_t n, size;
};

struct ckpt_named_u64 {
	char *name;
	uint64_t value;
};

struct ckpt_named_u64s {
	struct ckpt_named_u64 *items;
	size_t n, size;
};

struct ckpt_rlimit {
	char *name;	     /* "nofile", as prlimit(1) names it */
	uint64_t soft, hard; /* UINT64_MAX: unlimited, null in JSON */
};

struct ckpt_rlimits {
	struct ckpt_rlimit *items;
	size_t n, size;
};

/* process/info.json; the first three keys are the seed's. @full: ours are there too. */
struct ckpt_info {
	int32_t pid;
	char *cwd, *exe;
	bool full;
	int32_t ppid;
	char *comm;
	struct ckpt_strings cmdline;
	uint32_t uids[4], gids[4];   /* real, effective, saved, filesystem */
	struct ckpt_named_u64s caps; /* inheritable permitted effective bounding ambient */
	uint32_t *groups;
	size_t n_groups;
	int32_t seccomp;		   /* mode: 0 off, 1 strict, 2 filter */
	struct ckpt_named_u64s namespaces; /* "mnt" -> inode number */
	uint64_t start_time_ticks;	   /* field 22 of stat: clock ticks since boot */
	struct ckpt_rlimits rlimits;
	uint32_t personality;
	char *root; /* NULL: unknown */
		    /* "threads" is an array of struct ckpt_thread without the raw registers */
};

enum ckpt_mode {
	CKPT_MODE_AUTO, /* asked for only; an image is one of the others */
	CKPT_MODE_LIVE,
	CKPT_MODE_STOP,
	_CKPT_MODE_MAX,
	_CKPT_MODE_INVALID = -22, /* -EINVAL */
};

const char *ckpt_mode_name(enum ckpt_mode mode);
enum ckpt_mode ckpt_mode_parse(const char *name);

/* meta.json; the first two keys are the seed's. @ours: the others are there too. */
struct ckpt_meta {
	char *name;
	char *cow_snapshot; /* NULL: null */
	uint32_t version;   /* of the layout: 0, no such key, is the seed's */
	bool ours;
	char *sandckpt;	     /* our version that wrote it */
	int64_t created_sec; /* the instant of the image, CLOCK_REALTIME */
	uint32_t created_nsec;
	uint32_t owner_uid;
	enum ckpt_mode mode;
	char *mode_reason; /* NULL: null */
	uint64_t pause_us; /* the longest time a thread was held at a stretch */
	uint64_t bytes;	   /* captured, without holes */
	struct ckpt_omitteds omitted;
};

/* A whole checkpoint, but for the bytes of its memory and of proc/: those stay where they are. */
struct ckpt_checkpoint {
	struct ckpt_meta meta;
	struct ckpt_info info;
	struct ckpt_fds fds;
	struct ckpt_regions regions;
	struct ckpt_threads threads; /* ours: as in info.json; sandlock's: one, registers alone */
};

void ckpt_region_done(struct ckpt_region *region);
void ckpt_regions_done(struct ckpt_regions *regions);
void ckpt_thread_done(struct ckpt_thread *thread);
void ckpt_threads_done(struct ckpt_threads *threads);
void ckpt_fd_done(struct ckpt_fd *fd);
void ckpt_fds_done(struct ckpt_fds *fds);
void ckpt_omitteds_done(struct ckpt_omitteds *omitted);
void ckpt_info_done(struct ckpt_info *info);
void ckpt_meta_done(struct ckpt_meta *meta);
struct ckpt_checkpoint *ckpt_checkpoint_free(struct ckpt_checkpoint *checkpoint);

int ckpt_strdup(const char *s, char **ret);
int ckpt_regions_add(struct ckpt_regions *regions, const struct ckpt_region *region);
int ckpt_regions_check(const struct ckpt_regions *regions);
int ckpt_threads_add(struct ckpt_threads *threads, struct ckpt_thread *thread);
int ckpt_fds_add(struct ckpt_fds *fds, struct ckpt_fd *fd);
int ckpt_fd_add_fdinfo(struct ckpt_fd *fd, const char *key, const char *value);
int ckpt_omitteds_add(struct ckpt_omitteds *omitted, const char *what, const char *call, int err);
int ckpt_omitteds_add_row(struct ckpt_omitteds *omitted, const struct ckpt_omitted *row);
int ckpt_strings_add(struct ckpt_strings *strings, const char *s);
int ckpt_named_add(struct ckpt_named_u64s *named, const char *name, uint64_t value);
int ckpt_rlimits_add(struct ckpt_rlimits *rlimits, const char *name, uint64_t soft, uint64_t hard);

static inline void ckpt_cleanup_regions_p(struct ckpt_regions *p)
{
	ckpt_regions_done(p);
}
static inline void ckpt_cleanup_checkpoint_p(struct ckpt_checkpoint **p)
{
	ckpt_checkpoint_free(*p);
}
#define cleanup_regions __attribute__((cleanup(ckpt_cleanup_regions_p)))
#define cleanup_checkpoint __attribute__((cleanup(ckpt_cleanup_checkpoint_p)))
