"""Tables sent through a SAMP hub to another program, all on this machine."""

import pyarrow as pa
import pytest
from astropy.table import Table

from galaxy_da.io.samp import SampError, send_table

samp = pytest.importorskip("pyvo.samp", reason="pyvo is not installed")

TABLE = pa.table(
    {"object_id": ["a", "b"], "ra": [10.5, 11.5], "dec": [1.0, -2.0], "n": pa.array([1, None])}
)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:file://{tmp_path}/samp")
    with samp.conf.set_temp("use_internet", False):
        running = samp.SAMPHubServer(
            web_profile=False, addr="127.0.0.1", lockfile=str(tmp_path / "samp")
        )
        running.start()
        yield running
        running.stop()


@pytest.fixture
def program(hub):
    """Another program, which reads the tables it is sent."""
    client = samp.SAMPIntegratedClient(name="topcat", addr="127.0.0.1")
    client.connect()
    client.tables, client.answer = [], {"samp.status": "samp.ok", "samp.result": {}}

    def receive(key, sender, message_id, mtype, params, extra):
        client.tables.append((params["name"], Table.read(params["url"], format="votable")))
        client.reply(message_id, client.answer)

    client.bind_receive_call("table.load.votable", receive)
    yield client
    client.disconnect()


def test_program_receives_the_table_with_units(program):
    assert send_table(TABLE, "spirals") == ("topcat",)
    ((name, table),) = program.tables
    assert name == "spirals"
    assert list(table["object_id"]) == ["a", "b"]
    assert list(table["ra"]) == [10.5, 11.5]
    assert str(table["ra"].unit) == "deg"
    assert table["n"].mask.tolist() == [False, True]


def test_astropy_table_goes_to_the_named_program(program):
    assert send_table(Table({"x": [1.5]}), to="TOPCAT") == ("topcat",)
    assert list(program.tables[0][1]["x"]) == [1.5]
    with pytest.raises(SampError, match=r"no program named 'aladin' .* is open; open are topcat"):
        send_table(TABLE, to="aladin")


def test_silent_program_is_named(program, monkeypatch):
    monkeypatch.setattr("galaxy_da.io.samp._WAIT_SECONDS", 0.2)
    program.reply = lambda message_id, answer: None
    with pytest.raises(SampError, match="topcat gave no answer"):
        send_table(TABLE)


def test_refusal_is_an_error_with_its_reason(program):
    program.answer = {
        "samp.status": "samp.error",
        "samp.error": {"samp.errortxt": "out of memory"},
        "samp.result": {},
    }
    with pytest.raises(SampError, match=r"topcat did not take the table \(out of memory\)"):
        send_table(TABLE)


def test_no_program_and_no_hub_are_named(hub):
    with pytest.raises(SampError, match="no program that takes tables is open"):
        send_table(TABLE)
    hub.stop()
    with pytest.raises(SampError, match="no SAMP hub is running"):
        send_table(TABLE)
