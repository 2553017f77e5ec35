"""Device and floating-point precision of the networks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock
from typing import Literal
from weakref import WeakKeyDictionary

import torch
from torch import nn

Precision = Literal["auto", "fp32", "bf16"]

_LOCKS: WeakKeyDictionary[nn.Module, Lock] = WeakKeyDictionary()
_NEW_LOCK = Lock()


def best_device() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_bf16(device: torch.device) -> bool:
    """Return True if a device multiplies bfloat16 natively (AMX or AVX-512 BF16 on CPUs)."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[None]:
    """Return a context that runs networks at a precision; ``auto`` is bf16 if native."""
    bf16 = precision == "bf16" or (precision == "auto" and has_bf16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=bf16)


@contextmanager
def placed(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Move a network to a device; until the block ends, no other thread can move it."""
    with _NEW_LOCK:
        lock = _LOCKS.setdefault(network, Lock())
    with lock:
        network.to(device)
        yield
