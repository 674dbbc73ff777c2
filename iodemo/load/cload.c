/*
 * A load in C, with which iodemo load is compared (calibration).
 *
 *     cload KIND PORT ACTIVE IDLE WARMUP SECONDS
 *
 * It waits until a server listens on PORT of 127.0.0.1. Each connection gets one answer
 * before the next one is made, so a short backlog suffices. Then IDLE connections stay
 * open without a request. Each of the ACTIVE ones sends its next request when it has
 * received the whole answer to the last one:
 *
 *     echo    64 random bytes, with which the answer is compared
 *     http:/  GET /; its answer is compared with the first one
 *
 * WARMUP seconds later the load counts for SECONDS. It prints a round as iodemo load
 * --json does, except that requests in flight at the end of the window have no latency.
 * After an error it prints the reason and exits with status 1.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 256
#define ECHO 64
#define ANSWER 4096
#define LATENCIES (1 << 24)
#define LISTENING_WITHIN INT64_C(30000000000) /* ns */
#define ANSWERED_WITHIN 5 /* s */

struct connection {
    int socket;
    size_t received; /* bytes of the answer */
    int64_t sent;    /* when the request was, ns */
    char request[ECHO];
    size_t requestLength;
    char answer[ANSWER + 1];
};

static float *latencies; /* us */
static int64_t latencyCount;

static void fail(const char *what)
{
    fprintf(stderr, "the load in C: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void failWith(int error, const char *what)
{
    errno = error;
    fail(what);
}

static int64_t now(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

/* A source address has some 28,000 ports, so every 20,000 connections share one. */
static int connected(int port, int number)
{
    static int isListening;
    struct sockaddr_in here = {.sin_family = AF_INET}, there = {.sin_family = AF_INET};
    struct timeval patience = {.tv_sec = ANSWERED_WITHIN};
    int64_t deadline = now(CLOCK_MONOTONIC) + LISTENING_WITHIN;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK + number / 20000);
    there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    there.sin_port = htons(port);
    for (;;) {
        int on = 1, made = socket(AF_INET, SOCK_STREAM, 0);
        if (made < 0)
            fail("socket");
        setsockopt(made, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(made, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        if (bind(made, (struct sockaddr *)&here, sizeof here) < 0)
            fail("bind");
        if (connect(made, (struct sockaddr *)&there, sizeof there) == 0) {
            isListening = 1;
            return made;
        }
        if (isListening || errno != ECONNREFUSED || now(CLOCK_MONOTONIC) > deadline)
            fail("connect");
        close(made);
        usleep(10000);
    }
}

static void ask(struct connection *asking)
{
    asking->received = 0;
    asking->sent = now(CLOCK_MONOTONIC);
    if (send(asking->socket, asking->request, asking->requestLength, MSG_NOSIGNAL)
        != (ssize_t)asking->requestLength)
        fail("send");
}

static void receive(struct connection *asking)
{
    ssize_t got = recv(asking->socket, asking->answer + asking->received,
                       ANSWER - asking->received, 0);
    if (got < 0)
        failWith(errno == EAGAIN ? ETIMEDOUT : errno, "recv");
    if (got == 0)
        failWith(asking->received == ANSWER ? EMSGSIZE : ECONNRESET, "recv");
    asking->received += got;
}

static int compareFloats(const void *one, const void *other)
{
    float a = *(const float *)one, b = *(const float *)other;
    return (a > b) - (a < b);
}

/* Receive, and return whether the answer is whole. */

static int receiveEcho(struct connection *asking)
{
    receive(asking);
    if (asking->received < ECHO)
        return 0;
    if (asking->received > ECHO || memcmp(asking->answer, asking->request, ECHO))
        failWith(EBADMSG, "the answer is not the request");
    return 1;
}

static int receivePage(struct connection *asking)
{
    static char first[ANSWER];
    static size_t firstLength;
    receive(asking);
    asking->answer[asking->received] = 0;
    char *end = strstr(asking->answer, "\r\n\r\n");
    if (!end)
        return 0;
    char *field = strcasestr(asking->answer, "\r\nContent-Length:");
    if (strncmp(asking->answer, "HTTP/1.1 200 ", 13) || !field || field > end)
        failWith(EBADMSG, "the answer is not a page of a known length");
    size_t length = strtoul(field + sizeof "\r\nContent-Length:" - 1, NULL, 10);
    size_t got = asking->received - (end + 4 - asking->answer);
    if (got < length)
        return 0;
    if (!firstLength)
        memcpy(first, end + 4, firstLength = length);
    if (got != firstLength || memcmp(end + 4, first, firstLength))
        failWith(EBADMSG, "the page is not the first one");
    return 1;
}

static const struct kind {
    const char *name;
    int (*receiveAnswer)(struct connection *);
    const char *request; /* NULL: random bytes */
} kinds[] = {
    {"echo", receiveEcho, NULL},
    {"http:/", receivePage,
     "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"},
};

static void makeConnection(const struct kind *kind, struct connection *made, int port,
                           int number)
{
    made->socket = connected(port, number);
    made->requestLength = kind->request ? strlen(kind->request) : ECHO;
    for (size_t at = 0; at < ECHO; at++)
        made->request[at] = random();
    if (kind->request)
        memcpy(made->request, kind->request, made->requestLength);
    ask(made);
    while (!kind->receiveAnswer(made))
        ;
}

static float percentile(double fraction)
{
    return latencies[(int64_t)(fraction * (latencyCount - 1) + 0.5)];
}

int main(int count, char **words)
{
    const struct kind *kind = NULL;
    for (size_t i = 0; count == 7 && i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(words[1], kinds[i].name))
            kind = &kinds[i];
    if (!kind) {
        fprintf(stderr, "usage: cload echo|http:/ PORT ACTIVE IDLE WARMUP SECONDS\n");
        return 2;
    }
    int port = atoi(words[2]), active = atoi(words[3]), idle = atoi(words[4]);
    double warmup = atof(words[5]), seconds = atof(words[6]);
    struct connection *all = calloc(active, sizeof *all);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    latencies = malloc(LATENCIES * sizeof *latencies);

    for (int i = 0; i < idle; i++) {
        struct connection silent = {0};
        makeConnection(kind, &silent, port, i);
    }
    for (int i = 0; i < active; i++) {
        struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = &all[i]};
        makeConnection(kind, &all[i], port, idle + i);
        epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].socket, &wanted);
    }
    for (int i = 0; i < active; i++)
        ask(&all[i]);

    int64_t begin = now(CLOCK_MONOTONIC) + (int64_t)(warmup * 1e9), time = 0;
    int64_t length = (int64_t)(seconds * 1e9), cpu = 0, requests = 0;
    while (time < begin + length) {
        struct epoll_event ready[EVENTS];
        int readyCount = epoll_wait(epoll, ready, EVENTS, 1000 * ANSWERED_WITHIN);
        if (readyCount <= 0)
            failWith(readyCount ? errno : ETIMEDOUT, "there was no answer");
        for (int i = 0; i < readyCount; i++) {
            struct connection *asking = ready[i].data.ptr;
            if (!kind->receiveAnswer(asking))
                continue;
            if (latencyCount < LATENCIES)
                latencies[latencyCount++]
                    = (now(CLOCK_MONOTONIC) - asking->sent) / 1e3;
            requests++;
            ask(asking);
        }
        time = now(CLOCK_MONOTONIC);
        if (time >= begin && !cpu) {
            begin = time;
            cpu = now(CLOCK_PROCESS_CPUTIME_ID);
            requests = latencyCount = 0;
        }
    }
    cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    if (!requests)
        failWith(ENODATA, "no request was answered");
    double window = (time - begin) / 1e9;
    qsort(latencies, latencyCount, sizeof *latencies, compareFloats);
    printf("{\"requests\": %lld, \"seconds\": %.6f, \"throughput\": %.3f, "
           "\"latency_us\": {\"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, "
           "\"p99.9\": %.3f, \"max\": %.3f}, \"load_cpu_fraction\": %.4f, "
           "\"server_cpu_us_per_request\": null, \"server_user_s\": null, "
           "\"server_system_s\": null, \"server_rss_kib\": null, "
           "\"context_switches\": null, \"syscalls_per_request\": null}\n",
           (long long)requests, window, requests / window, percentile(0.5),
           percentile(0.9), percentile(0.99), percentile(0.999), percentile(1),
           cpu / 1e9 / window);
    return 0;
}
