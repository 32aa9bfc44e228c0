/* SPDX-License-Identifier: Apache-2.0 */
#include "format/utf8.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "format/cleanup.h"

#define UTF8_REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* What may follow a lead byte: Unicode 15, table 3-7. The second byte alone has odd ranges. */
static const struct utf8_lead {
	uint8_t first, last;
	uint8_t n_more;
	uint8_t low, high; /* of the second byte */
} utf8_leads[] = {
	/* clang-format off */
	{ 0x00, 0x7f, 0, 0x00, 0x00 },
	{ 0xc2, 0xdf, 1, 0x80, 0xbf },
	{ 0xe0, 0xe0, 2, 0xa0, 0xbf },
	{ 0xe1, 0xec, 2, 0x80, 0xbf },
	{ 0xed, 0xed, 2, 0x80, 0x9f }, /* no surrogates */
	{ 0xee, 0xef, 2, 0x80, 0xbf },
	{ 0xf0, 0xf0, 3, 0x90, 0xbf },
	{ 0xf1, 0xf3, 3, 0x80, 0xbf },
	{ 0xf4, 0xf4, 3, 0x80, 0x8f }, /* up to U+10FFFF */
	/* clang-format on */
};

static const struct utf8_lead *utf8_find_lead(uint8_t byte)
{
	for (size_t i = 0; i < sizeof(utf8_leads) / sizeof(utf8_leads[0]); i++)
		if (byte >= utf8_leads[i].first && byte <= utf8_leads[i].last)
			return &utf8_leads[i];
	return NULL;
}

/* How many bytes the next character takes or, where *ret_valid is false, its maximal subpart. */
static size_t utf8_step(const char *s, size_t len, bool *ret_valid)
{
	const struct utf8_lead *lead = utf8_find_lead((uint8_t)s[0]);
	size_t i;

	*ret_valid = false;
	if (!lead)
		return 1;

	for (i = 1; i <= lead->n_more; i++) {
		uint8_t low = i == 1 ? lead->low : 0x80, high = i == 1 ? lead->high : 0xbf;

		if (i == len || (uint8_t)s[i] < low || (uint8_t)s[i] > high)
			return i;
	}

	*ret_valid = true;
	return i;
}

/* Whether all of it is UTF-8 as the Unicode Standard has it: nothing overlong, no surrogates. */
bool ckpt_utf8_valid(const char *s, size_t len)
{
	bool valid = true;

	for (size_t i = 0; i < len && valid;)
		i += utf8_step(s + i, len - i, &valid);
	return valid;
}

/**
 * ckpt_utf8_lossy() - the UTF-8 nearest to some bytes, as Rust's String::from_utf8_lossy gives it
 * @ret: U+FFFD for each maximal subpart of a broken character; NUL behind it; the caller frees
 *
 * Return: 0; -ENOMEM.
 * Source: Unicode 15, section 3.9, U+FFFD Substitution of Maximal Subparts.
 */
int ckpt_utf8_lossy(const char *s, size_t len, char **ret, size_t *ret_len)
{
	cleanup_free char *buf = NULL;
	size_t out = 0, size;

	if (__builtin_mul_overflow(len, strlen(UTF8_REPLACEMENT), &size) || size == SIZE_MAX)
		return -ENOMEM;
	buf = malloc(size + 1);
	if (!buf)
		return -ENOMEM;

	for (size_t i = 0; i < len;) {
		bool valid;
		size_t n = utf8_step(s + i, len - i, &valid);

		memcpy(buf + out, valid ? s + i : UTF8_REPLACEMENT,
		       valid ? n : strlen(UTF8_REPLACEMENT));
		out += valid ? n : strlen(UTF8_REPLACEMENT);
		i += n;
	}

	buf[out] = '\0';
	*ret = steal_pointer(buf);
	*ret_len = out;
	return 0;
}
