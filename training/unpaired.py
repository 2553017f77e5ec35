"""Adaptation without pairs: bring the distribution of the target's latents onto the anchor's.

Nothing here knows which galaxy is which, so nothing can vouch that the same galaxy is found again;
of the maps that exist, the one is taken whose latents of unseen images are least told apart from
the anchor's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from catalogs.splits import sky_split
from galaxy_da.errors import CatalogError
from galaxy_da.loading import load_images
from galaxy_da.models import Encoder
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.tables import Sample
from training.alignment import mmd
from training.closed_form import match_covariances, match_moments

__all__ = ["match_distributions"]

MOST_IMAGES = 4000
"""Images of either survey that are read; more are left out by seed."""

FEWEST_IMAGES = 200


def match_distributions(
    space: LatentSpace, anchor: Sample, target: Sample, start: SurveyEncoder, seed: int
) -> tuple[Encoder, dict[str, Any]]:
    """Choose among the un-adapted encoder and two maps that match distributions.

    Parameters
    ----------
    space : LatentSpace
        Gives the anchor's encoder.
    anchor, target : Sample
        Cutouts; those in the test part of the sky are left alone.
    start : SurveyEncoder
        The target's un-adapted encoder.
    seed : int
        Of the choice of images.

    Returns
    -------
    Encoder
        The network with the smallest maximum mean discrepancy on images it was not fitted to.
    dict
        What to record: ``chosen``, ``candidates``, ``images``.

    Raises
    ------
    CatalogError
        If either sample has fewer than 200 usable cutouts outside the test part of the sky.
    """
    own = space.encoder(space.anchor)
    there = space.encode(_images(space, anchor, own, seed), own).mean
    images = _images(space, target, start, seed)
    here = space.encode(images, start).mean
    fitted, unseen = slice(0, None, 2), slice(1, None, 2)
    networks = {"unadapted": start.network} | {
        name: match(start.network, here[fitted], there[fitted])
        for name, match in (("moments", match_moments), ("covariances", match_covariances))
    }
    galaxy = slice(space.galaxy_latents)
    apart = {
        name: float(
            mmd(
                space.encode(images[unseen], replace(start, network=network)).mean[:, galaxy],
                there[unseen, galaxy],
            )
        )
        for name, network in networks.items()
    }
    chosen = min(apart, key=lambda name: apart[name])
    return networks[chosen], {
        "chosen": chosen,
        "judged_by": "maximum mean discrepancy, no pairs",
        "candidates": [{"name": name, "mmd": value} for name, value in apart.items()],
        "images": {"anchor": len(there), "target": len(here)},
        "seed": seed,
    }


def _images(space: LatentSpace, sample: Sample, encoder: SurveyEncoder, seed: int) -> Tensor:
    """Prepare images of a sample outside the test part of the sky, in random order."""
    ra, dec = (np.asarray(sample.catalog[name]) for name in ("ra", "dec"))
    rows = np.flatnonzero(sky_split(ra, dec) != "test")
    rows = np.random.default_rng(seed).permutation(rows)[:MOST_IMAGES]
    images, usable = load_images(sample, rows, encoder, space.frame)
    if usable.sum() < FEWEST_IMAGES:
        raise CatalogError(
            f"{sample.path}: only {int(usable.sum())} usable cutouts lie outside the test part of "
            f"the sky, at least {FEWEST_IMAGES} are needed to adapt without pairs"
        )
    return images[torch.from_numpy(usable)]
