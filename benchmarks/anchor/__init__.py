"""What the anchor of a space holds, as numbers and as one page of pictures."""

from benchmarks.anchor.draws import read_drawn
from benchmarks.anchor.page import write_anchor_report

__all__ = ["read_drawn", "write_anchor_report"]
