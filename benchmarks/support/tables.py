"""Print benchmark rows as aligned text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd


def print_rows(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print one titled table."""
    table = pd.DataFrame(list(rows))
    print(
        f"\n{title}\n{table.to_string(index=False, float_format=lambda x: f'{x:.4g}')}", flush=True
    )
