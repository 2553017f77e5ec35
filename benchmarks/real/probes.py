"""Smooth against features on real images: Galaxy Zoo's guide examples.

``python -m benchmarks.real.probes GUIDE [--space SPACE]`` prints the table of `guide_rows`.

The images were cut by multiples of each galaxy's Petrosian radius and do not say how many
arcseconds that is: Galaxy Zoo 2 and DECaLS take 0.02 R90 per pixel of a 424-pixel frame. Here every
galaxy is taken to have the same R90, so that the object fills the same share of the frame; its
brightness per area, which the stretch gives, does not depend on that. DECaLS is in Galaxy Zoo's own
colours (`galaxy_da.images.galaxy_zoo_colours`). KiDS and UKIDSS document no stretch, so their
images are
read through SDSS's, which is near in kind; UKIDSS's planes are taken to be K, J and Y, and its
fluxes are good to a factor only.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.peers.morphology import PEER_COLUMNS, measure_morphology
from benchmarks.support.tables import print_rows
from galaxy_da.errors import TableError
from galaxy_da.images.cutouts import Cutout
from galaxy_da.images.galaxy_zoo_colours import PLANES, galaxy_zoo_flux
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.surveys import Survey, get_survey

__all__ = [
    "R90_ARCSEC",
    "GuideImages",
    "colour_cutout",
    "galaxy_zoo_cutout",
    "guide_cutout",
    "guide_rows",
    "read_colour",
    "read_guide",
    "with_stretch",
]

R90_ARCSEC = 4.0
"""Assumed Petrosian R90 of every guide galaxy [arcsec]: the whole image then just fills the frame
of the shipped space, and galaxies have the sizes of the simulated sky's."""

_R90_PER_PIXEL = 0.02  # of a 424-pixel image
_SIDE = 424

# Questions of the decision trees (zooniverse/Galaxy-Zoo, app/lib/*_tree.coffee) by number: those
# asked only of galaxies with features or a disc, and the one asked only of smooth ones.
_FEATURED = {
    "decals": range(1, 8),
    "kids": range(1, 8),
    "sdss": (1, 2, 3, 4, 8, 9, 10),
    "ukidss": (1, 2, 3, 4, 8, 9, 10),
}
_SMOOTH = {"decals": 8, "kids": 8, "sdss": 7, "ukidss": 7}
_PLANES = {"ukidss": ("K", "J", "Y")}

_COMPONENTS = 40
_FOLDS, _REPEATS = 5, 5
_BOOTSTRAPS = 1000


class GuideImages:
    """Distinct guide images of one survey whose place in the decision tree says what they are.

    Attributes
    ----------
    survey : Survey
        With the stretch its images are read through.
    cutouts : list of Cutout
        One per distinct image.
    featured : (n,) bool array
        Features or disc, as against smooth.
    """

    def __init__(self, survey: Survey, cutouts: list[Cutout], featured: np.ndarray) -> None:
        self.survey, self.cutouts, self.featured = survey, cutouts, featured


def read_guide(
    path: str | os.PathLike[str], survey: str, r90_arcsec: float = R90_ARCSEC
) -> GuideImages:
    """Read one survey's images, each once, however many answers it exemplifies.

    An image is smooth or featured by its answer to the first question, or by being an example for a
    question that only such galaxies are asked; images that would be both are left out, as are stars
    and artefacts.

    Parameters
    ----------
    path : path
        Parquet table with ``survey``, ``gz_question``, ``gz_answer`` and ``image`` (file bytes).
    survey : {"decals", "kids", "sdss", "ukidss"}
        Which.
    r90_arcsec : float
        Assumed Petrosian R90 [arcsec].

    Raises
    ------
    TableError
        If the file is missing.
    ValueError
        If the survey's decision tree is not known here.
    """
    if survey not in _FEATURED:
        raise ValueError(f"survey is one of {', '.join(_FEATURED)}, not {survey!r}")
    if not Path(path).is_file():
        raise TableError(f"{path}: no such table; smooth against features needs the guide images")
    definition = with_stretch(get_survey(survey))
    table = pq.read_table(path, filters=[("survey", "=", survey)])
    pixels: dict[str, np.ndarray] = {}
    votes: dict[str, set[bool]] = {}
    for row in table.select(["gz_question", "gz_answer", "image"]).to_pylist():
        vote = _vote(survey, row["gz_question"], row["gz_answer"])
        if vote is None:
            continue
        plane = read_colour(row["image"])
        key = hashlib.sha256(plane.tobytes()).hexdigest()
        pixels[key] = plane
        votes.setdefault(key, set()).add(vote)
    clear = [key for key, said in votes.items() if len(said) == 1]
    cutouts = [guide_cutout(pixels[key], definition, r90_arcsec) for key in clear]
    return GuideImages(definition, cutouts, np.array([True in votes[key] for key in clear], bool))


def guide_cutout(pixels: np.ndarray, survey: Survey, r90_arcsec: float = R90_ARCSEC) -> Cutout:
    """Return one guide image as a cutout, by the colours of its survey.

    Parameters
    ----------
    pixels : (y, x, 3) uint8 array
        As `read_colour` gives it.
    survey : Survey
        With a stretch (`with_stretch`).
    r90_arcsec : float
        Assumed Petrosian R90 [arcsec].
    """
    width = _R90_PER_PIXEL * r90_arcsec * _SIDE
    if survey.name == "decals":
        return galaxy_zoo_cutout(pixels, width)
    return colour_cutout(pixels, survey, width)


def read_colour(image: bytes) -> np.ndarray:
    """Decode a JPEG or PNG file to (y, x, 3) uint8, the first row northernmost."""
    with Image.open(io.BytesIO(image)) as opened:
        return np.asarray(opened.convert("RGB"))


def colour_cutout(pixels: np.ndarray, survey: Survey, width_arcsec: float) -> Cutout:
    """Return a colour image of a galaxy in its middle as a cutout.

    Parameters
    ----------
    pixels : (y, x, 3) uint8 array
        As `read_colour` gives it.
    survey : Survey
        With a stretch.
    width_arcsec : float
        Of the whole image [arcsec].
    """
    assert survey.stretch is not None
    height, width = pixels.shape[:2]
    return Cutout(
        pixels=np.moveaxis(pixels, -1, 0)[:, ::-1],
        bands=survey.stretch.planes,
        pixel_scale_arcsec=width_arcsec / width,
        centre_xy=((width - 1) / 2, (height - 1) / 2),
        is_colour=True,
    )


def galaxy_zoo_cutout(pixels: np.ndarray, width_arcsec: float) -> Cutout:
    """Return a Galaxy Zoo image of DECaLS as a cutout in flux, four pixels averaged to one.

    Parameters
    ----------
    pixels : (y, x, 3) uint8 array
        As `read_colour` gives it, its sides even.
    width_arcsec : float
        Of the whole image [arcsec].
    """
    flux = galaxy_zoo_flux(np.moveaxis(pixels, -1, 0)[:, ::-1])
    planes, height, width = flux.shape
    binned = flux.reshape(planes, height // 2, 2, width // 2, 2).mean((2, 4))
    height, width = binned.shape[1:]
    return Cutout(
        pixels=binned,
        bands=PLANES,
        pixel_scale_arcsec=width_arcsec / width,
        centre_xy=((width - 1) / 2, (height - 1) / 2),
    )


def with_stretch(survey: Survey) -> Survey:
    """Lend a survey without a documented stretch that of SDSS."""
    if survey.stretch is not None:
        return survey
    lent = get_survey("sdss").stretch
    assert lent is not None
    planes = _PLANES.get(survey.name, lent.planes)
    return survey.model_copy(update={"stretch": lent.model_copy(update={"planes": planes})})


def guide_rows(
    space: LatentSpace,
    path: str | os.PathLike[str],
    surveys: Sequence[str] = ("decals", "sdss", "kids"),
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Tell smooth from featured by latents, by statmorph and by PCA-40 of the same cutouts.

    Logistic regression, its penalty chosen within each training fold; 5 times 5-fold
    cross-validation; the surveys one by one, then all together (standardised by survey).

    Parameters
    ----------
    space : LatentSpace
        Surveys without an encoder go through the anchor's.
    path : path
        The guide table.
    surveys : sequence of str
        Which of `read_guide`'s.
    seed : int
        Of folds and bootstrap.

    Returns
    -------
    list of dict
        ``survey``, ``features``, ``smooth`` and ``featured`` (counts), ``encoder``, ``auc``,
        ``auc_low``, ``auc_high`` (95% bootstrap interval over images of the mean held-out score)
        and ``balanced_accuracy``.
    """
    known: dict[str, list[np.ndarray]] = {}
    labels: list[np.ndarray] = []
    rows = []
    for name in surveys:
        guide = read_guide(path, name)
        sets = _feature_sets(space, guide)
        own = "own" if name in space.surveys else "anchor's"
        labels.append(guide.featured)
        for what, values in sets.items():
            centred = (values - np.nanmean(values, 0)) / np.maximum(np.nanstd(values, 0), 1e-9)
            known.setdefault(what, []).append(centred)
            score = _score(values, guide.featured, seed)
            rows.append({"survey": name, "features": what, "encoder": own, **score})
    joined = np.concatenate(labels)
    for what, parts in known.items():
        score = _score(np.concatenate(parts), joined, seed)
        rows.append({"survey": "all", "features": what, "encoder": "", **score})
    return rows


def _feature_sets(space: LatentSpace, guide: GuideImages) -> Mapping[str, np.ndarray]:
    """Latents, statmorph and pixels' principal components of the same prepared cutouts."""
    encoder = _encoder(space, guide.survey)
    prepared = encoder.prepare(guide.cutouts, space.frame)
    images = prepared.images.numpy()
    latents = space.encode(prepared.images, encoder).mean.numpy()
    wavelengths = [encoder.survey.band(name).wavelength_nm for name in encoder.bands]
    r_like = int(np.abs(np.array(wavelengths) - 642.0).argmin())
    softening = space.frame.softening_at(wavelengths[r_like])
    brightness = np.sinh(images[:, r_like].astype(float)) * softening
    measured = measure_morphology(brightness)
    shape = [c for c in PEER_COLUMNS if "position_angle" not in c]
    flat = images.reshape(len(images), -1)
    components = PCA(min(_COMPONENTS, len(flat) - 1), random_state=0).fit_transform(flat)
    return {
        "latents": latents,
        "statmorph": np.stack([measured[name] for name in shape], axis=1),
        f"PCA-{_COMPONENTS}": components,
    }


def _encoder(space: LatentSpace, survey: Survey) -> SurveyEncoder:
    if survey.name not in space.surveys:
        assert survey.stretch is not None
        return space.unadapted(survey, survey.stretch.planes)
    own = space.encoder(survey.name)
    return SurveyEncoder(survey=survey, bands=own.bands, network=own.network, record=own.record)


def _score(values: np.ndarray, featured: np.ndarray, seed: int) -> dict[str, Any]:
    """Cross-validated AUC, its interval, and balanced accuracy."""
    smallest = int(min(featured.sum(), (~featured).sum()))
    counts = {"smooth": int((~featured).sum()), "featured": int(featured.sum())}
    if smallest < 2:
        return counts | dict.fromkeys(("auc", "auc_low", "auc_high", "balanced_accuracy"), np.nan)
    splits = RepeatedStratifiedKFold(
        n_splits=min(_FOLDS, smallest), n_repeats=_REPEATS, random_state=seed
    )
    model = _classifier(smallest)
    total, times = np.zeros(len(featured)), np.zeros(len(featured))
    for fitted, left in splits.split(values, featured):
        probability = clone(model).fit(values[fitted], featured[fitted]).predict_proba(values[left])
        total[left] += probability[:, 1]
        times[left] += 1
    mean = total / times
    right = mean >= 0.5
    rng = np.random.default_rng(seed)
    draws = [_resampled_auc(mean, featured, rng) for _ in range(_BOOTSTRAPS)]
    low, high = np.quantile(draws, [0.025, 0.975])
    return counts | {
        "auc": float(roc_auc_score(featured, mean)),
        "auc_low": float(low),
        "auc_high": float(high),
        "balanced_accuracy": float((right[featured].mean() + (~right[~featured]).mean()) / 2),
    }


def _classifier(smallest: int) -> Pipeline:
    return make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
        LogisticRegressionCV(
            Cs=np.logspace(-4, 1, 6),
            cv=max(2, min(_FOLDS, smallest - 1)),
            scoring="neg_log_loss",
            class_weight="balanced",
            max_iter=1000,
            l1_ratios=(0.0,),
            use_legacy_attributes=False,
        ),
    )


def _resampled_auc(score: np.ndarray, featured: np.ndarray, rng: np.random.Generator) -> float:
    """AUC of images drawn again with replacement, within each class."""
    groups = [np.flatnonzero(featured), np.flatnonzero(~featured)]
    rows = np.concatenate([rng.choice(group, len(group)) for group in groups])
    return float(roc_auc_score(featured[rows], score[rows]))


def _vote(survey: str, question: str, answer: str) -> bool | None:
    """Whether an example shows features (True), is smooth (False), or says neither."""
    number = int(question)
    if number == 0:
        return {"0": False, "1": True}.get(answer)
    if number == _SMOOTH[survey]:
        return False
    return True if number in _FEATURED[survey] else None


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("guide", type=Path)
    parser.add_argument("--space", default="decals")
    given = parser.parse_args()
    rows = guide_rows(LatentSpace.load(given.space), given.guide)
    print_rows("Smooth against features, Galaxy Zoo guide images", rows)


if __name__ == "__main__":
    main()
