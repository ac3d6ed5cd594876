"""One step ahead: the coming step's batch is prepared, or its frames are read and copied, while this step computes."""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def one_step_ahead(prepare: Callable[[int], T], n_steps: int) -> Generator[T, None, None]:
    """`prepare(0)`, `prepare(1)` ..., each made in a thread of its own, on one core, while the one before is used."""
    n_threads = torch.get_num_threads()
    with ThreadPoolExecutor(1, "ahead") as worker:
        worker.submit(_stay_on_one_core).result()
        torch.set_num_threads(n_threads)
        coming = worker.submit(prepare, 0)
        for step in range(n_steps):
            ready = coming.result()
            if step + 1 < n_steps:
                coming = worker.submit(prepare, step + 1)
            yield ready


def _stay_on_one_core() -> None:
    """Give PyTorch one core in this thread; part of the setting is everybody's, and is put back by the caller."""
    torch.set_num_threads(1)
    torch.get_num_threads()  # binds the thread to it, which the first operation otherwise does


def sent_ahead(fetch: Callable[[int], Tensor], n_steps: int, gpu: torch.device) -> Generator[Tensor, None, None]:
    """`fetch(0)`, `fetch(1)` ... of host memory, on the GPU.

    They go from pinned memory on a stream of their own, so neither host nor network waits for the copy.
    """
    stream = torch.cuda.Stream(gpu)

    def send(step: int) -> tuple[Tensor, torch.cuda.Event]:
        pinned = fetch(step).pin_memory()
        with torch.cuda.stream(stream):
            return pinned.to(gpu, non_blocking=True), stream.record_event()

    for tensor, arrived in one_step_ahead(send, n_steps):
        present = torch.cuda.current_stream(gpu)
        present.wait_event(arrived)
        # The tensor's memory belongs to the copying stream; it must not be reused before this one is done.
        tensor.record_stream(present)
        yield tensor
