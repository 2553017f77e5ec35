"""``python -m evaluation.benchmarks``: every benchmark table, one after the other."""

from __future__ import annotations

from evaluation.benchmarks.crossmatch import crossmatch_rows
from evaluation.benchmarks.extraction import extraction_rows, product_rows
from evaluation.benchmarks.index import benchmark_search
from evaluation.benchmarks.tables import print_rows


def main() -> None:
    """Print the tables; ratios compare runs that took turns in this process."""
    print_rows("Crossmatch against astropy (ratio: astropy's time over ours)", crossmatch_rows())
    print_rows("Extraction [images/s]", extraction_rows())
    print_rows("Encoder against the machine's matrix product", product_rows())
    print_rows(
        "Similar-by-vector against raw FAISS (ratio: our time over FAISS's)", benchmark_search()
    )


if __name__ == "__main__":
    main()
