import pytest
from fastapi.testclient import TestClient
from service_helpers import Stage, running


@pytest.fixture(scope="session")
def stage(tmp_path_factory):
    return Stage(tmp_path_factory.mktemp("stage"))


@pytest.fixture(scope="session")
def http(stage):
    """The app, called in process."""
    with TestClient(stage.app()) as client:
        yield client


@pytest.fixture(scope="session")
def url(stage):
    """The app in a real server."""
    with running(stage.app()) as address:
        yield address
