"""``python -m benchmarks``: the benchmark tables that take minutes, one after another.

Longer ones have commands of their own: ``python -m benchmarks.crossmatch 10000000``,
``.index 10000000``, ``.distributed --sizes 10000000``, ``.outliers``, ``.probes``,
``python -m benchmarks.comparisons`` and ``python -m benchmarks.adaptation``.
"""

from __future__ import annotations

from benchmarks.crossmatch import TITLE, crossmatch_rows
from benchmarks.distributed import TITLE as DISTRIBUTED_TITLE
from benchmarks.distributed import VERBS, distributed_rows
from benchmarks.extraction import extraction_rows, product_rows
from benchmarks.index import (
    FILTER_TITLE,
    GROWTH_TITLE,
    SEARCH_TITLE,
    benchmark_search,
    filter_rows,
    growth_rows,
)
from benchmarks.service import image_rows, similar_rows
from benchmarks.support.tables import print_rows


def main() -> None:
    """Print the tables; ratios compare runs that took turns in this process."""
    for rows in crossmatch_rows(sizes=(100_000, 1_000_000)):
        print_rows(TITLE, rows)
    print_rows("Extraction [images/s]", extraction_rows())
    print_rows("Encoder against the machine's matrix product", product_rows())
    print_rows(SEARCH_TITLE, [*benchmark_search(), *benchmark_search(kind="ivfpq")])
    for n in (100_000, 1_000_000):
        print_rows(f"{FILTER_TITLE}, {n:,} vectors", list(filter_rows(n)))
    print_rows(GROWTH_TITLE, list(growth_rows((100_000, 1_000_000))))
    for verb, rule in VERBS.items():
        for n in rule.sizes:
            print_rows(DISTRIBUTED_TITLE, list(distributed_rows(verb, n)))
    print_rows("Similar by id over HTTP, beside raw FAISS", similar_rows())
    print_rows("Encoding an image over HTTP, beside the bare encoder", image_rows())


if __name__ == "__main__":
    main()
