/* SPDX-License-Identifier: Apache-2.0 */
#include "fs/ctl.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "format/name.h"

__attribute__((format(printf, 2, 3))) static int command_fail(char said[CKPT_SAID_SIZE],
							      const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(said, CKPT_SAID_SIZE, format, ap);
	va_end(ap);
	return -EINVAL;
}

static int command_take_name(struct ckfs_command *command, const char *value, char *said)
{
	if (command->name[0])
		return command_fail(said, "the command says name= twice");
	if (ckpt_name_check(value) < 0)
		return command_fail(said, "\"%.64s\" cannot be the name of a checkpoint", value);

	strcpy(command->name, value); /* at most 255 bytes: checked */
	return 0;
}

static int command_take_mode(struct ckfs_command *command, const char *value, char *said)
{
	if (command->mode != _CKPT_MODE_INVALID)
		return command_fail(said, "the command says mode= twice");
	command->mode = ckpt_mode_parse(value);
	if ((int)command->mode < 0)
		return command_fail(said, "mode= takes auto, live or stop, not \"%.64s\"", value);
	return 0;
}

static int command_take_form(struct ckfs_command *command, const char *value, char *said)
{
	if (command->form != CKPT_FORM_DEFAULT)
		return command_fail(said, "the command says store= twice");
	if (!strcmp(value, "plain"))
		command->form = CKPT_FORM_PLAIN;
	else if (!strcmp(value, "packed"))
		command->form = CKPT_FORM_PACKED;
	else
		return command_fail(said, "store= takes packed or plain, not \"%.64s\"", value);
	return 0;
}

static int command_take_cow(struct ckfs_command *command, const char *value, char *said)
{
	if (command->cow[0])
		return command_fail(said, "the command says cow= twice");
	if (!*value)
		return command_fail(said, "cow= takes a path");

	strcpy(command->cow, value); /* shorter than the command */
	return 0;
}

static const struct {
	const char *key;
	int (*take)(struct ckfs_command *command, const char *value, char *said);
} command_keys[] = {
	{ "name=", command_take_name },
	{ "mode=", command_take_mode },
	{ "store=", command_take_form },
	{ "cow=", command_take_cow },
};

static int command_take_pid(struct ckfs_command *command, const char *word, char *said)
{
	long pid = 0;

	for (const char *p = word; *p; p++) {
		if (*p < '0' || *p > '9' || (*p == '0' && p == word))
			return command_fail(said, "\"%.64s\" is not a process id", word);
		pid = pid * 10 + (*p - '0');
		if (pid > INT_MAX)
			return command_fail(said, "\"%.64s\" is not a process id", word);
	}

	command->pid = (pid_t)pid;
	return 0;
}

static int command_take_word(struct ckfs_command *command, const char *word, char *said)
{
	if (command->pid == 0)
		return command_take_pid(command, word, said);

	for (size_t i = 0; i < sizeof(command_keys) / sizeof(command_keys[0]); i++) {
		size_t len = strlen(command_keys[i].key);

		if (!strncmp(word, command_keys[i].key, len))
			return command_keys[i].take(command, word + len, said);
	}

	return command_fail(said, "the command knows no word \"%.64s\"", word);
}

/**
 * ckfs_command_parse() - take one command as it was written to ctl
 * @text: @len bytes, from anybody; need not end in a NUL
 * @ret: filled up to the word that is wrong, zeroed before
 * @ret_said: a sentence on failure
 *
 * Return: 0; -EINVAL.
 */
int ckfs_command_parse(const char *text, size_t len, struct ckfs_command *ret,
		       char ret_said[CKPT_SAID_SIZE])
{
	char copy[CKFS_COMMAND_MAX + 1];
	char *word, *rest = copy;
	int r;

	*ret = (struct ckfs_command){ .mode = _CKPT_MODE_INVALID };

	if (len > CKFS_COMMAND_MAX)
		return command_fail(ret_said, "a command has at most %d bytes", CKFS_COMMAND_MAX);
	if (len > 0 && text[len - 1] == '\n')
		len--;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (strlen(copy) != len)
		return command_fail(ret_said, "the command holds a NUL byte");
	if (memchr(copy, '\n', len))
		return command_fail(ret_said, "one write takes one command, in one line");

	while ((word = strsep(&rest, " \t"))) {
		if (!*word)
			continue;
		r = command_take_word(ret, word, ret_said);
		if (r < 0)
			return r;
	}

	return ret->pid > 0 ? 0 : command_fail(ret_said, "the command names no process");
}
