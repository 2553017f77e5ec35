"""Match two catalogues by position, and check and measure the match.

The match is exact on the sphere. Checks compare surveys, ids, chance pairs and images.
"""

from catalogs.matching.positions import crossmatch
from catalogs.matching.settings import MatchSettings

__all__ = ["MatchSettings", "crossmatch"]
