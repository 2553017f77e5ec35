"""Tables on real images: stamps of the package, Galaxy10 DECaLS, Galaxy Zoo's guide."""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.outliers.simulated import found_by_scores
from benchmarks.real.guide_images import guide_cutout, read_colour, with_stretch
from galaxy_da.extraction.pipeline import extract
from galaxy_da.images.cutouts import Cutout
from galaxy_da.io.samples import Sample, load_sample
from galaxy_da.io.tables import write_table
from galaxy_da.latent_index import LatentIndex
from galaxy_da.queries.outliers import BAD_DATA, STRANGE
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import AnyStretch, get_survey

_TOP = 20
_STAR_OR_ARTEFACT = ("0", "2")  # question and answer of the guide
_DISTURBED = ("0", "1")  # classes of Galaxy10: disturbed, merging
_ODD = {"SDSS stamps": ("merger",), "Galaxy10 DECaLS": _DISTURBED}
_SCALE_ARCSEC = 0.262  # pixel of Galaxy10


def real_indexes(space: str, data: Path | None) -> dict[str, LatentIndex]:
    """Index real images, with the class in the column ``class``.

    Without `data`, the folder of real images, these are the stamps of the package only.
    """
    loaded = LatentSpace.load(space)
    stamps = extract(loaded, load_sample("sdss-stamps"))
    named = stamps.table.rename_columns(
        ["class" if name == "gz1_class" else name for name in stamps.table.column_names]
    )
    indexes = {"SDSS stamps": LatentIndex.build([type(stamps)(**{**vars(stamps), "table": named})])}
    if data is None:
        return indexes
    with tempfile.TemporaryDirectory() as folder:
        samples = {
            "Galaxy10 DECaLS": _galaxy10_sample(data / "galaxy10_decals_samples", Path(folder)),
            "guide, DECaLS": _guide_sample(data / "galaxy_zoo_guide.parquet", "decals", folder),
            "guide, SDSS": _guide_sample(data / "galaxy_zoo_guide.parquet", "sdss", folder),
        }
        for name, sample in samples.items():
            indexes[name] = LatentIndex.build([extract(loaded, sample)])
    return indexes


def real_rows(indexes: dict[str, LatentIndex]) -> list[dict[str, Any]]:
    """Measure both rankings on real images.

    Returns a row per sample: ``bad data``, the share in that ranking; ``stars and artefacts`` and
    how many of them are ``told``; for mergers and disturbed galaxies their ``share``, the ``share
    of the first 20`` strange galaxies, and the shares found by 60 scores (`found_by_scores`).
    """
    rows = []
    for name, index in indexes.items():
        survey = index.surveys[0]
        found = index.outliers(survey, len(index))
        bad = set(found.filter(pc.equal(found["ranking"], BAD_DATA))["object_id"].to_pylist())
        classes = dict(
            zip(index.rows["object_id"].to_pylist(), index.rows["class"].to_pylist(), strict=True)
        )
        row: dict[str, Any] = {"images": name, "n": len(index), "bad data": len(bad) / len(index)}
        artefacts = {key for key, kind in classes.items() if kind == "artefact"}
        if artefacts:
            row |= {"stars and artefacts": len(artefacts), "told": len(artefacts & bad)}
        if name in _ODD:
            first = found.filter(pc.equal(found["ranking"], STRANGE))["object_id"].to_pylist()[
                :_TOP
            ]
            row["odd"] = float(np.mean([kind in _ODD[name] for kind in classes.values()]))
            row["odd in first 20"] = float(np.mean([classes[key] in _ODD[name] for key in first]))
            row |= found_by_scores(index, survey, "class", _ODD[name])
        rows.append(row)
    return rows


def reason_rows(indexes: dict[str, LatentIndex]) -> list[dict[str, Any]]:
    """Count the reasons of bad data in each sample, the most common first."""
    rows = []
    for name, index in indexes.items():
        found = index.outliers(None, len(index))
        reasons = found.filter(pc.equal(found["ranking"], BAD_DATA))["reason"].to_pylist()
        parts = Counter(part for reason in reasons for part in reason.split("; "))
        rows += [
            {"images": name, "reason": reason, "rows": count}
            for reason, count in parts.most_common()
        ]
    return rows


def _galaxy10_sample(folder: Path, out: Path) -> Sample:
    paths = sorted(folder.glob("class_*.jpg"))
    table = {
        "object_id": [path.stem for path in paths],
        "survey": ["decals"] * len(paths),
        "ra": np.arange(len(paths), dtype=float),
        "dec": np.zeros(len(paths)),
        "pixel_scale_arcsec": np.full(len(paths), _SCALE_ARCSEC),
        "class": [path.stem.split("_")[1] for path in paths],
        "image": [path.read_bytes() for path in paths],
    }
    write_table(pa.table(table), out / "galaxy10.parquet")
    return Sample(out / "galaxy10.parquet")


def _guide_sample(path: Path, survey: str, out: str) -> Sample:
    """Write the distinct guide images of a survey, with the class ``artefact`` or ``galaxy``."""
    definition = with_stretch(get_survey(survey))
    table = pq.read_table(path, filters=[("survey", "=", survey)])
    images: dict[str, tuple[Cutout, bool]] = {}
    for row in table.to_pylist():
        key = hashlib.sha256(row["image"]).hexdigest()[:16]
        is_artefact = (str(row["gz_question"]), str(row["gz_answer"])) == _STAR_OR_ARTEFACT
        before = key in images and images[key][1]
        cutout = guide_cutout(read_colour(row["image"]), definition)
        images[key] = (cutout, is_artefact or before)
    cutouts = [cutout for cutout, _ in images.values()]
    names: dict[AnyStretch | None, str] = {
        stretch: name for name, stretch in get_survey(survey).stretches.items()
    }
    sample = {
        "object_id": list(images),
        "survey": [survey] * len(images),
        "ra": np.arange(len(images), dtype=float),
        "dec": np.zeros(len(images)),
        "pixel_scale_arcsec": [cutout.pixel_scale_arcsec for cutout in cutouts],
        "class": ["artefact" if artefact else "galaxy" for _, artefact in images.values()],
        "image": [_png(cutout) for cutout in cutouts],
        "stretch": pa.array([names.get(cutout.stretch) for cutout in cutouts], pa.string()),
    }
    file = Path(out) / f"guide-{survey}.parquet"
    write_table(pa.table(sample), file)
    return Sample(file)


def _png(cutout: Cutout) -> bytes:
    """Encode a colour cutout as PNG, the first row northernmost."""
    buffer = io.BytesIO()
    Image.fromarray(np.moveaxis(cutout.pixels[:, ::-1], 0, -1)).save(buffer, "png")
    return buffer.getvalue()
