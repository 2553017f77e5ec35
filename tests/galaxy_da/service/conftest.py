import pytest
from fastapi.testclient import TestClient
from service_helpers import Workspace, running


@pytest.fixture(scope="session")
def workspace(tmp_path_factory):
    return Workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="session")
def http(workspace):
    """Application called in process."""
    app = workspace.sharing_app()
    with TestClient(app) as client:
        app.state.service.start()
        yield client


@pytest.fixture(scope="session")
def url(workspace):
    """Address of the application in a real server."""
    app = workspace.sharing_app()
    with running(app) as address:
        app.state.service.start()
        yield address
