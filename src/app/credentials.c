/* SPDX-License-Identifier: Apache-2.0 */
#include "app/credentials.h"
#include <math.h>
#include <string.h>
#include <strings.h>
#include "o3/text.h"

/* ---- the header ---- */

static int base64_value(char c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Decoded bytes, or -1: not base64, padded wrongly, or too long. */
static int decode_base64(const char *s, char *out, size_t size) {
    size_t n_in = strlen(s), n = 0, pad = 0;
    uint32_t bits = 0;
    if (!n_in || n_in % 4) return -1;
    while (pad < 2 && s[n_in - 1 - pad] == '=')
        pad++;
    for (size_t i = 0; i < n_in; i++) {
        int v = i < n_in - pad ? base64_value(s[i]) : 0;
        if (v < 0) return -1;
        bits = bits << 6 | (uint32_t)v;
        if (i % 4 != 3) continue;
        for (int shift = 16; shift >= 0; shift -= 8) {
            if (n == size) return -1;
            out[n++] = (char)(bits >> shift & 0xff);
        }
        bits = 0;
    }
    return (int)(n - pad);
}

bool o3_credentials_parse(const char *header, struct o3_credentials *ret) {
    static const char SCHEME[] = "Basic ";
    if (!header || strncasecmp(header, SCHEME, strlen(SCHEME))) return false;
    header += strlen(SCHEME);
    while (*header == ' ')
        header++;
    int n = decode_base64(header, ret->text, sizeof ret->text - 1);
    if (n < 0 || memchr(ret->text, '\0', (size_t)n)) return false;
    ret->text[n] = '\0';
    char *colon = strchr(ret->text, ':');
    if (!colon) return false;
    *colon = '\0';
    ret->user = ret->text;
    ret->password = colon + 1;
    return true;
}

/* ---- what earlier checks found ---- */

static struct o3_finding *find(struct o3_findings *s, const char *digest, bool is_right) {
    for (size_t i = 0; i < O3_FINDINGS_MAX; i++) {
        struct o3_finding *v = &s->v[is_right][i];
        if (o3_secret_equal(digest, O3_DIGEST_SIZE - 1, v->digest, strlen(v->digest))) return v;
    }
    return NULL;
}

void o3_findings_add(struct o3_findings *s, const char *digest, bool is_right) {
    struct o3_finding *oldest = &s->v[is_right][0];
    if (find(s, digest, is_right)) return;
    for (size_t i = 1; i < O3_FINDINGS_MAX; i++)
        if (s->v[is_right][i].used < oldest->used) oldest = &s->v[is_right][i];
    o3_str_copy(oldest->digest, sizeof oldest->digest, digest);
    oldest->used = ++s->n_used;
}

bool o3_findings_find(struct o3_findings *s, const char *digest, bool *ret_is_right) {
    for (int right = 1; right >= 0; right--) {
        struct o3_finding *v = find(s, digest, right);
        if (!v) continue;
        v->used = ++s->n_used;
        *ret_is_right = right;
        return true;
    }
    return false;
}

/* ---- how often somebody may be wrong ---- */

static void refill(struct o3_bucket *b, int64_t now_ns, double burst, double per_minute) {
    double minutes = (double)(now_ns - b->at_ns) / (60.0 * (double)O3_NS_PER_S);
    b->tries = b->at_ns ? fmin(burst, b->tries + minutes * per_minute) : burst;
    b->at_ns = now_ns;
}

static int wait_s(const struct o3_bucket *b, double per_minute) {
    double missing = 1 - b->tries - 1e-6; /* sums of thirds and sixths fall short of 1 by less */
    return missing <= 0 ? 0 : (int)ceil(missing * 60 / per_minute);
}

static struct o3_trier *find_trier(struct o3_tries *t, const unsigned char network[16]) {
    for (size_t i = 0; i < O3_TRIERS_MAX; i++) {
        struct o3_trier *x = &t->v[i];
        if (x->bucket.at_ns && !memcmp(x->network, network, sizeof x->network)) return x;
    }
    return NULL;
}

static struct o3_trier *make_trier(struct o3_tries *t, const unsigned char network[16]) {
    struct o3_trier *found = find_trier(t, network), *oldest = &t->v[0];
    if (found) return found;
    for (size_t i = 1; i < O3_TRIERS_MAX; i++)
        if (t->v[i].bucket.at_ns < oldest->bucket.at_ns) oldest = &t->v[i];
    *oldest = (struct o3_trier){0};
    memcpy(oldest->network, network, sizeof oldest->network);
    return oldest;
}

bool o3_tries_take(struct o3_tries *t, const unsigned char network[16], int64_t now_ns, int *ret_wait_s) {
    struct o3_trier *x = make_trier(t, network);
    bool is_fresh = !x->asked_ns || now_ns - x->asked_ns >= O3_TRIES_FRESH_NS;
    struct o3_bucket *shared = is_fresh ? &t->fresh : &t->wrong;
    refill(&x->bucket, now_ns, O3_TRIES_BURST, O3_TRIES_PER_MINUTE);
    refill(shared, now_ns, O3_TRIES_ALL_BURST, O3_TRIES_ALL_PER_MINUTE);
    int own_s = wait_s(&x->bucket, O3_TRIES_PER_MINUTE), shared_s = wait_s(shared, O3_TRIES_ALL_PER_MINUTE);
    *ret_wait_s = own_s > shared_s ? own_s : shared_s;
    /* Who comes anew while others have taken all tries is still new when he comes again. */
    if (*ret_wait_s == 0 || !is_fresh) x->asked_ns = now_ns;
    if (*ret_wait_s) return false;
    x->was_fresh = is_fresh;
    x->bucket.tries--;
    shared->tries--;
    return true;
}

void o3_tries_give_back(struct o3_tries *t, const unsigned char network[16]) {
    struct o3_trier *x = find_trier(t, network);
    if (!x) return; /* others have come since */
    struct o3_bucket *shared = x->was_fresh ? &t->fresh : &t->wrong;
    x->bucket.tries++;
    shared->tries++;
    x->asked_ns = 0;
}
