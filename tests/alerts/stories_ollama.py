# SPDX-License-Identifier: Apache-2.0
"""Trouble of Ollama: what each alert should tell, what it holds back, and the cure."""

import contextlib
import itertools
import threading

import requests

from harness import LIMIT_S, Simulator, free_port, load_for_good

MODEL = Simulator.MODEL


@contextlib.contextmanager
def users(simulator, n=1, pause_s=0.1, **options):
    """Requests of n users at a time, with a pause between, until the end of the block; some may find nobody."""
    over = threading.Event()

    def ask(together):
        while not over.is_set():
            with contextlib.suppress(requests.RequestException, AssertionError):
                simulator.load(**options)
            with contextlib.suppress(threading.BrokenBarrierError):
                together.wait(LIMIT_S)
            over.wait(pause_s)

    together = threading.Barrier(n)
    threads = [threading.Thread(target=ask, args=(together,), daemon=True) for _ in range(n)]
    for t in threads:
        t.start()
    try:
        yield
    finally:
        over.set()
        together.abort()
        for t in threads:
            t.join()


def outage_and_lost_gpu(stage):
    """What follows from a lost GPU is held back, and the cure resolves all of it."""
    watch, simulator = stage.watch, stage.ollama()
    sidecar = stage.sidecar(simulator)
    stage.wait_baseline(sidecar)
    assert watch.told(sidecar, "O3GpuLost") == [] and watch.told(sidecar, "O3DecodeRegressed") == []
    simulator.kill()
    watch.wait_told(sidecar, "O3OllamaDown", "pager")
    simulator = stage.again(simulator, "at 0s gpu lost")
    watch.wait_resolved(sidecar, "O3OllamaDown")
    watch.wait_told(sidecar, "O3GpuLost", "pager")
    watch.wait_suppressed(sidecar, "O3GpuShareFell")
    watch.wait_suppressed(sidecar, "O3DecodeRegressed")
    assert watch.told(sidecar, "O3GpuShareFell") == [] and watch.told(sidecar, "O3DecodeRegressed") == []
    stage.again(simulator)
    watch.wait_resolved(sidecar, "O3GpuLost")
    watch.wait_gone(sidecar, "O3DecodeRegressed")


def gpu_lost_unseen(stage):
    watch, simulator = stage.watch, stage.ollama()
    sidecar = stage.sidecar(simulator)
    stage.wait_baseline(sidecar)
    simulator = stage.again(simulator, "at 0s gpu lost unseen")
    watch.wait_told(sidecar, "O3GpuLostUnseen", "pager")
    watch.wait_suppressed(sidecar, "O3DecodeRegressed")
    assert watch.told(sidecar, "O3GpuLost") == []
    stage.again(simulator)
    watch.wait_resolved(sidecar, "O3GpuLostUnseen")


def less_of_it_on_the_gpu(stage):
    watch, simulator = stage.watch, stage.ollama(flags=["--gpu", "4GiB"])
    sidecar = stage.sidecar(simulator)
    stage.wait_baseline(sidecar, "gpu_ratio")
    load_for_good(simulator, sidecar, num_ctx=16384)
    watch.wait_told(sidecar, "O3GpuShareFell", "tickets")
    assert watch.told(sidecar, "O3GpuLost") == []
    load_for_good(simulator, sidecar, num_ctx=4096)
    watch.wait_resolved(sidecar, "O3GpuShareFell")


def reload_thrash(stage):
    """Two clients that ask for different contexts."""
    watch, simulator = stage.watch, stage.ollama(flags=["--speed", "20"])
    sidecar = stage.sidecar(simulator)
    contexts = itertools.cycle([2048, 4096])

    def load_and_look():
        simulator.load(num_ctx=next(contexts))
        sidecar.wait_metric("o3_model_context_tokens", lambda v: True, model=MODEL)
        return watch.told(sidecar, "O3ReloadThrash")

    watch.wait(sidecar, "O3ReloadThrash", load_and_look)
    watch.wait_told(sidecar, "O3ReloadThrash", "tickets")
    watch.wait_resolved(sidecar, "O3ReloadThrash")


def hanging_runner(stage):
    """Probes that fail in time, and one that never ends: each is told by its own alert. Another server is the cure."""
    watch = stage.watch
    flags = ["--keep-alive", "-1", "--preload", "sim-small"]
    servers = [stage.start(Simulator, events=["at 12s hang for 1h"], flags=flags, load=None, port=free_port()) for _ in range(2)]
    failing = stage.sidecar(servers[0], {"timeouts.base": "1s", "timeouts.first_byte": "1s"})
    waiting = stage.sidecar(servers[1], {"timeouts.base": "1h", "timeouts.first_byte": "1h"})
    watch.wait_told(failing, "O3TokensStopped", "pager")
    watch.wait_told(waiting, "O3ProbeStale", "tickets")
    assert watch.told(failing, "O3ProbeStale") == [] and watch.told(waiting, "O3TokensStopped") == []
    for server in servers:
        stage.again(server)
    failing.write_config({**failing.config, "timeouts.base": "60s", "timeouts.first_byte": "60s"})
    failing.reload()
    watch.wait_resolved(failing, "O3TokensStopped")
    watch.wait_resolved(waiting, "O3ProbeStale")


def stuck_runner(stage):
    """Users wait for a runner that does nothing; a test after probe.max_busy tells it from work."""
    watch, simulator = stage.watch, stage.ollama(["at 15s hang for 75s"])
    patience = {"probe.max_busy": "10s", "probe.idle_for": "2s", "timeouts.base": "5s", "timeouts.first_byte": "5s"}
    sidecar = stage.sidecar(simulator, patience)
    with users(simulator, 2, num_ctx=4096, num_predict=200):
        watch.wait_told(sidecar, "O3RunnerStuck", "pager")
    watch.wait_resolved(sidecar, "O3RunnerStuck")


ALL = [stuck_runner, reload_thrash, outage_and_lost_gpu, gpu_lost_unseen, less_of_it_on_the_gpu, hanging_runner]
