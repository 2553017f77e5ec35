"""Classes of galaxies by Galaxy Zoo DECaLS vote fractions.

Volunteers answer a tree of questions. A catalogue has the fraction of votes for each answer, in
columns like ``smooth-or-featured_smooth_fraction`` (Walmsley et al. 2022, MNRAS 509, 3966). A class
is the galaxies whose fractions along one branch of the tree exceed thresholds, here those of Xu et
al. 2023, MNRAS 526, 6391.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from galaxy_da.errors import CatalogError


class Selection(NamedTuple):
    """A class of galaxies: answers, and the vote fraction in [0, 1) that each must exceed."""

    cuts: tuple[tuple[str, float], ...]
    any_of: bool = False  # one of the cuts is enough


_SMOOTH = "smooth-or-featured_smooth"
_MERGING = ("minor-disturbance", "major-disturbance", "merger")
_FEATURED = ("smooth-or-featured_featured-or-disk", "disk-edge-on_no")


def _face_on(*answers: str, above: float = 0.6, branch: float = 0.6) -> Selection:
    return Selection((*((a, branch) for a in _FEATURED), *((a, above) for a in answers)))


SELECTIONS = {
    "merger": Selection(tuple((f"merging_{kind}", 0.6) for kind in _MERGING), any_of=True),
    "undisturbed": Selection((("disk-edge-on_no", 0.6), ("merging_none", 0.8))),
    "smooth-round": Selection(((_SMOOTH, 0.7), ("how-rounded_round", 0.8))),
    "smooth-in-between": Selection(((_SMOOTH, 0.7), ("how-rounded_in-between", 0.85))),
    "smooth-cigar": Selection(((_SMOOTH, 0.5), ("how-rounded_cigar-shaped", 0.6))),
    "edge-on": Selection(((_FEATURED[0], 0.5), ("disk-edge-on_yes", 0.7))),
    "face-on": _face_on(),
    "unbarred": _face_on("bar_no", above=0.8, branch=0.5),
    "weak-bar": _face_on("bar_weak", above=0.5, branch=0.5),
    "strong-bar": _face_on("bar_strong", above=0.5, branch=0.5),
    "spiral-arms": _face_on("has-spiral-arms_yes"),
    "no-spiral-arms": _face_on("has-spiral-arms_no"),
    **{
        f"arms-{how}": _face_on("has-spiral-arms_yes", f"spiral-winding_{how}")
        for how in ("tight", "medium", "loose")
    },
    **{f"bulge-{size}": _face_on(f"bulge-size_{size}") for size in ("none", "small", "moderate")},
}
"""The classes by name."""


def select(
    catalog: pa.Table, selection: str | Selection, *, threshold: float | None = None
) -> pa.Table:
    """Return the galaxies of one class.

    Parameters
    ----------
    catalog : pa.Table
        Catalogue with vote fractions in [0, 1]: for each answer a column ``ANSWER_fraction``, with
        ``-`` or ``_``, as in Galaxy Zoo DECaLS and DESI tables. An empty fraction, of a question
        without votes, exceeds no threshold.
    selection : str or Selection
        Name in `SELECTIONS`, or a selection of your own.
    threshold : float, optional
        Vote fraction in [0, 1) in place of those of all cuts.

    Returns
    -------
    pa.Table
        Rows of the catalogue, in order, with its metadata.

    Raises
    ------
    ValueError
        If there is no such selection, or the threshold is out of range.
    CatalogError
        If a column is missing, or does not hold fractions.
    """
    if isinstance(selection, str):
        if selection not in SELECTIONS:
            raise ValueError(f"unknown selection {selection!r}; there are {', '.join(SELECTIONS)}")
        selection = SELECTIONS[selection]
    if threshold is not None and not 0 <= threshold < 1:
        raise ValueError(f"threshold must be a vote fraction in [0, 1) but is {threshold}")
    passed = [
        _fraction(catalog, answer) > (above if threshold is None else threshold)
        for answer, above in selection.cuts
    ]
    return catalog.filter(pa.array(np.any(passed, 0) if selection.any_of else np.all(passed, 0)))


def _fraction(catalog: pa.Table, answer: str) -> np.ndarray:
    """Return the vote fractions of an answer, NaN if empty."""
    wanted = f"{answer}_fraction"
    plain = {name.replace("-", "_").lower(): name for name in catalog.column_names}
    name = plain.get(wanted.replace("-", "_"))
    if name is None:
        raise CatalogError(
            f"there is no column {wanted!r} of vote fractions; the selection needs a Galaxy Zoo "
            "table with the columns of GZ DECaLS or GZ DESI"
        )
    try:
        votes = np.asarray(catalog[name].cast(pa.float64()).to_numpy())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise CatalogError(f"column {name!r} holds {catalog[name].type}, not fractions") from error
    known = votes[np.isfinite(votes)]
    if len(known) and not 0 <= known.min() <= known.max() <= 1:
        raise CatalogError(
            f"column {name!r} spans {known.min():g} to {known.max():g}; expected vote fractions in "
            "[0, 1], not counts or percent"
        )
    return votes
