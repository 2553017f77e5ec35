"""Encode batches of cutouts into rows of a feature table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from galaxy_da.errors import CutoutError
from galaxy_da.extraction.checks import (
    FLUXES,
    MAGNITUDE,
    TOTALS,
    domain_scores,
    light_at_edge,
    magnitudes_differ,
)
from galaxy_da.extraction.measured_columns import join_measured, measured_columns
from galaxy_da.extraction.sample_check import SampleCheck
from galaxy_da.extraction.summary import Summaries, reconstruction_error, summarise
from galaxy_da.images.cutouts import Cutout
from galaxy_da.io.samples import Flag
from galaxy_da.models.devices import Precision
from galaxy_da.models.domain import OUTSIDE
from galaxy_da.models.probes import Withheld, predict_all, probe_columns
from galaxy_da.space import LatentSpace, SurveyEncoder
from galaxy_da.surveys import Survey


@dataclass(frozen=True, kw_only=True)
class ExtractSettings:
    """Settings of an extraction.

    Attributes
    ----------
    surveys : sequence of Survey
        Definitions of surveys that are neither in the space nor built in.
    precision : {"auto", "fp32", "bf16"}
        Precision of the networks; ``auto`` is bf16 where the processor has it.
    reconstruct : bool
        Also decode the latents and record ``reconstruction_error``, the mean squared difference
        from the prepared image [asinh units]. A space with a domain or probes decodes anyway.
    measured : bool
        Also write magnitudes, radii and shapes that are measured on the prepared image.
    progress : bool
        Show a progress bar on stderr.
    """

    surveys: Sequence[Survey] = ()
    precision: Precision = "auto"
    reconstruct: bool = True
    measured: bool = False
    progress: bool = False


class SampleEncoder:
    """Encoders of the surveys of a sample, by name.

    A survey that the space was not adapted to is read by its definition; one without a definition
    raises SurveyError.
    """

    def __init__(self, space: LatentSpace, names: Sequence[str], settings: ExtractSettings) -> None:
        self._space = space
        self._settings = settings
        own = {survey.name: survey for survey in settings.surveys}
        self._encoders: dict[tuple[str, tuple[str, ...]], SurveyEncoder] = {}
        self.check = SampleCheck(space)
        self.surveys: dict[str, Survey] = {name: space.survey(name, own) for name in names}

    @property
    def hashes(self) -> dict[str, str]:
        """Hash of the encoder of each survey."""
        return {name: self._space.encoder(one).hash for name, one in self.surveys.items()}

    @property
    def readings(self) -> dict[str, str]:
        """Words for the way in which images of each survey are read."""
        return {name: self._space.encoder(one).reading for name, one in self.surveys.items()}

    def encode(self, rows: pa.Table, cutouts: Sequence[Cutout | CutoutError]) -> pa.Table:
        """Return rows of the sample with feature columns, without images."""
        space, precision, n = self._space, self._settings.precision, len(cutouts)
        latents = space.architecture.latents
        status = np.array(["ok"] * n, dtype=object)
        message = np.full(n, None, dtype=object)
        flags = np.zeros(n, np.int32)
        mean, variance = np.zeros((2, n, latents), np.float32)
        error = np.zeros(n, np.float32)
        at_edge, differ = np.zeros((2, n), bool)
        summaries = np.zeros((n, self._summary_width), np.float32)
        found: list[tuple[list[int], Summaries]] = []
        names = rows["survey"].to_pylist()
        groups: dict[tuple[str, tuple[str, ...]], list[int]] = {}
        for i, cutout in enumerate(cutouts):
            if isinstance(cutout, CutoutError):
                status[i], message[i] = cutout.status, str(cutout)
            else:
                groups.setdefault((names[i], cutout.bands), []).append(i)
        for (name, bands), members in groups.items():
            encoder = self._encoder(name, bands)
            group = [c for c in (cutouts[i] for i in members) if isinstance(c, Cutout)]
            prepared = encoder.prepare(group, space.frame)
            posterior = space.encode(prepared.inputs, encoder, precision=precision)
            mean[members], variance[members] = posterior.mean.numpy(), posterior.variance.numpy()
            flags[members] = prepared.flags
            if self._summary_width or self._settings.measured:
                summarised = summarise(space, prepared.inputs, posterior, precision)
                found.append((members, summarised))
                error[members] = summarised.reconstruction_error
                if self._summary_width:
                    summaries[members] = summarised.values
                usable = [problem is None for problem in prepared.problems]
                self.check.add(name, encoder.bands, summarised.values[usable])
                at_edge[members] = light_at_edge(summarised.measured)
            elif self._settings.reconstruct:
                error[members] = reconstruction_error(
                    space, prepared.inputs, posterior.mean, precision
                )
            for i, problem in zip(members, prepared.problems, strict=True):
                if problem is not None:
                    status[i], message[i] = problem
        infinite = (status == "ok") & ~np.isfinite(mean).all(1)
        status[infinite] = "failed_quality"
        message[infinite] = "the latents are not finite: the fluxes are too large"
        good, galaxy = status == "ok", space.galaxy_latents
        score = np.zeros(n, np.float32)
        reasons: list[str | None] = [None] * n
        if space.domain is not None:
            scores = domain_scores(space.domain, summaries, space.frame)
            score, reasons = scores.score, scores.reasons
        predicted = predict_all(space.probes, summaries)
        for members, part in found:
            inferred = predicted[MAGNITUDE][members] if MAGNITUDE in predicted else None
            differ[members] = magnitudes_differ(inferred, part, space.frame)
        outside = (score >= OUTSIDE) & good
        if space.domain is not None:
            for (name, _), members in groups.items():
                self.check.count(name, [reasons[i] for i in members if good[i]])
        flags[outside] |= Flag.OUT_OF_DOMAIN
        flags[at_edge & good] |= Flag.LIGHT_AT_EDGE
        flags[differ & good] |= Flag.MAGNITUDES_DIFFER
        columns = {
            "status": pa.array(status, pa.string()),
            "message": pa.array(message, pa.string()),
            "flags": pa.array(flags),
            "embedding": _vectors(mean[:, :galaxy], good),
            "variance": _vectors(variance[:, :galaxy], good),
            "reconstruction_error": pa.array(error, mask=~good | (not self._settings.reconstruct)),
            "domain_score": pa.array(score, mask=~good | (space.domain is None)),
            "domain_reason": pa.array(reasons, pa.string(), mask=~outside),
        }
        if galaxy < latents:
            columns["nuisance"] = _vectors(mean[:, galaxy:], good)
        kept = [c for c in rows.column_names if c != "image" and c not in columns]
        table = rows.select(kept).replace_schema_metadata(None)
        for name, column in columns.items():
            table = table.append_column(name, column)
        photometric = (flags & Flag.NOT_PHOTOMETRIC) == 0
        withheld = (
            Withheld("outside the domain", outside),
            Withheld("light at the edge", at_edge, TOTALS),
            Withheld("measured magnitude differs", differ, TOTALS),
            Withheld("not photometric", ~photometric, FLUXES),
        )
        added = [probe_columns(space.probes, predicted, good, withheld)]
        if self._settings.measured:
            added.append(_measured(found, space, good, photometric))
        for columns in added:
            for field, values in zip(columns.schema, columns.columns, strict=True):
                table = table.append_column(field, values)
        return table

    @property
    def _summary_width(self) -> int:
        """Numbers of a summary; 0 if neither domain nor probes need one."""
        if self._space.domain:
            return len(self._space.domain.centre)
        return len(self._space.probes[0].centre) if self._space.probes else 0

    def _encoder(self, survey: str, bands: tuple[str, ...]) -> SurveyEncoder:
        if (survey, bands) not in self._encoders:
            self._encoders[survey, bands] = self._space.encoder(self.surveys[survey], bands)
        return self._encoders[survey, bands]


def _measured(
    found: Sequence[tuple[list[int], Summaries]],
    space: LatentSpace,
    good: np.ndarray,
    photometric: np.ndarray,
) -> pa.Table:
    """Columns of measurements of all rows."""
    rows = np.concatenate([np.array(members, int) for members, _ in found]) if found else None
    if rows is None:
        return measured_columns(None, space.frame.bands, np.zeros(len(good), bool), photometric)
    order = np.argsort(rows)
    seen = np.zeros(len(good), bool)
    seen[rows] = True
    order = order[good[rows[order]]]
    measured = join_measured([part.measured for _, part in found], order)
    return measured_columns(measured, space.frame.bands, seen & good, photometric)


def _vectors(values: np.ndarray, good: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(
        pa.array(values.ravel()), values.shape[1], mask=pa.array(~good)
    )
