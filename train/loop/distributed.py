"""One network trained by several processes that torchrun started, its gradients averaged over them."""

from core.entrypoint import get_logger

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from core.device import pick_device, pick_devices
from core.errors import UserError


@dataclass(frozen=True)
class Ranks:
    """The processes that train one network: the number of this one, and how many there are."""

    rank: int = 0
    n_ranks: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """The clips of each batch that are this process's."""
        n_own = batch_size // self.n_ranks
        return slice(self.rank * n_own, (self.rank + 1) * n_own)

    def distribute(self, network: nn.Module) -> nn.Module:
        """The network, with the weights of the first rank, and gradients that are averaged over all ranks.

        Layers that are frozen must be so before, and stay so.
        """
        return DistributedDataParallel(network) if self.n_ranks > 1 else network

    def sum(self, values: Tensor, device: torch.device) -> Tensor:
        """The sum of the ranks' `values`; they are exchanged on `device`."""
        if self.n_ranks == 1:
            return values
        total = values.to(device, copy=True)
        distributed.all_reduce(total)
        return total.to(values.device)

    def copy_from_first(self, value: Any) -> Any:
        """What the first rank has for `value`."""
        values = [value]
        if self.n_ranks > 1:
            distributed.broadcast_object_list(values)
        return values[0]

    def copy_buffers_from_first(self, network: nn.Module) -> None:
        """Take the running statistics of batch normalisation that the first rank has."""
        for buffer in network.buffers() if self.n_ranks > 1 else ():
            distributed.broadcast(buffer, 0)


@contextmanager
def join_ranks(device_names: str) -> Iterator[tuple[Ranks, list[torch.device]]]:
    """The ranks that torchrun started, and this one's device, a GPU each; without torchrun one rank with all devices.

    All but the first print nothing but errors. Raises UserError where another rank is lost.
    """
    n_ranks = int(os.environ["WORLD_SIZE"]) if distributed.is_torchelastic_launched() else 1
    if n_ranks == 1:
        yield Ranks(), pick_devices(device_names)
        return
    device = pick_device(device_names)
    if device.type == "cuda":
        device = pick_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    ranks = Ranks(distributed.get_rank(), n_ranks)
    try:
        if ranks.is_first:
            yield ranks, [device]
        else:
            get_logger().setLevel("ERROR")
            with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
                yield ranks, [device]
    except RuntimeError as error:
        if isinstance(error, distributed.DistError) or "gloo" in str(error):
            raise UserError(f"rank {ranks.rank} has lost another, whose own message says why") from None
        raise
    finally:
        distributed.destroy_process_group()
