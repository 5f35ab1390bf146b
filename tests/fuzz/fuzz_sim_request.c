/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the body of each request to the simulated server: answered, cut, or given up by the client; then it
 * still works. */
#include <stdint.h>
#include <string.h>
#include "o3/world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void play(struct o3_world *w, int64_t until_ns, uint64_t id, bool *ret_ended, int *ret_status) {
    struct o3_world_output o;
    while (o3_world_poll(w, until_ns, &o)) {
        if (o.id != id) continue;
        if (o.kind == O3_WORLD_HEAD) *ret_status = o.status;
        *ret_ended |= o.kind == O3_WORLD_END || o.kind == O3_WORLD_ABORT;
    }
}

/* The first byte picks the path. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static const char *const PATHS[] = {"/api/generate", "/api/chat",   "/api/embed", "/api/embeddings",
                                        "/api/show",     "/api/create", "/api/copy",  "/api/delete"};
    if (n == 0) return 0;
    const char *path = PATHS[data[0] % (sizeof PATHS / sizeof *PATHS)];
    struct o3_world_params p = {.seed = 1, .start_wall_ms = 1795233966161, .has_recorded_models = true};
    struct o3_world *w = o3_world_new(&p);
    if (!w) return 0;
    bool is_ended = false;
    int status = 0;
    uint64_t id = o3_world_request(w, 0, data[0] % 8 == 7 ? "DELETE" : "POST", path, (const char *)data + 1, n - 1);
    int64_t t = 2 * O3_NS_PER_S;
    play(w, t, id, &is_ended, &status);
    if (!is_ended) o3_world_disconnect(w, t, id);
    id = o3_world_request(w, t, "GET", "/api/ps", NULL, 0);
    is_ended = false;
    play(w, t + O3_NS_PER_S, id, &is_ended, &status);
    O3_ASSERT(is_ended && status == 200);
    o3_world_free(w);
    return 0;
}
