/* SPDX-License-Identifier: Apache-2.0 */
#include "capture/fd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "capture/target.h"
#include "format/checkpoint.h"
#include "format/cleanup.h"

/* A socket tells nothing through /proc: it is borrowed, asked, and given back. */

static const char *const families[] = {
	[AF_UNIX] = "unix",	  [AF_INET] = "inet",
	[AF_AX25] = "ax25",	  [AF_INET6] = "inet6",
	[AF_KEY] = "key",	  [AF_NETLINK] = "netlink",
	[AF_PACKET] = "packet",	  [AF_RDS] = "rds",
	[AF_PPPOX] = "pppox",	  [AF_LLC] = "llc",
	[AF_IB] = "ib",		  [AF_CAN] = "can",
	[AF_TIPC] = "tipc",	  [AF_BLUETOOTH] = "bluetooth",
	[AF_ALG] = "alg",	  [AF_NFC] = "nfc",
	[AF_VSOCK] = "vsock",	  [AF_KCM] = "kcm",
	[AF_QIPCRTR] = "qipcrtr", [AF_SMC] = "smc",
	[AF_XDP] = "xdp",
};

static const char *const types[] = {
	[SOCK_STREAM] = "stream", [SOCK_DGRAM] = "dgram",	  [SOCK_RAW] = "raw",
	[SOCK_RDM] = "rdm",	  [SOCK_SEQPACKET] = "seqpacket", [SOCK_DCCP] = "dccp",
	[SOCK_PACKET] = "packet",
};

/* include/net/tcp_states.h */
static const char *const tcp_states[] = {
	[1] = "established", [2] = "syn_sent",	[3] = "syn_recv", [4] = "fin_wait1",
	[5] = "fin_wait2",   [6] = "time_wait", [7] = "close",	  [8] = "close_wait",
	[9] = "last_ack",    [10] = "listen",	[11] = "closing", [12] = "new_syn_recv",
};

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
	struct sockaddr_storage storage;
};

static int name_of(const char *const *names, size_t n, int value, char **ret)
{
	char number[16];

	if (value >= 0 && (size_t)value < n && names[value])
		return ckpt_strdup(names[value], ret);

	(void)snprintf(number, sizeof(number), "%d", value);
	return ckpt_strdup(number, ret);
}

#define NAME_OF(names, value, ret) name_of(names, sizeof(names) / sizeof(names[0]), value, ret)

static int get_int(int sock, int option, int *ret)
{
	socklen_t len = sizeof(*ret);

	return getsockopt(sock, SOL_SOCKET, option, ret, &len) < 0 ? -errno : 0;
}

static int print_inet(const union address *address, char **ret)
{
	char host[INET_ADDRSTRLEN], text[64];

	if (!inet_ntop(AF_INET, &address->in.sin_addr, host, sizeof(host)))
		return -errno;

	(void)snprintf(text, sizeof(text), "%s:%u", host, ntohs(address->in.sin_port));
	return ckpt_strdup(text, ret);
}

static int print_inet6(const union address *address, char **ret)
{
	char host[INET6_ADDRSTRLEN], text[96], scope[16] = "";

	if (!inet_ntop(AF_INET6, &address->in6.sin6_addr, host, sizeof(host)))
		return -errno;

	/* By number: names of interfaces are those of the target's network namespace. */
	if (address->in6.sin6_scope_id)
		(void)snprintf(scope, sizeof(scope), "%%%u", address->in6.sin6_scope_id);
	(void)snprintf(text, sizeof(text), "[%s%s]:%u", host, scope, ntohs(address->in6.sin6_port));
	return ckpt_strdup(text, ret);
}

/* An abstract name starts with a NUL and may hold more: each becomes @, as in /proc/net/unix. */
static int print_unix(const union address *address, socklen_t len, char **ret)
{
	char text[sizeof(address->un.sun_path) + 1];
	size_t n = len - offsetof(struct sockaddr_un, sun_path);

	if (len <= offsetof(struct sockaddr_un, sun_path))
		return 0;
	if (n > sizeof(address->un.sun_path))
		n = sizeof(address->un.sun_path);

	memcpy(text, address->un.sun_path, n);
	text[n] = '\0';
	if (text[0] == '\0')
		for (size_t i = 0; i < n; i++)
			text[i] = text[i] ? text[i] : '@';
	return ckpt_strdup(text, ret);
}

static int print(const union address *address, socklen_t len, char **ret)
{
	switch (address->any.sa_family) {
	case AF_INET:
		return print_inet(address, ret);
	case AF_INET6:
		return print_inet6(address, ret);
	case AF_UNIX:
		return print_unix(address, len, ret);
	default:
		return 0;
	}
}

static int read_addresses(int sock, int family, struct ckpt_fd *fd, bool *ret_connected,
			  const char **ret_call)
{
	union address address = {};
	socklen_t len = sizeof(address);
	int r;

	*ret_call = "getsockname";
	if (getsockname(sock, &address.any, &len) < 0)
		return errno == EOPNOTSUPP ? 0 : -errno;
	r = print(&address, len, family == AF_UNIX ? &fd->unix_path : &fd->local);
	if (r < 0)
		return r;

	*ret_call = "getpeername";
	address = (union address){};
	len = sizeof(address);
	if (getpeername(sock, &address.any, &len) < 0)
		return 0; /* not connected, or a kind that never is */
	/* A netlink socket always has a peer: the kernel, unless it chose another. */
	*ret_connected = family != AF_NETLINK;
	return print(&address, len, &fd->peer);
}

static int read_state(int sock, int family, int protocol, bool connected, struct ckpt_fd *fd)
{
	struct tcp_info info = {};
	socklen_t len = sizeof(info);
	int listening = 0;

	if ((family == AF_INET || family == AF_INET6) && protocol == IPPROTO_TCP &&
	    getsockopt(sock, IPPROTO_TCP, TCP_INFO, &info, &len) == 0)
		return NAME_OF(tcp_states, info.tcpi_state, &fd->sock_state);

	(void)get_int(sock, SO_ACCEPTCONN, &listening);
	if (listening)
		return ckpt_strdup("listen", &fd->sock_state);

	return ckpt_strdup(connected ? "established" : "unconnected", &fd->sock_state);
}

static int ask(int sock, struct ckpt_fd *fd, const char **ret_call)
{
	int family, type, protocol = 0, r;
	bool connected = false;

	*ret_call = "getsockopt";
	r = get_int(sock, SO_DOMAIN, &family);
	if (r == 0)
		r = get_int(sock, SO_TYPE, &type);
	if (r < 0)
		return r;
	(void)get_int(sock, SO_PROTOCOL, &protocol);

	r = NAME_OF(families, family, &fd->family);
	if (r == 0)
		r = NAME_OF(types, type, &fd->sock_type);
	if (r == 0)
		r = read_addresses(sock, family, fd, &connected, ret_call);
	if (r == 0)
		r = read_state(sock, family, protocol, connected, fd);
	return r;
}

static int read_socket(const struct capture_view *view, const struct capture_fd_facts *facts,
		       struct ckpt_fd *fd, const char **ret_call)
{
	cleanup_fd int sock = -EBADF;

	*ret_call = "pidfd_getfd";
	sock = pidfd_getfd(view->pidfd, facts->fd, 0);
	if (sock < 0)
		return -errno;

	return ask(sock, fd, ret_call);
}

static bool probe_socket(const struct capture_fd_facts *facts)
{
	/* Not by the mode alone: an O_PATH fd of a bound socket's file is no socket. */
	return strncmp(facts->path, "socket:[", 8) == 0;
}

const struct capture_fd_class capture_fd_socket = { "socket", probe_socket, read_socket };
