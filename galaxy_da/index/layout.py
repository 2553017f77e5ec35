"""Row numbers of an index made of segments, some of whose rows are deleted.

Living rows are numbered through: survey by survey, within a survey segment by segment, within a
segment by object id. A *piece* is a run of them that also lies together in its segment; deleted
rows part pieces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

__all__ = ["Layout", "expanded"]


class Layout:
    """Where each row number lies, and which number each place has.

    Parameters
    ----------
    surveys : sequence of mapping
        For each segment, its rows per survey, in their order there.
    deleted : sequence of (n,) int64 array
        For each segment, the places of deleted rows, ascending.

    Attributes
    ----------
    spans : dict of str
        Survey to first and one-past-last row number.
    segment, place : (p,) int64 arrays
        Segment of each piece, and where it begins there.
    first : (p + 1,) int64 array
        Row number at which each piece begins, and the number of rows.
    is_whole : bool
        Whether row numbers are the places of one segment, none deleted.
    """

    def __init__(self, surveys: Sequence[Mapping[str, int]], deleted: Sequence[np.ndarray]) -> None:
        self.spans: dict[str, tuple[int, int]] = {}
        pieces: list[np.ndarray] = []
        end = 0
        begins = [_begins(counts) for counts in surveys]
        for survey in sorted({name for counts in surveys for name in counts}):
            start = end
            for number, counts in enumerate(surveys):
                if survey in counts:
                    low = begins[number][survey]
                    found = _living_runs(low, low + counts[survey], deleted[number])
                    pieces.append(np.column_stack([np.full(len(found), number), found]))
                    end += int((found[:, 1] - found[:, 0]).sum())
            if end > start:
                self.spans[survey] = (start, end)
        every = _joined_pieces(np.concatenate(pieces))
        self.segment, self.place = every[:, 0], every[:, 1]
        self.first = np.concatenate([[0], np.cumsum(every[:, 2] - every[:, 1])]).astype(np.int64)
        self.is_whole = len(surveys) == len(every) == 1 and not len(deleted[0])
        self._of_segment = [np.flatnonzero(self.segment == i) for i in range(len(surveys))]

    @property
    def n_rows(self) -> int:
        """Living rows."""
        return int(self.first[-1])

    def places(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the segment of each row number and its place there."""
        piece = np.searchsorted(self.first, rows, side="right") - 1
        return self.segment[piece], self.place[piece] + rows - self.first[piece]

    def numbers(self, segment: int, places: np.ndarray) -> np.ndarray:
        """Return the row number of each place of a segment, -1 where it is deleted or negative."""
        if self.is_whole:
            return places
        own = self._of_segment[segment]
        if not len(own):
            return np.full(places.shape, -1)
        piece = own[np.maximum(np.searchsorted(self.place[own], places, side="right") - 1, 0)]
        rows = self.first[piece] + places - self.place[piece]
        living = (places >= self.place[piece]) & (rows < self.first[piece + 1])
        return np.where(living, rows, -1)

    def runs(self, segment: int, low: int, high: int) -> np.ndarray:
        """Return the runs of places in a segment whose row numbers lie in a span, (r, 2)."""
        own = self._of_segment[segment]
        start, stop = np.maximum(self.first[own], low), np.minimum(self.first[own + 1], high)
        shift = self.place[own] - self.first[own]
        return _joined(np.column_stack([start + shift, stop + shift])[stop > start])

    def marked(self, segment: int, mask: np.ndarray) -> np.ndarray:
        """Return the runs of places in a segment whose row numbers are true in a mask, (r, 2)."""
        rows = self.rows_of(segment)
        places = self.places(rows[mask[rows]])[1]
        return _joined(np.column_stack([places, places + 1]))

    def rows_of(self, segment: int) -> np.ndarray:
        """Return the row numbers of a segment, in the order of their places."""
        own = self._of_segment[segment]
        return expanded(np.column_stack([self.first[own], self.first[own + 1]]))


def expanded(runs: np.ndarray) -> np.ndarray:
    """Return every number of runs given by first and one-past-last, (r, 2)."""
    lengths = runs[:, 1] - runs[:, 0]
    shift = np.repeat(runs[:, 0] - np.cumsum(lengths) + lengths, lengths)
    return np.asarray(np.arange(lengths.sum()) + shift)


def _joined(runs: np.ndarray) -> np.ndarray:
    """Join ascending runs that touch."""
    apart = np.flatnonzero(runs[1:, 0] > runs[:-1, 1])
    if not len(runs):
        return runs
    starts = np.concatenate([runs[:1, 0], runs[apart + 1, 0]])
    stops = np.concatenate([runs[apart, 1], runs[-1:, 1]])
    return np.column_stack([starts, stops])


def _joined_pieces(pieces: np.ndarray) -> np.ndarray:
    """Join consecutive pieces (segment, first, stop) that touch in one segment."""
    new = np.ones(len(pieces), bool)
    new[1:] = (pieces[1:, 0] != pieces[:-1, 0]) | (pieces[1:, 1] != pieces[:-1, 2])
    last = np.append(new[1:], True)[: len(pieces)]
    return np.column_stack([pieces[new, :2], pieces[last, 2]])


def _begins(counts: Mapping[str, int]) -> dict[str, int]:
    ends = np.cumsum(list(counts.values()))
    return {name: int(end) - counts[name] for name, end in zip(counts, ends, strict=True)}


def _living_runs(low: int, high: int, deleted: np.ndarray) -> np.ndarray:
    """Return first and one-past-last place of each run between deleted rows, (r, 2)."""
    inside = deleted[np.searchsorted(deleted, low) : np.searchsorted(deleted, high)]
    runs = np.column_stack([[low, *(inside + 1)], [*inside, high]]).astype(np.int64)
    return runs[runs[:, 1] > runs[:, 0]]
