"""OpenAPI schema against the application: no answer is undocumented or a server error."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from service_helpers import running

from galaxy_da.service.jobs.queue import JobQueue
from galaxy_da.service.parts import JobSettings

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


schemathesis.serializer.alias("application/vnd.apache.parquet", "application/octet-stream")


@pytest.fixture(scope="session")
def described(workspace, tmp_path_factory):
    """Schema of a running service; without its lifespan, no job runs."""
    jobs = JobSettings(queue=JobQueue(tmp_path_factory.mktemp("schema")), space="decals")
    app = workspace.sharing_app(jobs=jobs)
    app.state.service.start()
    with running(app, lifespan="off") as url:
        yield schemathesis.openapi.from_url(f"{url}/openapi.json")


def test_every_operation_answers_as_documented(described):
    tried = 0
    for found in described.get_all_operations():
        operation = found.ok()

        @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy())
        def answers(case):
            nonlocal tried
            case.call_and_validate(checks=CHECKS, timeout=60)
            tried += 1

        answers()
    assert tried > 200


def test_every_route_has_a_description(described, http):
    paths = http.get("/openapi.json").json()["paths"]
    assert len(paths) > 20
    for path, operations in paths.items():
        for operation in operations.values():
            assert operation["summary"] and operation.get("description"), path
