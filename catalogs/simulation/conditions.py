"""Observing conditions of cutouts: PSF, depth, calibration, astrometry, camera and artefacts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from catalogs.simulation.artefacts import ARTEFACTS
from galaxy_da.images.preparation import Frame
from galaxy_da.surveys import Band, Survey

WIDEST_DRAW = 2.5  # clip of the drawn PSF widths and depths [standard deviations]
ARTEFACT_RATE = 0.02  # share of cutouts with an artefact
ASTROMETRY_ARCSEC = 0.1  # standard deviation of a catalogue position, per axis [arcsec]
ZEROPOINT_MAG = 0.02  # standard deviation of the calibration of one band of one cutout [mag]


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Observing conditions of n cutouts; ``conditions[rows]`` selects some of them.

    Images of a positive `zeropoint_error_mag` come out too bright. The catalogue positions, on
    which the cutouts are centred, are off by `east_arcsec` and `north_arcsec`.
    """

    psf_fwhm_arcsec: np.ndarray  # (n, bands)
    depth_mag: np.ndarray  # (n, bands) 5σ point-source depth [AB mag]
    zeropoint_error_mag: np.ndarray  # (n, bands)
    east_arcsec: np.ndarray  # (n,)
    north_arcsec: np.ndarray  # (n,)
    artefact: np.ndarray  # (n,) objects, one of ARTEFACTS or None
    rotation_deg: np.ndarray | None = None  # (n,) angle of the camera, north through east
    mirrored: np.ndarray | None = None  # (n,) bool, True where east is to the right

    def __getitem__(self, rows: slice | np.ndarray) -> Conditions:
        columns = {name: values for name, values in vars(self).items() if values is not None}
        return Conditions(**{name: values[rows] for name, values in columns.items()})

    def rotated(self, rng: np.random.Generator) -> Conditions:
        """Return these conditions with the camera at random angles, half the cutouts mirrored."""
        n = len(self.artefact)
        return replace(self, rotation_deg=rng.uniform(0, 360, n), mirrored=rng.random(n) < 0.5)


def median_conditions(n: int, bands: Sequence[Band]) -> Conditions:
    """Return the survey's median conditions, with perfect calibration and astrometry."""
    zeros = np.zeros((n, len(bands)))
    return Conditions(
        psf_fwhm_arcsec=zeros + [band.psf_fwhm_arcsec for band in bands],
        depth_mag=zeros + [band.depth_mag for band in bands],
        zeropoint_error_mag=zeros,
        east_arcsec=np.zeros(n),
        north_arcsec=np.zeros(n),
        artefact=np.full(n, None),
    )


def draw_conditions(n: int, bands: Sequence[Band], rng: np.random.Generator) -> Conditions:
    """Draw PSF width, depth, calibration, astrometry and artefacts of n cutouts.

    PSF widths scatter log-normally and depths normally, each band independently, with the scatter
    in the survey's definition. Both are clipped at 2.5 standard deviations.
    """
    median = median_conditions(n, bands)
    shape = median.psf_fwhm_arcsec.shape
    seeing, depth = rng.standard_normal((2, *shape)).clip(-WIDEST_DRAW, WIDEST_DRAW)
    spoiled = rng.random(n) < ARTEFACT_RATE
    return Conditions(
        psf_fwhm_arcsec=median.psf_fwhm_arcsec
        * np.exp(seeing * [band.psf_scatter for band in bands]),
        depth_mag=median.depth_mag + depth * [band.depth_scatter for band in bands],
        zeropoint_error_mag=rng.normal(0, ZEROPOINT_MAG, shape),
        east_arcsec=rng.normal(0, ASTROMETRY_ARCSEC, n),
        north_arcsec=rng.normal(0, ASTROMETRY_ARCSEC, n),
        artefact=np.where(spoiled, rng.choice(ARTEFACTS, n).astype(object), np.full(n, None)),
    )


def frame_bands(survey: Survey, *, every: bool = False) -> tuple[Band, ...]:
    """Return the survey's bands nearest to the frame's g, r and z, or every band, in its order."""
    wanted = survey.band_names if every else Frame().assign(survey, survey.band_names)
    return tuple(band for band in survey.bands if band.name in wanted)
