/* SPDX-License-Identifier: Apache-2.0 */
#include "format/jsonscan.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "format/utf8.h"

/*
 * json-c 0.16, strict and validating, still takes: NaN and Infinity, integers beyond 64 bits (it
 * clips them silently), control characters and lone surrogates in strings, overlong UTF-8, keys
 * with a NUL inside (it cuts them there) and an object's key twice. RFC 8259 and serde_json
 * take none of these. So the tokens are looked at here, and the grammar is left to json-c.
 */

struct scan {
	const char *p, *end;
	size_t n_members, n_containers, n_values;
};

static bool scan_is_digit(const struct scan *s)
{
	return s->p < s->end && *s->p >= '0' && *s->p <= '9';
}

static bool scan_take(struct scan *s, const char *set)
{
	if (s->p == s->end || *s->p == '\0' || !strchr(set, *s->p))
		return false;
	s->p++;
	return true;
}

static int scan_hex4(struct scan *s, unsigned *ret)
{
	unsigned value = 0;

	for (int i = 0; i < 4; i++, s->p++) {
		static const char digits[] = "0123456789abcdef";
		const char *digit;

		if (s->p == s->end || *s->p == '\0')
			return -EBADMSG;
		digit = strchr(digits, *s->p >= 'A' && *s->p <= 'F' ? *s->p | 0x20 : *s->p);
		if (!digit)
			return -EBADMSG;
		value = value << 4 | (unsigned)(digit - digits);
	}

	*ret = value;
	return 0;
}

/* Behind a backslash and u. */
static int scan_unicode(struct scan *s, bool *has_nul)
{
	unsigned unit, low;
	int r;

	r = scan_hex4(s, &unit);
	if (r < 0)
		return r;

	if (unit == 0)
		*has_nul = true;
	if (unit < 0xd800 || unit > 0xdfff)
		return 0;
	if (unit > 0xdbff || !scan_take(s, "\\") || !scan_take(s, "u"))
		return -EBADMSG;
	r = scan_hex4(s, &low);
	if (r < 0)
		return r;
	return low >= 0xdc00 && low <= 0xdfff ? 0 : -EBADMSG;
}

/* Behind the opening quote, to behind the closing one. */
static int scan_string(struct scan *s)
{
	bool has_nul = false;

	for (;;) {
		const char *at = s->p;
		int r = 0;

		if (s->p == s->end || (unsigned char)*s->p < 0x20)
			return -EBADMSG;
		s->p++;
		if (*at == '"')
			break;
		if (*at != '\\')
			continue;
		if (scan_take(s, "u"))
			r = scan_unicode(s, &has_nul);
		else if (!scan_take(s, "\"\\/bfnrt"))
			r = -EBADMSG;
		if (r < 0)
			return r;
	}

	while (scan_take(s, " \t\r\n"))
		;
	return has_nul && s->p < s->end && *s->p == ':' ? -EBADMSG : 0;
}

static void scan_digits(struct scan *s)
{
	while (scan_is_digit(s))
		s->p++;
}

/* At a minus or a digit. An integer must be one that an int64_t or a uint64_t holds. */
static int scan_number(struct scan *s)
{
	bool negative = scan_take(s, "-"), integer = true;
	uint64_t value = 0, limit = negative ? (uint64_t)1 << 63 : UINT64_MAX;
	const char *digits = s->p;
	bool over = false;

	for (; scan_is_digit(s); s->p++)
		over = over || __builtin_mul_overflow(value, 10U, &value) ||
		       __builtin_add_overflow(value, (unsigned)(*s->p - '0'), &value);
	if (s->p == digits || (*digits == '0' && s->p - digits > 1))
		return -EBADMSG;

	if (scan_take(s, ".")) {
		integer = false;
		if (!scan_is_digit(s))
			return -EBADMSG;
		scan_digits(s);
	}
	if (scan_take(s, "eE")) {
		integer = false;
		(void)scan_take(s, "+-");
		if (!scan_is_digit(s))
			return -EBADMSG;
		scan_digits(s);
	}

	return integer && (over || value > limit) ? -EBADMSG : 0;
}

static int scan_word(struct scan *s)
{
	static const char *const words[] = { "true", "false", "null" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t n = strlen(words[i]);

		if ((size_t)(s->end - s->p) >= n && memcmp(s->p, words[i], n) == 0) {
			s->p += n;
			return 0;
		}
	}
	return -EBADMSG;
}

static int scan_token(struct scan *s)
{
	switch (*s->p) {
	case '"':
		s->n_values++;
		s->p++;
		return scan_string(s);
	case '-':
	case '0' ... '9':
		s->n_values++;
		return scan_number(s);
	case '{':
	case '[':
		s->n_values++;
		s->p++;
		return ++s->n_containers > CKPT_JSON_CONTAINERS_MAX ? -E2BIG : 0;
	case ':': /* the string before was a key */
		s->n_values -= s->n_values > 0;
		s->n_members++;
		s->p++;
		return 0;
	case '}':
	case ']':
	case ',':
	case ' ':
	case '\t':
	case '\r':
	case '\n':
		s->p++;
		return 0;
	default:
		s->n_values++;
		return scan_word(s);
	}
}

/**
 * ckpt_json_scan() - check the tokens of a JSON text
 * @ret_n_members: how many members its objects have; the tree has as many unless a key came twice
 *
 * Return: 0; -EBADMSG; -E2BIG above CKPT_JSON_CONTAINERS_MAX or CKPT_JSON_VALUES_MAX.
 * Source: RFC 8259.
 */
int ckpt_json_scan(const char *text, size_t len, size_t *ret_n_members)
{
	struct scan s = { .p = text, .end = text + len };

	if (!ckpt_utf8_valid(text, len))
		return -EBADMSG;

	while (s.p < s.end) {
		int r = scan_token(&s);

		if (r < 0)
			return r;
		if (s.n_values > CKPT_JSON_VALUES_MAX)
			return -E2BIG;
	}

	*ret_n_members = s.n_members;
	return 0;
}
