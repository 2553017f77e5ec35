"""Images of the training sky on disk, in blocks that are mapped into memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from galaxy_da.errors import StorageError

BLOCK = 1024  # galaxies of a block
OBSERVATIONS = 3  # of each galaxy; the noise-free image follows them
_CLASSES = ("elliptical", "spiral", "edge_on", "merger")  # of real galaxies
_LOGARITHMIC = "half_light_arcsec"
TARGETS = (
    *("r_mag", "half_light_arcsec", "g_minus_r", "axis_ratio", "bulge_fraction", "arm_strength"),
    *("bar_strength", "ring_strength", "clumpiness", "dust_strength", "merger_mass_ratio"),
)
"""Columns of the truth that the latents learn to say; null where they are unknown."""
N_TARGETS = len(TARGETS) + len(_CLASSES)


def block_paths(folder: Path, number: int, *, existing: bool = True) -> tuple[Path, ...]:
    """Return the image and table files of a block; none if one of them does not exist."""
    paths = tuple(folder / f"block-{number:04d}.{kind}" for kind in ("npy", "parquet"))
    return paths if not existing or all(path.is_file() for path in paths) else ()


@dataclass(frozen=True)
class TrainingSky:
    """Galaxies of a training sky.

    `blocks` are (`BLOCK`, 4, planes, y, x) float16 maps: the anchor's observation, two by another
    instrument of which the second is rotated, and the anchor's without noise. `conditions`,
    (n, 3, k), describe the instruments; `truth` has a row per galaxy, and `targets`,
    (n, `N_TARGETS`), its numbers and the classes of real galaxies, NaN where they are unknown,
    with a mean of 0 and a standard deviation of 1.
    """

    blocks: Sequence[np.ndarray]
    conditions: Tensor
    truth: pa.Table
    targets: Tensor

    @classmethod
    def open(cls, folder: Path, galaxies: int) -> TrainingSky:
        """Map the blocks of a folder, or raise StorageError."""
        count = -(-galaxies // BLOCK)
        paths = [block_paths(folder, number) for number in range(count)]
        if not all(paths):
            raise StorageError(
                f"{folder}: holds {sum(map(bool, paths))} of {count} blocks of a sky"
            )
        truth = pa.concat_tables([pq.read_table(rows) for _, rows in paths])
        flat = truth["conditions"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        conditions = torch.from_numpy(flat.copy()).reshape(len(truth), OBSERVATIONS, -1)
        blocks = [np.load(array, mmap_mode="r") for array, _ in paths]
        truth = truth.drop_columns("conditions")
        return cls(blocks, conditions, truth, _targets(truth))

    def __len__(self) -> int:
        return len(self.truth)

    def read(self, rows: np.ndarray, clean: int) -> tuple[Tensor, Tensor, Tensor]:
        """Read some galaxies, and the first `clean` of them also without noise.

        Returns
        -------
        (n, 2, planes, y, x), (n, planes, y, x), (clean, planes, y, x) bfloat16 tensors
            Aligned observations, rotated ones, and images without noise.
        """
        images = np.empty((len(rows), OBSERVATIONS, *self.blocks[0].shape[2:]), np.float16)
        noiseless = np.empty((min(clean, len(rows)), *images.shape[2:]), np.float16)
        for i, row in enumerate(rows):
            galaxy = self.blocks[row // BLOCK][row % BLOCK]
            images[i] = galaxy[:OBSERVATIONS]
            if i < clean:
                noiseless[i] = galaxy[OBSERVATIONS]
        observed = torch.from_numpy(images).bfloat16()
        return observed[:, :2], observed[:, 2], torch.from_numpy(noiseless).bfloat16()


def _targets(truth: pa.Table) -> Tensor:
    columns = {name: truth[name].to_numpy(zero_copy_only=False) for name in TARGETS}
    columns[_LOGARITHMIC] = np.log(columns[_LOGARITHMIC])
    label = truth["label"].to_numpy(zero_copy_only=False)
    real = np.isnan(columns["arm_strength"].astype(float)) & np.isin(label, _CLASSES)
    classes = [np.where(real, label == name, np.nan) for name in _CLASSES]
    values = np.stack([*columns.values(), *classes], 1).astype(np.float32)
    masked = np.ma.masked_invalid(values)
    spread = masked.std(0).filled(1)
    scaled = (masked - masked.mean(0)) / np.where(spread > 0, spread, 1)
    return torch.from_numpy(scaled.filled(np.nan).astype(np.float32))
