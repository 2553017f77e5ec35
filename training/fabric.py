"""One place that decides device and precision of training."""

from __future__ import annotations

import warnings

import torch
from lightning_fabric import Fabric

from galaxy_da.devices import best_device, has_bf16

__all__ = ["make_fabric"]


def make_fabric(devices: int = 1) -> Fabric:
    """Return a launched Fabric on the best kind of device, in bf16 where it is native.

    Parameters
    ----------
    devices : int
        How many GPUs, or processes on the CPU, share each batch. With more than one the running
        command starts itself again for the others, unless ``torchrun`` did so.
    """
    device = best_device()
    torch.set_float32_matmul_precision("high")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fabric = Fabric(
            accelerator=device.type,
            devices=devices,
            strategy="auto" if devices == 1 else "ddp",
            precision="bf16-mixed" if has_bf16(device) else "32-true",
        )
    fabric.launch()
    return fabric
