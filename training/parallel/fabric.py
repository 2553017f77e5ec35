"""Choice of device, precision and processes for training."""

from __future__ import annotations

import logging
import os
import warnings
from datetime import timedelta

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch.distributed import is_torchelastic_launched

from galaxy_da.models.devices import best_device, has_bf16

_PATIENCE = timedelta(hours=6)
"""Longest time that processes wait for the first one, which may write a large space."""


def make_fabric(devices: int = 1) -> Fabric:
    """Return a launched Fabric on the best kind of device, in bf16 where it is native.

    `devices` GPUs, or processes on the CPU, share each batch; the running command starts itself
    again for the others. Under ``torchrun``, which sets the number, it is ignored.
    """
    nodes = 1
    if is_torchelastic_launched():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    device = best_device()
    torch.set_float32_matmul_precision("high")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # no note on the precision
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fabric = Fabric(
            accelerator=device.type,
            devices=devices,
            num_nodes=nodes,
            strategy="auto" if devices * nodes == 1 else DDPStrategy(timeout=_PATIENCE),
            precision="bf16-mixed" if has_bf16(device) else "32-true",
        )
    fabric.launch()
    return fabric
