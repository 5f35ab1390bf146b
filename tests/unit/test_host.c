/* SPDX-License-Identifier: Apache-2.0 */
/* What /proc says: pure parsers on recorded texts, and the reader on a fake tree and on the real one. */
#include "o3_test.h"
#include "o3/host.h"
#include "io/host_proc.h"
#include <sys/stat.h>
#include <unistd.h>

#define HEADER "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
#define REST " 00:00000000 00000000     0        0 54321 1 0000000000000000 20 4 30 10 -1\n"

/* 11434 is 2CAA. */
static const char TCP[] = HEADER "   0: 0100007F:2CAA 00000000:0000 0A 00000000:00000000" REST
                                 "   1: 0100007F:2CAA 0100007F:C001 01 00000000:00000000" REST
                                 "   2: 0100007F:2CAA 0100007F:C002 01 00000000:00000010" REST
                                 "   3: 0100007F:2CAA 0100007F:C003 01 00000A00:00000000" REST
                                 "   4: 0100007F:2CAA 0100007F:C004 06 00000000:00000000" REST
                                 "   5: 0100007F:C001 0100007F:2CAA 01 00000000:00000000" REST
                                 "   6: 0100007F:1F90 0100007F:C009 01 00000000:00000000" REST;
static const char TCP6[] = HEADER
    "   0: 00000000000000000000000000000000:2CAA 00000000000000000000000000000000:0000 0A 00000000:00000000" REST
    "   1: 0000000000000000FFFF00000100007F:2CAA 0000000000000000FFFF00000100007F:C005 01 00000000:00000000" REST;

static void sockets_are_counted(void **state) {
    (void)state;
    struct o3_net_tcp_count c = {0};
    o3_net_tcp_count(TCP, sizeof TCP - 1, 11434, NULL, 0, &c);
    assert_int_equal(c.n_established, 3);
    assert_int_equal(c.n_with_bytes, 2);
    assert_int_equal(c.n_listening, 1);
    o3_net_tcp_count(TCP6, sizeof TCP6 - 1, 11434, NULL, 0, &c);
    assert_int_equal(c.n_established, 4);
    assert_int_equal(c.n_listening, 2);
    const uint16_t own[] = {0xc001, 0xc003, 0xc005};
    c = (struct o3_net_tcp_count){0};
    o3_net_tcp_count(TCP, sizeof TCP - 1, 11434, own, 3, &c);
    o3_net_tcp_count(TCP6, sizeof TCP6 - 1, 11434, own, 3, &c);
    assert_int_equal(c.n_established, 1);
    assert_int_equal(c.n_with_bytes, 1);
    c = (struct o3_net_tcp_count){0};
    o3_net_tcp_count(TCP, sizeof TCP - 1, 11435, NULL, 0, &c);
    assert_int_equal(c.n_established + c.n_listening, 0);
}

static void listeners_on_loopback_are_told(void **state) {
    (void)state;
    static const char LISTENERS[] = HEADER "   0: 0100007F:2CAA 00000000:0000 0A 00000000:00000000" REST
                                           "   1: 0100007F:9C41 00000000:0000 0A 00000000:00000000" REST
                                           "   2: 00000000:1F90 00000000:0000 0A 00000000:00000000" REST
                                           "   3: 0200A8C0:1F91 00000000:0000 0A 00000000:00000000" REST;
    static const char V6[] = HEADER
        "   0: 00000000000000000000000001000000:9C42 00000000000000000000000000000000:0000 0A 00000000:00000000" REST
        "   1: 0000000000000000FFFF00000100007F:9C43 00000000000000000000000000000000:0000 0A 00000000:00000000" REST
        "   2: 00000000000000000000000000000000:9C44 00000000000000000000000000000000:0000 0A 00000000:00000000" REST;
    struct o3_net_tcp_count c = {0};
    o3_net_tcp_count(LISTENERS, sizeof LISTENERS - 1, 11434, NULL, 0, &c);
    assert_int_equal(c.n_loopback_ports, 1); /* neither Ollama's own, nor those of every address or of another one */
    assert_int_equal(c.loopback_ports[0], 0x9c41);
    assert_false(c.has_other_states);
    o3_net_tcp_count(V6, sizeof V6 - 1, 11434, NULL, 0, &c);
    assert_int_equal(c.n_loopback_ports, 3);
    o3_net_tcp_count(TCP, sizeof TCP - 1, 11434, NULL, 0, &c);
    assert_int_equal(c.n_loopback_ports, 3);
    assert_true(c.has_other_states);
}

static void any_bytes_are_survived(void **state) {
    (void)state;
    uint64_t seed = o3_test_seed(42);
    struct o3_net_tcp_count c = {0};
    struct o3_runner_cmdline r;
    struct o3_proc_stat st;
    for (size_t cut = 0; cut <= sizeof TCP - 1; cut++) { /* each prefix, in memory of just that size */
        char *p = malloc(cut + 1);
        memcpy(p, TCP, cut);
        char *exact = realloc(p, cut ? cut : 1);
        o3_net_tcp_count(exact, cut, 11434, NULL, 0, &c);
        free(exact);
    }
    for (int i = 0; i < 20000; i++) {
        char noise[200];
        size_t n = 0;
        for (; n < sizeof noise - 1; n++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            noise[n] = " :0AF2CAA\n)(-\0kB9xl"[(seed >> 33) % 20];
        }
        noise[n] = '\0';
        o3_net_tcp_count(noise, n, 11434, NULL, 0, &c);
        o3_runner_cmdline_parse(noise, n, &r);
        o3_proc_stat_parse(noise, &st);
        o3_proc_status_kib(noise, "A");
        o3_proc_max_open_files(noise);
        o3_proc_boot_time_s(noise);
    }
}

#define SHA "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ARGS(s) s, sizeof s - 1

static void runners_are_understood(void **state) {
    (void)state;
    struct o3_runner_cmdline c;
    assert_true(o3_runner_cmdline_parse(
        ARGS("/usr/lib/ollama/llama-server\0--model\0/root/.ollama/models/blobs/sha256-" SHA "\0--port\0"
             "41233\0--host\0"
             "127.0.0.1\0--no-webui\0--offline\0-c\0"
             "16384\0-np\0"
             "4\0--log-verbosity\0"
             "4\0"
             "--flash-attn\0auto\0-b\0"
             "512\0-ub\0"
             "256\0-ngl\0"
             "33\0-t\0"
             "8\0--embedding\0"),
        &c));
    assert_string_equal(c.blob, SHA);
    assert_int_equal(c.ctx_total, 16384);
    assert_int_equal(c.parallel, 4);
    assert_int_equal(c.batch, 512);
    assert_int_equal(c.threads, 8);
    assert_int_equal(c.gpu_layers, 33);
    assert_int_equal(c.port, 41233);
    assert_true(c.is_embedding);
    assert_true(o3_runner_cmdline_parse(ARGS("/usr/bin/ollama\0runner\0--model\0/m/blobs/sha256-" SHA "\0--ctx-size\0"
                                             "8192\0--batch-size\0"
                                             "512\0"
                                             "--n-gpu-layers\0"
                                             "0\0--threads\0"
                                             "6\0--parallel\0"
                                             "2\0--port\0"
                                             "35000"),
                                        &c)); /* no NUL at the end */
    assert_string_equal(c.blob, SHA);
    assert_int_equal(c.ctx_total, 8192);
    assert_int_equal(c.gpu_layers, 0);
    assert_int_equal(c.threads, 6);
    assert_int_equal(c.parallel, 2);
    assert_int_equal(c.port, 35000);
    assert_false(c.is_embedding);
}

static void the_type_of_the_cache_is_seen(void **state) {
    (void)state;
    struct o3_runner_cmdline c;
    assert_true(
        o3_runner_cmdline_parse(ARGS("llama-server\0--model\0/m\0--cache-type-k\0q8_0\0--cache-type-v\0q8_0\0"), &c));
    assert_true(c.has_other_kv_type);
    assert_true(o3_runner_cmdline_parse(ARGS("llama-server\0--model\0/m\0--cache-type-k\0"
                                             "f16\0"),
                                        &c));
    assert_false(c.has_other_kv_type);
    assert_true(o3_runner_cmdline_parse(ARGS("ollama\0runner\0--model\0/m\0--kv-cache-type\0q4_0\0"), &c));
    assert_true(c.has_other_kv_type);
    assert_true(o3_runner_cmdline_parse(ARGS("llama-server\0--model\0/m\0"), &c));
    assert_false(c.has_other_kv_type);
}

static void absent_and_wrong_options_are_unknown(void **state) {
    (void)state;
    struct o3_runner_cmdline c;
    assert_true(o3_runner_cmdline_parse(ARGS("llama-server\0--model\0/models/my.gguf\0-c\0x\0-np\0-3\0-b\0"
                                             "99999999999999999999\0--port\0"
                                             "70000\0-t"),
                                        &c));
    assert_string_equal(c.blob, "");
    assert_int_equal(c.ctx_total, -1);
    assert_int_equal(c.parallel, -1);
    assert_int_equal(c.batch, -1);
    assert_int_equal(c.threads, -1);
    assert_int_equal(c.port, -1);
    assert_true(c.gpu_layers == INT64_MIN);
    assert_true(o3_runner_cmdline_parse(ARGS("llama-server\0--model\0/x/sha256-0123"), &c));
    assert_string_equal(c.blob, "");
    assert_true(o3_runner_cmdline_parse(ARGS("llama-server\0--model\0/x/sha256-" SHA "0"), &c));
    assert_string_equal(c.blob, "");
}

static void others_are_no_runners(void **state) {
    (void)state;
    struct o3_runner_cmdline c = {.port = 5};
    assert_false(o3_runner_cmdline_parse("", 0, &c));
    assert_false(o3_runner_cmdline_parse(ARGS("ollama\0serve\0"), &c));
    assert_false(o3_runner_cmdline_parse(ARGS("ollama\0run\0--model\0x"), &c));
    assert_false(o3_runner_cmdline_parse(ARGS("llama-server\0--list-devices\0"), &c));
    assert_false(o3_runner_cmdline_parse(ARGS("llama-server\0--model"), &c));
    assert_false(o3_runner_cmdline_parse(ARGS("llama-server"), &c));
    assert_false(o3_runner_cmdline_parse(ARGS("vim\0--model\0llama-server\0"), &c));
    assert_false(o3_runner_cmdline_parse(ARGS("\0\0\0"), &c));
    assert_int_equal(c.port, 5);
}

static const char STATUS[] =
    "Name:\to3\nVmPeak:\t   9000 kB\nVmSize:\t   8900 kB\nVmRSS:\t    8123 kB\nRssAnon:\t   2048 "
    "kB\nThreads:\t2\nHuge:\t99999999999999999999 kB\n";
static const char MEMINFO[] =
    "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:    9000000 kB\nHugePages_Total:       0\n";

static void proc_texts_are_read(void **state) {
    (void)state;
    assert_int_equal(o3_proc_status_kib(STATUS, "VmRSS"), 8123);
    assert_int_equal(o3_proc_status_kib(STATUS, "RssAnon"), 2048);
    assert_int_equal(o3_proc_status_kib(STATUS, "Vm"), -1);
    assert_int_equal(o3_proc_status_kib(STATUS, "Threads"), -1);
    assert_int_equal(o3_proc_status_kib(STATUS, "Huge"), -1);
    assert_int_equal(o3_proc_status_kib("", "VmRSS"), -1);
    assert_int_equal(o3_proc_status_kib("VmRSS", "VmRSS"), -1);
    assert_int_equal(o3_proc_status_kib("VmRSS:", "VmRSS"), -1);
    assert_int_equal(o3_proc_status_kib("VmRSSx: 1 kB\nVmRSS: 2 kB", "VmRSS"), 2);
    assert_int_equal(o3_meminfo_kib(MEMINFO, "MemAvailable"), 9000000);
    assert_int_equal(o3_meminfo_kib(MEMINFO, "SwapTotal"), -1);
    struct o3_proc_stat s;
    assert_true(
        o3_proc_stat_parse("17 (a) b) 3) S 1 17 17 0 -1 4194560 1 2 3 4 250 50 7 8 20 0 2 0 987654 1 2 3\n", &s));
    assert_int_equal(s.user_ticks, 250);
    assert_int_equal(s.system_ticks, 50);
    assert_int_equal(s.start_ticks, 987654);
    assert_false(o3_proc_stat_parse("17 (o3) S 1 2 3", &s));
    assert_false(o3_proc_stat_parse("", &s));
    assert_int_equal(o3_proc_boot_time_s("cpu 1 2\nbtime 1700000000\nprocesses 5\n"), 1700000000);
    assert_int_equal(o3_proc_boot_time_s("cpu"), -1);
    assert_int_equal(o3_proc_max_open_files(
                         "Limit  Soft\nMax open files            1024                 524288               files\n"),
                     1024);
    assert_true(o3_proc_max_open_files("Max open files            unlimited            unlimited            files\n") ==
                INT64_MAX);
    assert_int_equal(o3_proc_max_open_files("x"), -1);
}

/* --- the reader --- */

static char root[64];

static void put(const char *name, const char *bytes, size_t n) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *p = path + strlen(root) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(path, 0755);
        *p = '/';
    }
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    fclose(f);
}

static void put_text(const char *name, const char *text) {
    put(name, text, strlen(text));
}

static int make_root(void **state) {
    (void)state;
    snprintf(root, sizeof root, "/tmp/o3-proc-XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int drop_root(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static void a_fake_tree_is_read(void **state) {
    (void)state;
    static const char runner[] = "/bin/llama-server\0--model\0/b/sha256-" SHA "\0--port\0"
                                 "4000\0-c\0"
                                 "4096\0";
    put("100/cmdline", runner, sizeof runner - 1);
    put("101/cmdline", "", 0);
    put_text("102/cmdline", "bash");
    put("x103/cmdline", runner, sizeof runner - 1);
    put_text("self/status", STATUS);
    put_text("self/limits", "Max open files            512                  1024                 files\n");
    put_text("self/stat", "9 (o3) S 1 17 17 0 -1 4194560 1 2 3 4 250 50 7 8 20 0 2 0 1000 1 2 3\n");
    put_text("self/fd/0", "");
    put_text("self/fd/1", "");
    put_text("stat", "btime 1700000000\n");
    put_text("meminfo", MEMINFO);
    put("net/tcp", TCP, sizeof TCP - 1);
    struct o3_runner_cmdline r[4];
    assert_int_equal(o3_host_read_runners(root, r, 4), 1);
    assert_int_equal(r[0].port, 4000);
    assert_int_equal(o3_host_read_runners(root, r, 0), 0);
    struct o3_host_self self;
    o3_host_read_self(root, &self);
    assert_int_equal(self.virtual_kib, 8900);
    assert_int_equal(self.rss_kib, 8123);
    assert_int_equal(self.rss_anon_kib, 2048);
    assert_int_equal(self.max_fds, 512);
    assert_int_equal(self.open_fds, 2);
    double hz = (double)sysconf(_SC_CLK_TCK);
    O3_ASSERT_NEAR(self.cpu_seconds, 300 / hz, 1e-9);
    O3_ASSERT_NEAR(self.start_time_s, 1700000000 + 1000 / hz, 1e-3);
    assert_true(o3_host_memory_available_bytes(root) == 9000000LL * 1024);
    struct o3_host_sockets s;
    o3_host_read_sockets(root, 11434, NULL, 0, O3_HOST_TCP | O3_HOST_TCP6, &s);
    assert_true(s.is_readable);
    assert_int_equal(s.count.n_established, 3);
}

static void long_tables_are_read_in_pieces(void **state) {
    (void)state;
    struct o3_buf b;
    o3_buf_init(&b, 1 << 22);
    o3_buf_adds(&b, HEADER);
    for (int i = 0; i < 5000; i++)
        o3_buf_addf(&b, "%4d: 0100007F:2CAA 0100007F:%04X 01 00000000:0000000%d" REST, i, 1024u + (unsigned)i, i % 2);
    put("net/tcp6", b.p, b.len);
    o3_buf_done(&b);
    struct o3_host_sockets s;
    o3_host_read_sockets(root, 11434, NULL, 0, O3_HOST_TCP | O3_HOST_TCP6, &s);
    assert_int_equal(s.count.n_established, 5000);
    assert_int_equal(s.count.n_with_bytes, 2500);
}

static void an_empty_tree_is_unknown(void **state) {
    (void)state;
    struct o3_host_sockets s;
    o3_host_read_sockets(root, 11434, NULL, 0, O3_HOST_TCP | O3_HOST_TCP6, &s);
    assert_false(s.is_readable);
    struct o3_runner_cmdline r[1];
    assert_int_equal(o3_host_read_runners("/nonexistent", r, 1), 0);
    struct o3_host_self self;
    o3_host_read_self(root, &self);
    assert_int_equal(self.rss_kib, -1);
    assert_int_equal(self.open_fds, -1);
    assert_true(self.start_time_s < 0);
    assert_int_equal(o3_host_memory_available_bytes(root), -1);
}

static void the_real_tree_is_read(void **state) {
    (void)state;
    struct o3_host_self self;
    o3_host_read_self("/proc", &self);
    assert_true(self.rss_kib > 0 && self.rss_anon_kib > 0);
    assert_true(self.open_fds >= 3 && self.open_fds < 100);
    assert_true(self.start_time_s > 1e9);
    assert_true(o3_host_memory_available_bytes("/proc") > 0);
    struct o3_host_sockets s;
    o3_host_read_sockets("/proc", 1, NULL, 0, O3_HOST_TCP | O3_HOST_TCP6, &s);
    assert_true(s.is_readable);
    int64_t before = self.open_fds;
    o3_host_read_self("/proc", &self);
    assert_int_equal(self.open_fds, before);
}

#define TREE_TEST(f) cmocka_unit_test_setup_teardown(f, make_root, drop_root)

/* Ollama listens on every address of IPv6 only, its runner on 127.0.0.1: both tables matter, of the other one the head.
 */
static void runners_show_in_the_other_table(void **state) {
    (void)state;
    put_text("net/tcp", HEADER "   0: 0100007F:9C41 00000000:0000 0A 00000000:00000000" REST
                               "   1: 0100007F:2CAA 0100007F:C001 01 00000000:00000000" REST);
    put_text("net/tcp6", TCP6);
    struct o3_host_sockets s;
    o3_host_read_sockets(root, 11434, NULL, 0, O3_HOST_TCP6, &s);
    assert_int_equal(s.listening_families, O3_HOST_TCP6);
    assert_int_equal(s.count.n_loopback_ports, 1);
    assert_int_equal(s.count.loopback_ports[0], 0x9c41);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sockets_are_counted),
        cmocka_unit_test(listeners_on_loopback_are_told),
        cmocka_unit_test(any_bytes_are_survived),
        cmocka_unit_test(runners_are_understood),
        cmocka_unit_test(absent_and_wrong_options_are_unknown),
        cmocka_unit_test(the_type_of_the_cache_is_seen),
        cmocka_unit_test(absent_and_wrong_options_are_unknown),
        cmocka_unit_test(others_are_no_runners),
        cmocka_unit_test(proc_texts_are_read),
        TREE_TEST(a_fake_tree_is_read),
        TREE_TEST(long_tables_are_read_in_pieces),
        TREE_TEST(an_empty_tree_is_unknown),
        TREE_TEST(runners_show_in_the_other_table),
        cmocka_unit_test(the_real_tree_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
