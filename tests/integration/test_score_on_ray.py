"""`clipaudit score --engine ray`: the rows of one machine, by several, whatever befalls them."""

import signal
from importlib.util import find_spec

import pytest

from tests.integration.test_shards import shards  # noqa: F401 - a fixture
from tests.made.clusters import local_cluster
from tests.made.score_runs import clean, draw_pictures, refused, wait_for

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="needs ray: pip install '.[ray]'"),
]


@pytest.fixture
def cluster(world, tmp_path):
    environment = {
        "PYTHONPATH": world.pythonpath,
        "CLIPAUDIT_CACHE_DIR": str(tmp_path / "nodes"),
        "PROBE_LOG": str(tmp_path / "calls"),
        "HF_HUB_OFFLINE": "1",
    }
    with local_cluster(2, tmp_path, environment) as cluster:
        yield cluster


@pytest.fixture
def on_ray(run, cluster):
    def call(*arguments, **how):
        given = ("--engine=ray", f"--ray-address={cluster.address}", "--no-cache")
        return run(*arguments, *given, **how)

    return call


def rows(done):
    return done.document["rows"]


def test_two_nodes_give_the_rows_of_one_machine(run, on_ray, world, tmp_path):
    many = tmp_path / "many"
    paths = draw_pictures(many, 40, first=100)
    (many / "copy.png").write_bytes(paths[3].read_bytes())
    (many / "0120.png").write_bytes(b"no picture")
    alone = clean(run(many, "--format=json", "--no-cache", inferrers="vst"))
    done = clean(on_ray(many, "--format=json", inferrers="vst"))
    assert rows(done) == rows(alone)
    assert done.document["summary"] == alone.document["summary"]
    print(done.err)
