"""SCRIPT  Many workers: a simulation of stragglers, failures and retries, beside real runs of 1, 2 and 4 processes.

    python -m benchmarks.scaling                    checks the simulation, then what it says of large clusters
    python -m benchmarks.scaling --only project     the latter alone, in a second

Real tasks sleep, so that this machine's cores are not the limit. Durations are log-normal: the longest of 80 takes some
four times the mean.
"""

import argparse
import heapq
import math
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np

from core.parallel import run_parallel

MEAN_S, SIGMA, N_TASKS = 0.25, 0.6, 80
N_WORKERS = (1, 2, 4)
SLOW_FACTOR, KILL_AFTER_S = 3.0, 2.0


def simulate(
    durations_s: Sequence[float],
    n_workers: int,
    *,
    dispatch_s: float = 0.0,
    slow_factors: Mapping[int, float] | None = None,
    time_to_failure: Callable[[int, float], float] = lambda _worker, _now: math.inf,
    restart_s: float = 0.0,
) -> float:
    """Seconds from the first start to the last end of tasks.

    Each is in order for the first worker that is free, as a scheduler deals them, `dispatch_s` a task.
    `time_to_failure(worker, now)` is how many seconds a worker that starts a task will live. Its task is then started
    again by another, and a new worker takes its place `restart_s` later.
    """
    queue, idle = deque(durations_s), deque[int]()
    events: list[tuple[float, int, float | None]] = [(0.0, worker, None) for worker in range(n_workers)]
    scheduler_free_s = makespan_s = 0.0
    while events:
        now, worker, lost_task_s = heapq.heappop(events)
        if lost_task_s is None:
            idle.append(worker)
        else:
            queue.appendleft(lost_task_s)
            heapq.heappush(events, (now + restart_s, worker, None))
        while queue and idle:
            chosen, task_s = idle.popleft(), queue.popleft()
            start = scheduler_free_s = max(now, scheduler_free_s) + dispatch_s
            run_s = task_s * (slow_factors or {}).get(chosen, 1.0)
            lives_s = time_to_failure(chosen, start)
            if lives_s < run_s:
                heapq.heappush(events, (start + lives_s, chosen, task_s))
            else:
                makespan_s = max(makespan_s, start + run_s)
                heapq.heappush(events, (start + run_s, chosen, None))
    return makespan_s


def draw_durations(n_tasks: int, mean_s: float, seed: int = 0) -> list[float]:
    """Log-normal durations of mean `mean_s`."""
    normal = np.random.default_rng(seed).normal(-(SIGMA**2) / 2, SIGMA, n_tasks)
    return (mean_s * np.exp(normal)).tolist()


@dataclass(frozen=True)
class Run:
    """A task as a worker ran it."""

    pid: int
    start_s: float
    end_s: float


def sleep_for(duration_s: float) -> Run:
    """A task; of a worker with SLOW in its environment it takes longer."""
    started = time.time()
    time.sleep(duration_s * float(os.environ.get("EARMARK_SLOW_FACTOR", "1")))
    return Run(os.getpid(), started, time.time())


def make_slow() -> int:
    os.environ["EARMARK_SLOW_FACTOR"] = str(SLOW_FACTOR)
    return os.getpid()


@contextmanager
def start_cluster(n_workers: int) -> Iterator[tuple[str, list[int], Callable[[], None]]]:
    """A cluster of worker processes: its address, their process ids, and what makes the first of them slow."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=n_workers, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        pids = client.run(os.getpid)
        first = next(iter(pids))

        def make_first_slow() -> None:
            client.run(make_slow, workers=[first])

        yield cluster.scheduler_address, list(pids.values()), make_first_slow


def run_tasks(address: str, durations_s: Sequence[float], kill_pid: int | None = None) -> list[Run]:
    """The tasks on a real cluster, of which the process `kill_pid` is killed KILL_AFTER_S after the first has ended."""
    runs: list[Run] = []
    with closing(run_parallel(sleep_for, durations_s, 1, address)) as results:
        for run in results:
            if not runs and kill_pid:
                threading.Timer(KILL_AFTER_S, os.kill, [kill_pid, signal.SIGKILL]).start()
            runs.append(run)
    return runs


def makespan(runs: Sequence[Run]) -> float:
    return max(run.end_s for run in runs) - min(run.start_s for run in runs)


def check(what: str, real_s: float, simulated_s: float) -> None:
    print(f"{what:<44} real {real_s:6.2f} s, simulated {simulated_s:6.2f} s: {simulated_s / real_s:.3f}")


def check_against_real_runs() -> None:
    """Print simulated makespans beside those of real workers."""
    durations_s = draw_durations(N_TASKS, MEAN_S)
    for n_workers in N_WORKERS:
        with start_cluster(n_workers) as (address, pids, _):
            list(run_parallel(sleep_for, [0.0] * 4, 1, address))  # imports
            if n_workers == max(N_WORKERS):
                started = time.perf_counter()
                n_empty = 2_000
                list(run_parallel(sleep_for, [0.0] * n_empty, 1, address))
                print(f"scheduler, with {n_workers} workers: {n_empty / (time.perf_counter() - started):.0f} tasks/s")
            check(f"{n_workers} workers", makespan(run_tasks(address, durations_s)), simulate(durations_s, n_workers))
            if n_workers == 1:
                continue
            runs = run_tasks(address, durations_s, kill_pid=pids[-1])
            first_s = min(run.start_s for run in runs)
            last_s = max(run.end_s for run in runs if run.pid == pids[-1])
            new_starts = [run.start_s for run in runs if run.pid not in pids]
            killed_s = min(run.end_s for run in runs) + KILL_AFTER_S - first_s
            restart_s = min(new_starts) - first_s - killed_s if new_starts else math.inf
            assert last_s - first_s <= killed_s

            def time_to_failure(worker: int, now: float, at: float = killed_s, killed: int = n_workers - 1) -> float:
                return at - now if worker == killed and now <= at else math.inf

            simulated_s = simulate(durations_s, n_workers, time_to_failure=time_to_failure, restart_s=restart_s)
            check(f"{n_workers} workers, one killed, back after {restart_s:.1f} s", makespan(runs), simulated_s)
        with start_cluster(n_workers) as (address, _, make_first_slow):
            make_first_slow()
            list(run_parallel(sleep_for, [0.0] * 4, 1, address))
            simulated_s = simulate(durations_s, n_workers, slow_factors={0: SLOW_FACTOR})
            check(
                f"{n_workers} workers, one {SLOW_FACTOR:g} times slower",
                makespan(run_tasks(address, durations_s)),
                simulated_s,
            )


@dataclass(frozen=True)
class Stage:
    """What an hour of sound costs in a stage, as measured: docs/scaling.md says how."""

    name: str
    cpu_s: float
    read_mb: float
    written_mb: float


STAGES = (
    Stage("make features", 9.6, 74.0, 118.0),
    Stage("make predict INPUT=, one cnn_small", 14.4, 74.0, 7.6),
    Stage("make train, an epoch of one cnn_small", 3.0, 17.7, 0.0),
)
CORPORA_H = {"AudioSet": 5_800.0, "100 million hours": 1e8}
N_CORES = {"AudioSet": 100, "100 million hours": 10_000}
CORE_HOUR_USD, TB_MONTH_USD = 0.04, 20.0
"""Assumed prices: a core of a cloud's virtual machine by the hour, object storage by the month."""
TASK_S, RESTART_S, FAILURE_HOURS, SLOW_SHARE = 10.0, 60.0, 20.0, 0.05
"""Assumed: a worker dies every 20 hours, as preemptible machines do, and one of 20 takes twice as long."""
DISPATCH_S = 1 / 184
"""Of the scheduler, as the check prints it where scheduler, command and four workers share two cores."""


def project() -> None:
    """Print what stages cost for large corpora, and how busy workers are."""
    print(f"core-hour {CORE_HOUR_USD} USD, TB-month {TB_MONTH_USD} USD")
    for corpus, hours in CORPORA_H.items():
        n_cores = N_CORES[corpus]
        for stage in STAGES:
            core_hours = hours * stage.cpu_s / 3600
            read_gbit_s = stage.read_mb * 8e-3 / stage.cpu_s * n_cores
            print(
                f"{corpus}, {stage.name}: {core_hours:,.0f} core-hours, {core_hours * CORE_HOUR_USD:,.0f} USD, "
                f"{core_hours / n_cores:,.1f} h on {n_cores:,} cores that read {read_gbit_s:,.1f} Gbit/s; "
                f"reads {hours * stage.read_mb / 1e6:,.2f} TB, writes {hours * stage.written_mb / 1e6:,.2f} TB "
                f"({hours * stage.written_mb / 1e6 * TB_MONTH_USD:,.0f} USD a month)"
            )
    for n_workers in (100, 1_000, 5_000):
        print_efficiency(n_workers, n_tasks=20 * n_workers)


def print_efficiency(n_workers: int, n_tasks: int) -> None:
    """Print the share of the workers' time that goes into tasks, with and without what may go wrong."""
    durations_s, random = sorted(draw_durations(n_tasks, TASK_S), reverse=True), np.random.default_rng(1)
    slow_factors = dict.fromkeys(range(round(SLOW_SHARE * n_workers)), 2.0)

    def time_to_failure(_worker: int, _now: float) -> float:
        return float(random.exponential(FAILURE_HOURS * 3600))

    trouble = {
        "nothing goes wrong": simulate(durations_s, n_workers),
        "the scheduler's rate": simulate(durations_s, n_workers, dispatch_s=DISPATCH_S),
        "slow workers": simulate(durations_s, n_workers, slow_factors=slow_factors),
        "failures": simulate(durations_s, n_workers, time_to_failure=time_to_failure, restart_s=RESTART_S),
    }
    shares = ", ".join(f"{what} {sum(durations_s) / n_workers / each_s:.2f}" for what, each_s in trouble.items())
    print(f"{n_workers:,} workers, {n_tasks:,} tasks of {TASK_S:g} s, share of the ideal: {shares}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["check", "project"], help="Only this part.")
    options = parser.parse_args()
    if options.only != "project":
        check_against_real_runs()
    if options.only != "check":
        project()


if __name__ == "__main__":
    main()
