"""Catalogue files of many formats."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.table import MaskedColumn, Table

from galaxy_da.io.tables import read_metadata

BIG = [1237648720693755918, 2**62 + 1, 2**53 + 1]
RA, DEC = [10.125, 200.5, 359.875], [-45.25, 0.0, 89.5]


def astropy_table():
    table = Table(
        {
            "OBJID": np.array(BIG),
            "RA": np.array(RA),
            "DEC": np.array(DEC),
            "mag": MaskedColumn(np.array([17.5, 18.5, 19.5], "f4"), unit="mag"),
            "class": ["spiral", "smooth", "bar"],
            "good": [True, False, True],
            "n": MaskedColumn([1, 2, 3], mask=[False, True, False]),
        }
    )
    table["RA"].unit = table["DEC"].unit = "deg"
    return table


def write(table, path):
    forms = {"fits": "fits", "vot": "votable", "xml": "votable", "ecsv": "ascii.ecsv"}
    suffix = path.name.removesuffix(".gz").rsplit(".", 1)[-1]
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pandas(table.to_pandas()), path)
    else:
        table.write(path, format=forms.get(suffix, "ascii.csv"))


def noted(table):
    return read_metadata(table.schema)["catalog"]
