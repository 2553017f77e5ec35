"""A source of small pictures that depend on the position alone, for tests of the engine."""

import hashlib
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image
from server import Reply

from catalogs.archives.limits import Limits
from catalogs.archives.source import CutoutSource
from galaxy_da.errors import CutoutError

LIMITS = Limits(requests_per_second=1000, concurrency=4)


def picture(ra, dec):
    """Return a PNG of noise that depends on the position."""
    seed = int.from_bytes(hashlib.sha256(f"{ra} {dec}".encode()).digest()[:8], "big")
    pixels = np.random.default_rng(seed).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def reply(request):
    return Reply(picture(request.params["ra"], request.params["dec"]), content_type="image/png")


@dataclass(frozen=True, kw_only=True)
class StampSource(CutoutSource):
    url: str
    survey: str = "sdss"
    limits: Limits = LIMITS
    suffix: str = ".png"

    def fetch(self, ra, dec, http):
        data = http.get(f"{self.url}/stamp", params={"ra": ra, "dec": dec})
        try:
            with Image.open(io.BytesIO(data)) as image:
                image.load()
        except (OSError, SyntaxError) as error:
            raise CutoutError(f"no picture: {data[:20]!r}") from error
        return data
