/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/options.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "format/cleanup.h"

#define OPTIONS_WORD_MAX 4096

enum option_kind {
	OPTION_FLAG, /* sets a bool */
	OPTION_RO,   /* sets it too, and goes on to the kernel */
	OPTION_RW,
	OPTION_NUMBER,
	OPTION_SIZE, /* a number with K, M or G behind it */
	OPTION_MODE,
	OPTION_FORM,
	OPTION_PASS,   /* the kernel's affair */
	OPTION_IGNORE, /* mount(8)'s affair */
	OPTION_REMOUNT,
};

struct option {
	const char *name; /* ends in * where anything may follow */
	enum option_kind kind;
	size_t field;
	uint64_t min, max;
	const char *arg;
	const char *help; /* NULL: not ours, in the man page alone */
};

#define FIELD(f) offsetof(struct ckfs_options, f)

/* clang-format off */
static const struct option options_table[] = {
	{ "foreground",        OPTION_FLAG,   FIELD(foreground),        0, 0, NULL, "stay in the foreground, messages to stderr" },
	{ "debug",             OPTION_FLAG,   FIELD(debug),             0, 0, NULL, "the same, and show every FUSE request" },
	{ "ro",                OPTION_RO,     FIELD(read_only),         0, 0, NULL, "no captures, removals or renames" },
	{ "allow_other",       OPTION_FLAG,   FIELD(allow_other),       0, 0, NULL, "let other users in, each to what is theirs" },
	{ "auto_unmount",      OPTION_FLAG,   FIELD(auto_unmount),      0, 0, NULL, "unmount even when all our processes are killed" },
	{ "unconfined",        OPTION_FLAG,   FIELD(unconfined),        0, 0, NULL, "leave the FUSE server unconfined" },
	{ "max_threads",       OPTION_NUMBER, FIELD(max_threads),       1, 64, "N", "threads of the FUSE server (4)" },
	{ "cache_size",        OPTION_SIZE,   FIELD(cache_size),        0, UINT64_C(1) << 50, "SIZE", "memory for expanded pages" },
	{ "reserve",           OPTION_NUMBER, FIELD(reserve_percent),   0, 99, "PERCENT", "of the store's filesystem to leave free (5)" },
	{ "idle_timeout",      OPTION_NUMBER, FIELD(idle_timeout_s),    0, 1U << 30, "SECONDS", "unmount when unused for so long (0: never)" },
	{ "deadline",          OPTION_NUMBER, FIELD(deadline_s),        1, 86400, "SECONDS", "how long to try to stop a process (10)" },
	{ "captures",          OPTION_NUMBER, FIELD(captures),          1, 1024, "N", "captures running at once (8)" },
	{ "captures_per_user", OPTION_NUMBER, FIELD(captures_per_user), 1, 1024, "N", "of these, of one user (2)" },
	{ "copy_limit",        OPTION_SIZE,   FIELD(copy_limit),        0, UINT64_C(1) << 50, "SIZE", "memory a capture may hold (a quarter of what is free)" },
	{ "mode",              OPTION_MODE,   FIELD(mode),              0, 0, "MODE", "auto or stop, where ctl is told none (auto)" },
	{ "store",             OPTION_FORM,   FIELD(form),              0, 0, "FORM", "plain, where ctl is told none" },

	{ "rw",          OPTION_RW },
	{ "dev",         OPTION_PASS }, { "nodev",       OPTION_PASS },
	{ "suid",        OPTION_PASS }, { "nosuid",      OPTION_PASS },
	{ "exec",        OPTION_PASS }, { "noexec",      OPTION_PASS },
	{ "sync",        OPTION_PASS }, { "dirsync",     OPTION_PASS },
	{ "noatime",     OPTION_PASS },

	{ "auto",        OPTION_IGNORE }, { "noauto",      OPTION_IGNORE },
	{ "user",        OPTION_IGNORE }, { "user=*",      OPTION_IGNORE },
	{ "nouser",      OPTION_IGNORE }, { "users",       OPTION_IGNORE },
	{ "nousers",     OPTION_IGNORE }, { "owner",       OPTION_IGNORE },
	{ "noowner",     OPTION_IGNORE }, { "group",       OPTION_IGNORE },
	{ "nogroup",     OPTION_IGNORE }, { "nofail",      OPTION_IGNORE },
	{ "_netdev",     OPTION_IGNORE }, { "defaults",    OPTION_IGNORE },
	{ "x-*",         OPTION_IGNORE }, { "X-*",         OPTION_IGNORE },
	{ "comment=*",   OPTION_IGNORE }, { "async",       OPTION_IGNORE },
	{ "atime",       OPTION_IGNORE }, { "diratime",    OPTION_IGNORE },
	{ "nodiratime",  OPTION_IGNORE }, { "relatime",    OPTION_IGNORE },
	{ "norelatime",  OPTION_IGNORE }, { "strictatime", OPTION_IGNORE },
	{ "nostrictatime", OPTION_IGNORE }, { "lazytime",  OPTION_IGNORE },
	{ "nolazytime",  OPTION_IGNORE }, { "iversion",    OPTION_IGNORE },
	{ "noiversion",  OPTION_IGNORE }, { "mand",        OPTION_IGNORE },
	{ "nomand",      OPTION_IGNORE }, { "silent",      OPTION_IGNORE },
	{ "loud",        OPTION_IGNORE },

	{ "remount",     OPTION_REMOUNT },
};

static const struct {
	const char *names, *arg, *help;
} options_short[] = {
	{ "-o", "OPTS",           "options, separated by commas" },
	{ "-r", NULL,             "the same as -o ro" },
	{ "-w", NULL,             "the same as -o rw" },
	{ "-s", NULL,             "ignore unknown options" },
	{ "-f", NULL,             "fake: check everything, mount nothing" },
	{ "-n", NULL,             "ignored: there is no mtab to leave alone" },
	{ "-v", NULL,             "say what was mounted" },
	{ "-N", "NAMESPACE",      "mount in this mount namespace: a PID or a path" },
	{ "-t", "TYPE",           "ignored: sandckpt or fuse.sandckpt" },
	{ "-h, --help", NULL,     "this help" },
	{ "-V, --version", NULL,  "the version" },
};
/* clang-format on */

__attribute__((format(printf, 2, 3))) static int options_fail(struct ckfs_options *options,
							      const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(options->said, sizeof(options->said), format, ap);
	va_end(ap);
	return -EINVAL;
}

/* Long options may be written with - where the mount option has _. */
static bool option_is(const struct option *option, const char *word, size_t len)
{
	const char *name = option->name;
	size_t i;

	for (i = 0; name[i] && name[i] != '*'; i++)
		if (word[i] != name[i] && !(name[i] == '_' && i > 0 && word[i] == '-'))
			return false;

	return name[i] == '*' || i == len;
}

/* @len of @word is its name: up to a =, or all of it. */
static const struct option *option_find(const char *word, size_t len)
{
	for (size_t i = 0; i < sizeof(options_table) / sizeof(options_table[0]); i++)
		if (option_is(&options_table[i], word, len))
			return &options_table[i];
	return NULL;
}

static bool option_takes_value(const struct option *option)
{
	return option->arg;
}

static int option_parse_number(const struct option *option, const char *value, uint64_t *ret)
{
	static const char units[] = "KMG";
	const char *unit;
	uint64_t n;
	char *end;

	/* strtoull() takes blanks and signs. */
	if (*value < '0' || *value > '9')
		return -EINVAL;
	errno = 0;
	n = strtoull(value, &end, 10);
	if (errno)
		return -errno;

	unit = *end && option->kind == OPTION_SIZE ? strchr(units, *end) : NULL;
	if (unit) {
		end++;
		if (__builtin_mul_overflow(n, UINT64_C(1) << (10 * (unit - units + 1)), &n))
			return -ERANGE;
	}
	if (*end)
		return -EINVAL;
	if (n < option->min || n > option->max)
		return -ERANGE;

	*ret = n;
	return 0;
}

static int option_pass(struct ckfs_options *options, const char *word)
{
	char *passed;

	if (asprintf(&passed, "%s%s%s", options->passed ?: "", options->passed ? "," : "", word) <
	    0)
		return options_fail(options, "not enough memory for the options");

	free(options->passed);
	options->passed = passed;
	return 0;
}

static int option_set_number(struct ckfs_options *options, const struct option *option,
			     const char *value)
{
	uint64_t *field = (void *)((char *)options + option->field);

	switch (option_parse_number(option, value, field)) {
	case 0:
		return 0;
	case -ERANGE:
		return options_fail(options,
				    "option \"%s\" takes a number from %llu to %llu, not \"%s\"",
				    option->name, (unsigned long long)option->min,
				    (unsigned long long)option->max, value);
	default:
		return options_fail(options, "option \"%s\" takes a number, not \"%s\"",
				    option->name, value);
	}
}

static int option_set_form(struct ckfs_options *options, const char *value)
{
	if (!strcmp(value, "packed"))
		return options_fail(options, "store=packed is not supported: say store=plain");
	if (strcmp(value, "plain") != 0)
		return options_fail(options, "option \"store\" takes plain, not \"%s\"", value);

	options->form = CKPT_FORM_PLAIN;
	return 0;
}

static int option_set_mode(struct ckfs_options *options, const char *value)
{
	enum ckpt_mode mode = ckpt_mode_parse(value);

	if ((int)mode < 0)
		return options_fail(options, "option \"mode\" takes auto or stop, not \"%s\"",
				    value);
	if (mode == CKPT_MODE_LIVE)
		return options_fail(options,
				    "mode=live is not supported: say mode=stop or mode=auto");
	options->mode = mode;
	return 0;
}

static int option_set(struct ckfs_options *options, const struct option *option, const char *value)
{
	bool *flag = (void *)((char *)options + option->field);

	switch (option->kind) {
	case OPTION_FLAG:
		*flag = true;
		return 0;
	case OPTION_RO:
	case OPTION_RW:
		options->read_only = option->kind == OPTION_RO;
		return 0;
	case OPTION_NUMBER:
	case OPTION_SIZE:
		return option_set_number(options, option, value);
	case OPTION_MODE:
		return option_set_mode(options, value);
	case OPTION_FORM:
		return option_set_form(options, value);
	case OPTION_PASS:
		return option_pass(options, option->name);
	case OPTION_IGNORE:
		return 0;
	case OPTION_REMOUNT:
		return options_fail(options,
				    "cannot remount \"%s\": unmount it, and mount it again with "
				    "the options wanted",
				    options->dir ?: "");
	}
	return -EINVAL;
}

/* One word of -o, or a long option without its dashes: "name" or "name=value". */
static int options_take_word(struct ckfs_options *options, const char *word)
{
	size_t len = strcspn(word, "=");
	const struct option *option = option_find(word, len);
	const char *value = word[len] ? word + len + 1 : NULL;

	if (!option) {
		if (options->sloppy)
			return 0;
		return options_fail(options, "unknown option \"%s\"", word);
	}
	if (option_takes_value(option) && (!value || !*value))
		return options_fail(options, "option \"%s\" needs a value: %s=%s", option->name,
				    option->name, option->arg);
	if (!option_takes_value(option) && value && option->kind != OPTION_IGNORE)
		return options->sloppy
			   ? 0
			   : options_fail(options, "option \"%s\" takes no value", option->name);

	return option_set(options, option, value);
}

/* The words of -o; a comma behind a backslash belongs to its word. */
static int options_take_list(struct ckfs_options *options, const char *list)
{
	char word[OPTIONS_WORD_MAX];
	size_t n = 0;
	int r;

	for (;; list++) {
		if (*list == '\\' && list[1]) {
			list++;
		} else if (*list == ',' || *list == '\0') {
			word[n] = '\0';
			r = n > 0 ? options_take_word(options, word) : 0;
			if (r < 0 || *list == '\0')
				return r;
			n = 0;
			continue;
		}
		if (n + 1 >= sizeof(word))
			return options_fail(options, "an option is longer than %zu bytes",
					    sizeof(word) - 1);
		word[n++] = *list;
	}
}

/* "--name=value", "--name value", "--name". *i moves on where the next word is the value. */
static int options_take_long(struct ckfs_options *options, int argc, char **argv, int *i)
{
	const char *word = argv[*i] + 2;
	const struct option *option = option_find(word, strcspn(word, "="));
	char both[OPTIONS_WORD_MAX];
	int n;

	if (!strcmp(word, "help")) {
		options->help = true;
		return 0;
	}
	if (!strcmp(word, "version")) {
		options->version = true;
		return 0;
	}
	if (!option || !option->help) {
		if (options->sloppy)
			return 0;
		return options_fail(options, "unknown option \"%s\"", argv[*i]);
	}
	if (!option_takes_value(option) || strchr(word, '='))
		return options_take_word(options, word);
	if (*i + 1 >= argc)
		return options_fail(options, "option \"%s\" needs a value: --%s=%s", argv[*i],
				    option->name, option->arg);

	n = snprintf(both, sizeof(both), "%s=%s", option->name, argv[++*i]);
	if (n < 0 || (size_t)n >= sizeof(both))
		return options_fail(options, "option \"--%s\" is longer than %zu bytes",
				    option->name, sizeof(both) - 1);
	return options_take_word(options, both);
}

static int options_take_short(struct ckfs_options *options, char letter, const char *arg)
{
	switch (letter) {
	case 'o':
		return options_take_list(options, arg);
	case 'N':
		options->mount_ns = arg;
		return 0;
	case 't':
	case 'n':
		return 0;
	case 'r':
		options->read_only = true;
		return 0;
	case 'w':
		options->read_only = false;
		return 0;
	case 's':
		options->sloppy = true;
		return 0;
	case 'f':
		options->fake = true;
		return 0;
	case 'v':
		options->verbose = true;
		return 0;
	case 'h':
		options->help = true;
		return 0;
	case 'V':
		options->version = true;
		return 0;
	default:
		return options_fail(options, "unknown option \"-%c\"", letter);
	}
}

/* A cluster: "-sfnv", "-o opts", "-oopts". */
static int options_take_cluster(struct ckfs_options *options, int argc, char **argv, int *i)
{
	const char *p;
	int r;

	for (p = argv[*i] + 1; *p; p++) {
		const char *arg = NULL;
		bool takes = strchr("oNt", *p);

		if (takes) {
			arg = p[1] ? p + 1 : *i + 1 < argc ? argv[++*i] : NULL;
			if (!arg)
				return options_fail(options, "option \"-%c\" needs a value", *p);
		}
		r = options_take_short(options, *p, arg);
		if (r < 0 || takes)
			return r;
	}

	return 0;
}

static int options_take_place(struct ckfs_options *options, const char *word)
{
	if (!options->spec)
		options->spec = word;
	else if (!options->dir)
		options->dir = word;
	else
		return options_fail(options,
				    "there is one store and one directory, not also \"%s\"", word);
	return 0;
}

/* Sloppiness is known before the first option that needs it: mount(8) puts -s behind -o. */
static bool options_are_sloppy(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		const char *p = argv[i];

		if (p[0] != '-' || p[1] == '-' || !p[1])
			continue;
		if (p[strcspn(p, "soNt")] == 's')
			return true;
		p += strcspn(p, "oNt");
		if (*p && !p[1])
			i++;
	}
	return false;
}

static int options_take_all(struct ckfs_options *options, int argc, char **argv)
{
	bool only_places = false;
	int r;

	for (int i = 1; i < argc; i++) {
		const char *word = argv[i];

		if (only_places || word[0] != '-' || !word[1]) {
			r = options_take_place(options, word);
		} else if (!strcmp(word, "--")) {
			only_places = true;
			r = 0;
		} else if (word[1] == '-') {
			r = options_take_long(options, argc, argv, &i);
		} else {
			r = options_take_cluster(options, argc, argv, &i);
		}
		if (r < 0)
			return r;
	}

	return 0;
}

/**
 * ckfs_options_parse() - take the command line of mount.sandckpt
 * @ret: filled in any case, points into @argv; ckfs_options_done() frees it
 *
 * mount(8) calls us as SPEC DIR [-sfnv] [-N ns] [-o opts] [-t type], a user as he likes.
 *
 * Return: 0; -EINVAL with a sentence in @ret->said.
 */
int ckfs_options_parse(int argc, char **argv, struct ckfs_options *ret)
{
	int r;

	*ret = (struct ckfs_options){
		.sloppy = options_are_sloppy(argc, argv),
		.max_threads = 4,
		.reserve_percent = 5,
		.deadline_s = 10,
		.captures = 8,
		.captures_per_user = 2,
		.mode = CKPT_MODE_AUTO,
		.form = CKPT_FORM_DEFAULT,
	};

	r = options_take_all(ret, argc, argv);
	if (r < 0 || ret->help || ret->version)
		return r;
	if (!ret->spec || !ret->dir)
		return options_fail(ret, "a store and a directory to mount it on are needed");
	if (ret->debug)
		ret->foreground = true;

	return 0;
}

void ckfs_options_done(struct ckfs_options *options)
{
	free(options->passed);
	options->passed = NULL;
}

static void options_help_line(FILE *f, const char *name, char joint, const char *arg,
			      const char *help)
{
	char left[64];

	snprintf(left, sizeof(left), "%s%.1s%s", name, arg ? &joint : "", arg ?: "");
	fprintf(f, "  %-22s %s\n", left, help);
}

/* Prints the help: at most 80 columns, from the table that parses. */
void ckfs_options_help(FILE *f)
{
	fputs("Usage: mount.sandckpt [OPTION...] STORE DIR\n"
	      "Mount a store of checkpoints. In DIR, write a PID to ctl to capture a process.\n\n",
	      f);
	for (size_t i = 0; i < sizeof(options_short) / sizeof(options_short[0]); i++)
		options_help_line(f, options_short[i].names, ' ', options_short[i].arg,
				  options_short[i].help);

	fputs("\nAfter -o, or as long options (--foreground, --captures=4):\n", f);
	for (size_t i = 0; i < sizeof(options_table) / sizeof(options_table[0]); i++)
		if (options_table[i].help)
			options_help_line(f, options_table[i].name, '=', options_table[i].arg,
					  options_table[i].help);

	fputs("\nSIZE takes K, M, G. Exit status: 0 mounted, 1 usage or permission, 2 system,\n"
	      "32 the mount failed. See mount.sandckpt(8).\n",
	      f);
}
