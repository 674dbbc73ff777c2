/*
 * An echo server on epoll, as plain as it gets: the floor to hold a reactor against.
 *
 *     server PORT
 *
 * It ends when its standard input does.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256
#define BYTES 65536

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(int epoll, int descriptor)
{
    struct epoll_event wanted = {.events = EPOLLIN, .data.fd = descriptor};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &wanted) < 0)
        fail("epoll_ctl");
}

int main(int count, char **words)
{
    struct sockaddr_in here = {.sin_family = AF_INET};
    int on = 1, epoll = epoll_create1(0), port = socket(AF_INET, SOCK_STREAM, 0);
    static char bytes[BYTES];
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    here.sin_port = htons(count > 1 ? atoi(words[1]) : 0);
    setsockopt(port, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(port, (struct sockaddr *)&here, sizeof here) < 0 || listen(port, 4096) < 0)
        fail("listen");
    watch(epoll, port);
    watch(epoll, STDIN_FILENO);
    for (;;) {
        struct epoll_event ready[EVENTS];
        int readyCount = epoll_wait(epoll, ready, EVENTS, -1);
        for (int i = 0; i < readyCount; i++) {
            int descriptor = ready[i].data.fd;
            if (descriptor == STDIN_FILENO)
                return 0;
            if (descriptor == port) {
                int made = accept4(port, NULL, NULL, SOCK_NONBLOCK);
                if (made < 0)
                    continue;
                setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                watch(epoll, made);
                continue;
            }
            ssize_t got = recv(descriptor, bytes, BYTES, 0);
            /* What does not fit into the socket's buffer closes the connection: the
               measurement's messages always fit. */
            if (got <= 0 || send(descriptor, bytes, got, MSG_NOSIGNAL) != got)
                close(descriptor);
        }
    }
}
