/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include "cli/commands.h"
#include "o3/text.h"

static const struct {
    const char *name, *help;
    int (*run)(int argc, char **argv);
} COMMANDS[] = {
    {"serve", "the sidecar: probe, judge, export", o3_cmd_serve},
    {"demo", "simulator and sidecar together: see it work without Ollama", o3_cmd_demo},
    {"sim", "a simulated Ollama server over HTTP", o3_cmd_sim},
    {"probe", "measure one loaded model now, like ping", o3_cmd_probe},
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
          "exit status: 0 good, 1 the answer is \"no\", 2 usage or configuration, 69 Ollama not reachable, 75 try later\n",
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

int main(int argc, char **argv) {
    const char *name = argc > 1 ? argv[1] : "";
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
        print_usage(stdout);
        return 0;
    }
    if (!strcmp(name, "--version")) name = "version";
    for (int i = 0; i < N_COMMANDS; i++)
        if (!strcmp(name, COMMANDS[i].name)) return COMMANDS[i].run(argc - 1, argv + 1);
    if (*name) print_unknown(name);
    else print_usage(stderr);
    return 2;
}
