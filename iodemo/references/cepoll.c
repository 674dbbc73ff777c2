/*
 * An echo server on epoll, as plain as it gets: the floor to hold a reactor against.
 *
 *     cepoll PORT
 *
 * An exchange is three system calls: epoll_wait, recv, send. What send does not take
 * is kept, and its connection is not read before that is gone. It ends by SIGTERM.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256
#define BYTES 65536

struct connection {
    int socket;
    size_t unsent;
    char *kept;
};

static int epoll;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(int how, int socket, uint32_t events, void *whose)
{
    struct epoll_event wanted = {.events = events, .data.ptr = whose};
    if (epoll_ctl(epoll, how, socket, &wanted) < 0)
        fail("epoll_ctl");
}

static void drop(struct connection *it)
{
    close(it->socket);
    free(it->kept);
    free(it);
}

static void *enough(void *memory)
{
    if (!memory)
        fail("malloc");
    return memory;
}

static void greet(int port)
{
    int on = 1, made = accept4(port, NULL, NULL, SOCK_NONBLOCK);
    if (made < 0) {
        if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
            return;
        fail("accept4");
    }
    struct connection *it = enough(calloc(1, sizeof *it));
    it->socket = made;
    setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    watch(EPOLL_CTL_ADD, made, EPOLLIN, it);
}

static void echo(struct connection *it)
{
    static char bytes[BYTES];
    ssize_t got = recv(it->socket, bytes, BYTES, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        drop(it);
        return;
    }
    ssize_t sent = send(it->socket, bytes, got, MSG_NOSIGNAL);
    if (sent == got)
        return;
    if (sent < 0 && errno != EAGAIN) {
        drop(it);
        return;
    }
    sent = sent < 0 ? 0 : sent;
    it->unsent = got - sent;
    it->kept = enough(malloc(it->unsent));
    memcpy(it->kept, bytes + sent, it->unsent);
    watch(EPOLL_CTL_MOD, it->socket, EPOLLOUT, it);
}

static void resume(struct connection *it)
{
    ssize_t sent = send(it->socket, it->kept, it->unsent, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN)
            drop(it);
        return;
    }
    it->unsent -= sent;
    if (it->unsent) {
        memmove(it->kept, it->kept + sent, it->unsent);
        return;
    }
    free(it->kept);
    it->kept = NULL;
    watch(EPOLL_CTL_MOD, it->socket, EPOLLIN, it);
}

int main(int count, char **words)
{
    struct sockaddr_in here = {.sin_family = AF_INET};
    int on = 1, port = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    epoll = epoll_create1(0);
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    here.sin_port = htons(count > 1 ? atoi(words[1]) : 0);
    setsockopt(port, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(port, (struct sockaddr *)&here, sizeof here) < 0 || listen(port, 4096) < 0)
        fail("listen");
    watch(EPOLL_CTL_ADD, port, EPOLLIN, NULL);
    for (;;) {
        struct epoll_event ready[EVENTS];
        int readyCount = epoll_wait(epoll, ready, EVENTS, -1);
        for (int i = 0; i < readyCount; i++) {
            struct connection *it = ready[i].data.ptr;
            if (!it)
                greet(port);
            else if (it->kept)
                resume(it);
            else
                echo(it);
        }
    }
}
