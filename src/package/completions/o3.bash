# bash completion of o3
# SPDX-License-Identifier: Apache-2.0
# Made by ./dev docs from what the program says about itself; change that, not this file.

_o3() {
    local keys='--config.file --objectives.max_context_priority --objectives.stability_margin --search_strategy.context_discovery --search_strategy.initial_context_probe --search_strategy.search_factor --search_strategy.batch_adaptation.enabled --search_strategy.batch_adaptation.initial_batch_large --search_strategy.batch_adaptation.initial_batch_small --search_strategy.batch_adaptation.scaling_factor --search_strategy.batch_adaptation.max_batch --resource_headroom.vram_reserve_mb --resource_headroom.ram_reserve_mb --thresholds.max_vram_percent --thresholds.max_ram_percent --thresholds.max_temperature_c --thresholds.max_cpu_percent --statistics.min_samples --statistics.success_rate --statistics.max_variation --concurrency.levels --concurrency.stabilization_delay --timeouts.base --timeouts.connect --timeouts.first_byte --timeouts.control --preset_categories.max_context.target_context_percentile --preset_categories.balanced.target_context_range --preset_categories.fast_response.throughput_weight --ollama.url --ollama.poll_interval --ollama.memory_bandwidth --models.include --models.exclude --models.max --probe.enabled --probe.interval --probe.max_busy_ratio --probe.max_tokens_per_day --probe.suspect_interval --probe.suspect_tokens_per_day --probe.linger --probe.max_busy --probe.decode_tokens --probe.prefill_interval --probe.prefill_tokens --probe.idle_for --probe.keep_conversation --drift.enabled --drift.detector --drift.season --drift.min_effect --drift.false_alarms --drift.confirm_samples --drift.baseline_samples --tune.mode --tune.windows --publish.file --publish.folder --publish.configmap --publish.mounted --publish.writes_per_hour --publish.state --publish.alias --publish.primary_model --kubernetes.url --kubernetes.namespace --kubernetes.pod_uid --kubernetes.token_file --kubernetes.ca_file --kubernetes.timeout --web.listen --web.config_file --web.token --web.max_connections --web.timeout --results.path --store.path --store.retention --log.level --log.format'
    local cur=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}
    local words='' kind=''
    COMPREPLY=()
    # --key=value comes as three words.
    [ "$cur" = = ] && cur=
    [ "$before" = = ] && before=${COMP_WORDS[COMP_CWORD - 2]}
    if [ "$COMP_CWORD" = 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W 'serve demo sim simulate probe replay history ack preset check-config config tables healthcheck version --help --version' -- "$cur")
        return
    fi
    case $command:$before in
    demo:--seed) kind='nothing' ;;
    sim:--listen) kind='nothing' ;;
    sim:--seed) kind='nothing' ;;
    sim:--speed) kind='nothing' ;;
    sim:--event) kind='nothing' ;;
    sim:--scenario) kind='file' ;;
    sim:--preload) kind='nothing' ;;
    sim:--version) kind='nothing' ;;
    sim:--gpu) kind='nothing' ;;
    sim:--ram) kind='nothing' ;;
    sim:--noise) kind='nothing' ;;
    sim:--parallel) kind='nothing' ;;
    sim:--max-queue) kind='nothing' ;;
    sim:--keep-alive) kind='nothing' ;;
    sim:--library) words='recorded' ;;
    simulate:--scenario) kind='file' ;;
    simulate:--days) kind='nothing' ;;
    simulate:--for) kind='nothing' ;;
    simulate:--seed) kind='nothing' ;;
    simulate:--runs) kind='nothing' ;;
    simulate:--jobs) kind='nothing' ;;
    simulate:--html) kind='file' ;;
    probe:--count|probe:-n) kind='nothing' ;;
    probe:--interval|probe:-i) kind='nothing' ;;
    replay:--time) kind='nothing' ;;
    replay:--value) kind='nothing' ;;
    replay:--level) words='suspect confirmed' ;;
    replay:--after-alarm) words='restart acknowledge continue' ;;
    replay:--detector) words='cusum rank' ;;
    replay:--min-effect) kind='nothing' ;;
    replay:--false-alarms) kind='nothing' ;;
    replay:--interval) kind='nothing' ;;
    history:--since) kind='nothing' ;;
    history:--signal) words='decode_rate prefill_rate ttft load_time memory gpu_ratio context success' ;;
    history:--now) kind='nothing' ;;
    history:--width) kind='nothing' ;;
    ack:--signal) words='decode_rate prefill_rate ttft load_time memory gpu_ratio context success' ;;
    ack:--url) kind='nothing' ;;
    preset:--model) kind='nothing' ;;
    preset:--format) words='yaml json env modelfile ollama-options' ;;
    preset:--results) kind='folder' ;;
    tables:--markdown) words='config metrics events errors' ;;
    healthcheck:--timeout) kind='nothing' ;;
    *:--search_strategy.context_discovery) words='predictive binary_search' ;;
    *:--search_strategy.batch_adaptation.enabled) words='true false' ;;
    *:--probe.enabled) words='true false' ;;
    *:--drift.enabled) words='true false' ;;
    *:--drift.detector) words='cusum rank' ;;
    *:--drift.season) words='true false' ;;
    *:--tune.mode) words='off propose canary' ;;
    *:--publish.state) words='true false' ;;
    *:--publish.alias) words='true false' ;;
    *:--log.level) words='error warn info debug' ;;
    *:--log.format) words='logfmt json' ;;
    *:--config.file) kind='file' ;;
    *:--publish.file|*:--web.config_file|*:--results.path|*:--store.path) kind='file' ;;
    *:--*.*) kind='nothing' ;;
    preset:get) words='max_context balanced fast_response' ;;
    esac
    if [ -z "$words$kind" ] && [[ $cur == -* ]]; then
        case $command in
        serve) words="--help $keys" ;;
        demo) words="--seed --help $keys" ;;
        sim) words="--listen --seed --speed --event --scenario --preload --version --gpu --ram --noise --parallel --max-queue --keep-alive --library --help" ;;
        simulate) words="--scenario --days --for --seed --runs --jobs --no-twin --json --html --print-scenario --verbose --help" ;;
        probe) words="--count --interval --json --help $keys" ;;
        replay) words="--jsonl --values --csv --time --value --level --after-alarm --detector --min-effect --false-alarms --interval --skip-bad --json --help $keys" ;;
        history) words="--since --signal --now --width --ascii --json --help $keys" ;;
        ack) words="--signal --url --json --help $keys" ;;
        preset) words="--model --format --results --json --help $keys" ;;
        check-config) words="--json --help $keys" ;;
        config) words="--origin --json --help $keys" ;;
        tables) words="--json --markdown --help" ;;
        healthcheck) words="--timeout --ready --json --help $keys" ;;
        version) words="--json --help" ;;
        esac
    elif [ -z "$words$kind" ] && [ "$COMP_CWORD" = 2 ]; then
        case $command in
        preset) words='list get' ;;
        config) words='dump example' ;;
        esac
    fi
    if [ -z "$words$kind" ]; then
        case $command in check-config|replay) kind='file' ;; esac
    fi
    case $kind in
    file) mapfile -t COMPREPLY < <(compgen -f -- "$cur") && compopt -o filenames ;;
    folder) mapfile -t COMPREPLY < <(compgen -d -- "$cur") && compopt -o filenames ;;
    nothing) ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur") ;;
    esac
}
complete -F _o3 o3
