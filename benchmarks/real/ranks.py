"""Rank real pairs among real SDSS galaxies, before and after adapting on a simulated sky.

There are no real pairs to adapt on, so the simulated sky has the bands, the field and the
brightness of the real images. FITS images keep their brightness and scale. Colour images of Galaxy
Zoo have no scale, and are taken to be of one size.
"""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from astropy.io import fits
from scipy.stats import wilcoxon
from torch import Tensor

from benchmarks.real.guide_images import R90_ARCSEC, colour_cutout, read_colour, with_stretch
from benchmarks.real.pairs import (
    RealPairs,
    cut_to_field,
    in_field,
    prepare_field,
    rank_real_pairs,
)
from catalogs.simulation.sky import SkySettings
from catalogs.simulation.writing import simulate
from galaxy_da.images.cutouts import Cutout, read_cutouts
from galaxy_da.io.files import atomic_path, ensure_folder
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import read_pairs
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.surveys import Survey, get_survey
from training.adaptation import AdaptSettings, FineTuningSettings, adapt

__all__ = ["adapt_on_simulated_sky", "rank_rows", "restricted"]

FIELD_ARCSEC = 20.0
"""Diameter of the field of every image; the smallest stamp of the ten FITS pairs spans 20.2."""

MAGNITUDES = (14.5, 21.5)
"""Range of r in the simulated sky; the ten galaxies have 15.0 to 18.1 within the field."""

_COLOURS, _RED = ("g", "r", "i"), ("r",)
_GUIDE_WIDTH = 0.02 * 424 * R90_ARCSEC
_MAGGIES = 1e9
_FITS_SCALE = {"KiDS": 0.2, "SDSS": 0.339}


def restricted(survey: Survey, bands: Sequence[str]) -> Survey:
    """Return a survey with some of its bands, named ``NAME-BANDS``, without colour images."""
    kept = tuple(survey.band(name) for name in bands)
    name = f"{survey.name}-{''.join(bands)}"
    return survey.model_copy(update={"name": name, "bands": kept, "stretch": None})


def adapt_on_simulated_sky(
    space: LatentSpace,
    out: Path,
    n: int,
    seed: int,
    *,
    scenes: Path | None = None,
    steps: int | None = None,
) -> LatentSpace:
    """Adapt SDSS and KiDS in the bands of the real images; keep encoders that the space has.

    Parameters
    ----------
    space : LatentSpace
        Space to adapt; its ``sdss-gri``, ``sdss-r``, ``kids-gri`` and ``kids-r`` are kept.
    out : Path
        Folder of the sky and of ``space``.
    n : int
        Number of galaxies to adapt on.
    seed : int
        Seed of the sky and of the adaptation.
    scenes : Path, optional
        Sample table of real images to use as galaxies.
    steps : int, optional
        Largest number of fine-tuning steps.
    """
    wanted = [
        restricted(get_survey(name), bands)
        for name in ("sdss", "kids")
        for bands in (_COLOURS, _RED)
    ]
    lacking = [survey for survey in wanted if survey.name not in space.surveys]
    if not lacking:
        return space
    sky, anchor = out / "sky", space.survey(space.anchor)
    if not (sky / "truth.parquet").is_file():
        observations = [anchor, *lacking]
        simulate(
            observations,
            n,
            sky,
            SkySettings(seed=seed, scenes=scenes, repeat_anchor=False, magnitudes=MAGNITUDES),
            progress=False,
        )
    tuning = FineTuningSettings() if steps is None else FineTuningSettings(steps=steps)
    settings = AdaptSettings(fine_tuning=tuning, seed=seed)
    for survey in lacking:
        space = adapt(
            space,
            _cut_sample(sky, anchor),
            _cut_sample(sky, survey),
            read_pairs(sky / f"pairs-{anchor.name}-{survey.name}.parquet"),
            survey=survey,
            settings=settings,
        )
        space.save(out / "space")
    return space


def _cut_sample(sky: Path, survey: Survey) -> Sample:
    """Return a survey's simulated sample with zeros outside the field of the real images.

    A network adapted on whole frames would give other latents for a frame that is half empty.
    """
    whole, cut = sky / survey.name, sky / f"{survey.name}-field"
    if not (cut / "sample.parquet").is_file():
        ensure_folder(cut)
        cutouts = np.load(whole / "cutouts.npy", mmap_mode="r")
        inside = in_field(cutouts.shape[-1], survey.pixel_scale_arcsec, FIELD_ARCSEC).numpy()
        np.save(cut / "cutouts.npy", np.where(inside, cutouts, np.float32(0)))
        with atomic_path(cut / "sample.parquet") as path:
            shutil.copyfile(whole / "sample.parquet", path)
    return Sample(cut / "sample.parquet")


def rank_rows(
    space: LatentSpace, data: Path, distractors: int, seed: int = 0
) -> dict[str, list[dict[str, Any]]]:
    """Rank every real partner among all partners of its group and the distractors.

    Parameters
    ----------
    space : LatentSpace
        Space with the four encoders of `adapt_on_simulated_sky`.
    data : Path
        Folder of the real images.
    distractors : int
        Largest number of SDSS galaxies beside the partners.
    seed : int
        Seed of their choice.

    Returns
    -------
    dict
        ``ranks``: ``group``, ``pair``, ``pool``, and the ranks ``before`` and ``after``.
        ``groups``: medians, and the one-sided p-value of Wilcoxon's signed-rank test for lower
        ranks after adapting.
    """
    others = _distractors(data / "sdss_spirals.parquet", distractors, seed)
    ranks = [*_fits_ranks(space, data / "kids_sdss_fits", others)]
    ranks += _guide_ranks(space, data, others)
    groups = []
    for name in dict.fromkeys(row["group"] for row in ranks):
        rows = [row for row in ranks if row["group"] == name]
        before, after = (np.array([row[key] for row in rows]) for key in ("before", "after"))
        changed = (before != after).sum()
        chance = wilcoxon(before, after, alternative="greater").pvalue if changed > 4 else None
        groups.append(
            {
                "group": name,
                "pairs": len(rows),
                "pool": rows[0]["pool"],
                "median_before": float(np.median(before)),
                "median_after": float(np.median(after)),
                "better": int((after < before).sum()),
                "worse": int((after > before).sum()),
                "chance": None if chance is None else float(chance),
            }
        )
    return {"ranks": ranks, "groups": groups}


def _distractors(path: Path, most: int, seed: int) -> list[Cutout]:
    sample, sdss = Sample(path), get_survey("sdss")
    rows = np.random.default_rng(seed).permutation(len(sample))[:most]
    table = pq.read_table(path).take(np.sort(rows))
    return [c for c in read_cutouts(table, path.parent, sdss) if isinstance(c, Cutout)]


def _fits_ranks(space: LatentSpace, folder: Path, others: list[Cutout]) -> Iterator[dict[str, Any]]:
    surveys = {"KiDS": get_survey("kids"), "SDSS": get_survey("sdss")}
    stamps = {name: _read_gama(folder / name, survey) for name, survey in surveys.items()}
    names = sorted(stamps["KiDS"].keys() & stamps["SDSS"].keys())
    query, pool = (_pair_of_encoders(space, survey, _RED) for survey in surveys.values())
    queries, usable = prepare_field(
        [stamps["KiDS"][name] for name in names], query[0], space.frame, FIELD_ARCSEC
    )
    partners, usable_too = prepare_field(
        [stamps["SDSS"][name] for name in names], pool[0], space.frame, FIELD_ARCSEC
    )
    rest, covered = prepare_field(others, pool[0], space.frame, FIELD_ARCSEC)
    good = torch.from_numpy(usable & usable_too)
    pairs = RealPairs(
        names=tuple(name for name, fine in zip(names, good, strict=True) if fine),
        queries=queries[good],
        partners=partners[good],
        distractors=rest[torch.from_numpy(covered)],
    )
    yield from _before_and_after(space, "KiDS r to SDSS r (FITS)", pairs, query, pool)


def _guide_ranks(space: LatentSpace, data: Path, others: list[Cutout]) -> Iterator[dict[str, Any]]:
    """Rank the partners of ``pairs.csv`` one by one, since their surveys differ."""
    sdss = get_survey("sdss")
    pool = _pair_of_encoders(space, sdss, _COLOURS)
    rest: dict[float, Tensor] = {}
    with (data / "pairs.csv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    for row in listed:
        ratio = re.search(r"covers ([\d.]+) times", row["evidence"])
        assert ratio is not None
        first = _find(data / row["anchor_file"], row["anchor_id"])
        second = _find(data / row["target_file"], row["target_id"])
        survey = with_stretch(get_survey(first["survey"]))
        query = _pair_of_encoders(space, survey, _COLOURS)
        widths = (_GUIDE_WIDTH, _GUIDE_WIDTH * float(ratio[1]))
        field = FIELD_ARCSEC if min(widths) >= FIELD_ARCSEC else float(np.floor(min(widths)))
        cutouts = [
            colour_cutout(read_colour(item["image"]), of, width)
            for item, of, width in zip((first, second), (survey, sdss), widths, strict=True)
        ]
        if not rest:
            prepared, covered = prepare_field(others, pool[0], space.frame, FIELD_ARCSEC)
            rest[FIELD_ARCSEC] = prepared[torch.from_numpy(covered)]
        if field not in rest:
            rest[field] = cut_to_field(rest[FIELD_ARCSEC], space.frame, field)
        pairs = RealPairs(
            names=(row["pair"],),
            queries=prepare_field(cutouts[:1], query[0], space.frame, field)[0],
            partners=prepare_field(cutouts[1:], pool[0], space.frame, field)[0],
            distractors=rest[field],
        )
        group = (
            "DECaLS to SDSS (colour)" if survey.name == space.anchor else "KiDS to SDSS (colour)"
        )
        yield from _before_and_after(space, group, pairs, query, pool)


_Encoders = tuple[SurveyEncoder, SurveyEncoder]


def _pair_of_encoders(space: LatentSpace, survey: Survey, bands: Sequence[str]) -> _Encoders:
    """Return a survey's encoders before and after adapting, for the same bands in one order."""
    if survey.name == space.anchor:
        return (replace(space.encoder(space.anchor), survey=survey),) * 2
    after = space.encoder(f"{survey.name}-{''.join(bands)}")
    before = space.unadapted(survey, after.bands, every_band=True)
    return before, replace(after, survey=survey)


def _before_and_after(
    space: LatentSpace, group: str, pairs: RealPairs, query: _Encoders, pool: _Encoders
) -> Iterator[dict[str, Any]]:
    before, after = (
        rank_real_pairs(pairs, _latents(space, own), _latents(space, other))
        for own, other in zip(query, pool, strict=True)
    )
    for name in pairs.names:
        yield {
            "group": group,
            "pair": name,
            "pool": len(pairs.partners) + len(pairs.distractors),
            "before": before[name],
            "after": after[name],
        }


def _latents(space: LatentSpace, encoder: SurveyEncoder) -> Callable[[Tensor], Tensor]:
    return lambda images: space.encode(images, encoder).mean[:, : space.galaxy_latents]


def _read_gama(folder: Path, survey: Survey) -> dict[str, Cutout]:
    """Read the stamps in r, in the survey's unit; both sets have zeropoint 0."""
    factor = np.float32(_MAGGIES / survey.nanomaggy_per_unit)
    stamps = {}
    for path in sorted(folder.glob("G*fitim.fits")):
        pixels = np.asarray(fits.getdata(path), np.float32)[None] * factor
        height, width = pixels.shape[1:]
        stamps[path.name.removesuffix("fitim.fits")] = Cutout(
            pixels=pixels,
            bands=_RED,
            pixel_scale_arcsec=_FITS_SCALE[folder.name],
            centre_xy=((width - 1) / 2, (height - 1) / 2),
        )
    return stamps


def _find(path: Path, object_id: str) -> dict[str, Any]:
    table = pq.read_table(path, filters=pc.field("object_id") == pa.scalar(object_id))
    (row,) = table.to_pylist()
    return dict(row)
