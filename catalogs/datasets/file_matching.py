"""Match the images of a folder to the rows of a catalogue, by name, header or position."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy.spatial import cKDTree

from catalogs.datasets.folder_images import FolderImage
from galaxy_da.io.sphere import separation_arcsec, unit_vectors

METHODS = ("name", "header", "position")
_KINDS = ("FITS", "array", "picture")
"""Kinds of images of one galaxy in the order in which they are preferred."""

_WORD = re.compile(r"\d+(?:\.\d+)+|[^\W_]+|[+-]")
_UNIQUE_FACTOR = 2.0
"""A galaxy is that of an image if the second nearest is this many times as far, and a pixel."""


class IdNames:
    """Ids of a catalogue, found as whole words in names.

    Words are runs of letters and digits, and the signs + and -. Case, spaces, underscores and
    leading zeros of integers do not count. Ids that differ in nothing else are found in no name.
    """

    def __init__(self, ids: Iterable[str]) -> None:
        self._rows: dict[tuple[str, ...], int | None] = {}
        for row, text in enumerate(ids):
            key = _words(text)
            self._rows[key] = None if key in self._rows else row
        self._longest = max(map(len, self._rows), default=0)

    def equal(self, text: str) -> int | None:
        """Return the row whose id a text is, None if there is none."""
        return self._rows.get(_words(text))

    def within(self, text: str) -> int | None:
        """Return the row whose id a text contains, None for none or several.

        An id inside a longer one does not count.
        """
        words = _words(text)
        spans = [
            (start, stop)
            for start in range(len(words))
            for stop in range(start + 1, min(start + self._longest, len(words)) + 1)
            if words[start:stop] in self._rows
        ]
        outer = [
            (a, b) for a, b in spans
            if not any((c <= a and b <= d) and (a, b) != (c, d) for c, d in spans)
        ]  # fmt: skip
        rows = {self._rows[words[start:stop]] for start, stop in outer}
        return rows.pop() if len(rows) == 1 else None


@dataclass(frozen=True)
class Matching:
    """Rows of a catalogue with their images."""

    method: str
    counts: dict[str, int]  # images that each method tried would match
    rows: dict[int, int]  # image of each matched row
    refused: dict[int, str]  # reason for each image without a row


def match_images(
    images: Sequence[FolderImage], catalog: pa.Table, method: str, has_ids: bool
) -> Matching:
    """Match images to the rows (``object_id``, ``ra``, ``dec``) of a catalogue, one to one.

    ``name``: the file's name is or contains the id. ``header``: a card holds the id. ``position``:
    the galaxy nearest to the middle of the image, within half its width. ``auto``: the one of these
    that matches most images, or positions alone if `has_ids` is False (rows are only numbered).
    """
    if method not in (*METHODS, "auto"):
        raise ValueError(f"match is one of auto, {', '.join(METHODS)}, not {method!r}")
    tried = [method] if method != "auto" else METHODS if has_ids else ["position"]
    sky = np.stack([catalog[name].to_numpy() for name in ("ra", "dec")], axis=-1)
    names = IdNames(catalog["object_id"].to_pylist())
    results = {name: _match(images, sky, names, name) for name in tried}
    best = max(results, key=lambda name: len(results[name][0]))
    counts = {name: len(rows) for name, (rows, _) in results.items()}
    return Matching(best, counts, *results[best])


def _match(
    images: Sequence[FolderImage], sky: np.ndarray, names: IdNames, method: str
) -> tuple[dict[int, int], dict[int, str]]:
    """Match by one method; of several images of a row, keep the best if one is better.

    Return the image of each row, and the reason for each other image.
    """
    rank: dict[int, tuple[float, ...]]  # of an image among those of its row
    refused: dict[int, str] = {}
    if method == "position":
        found, rank = _by_position(images, sky)
        nothing = "no galaxy of the catalogue is clearly the nearest to the middle of the image"
    else:
        row_of = _by_name if method == "name" else _by_header
        found = {i: row_of(image, names) for i, image in enumerate(images)}
        rank = {
            i: (_KINDS.index(image.files[0].kind), names.equal(image.stem) is None)
            for i, image in enumerate(images)
        }
        where = "the file's name" if method == "name" else "a header card"
        nothing = f"{where} holds no id of the catalogue, or several"
    claims: dict[int, list[int]] = {}
    for i, image in enumerate(images):
        row = found.get(i)
        if row is None:
            refused[i] = nothing
        elif (apart := _outside_arcsec(image, *sky[row])) is not None:
            refused[i] = (
                f"the WCS lies {apart:.3g} arcsec from the galaxy that {method} gives, outside the "
                "image; compare the ids and positions of the catalogue with the images"
            )
        else:
            claims.setdefault(row, []).append(i)
    kept: dict[int, int] = {}
    for row, claimants in claims.items():
        first, *others = sorted(claimants, key=rank.__getitem__)
        if not others or rank[first] < rank[others[0]]:
            kept[row] = first
            reason = (
                "another file of the same galaxy is preferred (FITS, then arrays, then pictures)"
            )
        else:
            others = claimants
            reason = "several images of one galaxy; leave one, or name bands as in ID_g.fits"
        refused |= dict.fromkeys(others, reason)
    return dict(sorted(kept.items())), refused


def _by_name(image: FolderImage, names: IdNames) -> int | None:
    """Return the row whose id is in the file's name, else in the path below the folder."""
    exact = names.equal(image.stem)
    if exact is not None:
        return exact
    within = names.within(image.stem)
    return names.within(image.path) if within is None else within


def _by_header(image: FolderImage, names: IdNames) -> int | None:
    """Return the one row whose id the cards of the first file hold."""
    rows = {row for card in image.files[0].cards if (row := names.equal(card)) is not None}
    return rows.pop() if len(rows) == 1 else None


def _by_position(
    images: Sequence[FolderImage], sky: np.ndarray
) -> tuple[dict[int, int | None], dict[int, tuple[float, ...]]]:
    """Return the row nearest to the middle of each image, and its distance [whole pixels]."""
    found: dict[int, int | None] = {}
    rank: dict[int, tuple[float, ...]] = {}
    centres = {i: image.files[0].centre for i, image in enumerate(images) if image.files[0].centre}
    placed = np.flatnonzero(np.isfinite(sky).all(1))
    if not centres or not len(placed):
        return found, rank
    middles = np.array(list(centres.values()))
    chords, rows = cKDTree(unit_vectors(*sky[placed].T)).query(unit_vectors(*middles.T), k=2)
    for i, chord, (row, _) in zip(centres, np.asarray(chords), np.asarray(rows), strict=True):
        file = images[i].files[0]
        near, far = chord / np.radians((file.pixel_scale_arcsec or 1) / 3600)
        if near <= min(file.shape[1:]) / 2 and far >= max(_UNIQUE_FACTOR * near, near + 1):
            found[i], rank[i] = int(placed[row]), (round(float(near)),)
    return found, rank


def _outside_arcsec(image: FolderImage, ra: float, dec: float) -> float | None:
    """Return the distance of a galaxy outside the circle around an image, None if it is inside."""
    file = image.files[0]
    if file.centre is None or file.pixel_scale_arcsec is None:
        return None
    apart = float(separation_arcsec(*file.centre, ra, dec))
    radius = file.pixel_scale_arcsec * np.hypot(*file.shape[1:]) / 2 * 1.01
    return apart if apart > radius else None


def _words(text: str) -> tuple[str, ...]:
    """Split a name into words, in lower case, integers without leading zeros."""
    words = _WORD.findall(text.casefold())
    return tuple((w.lstrip("0") or "0") if w.isdigit() else w for w in words)
