"""Device and floating-point precision of the networks."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

import torch

__all__ = ["Precision", "autocast", "best_device", "has_bf16"]

Precision = Literal["auto", "fp32", "bf16"]


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
