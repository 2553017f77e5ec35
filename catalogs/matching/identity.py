"""Check that the two sides of a crossmatch are two surveys of the same sky.

A match of a survey with itself looks like a good one: the published pairs of one study held the
same exposures twice, cut 4 to 11 arcsec apart. Such a match shows in survey labels, in the headers
of catalogues and cutouts, in equal ids and in the separations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.special import bdtr

from catalogs.matching.assignment import Match
from catalogs.matching.settings import MatchSettings
from catalogs.matching.zones import Zones
from galaxy_da.errors import CatalogError
from galaxy_da.images.noise import SIGMA_PER_MAD
from galaxy_da.io.tables import read_metadata

_OFFSET_PAIRS = 20_000  # largest number of pairs to measure the offset on
_FEWEST_PAIRS = 20
_SIGNIFICANT = 5.0  # standard errors
_SAME_ARCSEC = 1e-5  # positions nearer than this are copies
_CHANCE_MEDIAN = 0.6  # of the radius; the median of chance pairs is sqrt(0.5)
_CHANCE_CENTRAL = 1 / 8  # share of chance pairs within half their median; counterparts: 0.16
_UNLIKELY = 1e-5


def refuse_same_survey(anchor: pa.Table, target: pa.Table) -> None:
    """Refuse two tables of one survey: all surveys of one side are on the other side too.

    Surveys are named by a column ``survey``, or by ``SURVEY`` and ``VERSION`` in the headers of the
    file and its cutouts, which `read_catalog` notes.
    """
    columns = [
        set(pc.unique(t["survey"].drop_null()).to_pylist()) if "survey" in t.column_names else set()
        for t in (anchor, target)
    ]
    headers = [
        set(read_metadata(t.schema).get("catalog", {}).get("surveys", [])) for t in (anchor, target)
    ]
    for source, labels in (("column survey", columns), ("headers", headers)):
        fewer, more = sorted(labels, key=len)
        if fewer and fewer <= more:
            raise CatalogError(
                f"anchor and target are both of survey {', '.join(map(repr, sorted(fewer)))} by "
                f"their {source}; give two surveys, or allow_same_survey (--repeat) for repeat "
                "observations of one"
            )


def refuse_same_ids(n_same: int, n_pairs: int) -> None:
    """Raise `CatalogError` if most pairs join equal ids."""
    if n_same > n_pairs / 2:
        raise CatalogError(
            f"{n_same} of {n_pairs} pairs join rows of the same object_id, so anchor and target "
            "look like one survey; give two surveys, or allow_same_survey (--repeat) if they share "
            "ids or are repeat observations of one"
        )


def measure_offset(
    anchor: Zones, target: Zones, match: Match, settings: MatchSettings
) -> dict[str, Any]:
    """Measure the offset of targets from their anchors, and note signs of false counterparts.

    Returns ``offset_east_arcsec`` and ``offset_north_arcsec``, the medians of target minus anchor;
    ``offset_scatter_arcsec``, their robust standard deviation per axis; and ``notes``, lines to
    show the user. Without pairs there are only ``notes``.
    """
    if not len(match.anchor):
        return {"notes": []}
    every = slice(None, None, len(match.anchor) // _OFFSET_PAIRS + 1)
    i, j, separation = match.anchor[every], match.target[every], match.separation[every]
    turn = (target.ra[j] - anchor.ra[i] + 180) % 360 - 180
    middle = np.radians((target.dec[j] + anchor.dec[i]) / 2)
    steps = 3600 * np.stack([turn * np.cos(middle), target.dec[j] - anchor.dec[i]])
    offset = np.median(steps, axis=1)
    scatter = float(SIGMA_PER_MAD * np.median(np.abs(steps - offset[:, None])))
    size = float(np.hypot(*offset))
    middling, notes = float(np.median(separation)), []
    central = int((separation < middling / 2).sum())
    if len(i) >= _FEWEST_PAIRS:
        copies = int((separation < _SAME_ARCSEC).sum())
        if copies > len(i) / 2:
            notes.append(
                f"{copies} of {len(i)} pairs have one position on both sides: the lists are copies "
                "of one catalogue, so separations say nothing about the surveys"
            )
        elif size > scatter and size > _SIGNIFICANT * scatter / np.sqrt(len(i)):
            angle = np.degrees(np.arctan2(*offset)) % 360
            notes.append(
                f"targets lie {size:.3g} arcsec from their anchors at position angle {angle:.0f} "
                f"deg, with a scatter of {scatter:.2g} arcsec: an astrometric shift, another "
                "epoch, or images of one survey cut off centre"
            )
        elif settings.min_radius_arcsec:
            pass
        elif bdtr(central, len(i), _CHANCE_CENTRAL) < _UNLIKELY:  # fewer than by chance
            notes.append(
                f"pairs keep a distance: half are more than {middling:.3g} arcsec apart, but only "
                f"{central} of {len(i)} less than half as much, where even chance would put "
                f"{_CHANCE_CENTRAL:.0%}: images of one survey cut off centre?"
            )
        elif middling > _CHANCE_MEDIAN * settings.radius_arcsec:
            notes.append(
                f"half of the pairs are more than {middling:.3g} arcsec apart, as chance pairs "
                f"within {settings.radius_arcsec:g} arcsec are; counterparts crowd towards zero: "
                "see false_match_rate, and whether both sides are one survey re-cut"
            )
    return {
        "offset_east_arcsec": float(offset[0]),
        "offset_north_arcsec": float(offset[1]),
        "offset_scatter_arcsec": scatter,
        "notes": notes,
    }
