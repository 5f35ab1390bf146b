/* SPDX-License-Identifier: Apache-2.0 */
/* A line: "   0: 0100007F:2CAA 00000000:0000 01 00000000:00000000 ..." (slot, local, remote, state, queues); tcp6
 * differs only in the length of the addresses. */
#include <string.h>
#include "o3/host.h"

enum { STATE_ESTABLISHED = 0x01, STATE_LISTEN = 0x0a };

struct words {
    const char *p, *end;
};

/* The next word of the line, its length in *n; NULL at the end. */
static const char *next_word(struct words *w, size_t *n) {
    while (w->p < w->end && *w->p == ' ')
        w->p++;
    const char *start = w->p;
    while (w->p < w->end && *w->p != ' ')
        w->p++;
    *n = (size_t)(w->p - start);
    return *n ? start : NULL;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
}

/* 1 to 8 hex digits, or -1. */
static int64_t hex_number(const char *s, size_t n) {
    if (n < 1 || n > 8) return -1;
    int64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        int digit = hex_digit(s[i]);
        if (digit < 0) return -1;
        v = v * 16 + digit;
    }
    return v;
}

/* "A:B": the number before and after the colon; only B is read when ret_a is NULL. */
static bool hex_pair(struct words *w, int64_t *ret_a, int64_t *ret_b) {
    size_t n;
    const char *word = next_word(w, &n);
    const char *colon = word ? memchr(word, ':', n) : NULL;
    if (!colon) return false;
    size_t before = (size_t)(colon - word);
    if (ret_a) *ret_a = hex_number(word, before);
    *ret_b = hex_number(colon + 1, n - before - 1);
    return *ret_b >= 0 && (!ret_a || *ret_a >= 0);
}

static bool is_listed(int64_t port, const uint16_t *ports, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (ports[i] == port) return true;
    return false;
}

/* "0100007F" or, in tcp6, "00000000000000000000000001000000" and the mapped "0000000000000000FFFF00000100007F"; the
 * first byte of 127.0.0.0/8 comes last. */
static bool is_loopback(const char *address, size_t n) {
    static const char V6[] = "00000000000000000000000001000000", MAPPED[] = "0000000000000000FFFF0000";
    if (n == 32 && !memcmp(address, V6, 32)) return true;
    if (n == 32 && !memcmp(address, MAPPED, 24)) return !memcmp(address + 30, "7F", 2);
    return n == 8 && !memcmp(address + 6, "7F", 2);
}

static void note_loopback(const char *word, int64_t port, struct o3_net_tcp_count *c) {
    const char *colon = strchr(word, ':');
    if (!colon || !is_loopback(word, (size_t)(colon - word)) || port < 1 || port > UINT16_MAX) return;
    if (is_listed(port, c->loopback_ports, (size_t)c->n_loopback_ports)) return;
    if (c->n_loopback_ports < O3_LOOPBACK_PORTS_MAX) c->loopback_ports[c->n_loopback_ports++] = (uint16_t)port;
}

static void count_line(struct words w, uint16_t server_port, const uint16_t *own, size_t n_own,
                       struct o3_net_tcp_count *c) {
    size_t n;
    int64_t local, remote, sending, received;
    if (!next_word(&w, &n)) return;
    struct words address = w;
    const char *local_text = next_word(&address, &n);
    if (!hex_pair(&w, NULL, &local) || !hex_pair(&w, NULL, &remote)) return;
    const char *state_text = next_word(&w, &n);
    int64_t state = state_text ? hex_number(state_text, n) : -1;
    if (state < 0) return;
    if (state != STATE_LISTEN) c->has_other_states = true;
    if (state == STATE_LISTEN && local != server_port) note_loopback(local_text, local, c);
    if (local != server_port) return;
    if (state == STATE_LISTEN) c->n_listening++;
    if (state != STATE_ESTABLISHED || is_listed(remote, own, n_own) || !hex_pair(&w, &sending, &received)) return;
    c->n_established++;
    c->n_with_bytes += sending > 0 || received > 0;
}

void o3_net_tcp_count(const char *text, size_t n, uint16_t server_port, const uint16_t *own_ports, size_t n_own,
                      struct o3_net_tcp_count *inout) {
    const char *end = text + n;
    for (const char *line = text; line < end;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *line_end = newline ? newline : end;
        count_line((struct words){line, line_end}, server_port, own_ports, n_own, inout);
        line = line_end + 1;
    }
}
