"""Compare the positions of a catalogue with the WCS of the images matched to its rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

from catalogs.datasets.file_matching import IdNames, Matching
from catalogs.datasets.folder_images import FolderImage

_LEAST_ARCSEC, _LEAST_PIXELS = 0.5, 2.0  # smaller offsets are those of cutting at whole pixels
_SIGNIFICANT = 5.0  # standard errors of a median offset
_FEWEST = 2  # images that show a common offset
_SHARE = 0.1  # of images in doubt: fewer are not told


def check_positions_of_images(
    images: Sequence[FolderImage], matching: Matching, sky: np.ndarray, names: IdNames
) -> tuple[dict[str, float], list[str]]:
    """Measure how far the galaxies of matched rows lie from the middles of their images.

    Returns the offsets [arcsec], empty without a WCS, and signs of a bad match, a line each.
    `sky` are the (rows, 2) positions of the catalogue [ICRS deg], NaN for a row without one, and
    `names` its ids.
    """
    pairs = [
        (row, images[i])
        for row, i in matching.rows.items()
        if images[i].files[0].centre is not None and np.isfinite(sky[row]).all()
    ]
    if not pairs:
        return {}, []
    rows = np.array([row for row, _ in pairs])
    middles = SkyCoord([image.files[0].centre for _, image in pairs], unit=u.deg)
    placed = np.flatnonzero(np.isfinite(sky).all(1))
    galaxies = SkyCoord(sky[placed], unit=u.deg)
    own = SkyCoord(sky[rows], unit=u.deg)
    east, north = (part.to_value(u.arcsec) for part in middles.spherical_offsets_to(own))
    apart = middles.separation(own).arcsec
    nearest, least, _ = middles.match_to_catalog_sky(galaxies)
    is_nearer = (placed[nearest] != rows) & (least.arcsec < apart - _LEAST_ARCSEC)
    offsets = {
        "images": len(pairs),
        "median_arcsec": float(np.median(apart)),
        "largest_arcsec": float(apart.max()),
        "median_east_arcsec": float(np.median(east)),
        "median_north_arcsec": float(np.median(north)),
    }
    pixel = float(np.median([image.files[0].pixel_scale_arcsec or 0 for _, image in pairs]))
    warnings = [_of_offset(east, north, apart, pixel), _of_nearer(pairs, is_nearer)]
    if matching.method == "position":
        warnings.append(_of_names(pairs, names))
    rounded = {name: round(value, 3) for name, value in offsets.items()}
    return rounded, [text for text in warnings if text]


def _of_offset(east: np.ndarray, north: np.ndarray, apart: np.ndarray, pixel: float) -> str:
    """Tell of an offset that all galaxies share, or of galaxies far from the middle."""
    least = max(_LEAST_ARCSEC, _LEAST_PIXELS * pixel)
    steps = np.stack([east, north])
    common = np.median(steps, axis=1)
    size = float(np.hypot(*common))
    scatter = 1.4826 * float(np.median(np.abs(steps - common[:, None])))
    if size > least and size > _SIGNIFICANT * scatter / np.sqrt(len(east)) and len(east) >= _FEWEST:
        angle = np.degrees(np.arctan2(*common)) % 360
        return (
            f"catalogue positions lie {size:.3g} arcsec from the middles of the images, at "
            f"position angle {angle:.0f} deg (scatter {scatter:.2g} arcsec): another epoch, "
            "frame or column, a shifted WCS, or images cut off centre; name the right columns by "
            "--ra and --dec, or leave out --catalog to use the images' WCS"
        )
    if np.median(apart) > least:
        return (
            f"half of the galaxies lie more than {np.median(apart):.3g} arcsec from the middle of "
            "their image: ids of other galaxies, or images cut off centre; look at some, or match "
            "by --match position"
        )
    return ""


def _of_nearer(pairs: Sequence[tuple[int, FolderImage]], is_nearer: np.ndarray) -> str:
    """Tell of rows other than the matched ones that are nearer to the middle of their image."""
    return _of_doubtful(
        [image.name for (_, image), nearer in zip(pairs, is_nearer, strict=True) if nearer],
        len(pairs),
        "another row of the catalogue is nearer to the middle of {} images",
        "compare some, or match by --match position",
    )


def _of_names(pairs: Sequence[tuple[int, FolderImage]], names: IdNames) -> str:
    """Tell of images matched by position whose names or headers hold the id of another row."""
    other = []
    for row, image in pairs:
        ids = {names.within(image.stem), *map(names.equal, image.files[0].cards)} - {None}
        if ids and row not in ids:
            other.append(image.name)
    return _of_doubtful(
        other,
        len(pairs),
        "the names or headers of {} images hold the id of another row than that at their position",
        "correct the catalogue, or match by --match name or --match position",
    )


def _of_doubtful(names: list[str], n: int, doubt: str, advice: str) -> str:
    """Tell of images in doubt, if they are many of `n`."""
    if len(names) <= _SHARE * n:
        return ""
    return (
        f"{doubt.format(f'{len(names)} of {n}')} ({names[0]} is the first): ids or positions are "
        f"those of other galaxies; {advice}"
    )
