"""Report on the anchor of a space, as figures and one page of pictures.

`write_anchor_report` writes it; ``python -m benchmarks.anchor`` is the command.
"""

from benchmarks.anchor.page import AnchorReportSettings, write_anchor_report
from benchmarks.anchor.sampling import read_drawn

__all__ = ["AnchorReportSettings", "read_drawn", "write_anchor_report"]
