/* SPDX-License-Identifier: Apache-2.0 */
/* What slows a host down: pure readers on texts in the documented formats, and the reader on fake trees. */
#include "o3_test.h"
#include "o3/host.h"
#include "o3/rand.h"
#include "o3/sample.h"
#include "o3/text.h"
#include "io/host_proc.h"
#include <sys/stat.h>
#include <unistd.h>

#define PSI "some avg10=12.50 avg60=2.43 avg300=5.08 total=1285183861\nfull avg10=0.25 avg60=0.00 avg300=0.00 total=0\n"

static void pressure_is_a_share(void **state) {
    (void)state;
    struct o3_host_pressure p;
    assert_true(o3_psi_parse(PSI, &p));
    O3_ASSERT_NEAR(p.some, 0.125, 1e-15);
    O3_ASSERT_NEAR(p.full, 0.0025, 1e-15);
    assert_true(o3_psi_parse("some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n", &p)); /* cpu, before Linux 5.13 */
    O3_ASSERT_NEAR(p.some, 0, 0);
    assert_true(isnan(p.full));
    static const char *const BAD[] = {"",
                                      "some",
                                      "some avg60=1.00",
                                      "some avg10=",
                                      "some avg10=x",
                                      "some avg10=100.01",
                                      "some avg10=1.2.3",
                                      "some avg10=11111111111111111111111111111111",
                                      "awesome avg10=1.00"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        assert_false(o3_psi_parse(BAD[i], &p));
}

static void counts_are_found_by_their_key(void **state) {
    (void)state;
    static const char VMSTAT[] = "nr_free_pages 12\npswpin_zero 9\nzswpin 8\npswpin 77\npswpout 3\n";
    assert_int_equal(o3_keyed_count(VMSTAT, "pswpin"), 77);
    assert_int_equal(o3_keyed_count(VMSTAT, "pswp"), -1);
    assert_int_equal(o3_keyed_count("", "pswpin"), -1);
    assert_int_equal(o3_keyed_count("pswpin", "pswpin"), -1);
    assert_int_equal(o3_keyed_count("pswpin_zero 9", "pswpin"), -1);
    assert_int_equal(o3_keyed_count("nr_throttled 99999999999999999999", "nr_throttled"), -1);
    assert_int_equal(o3_count_parse("17\n"), 17);
    assert_int_equal(o3_count_parse("17 18"), -1);
    assert_int_equal(o3_count_parse("-1"), -1);
    assert_int_equal(o3_count_parse(""), -1);
}

static void limits_of_groups_are_read(void **state) {
    (void)state;
    O3_ASSERT_NEAR(o3_cgroup_cpu_max("400000 100000\n"), 4, 0);
    O3_ASSERT_NEAR(o3_cgroup_cpu_max("50000 100000\n"), 0.5, 0);
    assert_true(isinf(o3_cgroup_cpu_max("max 100000\n")));
    assert_true(isnan(o3_cgroup_cpu_max("")) && isnan(o3_cgroup_cpu_max("400000")) && isnan(o3_cgroup_cpu_max("4 0")) &&
                isnan(o3_cgroup_cpu_max("maximum")));
    assert_int_equal(o3_cgroup_memory_max("8589934592\n"), 8589934592);
    assert_true(o3_cgroup_memory_max("max\n") == INT64_MAX);
    assert_int_equal(o3_cgroup_memory_max("maximum"), -1);
    assert_int_equal(o3_cgroup_memory_max(""), -1);
    char path[32];
    assert_true(o3_cgroup_path("1:name=systemd:/x\n0::/system.slice/ollama.service\n", path, sizeof path));
    assert_string_equal(path, "system.slice/ollama.service");
    assert_true(o3_cgroup_path("0::/\n", path, sizeof path));
    assert_string_equal(path, "");
    assert_false(o3_cgroup_path("4:memory:/x\n", path, sizeof path));
    assert_false(o3_cgroup_path("0::/../other-container\n", path, sizeof path));
    assert_false(o3_cgroup_path("0::/a-path-that-is-too-long-for-what-we-have", path, sizeof path));
}

#define MODEL "Model: \t\t NVIDIA GeForce RTX 4090\nIRQ:   \t\t 157\nGPU UUID: \t GPU-1\n"
#define DRIVER                                                                                                         \
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\nGCC version:  gcc 12\n"

static void devices_are_named(void **state) {
    (void)state;
    char out[64];
    assert_true(o3_nvidia_model(MODEL, out, sizeof out));
    assert_string_equal(out, "NVIDIA GeForce RTX 4090");
    assert_true(o3_nvidia_model("IRQ: 1\nModel: A\x1b[31m\xff\n", out, sizeof out));
    assert_string_equal(out, "A?[31m?");
    assert_false(o3_nvidia_model("IRQ: 1\n", out, sizeof out));
    assert_false(o3_nvidia_model("Model: \t \n", out, sizeof out));
    assert_true(o3_nvidia_driver(DRIVER, out, sizeof out));
    assert_string_equal(out, "535.129.03");
    assert_true(o3_nvidia_driver(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build  (dvs)\n", out, sizeof out));
    assert_string_equal(out, "550.54.15");
    assert_false(o3_nvidia_driver("NVRM version: none\nGCC version: 12.1\n", out, sizeof out));
    assert_false(o3_nvidia_driver("", out, sizeof out));
    o3_gpu_text(1, "NVIDIA L4", false, "535.129.03", out);
    assert_string_equal(out, "NVIDIA L4, driver 535.129.03");
    o3_gpu_text(2, "NVIDIA L4", false, "", out);
    assert_string_equal(out, "2 x NVIDIA L4");
    o3_gpu_text(3, "NVIDIA A10", true, "1.2", out);
    assert_string_equal(out, "NVIDIA A10 and others, driver 1.2");
    o3_gpu_text(32, "A name that is much longer than any name of a device", false, "1234567890.1234567890", out);
    assert_in_range(strlen(out), 40, 63);
}

static void counts_of_a_sample_are_differences(void **state) {
    (void)state;
    struct o3_host_state before, now;
    o3_host_state_init(&before);
    o3_host_state_init(&now);
    struct o3_surroundings s = {.parallel = 4, .n_loads = 2};
    now.swapped_in_bytes = 8192;
    now.n_heat = 7;
    o3_host_state_fill(&now, NULL, &s); /* the first look has nothing to compare with */
    assert_int_equal(s.swapped_bytes + s.n_throttled + s.n_quota, 0);
    assert_int_equal(s.parallel, 4);
    assert_int_equal(s.n_loads, 2);
    assert_int_equal(s.memory_available_bytes, -1);
    assert_true(isnan(s.pressure_cpu) && isnan(s.pressure_memory) && isnan(s.pressure_io));
    before = now;
    now = (struct o3_host_state){.pressure = {{0.1, 0}, {0.2, 0.1}, {0.3, NAN}},
                                 .memory_available_bytes = 5000,
                                 .swapped_in_bytes = 12288,
                                 .n_heat = 10,
                                 .n_quota = 100,
                                 .quota_id = 9,
                                 .gpu = "g"};
    o3_host_state_fill(&now, &before, &s);
    assert_int_equal(s.swapped_bytes, 4096);
    assert_int_equal(s.n_throttled, 3); /* the control group was not seen before */
    assert_int_equal(s.n_quota, 0);
    O3_ASSERT_NEAR(s.pressure_cpu, 0.1, 0);
    O3_ASSERT_NEAR(s.pressure_memory, 0.2, 0);
    O3_ASSERT_NEAR(s.pressure_io, 0.3, 0);
    assert_int_equal(s.memory_available_bytes, 5000);
    assert_string_equal(s.gpu, "g");
    before = now;
    now.n_quota = 104;
    now.n_heat = 2; /* began anew */
    o3_host_state_fill(&now, &before, &s);
    assert_int_equal(s.n_throttled, 4);
    assert_int_equal(s.n_quota, 4);
    now.quota_id = 10;
    o3_host_state_fill(&now, &before, &s);
    assert_int_equal(s.n_throttled, 0);
    before.n_heat = before.n_quota = 0;
    now.n_heat = now.n_quota = INT64_MAX;
    now.quota_id = before.quota_id;
    o3_host_state_fill(&now, &before, &s);
    assert_true(s.n_throttled == INT64_MAX);
}

/* ---- the reader ---- */

static char root[64];
static struct o3_host_roots roots;
static char proc[80], sys[80];

static void put(const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *p = path + strlen(root) + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(path, 0755);
        *p = '/';
    }
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static int make_root(void **state) {
    (void)state;
    snprintf(root, sizeof root, "/tmp/o3-host-XXXXXX");
    if (!mkdtemp(root)) return -1;
    snprintf(proc, sizeof proc, "%s/proc", root);
    snprintf(sys, sizeof sys, "%s/sys", root);
    roots = (struct o3_host_roots){proc, sys};
    return 0;
}

static int drop_root(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

#define S O3_NS_PER_S

static void a_whole_host_is_read(void **state) {
    (void)state;
    put("proc/pressure/cpu", PSI);
    put("proc/pressure/memory", "some avg10=1.00 avg60=0.00 avg300=0.00 total=0\n");
    put("proc/vmstat", "pswpin 3\n");
    put("proc/meminfo", "MemAvailable:    1000 kB\n");
    put("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "5\n");
    put("sys/devices/system/cpu/cpu2/thermal_throttle/core_throttle_count", "6\n"); /* the one between is offline */
    put("proc/77/cgroup", "0::/system.slice/ollama.service\n");
    put("proc/self/cgroup", "0::/system.slice/o3.service\n");
    put("sys/fs/cgroup/system.slice/ollama.service/cpu.max", "max 100000\n");
    put("sys/fs/cgroup/system.slice/cpu.max", "600000 100000\n");
    put("sys/fs/cgroup/system.slice/ollama.service/memory.max", "4000\n");
    put("sys/fs/cgroup/system.slice/memory.max", "max\n");
    put("sys/fs/cgroup/system.slice/ollama.service/cpu.stat", "usage_usec 1\nnr_periods 9\nnr_throttled 4\n");
    put("sys/fs/cgroup/system.slice/cpu.stat", "nr_throttled 1\n");
    put("sys/fs/cgroup/system.slice/o3.service/cpu.max", "100000 100000\n");
    put("sys/fs/cgroup/system.slice/o3.service/cpu.stat", "nr_throttled 1000\n");
    put("proc/driver/nvidia/gpus/0000:01:00.0/information", MODEL);
    put("proc/driver/nvidia/gpus/0000:02:00.0/information", MODEL);
    put("proc/driver/nvidia/version", DRIVER);
    struct o3_host_rest rest = {0};
    struct o3_host_state s;
    o3_host_read_state(&roots, 77, S, &rest, &s);
    O3_ASSERT_NEAR(s.pressure[O3_HOST_CPU].some, 0.125, 1e-15);
    O3_ASSERT_NEAR(s.pressure[O3_HOST_MEMORY].some, 0.01, 1e-15);
    assert_true(isnan(s.pressure[O3_HOST_IO].some));
    assert_int_equal(s.memory_available_bytes, 1024000);
    assert_true(s.swapped_in_bytes == 3 * sysconf(_SC_PAGESIZE));
    assert_int_equal(s.n_heat, 11);
    assert_int_equal(s.n_quota, 5);
    assert_int_equal(s.memory_limit_bytes, 4000);
    O3_ASSERT_NEAR(s.cpu_quota_cores, 6, 0);
    assert_string_equal(s.gpu, "2 x NVIDIA GeForce RTX 4090, driver 535.129.03");
    /* Of a runner that is not seen: our limits, and nothing about its quota. */
    uint64_t id = s.quota_id;
    o3_host_read_state(&roots, 78, 2 * S, &rest, &s);
    assert_int_equal(s.n_quota, -1);
    assert_true(s.quota_id != id);
    O3_ASSERT_NEAR(s.cpu_quota_cores, 1, 0);
    assert_true(s.memory_limit_bytes == INT64_MAX);
}

static void a_container_is_read(void **state) {
    (void)state;
    put("proc/self/cgroup", "0::/\n");
    put("sys/fs/cgroup/cpu.max", "200000 100000\n");
    put("sys/fs/cgroup/memory.max", "67108864\n");
    struct o3_host_rest rest = {0};
    struct o3_host_state s;
    o3_host_read_state(&roots, 0, S, &rest, &s);
    O3_ASSERT_NEAR(s.cpu_quota_cores, 2, 0);
    assert_int_equal(s.memory_limit_bytes, 67108864);
    assert_int_equal(s.n_quota, -1);
}

static void an_empty_host_is_unknown_and_rests(void **state) {
    (void)state;
    struct o3_host_rest rest = {0};
    struct o3_host_state s, none;
    o3_host_state_init(&none);
    o3_host_read_state(&roots, 0, S, &rest, &s);
    assert_true(isnan(s.pressure[0].some) && isnan(s.cpu_quota_cores));
    assert_int_equal(s.memory_available_bytes, -1);
    assert_int_equal(s.swapped_in_bytes, -1);
    assert_int_equal(s.n_heat, -1);
    assert_int_equal(s.memory_limit_bytes, -1);
    assert_string_equal(s.gpu, "");
    /* What appears is seen when its rest is over. */
    put("proc/vmstat", "pswpin 1\n");
    put("proc/pressure/cpu", PSI);
    put("proc/driver/nvidia/gpus/a/information", MODEL);
    o3_host_read_state(&roots, 0, 30 * S, &rest, &s);
    assert_int_equal(s.swapped_in_bytes, -1);
    assert_true(isnan(s.pressure[0].some));
    assert_string_equal(s.gpu, "");
    o3_host_read_state(&roots, 0, 62 * S, &rest, &s);
    assert_string_equal(s.gpu, "NVIDIA GeForce RTX 4090");
    o3_host_read_state(&roots, 0, 602 * S, &rest, &s);
    assert_true(s.swapped_in_bytes == sysconf(_SC_PAGESIZE));
    assert_true(!isnan(s.pressure[0].some));
    /* A group that appears with a runner is not waited for. */
    put("proc/5/cgroup", "0::/o\n");
    put("sys/fs/cgroup/o/cpu.max", "max 100000\n");
    o3_host_read_state(&roots, 5, 603 * S, &rest, &s);
    assert_true(isinf(s.cpu_quota_cores));
}

static void the_real_host_is_read(void **state) {
    (void)state;
    static const struct o3_host_roots REAL = {"/proc", "/sys"};
    struct o3_host_rest rest = {0};
    struct o3_host_state s;
    o3_host_read_state(&REAL, 0, S, &rest, &s);
    assert_true(s.memory_available_bytes > 0);
    assert_true(isnan(s.pressure[0].some) || (s.pressure[0].some >= 0 && s.pressure[0].some <= 1));
}

static void any_bytes_are_survived(void **state) {
    (void)state;
    struct o3_rand r;
    o3_rand_seed(&r, o3_test_seed(3));
    static const char *const PIECES[] = {
        "some ", "full ", "avg10=", "12.5", "\n",   "pswpin ",       "0::/",    "..",
        "/",     "max",   " ",      "9",    "\xff", "NVRM version:", "Model: ", "\x1b"};
    for (int i = 0; i < 20000; i++) {
        char text[256] = "", out[32];
        while (strlen(text) < 200)
            strcat(text, PIECES[o3_rand_u64(&r) % (sizeof PIECES / sizeof *PIECES)]);
        struct o3_host_pressure p;
        if (o3_psi_parse(text, &p)) assert_true(p.some >= 0 && p.some <= 1);
        assert_true(o3_keyed_count(text, "pswpin") >= -1);
        (void)o3_cgroup_cpu_max(text);
        assert_true(o3_cgroup_memory_max(text) >= -1);
        if (o3_cgroup_path(text, out, sizeof out)) assert_null(strstr(out, ".."));
        (void)o3_nvidia_model(text, out, sizeof out);
        (void)o3_nvidia_driver(text, out, sizeof out);
    }
}

#define TREE_TEST(f) cmocka_unit_test_setup_teardown(f, make_root, drop_root)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pressure_is_a_share),
        cmocka_unit_test(counts_are_found_by_their_key),
        cmocka_unit_test(limits_of_groups_are_read),
        cmocka_unit_test(devices_are_named),
        cmocka_unit_test(counts_of_a_sample_are_differences),
        TREE_TEST(a_whole_host_is_read),
        TREE_TEST(a_container_is_read),
        TREE_TEST(an_empty_host_is_unknown_and_rests),
        cmocka_unit_test(the_real_host_is_read),
        cmocka_unit_test(any_bytes_are_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
