"""Compare the magnitudes that `extract` writes with aperture photometry of the same DECaLS images.

The aperture holds 70% of the side of an image; the sky is the median of its border. Fluxes refer to
pixels of 0.262 arcsec at every pixel scale.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from photutils.aperture import CircularAperture

from benchmarks.support.commands import command_parser
from benchmarks.support.tables import print_rows
from galaxy_da.errors import CutoutError
from galaxy_da.images.cutouts import read_image
from galaxy_da.models.probes import probe_columns
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import get_survey

__all__ = ["compare"]

_FLUX_PIXEL_ARCSEC = 0.262
_RADIUS = 0.35  # of the aperture, over the side of the image


def compare(folder: Path, space: LatentSpace) -> list[dict[str, object]]:
    """Return a row for each usable image: r by aperture, by the latents, and the difference."""
    survey = get_survey("decals")
    encoder, rows = space.encoder(survey), []
    for path in sorted(folder.glob("*.fits")):
        try:
            cutout = read_image(path, survey)
        except CutoutError:
            continue
        prepared = encoder.prepare([cutout], space.frame)
        if prepared.problems[0] is not None:
            continue
        mean = space.encode(prepared.inputs, encoder).mean.numpy()
        own = probe_columns(space.probes, mean, np.ones(1, bool))["morph_r_mag"][0].as_py()
        measured = _aperture(cutout.pixels[cutout.bands.index("r")], cutout.pixel_scale_arcsec)
        rows.append(
            {
                "image": path.stem,
                "pixel_arcsec": round(cutout.pixel_scale_arcsec, 3),
                "aperture": round(measured, 2),
                "latents": round(own, 2),
                "difference": round(own - measured, 2),
            }
        )
    return rows


def _aperture(pixels: np.ndarray, pixel_arcsec: float) -> float:
    """Return the AB magnitude within an aperture about the middle."""
    finite = np.nan_to_num(pixels.astype(float))
    sky = np.median(np.concatenate([finite[:8].ravel(), finite[-8:].ravel()]))
    y, x = ((side - 1) / 2 for side in finite.shape)
    aperture = CircularAperture((x, y), _RADIUS * min(finite.shape))
    flux = aperture.do_photometry(finite - sky)[0][0]
    return float(22.5 - 2.5 * np.log10(flux * (pixel_arcsec / _FLUX_PIXEL_ARCSEC) ** 2))


def main() -> None:
    """Run the command."""
    parser = command_parser("real.photometry", __doc__)
    parser.add_argument("data", type=Path, help="folder of the real images")
    parser.add_argument("--space", default="decals", help="latent space")
    given = parser.parse_args()
    rows = compare(given.data / "decals_fits", LatentSpace.load(given.space))
    print_rows("r magnitudes of real DECaLS images", rows)


if __name__ == "__main__":
    main()
