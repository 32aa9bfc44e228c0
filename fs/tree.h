/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * The mounted tree: its nodes are what the kernel holds, by number of look-ups; the root is
 * always there. Nothing here knows FUSE. Safe from many threads.
 *
 * Each look-up of ctl gives a node of its own, all with the same inode number. To the kernel they
 * are different files: it holds a lock of the file for as long as a write waits, and so writers
 * would wait for each other's captures.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "fs/view.h"

struct ckpt_store;
struct ckfs_tree; /* fields are in tree.c */
struct ckfs_node; /* fields are in tree.c */

#define CKFS_CTL "ctl"

struct ckfs_tree_params {
	struct ckpt_store *store; /* not owned */
	uid_t uid;		  /* the mounter: owner of the root and of ctl */
	gid_t gid;
	bool allow_other;
	size_t max_open; /* directories kept open */
};

/* How long the kernel may believe what it was told. */
enum ckfs_trust {
	CKFS_TRUST_NONE,  /* a name in the root, or where a checkpoint is being copied in */
	CKFS_TRUST_ENTRY, /* the name stands, size and bytes change with the checkpoint's name */
	CKFS_TRUST_ALL,
};

struct ckfs_entry {
	struct ckfs_node *node;
	struct stat st;
	enum ckfs_trust trust;
};

int ckfs_tree_new(const struct ckfs_tree_params *params, struct ckfs_tree **ret);
struct ckfs_tree *ckfs_tree_free(struct ckfs_tree *tree);
struct ckfs_node *ckfs_tree_root(struct ckfs_tree *tree);
bool ckfs_node_is_ctl(const struct ckfs_node *node);

int ckfs_tree_lookup(struct ckfs_tree *tree, struct ckfs_node *parent, const char *name,
		     struct ckfs_entry *ret);
void ckfs_tree_forget(struct ckfs_tree *tree, struct ckfs_node *node, uint64_t n_lookups);
int ckfs_tree_stat(struct ckfs_tree *tree, struct ckfs_node *node, struct ckfs_entry *ret);
int ckfs_tree_list(struct ckfs_tree *tree, struct ckfs_node *node, struct ckfs_listing *ret);
int ckfs_tree_open(struct ckfs_tree *tree, struct ckfs_node *node, bool *ret_same,
		   struct ckfs_file *ret);
bool ckfs_tree_is_settled(struct ckfs_tree *tree, struct ckfs_node *node);
int ckfs_tree_readlink(struct ckfs_tree *tree, struct ckfs_node *node, char **ret);
int ckfs_tree_check_rename(struct ckfs_tree *tree, struct ckfs_node *parent, const char *name,
			   struct ckfs_node *new_parent, const char *new_name);
int ckfs_tree_rename(struct ckfs_tree *tree, struct ckfs_node *parent, const char *name,
		     struct ckfs_node *new_parent, const char *new_name);
int ckfs_tree_remove(struct ckfs_tree *tree, struct ckfs_node *parent, const char *name);
