"""Draw galaxies at other redshifts, by a space of a conditional recipe.

``python -m benchmarks.redshift_walk SPACE SAMPLE --out WALK.png [--truth TRUTH]`` draws one galaxy
a row: as observed, then decoded at redshifts from the 5th to the 95th percentile of the sample. A
simulated sky has no redshifts; with ``--truth`` its galaxies get those used in training.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from PIL import Image
from torch import Tensor

from benchmarks.anchor.choosing import diverse
from benchmarks.anchor.mosaics import colours, mosaic
from benchmarks.support.commands import command_parser
from galaxy_da.errors import TableError
from galaxy_da.extraction.loading import load_images
from galaxy_da.io.files import atomic_path
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import read_table
from galaxy_da.space import LatentSpace
from training.pretraining.conditional import ConditionalAutoencoder, load_conditional
from training.pretraining.image_source import standard_redshift
from training.pretraining.learner import Batch

__all__ = ["over_redshift", "redshift_walk"]

_GALAXIES, _STEPS = 8, 9


def redshift_walk(
    folder: str | os.PathLike[str], sample: Sample, truth: pa.Table | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the galaxies most different from each other at other redshifts.

    Parameters
    ----------
    folder : path
        Folder of a space of a conditional recipe.
    sample : Sample
        Sample of its anchor, with ``redshift`` or of a simulated sky.
    truth : pa.Table, optional
        Truth of that sky, for `training.pretraining.image_source.standard_redshift`.

    Returns
    -------
    picture : (height, width, 3) uint8 array
        Picture with one galaxy a row.
    redshift : (steps,) float array
        Redshift of each column after the observed one.

    Raises
    ------
    StorageError
        If the space holds no conditional network.
    TableError
        If no usable galaxy has a redshift, or the truth is of another sky.
    """
    space, model = LatentSpace.load(folder), load_conditional(folder)
    encoder = space.encoder(space.anchor)
    inputs, ok = load_images(sample, np.arange(len(sample)), encoder, space.frame)
    redshift = _redshift(sample, truth)
    known = np.flatnonzero(ok & np.isfinite(redshift))
    if not len(known):
        raise TableError(
            f"{sample.path}: no usable galaxy has a redshift; add a column of that name"
        )
    low, high = np.quantile(redshift[known], (0.05, 0.95))
    steps = np.linspace(low, high, _STEPS)
    latents = space.encode(inputs[known], space.anchor).mean.numpy()
    rows = known[diverse(latents, np.arange(len(known)), _GALAXIES)]
    own, at = (torch.from_numpy(z).float() for z in (redshift[rows], steps))
    observed = inputs.images[rows]
    drawn = over_redshift(model, observed, own, at)
    every = torch.cat([observed[:, None], drawn], 1).flatten(0, 1)
    return mosaic(colours(space, every), 1 + _STEPS), steps


@torch.no_grad()
def over_redshift(
    model: ConditionalAutoencoder, images: Tensor, redshift: Tensor, steps: Tensor
) -> Tensor:
    """Decode galaxies at the redshifts `steps`, (m,), with latents unchanged: (n, m, bands, y, x).

    `images` are prepared and `redshift` are their (n,) known redshifts.
    """
    unknown = torch.full((len(images),), -1)
    mean = model.encode(Batch(images, redshift, unknown))[0].mean
    drawn = [model.decode(mean, step.expand(len(images))) for step in steps]
    return torch.stack(drawn, 1).float()


def _redshift(sample: Sample, truth: pa.Table | None) -> np.ndarray:
    """(n,) redshifts, NaN where unknown."""
    if truth is not None:
        ids = f"{sample.survey}_id"
        if not {ids, "r_mag"} <= set(truth.column_names):
            raise TableError(
                f"truth of a sky observed by {sample.survey} has columns {ids} and r_mag; this "
                f"has {', '.join(truth.column_names)}"
            )
        rows = pc.index_in(sample.catalog["object_id"], value_set=truth[ids].combine_chunks())
        return standard_redshift(truth["r_mag"].take(rows).to_numpy())
    if "redshift" in sample.catalog.column_names:
        return np.asarray(sample.catalog["redshift"].to_numpy(zero_copy_only=False), float)
    return np.full(len(sample), np.nan)


def main() -> None:
    """Write the picture and print the redshift of each column."""
    parser = command_parser("redshift_walk", __doc__)
    parser.add_argument("space", type=Path)
    parser.add_argument("sample", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--truth", type=Path)
    given = parser.parse_args()
    truth = read_table(given.truth) if given.truth else None
    picture, steps = redshift_walk(given.space, Sample(given.sample), truth)
    with atomic_path(given.out) as temporary:
        Image.fromarray(picture).save(temporary, "png")
    print(f"{given.out}: observed, then redshift", ", ".join(f"{z:.2f}" for z in steps))


if __name__ == "__main__":
    main()
