"""Classify 110 pictures of Galaxy10 DECaLS by their latents.

``python -m benchmarks.real.galaxy10 DATA [--space SPACE]`` reads the viewer's JPEGs in
``galaxy10_decals_samples`` of DATA as pictures of DECaLS. They took no part in any training. Each
picture is classified by all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.real.encoding import Encoded, encode, options
from benchmarks.support.tables import print_rows
from galaxy_da.errors import TableError
from galaxy_da.extraction.summary import reconstruction_error
from galaxy_da.images.cutouts import read_image
from galaxy_da.space import LatentSpace
from galaxy_da.surveys import get_survey

_FOLDER = "galaxy10_decals_samples"
_NEIGHBOURS = 5
_PENALTY = 0.1  # inverse, in standardised latents


def galaxy10_rows(space: LatentSpace, data: Path) -> list[dict[str, Any]]:
    """Measure accuracy, leaving one picture out, and the error of the decoded pictures.

    Returns rows by ``latents``, galaxy or all: ``images``, ``neighbours`` and ``logistic``
    (accuracies), ``chance``, the share of the largest class, and ``reconstruction``, the median
    over pictures of the mean squared error [asinh units].
    """
    found, classes = read_galaxy10(space, data)
    mean, labels = found.mean[found.usable], classes[found.usable]
    inputs = found.inputs[np.flatnonzero(found.usable)]
    error = reconstruction_error(space, inputs, space.encode(inputs, found.encoder).mean)
    models = {
        "neighbours": make_pipeline(StandardScaler(), KNeighborsClassifier(_NEIGHBOURS)),
        "logistic": make_pipeline(
            StandardScaler(), LogisticRegression(C=_PENALTY, class_weight="balanced")
        ),
    }
    return [
        {
            "latents": kind,
            "images": len(labels),
            **{
                name: float(
                    (
                        cross_val_predict(model, mean[:, :width], labels, cv=LeaveOneOut())
                        == labels
                    ).mean()
                )
                for name, model in models.items()
            },
            "chance": float(np.bincount(labels).max() / len(labels)),
            "reconstruction": float(np.median(error)),
        }
        for kind, width in (("galaxy", space.galaxy_latents), ("all", mean.shape[1]))
    ]


def read_galaxy10(space: LatentSpace, data: Path) -> tuple[Encoded, np.ndarray]:
    """Encode the pictures; file names hold the class, 0 to 9, or 1 to 10 after ``sample``."""
    paths = sorted((data / _FOLDER).glob("*_*.jpg"))
    if not paths:
        raise TableError(f"{data / _FOLDER}: holds no class_*.jpg; give the folder of real images")
    named = [path.stem.split("_") for path in paths]
    classes = [int(number) - (kind == "sample") for kind, number, *_ in named]
    decals = get_survey("decals")
    found = encode(space, decals, [read_image(path, decals) for path in paths])
    return found, np.array(classes)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    given = options("galaxy10", __doc__, arguments)
    rows = galaxy10_rows(LatentSpace.load(given.space), given.data)
    print_rows("Classes of Galaxy10 DECaLS by latents, one picture left out", rows)


if __name__ == "__main__":
    main()
