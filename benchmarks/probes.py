"""Compare predicted physical columns with the truth of a simulated sky, beside statmorph.

``python -m benchmarks.probes [--space SPACE] [--n N] [--peers N] [--guide TABLE]`` simulates a
sky on which the space's probes were not fitted and measures them in every survey, adapted or by
definition. Some galaxies go through statmorph too, beside the columns of ``extract --measured``.
With Galaxy Zoo's guide images it also measures smooth against featured, by the simulated probe
``p_featured`` and by classifiers fitted to them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.metrics import roc_auc_score

from benchmarks.peers.morphology import measure_morphology
from benchmarks.real.encoding import encode
from benchmarks.real.guide_images import read_guide
from benchmarks.support.commands import command_parser
from benchmarks.support.tables import print_rows
from catalogs.simulation.sky import SkySettings
from catalogs.simulation.writing import simulate
from evaluation.probes.errors import error_rows, measure, measure_probes, pulls
from evaluation.probes.labelled_latents import LabelledLatents, encode_labelled
from evaluation.probes.quantities import find_quantities
from evaluation.targets import encoder_for
from galaxy_da.errors import SpaceError
from galaxy_da.extraction.loading import load_images, read_batches, row_numbers
from galaxy_da.extraction.summary import summarise
from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.measurements import measure as measure_images
from galaxy_da.images.preparation import to_surface_brightness
from galaxy_da.io.samples import Sample
from galaxy_da.io.tables import read_table
from galaxy_da.models.probes import Probe
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import get_survey

_R_NM, _G_NM = 642.0, 481.0
_SURVEYS = ("decals", "sdss", "hsc")
_MAGNITUDES, _FEWEST = (17.0, 18.5, 19.5, 20.5, 21.5), 30  # bins of r, and galaxies in one


def probe_tables(
    space: str = "decals",
    n: int = 2000,
    peers: int = 100,
    seed: int = 77,
    surveys: Sequence[str] = _SURVEYS,
) -> dict[str, list[dict[str, Any]]]:
    """Measure a space's probes on a fresh simulated sky.

    Parameters
    ----------
    space : str
        Folder or shipped name; its probes must be of quantities that the simulated sky knows.
    n : int
        Number of galaxies of the sky.
    peers : int
        Number of them to measure by statmorph too, in each survey.
    seed : int
        Seed of the sky; not one that the space or its probes were fitted on.
    surveys : sequence of str
        Surveys to observe; those that the space was not adapted to are read by definition.

    Returns
    -------
    dict of str to list of dict
        ``quantities`` and ``probabilities``: one row per probe and survey; ``pulls``: as
        `pull_rows`; ``peers``: as `peer_rows`.

    Raises
    ------
    SpaceError
        If the space has no probes.
    """
    loaded = LatentSpace.load(space)
    if not loaded.probes:
        raise SpaceError(f"{space}: has no probes; fit them with `galaxy-da probe`")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        definitions = [get_survey(name) for name in surveys]
        settings = SkySettings(seed=seed, repeat_anchor=False)
        simulate(definitions, n, out, settings, progress=False)
        truth = read_table(out / "truth.parquet")
        samples = {name: Sample(out / name / "sample.parquet") for name in surveys}
        latents = [_labelled(loaded, some, truth) for some in samples.values()]
        values = {name: known.values for name, known in find_quantities(truth).items()}
        fresh = [replace(probe, errors={}) for probe in loaded.probes if probe.name in values]
        probes = measure_probes(fresh, latents, values, np.ones(truth.num_rows, bool))
        rows = error_rows(probes).to_pylist()
        for row in rows:
            row["encoder"] = "adapted" if row["survey"] in loaded.surveys else "by definition"
        return {
            "quantities": _pick(rows, "r2", ("bias", "scatter", "rms", "r2", "pull")),
            "probabilities": _pick(
                rows, "brier", ("log_loss", "base_log_loss", "brier", "ece", "auc")
            ),
            "pulls": pull_rows(fresh, latents, values),
            "peers": peer_rows(loaded, probes, truth, samples, peers),
        }


def pull_rows(
    probes: Sequence[Probe], latents: Sequence[LabelledLatents], values: Mapping[str, np.ndarray]
) -> list[dict[str, Any]]:
    """Return the pull of each quantity by survey and true magnitude, NaN for fewer than 30 rows.

    `values` are the truth of each probe by row of the truth table.
    """
    rows = []
    for survey in latents:
        magnitude = values["r_mag"][survey.rows]
        for low, high in pairwise(_MAGNITUDES):
            within = (magnitude >= low) & (magnitude < high)
            row: dict[str, Any] = {"survey": survey.survey, "r": f"{low:g} to {high:g}"}
            row["n"] = int(within.sum())
            for probe in probes:
                truth = values[probe.name][survey.rows]
                use = within & np.isfinite(truth)
                if probe.kind == "regression":
                    found = probe.predict(survey.vectors[0][use])
                    fine = use.sum() >= _FEWEST
                    row[probe.name] = (
                        pulls(probe.link, truth[use], found)["pull"] if fine else np.nan
                    )
            rows.append(row)
    return rows


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
        Space of the probes.
    probes : sequence of Probe
        Fitted on other galaxies.
    truth : pa.Table
        Truth of the simulated sky, with the structure of noise-free images.
    samples : dict of str to Sample
        Samples by survey.
    most : int
        Largest number of galaxies, the first that every survey has.

    Returns
    -------
    list of dict
        One row per quantity and survey: ``n`` galaxies measured by statmorph, and ``bias``,
        ``scatter`` and ``r2`` of the probe (``inferred``), of the column of ``extract --measured``
        (``measured``), of statmorph, and of its PSF-convolved Sersic fit (``sersic``) where these
        give the quantity.
    """
    complete = np.logical_and.reduce([truth[f"{name}_id"].is_valid() for name in samples])
    some = truth.take(pa.array(np.flatnonzero(complete)[:most]))
    known = find_quantities(some)
    rows = []
    for name, sample in samples.items():
        peer = _statmorph(sample, some)
        latents = _labelled(space, sample, some)
        own = _measured(space, sample, some)
        for probe in probes:
            if probe.name not in peer or probe.name not in known:
                continue
            inferred = np.full(some.num_rows, np.nan)
            inferred[latents.rows] = probe.predict(latents.vectors[0]).value
            answers = {"inferred": inferred}
            if probe.name in own:
                answers["measured"] = own[probe.name]
            answers["statmorph"] = peer[probe.name]
            if f"sersic_{probe.name}" in peer:
                answers["sersic"] = peer[f"sersic_{probe.name}"]
            value = known[probe.name].values
            good = np.isfinite(np.stack([value, *answers.values()])).all(0)
            row: dict[str, Any] = {"probe": probe.name, "survey": name, "n": int(good.sum())}
            for who, answer in answers.items():
                errors = measure(probe.link, value[good], answer[good])
                row |= {f"{who}_{key}": errors[key] for key in ("bias", "scatter", "r2")}
            rows.append(row)
    return rows


def _labelled(space: LatentSpace, sample: Sample, truth: pa.Table) -> LabelledLatents:
    encoder = encoder_for(space, sample, space.survey(sample.survey))
    return encode_labelled(space, encoder, sample, truth)


def real_rows(
    space: LatentSpace, path: str | os.PathLike[str], surveys: Sequence[str] = ("decals", "sdss")
) -> list[dict[str, Any]]:
    """Apply the simulated probe ``p_featured`` to Galaxy Zoo's guide images.

    Parameters
    ----------
    space : LatentSpace
        Space with that probe.
    path : path
        Guide table (`benchmarks.real.guide_images.read_guide`).
    surveys : sequence of str
        Surveys of the guide.

    Returns
    -------
    list of dict
        ``survey``, ``smooth`` and ``featured`` (counts), the mean probability of each, and ``auc``.
    """
    (probe,) = (probe for probe in space.probes if probe.name == "p_featured")
    rows = []
    for name in surveys:
        guide = read_guide(path, name)
        found = encode(space, guide.survey, guide.cutouts)
        summaries = summarise(space, found.inputs, space.encode(found.inputs, found.encoder))
        p = probe.predict(summaries.values).value
        featured = guide.featured
        rows.append(
            {
                "survey": name,
                "smooth": int((~featured).sum()),
                "featured": int(featured.sum()),
                "mean p of smooth": float(p[~featured].mean()),
                "mean p of featured": float(p[featured].mean()),
                "auc": float(roc_auc_score(featured, p)),
            }
        )
    return rows


def _statmorph(sample: Sample, truth: pa.Table) -> dict[str, np.ndarray]:
    """Return quantities by statmorph for each row of the truth, in their units."""
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
    same = ("ellipticity", "position_angle")
    sersic = ("sersic_ellipticity", "sersic_position_angle")
    return {
        **{name: found[name] for name in same + sersic},
        "half_light_arcsec": found["half_light_px"] * pixel,
        "sersic_half_light_arcsec": found["sersic_half_light_px"] * pixel,
        "r_mag": found["mag"],
        "g_minus_r": _aperture_colour(g, r, found["petrosian_px"]),
    }


def _measured(space: LatentSpace, sample: Sample, truth: pa.Table) -> dict[str, np.ndarray]:
    """Return what ``extract --measured`` measures, for each row of the truth."""
    encoder = encoder_for(space, sample, space.survey(sample.survey))
    numbers = row_numbers(sample, truth[f"{sample.survey}_id"])
    inputs, _ = load_images(sample, numbers, encoder, space.frame)
    found = measure_images(inputs, space.frame)
    g, r = (int(np.abs(np.log(np.array(space.frame.wavelengths_nm) / nm)).argmin())
            for nm in (_G_NM, _R_NM))  # fmt: skip
    with np.errstate(invalid="ignore", divide="ignore"):
        magnitude = 22.5 - 2.5 * np.log10(found.petrosian_flux)
        aperture = 22.5 - 2.5 * np.log10(found.aperture_flux)
    return {
        "half_light_arcsec": found.half_light_arcsec,
        "ellipticity": (1 - found.axis_ratio) / (1 + found.axis_ratio),
        "position_angle": found.position_angle,
        "r_mag": magnitude[:, r],
        "g_minus_r": aperture[:, g] - aperture[:, r],
    }


def _aperture_colour(g: np.ndarray, r: np.ndarray, radius_px: np.ndarray) -> np.ndarray:
    """Return g - r within statmorph's Petrosian radius [mag]."""
    ramp = np.arange(g.shape[-1]) - (g.shape[-1] - 1) / 2
    inside = np.hypot(ramp[:, None], ramp)[None] <= radius_px[:, None, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        flux = [np.nansum(image * inside, axis=(1, 2)) for image in (g, r)]
        colour = -2.5 * np.log10(flux[0] / flux[1])
    return np.where(np.isfinite(radius_px), colour, np.nan)


def _pick(rows: list[dict[str, Any]], mark: str, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return rows with a value in column `mark`, and their columns of interest."""
    names = ("probe", "unit", "survey", "encoder", "n", *columns)
    return [{name: row[name] for name in names} for row in rows if row[mark] is not None]


def main() -> None:
    """Print the tables."""
    parser = command_parser("probes", __doc__)
    parser.add_argument("--space", default="decals")
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--peers", type=int, default=100)
    parser.add_argument("--guide", type=Path, default=None)
    given = parser.parse_args()
    tables = probe_tables(given.space, given.n, given.peers)
    print_rows("Physical columns by survey (relative where the unit is ln)", tables["quantities"])
    print_rows("Probabilities by survey", tables["probabilities"])
    print_rows("Pulls by survey and magnitude", tables["pulls"])
    print_rows("Beside statmorph on the same cutouts", tables["peers"])
    if given.guide is not None:
        loaded = LatentSpace.load(given.space)
        print_rows("The probe p_featured on real images", real_rows(loaded, given.guide))


if __name__ == "__main__":
    main()
