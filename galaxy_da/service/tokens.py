"""Bearer tokens, required for uploads and jobs.

The token file holds SHA-256 hashes, never tokens: ``{"tokens": [{"name", "sha256", "expires"}]}``.
It is read again whenever it changes, so removing an entry revokes its token.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from filelock import FileLock
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from galaxy_da.errors import StorageError, TableError
from galaxy_da.io.files import atomic_path, ensure_folder
from galaxy_da.service.errors import RequestError

_BYTES = 32


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Token(_Strict):
    """Entry of one token: its owner, hash and expiry."""

    name: str = Field(min_length=1, max_length=100)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    expires: AwareDatetime | None = None


class _File(_Strict):
    tokens: list[Token]


class Tokens:
    """Tokens of a file made by `add_token`; TableError if it is missing or not such a file."""

    def __init__(
        self, path: str | os.PathLike[str], now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._path = Path(path)
        self._now = now
        self._stamp: tuple[int, ...] = ()
        self._known: dict[str, Token] = {}
        self._refresh()

    def owner(self, header: str | None) -> str:
        """Return the owner of an ``Authorization`` header; 401 if its token is not valid."""
        kind, _, text = (header or "").partition(" ")
        if kind.lower() != "bearer" or not text.strip():
            raise _refusal("a token is required; send the header Authorization: Bearer TOKEN")
        self._refresh()
        # a lookup by hash, so that its timing reveals nothing about the token
        token = self._known.get(_hash(text.strip()))
        if token is None:
            raise _refusal("the service does not know this token")
        if token.expires is not None and token.expires <= self._now():
            raise _refusal(f"the token expired on {token.expires:%Y-%m-%d}")
        return token.name

    def _refresh(self) -> None:
        try:
            stat = self._path.stat()
        except OSError as error:
            raise TableError(
                f"{self._path}: no token file ({error.strerror}); make one with "
                f"`galaxy-da token NAME --file {self._path}`"
            ) from error
        stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if stamp != self._stamp:
            self._known = {token.sha256: token for token in _read(self._path)}
            self._stamp = stamp


def add_token(path: str | os.PathLike[str], name: str, days: float | None) -> str:
    """Create a token of an owner, valid for some days or without end; it is stored nowhere.

    Its hash is added to a file that only the file's owner can read. An earlier token of the same
    name stays valid. Processes that add tokens at once wait for each other.
    """
    target = Path(path)
    text = secrets.token_urlsafe(_BYTES)
    expires = None if days is None else datetime.now(UTC) + timedelta(days=days)
    new = Token(name=name, sha256=_hash(text), expires=expires)
    ensure_folder(target.parent)
    try:
        with FileLock(target.with_name(f".{target.name}.lock"), mode=0o600):
            known = _read(target) if target.exists() else []
            with atomic_path(target) as draft:
                draft.touch(0o600)
                draft.write_text(_File(tokens=[*known, new]).model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise StorageError(f"{target}: could not be written ({error.strerror})") from error
    return text


def _read(path: Path) -> list[Token]:
    try:
        return _File.model_validate_json(path.read_bytes()).tokens
    except (OSError, ValidationError) as error:
        raise TableError(f"{path}: not a token file ({error})") from error


def _refusal(message: str) -> RequestError:
    return RequestError(401, message, {"WWW-Authenticate": 'Bearer realm="galaxy_da"'})


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
