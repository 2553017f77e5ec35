"""Check the colours of real samples, and their inferred magnitudes.

``python -m benchmarks.real.sample_checks DATA [--space SPACE]`` prints the distance of the median
colours of real samples from the relation that the space expects, as they are and with the
magnitudes of one band moved; how often `extract` warns of 100 of their galaxies; and, in a field
with a catalogue, the magnitudes of galaxies by their flags, and the rows outside the domain with
another zeropoint of all bands.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.real.deep_field import OPTICAL, read_deep_field
from benchmarks.real.encoding import options
from benchmarks.real.galaxy10 import read_galaxy10
from benchmarks.real.photometry import real_stamps
from benchmarks.support.tables import print_rows
from galaxy_da import load_sample
from galaxy_da.errors import SpaceError
from galaxy_da.extraction.checks import domain_scores, light_at_edge, magnitudes_differ
from galaxy_da.extraction.loading import load_images
from galaxy_da.extraction.sample_check import SampleCheck
from galaxy_da.extraction.summary import Summaries, photometry_of, summarise
from galaxy_da.images.inputs import Inputs
from galaxy_da.models.colours import colour_residuals
from galaxy_da.models.probes import predict_all
from galaxy_da.space import LatentSpace, SurveyEncoder

_SHIFT_MAG = 0.3
_SIGNAL = 10.0
_GALAXIES, _DRAWS = 100, 50  # of samples whose warnings are counted
_ZEROPOINTS = (0.0, 1.0, -1.0, 2.5, -2.5)  # errors that all bands share [mag]


class RealSample(NamedTuple):
    """Prepared images of real galaxies, their encoder, and r of a catalogue where it is known."""

    name: str
    encoder: SurveyEncoder
    inputs: Inputs
    catalogue_mag: np.ndarray | None = None


def real_samples(space: LatentSpace, data: Path) -> Iterator[RealSample]:
    """Yield real samples in three bands."""
    stamps = [cutout for name, survey, cutout in real_stamps(data) if survey.name == "decals"]
    own = space.encoder(space.anchor)
    prepared = own.prepare(stamps, space.frame)
    usable = np.flatnonzero([problem is None for problem in prepared.problems])
    yield RealSample("DECaLS, FITS", own, prepared.inputs[usable])
    pictures, _ = read_galaxy10(space, data)
    yield RealSample("DECaLS, Galaxy10 pictures", pictures.encoder, pictures.inputs)
    with tempfile.TemporaryDirectory() as folder:
        field = read_deep_field(data / "kids_viking_field", Path(folder)).optical
        encoder = space.by_definition(OPTICAL)
        inputs, fine = load_images(field, np.arange(len(field)), encoder, space.frame)
        known = field.catalog["r_mag"].to_numpy()
    rows = np.flatnonzero(fine)
    yield RealSample("KiDS and VIKING, one field", encoder, inputs[rows], known[rows])
    sample = load_sample("sdss-stamps")
    encoder = space.encoder("sdss", ("g", "r", "i"))
    inputs, fine = load_images(sample, np.arange(len(sample)), encoder, space.frame)
    collection = np.array(sample.catalog["collection"].to_pylist())
    for name in np.unique(collection):
        rows = np.flatnonzero(fine & (collection == name))
        yield RealSample(f"SDSS {name}, pictures", encoder, inputs[rows])


def colour_rows(space: LatentSpace, name: str, found: Summaries) -> dict[str, Any]:
    """Return the median distance from the relation of colours, also with one band moved."""
    if space.domain is None or space.domain.colours is None:
        raise SpaceError("the space has no relation of colours; fit it by `training.readings`")
    seen = photometry_of(found.values, space.frame)
    use = (seen.signal > _SIGNAL).all(1)
    frame_nm = np.array(space.frame.wavelengths_nm)
    row: dict[str, Any] = {"sample": name, "galaxies": int(use.sum())}
    for plane, band in ((None, "as it is"), *enumerate(("bluest", "middle", "reddest"))):
        for mag in (0.0,) if plane is None else (_SHIFT_MAG, -_SHIFT_MAG):
            moved = seen.magnitudes[use].copy()
            if plane is not None:
                moved[:, plane] += mag
            off = colour_residuals(space.domain.colours, moved, seen.wavelengths_nm[use], frame_nm)
            row[band if plane is None else f"{band} {mag:+g}"] = round(float(np.median(off)), 3)
    return row


def warning_rows(
    space: LatentSpace, sample: RealSample, found: Summaries, seed: int = 0
) -> list[dict[str, Any]]:
    """Return how often draws of 100 galaxies raise a warning, by the error of the magnitudes.

    The draws are with replacement. A row each is for magnitudes as they are, and for 0.3 mag of
    either sign in one band and in all bands.
    """
    bands, rng = len(space.frame.bands), np.random.default_rng(seed)
    names = ("bluest", "middle", "reddest", "all")
    errors = [("none", np.zeros(bands))]
    errors += [
        (f"{name} {mag:+g}", mag * move)
        for name, move in zip(names, [*np.eye(bands), np.ones(bands)], strict=True)
        for mag in (_SHIFT_MAG, -_SHIFT_MAG)
    ]
    bright = np.flatnonzero((photometry_of(found.values, space.frame).signal > _SIGNAL).all(1))
    row: dict[str, Any] = {"sample": sample.name}
    for name, error in errors:
        warned = 0
        for _ in range(_DRAWS):
            values = found.values[rng.choice(bright, _GALAXIES)]
            photometry_of(values, space.frame).magnitudes[:] += error  # a view of the summaries
            check = SampleCheck(space)
            check.add(sample.name, sample.encoder.bands, values)
            warned += bool(check.warnings())
        row[name] = warned / _DRAWS
    return [row]


def field_rows(space: LatentSpace, sample: RealSample, found: Summaries) -> list[dict[str, Any]]:
    """Compare inferred and measured r with the catalogue, by the flags of the galaxies.

    ``beyond 3 errors`` is the share of inferred values that far from the median difference of
    galaxies without a flag.
    """
    assert sample.catalogue_mag is not None and space.domain is not None
    (probe,) = (probe for probe in space.probes if probe.name == "r_mag")
    inferred = probe.predict(found.values)
    off = inferred.value - sample.catalogue_mag
    measured = 22.5 - 2.5 * np.log10(found.measured.petrosian_flux[:, 1]) - sample.catalogue_mag
    wrong = light_at_edge(found.measured)
    wrong |= domain_scores(space.domain, found.values, space.frame).outside
    differ = magnitudes_differ(inferred, found, space.frame) & ~wrong
    usual = np.median(off[~wrong & ~differ])
    return [
        {
            "galaxies": words,
            "n": int(use.sum()),
            "inferred - catalogue": float(np.median(off[use])),
            "measured - catalogue": float(np.nanmedian(measured[use])),
            "beyond 3 errors": float((np.abs(off - usual) > 3 * inferred.error)[use].mean()),
        }
        for words, use in (
            ("light at the edge, or outside the domain", wrong),
            ("magnitudes differ", differ),
            ("no flag", ~wrong & ~differ),
        )
    ]


def zeropoint_rows(space: LatentSpace, data: Path) -> list[dict[str, Any]]:
    """Return the share of the field of KiDS outside the domain, by the error of its zeropoint."""
    assert space.domain is not None
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        field = read_deep_field(data / "kids_viking_field", Path(folder)).optical
        for mag in _ZEROPOINTS:
            changed = {"flux_unit": "count", "zeropoint_mag": OPTICAL.zeropoint_mag - mag}
            encoder = space.by_definition(OPTICAL.model_copy(update=changed))
            inputs, fine = load_images(field, np.arange(len(field)), encoder, space.frame)
            values = summarise(space, inputs, space.encode(inputs, encoder)).values[fine]
            scores = domain_scores(space.domain, values, space.frame)
            rows.append({"magnitudes off by": -mag, "outside": float(scores.outside.mean())})
    return rows


def main() -> None:
    """Print the tables."""
    given = options("sample_checks", __doc__)
    space = LatentSpace.load(given.space)
    colours, flags, field, warned = [], [], [], []
    for sample in real_samples(space, given.data):
        found = summarise(space, sample.inputs, space.encode(sample.inputs, sample.encoder))
        check = SampleCheck(space)
        check.add(sample.name, sample.encoder.bands, found.values)
        row = colour_rows(space, sample.name, found)
        colours.append(row | {"warning": "yes" if check.warnings() else "no"})
        differ = magnitudes_differ(
            predict_all(space.probes, found.values).get("r_mag"), found, space.frame
        )
        assert space.domain is not None
        flags.append(
            {
                "sample": sample.name,
                "light at the edge": float(light_at_edge(found.measured).mean()),
                "magnitudes differ": float(differ.mean()),
                "outside the domain": float(
                    domain_scores(space.domain, found.values, space.frame).outside.mean()
                ),
            }
        )
        if colours[-1]["galaxies"] >= _GALAXIES:
            warned += warning_rows(space, sample, found)
        if sample.catalogue_mag is not None:
            field = field_rows(space, sample, found)
    print_rows("Median distance from the relation of colours [mag]", colours)
    print_rows("Share of warnings of 100 galaxies, by the error of the magnitudes", warned)
    print_rows("Share of flagged images", flags)
    print_rows("r of the field of KiDS less its catalogue", field)
    print_rows("The field of KiDS with other zeropoints", zeropoint_rows(space, given.data))


if __name__ == "__main__":
    main()
