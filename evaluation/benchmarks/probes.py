"""Physical columns on the simulated sky: truth against value for each survey, beside statmorph.

``python -m evaluation.benchmarks.probes [--space SPACE] [--n 2000] [--peers 100] [--guide FILE]``
prints the tables: a sky is simulated, probes are fitted on the anchor and measured in every
survey, through its own encoder where the space has one and the anchor's where it has none. Some of
the same galaxies go through statmorph. With the Galaxy Zoo guide images, smooth against features.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from catalogs.simulate import simulate
from catalogs.splits import sky_split
from evaluation.benchmarks.tables import print_rows
from evaluation.ideal_views import add_structure
from evaluation.probes import error_rows, fit_probes, measure, observe_truth, read_truth
from evaluation.quantities import find_quantities
from evaluation.real_probes import guide_rows
from evaluation.statmorph_peer import measure_morphology
from galaxy_da.cutouts import Cutout
from galaxy_da.images import to_surface_brightness
from galaxy_da.loading import read_batches, row_numbers
from galaxy_da.probes import Probe
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import get_survey
from galaxy_da.tables import Sample

__all__ = ["peer_rows", "probe_tables"]

_R_NM, _G_NM = 642.0, 481.0
_SURVEYS = ("decals", "sdss", "hsc")


def probe_tables(
    space: str = "decals",
    n: int = 2000,
    peers: int = 100,
    seed: int = 77,
    surveys: Sequence[str] = _SURVEYS,
) -> dict[str, list[dict[str, Any]]]:
    """Fit and measure probes on a fresh simulated sky.

    Parameters
    ----------
    space : str
        Folder or shipped name.
    n : int
        Galaxies of the sky.
    peers : int
        Galaxies of its test part that also go through statmorph, in each survey.
    seed : int
        Of the sky.
    surveys : sequence of str
        The anchor first.

    Returns
    -------
    dict of str to list of dict
        ``quantities`` and ``probabilities``: one row per probe and survey; ``peers``: as
        `peer_rows`.
    """
    loaded = LatentSpace.load(space)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        definitions = [get_survey(name) for name in surveys]
        simulate(definitions, n, seed=seed, out=out, repeat_anchor=False, progress=False)
        truth = add_structure(read_truth(out / "truth.parquet"), seed)
        samples = {name: Sample(out / name / "sample.parquet") for name in surveys}
        anchor, *others = samples.values()
        probes = fit_probes(loaded, anchor, truth, others, unadapted=True)
        rows = error_rows(probes).to_pylist()
        for row in rows:
            row["encoder"] = "own" if row["survey"] in loaded.surveys else "anchor's"
        return {
            "quantities": _pick(rows, "r2", ("bias", "scatter", "rms", "r2")),
            "probabilities": _pick(
                rows, "brier", ("log_loss", "base_log_loss", "brier", "ece", "auc")
            ),
            "peers": peer_rows(loaded, probes, truth, samples, peers),
        }


def peer_rows(
    space: LatentSpace,
    probes: Sequence[Probe],
    truth: pa.Table,
    samples: Mapping[str, Sample],
    most: int,
) -> list[dict[str, Any]]:
    """Measure probes and statmorph on the same cutouts.

    Parameters
    ----------
    space : LatentSpace
        Where the probes' vectors come from.
    probes : sequence of Probe
        Fitted without the test part of the sky.
    truth : pa.Table
        Of the simulated sky, with the structure of noise-free views.
    samples : dict of str to Sample
        By survey.
    most : int
        Galaxies of the test part, the first that every survey has.

    Returns
    -------
    list of dict
        One row per quantity and survey: ``n`` galaxies that statmorph could measure, and ``bias``,
        ``scatter`` and ``r2`` of the probe (``ours``), of statmorph, and of its Sersic fit through
        the PSF where that gives the quantity.
    """
    part = sky_split(truth["ra"].to_numpy(), truth["dec"].to_numpy())
    complete = np.logical_and.reduce([truth[f"{name}_id"].is_valid() for name in samples])
    some = truth.take(pa.array(np.flatnonzero((part == "test") & complete)[:most]))
    known = find_quantities(some)
    rows = []
    for name, sample in samples.items():
        peer = _statmorph(sample, some)
        seen = observe_truth(space, sample, some, unadapted=True)
        for probe in probes:
            if probe.name not in peer or probe.name not in known:
                continue
            ours = np.full(some.num_rows, np.nan)
            ours[seen.rows] = probe.apply(seen.vectors[0])
            answers = {"ours": ours, "statmorph": peer[probe.name]}
            if f"sersic_{probe.name}" in peer:
                answers["sersic"] = peer[f"sersic_{probe.name}"]
            value = known[probe.name][1]
            good = np.isfinite(np.stack([value, *answers.values()])).all(0)
            row: dict[str, Any] = {"probe": probe.name, "survey": name, "n": int(good.sum())}
            for who, answer in answers.items():
                errors = measure(probe.link, value[good], answer[good])
                row |= {f"{who}_{key}": errors[key] for key in ("bias", "scatter", "r2")}
            rows.append(row)
    return rows


def _statmorph(sample: Sample, truth: pa.Table) -> dict[str, np.ndarray]:
    """Return statmorph's answer for each row of truth, in the quantities' units."""
    survey = get_survey(sample.survey)
    numbers = row_numbers(sample, truth[f"{survey.name}_id"])
    wanted = np.isin(np.arange(len(sample)), numbers)
    cutouts: list[Cutout] = []
    for _, batch in read_batches(sample, {survey.name: survey}, 0, wanted):
        cutouts += [cutout for cutout in batch if isinstance(cutout, Cutout)]
    pixel = survey.pixel_scale_arcsec
    flux = to_surface_brightness(cutouts, survey).numpy() * pixel**2
    flux = flux[np.searchsorted(np.flatnonzero(wanted), numbers)]
    bands = cutouts[0].bands
    g, r = (flux[:, bands.index(survey.nearest_band(nm, bands).name)] for nm in (_G_NM, _R_NM))
    fwhm = sample.catalog["psf_fwhm_arcsec"].to_numpy()[numbers] / pixel
    found = measure_morphology(r, fwhm)
    same = ("ellipticity", "position_angle", "concentration", "asymmetry")
    sersic = ("sersic_ellipticity", "sersic_position_angle")
    return {
        **{name: found[name] for name in same + sersic},
        "half_light_arcsec": found["half_light_px"] * pixel,
        "sersic_half_light_arcsec": found["sersic_half_light_px"] * pixel,
        "r_mag": found["mag"],
        "g_minus_r": _aperture_colour(g, r, found["petrosian_px"]),
    }


def _aperture_colour(g: np.ndarray, r: np.ndarray, radius_px: np.ndarray) -> np.ndarray:
    """Colour g - r within statmorph's Petrosian radius [mag]."""
    ramp = np.arange(g.shape[-1]) - (g.shape[-1] - 1) / 2
    inside = np.hypot(ramp[:, None], ramp)[None] <= radius_px[:, None, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        flux = [np.nansum(image * inside, axis=(1, 2)) for image in (g, r)]
        colour = -2.5 * np.log10(flux[0] / flux[1])
    return np.where(np.isfinite(radius_px), colour, np.nan)


def _pick(rows: list[dict[str, Any]], mark: str, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Rows that have one figure, with the columns that go with it."""
    names = ("probe", "unit", "survey", "encoder", "n", *columns)
    return [{name: row[name] for name in names} for row in rows if row[mark] is not None]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", default="decals")
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--peers", type=int, default=100)
    parser.add_argument("--guide", type=Path, default=None)
    given = parser.parse_args()
    tables = probe_tables(given.space, given.n, given.peers)
    print_rows("Physical columns by survey (relative where the unit is ln)", tables["quantities"])
    print_rows("Probabilities by survey", tables["probabilities"])
    print_rows("Beside statmorph, the same cutouts", tables["peers"])
    if given.guide is not None:
        print_rows(
            "Smooth against features, Galaxy Zoo guide images",
            guide_rows(LatentSpace.load(given.space), given.guide),
        )


if __name__ == "__main__":
    main()
