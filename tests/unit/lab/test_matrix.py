import tomllib

import pytest

from clipaudit.errors import UsageError
from clipaudit.features.views import ENCODERMI
from clipaudit.inferrers import PAPER
from clipaudit.lab.experiments import EXPERIMENTS
from clipaudit.lab.knowledge import COMBINATIONS
from clipaudit.lab.matrix import Matrix, read_matrix, shipped_matrices
from clipaudit.lab.scale import PretrainOptions
from clipaudit.shadow.config import PretrainConfig
from tests.made.labs import SMALL, matrix_of
from tests.made.present import present

VIEWS = ENCODERMI.id


# --- what comes along ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", shipped_matrices())
def test_a_shipped_matrix_is_valid_under_its_own_name(name):
    matrix = read_matrix(name)
    assert matrix.name == name
    assert read_matrix(str(shipped_matrices()[name])) == matrix


def test_the_papers_matrix_has_both_scales_and_every_experiment():
    matrix = read_matrix("encodermi")
    assert set(matrix.scale) == {"cpu", "paper"}
    kinds = {one.kind for one in matrix.experiment}
    assert kinds == set(EXPERIMENTS) - {"reference", "networks", "clip", "fine-tune"}
    assert matrix.outputs == ("embedding", "trunk")
    assert matrix.kinds == PAPER
    for scale in matrix.scale.values():
        assert len(scale.seeds) >= 3
        sweeps = scale.sweeps
        assert all((sweeps.views, sweeps.target_sizes, sweeps.shadow_sizes, sweeps.epochs))
        assert scale.members in sweeps.target_sizes
        assert scale.members in sweeps.shadow_sizes


def test_the_matrix_of_references_shares_the_encoders_of_the_papers_matrix():
    """In one folder, targets and shadow encoders are those of `encodermi`."""
    papers, ours = (read_matrix(name).scale["cpu"] for name in ("encodermi", "reference"))
    for name in ("seeds", "size_px", "members", "split", "draws", "known", "unknown", "pretrain"):
        assert getattr(ours, name) == getattr(papers, name), name
    weak = read_matrix("reference").scale["weak"]
    assert present(weak.pretrain.epochs) < present(ours.pretrain.epochs) / 4
    assert (weak.members, weak.known, weak.sweeps) == (ours.members, ours.known, ours.sweeps)


def test_the_papers_scale_is_the_papers():
    scale = read_matrix("encodermi").scale["paper"]
    how = scale.options(scale.known.architecture, scale.known.algorithm, VIEWS, 0)
    assert (how.architecture, how.algorithm, how.epochs) == ("resnet18", "mocov1", 1600)
    assert scale.members == 10_000


def test_all_eight_combinations_are_run_where_none_are_named(tmp_path):
    cut = SMALL.replace('combinations = [[], ["data", "architecture", "algorithm"]]\n', "")
    background = matrix_of(tmp_path, cut).experiment[1]
    assert background.knowledge == COMBINATIONS
    assert len({frozenset(one) for one in COMBINATIONS}) == 8
    assert {name for one in COMBINATIONS for name in one} == {"data", "architecture", "algorithm"}


def test_a_sweep_is_run_with_full_knowledge(tmp_path):
    matrix = matrix_of(tmp_path)
    assert matrix.experiment[0].knowledge == (("data", "architecture", "algorithm"),)
    assert [one.name for one in matrix.experiment] == [
        *("views-drawn", "background-drawn", "baselines-drawn", "epochs-drawn"),
    ]


def test_a_matrix_says_what_its_text_says(tmp_path):
    matrix, raw = matrix_of(tmp_path), tomllib.loads(SMALL)
    scale = matrix.scale["cpu"]
    assert matrix.data == raw["data"]
    assert scale.split.counts == {
        **dict.fromkeys(("target-members", "target-nonmembers"), 12),
        **dict.fromkeys(("shadow-members", "shadow-nonmembers"), 12),
        **dict.fromkeys(("probe-train", "probe-test"), 12),
    }
    assert scale.pretrain == PretrainOptions(epochs=120, batch_size=10, learning_rate=2e-3, queue=5)
    assert scale.sweeps.views == (2, 3)


# --- options -------------------------------------------------------------------------------------

LAYERED = (
    SMALL
    + """
[scale.cpu.algorithm.mocov2]
epochs = 7
batch_size = 8
temperature = 0.5
"""
)


def test_the_more_special_option_wins(tmp_path):
    text = LAYERED.replace("[scale.cpu.sweeps]", "learning_rate = 0.5\n\n[scale.cpu.sweeps]")
    scale = matrix_of(tmp_path, text).scale["cpu"]

    def options(architecture, algorithm):
        how = scale.options(architecture, algorithm, VIEWS, 3)
        assert (how.architecture, how.algorithm, how.recipe) == (architecture, algorithm, VIEWS)
        assert how.seed == 3
        return how.epochs, how.batch_size, how.learning_rate, how.temperature, how.queue

    assert options("resnet-tiny", "simclr") == (120, 10, 2e-3, 0.2, 5)
    assert options("resnet-tiny", "mocov2") == (7, 8, 2e-3, 0.5, 5)  # of the algorithm
    assert options("vgg-tiny", "simclr") == (3, 10, 0.5, 0.2, 5)  # of the architecture
    assert options("vgg-tiny", "mocov2") == (3, 8, 0.5, 0.5, 5)  # of both, the architecture first


def test_what_no_option_names_is_as_everywhere(tmp_path):
    text = SMALL.replace("queue = 5\n", "").replace("batch_size = 10\n", "")
    how = matrix_of(tmp_path, text).scale["cpu"].options("resnet18", "byol", VIEWS, 0)
    plain = PretrainConfig(algorithm="byol")
    assert (how.queue, how.batch_size) == (plain.queue, plain.batch_size)
    assert (how.momentum, how.precision) == (plain.momentum, plain.precision)


# --- what is wrong -------------------------------------------------------------------------------

VIEWS_ENTRY = '[[experiment]]\nkind = "views"\ndata = "drawn"\n'
KNOWN = 'known = { architecture = "resnet-tiny", algorithm = "simclr" }'

REFERENCE = '[[experiment]]\nkind = "reference"\ndata = "drawn"\n'

WRONG = {
    "references that are not told of": (VIEWS_ENTRY, REFERENCE, "references and sweeps.passes"),
    "more references than pictures": (
        *("draws = 2", "draws = 2\nreferences = 2"),
        *("scale.cpu", "split.probe"),
    ),
    "an inferrer that reads more than similarities": ('["V", "T"]', '["norm"]', "kinds.0", "'S'"),
    "an unknown kind of experiment": (
        *('kind = "views"', 'kind = "vews"'),
        *("experiment.0.kind", "'views'", "'vews'"),
    ),
    "an unknown data set": ('"drawn"\nunknown', '"drown"\nunknown', "background", "drown", "other"),
    "an unknown data set of the shadow": ('= "other"\ncomb', '= "othr"\ncomb', "othr", "drawn"),
    "an unknown architecture": (
        *('{ architecture = "resnet-tiny"', '{ architecture = "resnet-teeny"'),
        *("scale.cpu.known.architecture", "'resnet-tiny'", "resnet-teeny"),
    ),
    "an unknown algorithm": ('"mocov2"', '"mocov3"', "scale.cpu.unknown.algorithm", "'mocov2'"),
    "options of an unknown architecture": (
        *("architecture.vgg-tiny", "architecture.vgg-teeny"),
        *("scale.cpu.architecture.vgg-teeny", "'vgg-tiny'"),
    ),
    "options of an unknown algorithm": (
        *("[scale.cpu.sweeps]", "[scale.cpu.algorithm.moco]\nqueue = 3\n[scale.cpu.sweeps]"),
        *("scale.cpu.algorithm.moco", "'mocov1'"),
    ),
    "an unknown inferrer": ('["V", "T"]', '["V", "X"]', "kinds.1", "'S'", "'X'"),
    "an unknown output": ('name = "sm', 'outputs = ["head"]\nname = "sm', "outputs.0", "'trunk'"),
    "an unknown piece of knowledge": ('[[], ["data",', '[[], ["date",', "combinations.1.0", "date"),
    "a misspelt key": ("learning_rate", "learning_rat", "pretrain.learning_rat", "no such entry"),
    "a misspelt table": ("[scale.cpu.sweeps]", "[scale.cpu.sweep]", "scale.cpu.sweep:", "no such"),
    "a key too many at the top": ('name = "small"', 'name = "small"\nnote = 1', "note", "no such"),
    "a number as text": ("size_px = 16", 'size_px = "16"', "scale.cpu.size_px", "integer", "'16'"),
    "a number with a point": ("members = 10", "members = 10.5", "scale.cpu.members", "10.5"),
    "a word as a list": ('kind = "views"', 'kind = ["views"]', "experiment.0.kind"),
    "a list as a word": ("seeds = [0]", "seeds = 0", "scale.cpu.seeds", "tuple"),
    "no seeds": ("seeds = [0]", "seeds = []", "scale.cpu: seeds"),
    "a seed twice": ("seeds = [0]", "seeds = [1, 1]", "scale.cpu: seeds", "different"),
    "a seed below zero": ("seeds = [0]", "seeds = [-1]", "scale.cpu.seeds.0", "-1"),
    "the same architecture": ('"vgg-tiny", alg', '"resnet-tiny", alg', "scale.cpu", "architecture"),
    "the same algorithm": ('"mocov2"', '"simclr"', "scale.cpu", "differ in their algorithm"),
    "more members than pictures": ("members = 10", "members = 13", "scale.cpu", "split.target"),
    "a larger target": ("target_sizes = [10, 12]", "target_sizes = [13]", "cpu", "split.target"),
    "a larger shadow": ("shadow_sizes = [10, 12]", "shadow_sizes = [13]", "cpu", "split.shadow"),
    "too few members": ("members = 10", "members = 9", "scale.cpu.members", "10", "9"),
    "an epoch beyond the run": ("epochs = [2, 120]", "epochs = [2, 121]", "cpu", "the 120 epochs"),
    "an epoch before the first": ("epochs = [2, 120]", "epochs = [0, 9]", "sweeps.epochs.0", "0"),
    "one view": ("views = [2, 3]", "views = [1, 3]", "scale.cpu.sweeps.views.0", "1"),
    "an option that cannot work": ("batch_size = 10", "batch_size = 1", "batch_size", "1"),
    "an infinite rate": ("rate = 2e-3", "rate = inf", "learning_rate", "inf"),
    "two experiments of one kind": (
        *(VIEWS_ENTRY, VIEWS_ENTRY * 2),
        *("two experiments are of one kind",),
    ),
    "no data set for the shadow": ('unknown_data = "other"\n', "", "experiment.1", "unknown_data"),
    "the same data set for the shadow": (
        *('unknown_data = "other"', 'unknown_data = "drawn"'),
        *("experiment.1", "another data set"),
    ),
    "a name with a slash": ('name = "small"', 'name = "../small"', "name", "../small"),
    "a data set with a slash": ('other = "other"', '"a/b" = "other"', "data.a/b"),
    "a scale with a slash": ("[scale.cpu]", '[scale."c/pu"]\n[scale.cpu]', "scale.c/pu"),
    "a missing entry": ('about = "for tests"\n', "", "scale.cpu.about", "required"),
    "a missing table": (KNOWN, "", "scale.cpu.known", "required"),
    "no TOML": ("[data]", "[data", "is no TOML", "line 4"),
    "a key twice": ("views = 3\n", "views = 3\nviews = 3\n", "is no TOML", "line"),
    # Twice the same outcome would count every picture twice.
    "a step of a sweep twice": ("views = [2, 3]", "views = [2, 2]", "scale.cpu.sweeps", "views"),
    "a size twice": ("target_sizes = [10, 12]", "target_sizes = [10, 10]", "sweeps", "target_siz"),
    "an inferrer twice": ('["V", "T"]', '["V", "V"]', "kinds", "twice"),
    "an output twice": ('name = "sm', 'outputs = ["trunk", "trunk"]\nname = "sm', "outputs"),
    "a combination twice": ("= [[], [", '= [["algorithm", "data", "architecture"], [', "combina"),
    "a piece of knowledge twice": ("= [[], [", '= [["data", "data"], [', "combinations"),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_a_wrong_entry_is_an_error_that_names_its_place(tmp_path, case):
    before, after, *words = case
    assert before in SMALL
    with pytest.raises(UsageError) as caught:
        matrix_of(tmp_path, SMALL.replace(before, after, 1))
    message = str(caught.value)
    assert caught.value.exit_code == 2
    assert message.startswith(f"{tmp_path / 'matrix.toml'} is no ")
    for word in words:
        assert word in message
    assert "Mend that" in caught.value.hint or "Pass" in caught.value.hint
    assert "pydantic" not in message
    assert "\n" not in message


@pytest.mark.parametrize("table", ["[scale.cpu]", "[[experiment]]"])
def test_a_matrix_without_scales_or_experiments_has_nothing_to_run(tmp_path, table):
    scale = SMALL.index("[scale.cpu]")
    first = SMALL.index("[[experiment]]")
    text = {
        "[scale.cpu]": SMALL[:scale] + "[scale]\n",
        "[[experiment]]": "experiment = []\n" + SMALL[:first] + SMALL[scale:],
    }[table]
    with pytest.raises(UsageError, match=r"scale|experiment"):
        matrix_of(tmp_path, text)


def test_several_wrong_entries_are_counted(tmp_path):
    with pytest.raises(UsageError, match="and 1 more"):
        matrix_of(
            tmp_path, SMALL.replace("size_px = 16", "size_px = 4").replace("draws = 2", "x = 2")
        )


def test_an_option_for_the_unknown_side_is_looked_at_before_anything_is_run(tmp_path):
    text = SMALL.replace(
        "[scale.cpu.sweeps]", "[scale.cpu.algorithm.mocov2]\nbatch_size = 1\n[scale.cpu.sweeps]"
    )
    with pytest.raises(UsageError, match=r"matrix.toml is no matrix: .*batch_size cannot be 1"):
        matrix_of(tmp_path, text)


def test_a_missing_file_is_told_of_with_the_nearest_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="there is no matrix encodermy") as caught:
        read_matrix("encodermy")
    assert "Did you mean encodermi?" in caught.value.hint
    with pytest.raises(UsageError, match=r"there is no matrix mine\.toml") as caught:
        read_matrix("mine.toml")
    assert "encodermi" in caught.value.hint
    assert "Did you mean" not in caught.value.hint


@pytest.mark.parametrize("name", ["", ".", "a\0b"])
def test_what_can_be_no_file_is_no_matrix(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="there is no matrix"):
        read_matrix(name)


def test_bytes_that_are_no_text_are_no_matrix(tmp_path):
    (tmp_path / "matrix.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(UsageError, match="utf-8"):
        read_matrix(str(tmp_path / "matrix.toml"))


def test_a_matrix_cannot_be_changed(tmp_path):
    matrix = matrix_of(tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        matrix.name = "other"
    assert isinstance(matrix, Matrix)
