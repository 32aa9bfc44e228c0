/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* SHA256SUMS: a line `HEX  PATH` a file, as sha256sum(1) writes it, sorted by path. */

#include <stddef.h>
#include <stdint.h>

#define CKPT_SHA256_SIZE 32
#define CKPT_SUMS_MAX (1U << 21) /* lines: a segment, a thread's files each */
#define CKPT_SUMS_NAME_MAX 255	 /* bytes of a path's component: NAME_MAX */

struct ckpt_sum {
	uint8_t digest[CKPT_SHA256_SIZE];
	char *path; /* relative to the checkpoint's directory, no ./ before it */
};

struct ckpt_sums {
	struct ckpt_sum *items; /* sorted by path, bytewise */
	size_t n, size;
};

void ckpt_sums_done(struct ckpt_sums *sums);
int ckpt_sums_add(struct ckpt_sums *sums, const char *path, const uint8_t digest[CKPT_SHA256_SIZE]);
void ckpt_sums_sort(struct ckpt_sums *sums);
const struct ckpt_sum *ckpt_sums_find(const struct ckpt_sums *sums, const char *path);
int ckpt_sums_print(const struct ckpt_sums *sums, char **ret, size_t *ret_len);
int ckpt_sums_parse(const char *text, size_t len, struct ckpt_sums *ret);

int ckpt_sha256(const void *data, size_t len, uint8_t ret[CKPT_SHA256_SIZE]);
int ckpt_sha256_fd(int fd, uint8_t ret[CKPT_SHA256_SIZE]);
