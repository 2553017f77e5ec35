"""Compare magnitudes and sizes of real images with photutils.

``python -m benchmarks.real.photometry DATA`` reads DECaLS cubes, and ten galaxies in r by KiDS and
SDSS. photutils detects and deblends the sources of r on the survey's own pixels, and gives the Kron
magnitude and the half-light radius of the one in the middle with its neighbours masked. They stand
beside what is measured on the prepared image, what the probes infer, and the domain score.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from astropy.stats import SigmaClip
from photutils.background import MMMBackground
from photutils.segmentation import SourceCatalog, deblend_sources, detect_sources
from scipy.ndimage import gaussian_filter

from benchmarks.real.ranks import gama_stamp
from benchmarks.support.commands import command_parser
from benchmarks.support.tables import print_rows
from galaxy_da.errors import CutoutError
from galaxy_da.extraction.checks import domain_scores, light_at_edge, magnitudes_differ
from galaxy_da.extraction.summary import summarise
from galaxy_da.images.cutouts import Cutout, read_image
from galaxy_da.images.preparation import to_surface_brightness
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import Survey, get_survey

_SMOOTHING_ARCSEC = 0.6
_THRESHOLD, _FEWEST_PIXELS = 1.5, 12  # of detection, in noise of the smoothed image
_LEVELS, _CONTRAST = 24, 0.005  # of deblending
_MAG, _SIZE = 0.15, 0.15  # limits of differences


class Peer(NamedTuple):
    """Kron magnitude (AB) and half-light radius [arcsec] by photutils; NaN without a source."""

    mag: float
    half_light_arcsec: float


def peer_photometry(brightness: np.ndarray, pixel_arcsec: float) -> Peer:
    """Measure the source in the middle of an image of surface brightness [nanomaggy / arcsec^2]."""
    image = np.nan_to_num(brightness.astype(float)) * pixel_arcsec**2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of photutils, about sources at the border
        smooth = gaussian_filter(image, _SMOOTHING_ARCSEC / pixel_arcsec)
        clip = SigmaClip(3.0, maxiters=10)
        noise = float(np.std(clip(smooth, masked=False)))
        level = MMMBackground(sigma_clip=clip).calc_background(image)
        found = detect_sources(smooth - level, _THRESHOLD * noise, _FEWEST_PIXELS)
        if found is None:
            return Peer(np.nan, np.nan)
        found = deblend_sources(
            smooth, found, _FEWEST_PIXELS, n_levels=_LEVELS, contrast=_CONTRAST, progress_bar=False
        )
        y, x = ((side - 1) / 2 for side in image.shape)
        label = _nearest_label(found.data, x, y, 2.5 / pixel_arcsec)
        if not label:
            return Peer(np.nan, np.nan)
        source = SourceCatalog(image - level, found, convolved_data=smooth - level).get_label(label)
        flux, radius = float(source.kron_flux), float(source.fluxfrac_radius(0.5).value)
    return Peer(float(22.5 - 2.5 * np.log10(flux)) if flux > 0 else np.nan, radius * pixel_arcsec)


def _nearest_label(labels: np.ndarray, x: float, y: float, most: float) -> int:
    rows, columns = np.nonzero(labels)
    distance = np.hypot(columns - x, rows - y)
    nearest = int(distance.argmin())
    return int(labels[rows[nearest], columns[nearest]]) if distance[nearest] <= most else 0


def real_stamps(data: Path) -> Iterator[tuple[str, Survey, Cutout]]:
    """Yield name, survey and cutout of each usable real image."""
    decals = get_survey("decals")
    for path in sorted((data / "decals_fits").glob("*.fits")):
        try:
            yield path.stem, decals, read_image(path, decals)
        except CutoutError:
            continue
    for folder in ("KiDS", "SDSS"):
        survey = get_survey(folder.lower())
        for path in sorted((data / "kids_sdss_fits" / folder).glob("G*fitim.fits")):
            yield f"{folder} {path.name[:7]}", survey, gama_stamp(path, survey)


def compare(data: Path, space: LatentSpace) -> list[dict[str, Any]]:
    """Return a row for each usable image with peer, measured and inferred values."""
    rows = []
    probes = {probe.name: probe for probe in space.probes}
    for name, survey, cutout in real_stamps(data):
        encoder = space.encoder(survey, cutout.bands)
        prepared = encoder.prepare([cutout], space.frame)
        if prepared.problems[0] is not None:
            continue
        band = cutout.bands.index("r")
        brightness = to_surface_brightness([cutout], survey)[0, band].numpy()
        peer = peer_photometry(brightness, cutout.pixel_scale_arcsec)
        found = summarise(space, prepared.inputs, space.encode(prepared.inputs, encoder))
        plane = encoder.bands.index("r")
        mag = 22.5 - 2.5 * np.log10(found.measured.petrosian_flux[0, plane])
        size = found.measured.half_light_arcsec[0]
        row: dict[str, Any] = {
            "image": name,
            "peer r": peer.mag,
            "measured - peer": mag - peer.mag,
            "peer size": peer.half_light_arcsec,
            "ln measured / peer": np.log(size / peer.half_light_arcsec),
        }
        inferred = probes["r_mag"].predict(found.values) if "r_mag" in probes else None
        if inferred is not None:
            row |= {
                "inferred - peer": inferred.value[0] - peer.mag,
                "stated error": inferred.error[0],
            }
        if space.domain is not None:
            scores = domain_scores(space.domain, found.values, space.frame)
            row |= {"score": scores.score[0], "reason": scores.reasons[0] or ""}
        if light_at_edge(found.measured)[0]:
            row["reason"] = row.get("reason") or "light at the edge"
        if magnitudes_differ(inferred, found, space.frame)[0]:
            row["reason"] = row.get("reason") or "measured magnitude differs"
        rows.append(
            {k: round(float(v), 2) if k not in ("image", "reason") else v for k, v in row.items()}
        )
    return rows


def summary_rows(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the shares within 0.15 mag, 15% and two stated errors of rows without a flag."""
    table = []
    for survey in ("DECaLS", "KiDS", "SDSS"):
        own = [row for row in rows if _survey_of(row) == survey]
        used = [row for row in own if not row.get("reason") and np.isfinite(row["peer r"])]
        entry: dict[str, Any] = {"survey": survey, "images": len(own), "unflagged": len(used)}
        for name, limit in (
            ("measured - peer", _MAG),
            ("inferred - peer", _MAG),
            ("ln measured / peer", _SIZE),
        ):
            values = np.array([row[name] for row in used if name in row])
            entry[f"{name}: median"] = float(np.median(values)) if len(values) else np.nan
            entry[f"{name}: within {limit}"] = float((abs(values) <= limit).mean())
        pulls = [
            abs(row["inferred - peer"]) / row["stated error"]
            for row in used
            if "stated error" in row
        ]
        entry["inferred: within 2 errors"] = float(np.mean(np.array(pulls) <= 2))
        table.append(entry)
    return table


def _survey_of(row: dict[str, Any]) -> str:
    first = str(row["image"]).split(" ")[0]
    return first if first in ("KiDS", "SDSS") else "DECaLS"


def main() -> None:
    """Run the command."""
    parser = command_parser("real.photometry", __doc__)
    parser.add_argument("data", type=Path, help="folder of the real images")
    parser.add_argument("--space", default="decals", help="latent space")
    given = parser.parse_args()
    rows = compare(given.data, LatentSpace.load(given.space))
    print_rows("r and size of real images", rows)
    print_rows("Without a flag", summary_rows(rows))


if __name__ == "__main__":
    main()
