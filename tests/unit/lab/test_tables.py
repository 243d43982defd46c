import pytest

from clipaudit.cli.app import main
from clipaudit.errors import InputError
from clipaudit.lab.experiments import EXPERIMENTS, experiment_kind
from clipaudit.lab.knowledge import COMBINATIONS, setting_of
from clipaudit.lab.paper import Reported
from clipaudit.lab.results import write_results
from clipaudit.lab.tables import DOWNSTREAM, QUANTITIES, Cost, costs, tables
from tests.made.outcomes import FACTS, KINDS, WITH_DOWNSTREAM, outcome, results, tables_of
from tests.made.present import present


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    write_results(folder, results())
    return folder


def called(capsys, *arguments):
    """Exit code, stdout and stderr of `clipaudit lab`, in this process."""
    with pytest.raises(SystemExit) as caught:
        main(["lab", *map(str, arguments)])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return caught.value.code or 0, said.out, said.err


def slow_mean(setting, method, output, quantity, kind):
    """The mean over the three repetitions, by counting."""
    shares = []
    for one in results().outcomes:
        if (one.experiment, one.setting, one.method, one.output) == (
            *(f"{kind}-cifar10", setting, method, output),
        ):
            called_members = one.found + one.accused
            shares.append(
                {
                    "accuracy": (one.found + one.spared) / 100,
                    "precision": one.found / called_members,
                    "recall": one.found / 50,
                    "fpr": one.accused / 50,
                    "auc": one.auc,
                    "tpr-at-1-percent": one.found_at_1_percent / 50,
                }[quantity]
            )
    assert len(shares) == 3
    return sum(shares) / 3


# --- tables --------------------------------------------------------------------------------------


def test_tables_come_in_the_order_of_the_matrix_with_a_table_an_output():
    made = tables_of()
    assert [(one.kind, one.output) for one in made] == [
        (kind, output) for kind in KINDS for output in ("embedding", "trunk")
    ]


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_every_figure_is_the_mean_over_the_repetitions(quantity):
    for table in tables_of(quantity):
        assert table.quantity == quantity
        for row in table.rows:
            assert list(row.figures) == list(table.methods)
            assert row.n_seeds == 3
            for method, figure in row.figures.items():
                mean = slow_mean(row.setting, method, table.output, quantity, table.kind)
                assert figure.value == pytest.approx(mean)
                assert figure.low <= figure.value <= figure.high


def test_rows_and_columns_are_in_the_order_of_the_matrix():
    for table in tables_of():
        assert tuple(row.setting for row in table.rows) == KINDS[table.kind]
        expected = ("V", "S", "T", "image alone") if table.kind == "baselines" else ("V", "S", "T")
        assert table.methods == expected


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_the_papers_numbers_stand_beside_the_accuracy_on_the_trunk_alone(quantity):
    background = {one.output: one for one in tables_of(quantity) if one.kind == "background"}
    assert set(background) == {"embedding", "trunk"}
    for output, table in background.items():
        is_papers = (quantity, output) == ("accuracy", "trunk")
        assert {row.setting: row.paper for row in table.rows} == {
            "nothing": {},
            "architecture": {"V": Reported(0.868, 0.868)} if is_papers else {},
            "data + architecture + algorithm": {},
        }


def test_every_setting_of_the_paper_is_one_that_a_matrix_can_have():
    combinations = {setting_of(one) for one in COMBINATIONS}
    for kind in EXPERIMENTS:
        if kind == "networks":  # whose settings are algorithms
            continue
        for _, setting, method in experiment_kind(kind).reported:
            assert method in "VST"
            assert setting in combinations if kind == "background" else int(setting) > 0
    assert set(EXPERIMENTS) == {*KINDS, "networks", "clip", "fine-tune"}  # not the paper's
    reported = experiment_kind("background").reported
    assert reported["tiny-imagenet", "algorithm", "V"].low == 0.941
    assert ("tiny-imagenet", "algorithm", "S") not in reported
    assert str(Reported(0.8, 0.83)) == "80.0 to 83.0 %"
    assert str(Reported(0.868, 0.868)) == "86.8 %"


def test_the_downstream_classifier_has_its_accuracy_where_there_is_one():
    for table in tables_of():
        for column, row in enumerate(table.rows):
            if table.kind in WITH_DOWNSTREAM:
                assert row.downstream.value == pytest.approx((21 + column) / 40)
                assert row.downstream.n == 120
            else:
                assert row.downstream is None


def test_what_is_missing_of_a_setting_is_no_figure_and_not_nought():
    some = (outcome(30, 5), outcome(40, 5, method="T"), outcome(20, 5, setting="2"))
    (table,) = tables(results(outcomes=some, downstream=()))
    assert table.methods == ("V", "T")
    assert [row.setting for row in table.rows] == ["10", "2"]
    assert table.rows[1].figures["T"] is None
    assert present(table.rows[1].figures["V"]).value == pytest.approx(0.65)
    (table,) = tables(results(outcomes=(outcome(0, 0),), downstream=()), "precision")
    assert table.rows[0].figures["V"] is None


def test_members_found_at_1_percent_are_unknown_where_they_were_not_counted():
    some = (outcome(30, 5), outcome(30, 5, method="T", at_1_percent=20))
    (table,) = tables(results(outcomes=some, downstream=()), "tpr-at-1-percent")
    assert table.rows[0].figures["V"] is None
    assert present(table.rows[0].figures["T"]).value == pytest.approx(0.4)


def test_results_of_an_experiment_that_does_not_exist_are_an_error_of_ours():
    some = (outcome(30, 5, experiment="vews-cifar10"),)
    experiments = {"vews-cifar10": {"kind": "vews", "data": "cifar10", "unknown_data": ""}}
    with pytest.raises(InputError, match="no kind of experiment called vews") as caught:
        tables(results(outcomes=some, downstream=(), experiments=experiments))
    assert "views" in caught.value.hint


def test_no_outcomes_are_no_tables():
    assert tables(results(outcomes=())) == []


def test_costs_are_added_up_by_architecture_and_algorithm():
    assert costs(results()) == {
        "resnet-tiny, simclr": Cost(1, 1.0, 0.25),
        "resnet-tiny, byol": Cost(1, 1.0, 0.0),
        "all": Cost(2, 2.0, 0.125),
    }
    assert costs(results(encoders=(FACTS,) * 3))["all"] == Cost(3, 3.0, 0.25)
    assert costs(results(encoders=()))["all"] == Cost(0, 0.0, 0.0)


# --- the command ---------------------------------------------------------------------------------


def cells_of(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_markdown_holds_every_figure(lab, capsys):
    code, out, err = called(capsys, "show", lab, "--no-draw", "-f", "md")
    assert (code, err) == (0, "")
    assert out.startswith("small, scale cpu: for tests. 2 encoders, 2.0 hours of pre-training on")
    sections = out.split("\n### ")[1:]
    for table, section in zip(tables_of(), sections, strict=True):
        title, *lines = section.splitlines()
        assert title == table.title
        rows = [cells_of(line) for line in lines if line.startswith("|")]
        head, rule, *body = rows
        assert set("".join(rule)) == {"-"}
        assert {len(row) for row in rows} == {len(head)}
        assert head[: 1 + len(table.methods)] == [table.facts.setting, *table.methods]
        assert (DOWNSTREAM in head) == (table.kind in WITH_DOWNSTREAM)
        assert ("paper" in head) == ((table.kind, table.output) == ("background", "trunk"))
        for row, cells in zip(table.rows, body, strict=True):
            assert cells[0] == row.setting
            for method, cell in zip(table.methods, cells[1:], strict=False):
                one = row.figures[method]
                assert cell == f"{one.value:.3f} ({one.low:.3f}–{one.high:.3f})"
            assert cells[-1] == "3 (n = 300)"
        if words := table.facts.remark:
            assert (words in section) == (table.output == "embedding")
    assert "V 86.8 %" in out
    assert "\x1b" not in out


@pytest.mark.parametrize("width", [80, 200])
def test_a_terminal_gets_the_same_figures_and_its_width(lab, capsys, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    code, out, err = called(capsys, "show", lab, "--no-draw")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= width
    words = " ".join(out.split())
    for table in tables_of():
        assert table.title in words
        for row in table.rows:
            for one in row.figures.values():
                assert f" {one.value:.3f} " in out
                assert f" {one.low:.3f}–{one.high:.3f} " in out
    assert "What it cost" in out
    assert "12.5%" in out or "12.5 %" in out


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_every_quantity_can_be_shown(lab, capsys, quantity):
    code, out, _ = called(
        capsys, "show", lab, "--no-draw", "--quantity", quantity, "--format", "md"
    )
    assert code == 0
    said = {"tpr-at-1-percent": "TPR at 1 % FPR"}.get(quantity, quantity)
    assert f", embedding output, {said}" in out
    assert ("86.8 %" in out.replace("about 86.8 %", "")) == (quantity == "accuracy")


@pytest.mark.parametrize(
    ("given", "expected", "message", "hint"),
    [
        (["--quantity", "accurracy"], 2, "--quantity accurracy", "accuracy, precision"),
        (["--format", "csv"], 2, "--format csv", "table, md"),
        (["-f", ""], 2, "--format", "table, md"),
    ],
)
def test_a_wrong_option_is_a_message_and_an_exit_code(lab, capsys, given, expected, message, hint):
    code, out, err = called(capsys, "show", lab, *given)
    said, _, advice = " ".join(err.split()).partition("hint:")
    assert (code, out) == (expected, "")
    assert message in said
    assert hint in advice


def test_a_folder_without_results_is_a_message_and_exit_code_3(capsys, tmp_path):
    code, out, err = called(capsys, "show", tmp_path)
    assert (code, out) == (3, "")
    assert "clipaudit lab run" in err


def test_names_from_a_file_are_text_and_no_markup(capsys, tmp_path):
    odd = [outcome(30, 5, method="[red]V[/red]")]
    write_results(tmp_path, results(outcomes=tuple(odd), downstream=(), about="[b]x[/b] [/nope]"))
    for style in ("table", "md"):
        code, out, _ = called(capsys, "show", tmp_path, "--no-draw", "-f", style)
        assert code == 0
        assert "[red]V[/red]" in out
        assert "[b]x[/b] [/nope]" in out
