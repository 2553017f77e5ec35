"""Processes that train together: who has which rows, and what all of them found.

Every process runs the same program with the same draws. Of a batch it computes its own rows, from
its number in steps of how many there are; `Share.whole` and `Share.mean` then give each process the
rows and means of the whole batch, so that each has the loss of the whole. Their backward passes sum
gradients over processes and DDP's average divides by as many: what remains is the gradient of that
one loss, as a single process computes it.
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

__all__ = ["Share", "agreed", "check_process_group", "everyones", "is_first", "wait"]

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """What one process has of some rows.

    Attributes
    ----------
    rows : int
        How many there are in all.
    number, processes : int
        Which process this is, from 0, and of how many.
    """

    rows: int
    number: int = 0
    processes: int = 1

    @classmethod
    def of(cls, rows: int) -> Self:
        """Share rows among the processes there are."""
        return cls(rows, dist.get_rank(), dist.get_world_size()) if _joined() else cls(rows)

    @property
    def own(self) -> slice:
        """The rows of this process."""
        return slice(self.number, self.rows, self.processes)

    def __len__(self) -> int:
        return len(range(self.rows)[self.own])

    def whole(self, own: Tensor, dim: int = 0) -> Tensor:
        """Put together what each process has of its rows.

        Parameters
        ----------
        own : (..., len(self), ...) tensor
            Rows along `dim`. Every process has to call.
        dim : int
            Which axis.

        Returns
        -------
        (..., rows, ...) tensor
            All rows in order, with gradients.
        """
        if self.processes == 1:
            return own
        mine = own.movedim(dim, 0)
        filled = mine.new_zeros((self.rows, *mine.shape[1:]), device=_meeting_place(own))
        filled[self.own] = mine.to(filled.device)
        return _sum(filled).to(own.device).movedim(0, dim)

    def mean(self, own: Tensor, count: Tensor | int) -> Tensor:
        """Return the mean over all processes of their means.

        Parameters
        ----------
        own : scalar tensor
            The mean over `count` things of this process; anything finite where there are none.
        count : int or scalar tensor
            Its weight.

        Returns
        -------
        scalar tensor
            With gradients.
        """
        if self.processes == 1:
            return own
        total, weight = _sum(torch.stack([own * count, own.new_ones(()) * count]))
        mean: Tensor = total / weight.clamp_min(1)
        return mean


def is_first() -> bool:
    """Say whether this process is the one that writes and prints."""
    return not _joined() or dist.get_rank() == 0


def agreed(value: T) -> T:
    """Return the first process's value, on every process."""
    if not _joined():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def everyones(value: T) -> list[T]:
    """Return the values of all processes, in order."""
    if not _joined():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def wait() -> None:
    """Go on when every process is here."""
    if _joined():
        dist.barrier()


def check_process_group(checkpoint: Path, done: int) -> None:
    """Refuse to go on where the processes did not find the same.

    Parameters
    ----------
    checkpoint : Path
        What was looked for.
    done : int
        How far it got, 0 where there is none.

    Raises
    ------
    StorageError
        If another process found something else.
    """
    if len(set(everyones(done))) > 1:
        raise StorageError(
            f"{checkpoint}: is not the same file for every process; choose an --out on storage "
            "that all hosts see"
        )


class _Sum(torch.autograd.Function):
    """The sum over processes; its gradient is the sum of theirs."""

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


def _joined() -> bool:
    return dist.is_available() and dist.is_initialized()


def _meeting_place(tensor: Tensor) -> torch.device:
    """Where the processes can exchange a tensor: NCCL knows GPUs alone."""
    if dist.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return tensor.device
