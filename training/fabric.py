"""One place that decides device and precision of training."""

from __future__ import annotations

import warnings

import torch
from lightning_fabric import Fabric

from galaxy_da.devices import best_device, has_bf16

__all__ = ["make_fabric"]


def make_fabric() -> Fabric:
    """Return a Fabric on the best device, in bf16 where it is native."""
    device = best_device()
    torch.set_float32_matmul_precision("high")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fabric = Fabric(
            accelerator=device.type,
            devices=1,
            precision="bf16-mixed" if has_bf16(device) else "32-true",
        )
    fabric.launch()
    return fabric
