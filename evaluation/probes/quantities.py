"""Quantities that probes predict, and their values in a truth table.

Quantities of the simulated sky are defined here. Any other column of a truth or label table is
described by its Arrow metadata (``unit``, ``ucd``, ``description``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from galaxy_da.errors import TableError
from galaxy_da.models.probes import Link

_Columns = Mapping[str, np.ndarray]

_ROUND = 0.2
"""Ellipticity below which a position angle is undefined."""

_WEAK_BAR, _WEAK_ARMS = 0.12, 0.2
"""Shares of the disc's light above which simulated bars and arms count as visible."""

_MORPHOLOGY = "src.morph.param"


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A quantity that probes predict from latents.

    Attributes
    ----------
    name, description, unit, ucd, link, low, high
        As in `galaxy_da.models.probes.Probe`.
    columns : tuple of str
        Columns of the truth table that give the quantity; by default the one of its name.
    truth : callable, optional
        Function from those columns to the (n,) values, NaN where unknown; of a probability 0, 1 or
        the share of votes. By default the values of the first column.
    strength : callable, optional
        For an angle, function to its weight, 0 to 1: the ellipticity (1 - b/a) / (1 + b/a).
    """

    name: str
    description: str
    unit: str = ""
    ucd: str
    link: Link = "identity"
    low: float | None = None
    high: float | None = None
    columns: tuple[str, ...] = ()
    truth: Callable[[_Columns], np.ndarray] | None = None
    strength: Callable[[_Columns], np.ndarray] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", self.columns or (self.name,))

    def values(self, table: _Columns) -> np.ndarray:
        """Return the (n,) values of the quantity, NaN where unknown."""
        return table[self.columns[0]] if self.truth is None else self.truth(table)


@dataclass(frozen=True, kw_only=True)
class KnownQuantity:
    """A quantity with its (n,) values for the galaxies of a truth table, NaN where unknown.

    The network's `targets`, (n, k), are the logarithm of a positive quantity, the two components of
    an angle, or the value.
    """

    quantity: Quantity
    values: np.ndarray
    targets: np.ndarray


def find_quantities(truth: pa.Table, columns: Sequence[str] = ()) -> dict[str, KnownQuantity]:
    """Compute the quantities of a truth table, by name.

    `columns` are used unchanged, by `own_quantity`. By default it is every one of `QUANTITIES`
    whose columns the table has. Raises TableError if there is nothing to fit.
    """
    chosen = [own_quantity(truth, name) for name in columns] or [
        quantity for quantity in QUANTITIES if set(quantity.columns) <= set(truth.column_names)
    ]
    if not chosen:
        raise TableError(
            f"the truth table has none of the known columns "
            f"({', '.join(sorted({name for q in QUANTITIES for name in q.columns}))}); it has "
            f"{', '.join(truth.column_names)}; name yours with --column"
        )
    known = {}
    for quantity in chosen:
        table = {name: _numbers(truth, name) for name in quantity.columns}
        known[quantity.name] = KnownQuantity(
            quantity=quantity, values=quantity.values(table), targets=_targets(quantity, table)
        )
    return known


def own_quantity(truth: pa.Table, column: str) -> Quantity:
    """Describe a user's column: a boolean column gives a probability, a number itself.

    The column's Arrow metadata may give ``unit``, ``ucd`` and ``description``, and ``link`` (see
    `galaxy_da.models.probes.Link`); the share of votes for an answer needs ``link`` ``logistic``.
    """
    known = {quantity.name: quantity for quantity in QUANTITIES}
    if column not in truth.column_names:
        if column in known:
            return known[column]
        raise TableError(
            f"the truth table has no column {column!r}; it has {', '.join(truth.column_names)}"
        )
    field = truth.schema.field(column)
    metadata = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    is_bool = pa.types.is_boolean(field.type)
    if not (is_bool or pa.types.is_integer(field.type) or pa.types.is_floating(field.type)):
        raise TableError(f"column {column!r} must hold numbers or booleans but holds {field.type}")
    link = metadata.get("link", "logistic" if is_bool else "identity")
    if link == "votes":
        raise TableError(f"column {column!r} holds votes; fit them with --votes and --question")
    return Quantity(
        name=column.lower(),
        description=metadata.get("description", f"as column {column} of the truth table"),
        unit=metadata.get("unit", ""),
        ucd=metadata.get("ucd", "stat.probability;src.morph" if is_bool else _MORPHOLOGY),
        link=link,
        columns=(column,),
    )


def _share(name: str, description: str) -> Quantity:
    return Quantity(name=name, description=description, ucd=_MORPHOLOGY, low=0.0, high=1.0)


def _class(
    name: str, description: str, column: str, holds: Callable[[np.ndarray], np.ndarray]
) -> Quantity:
    """Describe the probability that a condition on a column holds."""
    return Quantity(
        name=name,
        description=description,
        ucd="stat.probability;src.morph",
        link="logistic",
        columns=(column,),
        truth=lambda values: np.where(
            _is_known(values[column]), np.asarray(holds(values[column]), dtype=float), np.nan
        ),
    )


def _is_known(values: np.ndarray) -> np.ndarray:
    """Test values for missing text or NaN."""
    if values.dtype == object:
        return np.array([value is not None for value in values])
    return np.asarray(np.isfinite(values))


def _elongation(values: _Columns) -> np.ndarray:
    ratio = values["axis_ratio"]
    return np.asarray((1 - ratio) / (1 + ratio))


def _angle(values: _Columns) -> np.ndarray:
    angle = values["position_angle_deg"] % 180
    return np.where(1 - values["axis_ratio"] > _ROUND, angle, np.nan)


QUANTITIES = (
    Quantity(
        name="half_light_arcsec",
        description="Half-light radius along the major axis, free of the PSF; bar and arms left "
        "out, as drawn",
        unit="arcsec",
        ucd="phys.angSize",
        link="exp",
    ),
    Quantity(
        name="ellipticity",
        description="1 - b/a of the isophotes, free of the PSF, as drawn",
        ucd="src.ellipticity",
        low=0.0,
        high=1.0,
        columns=("axis_ratio",),
        truth=lambda values: 1 - values["axis_ratio"],
    ),
    Quantity(
        name="position_angle",
        description=f"Of the major axis, north through east; errors where 1 - b/a > {_ROUND}",
        unit="deg",
        ucd="pos.posAng",
        link="angle",
        columns=("position_angle_deg", "axis_ratio"),
        truth=_angle,
        strength=_elongation,
    ),
    Quantity(
        name="concentration",
        description="5 log10(r80 / r20) in r of the light (Bershady et al. 2000)",
        ucd=_MORPHOLOGY,
    ),
    Quantity(
        name="asymmetry",
        description="Sum |I - I180| / sum |I| in r (Conselice 2003)",
        ucd=_MORPHOLOGY,
    ),
    Quantity(
        name="g_minus_r",
        description="Integrated colour",
        unit="mag",
        ucd="phot.color;em.opt.B;em.opt.R",
    ),
    Quantity(
        name="r_mag",
        description="Total r magnitude (AB) of the galaxy alone",
        unit="mag",
        ucd="phot.mag;em.opt.R",
    ),
    _share("bulge_fraction", "Share of the r light in the de Vaucouleurs component"),
    _share("arm_strength", "Share of the disc's light in spiral arms"),
    _share("bar_strength", "Share of the disc's light in a bar"),
    _class(
        "p_featured",
        "Probability of arms, a bar or an edge-on disc, as against a smooth galaxy (ellipticals "
        "and plain discs)",
        "label",
        lambda label: np.isin(label, ("spiral", "barred", "edge-on")),
    ),
    _class(
        "p_edge_on",
        "Probability of a disc seen edge-on",
        "label",
        lambda label: label == "edge-on",
    ),
    _class(
        "p_bar",
        f"Probability of a bar with more than {_WEAK_BAR} of the disc's light",
        "bar_strength",
        lambda strength: strength >= _WEAK_BAR,
    ),
    _class(
        "p_spiral",
        f"Probability of arms with more than {_WEAK_ARMS} of the disc's light",
        "arm_strength",
        lambda strength: strength >= _WEAK_ARMS,
    ),
)
"""Quantities of the simulated sky; `training.readings` measures concentration and asymmetry."""


def _numbers(truth: pa.Table, name: str) -> np.ndarray:
    """Return a column as floats, NaN for null; text as it is."""
    column = truth[name]
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return np.asarray(column.to_pylist(), dtype=object)
    return np.asarray(pc.fill_null(column.cast(pa.float64()), float("nan")))


def _targets(quantity: Quantity, table: _Columns) -> np.ndarray:
    """Return the targets of the network, (n, k)."""
    values = quantity.values(table)
    if quantity.link == "angle":
        doubled = 2 * np.radians(table[quantity.columns[0]])
        strength = quantity.strength(table) if quantity.strength else np.ones(len(doubled))
        return np.stack([strength * np.cos(doubled), strength * np.sin(doubled)], axis=1)
    if quantity.link == "exp":
        values = np.log(np.where(values > 0, values, np.nan))
    return values[:, None]
