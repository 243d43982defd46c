"""`--engine ray`: the rows of one machine, by several, whatever befalls them.

Each cluster takes some 10 s to start, so most of it is `pytest -m slow`, 2 minutes in all.
"""

import signal
from importlib.util import find_spec

import pytest

from clipaudit.features.views import ENCODERMI
from clipaudit.inferrers import reads_of
from clipaudit.inferrers.base import Inferrer
from clipaudit.inferrers.caption import CaptionLossRule
from clipaudit.inferrers.library import save
from clipaudit.inferrers.norm import NormRule
from clipaudit.inferrers.threshold import MeanRule
from tests.made.clusters import local_cluster
from tests.made.inferrers import toy_card
from tests.made.score_runs import N_VIEWS, clean, draw_pictures, refused, wait_for
from tests.made.shards import samples, write_parquet, write_shard, write_zip
from tests.made.text_towers import open_clip_folder
from tests.services.object_store import object_store, upload

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
def test_addresses_give_the_rows_of_one_machine(run, on_ray, world, tmp_path):
    files = [path.read_bytes() for path in draw_pictures(tmp_path / "set" / "loose", 8)]
    write_shard(tmp_path / "set" / "packed.tar", samples(files[2:], ending="png"))
    with object_store() as (client, leading_there):
        address = upload(client, "set", tmp_path / "set")
        environment = {**leading_there, "HF_HUB_OFFLINE": "0"}
        alone = clean(run(address, "--format=json", "--no-cache", env=environment))
        nodes = {**environment_of(world, tmp_path), **environment}
        with local_cluster(2, tmp_path, nodes) as cluster:
            done = clean(on_ray(cluster, address, "--format=json", env=environment))
    assert len(rows(alone)) == 14
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


# --- captions, references, evaluate and calibrate ------------------------------------------------

SIDES = ("members", "nonmembers")
N_A_SIDE = 12
WORDS = ("red", "blue", "green", "small", "large", "round", "flat", "cat", "dog", "tree", "house")


@pytest.fixture(scope="module")
def captioned(tmp_path_factory):
    """A set with sidecar captions, inferrers, and two encoders of pictures and captions."""
    folder = tmp_path_factory.mktemp("captioned")
    for first, side in enumerate(SIDES):
        for path in draw_pictures(folder / "set" / side, N_A_SIDE, first=500 * (first + 1)):
            n = int(path.stem)
            path.with_suffix(".txt").write_text(" ".join(WORDS[n * k % 11] for k in (1, 3, 7)))
    (folder / "set" / "members" / "0503.txt").write_text("one " * 40)  # more than the context
    (folder / "set" / "members" / "0504.txt").unlink()
    for name, kind, rule, has_reference in (
        ("loss", "caption-loss", CaptionLossRule(), False),
        ("loss-reference", "caption-loss", CaptionLossRule(), True),
        ("norm-reference", "norm", NormRule(), True),
        ("mean", "T", MeanRule(), False),
    ):
        reads = reads_of(
            kind, "cosine", N_VIEWS, ENCODERMI.id, "embedding", has_reference=has_reference
        )
        save(Inferrer(toy_card(name, kind, reads, 0.0), rule), folder / name)
    open_clip_folder(folder / "encoder", lambda _: None)
    open_clip_folder(folder / "reference", _negate)
    return folder


def _negate(model):
    """Make another encoder of one, by its last layer."""
    model.text_projection.data.neg_()
    model.visual.proj.data[::2].neg_()


@pytest.fixture
def on_both(warm, captioned, cluster, tmp_path):
    """Run a subcommand on this machine, then on the cluster; with what each wrote in a folder."""

    def call(command, *arguments, inferrers):
        for where, engine in (
            ("alone", ()),
            ("cluster", ("--engine=ray", f"--ray-address={cluster.address}")),
        ):
            environment = {
                "CLIPAUDIT_CACHE_DIR": str(tmp_path / where),
                "COLUMNS": "100",
                "HF_HUB_OFFLINE": "1",
            }
            running = warm.start(
                command,
                *arguments,
                f"--encoder=local-dir:{captioned / 'encoder'}",
                f"--reference=local-dir:{captioned / 'reference'}",
                *(f"--inferrer={captioned / name}" for name in inferrers),
                f"--views={N_VIEWS}",
                "--captions=sidecar",
                "--device=cpu",
                "--backend=torch",
                "--workers=0",
                *engine,
                env=environment,
            )
            yield clean(running.wait(240)), tmp_path / where

    return call


EVERY = ("loss", "loss-reference", "norm-reference", "mean")


@pytest.mark.slow
def test_captions_and_a_reference_give_the_rows_of_one_machine(on_both, captioned):
    ran = on_both("score", captioned / "set", "--format=json", inferrers=EVERY)
    (alone, _), (done, _) = ran
    assert len(rows(done)) == len(rows(alone))
    for row, expected in zip(rows(done), rows(alone), strict=True):
        # Captions are embedded block by block, so their scores may differ by a rounding.
        for finding, other in zip(row["findings"], expected["findings"], strict=True):
            if "loss" in finding["inferrer"]:
                assert finding.pop("score") == pytest.approx(other.pop("score"), abs=1e-5)
        assert row == expected
    assert done.document["summary"] == alone.document["summary"]
    assert done.document["run"]["references"] == alone.document["run"]["references"]
    assert facts(done) == facts(alone)
    assert done.document["run"]["captions"]["n_with"] == len(SIDES) * N_A_SIDE - 1
    assert done.document["run"]["captions"]["n_cut"] == 1


def facts(done):
    """What a run says of its captions; notes on their source stay in the workers."""
    return {**done.document["run"]["captions"], "notes": None}


@pytest.mark.slow
def test_an_evaluation_is_that_of_one_machine(on_both, captioned):
    ran = on_both("evaluate", captioned / "set", "--format=json", inferrers=EVERY)
    (alone, _), (done, _) = ran
    assert facts(done) == facts(alone)
    assert {**done.document, "run": None} == {**alone.document, "run": None}


@pytest.mark.slow
def test_a_calibration_is_that_of_one_machine(on_both, captioned):
    members, nonmembers = (captioned / "set" / side for side in SIDES)
    sets = (f"--members={members}", f"--nonmembers={nonmembers}")
    (alone, of_one), (done, of_cluster) = on_both("calibrate", *sets, inferrers=EVERY)
    assert b"kept in" in alone.out
    assert done.out.replace(bytes(of_cluster), bytes(of_one)) == alone.out
