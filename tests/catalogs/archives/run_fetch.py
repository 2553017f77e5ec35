"""Fetch a catalogue in a separate process: `run_fetch.py FOLDER URL RATE [FILE_SIZE_LIMIT]`."""

import resource
import signal
import sys
from pathlib import Path

import pyarrow.parquet as pq
from stamps_source import StampSource

from catalogs.archives.cache import Cache
from catalogs.archives.fetch import fetch
from catalogs.archives.http import Http
from catalogs.archives.limits import Limits
from galaxy_da.errors import CutoutError, GalaxyDAError


class Sky(StampSource):
    """Source north of -50 deg, with a 404 for positions without an image."""

    def covers(self, ra, dec):
        return dec > -50

    def fetch(self, ra, dec, http):
        try:
            return super().fetch(ra, dec, http)
        except CutoutError as error:
            if getattr(error, "code", None) == 404:
                raise CutoutError("nothing here", status="no_data") from error
            raise


# what a shell starts in the background is started deaf to Ctrl-C
signal.signal(signal.SIGINT, signal.default_int_handler)
folder, url, rate = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
if len(sys.argv) > 4:
    limit = int(sys.argv[4])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
source = Sky(url=url, service="sky", limits=Limits(requests_per_second=rate, concurrency=8))
try:
    with Http("sky", source.limits, timeout_s=2.5, backoff_s=0.05) as http:
        fetch(
            source,
            pq.read_table(folder / "catalogue.parquet"),
            folder / "out",
            cache=Cache(folder / "cache.sqlite"),
            http=http,
        )
except GalaxyDAError as error:
    print(type(error).__name__, error)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)
