"""Division of a batch among training processes, and exchange of values between them.

Every process runs the same program with the same draws. Process k of n computes rows k, k + n, ...
of each batch. `Share.whole` and `Share.mean` then return the rows and means of the whole batch, so
that every process has the same loss. Their backward passes sum gradients over processes, and DDP
divides by the number of processes. The result is the gradient that one process would compute.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx

from galaxy_da.errors import StorageError

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """Rows of process `number` of `processes`, among the `rows` of all of them."""

    rows: int
    number: int = 0
    processes: int = 1

    @classmethod
    def of(cls, rows: int) -> Self:
        """Share rows among the running processes."""
        return cls(rows, dist.get_rank(), dist.get_world_size()) if _in_group() else cls(rows)

    @property
    def own(self) -> slice:
        """The rows of this process."""
        return slice(self.number, self.rows, self.processes)

    def __len__(self) -> int:
        return len(range(self.rows)[self.own])

    def whole(self, own: Tensor, dim: int = 0) -> Tensor:
        """Join the rows of all processes along `dim`, with gradients.

        Every process must call this.
        """
        if self.processes == 1:
            return own
        mine = own.movedim(dim, 0)
        rows = mine.new_zeros((self.rows, *mine.shape[1:]), device=_exchange_device(own))
        rows[self.own] = mine.to(rows.device)
        return _sum(rows).to(own.device).movedim(0, dim)

    def mean(self, own: Tensor, count: Tensor | int) -> Tensor:
        """Return the mean of all processes' means, weighted by `count`, with gradients.

        The mean of a process without any item may be any finite value.
        """
        if self.processes == 1:
            return own
        total, weight = _sum(torch.stack([own * count, own.new_ones(()) * count]))
        mean: Tensor = total / weight.clamp_min(1)
        return mean


def is_first() -> bool:
    """Return True in the process that writes and prints."""
    return not _in_group() or dist.get_rank() == 0


def agreed(value: T) -> T:
    """Return the first process's value, on every process."""
    if not _in_group():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def everyones(value: T) -> list[T]:
    """Return the values of all processes, in order."""
    if not _in_group():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def wait() -> None:
    """Wait until every process gets here."""
    if _in_group():
        dist.barrier()


def check_process_group(checkpoint: Path, done: int) -> None:
    """Refuse to continue from a checkpoint unless all processes read the same steps or epochs."""
    if len(set(everyones(done))) > 1:
        raise StorageError(
            f"{checkpoint}: is not the same file for every process; choose an --out on storage "
            "that all hosts see"
        )


class _Sum(torch.autograd.Function):
    """Sum over processes, whose gradient is the sum of all processes' gradients."""

    @staticmethod
    def forward(ctx: FunctionCtx, own: Tensor) -> Tensor:
        """Return the sum."""
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> Tensor:
        """Return the sum of all processes' gradients."""
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


def _sum(own: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(own)
    return total


def _in_group() -> bool:
    return dist.is_available() and dist.is_initialized()


def _exchange_device(tensor: Tensor) -> torch.device:
    """Return the device on which processes can exchange a tensor; NCCL needs a GPU."""
    if dist.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return tensor.device
