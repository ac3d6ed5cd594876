"""Fetching one step ahead: the next step's tensor is read and copied while a step computes."""

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor


def prefetch(fetch: Callable[[int], Tensor], n_steps: int, device: torch.device) -> Generator[Tensor, None, None]:
    """Yield `fetch(0)`, `fetch(1)` ... on `device`. `fetch` runs in a thread and returns tensors in host memory.

    They reach a GPU from pinned memory on a separate stream, so neither host nor network waits for the copy.
    """
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def fetch_to_device(step: int) -> tuple[Tensor, torch.cuda.Event | None]:
        if stream is None:
            return fetch(step).to(device), None
        pinned = fetch(step).pin_memory()
        with torch.cuda.stream(stream):
            return pinned.to(device, non_blocking=True), stream.record_event()

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
