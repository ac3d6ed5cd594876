"""Fetching ahead: the next step's tensor, or the next buffer of crops, is read and copied while a step computes."""

import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from core.device import to_device


def prefetch(fetch: Callable[[int], Tensor], n_steps: int, device: torch.device) -> Generator[Tensor, None, None]:
    """Yield `fetch(0)`, `fetch(1)` ... on `device`. `fetch` runs in a thread and returns tensors in host memory.

    They reach a GPU from pinned memory on a separate stream, so neither host nor network waits for the copy.
    """
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def fetch_to_device(step: int) -> tuple[Tensor, torch.cuda.Event | None]:
        values = fetch(step)
        if stream is None:
            return values.to(device), None
        with torch.cuda.stream(stream):
            return to_device(values, device), stream.record_event()

    with ThreadPoolExecutor(1, thread_name_prefix="fetch") as executor:
        next_fetch = executor.submit(fetch_to_device, 0)
        for step in range(n_steps):
            tensor, copy_done = next_fetch.result()
            if step + 1 < n_steps:
                next_fetch = executor.submit(fetch_to_device, step + 1)
            if copy_done is not None:
                compute_stream = torch.cuda.current_stream(device)
                compute_stream.wait_event(copy_done)
                tensor.record_stream(compute_stream)  # whose work must end before the copying stream reuses the memory
            yield tensor


def read_shuffled(
    gather: Callable[[Tensor], Tensor], positions: Tensor, buffer_steps: int, cancelled: threading.Event
) -> Generator[Tensor]:
    """Yield the crops of each step by their positions [3, n_steps, batch_size], in host memory.

    The crops of `buffer_steps` steps are read together in the order of the file, while those before are used.
    """
    n_steps, batch_size = positions.shape[1:]

    def read(number: int) -> Tensor:
        chosen = positions[:, number * buffer_steps : (number + 1) * buffer_steps].flatten(1)
        offsets, _, starts = chosen
        buffer: Tensor | None = None
        for part in (offsets + starts).argsort().split(batch_size):
            if cancelled.is_set():
                break
            crops = gather(chosen[:, part])
            if buffer is None:
                buffer = crops.new_empty(chosen.shape[1], *crops.shape[1:])
            buffer[part] = crops
        return torch.empty(0) if buffer is None else buffer

    for buffer in prefetch(read, -(-n_steps // buffer_steps), torch.device("cpu")):
        yield from buffer.split(batch_size)
