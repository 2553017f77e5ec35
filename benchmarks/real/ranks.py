"""Rank real pairs among real SDSS galaxies, every survey read by its definition.

``python -m benchmarks.real.ranks DATA [--space SPACE]`` searches 7,333 pictures of SDSS for the
picture of a galaxy that another survey shows. DATA is the folder of the real images. FITS images
are compared in r alone. Colour images of Galaxy Zoo have no scale, and are taken to be of one size.
All images of a group are cut to one field, so that the size of a stamp does not identify it. Three
of four distractors took part in the training of the shipped space, as scenes; no query did.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from astropy.io import fits

from benchmarks.real.encoding import cropped, encode, options, reach_arcsec
from benchmarks.real.guide_images import R90_ARCSEC, colour_cutout, read_colour, with_stretch
from benchmarks.support.tables import print_rows
from evaluation.retrieval import match_ranks
from galaxy_da.images.cutouts import Cutout, read_cutout, read_cutouts
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import Survey, get_survey

_WIDEST_ARCSEC = 24.0  # of the pictures of SDSS
_GUIDE_WIDTH = 0.02 * 424 * R90_ARCSEC
_MAGGIES = 1e9
_FITS_SCALE = {"KiDS": 0.2, "SDSS": 0.339}
_SPIRAL = {"des": (27.952, 0.2635), "ps1": (27.952, 0.2635), "sdss": (27.8693, 0.2147)}
"""Position of one galaxy by the WCS of each survey's stamps; that of SDSS is 5 arcmin off."""


@dataclass
class SdssPool:
    """Real galaxies of SDSS to search: by definition, in some bands and a field."""

    space: LatentSpace
    cutouts: Sequence[Cutout]
    _known: dict[tuple[bool, float], np.ndarray] = field(default_factory=dict)

    @classmethod
    def read(cls, space: LatentSpace, path: Path) -> SdssPool:
        """Read the pictures of a sample table."""
        found = read_cutouts(pq.read_table(path), path.parent, get_survey("sdss"))
        return cls(space, [cutout for cutout in found if isinstance(cutout, Cutout)])

    def latents(self, red: bool, field_arcsec: float) -> np.ndarray:
        """Return (n, latents) in g, r and i, or in r alone."""
        if (red, field_arcsec) not in self._known:
            some = [cropped(cutout, field_arcsec) for cutout in self.cutouts]
            survey = _only_red(get_survey("sdss")) if red else get_survey("sdss")
            found = encode(self.space, survey, some)
            self._known[red, field_arcsec] = found.mean[found.usable]
        return self._known[red, field_arcsec]


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """Cutouts of one galaxy by another survey and by SDSS."""

    group: str
    name: str
    survey: Survey
    query: Cutout
    partner: Cutout

    @property
    def red(self) -> bool:
        """True if r is the only common band."""
        return self.query.bands == ("r",)

    @property
    def field_arcsec(self) -> float:
        """Side of the widest field that both stamps and the pictures of SDSS cover."""
        width = 2 * min(reach_arcsec(self.query), reach_arcsec(self.partner))
        return min(_WIDEST_ARCSEC, float(np.floor(width)))


def rank_rows(space: LatentSpace, data: Path, pool: SdssPool | None = None) -> list[dict[str, Any]]:
    """Rank the partner of each real pair among all SDSS galaxies.

    Returns rows with ``group``, ``pair``, ``pool`` (galaxies searched), and the rank by ``galaxy``
    latents and by ``all`` latents; 1 is nearest.
    """
    pool = pool or SdssPool.read(space, data / "sdss_spirals.parquet")
    pairs = [*_guide_pairs(data), *_gama_pairs(data / "kids_sdss_fits")]
    pairs += _spiral_pairs(data / "des_ps1_sdss_fits")
    fields = {
        group: min(pair.field_arcsec for pair in pairs if pair.group == group)
        for group in {pair.group for pair in pairs}
    }
    return [_rank(space, pair, pool, fields[pair.group]) for pair in pairs]


def group_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the share of ranks 1 and the median rank of each group."""
    found = []
    for group in dict.fromkeys(row["group"] for row in rows):
        some = [row for row in rows if row["group"] == group]
        summary: dict[str, Any] = {"group": group, "pairs": len(some), "pool": some[0]["pool"]}
        for kind in ("galaxy", "all"):
            ranks = np.array([row[kind] for row in some])
            summary[f"{kind}: first"] = float((ranks == 1).mean())
            summary[f"{kind}: median"] = float(np.median(ranks))
        found.append(summary)
    return found


def _rank(space: LatentSpace, pair: _Pair, pool: SdssPool, field_arcsec: float) -> dict[str, Any]:
    sdss = get_survey("sdss")
    survey, other = (_only_red(s) if pair.red else s for s in (pair.survey, sdss))
    query = encode(space, survey, [cropped(pair.query, field_arcsec)]).mean
    partner = encode(space, other, [cropped(pair.partner, field_arcsec)]).mean
    galaxies = np.concatenate([partner, pool.latents(pair.red, field_arcsec)])
    ranks = {
        kind: int(match_ranks(query[:, :width], galaxies[:, :width])[0])
        for kind, width in (("galaxy", space.galaxy_latents), ("all", query.shape[1]))
    }
    return {"group": pair.group, "pair": pair.name, "pool": len(galaxies), **ranks}


def _only_red(survey: Survey) -> Survey:
    """Return a survey with r alone; colour pictures keep their stretch."""
    return survey.model_copy(update={"bands": (survey.band("r"),)})


def _guide_pairs(data: Path) -> Iterator[_Pair]:
    """Read the pairs of colour images in ``pairs.csv``."""
    sdss = with_stretch(get_survey("sdss"))
    with (data / "pairs.csv").open(encoding="utf-8", newline="") as file:
        listed = list(csv.DictReader(file))
    for row in listed:
        ratio = re.search(r"covers ([\d.]+) times", row["evidence"])
        assert ratio is not None
        first = _find(data / row["anchor_file"], row["anchor_id"])
        second = _find(data / row["target_file"], row["target_id"])
        survey = with_stretch(get_survey(first["survey"]))
        yield _Pair(
            group=f"{get_survey(survey.name).title.partition(' (')[0]}, colour",
            name=row["pair"],
            survey=survey,
            query=colour_cutout(read_colour(first["image"]), survey, _GUIDE_WIDTH),
            partner=colour_cutout(
                read_colour(second["image"]), sdss, _GUIDE_WIDTH * float(ratio[1])
            ),
        )


def _gama_pairs(folder: Path) -> Iterator[_Pair]:
    """Read the stamps of the same galaxies in r by KiDS and SDSS; both have zeropoint 0."""
    for path in sorted((folder / "KiDS").glob("G*fitim.fits")):
        query, partner = (
            gama_stamp(folder / name / path.name, get_survey(name.lower())) for name in _FITS_SCALE
        )
        name = path.name.removesuffix("fitim.fits")
        survey = get_survey("kids")
        yield _Pair(group="KiDS r, FITS", name=name, survey=survey, query=query, partner=partner)


def gama_stamp(path: Path, survey: Survey) -> Cutout:
    """Read a stamp in r of ``kids_sdss_fits``, whose folder names the survey."""
    factor = np.float32(_MAGGIES / survey.nanomaggy_per_unit)
    pixels = np.asarray(fits.getdata(path), np.float32)[None] * factor
    height, width = pixels.shape[1:]
    return Cutout(
        pixels=pixels,
        bands=("r",),
        pixel_scale_arcsec=_FITS_SCALE[path.parent.name],
        centre_xy=((width - 1) / 2, (height - 1) / 2),
    )


def _spiral_pairs(folder: Path) -> Iterator[_Pair]:
    """Read one galaxy in r by DES and Pan-STARRS1, each with its image by SDSS."""
    stamps = {}
    for name, (ra, dec) in _SPIRAL.items():
        uri = f"{name.upper()}_{{band}}.fits"
        row = {"ra": ra, "dec": dec, "bands": "r", "cutout": uri}
        stamps[name] = read_cutout(row, folder, get_survey(name))
    for name in ("des", "ps1"):
        yield _Pair(
            group="DES and PS1 r, FITS",
            name=name,
            survey=get_survey(name),
            query=stamps[name],
            partner=stamps["sdss"],
        )


def _find(path: Path, object_id: str) -> dict[str, Any]:
    table = pq.read_table(path, filters=pc.field("object_id") == pa.scalar(object_id))
    (row,) = table.to_pylist()
    return dict(row)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    given = options("ranks", __doc__, arguments)
    rows = rank_rows(LatentSpace.load(given.space), given.data)
    print_rows("Real pairs among real SDSS galaxies, by definition", group_rows(rows))
    print_rows("Rank of each pair", rows)


if __name__ == "__main__":
    main()
