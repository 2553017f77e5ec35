"""Send tables to TOPCAT, Aladin and other open programs by SAMP (through pyvo).

The programs meet at a SAMP hub on the same machine, which TOPCAT and Aladin start.
"""

from __future__ import annotations

from collections.abc import Mapping
from queue import Empty, Queue
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from astropy.table import Table

from galaxy_da.errors import GalaxyDAError
from galaxy_da.io.catalogue_output import to_votable

if TYPE_CHECKING:
    from pyvo.samp import SAMPIntegratedClient

_MESSAGE = "table.load.votable"
_TAG = "galaxy_da-table"
_WAIT_SECONDS = 30.0


class SampError(GalaxyDAError):
    """No SAMP hub, no program that takes tables, or a program that refused one."""


def send_table(
    table: Table | pa.Table,
    name: str = "galaxy_da",
    to: str | None = None,
    hub: Mapping[str, Any] | None = None,
) -> tuple[str, ...]:
    """Send a table with its units and descriptions to open programs, and return their names.

    `name` is that of the table in the other program, `to` the name of one program, such as
    ``topcat``; by default every program that takes tables gets it. `hub` has the address and secret
    of the hub, by default as in the user's ``.samp`` file. Raises SampError if no hub runs, no such
    program is open, or one does not take the table. It needs pyvo (extra ``archives``).
    """
    from pyvo.samp import SAMPHubError, SAMPIntegratedClient, accessible_table

    client = SAMPIntegratedClient(name="galaxy_da", addr="127.0.0.1")
    try:
        client.connect(hub_params=hub)
    except SAMPHubError as error:
        raise SampError(f"no SAMP hub is running ({error}); open TOPCAT or Aladin first") from error
    try:
        programs = _programs(client, to)
        sent = to_votable(table) if isinstance(table, pa.Table) else table
        with accessible_table(sent) as url:
            parameters = {"url": url, "name": name, "table-id": name}
            message = {"samp.mtype": _MESSAGE, "samp.params": parameters}
            for client_id, program in programs.items():
                _deliver(client, client_id, program, message)
        return tuple(programs.values())
    finally:
        client.disconnect()


def _programs(client: SAMPIntegratedClient, to: str | None) -> dict[str, str]:
    """Return id and name of the programs that take tables."""
    ids = client.get_subscribed_clients(_MESSAGE)
    named = {one: str(client.get_metadata(one).get("samp.name", one)) for one in ids}
    chosen = {one: name for one, name in named.items() if to is None or to.lower() == name.lower()}
    if not chosen:
        wanted = "program" if to is None else f"program named {to!r}"
        others = f"; open are {', '.join(named.values())}" if named else ""
        raise SampError(f"no {wanted} that takes tables is open{others}")
    return chosen


def _deliver(
    client: SAMPIntegratedClient, client_id: str, program: str, message: Mapping[str, Any]
) -> None:
    """Hand over the message and wait for the program's answer.

    The answer comes as a call of our own. `call_and_wait` of pyvo's hub loses an answer that is
    faster than its caller.
    """
    from pyvo.samp import SAMPProxyError

    answers: Queue[Mapping[str, Any]] = Queue()
    client.bind_receive_response(_TAG, lambda _key, _program, _tag, answer: answers.put(answer))
    try:
        client.call(client_id, _TAG, dict(message))
        answer = answers.get(timeout=_WAIT_SECONDS)
    except SAMPProxyError as error:
        raise SampError(f"{program} did not take the table ({error})") from error
    except Empty:
        raise SampError(
            f"{program} gave no answer in {_WAIT_SECONDS:.0f} s; it may still be reading the table"
        ) from None
    if answer.get("samp.status") != "samp.ok":
        reason = answer.get("samp.error", {}).get("samp.errortxt", "no reason given")
        raise SampError(f"{program} did not take the table ({reason})")
