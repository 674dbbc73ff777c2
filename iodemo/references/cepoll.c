/*
 * A minimal echo server on epoll, to compare reactors with.
 *
 *     cepoll PORT
 *
 * An exchange is three system calls: epoll_wait, recv, send. If send does not take all
 * bytes, the rest is kept, and the connection is not read until the rest is sent. SIGTERM
 * ends the server.
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
    size_t unsent; /* bytes at kept that are not sent yet */
    char *kept;    /* NULL if all is sent */
};

static int epoll;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(int operation, int socket, uint32_t events, void *data)
{
    struct epoll_event event = {.events = events, .data.ptr = data};
    if (epoll_ctl(epoll, operation, socket, &event) < 0)
        fail("epoll_ctl");
}

static void drop(struct connection *connection)
{
    close(connection->socket);
    free(connection->kept);
    free(connection);
}

static void *checked(void *memory)
{
    if (!memory)
        fail("malloc");
    return memory;
}

static void acceptOne(int port)
{
    int on = 1, accepted = accept4(port, NULL, NULL, SOCK_NONBLOCK);
    if (accepted < 0) {
        if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
            return;
        fail("accept4");
    }
    struct connection *connection = checked(calloc(1, sizeof *connection));
    connection->socket = accepted;
    setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    watch(EPOLL_CTL_ADD, accepted, EPOLLIN, connection);
}

static void echo(struct connection *connection)
{
    static char bytes[BYTES];
    ssize_t got = recv(connection->socket, bytes, BYTES, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        drop(connection);
        return;
    }
    ssize_t sent = send(connection->socket, bytes, got, MSG_NOSIGNAL);
    if (sent == got)
        return;
    if (sent < 0 && errno != EAGAIN) {
        drop(connection);
        return;
    }
    sent = sent < 0 ? 0 : sent;
    connection->unsent = got - sent;
    connection->kept = checked(malloc(connection->unsent));
    memcpy(connection->kept, bytes + sent, connection->unsent);
    watch(EPOLL_CTL_MOD, connection->socket, EPOLLOUT, connection);
}

static void resume(struct connection *connection)
{
    ssize_t sent =
        send(connection->socket, connection->kept, connection->unsent, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN)
            drop(connection);
        return;
    }
    connection->unsent -= sent;
    if (connection->unsent) {
        memmove(connection->kept, connection->kept + sent, connection->unsent);
        return;
    }
    free(connection->kept);
    connection->kept = NULL;
    watch(EPOLL_CTL_MOD, connection->socket, EPOLLIN, connection);
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
            struct connection *connection = ready[i].data.ptr;
            if (!connection)
                acceptOne(port);
            else if (connection->kept)
                resume(connection);
            else
                echo(connection);
        }
    }
}
