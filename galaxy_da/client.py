"""Client of the service; tables come as astropy tables with units.

Examples
--------
::

    from galaxy_da.client import Client

    sky = Client("http://127.0.0.1:8765")
    sky.similar("sdss:1237648720693755918", k=10, survey="decals")
    sky.similar_to_image("stamp.fits", survey="sdss")
    job = sky.submit("extract", sample="sample.zip")
    job.wait().download("features.parquet")
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import httpx
from astropy.io.votable import parse_single_table
from astropy.table import Table

from galaxy_da.errors import GalaxyDAError
from galaxy_da.io.files import atomic_path
from galaxy_da.io.samp import send_table

_VOTABLE = {"Accept": "application/x-votable+xml"}
_ENDED = ("done", "failed", "cancelled")
_TIMEOUT_SECONDS = 90.0


class ServiceError(GalaxyDAError):
    """Error that the service answers with, and its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """Client of one service.

    Every method raises `ServiceError` if the service refuses the request, and ``httpx.HTTPError``
    if it cannot be reached.

    Parameters
    ----------
    url : str
        Address of the service.
    token : str, optional
        Token made by ``galaxy-da token``; some services need it for uploads and jobs.
    http : httpx.Client, optional
        HTTP client that sends the requests; by default a new one.
    """

    def __init__(
        self, url: str, token: str | None = None, *, http: httpx.Client | None = None
    ) -> None:
        self._http = http or httpx.Client(timeout=_TIMEOUT_SECONDS)
        self._http.base_url = httpx.URL(url)
        if token is not None:
            self._http.headers["Authorization"] = f"Bearer {token}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def info(self) -> dict[str, Any]:
        """Return a description of the space, the index and the limits."""
        return dict(self._request("GET", "/api/info").json())

    def object(self, key: str) -> dict[str, Any]:
        """Return one object with all its columns: ``sky.object("sdss:1")["ra"]``."""
        return dict(self._request("GET", "/api/objects", params={"id": key}).json())

    def similar(
        self,
        *like: str,
        dislike: Sequence[str] = (),
        k: int = 10,
        survey: str | None = None,
        where: Sequence[str] = (),
        cone: tuple[float, float, float] | None = None,
    ) -> Table:
        """Find the galaxies similar to some objects, see `galaxy_da.LatentIndex.similar`.

        ``sky.similar("sdss:1", "sdss:2", dislike=["sdss:3"], where=["flags = 0"])``
        """
        text = None if cone is None else ",".join(map(repr, cone))
        return self._get(
            "/api/similar", id=like, dislike=dislike, k=k, survey=survey, where=where, cone=text
        )

    def similar_to_position(
        self, ra: float, dec: float, k: int = 10, survey: str | None = None
    ) -> Table:
        """Find the galaxies similar to the one at a position [deg].

        ``sky.similar_to_position(150.1, 2.2)``
        """
        return self._get("/api/similar", ra=ra, dec=dec, k=k, survey=survey)

    def similar_to_image(
        self,
        path: str | os.PathLike[str],
        survey: str,
        *,
        pixel_scale_arcsec: float | None = None,
        k: int = 10,
        in_survey: str | None = None,
    ) -> Table:
        """Find the galaxies similar to the one in a FITS, JPEG or PNG file.

        `pixel_scale_arcsec` is that of an image without WCS, by default the survey's.
        ``sky.similar_to_image("stamp.fits", survey="sdss", in_survey="decals")``
        """
        data = _without_none(
            survey=survey, pixel_scale_arcsec=pixel_scale_arcsec, k=k, in_survey=in_survey
        )
        with Path(path).open("rb") as file:
            return self._table("/api/similar/image", "POST", data=data, files={"file": file})

    def encode(
        self, path: str | os.PathLike[str], survey: str, pixel_scale_arcsec: float | None = None
    ) -> dict[str, Any]:
        """Return the latents of a FITS, JPEG or PNG file, their variances and its flags.

        `pixel_scale_arcsec` is as for `similar_to_image`.
        ``sky.encode("stamp.fits", survey="sdss")["latents"]``
        """
        data = _without_none(survey=survey, pixel_scale_arcsec=pixel_scale_arcsec)
        with Path(path).open("rb") as file:
            answer = self._request("POST", "/api/encode", data=data, files={"file": file})
        return dict(answer.json())

    def same(self, key: str, radius_arcsec: float = 1.0, prior: float = 0.5) -> Table:
        """Find a galaxy in the other surveys, see `galaxy_da.LatentIndex.same`."""
        return self._get("/api/same", id=key, radius_arcsec=radius_arcsec, prior=prior)

    def distances(self, pairs: str | os.PathLike[str], anchor: str, target: str) -> Table:
        """Measure the pairs of a Parquet table, see `galaxy_da.LatentIndex.distances`.

        ``sky.distances("pairs.parquet", anchor="decals", target="sdss")``
        """
        content, params = Path(pairs).read_bytes(), {"anchor": anchor, "target": target}
        return self._table("/api/distances", "POST", content=content, params=params)

    def outliers(self, survey: str | None = None, k: int = 50, **options: Any) -> Table:
        """Rank bad data and strange galaxies, see `galaxy_da.LatentIndex.outliers`.

        ``sky.outliers("sdss", k=20, where=["ra > 180"])``
        """
        return self._get("/api/outliers", survey=survey, k=k, **options)

    def rank(self, scores: Mapping[str, float], k: int = 50, **options: Any) -> Table:
        """Rank strange galaxies by a person's scores, see `galaxy_da.LatentIndex.rank`.

        ``sky.rank({"sdss:1": 5, "sdss:2": 0})``
        """
        scored = [{"id": key, "score": score} for key, score in scores.items()]
        return self._table("/api/rank", "POST", json={"scores": scored, "k": k, **options})

    def duplicates(self, survey: str, **thresholds: Any) -> Table:
        """Group duplicates in a survey, see `galaxy_da.LatentIndex.duplicates`.

        ``sky.duplicates("sdss", arcsec=1)``
        """
        return self._get("/api/duplicates", survey=survey, **thresholds)

    def cone(self, ra: float, dec: float, radius_deg: float) -> Table:
        """List the objects within a radius of a position [deg]."""
        return self._get("/vo/conesearch", RA=ra, DEC=dec, SR=radius_deg)

    def send(self, table: Table, name: str = "galaxy_da", to: str | None = None) -> tuple[str, ...]:
        """Send a table to TOPCAT, Aladin or another open program, see `galaxy_da.io.samp`.

        ``sky.send(sky.similar("sdss:1"), to="topcat")``
        """
        return send_table(table, name, to)

    def submit(
        self, verb: str, options: Mapping[str, Any] | None = None, **files: str | os.PathLike[str]
    ) -> RemoteJob:
        """Submit a job: ``sky.submit("extract", sample="sample.zip")``.

        ``extract`` needs the file ``sample``; ``adapt`` needs ``anchor`` and ``target``, and may
        have ``pairs``. Both may have ``survey``, the definition of a survey that is not built in.
        """
        fields = {"verb": verb, "options": json.dumps(dict(options or {}))}
        with ExitStack() as stack:
            opened = {
                name: stack.enter_context(Path(path).open("rb")) for name, path in files.items()
            }
            answer = self._request("POST", "/api/jobs", data=fields, files=opened)
        return self.job(answer.json()["id"])

    def job(self, job_id: str) -> RemoteJob:
        """Return a job by its id."""
        return RemoteJob(self, job_id)

    def _get(self, path: str, **params: Any) -> Table:
        return self._table(path, "GET", params=_without_none(**params))

    def _table(self, path: str, method: str, **options: Any) -> Table:
        answer = self._request(method, path, headers=_VOTABLE, **options)
        return parse_single_table(io.BytesIO(answer.content)).to_table(use_names_over_ids=True)

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        answer = self._http.request(method, path, **options)
        if answer.is_error:
            raise _error(answer)
        return answer


class RemoteJob:
    """Job of a service, made by `Client.submit` and `Client.job`."""

    def __init__(self, client: Client, job_id: str) -> None:
        self.id = job_id
        self._client = client

    def status(self) -> dict[str, Any]:
        """Return the job's state, progress, message and results."""
        return dict(self._client._request("GET", f"/api/jobs/{self.id}").json())

    def wait(self, poll_seconds: float = 1.0) -> Self:
        """Wait until the job is done; ServiceError if it failed or was cancelled."""
        while (status := self.status())["state"] not in _ENDED:
            time.sleep(poll_seconds)
        if status["state"] != "done":
            raise ServiceError(200, f"the job {status['state']}: {status['message']}")
        return self

    def cancel(self) -> None:
        """Cancel the job; remove an ended job and its files."""
        self._client._request("DELETE", f"/api/jobs/{self.id}")

    def download(self, name: str, out: str | os.PathLike[str] | None = None) -> Path:
        """Save a result, by default under its own name in the current folder."""
        target = Path(out or name)
        with self._client._http.stream("GET", f"/api/jobs/{self.id}/results/{name}") as answer:
            if answer.is_error:
                answer.read()
                raise _error(answer)
            with atomic_path(target) as temporary, temporary.open("wb") as sink:
                for part in answer.iter_bytes():
                    sink.write(part)
        return target


def _error(answer: httpx.Response) -> ServiceError:
    try:
        message = answer.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = answer.text or answer.reason_phrase
    return ServiceError(answer.status_code, message)


def _without_none(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
