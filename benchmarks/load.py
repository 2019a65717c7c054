"""Owns the load generator: the one process that drives the traffic and reads the clocks.

It is started by `measure.py` as `python -m benchmarks.load`, with its options as one JSON argument,
and answers with one JSON line.
"""

import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from time import perf_counter, process_time

import uvloop

from benchmarks import cpu, memory
from benchmarks.traffic import Load
from benchmarks.workloads import TRAFFIC


@dataclass(frozen=True, slots=True)
class Options:
    """What the generator is to do, and to whom."""

    traffic: str
    url: str
    server_pid: int
    connections: int
    size: int
    warmup: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run saw: counted from the end of the warm-up on, for `seconds`."""

    seconds: float
    messages: int
    server_cpu: float  # seconds, all processes of the server
    generator_cpu: float  # seconds
    p50_ms: float
    p99_ms: float
    latency_samples: int
    errors: int
    first_error: str
    memory_kb: int  # how much more the server holds than before the start


def percentile(ordered: list[float], share: float) -> float:
    """The value below which that share of them is."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


async def _measure(load: Load, options: Options) -> Outcome:
    await load.open()
    if load.errors:  # no messages would arrive
        return _failed(load)
    memory_before = memory.tree_kb(options.server_pid)
    load.start()
    await asyncio.sleep(options.warmup)

    load.latencies.clear()
    # The readings take a moment (they walk /proc): the server's first and the clock's last.
    cpu_before = cpu.tree(options.server_pid)
    counts_before, own_before, began = load.counts(), process_time(), perf_counter()
    await asyncio.sleep(options.seconds)
    await load.settle()
    cpu_after = cpu.tree(options.server_pid)
    counts_after, own_after, ended = load.counts(), process_time(), perf_counter()
    latencies = sorted(load.latencies)
    memory_after = memory.tree_kb(options.server_pid)

    await load.stop()
    delivered = [after - before for before, after in zip(counts_before, counts_after, strict=True)]
    if stalled := delivered.count(0):
        load.fail(f"{stalled} of {len(delivered)} connections delivered nothing")
    try:
        server_cpu = cpu.spent(cpu_before, cpu_after)
    except cpu.TreeChanged as error:
        server_cpu = 0.0
        load.fail(str(error))
        load.first_error = str(error)  # it explains all the others
    return Outcome(
        seconds=ended - began,
        messages=sum(delivered),
        server_cpu=server_cpu,
        generator_cpu=own_after - own_before,
        p50_ms=percentile(latencies, 0.50) * 1e3,
        p99_ms=percentile(latencies, 0.99) * 1e3,
        latency_samples=len(latencies),
        errors=load.errors,
        first_error=load.first_error,
        memory_kb=memory_after - memory_before,
    )


def _failed(load: Load) -> Outcome:
    return Outcome(0.0, 0, 0.0, 0.0, 0.0, 0.0, 0, load.errors, load.first_error, 0)


async def _run(options: Options) -> Outcome:
    make = TRAFFIC[options.traffic].load
    return await _measure(make(options.url, options.connections, options.size), options)


def main() -> None:
    """Run once and print the outcome."""
    options = Options(**json.loads(sys.argv[1]))
    outcome = uvloop.run(_run(options))
    print(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main()
