"""Selections of rows by survey, cone on the sky, and conditions on any column.

A condition is ``(column, operator, value)``, as Parquet readers take them, or text such as
``"redshift >= 0.1"`` or ``"kind in spiral,ring"``. Its value is cast to the type of the column;
nothing is ever evaluated as code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxy_da.errors import LatentIndexError
from galaxy_da.index.layout import Layout, expanded
from galaxy_da.io.samples import Flag
from galaxy_da.io.sphere import separation_arcsec
from galaxy_da.io.tables import check_positions

Condition = str | tuple[str, str, Any]
"""Text, or column, operator and value."""

Cone = tuple[float, float, float]
"""ICRS right ascension and declination [deg], and radius [arcsec]."""

_CLEAN: Condition = ("flags", "in", (0, int(Flag.SUBSTITUTED_BAND)))
_COMPARE: dict[str, Callable[..., Any]] = {
    "=": pc.equal,
    "==": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_OPERATOR = re.compile(r"==|!=|<=|>=|=|<|>|\bnot\s+in\b|\bin\b")


@dataclass(frozen=True, kw_only=True)
class Subset:
    """Conditions on the objects that a query returns.

    Attributes
    ----------
    where : Condition or iterable of Condition
        Conditions that must all hold: ``(column, operator, value)`` or text such as
        ``"redshift >= 0.1"`` or ``"kind in spiral,ring"``. A missing value meets none.
    cone : (float, float, float), optional
        ICRS right ascension and declination [deg] and radius [arcsec].
    clean : bool
        Exclude objects with quality flags other than `galaxy_da.io.samples.Flag.SUBSTITUTED_BAND`.
    """

    where: Condition | Iterable[Condition] = ()
    cone: Cone | None = None
    clean: bool = False

    @property
    def conditions(self) -> list[Condition]:
        """All conditions on columns, that of a clean image first."""
        listed: list[Condition] = [self.where] if isinstance(self.where, str) else list(self.where)
        return [_CLEAN, *listed] if self.clean else listed


class Allowed:
    """Places of one segment that a search may return, in the forms that FAISS takes.

    `size` counts all places, deleted ones included; `runs` are the first and one-past-last places
    of allowed runs, ascending, (r, 2) int64.
    """

    def __init__(self, size: int, runs: np.ndarray) -> None:
        self.size = size
        self.count = int((runs[:, 1] - runs[:, 0]).sum())
        self._runs = runs

    @property
    def places(self) -> np.ndarray:
        """All allowed places, ascending, int64."""
        return expanded(self._runs)

    @cached_property
    def listed(self) -> faiss.IDSelector | None:
        """Selector that lists the places, for exhaustive search; None allows all."""
        if len(self._runs) == 1:
            return self._range
        return faiss.IDSelectorArray(self.count, faiss.swig_ptr(self._list))

    @cached_property
    def marked(self) -> faiss.IDSelector | None:
        """Selector with a bit for each place, for search in cells; None allows all."""
        if len(self._runs) == 1:
            return self._range
        return faiss.IDSelectorBitmap(len(self._bits), faiss.swig_ptr(self._bits))

    @cached_property
    def _list(self) -> np.ndarray:  # FAISS keeps pointers into this and into `_bits`
        return self.places

    @cached_property
    def _bits(self) -> np.ndarray:
        mask = np.zeros(self.size, bool)
        mask[self.places] = True
        return np.packbits(mask, bitorder="little")

    @cached_property
    def _range(self) -> faiss.IDSelector | None:
        first, stop = self._runs[0].tolist()
        return None if (first, stop) == (0, self.size) else faiss.IDSelectorRange(first, stop)


class Selection:
    """Selected rows of an index: a span of row numbers, or those true in a mask.

    Made by `StoredIndex.select`. `allowed` are the selected places of each segment.
    """

    def __init__(
        self,
        layout: Layout,
        sizes: Sequence[int],
        span: tuple[int, int],
        mask: np.ndarray | None = None,
    ) -> None:
        self._span = span
        self._mask = mask
        self.count = span[1] - span[0] if mask is None else int(mask.sum())
        self.allowed = [
            Allowed(
                size, layout.runs(number, *span) if mask is None else layout.marked(number, mask)
            )
            for number, size in enumerate(sizes)
        ]

    def __len__(self) -> int:
        return self.count

    def __contains__(self, row: int) -> bool:
        inside = self._span[0] <= row < self._span[1]
        return bool(inside and (self._mask is None or self._mask[row]))

    @property
    def rows(self) -> np.ndarray:
        """Row numbers, ascending, int64."""
        return np.arange(*self._span) if self._mask is None else np.flatnonzero(self._mask)


def rows_within(
    table: pa.Table, conditions: Iterable[Condition], cone: Cone | None = None
) -> np.ndarray:
    """Return a mask of the rows that meet all conditions and lie in a cone, (n,) bool."""
    masks = [_meets(table, *_parsed(condition)) for condition in conditions]
    mask = np.ones(table.num_rows, bool)
    if masks:
        mask = pc.fill_null(reduce(pc.and_kleene, masks), False).to_numpy()
    return mask if cone is None else mask & _in_cone(table, cone)


def _in_cone(table: pa.Table, cone: Cone) -> np.ndarray:
    """Return a mask of the rows in a cone, its edge included."""
    ra, dec, radius = cone
    check_positions(np.array([ra], float), np.array([dec], float), "cone")
    if not 0 <= radius < np.inf:
        raise ValueError(f"cone: radius must be finite and not negative but is {radius}")
    every_dec = table["dec"].to_numpy()
    mask: np.ndarray = np.abs(every_dec - dec) * 3600 <= radius * (1 + 1e-9) + 1e-6
    near = np.flatnonzero(mask)
    ra_near = table["ra"].to_numpy()[near]
    mask[near] = separation_arcsec(ra, dec, ra_near, every_dec[near]) <= radius
    return mask


def _parsed(condition: Condition) -> tuple[str, str, Any]:
    """Return column, operator and value; the time is linear in the length of the text."""
    if not isinstance(condition, str):
        return condition
    text = condition.strip()
    found = _OPERATOR.search(text, 1)  # a column has at least one character
    if found is None:
        raise ValueError(
            f"condition {condition!r}: expected COLUMN OPERATOR VALUE with one of "
            f"{' '.join([*_COMPARE, 'in', 'not in'])}"
        )
    column, value = text[: found.start()].rstrip(), text[found.end() :].strip()
    operator = " ".join(found[0].split())
    if operator.endswith("in"):
        return column, operator, [item.strip() for item in value.split(",")]
    return column, operator, value


def _meets(table: pa.Table, column: str, compare: str, value: Any) -> pa.ChunkedArray:
    if column not in table.column_names:
        raise LatentIndexError(
            f"column {column!r} is not in this index; it has {', '.join(table.column_names)}"
        )
    kind = table.schema.field(column).type
    if pa.types.is_nested(kind):
        raise LatentIndexError(f"column {column!r} holds {kind}; conditions take single values")
    if compare in ("in", "not in"):
        values = pa.array([_cast(item, kind, column).as_py() for item in value], kind)
        listed = pc.is_in(table[column], value_set=values)
        listed = listed if compare == "in" else pc.invert(listed)
        return pc.and_(listed, table[column].is_valid())
    if compare not in _COMPARE:
        raise ValueError(
            f"column {column!r}: operator {compare!r} is not one of "
            f"{' '.join([*_COMPARE, 'in', 'not in'])}"
        )
    return _COMPARE[compare](table[column], _cast(value, kind, column))


def _cast(value: Any, kind: pa.DataType, column: str) -> pa.Scalar:
    try:
        return pa.scalar(value).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise ValueError(f"column {column!r} holds {kind}; {value!r} does not fit") from error
