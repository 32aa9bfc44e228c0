/* SPDX-License-Identifier: Apache-2.0 */
#include "format/sums.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "format/cleanup.h"

#define SUMS_HEX_SIZE ((size_t)2 * CKPT_SHA256_SIZE)
#define SUMS_BLOCK (256U * 1024)

/* What sha256sum(1) of coreutils 9 escapes, by a backslash at the start of the line. */
static const char sums_escapes[][2] = { { '\\', '\\' }, { '\n', 'n' }, { '\r', 'r' } };
#define SUMS_N_ESCAPES (sizeof(sums_escapes) / sizeof(sums_escapes[0]))

void ckpt_sums_done(struct ckpt_sums *sums)
{
	for (size_t i = 0; i < sums->n; i++)
		free(sums->items[i].path);
	free(sums->items);
	*sums = (struct ckpt_sums){};
}

static int sums_append(struct ckpt_sums *sums, char *path, const uint8_t *digest)
{
	if (sums->n >= CKPT_SUMS_MAX)
		return -E2BIG;
	if (sums->n == sums->size) {
		size_t size = sums->size ? sums->size * 2 : 64;
		struct ckpt_sum *items = reallocarray(sums->items, size, sizeof(*items));

		if (!items)
			return -ENOMEM;
		sums->items = items;
		sums->size = size;
	}

	sums->items[sums->n].path = path;
	memcpy(sums->items[sums->n].digest, digest, CKPT_SHA256_SIZE);
	sums->n++;
	return 0;
}

/**
 * ckpt_sums_add() - append a file; ckpt_sums_sort() when all are there
 * @path: copied
 *
 * Return: 0; -E2BIG above CKPT_SUMS_MAX; -ENOMEM.
 */
int ckpt_sums_add(struct ckpt_sums *sums, const char *path, const uint8_t digest[CKPT_SHA256_SIZE])
{
	cleanup_free char *copy = strdup(path);
	int r;

	if (!copy)
		return -ENOMEM;
	r = sums_append(sums, copy, digest);
	if (r < 0)
		return r;

	steal_pointer(copy);
	return 0;
}

static int sums_compare(const void *a, const void *b)
{
	return strcmp(((const struct ckpt_sum *)a)->path, ((const struct ckpt_sum *)b)->path);
}

void ckpt_sums_sort(struct ckpt_sums *sums)
{
	if (sums->n > 0)
		qsort(sums->items, sums->n, sizeof(sums->items[0]), sums_compare);
}

/* Of a sorted list. NULL: not in it. */
const struct ckpt_sum *ckpt_sums_find(const struct ckpt_sums *sums, const char *path)
{
	struct ckpt_sum key = { .path = (char *)path };

	if (sums->n == 0)
		return NULL;
	return bsearch(&key, sums->items, sums->n, sizeof(key), sums_compare);
}

/* The letter behind the backslash; 0: the byte stands for itself. */
static char sums_escape(char c)
{
	for (size_t i = 0; i < SUMS_N_ESCAPES; i++)
		if (sums_escapes[i][0] == c)
			return sums_escapes[i][1];
	return 0;
}

static void sums_print_line(FILE *f, const struct ckpt_sum *sum)
{
	if (strpbrk(sum->path, "\\\n\r"))
		putc_unlocked('\\', f);
	for (size_t i = 0; i < CKPT_SHA256_SIZE; i++)
		fprintf(f, "%02x", sum->digest[i]);
	fputs("  ", f);
	for (const char *p = sum->path; *p; p++) {
		char letter = sums_escape(*p);

		if (letter)
			putc_unlocked('\\', f);
		putc_unlocked(letter ? letter : *p, f);
	}
	putc_unlocked('\n', f);
}

/**
 * ckpt_sums_print() - the text of SHA256SUMS, in the list's order
 * @ret: one NUL behind it; the caller frees
 *
 * Return: 0; -ENOMEM.
 * Source: sha256sum(1), and output_file() of coreutils' digest.c.
 */
int ckpt_sums_print(const struct ckpt_sums *sums, char **ret, size_t *ret_len)
{
	char *text = NULL;
	size_t len = 0;
	bool bad;
	FILE *f;

	f = open_memstream(&text, &len);
	if (!f)
		return -ENOMEM;

	for (size_t i = 0; i < sums->n; i++)
		sums_print_line(f, &sums->items[i]);
	bad = ferror(f) != 0;
	if (fclose(f) != 0 || bad) {
		free(text);
		return -ENOMEM;
	}

	*ret = text;
	*ret_len = len;
	return 0;
}

static int sums_parse_digest(const char *hex, uint8_t ret[CKPT_SHA256_SIZE])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < SUMS_HEX_SIZE; i++) {
		const char *digit = hex[i] ? strchr(digits, hex[i]) : NULL;

		if (!digit)
			return -EBADMSG;
		ret[i / 2] = (uint8_t)(ret[i / 2] << 4 | (digit - digits));
	}
	return 0;
}

/* Undoes the escapes of a line that starts with a backslash. */
static int sums_unescape(char *path)
{
	char *out = path;

	for (const char *p = path; *p; p++) {
		size_t i;

		if (*p != '\\') {
			*out++ = *p;
			continue;
		}
		p++;
		for (i = 0; i < SUMS_N_ESCAPES && sums_escapes[i][1] != *p; i++)
			;
		if (i == SUMS_N_ESCAPES)
			return -EBADMSG;
		*out++ = sums_escapes[i][0];
	}
	*out = '\0';
	return 0;
}

/* Whether it can be nowhere but below the checkpoint: no component is empty, a dot or two. */
static bool sums_path_ok(const char *path)
{
	for (;;) {
		size_t n = strcspn(path, "/");

		if (n == 0 || n > CKPT_SUMS_NAME_MAX || (n <= 2 && strspn(path, ".") >= n))
			return false;
		if (path[n] == '\0')
			return true;
		path += n + 1;
	}
}

/* @line without its newline. */
static int sums_parse_line(const char *line, size_t len, struct ckpt_sums *sums)
{
	uint8_t digest[CKPT_SHA256_SIZE] = {};
	cleanup_free char *path = NULL;
	bool escaped = len > 0 && line[0] == '\\';
	int r;

	line += escaped;
	len -= escaped;
	if (len <= SUMS_HEX_SIZE + 2 || memcmp(line + SUMS_HEX_SIZE, "  ", 2) != 0)
		return -EBADMSG;
	r = sums_parse_digest(line, digest);
	if (r < 0)
		return r;

	line += SUMS_HEX_SIZE + 2;
	len -= SUMS_HEX_SIZE + 2;
	if (memchr(line, '\0', len))
		return -EBADMSG;
	path = strndup(line, len);
	if (!path)
		return -ENOMEM;
	r = escaped ? sums_unescape(path) : 0;
	if (r < 0)
		return r;
	if (!sums_path_ok(path))
		return -EBADMSG;

	r = sums_append(sums, path, digest);
	if (r == 0)
		steal_pointer(path);
	return r;
}

static int sums_parse_lines(const char *text, size_t len, struct ckpt_sums *sums)
{
	while (len > 0) {
		const char *newline = memchr(text, '\n', len);
		int r;

		if (!newline)
			return -EBADMSG;
		r = sums_parse_line(text, (size_t)(newline - text), sums);
		if (r < 0)
			return r;
		len -= (size_t)(newline - text) + 1;
		text = newline + 1;
	}

	ckpt_sums_sort(sums);
	for (size_t i = 1; i < sums->n; i++)
		if (strcmp(sums->items[i - 1].path, sums->items[i].path) == 0)
			return -EBADMSG;
	return 0;
}

/**
 * ckpt_sums_parse() - read a SHA256SUMS, strictly
 * @text: @len bytes, each line `HEX  PATH` with its newline, in any order
 * @ret: sorted; ckpt_sums_done() frees; left alone on error
 *
 * Return: 0; -EBADMSG on anything else, a path that is absolute or has a component empty, `.` or
 * `..`, or comes twice; -E2BIG above CKPT_SUMS_MAX lines; -ENOMEM.
 */
int ckpt_sums_parse(const char *text, size_t len, struct ckpt_sums *ret)
{
	struct ckpt_sums sums = {};
	int r;

	r = sums_parse_lines(text, len, &sums);
	if (r < 0) {
		ckpt_sums_done(&sums);
		return r;
	}

	*ret = sums;
	return 0;
}

/* Return: 0; -EIO when libcrypto refuses. */
int ckpt_sha256(const void *data, size_t len, uint8_t ret[CKPT_SHA256_SIZE])
{
	return EVP_Digest(data, len, ret, NULL, EVP_sha256(), NULL) == 1 ? 0 : -EIO;
}

static int sums_digest_fd(EVP_MD_CTX *ctx, int fd, void *buf, uint8_t *ret)
{
	if (EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1)
		return -EIO;

	for (off_t offset = 0;;) {
		ssize_t n = pread(fd, buf, SUMS_BLOCK, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		if (EVP_DigestUpdate(ctx, buf, (size_t)n) != 1)
			return -EIO;
		offset += n;
	}

	return EVP_DigestFinal_ex(ctx, ret, NULL) == 1 ? 0 : -EIO;
}

/**
 * ckpt_sha256_fd() - the digest of a whole file, from its start wherever the fd stands
 * @fd: not owned, not moved
 *
 * Return: 0; -EIO when libcrypto refuses; -ENOMEM; as pread(2).
 */
int ckpt_sha256_fd(int fd, uint8_t ret[CKPT_SHA256_SIZE])
{
	uint8_t digest[CKPT_SHA256_SIZE];
	cleanup_free void *buf = NULL;
	EVP_MD_CTX *ctx;
	int r;

	buf = malloc(SUMS_BLOCK);
	ctx = EVP_MD_CTX_new();
	r = buf && ctx ? sums_digest_fd(ctx, fd, buf, digest) : -ENOMEM;
	EVP_MD_CTX_free(ctx);
	if (r < 0)
		return r;

	memcpy(ret, digest, sizeof(digest));
	return 0;
}
