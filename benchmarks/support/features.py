"""Tables of features that hold synthetic latents."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def synthetic_table(
    latents: np.ndarray, first: int = 0, total: int | None = None, digits: int = 19
) -> pa.Table:
    """Return features of DECaLS with (n, latents) float32 latents, along the equator.

    They are the galaxies from number `first` on of `total`, by default of n; ids have `digits`.
    """
    n = len(latents)
    rows = np.arange(first, first + n)
    return pa.table(
        {
            "object_id": [f"{row:0{digits}d}" for row in rows.tolist()],
            "survey": pa.array(["decals"] * n),
            "ra": rows * (360 / (total or n)),
            "dec": np.zeros(n),
            "flags": np.zeros(n, np.int32),
            "embedding": pa.FixedSizeListArray.from_arrays(
                pa.array(latents.ravel()), latents.shape[1]
            ),
        }
    )
