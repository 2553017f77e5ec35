"""Reading and encoding of images, shared by the processes of one training."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from galaxy_da.extraction.loading import load_images
from galaxy_da.images.preparation import Frame
from galaxy_da.io.samples import Sample
from galaxy_da.models.networks import Posterior
from galaxy_da.space import LatentSpace, SurveyEncoder
from training.parallel.processes import Share

__all__ = ["load_shared_images", "shared_posterior"]


def load_shared_images(
    sample: Sample, rows: np.ndarray, encoder: SurveyEncoder, frame: Frame
) -> tuple[Tensor, np.ndarray]:
    """Prepare the cutouts of some rows, in the memory of every process.

    Each process prepares a range of the rows and sends it to the others. Parameters and results are
    those of `galaxy_da.extraction.loading.load_images`.
    """
    needed, place = np.unique(rows, return_inverse=True)
    share = Share.of(len(needed))
    ranges = np.array_split(needed, share.processes)
    images, ok = load_images(sample, ranges[share.number], encoder, frame)
    dealt = np.argsort(np.arange(share.rows) % share.processes, kind="stable")
    flags = share.whole(torch.from_numpy(ok.astype(np.uint8))).numpy().astype(bool)
    return share.whole(images)[dealt][place], flags[dealt][place]


def shared_posterior(space: LatentSpace, images: Tensor, encoder: SurveyEncoder) -> Posterior:
    """Encode (n, planes, y, x) prepared images, each process its share."""
    share = Share.of(len(images))
    own = space.encode(images[share.own], encoder)
    return Posterior(share.whole(own.mean), share.whole(own.variance))
