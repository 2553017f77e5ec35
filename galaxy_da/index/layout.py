"""Row numbers of an index: its living rows over all segments, without the deleted ones.

Living rows are numbered by survey, then by segment, then by object id. A *place* is the position
of a row in its segment. A *piece* is a run of row numbers whose places are consecutive too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


class Layout:
    """Conversion between row numbers and places in segments.

    `surveys` gives each segment's number of rows per survey, in stored order, `deleted` the
    ascending places of its deleted rows. `spans` is the first and one-past-last row number of each
    survey; `segment`, `place` and `first` describe the pieces: their segment, first place and first
    row number, the number of rows last. `is_whole` is true for one segment without deletions, where
    row numbers are places.
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
                    runs = _living_runs(low, low + counts[survey], deleted[number])
                    pieces.append(np.column_stack([np.full(len(runs), number), runs]))
                    end += int((runs[:, 1] - runs[:, 0]).sum())
            if end > start:
                self.spans[survey] = (start, end)
        every = _joined(np.concatenate(pieces))
        self.segment, self.place = every[:, 0], every[:, 1]
        self.first = np.concatenate([[0], np.cumsum(every[:, 2] - every[:, 1])]).astype(np.int64)
        self.is_whole = len(surveys) == len(every) == 1 and not len(deleted[0])
        self._of_segment = [np.flatnonzero(self.segment == i) for i in range(len(surveys))]

    @property
    def n_rows(self) -> int:
        """Number of living rows."""
        return int(self.first[-1])

    def places(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the segment and the place of each row number."""
        piece = np.searchsorted(self.first, rows, side="right") - 1
        return self.segment[piece], self.place[piece] + rows - self.first[piece]

    def numbers(self, segment: int, places: np.ndarray) -> np.ndarray:
        """Return the row number of each place of a segment, -1 if it is deleted or negative."""
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
    """Return all numbers of (r, 2) runs of first and one-past-last number."""
    lengths = runs[:, 1] - runs[:, 0]
    shift = np.repeat(runs[:, 0] - np.cumsum(lengths) + lengths, lengths)
    return np.asarray(np.arange(lengths.sum()) + shift)


def _joined(pieces: np.ndarray) -> np.ndarray:
    """Join consecutive runs (first, stop), or pieces (segment, first, stop), that touch."""
    new = np.ones(len(pieces), bool)
    new[1:] = pieces[1:, -2] != pieces[:-1, -1]
    new[1:] |= (pieces[1:, :-2] != pieces[:-1, :-2]).any(axis=1)
    last = np.append(new[1:], True)[: len(pieces)]
    return np.column_stack([pieces[new, :-1], pieces[last, -1]])


def _begins(counts: Mapping[str, int]) -> dict[str, int]:
    ends = np.cumsum(list(counts.values()))
    return {name: int(end) - counts[name] for name, end in zip(counts, ends, strict=True)}


def _living_runs(low: int, high: int, deleted: np.ndarray) -> np.ndarray:
    """Return the (r, 2) runs of places between deleted rows."""
    inside = deleted[np.searchsorted(deleted, low) : np.searchsorted(deleted, high)]
    runs = np.column_stack([[low, *(inside + 1)], [*inside, high]]).astype(np.int64)
    return runs[runs[:, 1] > runs[:, 0]]
