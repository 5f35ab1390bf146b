/* SPDX-License-Identifier: Apache-2.0 */
/* The replies of work, in the words of the API that the request came by. */
#include "sim/sim.h"

const char *o3_sim_stream_type(const struct o3_sim_request *rq) {
    return rq->dialect == O3_SIM_OPENAI ? "text/event-stream" : O3_SIM_NDJSON;
}

const char *o3_sim_whole_type(const struct o3_sim_request *rq) {
    return rq->dialect == O3_SIM_OPENAI ? O3_SIM_JSON_PLAIN : O3_SIM_JSON;
}

void o3_sim_write_piece(const struct o3_sim_request *rq, const struct o3_sim_piece *p, struct o3_buf *out) {
    if (rq->dialect == O3_SIM_OPENAI) {
        o3_sim_openai_piece(rq, p, out);
        return;
    }
    o3_sim_json_piece(p, out);
    o3_buf_adds(out, "\n");
}

/* The OpenAI endpoints have no place for it: there the error is read as a piece without anything in it. */
void o3_sim_write_stream_error(const struct o3_sim_request *rq, const char *text, struct o3_buf *out) {
    if (rq->dialect == O3_SIM_OPENAI) {
        struct o3_sim_piece nothing = {.model = "", .is_chat = rq->kind == O3_SIM_CHAT, .text = ""};
        o3_sim_openai_piece(rq, &nothing, out);
        return;
    }
    o3_sim_json_error(text, out);
    o3_buf_adds(out, "\n");
}

void o3_sim_write_whole(struct o3_sim_request *rq, const struct o3_sim_piece *p) {
    if (rq->dialect == O3_SIM_OPENAI)
        o3_sim_openai_whole(rq, p, &rq->reply);
    else
        o3_sim_json_piece(p, &rq->reply);
}

void o3_sim_write_vectors(struct o3_sim_request *rq, const struct o3_sim_vectors *v) {
    if (rq->dialect == O3_SIM_OPENAI)
        o3_sim_openai_vectors(rq, v, &rq->reply);
    else
        o3_sim_json_vectors(v, &rq->reply);
}

const char *o3_sim_write_error(const struct o3_sim_request *rq, int status, const char *text, struct o3_buf *out) {
    if (rq->dialect == O3_SIM_OPENAI)
        o3_sim_openai_error(status, text, out);
    else
        o3_sim_json_error(text, out);
    return o3_sim_whole_type(rq);
}
