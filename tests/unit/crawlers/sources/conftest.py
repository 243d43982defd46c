"""The way to the service that a module's own `service` runs."""

import pytest


@pytest.fixture
def web(service):
    with service.web() as way:
        yield way
