/* SPDX-License-Identifier: Apache-2.0 */
#include "format/policy.h"

#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "format/cleanup.h"
#include "format/json.h"
#include "format/utf8.h"

/*
 * bincode 1.x with its default options: little endian, fixed-width integers, no padding, no
 * names. A length or count is a u64, an Option's tag a u8, an enum's variant a u32.
 *
 *	policy      the fields of policy_fields[], one after the other
 *	Vec<T>      count, items
 *	String      count, bytes of UTF-8
 *	Option<T>   0, or 1 and T
 *	HashMap     count, pairs of strings
 *	SystemTime  u64 seconds, u32 nanoseconds
 */

enum policy_kind {
	POLICY_BOOL,
	POLICY_UINT, /* of .width bytes */
	POLICY_STRING,
	POLICY_TIME,
	POLICY_ENUM,
	POLICY_MAP,
	POLICY_VEC,
	POLICY_OPTION,
	_POLICY_KIND_MAX,
};

struct policy_type {
	enum policy_kind kind;
	unsigned width;
	const struct policy_type *item;
	const char *const *variants; /* ended by NULL */
};

#define POLICY_NSEC_PER_SEC 1000000000U

/* clang-format off */
static const char *const isolation_names[] = { "None", "OverlayFs", "BranchFs", NULL };
static const char *const action_names[] = { "Commit", "Abort", "Keep", NULL };

static const struct policy_type t_bool = { .kind = POLICY_BOOL };
static const struct policy_type t_u8 = { .kind = POLICY_UINT, .width = 1 };
static const struct policy_type t_u16 = { .kind = POLICY_UINT, .width = 2 };
static const struct policy_type t_u32 = { .kind = POLICY_UINT, .width = 4 };
static const struct policy_type t_u64 = { .kind = POLICY_UINT, .width = 8 };
static const struct policy_type t_string = { .kind = POLICY_STRING };
static const struct policy_type t_time = { .kind = POLICY_TIME };
static const struct policy_type t_env = { .kind = POLICY_MAP };
static const struct policy_type t_isolation = { .kind = POLICY_ENUM, .variants = isolation_names };
static const struct policy_type t_action = { .kind = POLICY_ENUM, .variants = action_names };
static const struct policy_type t_strings = { .kind = POLICY_VEC, .item = &t_string };
static const struct policy_type t_ports = { .kind = POLICY_VEC, .item = &t_u16 };
static const struct policy_type t_u32s = { .kind = POLICY_VEC, .item = &t_u32 };
static const struct policy_type t_opt_u8 = { .kind = POLICY_OPTION, .item = &t_u8 };
static const struct policy_type t_opt_u32 = { .kind = POLICY_OPTION, .item = &t_u32 };
static const struct policy_type t_opt_u64 = { .kind = POLICY_OPTION, .item = &t_u64 };
static const struct policy_type t_opt_string = { .kind = POLICY_OPTION, .item = &t_string };
static const struct policy_type t_opt_time = { .kind = POLICY_OPTION, .item = &t_time };
static const struct policy_type t_opt_strings = { .kind = POLICY_OPTION, .item = &t_strings };
static const struct policy_type t_opt_u32s = { .kind = POLICY_OPTION, .item = &t_u32s };

/*
 * struct Policy of sandlock-core 0.4.2, in its order. A PathBuf is a string, a ByteSize a u64.
 * @unset: what Policy::builder().build() gives where that is neither empty, None, 0 nor false.
 */
static const struct policy_field {
	const char *name;
	const struct policy_type *type;
	uint8_t unset;
} policy_fields[] = {
	{ "fs_writable",         &t_strings },
	{ "fs_readable",         &t_strings },
	{ "fs_denied",           &t_strings },
	{ "deny_syscalls",       &t_opt_strings },
	{ "allow_syscalls",      &t_opt_strings },
	{ "net_allow_hosts",     &t_strings },
	{ "net_bind",            &t_ports },
	{ "net_connect",         &t_ports },
	{ "no_raw_sockets",      &t_bool, true },
	{ "no_udp",              &t_bool },
	{ "isolate_ipc",         &t_bool },
	{ "isolate_signals",     &t_bool },
	{ "isolate_pids",        &t_bool },
	{ "max_memory",          &t_opt_u64 },
	{ "max_processes",       &t_u32, 64 },
	{ "max_open_files",      &t_opt_u32 },
	{ "max_cpu",             &t_opt_u8 },
	{ "random_seed",         &t_opt_u64 },
	{ "time_start",          &t_opt_time },
	{ "no_randomize_memory", &t_bool },
	{ "no_huge_pages",       &t_bool },
	{ "deterministic_dirs",  &t_bool },
	{ "hostname",            &t_opt_string },
	{ "fs_isolation",        &t_isolation },
	{ "workdir",             &t_opt_string },
	{ "fs_storage",          &t_opt_string },
	{ "max_disk",            &t_opt_u64 },
	{ "on_exit",             &t_action },
	{ "on_error",            &t_action },
	{ "chroot",              &t_opt_string },
	{ "clean_env",           &t_bool },
	{ "env",                 &t_env },
	{ "close_fds",           &t_bool, true },
	{ "gpu_devices",         &t_opt_u32s },
	{ "cpu_cores",           &t_opt_u32s },
	{ "num_cpus",            &t_opt_u32 },
	{ "port_remap",          &t_bool },
	{ "privileged",          &t_bool },
};
/* clang-format on */
#define POLICY_N_FIELDS (sizeof(policy_fields) / sizeof(policy_fields[0]))

struct policy_reader {
	const uint8_t *p;
	size_t left;
};

struct policy_writer {
	uint8_t *data;
	size_t len, size;
};

static int reader_take(struct policy_reader *in, size_t len, const void **ret)
{
	if (len > in->left)
		return -EBADMSG;
	*ret = in->p;
	in->p += len;
	in->left -= len;
	return 0;
}

static int reader_uint(struct policy_reader *in, unsigned width, uint64_t *ret)
{
	uint64_t value = 0;
	const void *p;
	int r;

	r = reader_take(in, width, &p);
	if (r < 0)
		return r;
	memcpy(&value, p, width);
	*ret = le64toh(value);
	return 0;
}

/* Each item takes a byte at least, so a count that lies asks for no memory. */
static int reader_count(struct policy_reader *in, size_t *ret)
{
	uint64_t count;
	int r;

	r = reader_uint(in, sizeof(uint64_t), &count);
	if (r < 0)
		return r;
	if (count > in->left)
		return -EBADMSG;
	*ret = (size_t)count;
	return 0;
}

static int writer_put(struct policy_writer *out, const void *data, size_t len)
{
	if (len > CKPT_POLICY_MAX - out->len)
		return -EFBIG;
	if (len > out->size - out->len) {
		size_t size = 2 * (out->len + len);
		uint8_t *bigger = realloc(out->data, size);

		if (!bigger)
			return -ENOMEM;
		out->data = bigger;
		out->size = size;
	}

	memcpy(out->data + out->len, data, len);
	out->len += len;
	return 0;
}

static int writer_uint(struct policy_writer *out, unsigned width, uint64_t value)
{
	value = htole64(value);
	return writer_put(out, &value, width);
}

static uint64_t uint_max(unsigned width)
{
	return UINT64_MAX >> (64 - 8 * width);
}

typedef int (*policy_decode_t)(const struct policy_type *type, struct policy_reader *in,
			       struct json_object **ret);
typedef int (*policy_encode_t)(const struct policy_type *type, struct json_object *value,
			       struct policy_writer *out);

static int policy_decode(const struct policy_type *type, struct policy_reader *in,
			 struct json_object **ret);
static int policy_encode(const struct policy_type *type, struct json_object *value,
			 struct policy_writer *out);

static int policy_got(struct json_object *object, struct json_object **ret)
{
	*ret = object;
	return object ? 0 : -ENOMEM;
}

static int decode_bool(const struct policy_type *type, struct policy_reader *in,
		       struct json_object **ret)
{
	uint64_t value;
	int r;

	r = reader_uint(in, 1, &value);
	if (r < 0)
		return r;
	return value > 1 ? -EBADMSG : policy_got(json_object_new_boolean(value == 1), ret);
}

static int encode_bool(const struct policy_type *type, struct json_object *value,
		       struct policy_writer *out)
{
	if (!json_object_is_type(value, json_type_boolean))
		return -EBADMSG;
	return writer_uint(out, 1, json_object_get_boolean(value) ? 1 : 0);
}

static int decode_uint(const struct policy_type *type, struct policy_reader *in,
		       struct json_object **ret)
{
	uint64_t value;
	int r;

	r = reader_uint(in, type->width, &value);
	return r < 0 ? r : policy_got(json_object_new_uint64(value), ret);
}

static int encode_uint(const struct policy_type *type, struct json_object *value,
		       struct policy_writer *out)
{
	uint64_t number;
	int r;

	r = ckpt_json_to_u64(value, uint_max(type->width), &number);
	return r < 0 ? r : writer_uint(out, type->width, number);
}

static int reader_string(struct policy_reader *in, const char **ret, size_t *ret_len)
{
	const void *p = NULL;
	size_t len;
	int r;

	r = reader_count(in, &len);
	if (r < 0)
		return r;
	r = reader_take(in, len, &p);
	if (r < 0)
		return r;
	if (len > INT_MAX || !ckpt_utf8_valid(p, len))
		return -EBADMSG;

	*ret = p;
	*ret_len = len;
	return 0;
}

static int decode_string(const struct policy_type *type, struct policy_reader *in,
			 struct json_object **ret)
{
	const char *s;
	size_t len;
	int r;

	r = reader_string(in, &s, &len);
	return r < 0 ? r : policy_got(json_object_new_string_len(s, (int)len), ret);
}

static int writer_string(struct policy_writer *out, const char *s, size_t len)
{
	int r;

	if (!ckpt_utf8_valid(s, len))
		return -EBADMSG;
	r = writer_uint(out, sizeof(uint64_t), len);
	return r < 0 ? r : writer_put(out, s, len);
}

static int encode_string(const struct policy_type *type, struct json_object *value,
			 struct policy_writer *out)
{
	if (!json_object_is_type(value, json_type_string))
		return -EBADMSG;
	return writer_string(out, json_object_get_string(value),
			     (size_t)json_object_get_string_len(value));
}

static int decode_time(const struct policy_type *type, struct policy_reader *in,
		       struct json_object **ret)
{
	cleanup_json struct json_object *object = NULL;
	uint64_t secs, nanos;
	int r;

	r = reader_uint(in, sizeof(uint64_t), &secs);
	if (r < 0)
		return r;
	r = reader_uint(in, sizeof(uint32_t), &nanos);
	if (r < 0)
		return r;
	/* A SystemTime holds no more: serde refuses it too. */
	if (secs > INT64_MAX || nanos >= POLICY_NSEC_PER_SEC)
		return -EBADMSG;

	object = json_object_new_object();
	if (!object)
		return -ENOMEM;
	r = ckpt_json_add_u64(object, "secs_since_epoch", secs);
	if (r < 0)
		return r;
	r = ckpt_json_add_u64(object, "nanos_since_epoch", nanos);
	if (r < 0)
		return r;

	*ret = steal_pointer(object);
	return 0;
}

static int encode_time(const struct policy_type *type, struct json_object *value,
		       struct policy_writer *out)
{
	uint64_t secs, nanos;
	int r;

	r = ckpt_json_get_u64(value, "secs_since_epoch", INT64_MAX, &secs);
	if (r <= 0)
		return r < 0 ? r : -EBADMSG;
	r = ckpt_json_get_u64(value, "nanos_since_epoch", POLICY_NSEC_PER_SEC - 1, &nanos);
	if (r <= 0)
		return r < 0 ? r : -EBADMSG;

	r = writer_uint(out, sizeof(uint64_t), secs);
	return r < 0 ? r : writer_uint(out, sizeof(uint32_t), nanos);
}

static int decode_enum(const struct policy_type *type, struct policy_reader *in,
		       struct json_object **ret)
{
	uint64_t variant;
	int r;

	r = reader_uint(in, sizeof(uint32_t), &variant);
	if (r < 0)
		return r;
	for (uint64_t i = 0; type->variants[i]; i++)
		if (i == variant)
			return policy_got(json_object_new_string(type->variants[i]), ret);
	return -EBADMSG;
}

static int encode_enum(const struct policy_type *type, struct json_object *value,
		       struct policy_writer *out)
{
	if (!json_object_is_type(value, json_type_string))
		return -EBADMSG;
	for (uint64_t i = 0; type->variants[i]; i++)
		if (strcmp(type->variants[i], json_object_get_string(value)) == 0)
			return writer_uint(out, sizeof(uint32_t), i);
	return -EBADMSG;
}

/* A key with a NUL inside has no place in a json-c object, nor in an environment. */
static int decode_pair(struct policy_reader *in, struct json_object *object)
{
	cleanup_free char *key = NULL;
	struct json_object *value;
	const char *s;
	size_t len;
	int r;

	r = reader_string(in, &s, &len);
	if (r < 0)
		return r;
	if (memchr(s, '\0', len))
		return -EBADMSG;
	key = strndup(s, len);
	if (!key)
		return -ENOMEM;
	r = decode_string(&t_string, in, &value);
	return r < 0 ? r : ckpt_json_add(object, key, value);
}

static int decode_map(const struct policy_type *type, struct policy_reader *in,
		      struct json_object **ret)
{
	cleanup_json struct json_object *object = json_object_new_object();
	size_t count;
	int r;

	if (!object)
		return -ENOMEM;
	r = reader_count(in, &count);
	for (; r == 0 && count > 0; count--)
		r = decode_pair(in, object);
	if (r < 0)
		return r;

	*ret = steal_pointer(object);
	return 0;
}

static int encode_map(const struct policy_type *type, struct json_object *value,
		      struct policy_writer *out)
{
	int r;

	if (!json_object_is_type(value, json_type_object))
		return -EBADMSG;
	r = writer_uint(out, sizeof(uint64_t), (uint64_t)json_object_object_length(value));
	if (r < 0)
		return r;

	json_object_object_foreach (value, key, item) {
		r = writer_string(out, key, strlen(key));
		if (r < 0)
			return r;
		r = encode_string(&t_string, item, out);
		if (r < 0)
			return r;
	}
	return 0;
}

static int decode_vec(const struct policy_type *type, struct policy_reader *in,
		      struct json_object **ret)
{
	cleanup_json struct json_object *array = json_object_new_array();
	size_t count;
	int r;

	if (!array)
		return -ENOMEM;
	r = reader_count(in, &count);
	if (r < 0)
		return r;

	for (; count > 0; count--) {
		struct json_object *item;

		r = policy_decode(type->item, in, &item);
		if (r < 0)
			return r;
		if (json_object_array_add(array, item) < 0) {
			json_object_put(item);
			return -ENOMEM;
		}
	}

	*ret = steal_pointer(array);
	return 0;
}

static int encode_vec(const struct policy_type *type, struct json_object *value,
		      struct policy_writer *out)
{
	size_t n;
	int r;

	if (!json_object_is_type(value, json_type_array))
		return -EBADMSG;
	n = json_object_array_length(value);
	r = writer_uint(out, sizeof(uint64_t), n);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = policy_encode(type->item, json_object_array_get_idx(value, i), out);
	return r;
}

static int decode_option(const struct policy_type *type, struct policy_reader *in,
			 struct json_object **ret)
{
	uint64_t tag;
	int r;

	r = reader_uint(in, 1, &tag);
	if (r < 0)
		return r;
	if (tag == 1)
		return policy_decode(type->item, in, ret);
	if (tag > 1)
		return -EBADMSG;

	*ret = NULL; /* json-c's null */
	return 0;
}

static int encode_option(const struct policy_type *type, struct json_object *value,
			 struct policy_writer *out)
{
	int r;

	r = writer_uint(out, 1, value ? 1 : 0);
	if (r < 0 || !value)
		return r;
	return policy_encode(type->item, value, out);
}

/* clang-format off */
static const struct policy_codec {
	policy_decode_t decode;
	policy_encode_t encode;
} policy_codecs[_POLICY_KIND_MAX] = {
	[POLICY_BOOL]   = { decode_bool,   encode_bool },
	[POLICY_UINT]   = { decode_uint,   encode_uint },
	[POLICY_STRING] = { decode_string, encode_string },
	[POLICY_TIME]   = { decode_time,   encode_time },
	[POLICY_ENUM]   = { decode_enum,   encode_enum },
	[POLICY_MAP]    = { decode_map,    encode_map },
	[POLICY_VEC]    = { decode_vec,    encode_vec },
	[POLICY_OPTION] = { decode_option, encode_option },
};
/* clang-format on */

static int policy_decode(const struct policy_type *type, struct policy_reader *in,
			 struct json_object **ret)
{
	return policy_codecs[type->kind].decode(type, in, ret);
}

static int policy_encode(const struct policy_type *type, struct json_object *value,
			 struct policy_writer *out)
{
	return policy_codecs[type->kind].encode(type, value, out);
}

/**
 * ckpt_policy_decode() - policy.dat as serde_json would have the struct
 * @ret: the tree; the caller puts it
 *
 * Bytes behind the last field are passed over, as bincode does.
 *
 * Return: 0; -EBADMSG when it is no policy of sandlock-core 0.4.2; -EFBIG above CKPT_POLICY_MAX;
 * -ENOMEM.
 */
int ckpt_policy_decode(const void *data, size_t len, struct json_object **ret)
{
	cleanup_json struct json_object *policy = NULL;
	struct policy_reader in = { .p = data, .left = len };

	if (len > CKPT_POLICY_MAX)
		return -EFBIG;
	policy = json_object_new_object();
	if (!policy)
		return -ENOMEM;

	for (size_t i = 0; i < POLICY_N_FIELDS; i++) {
		struct json_object *value;
		int r;

		r = policy_decode(policy_fields[i].type, &in, &value);
		if (r < 0)
			return r;
		if (json_object_object_add(policy, policy_fields[i].name, value) < 0) {
			json_object_put(value);
			return -ENOMEM;
		}
	}

	*ret = steal_pointer(policy);
	return 0;
}

/**
 * ckpt_policy_encode() - the policy.dat of what ckpt_policy_decode() gives
 * @policy: every field but the Options must be there
 * @ret: the caller frees
 *
 * Return: 0; -EBADMSG on a field absent, of another type or out of range; -EFBIG above
 * CKPT_POLICY_MAX; -ENOMEM.
 */
int ckpt_policy_encode(struct json_object *policy, void **ret, size_t *ret_len)
{
	struct policy_writer out = {};
	int r = json_object_is_type(policy, json_type_object) ? 0 : -EBADMSG;

	for (size_t i = 0; r == 0 && i < POLICY_N_FIELDS; i++) {
		struct json_object *value = NULL;

		(void)json_object_object_get_ex(policy, policy_fields[i].name, &value);
		r = policy_encode(policy_fields[i].type, value, &out);
	}
	if (r < 0) {
		free(out.data);
		return r;
	}

	*ret = out.data;
	*ret_len = out.len;
	return 0;
}

/* How many bytes stand for empty, None, the first variant or 0: all of them zeros. */
static unsigned policy_unset_width(const struct policy_type *type)
{
	switch (type->kind) {
	case POLICY_UINT:
		return type->width;
	case POLICY_ENUM:
		return sizeof(uint32_t);
	case POLICY_BOOL:
	case POLICY_OPTION:
		return 1;
	default:
		return sizeof(uint64_t);
	}
}

/**
 * ckpt_policy_default() - the policy.dat of Policy::builder().build()
 * @ret: the caller frees
 *
 * Return: 0; -ENOMEM.
 */
int ckpt_policy_default(void **ret, size_t *ret_len)
{
	struct policy_writer out = {};
	int r = 0;

	for (size_t i = 0; r == 0 && i < POLICY_N_FIELDS; i++)
		r = writer_uint(&out, policy_unset_width(policy_fields[i].type),
				policy_fields[i].unset);
	if (r < 0) {
		free(out.data);
		return r;
	}

	*ret = out.data;
	*ret_len = out.len;
	return 0;
}
