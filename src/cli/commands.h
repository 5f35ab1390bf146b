/* SPDX-License-Identifier: Apache-2.0 */
#ifndef O3_CLI_COMMANDS_H
#define O3_CLI_COMMANDS_H
/* Every command: argv[0] is "o3" and the command's name, the rest its arguments. Returns the exit status:
 * 0 good, 1 the answer is "no", 2 usage or configuration, 69 Ollama not reachable, 75 try later.
 * People read stdout; progress and errors go to stderr. --help prints the command's help to stdout and returns 0. */
int o3_cmd_serve(int argc, char **argv);
int o3_cmd_demo(int argc, char **argv);
int o3_cmd_sim(int argc, char **argv);
int o3_cmd_simulate(int argc, char **argv);
int o3_cmd_probe(int argc, char **argv);
int o3_cmd_ack(int argc, char **argv);
int o3_cmd_history(int argc, char **argv);
int o3_cmd_replay(int argc, char **argv);
int o3_cmd_preset(int argc, char **argv);
int o3_cmd_check_config(int argc, char **argv);
int o3_cmd_config(int argc, char **argv);
int o3_cmd_tables(int argc, char **argv);
int o3_cmd_healthcheck(int argc, char **argv);
int o3_cmd_version(int argc, char **argv);

#endif
