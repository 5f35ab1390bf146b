/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "cli/commands.h"
#include "o3/text.h"

static const struct {
    const char *name, *help;
    int (*run)(int argc, char **argv);
} COMMANDS[] = {
    {"serve", "the sidecar: probe, judge, export", o3_cmd_serve},
    {"demo", "simulator and sidecar together: see it work without Ollama", o3_cmd_demo},
    {"sim", "a simulated Ollama server over HTTP", o3_cmd_sim},
    {"simulate", "days of server and sidecar in seconds, with a report", o3_cmd_simulate},
    {"probe", "measure one loaded model now, like ping", o3_cmd_probe},
    {"replay", "recorded measurements through the same judgement", o3_cmd_replay},
    {"history", "what was measured, what changed and why", o3_cmd_history},
    {"ack", "accept a changed level as the normal one", o3_cmd_ack},
    {"preset", "list the presets, or print one for a program", o3_cmd_preset},
    {"check-config", "check a configuration file", o3_cmd_check_config},
    {"config", "print the configuration in force and where it comes from", o3_cmd_config},
    {"tables", "the tables of keys, metrics, events and errors", o3_cmd_tables},
    {"healthcheck", "ask a running sidecar whether it is healthy", o3_cmd_healthcheck},
    {"version", "print the version", o3_cmd_version},
};
enum { N_COMMANDS = sizeof COMMANDS / sizeof *COMMANDS };

static void print_usage(FILE *to) {
    fputs("usage: o3 COMMAND [--config.file FILE] [options]\n\ncommands:\n", to);
    for (int i = 0; i < N_COMMANDS; i++)
        fprintf(to, "  %-13s %s\n", COMMANDS[i].name, COMMANDS[i].help);
    fputs("\n\"o3 COMMAND --help\" tells more about each.\n"
          "exit status: 0 good, 1 the answer is \"no\", 2 usage or configuration, 69 Ollama not reachable, 75 try "
          "later\n",
          to);
}

static void print_unknown(const char *name) {
    int best = -1, distance = 4; /* farther away is another word */
    for (int i = 0; i < N_COMMANDS; i++) {
        int d = o3_edit_distance(name, COMMANDS[i].name);
        if (d < distance) {
            distance = d;
            best = i;
        }
    }
    fprintf(stderr, "o3: unknown command \"%s\"", name);
    if (best >= 0) fprintf(stderr, "; did you mean \"%s\"?", COMMANDS[best].name);
    fputs("\n\"o3 --help\" lists the commands.\n", stderr);
}

/* A closed 0, 1 or 2 would be the number of the next file opened, and the log would go into the database. Opened the
 * wrong way round, so that using it still fails. */
static void fill_closed_stdio(void) {
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", fd ? O_RDONLY : O_WRONLY) < 0) return;
}

/* A full disk behind our output must not look like success. A reader that has seen enough is no fault to tell. */
static int finish_output(int status, const char *name) {
    errno = 0;
    bool is_written = fflush(stdout) == 0 && !ferror(stdout);
    if (is_written) return status;
    if (errno != EPIPE)
        fprintf(stderr, "o3 %s: the output cannot be written: %s\n", name, errno ? strerror(errno) : "write error");
    return status ? status : 75;
}

static bool asks_for_help(int argc, char **argv) {
    for (int i = 2; i < argc && strcmp(argv[i], "--"); i++)
        if (!strcmp(argv[i], "--help")) return true;
    return false;
}

/* --help counts wherever it stands, also beside what is wrong. getopt names argv[0] in its messages. */
static int run_command(int (*run)(int argc, char **argv), int argc, char **argv) {
    char name[32], help[] = "--help";
    snprintf(name, sizeof name, "o3 %s", argv[1]);
    if (asks_for_help(argc, argv)) return run(2, (char *[]){name, help, NULL});
    argv[1] = name;
    return run(argc - 1, argv + 1);
}

int main(int argc, char **argv) {
    fill_closed_stdio();
    const char *name = argc > 1 ? argv[1] : "";
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
        print_usage(stdout);
        return finish_output(0, "help");
    }
    if (!strcmp(name, "--version")) name = "version";
    for (int i = 0; i < N_COMMANDS; i++)
        if (!strcmp(name, COMMANDS[i].name)) return finish_output(run_command(COMMANDS[i].run, argc, argv), name);
    if (*name)
        print_unknown(name);
    else
        print_usage(stderr);
    return 2;
}
