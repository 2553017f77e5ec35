"""Write the sample of real galaxies that the package holds, ``sdss-stamps``.

No galaxy of it was in the training of the shipped space.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.real.training_scenes import unseen
from benchmarks.support.commands import command_parser
from galaxy_da.io.tables import with_metadata, write_table

_SPIRALS = 380
_ZOO = {
    "elliptical": 75, "edge_on": 30, "merger": 30, "spiral_cw": 14, "spiral_acw": 14, "unknown": 9,
}  # fmt: skip
_ZOO_PIXEL_ARCSEC = 0.3  # assumed, as in training
_SEED = 0
_BOOLEANS = ("photometric", "position_known")

_METADATA = {
    "credit": (
        "Funding for the SDSS and SDSS-II, and for SDSS-III, was provided by the Alfred P. Sloan "
        "Foundation, the Participating Institutions, the National Science Foundation, the U.S. "
        "Department of Energy and others (www.sdss.org/collaboration/citing-sdss). Images: SDSS "
        "DR7 and DR12 (York et al. 2000, AJ 120, 1579). Classes: Galaxy Zoo 1 (Lintott et al. "
        "2011, MNRAS 410, 166). Collected in aritraghsh09/morphML_reloaded (MIT) and "
        "Eggochi/Proyecto_Galaxias."
    ),
    "licence": "SDSS images are in the public domain; use them with the credit line.",
    "collections": {
        "dr12-spirals": "stamps of 24 arcsec with measured positions and a known pixel scale",
        "galaxy-zoo-1": (
            "pictures scaled to the size of each galaxy: positions are not known, and the pixel "
            "scale of 0.3 arcsec is assumed, so magnitudes and sizes mean nothing; shapes and "
            "classes do"
        ),
    },
}


def packaged_sample(data: Path, seed: int = _SEED) -> pa.Table:
    """Choose galaxies at random, a fixed number of each class, among those kept from training."""
    rng = np.random.default_rng(seed)
    spirals = _choose(pq.read_table(data / "sdss_spirals.parquet"), {"spiral": _SPIRALS}, rng)
    zoo = _choose(pq.read_table(data / "sdss_galaxy_zoo1.parquet"), _ZOO, rng)
    spirals = spirals.append_column("stretch", pa.nulls(len(spirals), pa.string()))
    spirals = spirals.append_column("collection", pa.array(["dr12-spirals"] * len(spirals)))
    for name in _BOOLEANS:
        spirals = spirals.append_column(name, pa.array([True] * len(spirals)))
    placed = {
        **dict.fromkeys(("ra", "dec"), pa.nulls(len(zoo), pa.float64())),
        **dict.fromkeys(_BOOLEANS, pa.array([False] * len(zoo))),
        "pixel_scale_arcsec": pa.array([_ZOO_PIXEL_ARCSEC] * len(zoo)),
        "stretch": pa.array(["galaxy-zoo-1"] * len(zoo)),
        "collection": pa.array(["galaxy-zoo-1"] * len(zoo)),
    }
    for name, values in placed.items():
        zoo = zoo.append_column(name, values)
    fields = [(name, _TYPES.get(name, pa.string())) for name in spirals.column_names]
    schema = pa.schema(fields)
    parts = [part.select(schema.names).cast(schema) for part in (spirals, zoo)]
    table = pa.concat_tables(parts).sort_by("object_id")
    image = table.column_names.index("image")
    order = [*table.column_names[:image], *table.column_names[image + 1 :], "image"]
    return with_metadata(table.select(order), _METADATA)


_TYPES = {
    **{name: pa.float64() for name in ("ra", "dec", "pixel_scale_arcsec")},
    **dict.fromkeys(_BOOLEANS, pa.bool_()),
    "image": pa.binary(),
}


def _choose(table: pa.Table, wanted: dict[str, int], rng: np.random.Generator) -> pa.Table:
    table = table.replace_schema_metadata(None)
    free = unseen(table["object_id"].to_pylist())
    classes = np.array(table["gz1_class"].to_pylist())
    rows = [
        rng.choice(np.flatnonzero(free & (classes == name)), count, replace=False)
        for name, count in wanted.items()
    ]
    return table.take(pa.array(np.sort(np.concatenate(rows))))


def main() -> None:
    """Run the command."""
    parser = command_parser("real.packaged_sample", __doc__)
    parser.add_argument("data", type=Path, help="folder of the real images")
    out = Path("galaxy_da/samples/sdss-stamps.parquet")
    parser.add_argument("--out", type=Path, default=out, help="file of the sample")
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    write_table(packaged_sample(given.data), given.out)
    print(f"{given.out}: {given.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
