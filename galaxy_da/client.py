"""A client of the service: astropy tables, in a few lines.

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

__all__ = ["Client", "RemoteJob", "ServiceError"]

_VOTABLE = {"Accept": "application/x-votable+xml"}
_ENDED = ("done", "failed", "cancelled")
_SECONDS = 90.0


class ServiceError(GalaxyDAError):
    """An answer that is not a success.

    Parameters
    ----------
    status : int
        Of HTTP.
    message : str
        What the service said.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """A service, asked over HTTP.

    Parameters
    ----------
    url : str
        Where it is.
    token : str, optional
        Made by ``galaxy-da token``; needed for jobs and images where the service has tokens.
    http : httpx.Client, optional
        Sends the requests; by default a new one.

    Notes
    -----
    Every method raises `ServiceError` where the service refuses, and ``httpx.HTTPError`` where it
    is not reached.
    """

    def __init__(
        self, url: str, token: str | None = None, *, http: httpx.Client | None = None
    ) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._http = http or httpx.Client(timeout=_SECONDS)
        self._http.base_url = httpx.URL(url)
        self._http.headers.update(headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def info(self) -> dict[str, Any]:
        """Return what is served."""
        return dict(self._ask("GET", "/api/info").json())

    def object(self, key: str) -> dict[str, Any]:
        """Return one object with all its columns."""
        return dict(self._ask("GET", "/api/objects", params={"id": key}).json())

    def similar(
        self,
        *like: str,
        dislike: Sequence[str] = (),
        position: tuple[float, float] | None = None,
        k: int = 10,
        survey: str | None = None,
        where: Sequence[str] = (),
        cone: tuple[float, float, float] | None = None,
    ) -> Table:
        """Find the galaxies like some and unlike others, or like that at a position [deg].

        As `galaxy_da.LatentIndex.similar`.
        """
        ra, dec = position or (None, None)
        return self._table(
            "/api/similar",
            id=like,
            dislike=dislike,
            ra=ra,
            dec=dec,
            k=k,
            survey=survey,
            where=where,
            cone=_cone(cone),
        )

    def similar_to_image(
        self,
        path: str | os.PathLike[str],
        survey: str,
        *,
        k: int = 10,
        in_survey: str | None = None,
        unadapted: bool = False,
    ) -> Table:
        """Find the galaxies like that of a FITS, JPEG or PNG file."""
        fields = {"survey": survey, "k": k, "in_survey": in_survey, "unadapted": unadapted}
        with Path(path).open("rb") as file:
            answer = self._ask(
                "POST",
                "/api/similar/image",
                data=_given(fields),
                files={"file": file},
                headers=_VOTABLE,
            )
        return _read(answer)

    def encode(
        self, path: str | os.PathLike[str], survey: str, *, unadapted: bool = False
    ) -> dict[str, Any]:
        """Return the latents of a FITS, JPEG or PNG file, their variances and its flags."""
        fields = {"survey": survey, "unadapted": unadapted}
        with Path(path).open("rb") as file:
            answer = self._ask("POST", "/api/encode", data=_given(fields), files={"file": file})
        return dict(answer.json())

    def same(self, key: str, radius_arcsec: float = 1.0, prior: float = 0.5) -> Table:
        """Find a galaxy in the other surveys. As `galaxy_da.LatentIndex.same`."""
        return self._table("/api/same", id=key, radius_arcsec=radius_arcsec, prior=prior)

    def distances(self, pairs: str | os.PathLike[str], anchor: str, target: str) -> Table:
        """Measure the pairs of a Parquet table. As `galaxy_da.LatentIndex.distances`."""
        answer = self._ask(
            "POST",
            "/api/distances",
            params={"anchor": anchor, "target": target},
            content=Path(pairs).read_bytes(),
            headers=_VOTABLE,
        )
        return _read(answer)

    def outliers(self, survey: str | None = None, k: int = 50, **options: Any) -> Table:
        """Rank the oddest galaxies. As `galaxy_da.LatentIndex.outliers`."""
        return self._table("/api/outliers", survey=survey, k=k, **options)

    def rank(self, scores: Mapping[str, float], k: int = 50, **options: Any) -> Table:
        """Rank outliers by scores of some keys. As `galaxy_da.LatentIndex.rank`."""
        scored = [{"id": key, "score": score} for key, score in scores.items()]
        body = {"scores": scored, "k": k, **options}
        return _read(self._ask("POST", "/api/rank", json=body, headers=_VOTABLE))

    def duplicates(self, survey: str, **thresholds: Any) -> Table:
        """Group what is nearly the same. As `galaxy_da.LatentIndex.duplicates`."""
        return self._table("/api/duplicates", survey=survey, **thresholds)

    def cone(self, ra: float, dec: float, radius_deg: float) -> Table:
        """List the objects within a radius of a position [deg]."""
        return self._table("/vo/conesearch", RA=ra, DEC=dec, SR=radius_deg)

    def submit(
        self, verb: str, options: Mapping[str, Any] | None = None, **files: str | os.PathLike[str]
    ) -> RemoteJob:
        """Start a job.

        Parameters
        ----------
        verb : str
            ``extract`` or ``adapt``.
        options : mapping, optional
            Of the verb.
        **files : path
            ``sample``; or ``anchor``, ``target`` and ``pairs``; and ``survey``.
        """
        fields = {"verb": verb, "options": json.dumps(dict(options or {}))}
        with ExitStack() as stack:
            opened = {
                name: stack.enter_context(Path(path).open("rb")) for name, path in files.items()
            }
            answer = self._ask("POST", "/api/jobs", data=fields, files=opened)
        return self.job(answer.json()["id"])

    def job(self, job_id: str) -> RemoteJob:
        """Return a job by its id."""
        return RemoteJob(self, job_id)

    def _table(self, path: str, **given: Any) -> Table:
        return _read(self._ask("GET", path, params=_given(given), headers=_VOTABLE))

    def _ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        answer = self._http.request(method, path, **given)
        if answer.is_error:
            try:
                message = answer.json()["error"]["message"]
            except (ValueError, KeyError, TypeError):
                message = answer.text or answer.reason_phrase
            raise ServiceError(answer.status_code, message)
        return answer


class RemoteJob:
    """A job of the service. Made by `Client.submit` and `Client.job`.

    Attributes
    ----------
    id : str
    """

    def __init__(self, client: Client, job_id: str) -> None:
        self.id = job_id
        self._client = client

    def status(self) -> dict[str, Any]:
        """Return its state, progress, message and results."""
        return dict(self._client._ask("GET", f"/api/jobs/{self.id}").json())

    def wait(self, poll_seconds: float = 1.0) -> Self:
        """Wait until it is done.

        Raises
        ------
        ServiceError
            If it failed or was cancelled.
        """
        while (now := self.status())["state"] not in _ENDED:
            time.sleep(poll_seconds)
        if now["state"] != "done":
            raise ServiceError(200, f"the job {now['state']}: {now['message']}")
        return self

    def cancel(self) -> None:
        """Cancel it; or remove it and its files, if it has ended."""
        self._client._ask("DELETE", f"/api/jobs/{self.id}")

    def download(self, name: str, out: str | os.PathLike[str] | None = None) -> Path:
        """Save a result; by default under its own name here."""
        target = Path(out or name)
        with (
            self._client._http.stream("GET", f"/api/jobs/{self.id}/results/{name}") as answer,
            atomic_path(target) as temporary,
            temporary.open("wb") as sink,
        ):
            if answer.is_error:
                raise ServiceError(answer.status_code, answer.read().decode())
            for part in answer.iter_bytes():
                sink.write(part)
        return target


def _read(answer: httpx.Response) -> Table:
    return parse_single_table(io.BytesIO(answer.content)).to_table(use_names_over_ids=True)


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _cone(cone: tuple[float, float, float] | None) -> str | None:
    return None if cone is None else ",".join(map(repr, cone))
