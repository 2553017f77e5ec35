"""Measure the rankings of outliers on skies with injected kinds: recall at 1% false alarms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.ensemble import IsolationForest

from benchmarks.outliers.injected import ORDINARY
from benchmarks.outliers.odd_galaxies import ODD_KINDS
from galaxy_da.io.features import Features
from galaxy_da.latent_index import LatentIndex
from galaxy_da.queries.outliers import BAD_DATA, STRANGE

_FALSE_ALARMS = 0.01
_TREES, _SEED = 200, 0


@dataclass(frozen=True, eq=False)
class InjectedSky:
    """Features of one sky by each survey, with ``kind`` (`benchmarks.outliers.injected`)."""

    features: Mapping[str, Features]

    @cached_property
    def index(self) -> LatentIndex:
        """Index of all surveys."""
        return LatentIndex.build(list(self.features.values()))

    def alone(self, survey: str) -> LatentIndex:
        """Return an index of one survey."""
        return LatentIndex.build([self.features[survey]])

    def kinds(self, survey: str) -> dict[str, str]:
        """Return the kind of every image of a survey by object id, refused images included."""
        table = self.features[survey].table
        return dict(zip(table["object_id"].to_pylist(), table["kind"].to_pylist(), strict=True))


def recall_at(score: np.ndarray, kinds: np.ndarray, kind: str) -> float:
    """Return the share of a kind above the score that 1% of the ordinary galaxies exceed."""
    return float((score[kinds == kind] > _limit(score, kinds)).mean())


def ranked_scores(index: LatentIndex, survey: str) -> dict[str, np.ndarray]:
    """Return both rankings of a survey as scores of all its rows, (n,) each, 0 where not ranked."""
    ids = survey_ids(index, survey)
    place = {name: row for row, name in enumerate(ids)}
    found = index.outliers(survey, len(ids))
    scores = {name: np.zeros(len(ids)) for name in (BAD_DATA, STRANGE)}
    columns = [found[name].to_pylist() for name in ("ranking", "object_id", "outlier_score")]
    for ranking, object_id, score in zip(*columns, strict=True):
        scores[ranking][place[object_id]] = score
    return scores


def survey_ids(index: LatentIndex, survey: str) -> list[str]:
    """Return the object ids of a survey in the order of the index."""
    start, stop = index.span(survey)
    ids: list[str] = index.rows["object_id"].slice(start, stop - start).to_pylist()
    return ids


def kind_rows(skies: Sequence[InjectedSky], surveys: Sequence[str]) -> list[dict[str, Any]]:
    """Measure each kind of outlier: one row per kind, means over skies and surveys.

    ``bad data`` is the share in that ranking, and ``survey alone`` the same without the other
    survey's images. ``bad data at 1%`` and ``strange at 1%`` are recalls of the rankings at 1%
    false alarms, ``either`` the share that one of them finds, ``forest at 1%`` the recall of an
    isolation forest for comparison. An image that `extract` refuses counts as bad data.
    """
    rows: dict[str, list[dict[str, Any]]] = {}
    for sky in skies:
        for survey in surveys:
            for kind, row in _one_survey(sky, survey).items():
                rows.setdefault(kind, []).append(row)
    order = sorted(rows, key=lambda kind: (kind != ORDINARY, kind in ODD_KINDS, kind))
    return [
        {
            "kind": kind,
            "images": sum(row["images"] for row in rows[kind]),
            **{
                name: float(np.mean([row[name] for row in rows[kind]]))
                for name in rows[kind][0]
                if name != "images"
            },
        }
        for kind in order
    ]


def _one_survey(sky: InjectedSky, survey: str) -> dict[str, dict[str, Any]]:
    kind_of, ids = sky.kinds(survey), survey_ids(sky.index, survey)
    refused = sorted(set(kind_of) - set(ids))
    elsewhere = [sky.kinds(other) for other in sky.features if other != survey]
    kinds = np.array([_kind(name, kind_of, elsewhere) for name in [*ids, *refused]], object)
    start, stop = sky.index.span(survey)
    points = sky.index.vectors[start:stop]
    forest = IsolationForest(n_estimators=_TREES, random_state=_SEED).fit(points)
    scores = {
        **ranked_scores(sky.index, survey),
        "alone": ranked_scores(sky.alone(survey), survey)[BAD_DATA],
        "forest": -forest.score_samples(points),
    }
    found = {
        name: np.append(score, np.full(len(refused), 0.0 if name == STRANGE else np.inf))
        for name, score in scores.items()
    }
    bad, strange = found[BAD_DATA], found[STRANGE]
    either = (bad > _limit(bad, kinds)) | (strange > _limit(strange, kinds))
    return {
        kind: {
            "images": int((kinds == kind).sum()),
            "bad data": float((bad[kinds == kind] > 0).mean()),
            "survey alone": float((found["alone"][kinds == kind] > 0).mean()),
            "bad data at 1%": recall_at(bad, kinds, kind),
            "strange at 1%": recall_at(strange, kinds, kind),
            "either": float(either[kinds == kind].mean()),
            "forest at 1%": recall_at(found["forest"], kinds, kind),
        }
        for kind in sorted(set(kinds) - {_BESIDE})
    }


_BESIDE = "ordinary, but the other survey's image is not"


def _kind(name: str, own: Mapping[str, str], elsewhere: Sequence[Mapping[str, str]]) -> str:
    ordinary = own[name] == ORDINARY
    return _BESIDE if ordinary and any(e[name] != ORDINARY for e in elsewhere) else own[name]


def _limit(score: np.ndarray, kinds: np.ndarray) -> float:
    return float(np.quantile(score[kinds == ORDINARY], 1 - _FALSE_ALARMS))
