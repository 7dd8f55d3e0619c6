/*
 * Floors that are sockets and wake-ups: round trips between two processes.
 *
 *     udp:BYTES     datagrams over the loopback, both sides polling without ever sleeping
 *     tcp:BYTES     a stream over the loopback (TCP_NODELAY), likewise
 *     futex:0       each side sleeps until the other wakes it
 */
#include "batch.h"
#include <arpa/inet.h>
#include <linux/futex.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

static char data[4096];

/* Two sockets that are connected to each other. */
static void sockets(int type, int fd[2])
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}}, b = a;
	socklen_t len = sizeof a;
	int one = 1, listener = socket(AF_INET, type, 0);

	fd[0] = listener;
	fd[1] = socket(AF_INET, type, 0);
	if (bind(listener, (struct sockaddr *)&a, len) || getsockname(listener, (struct sockaddr *)&a, &len))
		die("bind a socket");
	if (type == SOCK_STREAM) {
		if (listen(listener, 1) || connect(fd[1], (struct sockaddr *)&a, len))
			die("connect two sockets");
		fd[0] = accept(listener, NULL, NULL);
		close(listener);
		setsockopt(fd[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		setsockopt(fd[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	} else if (bind(fd[1], (struct sockaddr *)&b, len) || getsockname(fd[1], (struct sockaddr *)&b, &len) ||
		   connect(fd[0], (struct sockaddr *)&b, len) || connect(fd[1], (struct sockaddr *)&a, len)) {
		die("connect two sockets");
	}
}

/* Polls until bytes are there; 0: the other side is gone. */
static int receive(int fd, size_t bytes)
{
	size_t got = 0;

	while (got < bytes) {
		ssize_t n = recv(fd, data + got, bytes - got, MSG_DONTWAIT);
		if (n > 0)
			got += (size_t)n;
		else if (n == 0 || (errno != EAGAIN && errno != EINTR))
			return 0;
	}
	return 1;
}

static void sent(int fd, size_t bytes)
{
	if (send(fd, data, bytes, MSG_NOSIGNAL) != (ssize_t)bytes)
		die("send %zu bytes", bytes);
}

static void pingpong(const struct item *item, const struct options *o, int type)
{
	int fd[2];
	pid_t pid;

	if (item->bytes < 1 || item->bytes > sizeof data) {
		none(item, "1 to 4096 bytes");
		return;
	}
	sockets(type, fd);
	pid = child(o->cpu[1]);
	if (pid == 0) {
		close(fd[0]);
		while (receive(fd[1], item->bytes) && data[0] == 0)
			sent(fd[1], item->bytes);
		_exit(0);
	}
	close(fd[1]);
	data[0] = 0;
	MEASURE(item, o->ms, {
		sent(fd[0], item->bytes);
		if (!receive(fd[0], item->bytes))
			die("receive");
	});
	data[0] = 1;
	sent(fd[0], item->bytes);
	waitpid(pid, NULL, 0);
	close(fd[0]);
}

static void futex_wait_change(uint32_t *word, uint32_t last)
{
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == last)
		syscall(SYS_futex, word, FUTEX_WAIT, last, NULL, NULL, 0);
}

static void futex_set(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
	syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void futexes(const struct item *item, const struct options *o)
{
	uint32_t *word = shared(2 * 4096), *back = word + 1024, round = 0, last = 0;
	pid_t pid = child(o->cpu[1]);

	if (pid == 0) {
		for (; futex_wait_change(word, last), *word != UINT32_MAX; futex_set(back, last))
			last = *word;
		_exit(0);
	}
	MEASURE(item, o->ms, (round++, futex_set(word, round), futex_wait_change(back, round - 1)));
	futex_set(word, UINT32_MAX);
	waitpid(pid, NULL, 0);
	munmap(word, 2 * 4096);
}

int main(int argc, char **argv)
{
	struct options o;

	options(&o, argc, argv, 0);
	pin(o.cpu[0]);
	for (struct item *i = o.item; i < o.item + o.items; i++)
		if (is(i, "udp"))
			pingpong(i, &o, SOCK_DGRAM);
		else if (is(i, "tcp"))
			pingpong(i, &o, SOCK_STREAM);
		else if (is(i, "futex"))
			futexes(i, &o);
		else
			none(i, "no such item");
	return 0;
}
