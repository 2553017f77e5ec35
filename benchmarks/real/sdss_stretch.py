"""Fit the stretch of SDSS' colour pictures to linear images of the same galaxies.

``python -m benchmarks.real.sdss_stretch DATA`` needs ``sdss_jpeg_calibration.csv`` and
``sdss_spirals.parquet`` of the folder of real images. The first holds medians in annuli around
four bright galaxies: DECaLS surface brightness and bytes of SkyServer's pictures. The constants of
Lupton et al. (2004, PASP 116, 133) are fitted to them, with each galaxy left out in turn.

The second holds spirals of the main galaxy sample, which ends at r = 17.77 (Strauss et al. 2002,
AJ 124, 1810): the faint end of their magnitudes checks the zeropoint.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from PIL import Image
from scipy.optimize import least_squares
from torch import from_numpy

from benchmarks.support.commands import command_parser
from benchmarks.support.tables import print_rows
from galaxy_da.images.stretches import invert_stretch
from galaxy_da.surveys import Stretch, get_survey

_PIXEL_ARCSEC = 0.396
_I_BETWEEN_R_AND_Z = 0.54
"""Place of SDSS' i between r and z in magnitudes: (r - i) / (r - z) of nearby galaxies, 0.35 / 0.65
(Fukugita et al. 1995, PASP 107, 945)."""

_DOCUMENTED = (4.9, 5.7, 7.8, 6.75)
_APERTURE_ARCSEC = 6.0
_SKY_ARCSEC = 11.0
_STAMP_PIXEL_ARCSEC = 0.2


def read_annuli(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the galaxy of each annulus, its flux (3, n) and its bytes (3, n), in i, r and g.

    Flux is in nanomaggies per 0.396 arcsec pixel.
    """
    table = pd.read_csv(path)
    g, r, z = (table[f"decals_{band}"].to_numpy() * _PIXEL_ARCSEC**2 for band in "grz")
    i = r ** (1 - _I_BETWEEN_R_AND_Z) * z**_I_BETWEEN_R_AND_Z
    seen = np.stack([table[f"byte_{band}"].to_numpy() for band in "irg"])
    return table["pair"].to_numpy(), np.stack([i, r, g]), seen


def bytes_of(constants: np.ndarray, flux: np.ndarray) -> np.ndarray:
    """Return the bytes of fluxes (3, n); the fourth constant is both `q` and `divisor`."""
    scaled = constants[:3, None] * flux
    x = constants[3] * scaled.mean(0)
    return np.asarray(255 * np.clip(scaled * np.arcsinh(x) / x, 0, 1))


def fit_stretch(flux: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return the constants of `bytes_of` with the least squared residuals in bytes."""

    def residuals(logarithms: np.ndarray) -> np.ndarray:
        return np.asarray((bytes_of(np.exp(logarithms), flux) - seen).ravel())

    found = least_squares(residuals, np.log(np.array(_DOCUMENTED)))
    return np.asarray(np.exp(found.x))


def faint_end(path: Path, stretch: Stretch, percentile: float = 98.0) -> float:
    """Return a percentile of the r magnitudes of the pictures of a sample, within 6 arcsec."""
    pictures = []
    for item in pq.read_table(path, columns=["image"])["image"].to_pylist():
        data = item["bytes"] if isinstance(item, dict) else item
        pictures.append(np.moveaxis(np.asarray(Image.open(io.BytesIO(data))), -1, 0))
    side = pictures[0].shape[-1]
    y, x = np.indices((side, side)) - (side - 1) / 2
    radius = np.hypot(x, y) * _STAMP_PIXEL_ARCSEC
    magnitudes = []
    for picture in pictures:
        if picture.shape != (3, side, side):
            continue
        red = invert_stretch(from_numpy(picture.copy()), stretch)[1].numpy()
        red *= (_STAMP_PIXEL_ARCSEC / stretch.pixel_scale_arcsec) ** 2
        flux = (red - np.median(red[radius > _SKY_ARCSEC]))[radius < _APERTURE_ARCSEC].sum()
        magnitudes.append(22.5 - 2.5 * np.log10(max(flux, 1e-3)))
    return float(np.percentile(magnitudes, percentile))


def main() -> None:
    """Print the fits, the built-in constants and the faint end."""
    parser = command_parser("real.sdss_stretch", __doc__)
    parser.add_argument("data", type=Path, help="folder of real images")
    data = parser.parse_args().data
    galaxy, flux, seen = read_annuli(data / "sdss_jpeg_calibration.csv")
    built_in = get_survey("sdss").stretch
    assert isinstance(built_in, Stretch)
    candidates = {
        "documented": np.array(_DOCUMENTED),
        "fit of all": fit_stretch(flux, seen),
        "built in": np.array([*built_in.scales, built_in.q]),
    }
    for name in np.unique(galaxy):
        candidates[f"fit without {name}"] = fit_stretch(
            flux[:, galaxy != name], seen[:, galaxy != name]
        )
    rows = []
    for name, constants in candidates.items():
        left_out = (
            galaxy == name[-1] if name.startswith("fit without") else np.ones_like(galaxy, bool)
        )
        residual = (bytes_of(constants, flux) - seen)[:, left_out]
        stretch = built_in.model_copy(
            update={"scales": tuple(constants[:3]), "q": constants[3], "divisor": constants[3]}
        )
        row = dict(zip(("scale i", "scale r", "scale g", "q"), constants.round(2), strict=True))
        row |= {"rms bytes": round(float(np.sqrt(np.mean(residual**2))), 1)}
        if not name.startswith("fit without"):
            row["faint end r"] = round(faint_end(data / "sdss_spirals.parquet", stretch), 2)
        rows.append({"constants": name, **row})
    print_rows("stretch of SDSS' colour pictures", rows)


if __name__ == "__main__":
    main()
