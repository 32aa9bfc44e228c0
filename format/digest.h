/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* The digests of many files of one directory tree, while the disk writes them. */

struct ckpt_cancel;
struct ckpt_strings;
struct ckpt_sums;

int ckpt_digest_files(int dirfd, const struct ckpt_strings *paths, const struct ckpt_cancel *cancel,
		      struct ckpt_sums *ret);
