/*
 * A closed-loop echo client: as many exchanges as the server allows, each on a
 * connection that waits for its answer before it asks again.
 *
 *     client PORT BUSY IDLE BYTES WARMUP SECONDS
 *
 * BUSY connections exchange BYTES bytes; IDLE ones are open and silent. Every answer
 * is compared with what was asked. After WARMUP seconds it counts for SECONDS, and
 * prints one line of JSON. It exits with 1 and a reason if anything goes wrong.
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
#define LATENCIES (1 << 24)

struct connection {
    int socket;
    size_t received;
    int64_t asked;
    char *question;
};

static void fail(const char *what)
{
    fprintf(stderr, "client: %s: %s\n", what, strerror(errno));
    exit(1);
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

static void ask(struct connection *asking, size_t bytes)
{
    asking->received = 0;
    asking->asked = now(CLOCK_MONOTONIC);
    if (send(asking->socket, asking->question, bytes, MSG_NOSIGNAL) != (ssize_t)bytes)
        fail("send");
}

static int compare(const void *one, const void *other)
{
    float a = *(const float *)one, b = *(const float *)other;
    return (a > b) - (a < b);
}

int main(int count, char **words)
{
    if (count != 7) {
        fprintf(stderr, "usage: client PORT BUSY IDLE BYTES WARMUP SECONDS\n");
        return 2;
    }
    int port = atoi(words[1]), busy = atoi(words[2]), idle = atoi(words[3]);
    size_t bytes = atol(words[4]);
    double warmup = atof(words[5]), seconds = atof(words[6]);
    float *latencies = malloc(LATENCIES * sizeof *latencies);
    struct connection *all = calloc(busy, sizeof *all);
    char *answer = malloc(bytes);
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    for (int i = 0; i < idle; i++)
        connected(port, i);
    for (int i = 0; i < busy; i++) {
        struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = &all[i]};
        all[i].socket = connected(port, idle + i);
        all[i].question = malloc(bytes);
        for (size_t at = 0; at < bytes; at++)
            all[i].question[at] = random();
        epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].socket, &wanted);
    }
    for (int i = 0; i < busy; i++)
        ask(&all[i], bytes);

    int64_t begun = now(CLOCK_MONOTONIC) + (int64_t)(warmup * 1e9), cpu = 0;
    int64_t end = begun + (int64_t)(seconds * 1e9), time = 0, exchanges = 0;
    while (time < end) {
        struct epoll_event ready[EVENTS];
        int readyCount = epoll_wait(epoll, ready, EVENTS, 5000);
        if (readyCount <= 0) {
            errno = readyCount ? errno : ETIMEDOUT;
            fail("no answer");
        }
        for (int i = 0; i < readyCount; i++) {
            struct connection *answered = ready[i].data.ptr;
            ssize_t got = recv(answered->socket, answer, bytes, 0);
            if (got <= 0)
                fail("recv");
            if (answered->received + got > bytes
                || memcmp(answer, answered->question + answered->received, got)) {
                errno = EBADMSG;
                fail("the answer is not the question");
            }
            answered->received += got;
            if (answered->received < bytes)
                continue;
            time = now(CLOCK_MONOTONIC);
            if (time >= begun) {
                if (!cpu)
                    cpu = now(CLOCK_PROCESS_CPUTIME_ID);
                if (exchanges < LATENCIES)
                    latencies[exchanges] = (time - answered->asked) / 1e3;
                exchanges++;
            }
            ask(answered, bytes);
        }
    }
    cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    int64_t kept = exchanges < LATENCIES ? exchanges : LATENCIES;
    if (!kept) {
        errno = ENODATA;
        fail("nothing was exchanged");
    }
    qsort(latencies, kept, sizeof *latencies, compare);
    double lasted = (time - begun) / 1e9;
    printf("{\"throughput\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
           "\"exchanges\": %lld, \"load_cpu\": %.3f}\n",
           exchanges / lasted, latencies[kept / 2], latencies[kept * 99 / 100],
           (long long)exchanges, cpu / 1e9 / lasted);
    return 0;
}
