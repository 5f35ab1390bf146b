/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_TEST_TRANSCRIPT_H
#define O3_TEST_TRANSCRIPT_H
/* Reads a recorded exchange of tests/contract/transcripts and completes the abridged ones to valid JSON. */
#include "o3_test.h"
#include "o3/buf.h"

#define O3_TRANSCRIPT_DIR "tests/contract/transcripts"

struct transcript {
    char *text; /* owns the slices below */
    const char *method, *path, *request_body;
    int status;
    const char *headers; /* "" in the files that were noted down without */
    const char *body;
    struct o3_buf request_buf, body_buf; /* completed bodies */
};

/* How the bodies go on where the recording was cut. The values are made up in the shape of the server's. */
static const struct {
    const char *file, *request_tail, *body_tail;
} TAILS[] = {
    {"54-prompt-too-long-truncate-false.txt",
     "ada\",\"stream\":false,\"truncate\":false,\"options\":{\"num_ctx\":512,\"num_predict\":2}}", NULL},
    {"55-prompt-too-long-default.txt", "ada\",\"stream\":false,\"options\":{\"num_ctx\":512,\"num_predict\":2}}",
     "270],\"total_duration\":98000000,\"load_duration\":1900000,\"prompt_eval_count\":259,"
     "\"prompt_eval_duration\":60000000,\"eval_count\":2,\"eval_duration\":2000000}"},
    {"57-num-predict-2-negative.txt", NULL,
     " op\",\"done\":true,\"done_reason\":\"length\",\"context\":[1631,538,337],\"total_duration\":1479000000,"
     "\"load_duration\":270000000,\"prompt_eval_count\":12,\"prompt_eval_duration\":5000000,\"eval_count\":640,"
     "\"eval_duration\":1190000000}"},
};

/* Cuts `s` at the first `end`; returns what follows it, or NULL. */
static inline char *transcript_cut(char *s, const char *end) {
    char *at = strstr(s, end);
    if (!at) return NULL;
    *at = '\0';
    return at + strlen(end);
}

/* 36: the rest of the first vector (128 numbers) and the second one. */
static inline void transcript_add_vectors(struct o3_buf *b) {
    size_t n_numbers = 1;
    for (const char *p = strstr(b->p, "[["); *p; p++)
        n_numbers += *p == ',';
    for (; n_numbers < 128; n_numbers++)
        o3_buf_adds(b, ",0.125");
    o3_buf_adds(b, "],[0.25");
    for (size_t i = 1; i < 128; i++)
        o3_buf_adds(b, ",0.25");
    o3_buf_adds(b, "]],\"total_duration\":274000000,\"load_duration\":262000000,\"prompt_eval_count\":7}");
}

/* "... [N lines left out] ...": the line before it once more for each, without the piece of text that differs. */
static inline void transcript_complete_lines(const char *body, struct o3_buf *out) {
    static const char MARK[] = "\n... [";
    const char *mark = strstr(body, MARK), *line = mark;
    while (line > body && line[-1] != '\n')
        line--;
    o3_buf_add(out, body, (size_t)(mark + 1 - body));
    long n = strtol(mark + sizeof MARK - 1, NULL, 10);
    for (long i = 0; i < n; i++)
        o3_buf_add(out, line, (size_t)(mark + 1 - line));
    o3_buf_adds(out, strchr(mark + 1, '\n') + 1);
}

/* "... N more left out" as an element of the list of tensors. */
static inline void transcript_complete_tensors(const char *body, struct o3_buf *out) {
    static const char MARK[] = "\"... ";
    const char *mark = strstr(body, MARK);
    o3_buf_add(out, body, (size_t)(mark - body));
    long n = strtol(mark + sizeof MARK - 1, NULL, 10);
    for (long i = 0; i < n; i++)
        o3_buf_addf(out, "%s{\"name\": \"blk.%ld.weight\", \"type\": \"F32\", \"shape\": [1024]}", i ? ",\n  " : "", i);
    o3_buf_adds(out, strchr(mark + 1, '"') + 1);
}

/* "... [N characters left out]" at the end. */
static inline void transcript_complete_characters(const char *body, const char *tail, struct o3_buf *out) {
    o3_buf_add(out, body, (size_t)(strstr(body, "... [") - body));
    if (tail)
        o3_buf_adds(out, tail);
    else
        transcript_add_vectors(out);
}

static inline const char *transcript_complete(const char *body, const char *tail, struct o3_buf *out) {
    if (strstr(body, " lines left out]"))
        transcript_complete_lines(body, out);
    else if (strstr(body, " characters left out]") || strstr(body, " characters in all]"))
        transcript_complete_characters(body, tail, out);
    else if (strstr(body, " more left out\""))
        transcript_complete_tensors(body, out);
    else
        return body;
    assert_int_equal(out->err, 0);
    return o3_buf_str(out);
}

static inline void transcript_read_request(struct transcript *t, char *text) {
    char *headers = transcript_cut(text, "\n");
    t->method = text;
    t->path = transcript_cut(text, " ");
    assert_non_null(t->path);
    transcript_cut(text + strlen(t->method) + 1, " HTTP/");
    /* Noted down without headers, the body follows at once. */
    char *body = *headers == '{' ? headers : transcript_cut(headers, "\n\n");
    t->request_body = body ? body : "";
    char *end = body ? body + strlen(body) : NULL;
    while (body && end > body && end[-1] == '\n')
        *--end = '\0';
}

static inline void transcript_read_response(struct transcript *t, char *text) {
    transcript_cut(text, "\n\n## timing\n");
    char *rest = transcript_cut(text, "\n");
    char *status = strchr(text, ' ');
    assert_non_null(status);
    t->status = (int)strtol(status, NULL, 10);
    if (*rest == '{') {
        t->headers = "";
        t->body = rest;
        return;
    }
    char *body = transcript_cut(rest, "\n\n");
    t->headers = rest;
    t->body = body ? body : "";
}

/* Fails the test when the file is not one. Free with transcript_done. */
static inline struct transcript transcript_read(const char *file) {
    struct transcript t = {0};
    o3_buf_init(&t.request_buf, 1 << 20);
    o3_buf_init(&t.body_buf, 1 << 20);
    char path[256];
    snprintf(path, sizeof path, O3_TRANSCRIPT_DIR "/%s", file);
    t.text = o3_test_read(path, NULL);
    char *request = strstr(t.text, "## request\n");
    if (!request) fail_msg("%s: no request", file);
    request += strlen("## request\n");
    char *response = transcript_cut(request, "\n## response\n");
    if (!response) fail_msg("%s: no response", file);
    transcript_read_request(&t, request);
    transcript_read_response(&t, response);
    const char *request_tail = NULL, *body_tail = NULL;
    for (size_t i = 0; i < sizeof TAILS / sizeof *TAILS; i++) {
        if (strcmp(TAILS[i].file, file) != 0) continue;
        request_tail = TAILS[i].request_tail;
        body_tail = TAILS[i].body_tail;
    }
    t.request_body = transcript_complete(t.request_body, request_tail, &t.request_buf);
    t.body = transcript_complete(t.body, body_tail, &t.body_buf);
    return t;
}

static inline void transcript_done(struct transcript *t) {
    free(t->text);
    o3_buf_done(&t->request_buf);
    o3_buf_done(&t->body_buf);
}

#endif
