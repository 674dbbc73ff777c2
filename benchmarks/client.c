/*
 * A client that lets a server do as much as it can.
 *
 *     client KIND PORT BUSY IDLE WARMUP SECONDS
 *
 * BUSY connections do what KIND says; IDLE ones are open and silent. In a closed loop,
 * each waiting for its answer before it asks again:
 *
 *     echo    ask 64 bytes; what comes back is compared with them
 *     http    GET /; each page is compared with the first one
 *
 * or in bulk, as fast as it goes:
 *
 *     stream  receive bytes, the one at offset k being k % 256; this is checked during
 *             the warm-up; then the kernel drops them, so that the server is the limit
 *     sink    send bytes
 *
 * After WARMUP seconds it counts for SECONDS, and prints one line of JSON: exchanges
 * or bytes a second, how long exchanges took, and how much of its core it used. It
 * exits with 1 and a reason if anything goes wrong.
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
#define BULK 65536
#define DROPPED (1 << 20)
#define LATENCIES (1 << 24)

struct connection {
    int socket;
    size_t received; /* of an answer, or of a stream */
    int64_t asked;
    size_t asking;
    char question[ECHO];
    char answer[ANSWER + 1];
};

static const char request[] = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
static char pattern[BULK + 256], bytes[BULK];
static float *latencies;
static int64_t latencyCount;

static void fail(const char *what)
{
    fprintf(stderr, "client: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void failBadly(const char *what)
{
    errno = EBADMSG;
    fail(what);
}

static int64_t now(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

/* Idle connections are many: the port numbers of one address would not do. */
static int connected(int port, int number)
{
    struct sockaddr_in here = {.sin_family = AF_INET}, there = {.sin_family = AF_INET};
    int on = 1, made = socket(AF_INET, SOCK_STREAM, 0);
    if (made < 0)
        fail("socket");
    setsockopt(made, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK + number / 20000);
    there.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    there.sin_port = htons(port);
    if (bind(made, (struct sockaddr *)&here, sizeof here) < 0)
        fail("bind");
    if (connect(made, (struct sockaddr *)&there, sizeof there) < 0)
        fail("connect");
    setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return made;
}

static void ask(struct connection *asking)
{
    asking->received = 0;
    asking->asked = now(CLOCK_MONOTONIC);
    if (send(asking->socket, asking->question, asking->asking, MSG_NOSIGNAL)
        != (ssize_t)asking->asking)
        fail("send");
}

static void receive(struct connection *asking)
{
    ssize_t got = recv(asking->socket, asking->answer + asking->received,
                       ANSWER - asking->received, 0);
    if (got <= 0)
        fail("recv");
    asking->received += got;
}

static void answered(struct connection *asking)
{
    if (latencyCount < LATENCIES)
        latencies[latencyCount++] = (now(CLOCK_MONOTONIC) - asking->asked) / 1e3;
    ask(asking);
}

static int compare(const void *one, const void *other)
{
    float a = *(const float *)one, b = *(const float *)other;
    return (a > b) - (a < b);
}

/* What each kind does when a connection is ready, and how many exchanges or bytes that
   was. */

static int64_t echo(struct connection *asking, int isWarm)
{
    (void)isWarm;
    receive(asking);
    if (asking->received < ECHO)
        return 0;
    if (asking->received > ECHO || memcmp(asking->answer, asking->question, ECHO))
        failBadly("the answer is not the question");
    answered(asking);
    return 1;
}

static int64_t http(struct connection *asking, int isWarm)
{
    static char first[ANSWER];
    static size_t firstLength;
    (void)isWarm;
    receive(asking);
    asking->answer[asking->received] = 0;
    char *end = strstr(asking->answer, "\r\n\r\n");
    if (!end)
        return 0;
    char *field = strcasestr(asking->answer, "\r\nContent-Length:");
    if (strncmp(asking->answer, "HTTP/1.1 200 ", 13) || !field || field > end)
        failBadly("not a page of a known length");
    size_t length = strtoul(field + sizeof "\r\nContent-Length:" - 1, NULL, 10);
    size_t there = asking->received - (end + 4 - asking->answer);
    if (there < length)
        return 0;
    if (!firstLength)
        memcpy(first, end + 4, firstLength = length);
    if (there != firstLength || memcmp(end + 4, first, firstLength))
        failBadly("the page is not the first one");
    answered(asking);
    return 1;
}

static int64_t stream(struct connection *reading, int isWarm)
{
    ssize_t got = isWarm ? recv(reading->socket, NULL, DROPPED, MSG_TRUNC | MSG_DONTWAIT)
                         : recv(reading->socket, bytes, BULK, MSG_DONTWAIT);
    if (got <= 0)
        fail("recv");
    if (!isWarm && memcmp(bytes, pattern + reading->received % 256, got))
        failBadly("the stream is not what it should be");
    reading->received += got;
    return got;
}

static int64_t sink(struct connection *writing, int isWarm)
{
    (void)isWarm;
    ssize_t done = send(writing->socket, pattern, BULK, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (done <= 0)
        fail("send");
    return done;
}

static const struct kind {
    const char *name;
    int64_t (*serve)(struct connection *, int isWarm);
    const char *question; /* if it asks; what echo asks is random */
    uint32_t events;
} kinds[] = {
    {"echo", echo, "", EPOLLIN},
    {"http", http, request, EPOLLIN},
    {"stream", stream, NULL, EPOLLIN},
    {"sink", sink, NULL, EPOLLOUT},
};

int main(int count, char **words)
{
    const struct kind *kind = NULL;
    for (size_t i = 0; count == 7 && i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(words[1], kinds[i].name))
            kind = &kinds[i];
    if (!kind) {
        fprintf(stderr, "usage: client KIND PORT BUSY IDLE WARMUP SECONDS\n");
        return 2;
    }
    int port = atoi(words[2]), busy = atoi(words[3]), idle = atoi(words[4]);
    double warmup = atof(words[5]), seconds = atof(words[6]);
    struct connection *all = calloc(busy, sizeof *all);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    latencies = malloc(LATENCIES * sizeof *latencies);

    for (size_t at = 0; at < sizeof pattern; at++)
        pattern[at] = at % 256;
    for (int i = 0; i < idle; i++)
        connected(port, i);
    for (int i = 0; i < busy; i++) {
        struct epoll_event wanted = {.events = kind->events, .data.ptr = &all[i]};
        all[i].socket = connected(port, idle + i);
        epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].socket, &wanted);
    }
    for (int i = 0; i < busy && kind->question; i++) {
        all[i].asking = *kind->question ? strlen(kind->question) : ECHO;
        for (size_t at = 0; at < ECHO; at++)
            all[i].question[at] = random();
        memcpy(all[i].question, kind->question, strlen(kind->question));
        ask(&all[i]);
    }

    int64_t begun = now(CLOCK_MONOTONIC) + (int64_t)(warmup * 1e9), cpu = 0;
    int64_t end = begun + (int64_t)(seconds * 1e9), time = 0, done = 0;
    while (time < end) {
        struct epoll_event ready[EVENTS];
        int readyCount = epoll_wait(epoll, ready, EVENTS, 5000);
        if (readyCount <= 0) {
            errno = readyCount ? errno : ETIMEDOUT;
            fail("no answer");
        }
        for (int i = 0; i < readyCount; i++)
            done += kind->serve(ready[i].data.ptr, cpu != 0);
        time = now(CLOCK_MONOTONIC);
        if (time >= begun && !cpu) {
            begun = time;
            cpu = now(CLOCK_PROCESS_CPUTIME_ID);
            done = latencyCount = 0;
        }
    }
    cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    if (!done) {
        errno = ENODATA;
        fail("nothing was done");
    }
    double lasted = (time - begun) / 1e9;
    printf("{\"throughput\": %.1f, ", done / lasted);
    if (latencyCount) {
        qsort(latencies, latencyCount, sizeof *latencies, compare);
        printf("\"p50_us\": %.1f, \"p99_us\": %.1f, ", latencies[latencyCount / 2],
               latencies[latencyCount * 99 / 100]);
    }
    printf("\"load_cpu\": %.3f}\n", cpu / 1e9 / lasted);
    return 0;
}
