"""`clipaudit score --engine ray`: the rows of one machine, by several, whatever befalls them.

Each cluster takes some 10 s to start, so most of it is `pytest -m slow`, 2 minutes in all.
"""

import signal
from importlib.util import find_spec

import pytest

from tests.made.clusters import local_cluster
from tests.made.score_runs import clean, draw_pictures, refused, wait_for
from tests.made.shards import samples, write_parquet, write_shard, write_zip

pytestmark = pytest.mark.skipif(
    find_spec("ray") is None, reason="needs ray: pip install '.[ray]' in the checkout"
)


def environment_of(world, folder):
    """What workers find."""
    return {
        "PYTHONPATH": world.pythonpath,
        "CLIPAUDIT_CACHE_DIR": str(folder / "nodes"),
        "PROBE_LOG": str(folder / "node-calls"),
        "HF_HUB_OFFLINE": "1",
    }


def n_calls(folder):
    log = folder / "node-calls"
    return len(log.read_text().split()) if log.exists() else 0


@pytest.fixture(scope="module")
def cluster(world, tmp_path_factory):
    """Two nodes, which no test kills."""
    folder = tmp_path_factory.mktemp("cluster")
    with local_cluster(2, folder, environment_of(world, folder)) as cluster:
        yield cluster


@pytest.fixture
def on_ray(run):
    def call(cluster, *arguments, **how):
        given = ("--engine=ray", f"--ray-address={cluster.address}", "--no-cache")
        return run(*arguments, *given, **how)

    return call


@pytest.fixture
def many(tmp_path):
    """Pictures, two of them the same, and a file that is none."""
    paths = draw_pictures(tmp_path / "many", 40, first=100)
    (tmp_path / "many" / "copy.png").write_bytes(paths[3].read_bytes())
    (tmp_path / "many" / "0120.png").write_bytes(b"no picture")
    return tmp_path / "many"


def rows(done):
    return done.document["rows"]


def test_two_nodes_give_the_rows_of_one_machine(run, on_ray, cluster, many):
    alone = clean(run(many, "--format=json", "--no-cache", inferrers="vst"))
    done = clean(on_ray(cluster, many, "--format=json", inferrers="vst"))
    assert rows(done) == rows(alone)
    assert done.document["summary"] == alone.document["summary"]
    assert done.err == alone.err
    config = done.document["run"]["config"]
    assert config["engine"] == "ray"
    assert "ray_address" not in config


@pytest.mark.slow
def test_archives_and_a_draw_of_files_give_the_rows_of_one_machine(run, on_ray, cluster, tmp_path):
    files = [path.read_bytes() for path in draw_pictures(tmp_path / "loose", 24)]
    write_shard(tmp_path / "packed" / "0.tar", samples(files[:8], ending="png"))
    write_zip(tmp_path / "packed" / "1.zip", samples(files[8:16], ending="png"))
    write_parquet(tmp_path / "packed" / "2.parquet", [*files[12:20], b"no picture", None])
    (tmp_path / "packed" / "3.tar").write_bytes((tmp_path / "packed" / "0.tar").read_bytes()[:900])
    for arguments in (("loose", "packed"), ("packed", "--limit=9"), ("loose", "--shard=2/3")):
        alone = clean(run(*arguments, "--format=json", "--no-cache", cwd=tmp_path))
        done = clean(on_ray(cluster, *arguments, "--format=json", cwd=tmp_path))
        assert rows(done) == rows(alone)


@pytest.mark.slow
def test_a_node_that_is_killed_loses_and_doubles_no_row(run, on_ray, world, tmp_path):
    draw_pictures(tmp_path / "many", 80)
    encoder = "probe:slow=0.1"
    alone = clean(run(tmp_path / "many", "--format=json", "--no-cache"))
    with local_cluster(2, tmp_path, environment_of(world, tmp_path)) as cluster:
        how = ("--format=json", "--batch-size=2")
        running = on_ray(cluster, tmp_path / "many", *how, encoder=encoder, start=True)
        wait_for(lambda: n_calls(tmp_path) >= 16, running, 60)
        cluster.kill_node()
        done = clean(running.wait(120))
    assert rows(done) == rows(alone)
    assert "a worker on node" in done.err
    assert "scored again elsewhere" in done.err


@pytest.mark.slow
def test_ctrl_c_gives_the_rows_that_are_done(on_ray, run, cluster, tmp_path):
    draw_pictures(tmp_path / "many", 200)
    how = ("--batch-size=2", "--format=json")
    running = on_ray(cluster, tmp_path / "many", *how, encoder="probe:slow=0.1", start=True)
    folder = cluster.folder
    before = n_calls(folder)
    wait_for(lambda: n_calls(folder) >= before + 24, running, 60)
    running.signal(signal.SIGINT)
    done = clean(running.wait(), 130)
    assert 0 < len(rows(done)) < 200
    assert done.document["run"]["interrupted"]


@pytest.mark.slow
def test_what_a_node_lacks_is_said_with_its_name(on_ray, world, cluster, tmp_path):
    encoder = "probe:bad=raise,good=6"
    done = clean(on_ray(cluster, world.pictures, "--batch-size=1", encoder=encoder), 4)
    assert "failed with 5 views: KeyError" in done.err
    assert "hint:  It was raised on node 1" in done.err
    assert "of the Ray cluster. An encoder must take any number" in done.err


@pytest.mark.slow
def test_pictures_that_end_every_worker_stop_the_run(on_ray, world, cluster):
    encoder = "probe:bad=killed,good=4"
    done = on_ray(cluster, world.pictures, "--batch-size=1", encoder=encoder)
    assert done.code == 4
    assert "error: 3 workers ended over the same pictures, the last on node 1" in done.err


@pytest.mark.slow
def test_without_an_address_a_ray_of_this_machine_runs_for_so_long(run, world, tmp_path):
    alone = clean(run(world.pictures, "--format=json", "--no-cache"))
    done = clean(run(world.pictures, "--format=json", "--no-cache", "--engine=ray"))
    assert rows(done) == rows(alone)
    assert done.err == ""


def test_a_cluster_that_is_not_there_is_an_error(run, world):
    error = refused(run(world.pictures, "--engine=ray", "--ray-address=127.0.0.1:9"), 4)
    assert "the Ray cluster 127.0.0.1:9 does not answer" in error
