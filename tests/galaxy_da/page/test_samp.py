"""Tables sent from the page to a program on the same machine, through a real SAMP hub."""

import socket
import threading

import pytest
from astropy.table import Table
from browser_helpers import cards, visit

samp = pytest.importorskip("pyvo.samp", reason="pyvo is not installed")

KEY = "decals:decals-0003"
PORT = 21012
"""Port of the Web Profile, fixed by the standard."""


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with socket.socket() as probe:
        if probe.connect_ex(("localhost", PORT)) == 0:
            pytest.skip(f"another SAMP hub runs on port {PORT}")
    lockfile = tmp_path / "samp"
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:file://{lockfile}")
    consent = samp.WebProfileDialog()
    consent.show_dialog = lambda *asked: consent.consent()
    with samp.conf.set_temp("use_internet", False):
        running = samp.SAMPHubServer(
            addr="127.0.0.1", lockfile=str(lockfile), web_profile_dialog=consent
        )
        running.start()
    stopped = threading.Event()

    def answer():
        while not stopped.wait(0.05):
            consent.handle_queue()

    asking = threading.Thread(target=answer)
    asking.start()
    yield running
    stopped.set()
    asking.join()
    running.stop()


def test_results_are_sent_to_an_open_program(page, hub):
    client = samp.SAMPIntegratedClient(name="topcat", addr="127.0.0.1")
    client.connect()
    got, arrived = [], threading.Event()

    def receive(key, sender, mtype, params, extra):
        got.append(Table.read(params["url"], format="votable"))
        arrived.set()

    client.bind_receive_notification("table.load.votable", receive)
    page.expected.append(f"localhost:{PORT}")
    try:
        visit(page, f"/similar?like={KEY}&k=12")
        page.locator("main .menu summary").click()
        page.get_by_role("button", name="Send to TOPCAT").click()
        page.wait_for_selector("#status:has-text('Sent to 1 program')")
        assert arrived.wait(15)
    finally:
        client.disconnect()
    keys = [f"{survey}:{one}" for survey, one in got[0].iterrows("survey", "object_id")]
    assert keys == cards(page)
    assert str(got[0]["ra"].unit) == "deg"


def test_missing_hub_is_explained(page):
    with socket.socket() as probe:
        if probe.connect_ex(("localhost", PORT)) == 0:
            pytest.skip(f"another SAMP hub runs on port {PORT}")
    page.expected.append("ERR_CONNECTION_REFUSED")
    page.expected.append(f"localhost:{PORT}")
    visit(page, f"/similar?like={KEY}&k=12")
    page.locator("main .menu summary").click()
    page.get_by_role("button", name="Send to TOPCAT").click()
    page.wait_for_selector("#status:has-text('Open TOPCAT or Aladin first')")
