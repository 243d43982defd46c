from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from clipaudit.errors import UsageError
from clipaudit.features.signals import SIMILARITIES
from clipaudit.features.views import ENCODERMI, OVERLAPS
from clipaudit.lab.knowledge import NOTHING, setting_of
from clipaudit.lab.matrix import read_matrix
from clipaudit.lab.plan import data_sets, make_plan
from clipaudit.lab.scale import SplitSizes
from clipaudit.lab.units import Fit, Look, Unit, encoder_key
from clipaudit.shadow.config import ALGORITHMS
from tests.made.labs import SMALL, made_up_splits, matrix_of

LAB = Path("lab")
EVERYTHING = "data + architecture + algorithm"


@pytest.fixture(scope="module")
def paper():
    """The paper's matrix on the scale for two cores, with all its experiments."""
    return read_matrix("encodermi")


@pytest.fixture(scope="module")
def plan(paper):
    return planned(paper)


def planned(matrix, scale="cpu", splits=None, **changes):
    small = matrix.scale[scale].model_copy(update=changes)
    splits = splits or made_up_splits(matrix.model_copy(update={"scale": {scale: small}}), scale)
    return make_plan(matrix, small, LAB, splits)


def only(matrix, *kinds):
    some = tuple(one for one in matrix.experiment if one.kind in kinds)
    return matrix.model_copy(update={"experiment": some})


def what(unit):
    how = unit.pretrain
    return (
        *(unit.data, unit.role, unit.seed, unit.n_members),
        *(how.architecture, how.algorithm, how.recipe),
    )


# --- which encoders ------------------------------------------------------------------------------


def test_the_papers_matrix_needs_these_encoders_and_no_more(paper, plan):
    plain, views = ("resnet-tiny", "simclr"), ENCODERMI.id
    expected = set()
    for seed in (0, 1, 2):
        for data in ("cifar10", "tiny-imagenet"):  # background knowledge
            expected.add((data, "target", seed, 100, *plain, views))
            expected |= {
                (data, "shadow", seed, 100, architecture, algorithm, views)
                for architecture in ("resnet-tiny", "vgg-tiny")
                for algorithm in ("simclr", "mocov2")
            }
        for recipe in OVERLAPS:  # augmentations
            expected.add(("cifar10", "target", seed, 100, *plain, recipe.id))
        for size in (50, 200):  # sizes; 100 is there already
            expected.add(("cifar10", "target", seed, size, *plain, views))
            expected.add(("cifar10", "shadow", seed, size, *plain, views))
        for algorithm in ("mocov1", "byol"):  # algorithms; the others are there already
            expected.add(("cifar10", "shadow", seed, 100, "resnet-tiny", algorithm, views))
    assert Counter(map(what, plan.units.values())) == Counter(expected)
    assert len(plan.units) == 3 * 21
    assert paper.scale["cpu"].known.architecture == "resnet-tiny"


N_ENCODERS = {
    "background": 2 + 8,  # a target and four shadows a data set
    "views": 2,
    "similarity": 2,
    "epochs": 2,
    "baselines": 2,
    "augmentations": 1 + 5,
    "target-size": 1 + 3,
    "shadow-size": 1 + 3,
    "algorithms": 1 + 4,
}


@pytest.mark.parametrize(("kind", "n"), N_ENCODERS.items())
def test_an_experiment_alone_needs_so_many_encoders_a_repetition(paper, kind, n):
    plan = planned(only(paper, kind), seeds=(0, 1))
    assert Counter(unit.seed for unit in plan.units.values()) == {0: n, 1: n}


N_CELLS = {
    "background": 8 + 5,
    "views": 7,
    "similarity": 3,
    "epochs": 6,
    "baselines": 1,
    "augmentations": 5,
    "target-size": 3,
    "shadow-size": 3,
    "algorithms": 4,
}


def test_every_experiment_has_its_cells_for_every_seed(paper, plan):
    counts = Counter(cell.experiment.partition("-cifar")[0] for cell in plan.cells)
    background = counts.pop("background-tiny-imagenet") + counts.pop("background")
    assert counts | {"background": background} == {kind: 3 * n for kind, n in N_CELLS.items()}
    assert len(plan.cells) == len({(one.experiment, one.setting, one.seed) for one in plan.cells})


SETTINGS = {
    "views": ["2", "4", "6", "8", "10", "14", "20"],
    "similarity": list(SIMILARITIES),
    "epochs": ["75", "150", "300", "600", "900", "1200"],
    "augmentations": [recipe.name for recipe in OVERLAPS],
    "target-size": ["50", "100", "200"],
    "algorithms": list(ALGORITHMS),
    "baselines": ["everything"],
}


@pytest.mark.parametrize(("kind", "settings"), SETTINGS.items())
def test_settings_come_in_the_order_of_the_matrix(plan, kind, settings):
    cells = [one for one in plan.cells if one.experiment == f"{kind}-cifar10" and one.seed == 1]
    assert [cell.setting for cell in cells] == settings


def test_a_cell_has_what_its_setting_says(plan):
    def cells(kind):
        return {
            one.setting: one
            for one in plan.cells
            if one.experiment == f"{kind}-cifar10" and one.seed == 0
        }

    assert {name: one.n_views for name, one in cells("views").items()} == {
        str(n): n for n in (2, 4, 6, 8, 10, 14, 20)
    }
    assert all(one.similarity == name for name, one in cells("similarity").items())
    sizes = {name: plan.units[one.target].n_members for name, one in cells("target-size").items()}
    assert sizes == {"50": 50, "100": 100, "200": 200}
    sizes = {name: plan.units[one.shadow].n_members for name, one in cells("shadow-size").items()}
    assert sizes == {"50": 50, "100": 100, "200": 200}
    for name, one in cells("algorithms").items():
        assert plan.units[one.shadow].pretrain.algorithm == name
        assert plan.units[one.target].pretrain.algorithm == "simclr"
    for name, one in cells("augmentations").items():
        assert plan.units[one.target].pretrain.recipe == f"{name}@1"
        assert plan.units[one.shadow].pretrain.recipe == ENCODERMI.id
        assert one.has_probe
        assert not one.has_shadow_probe
    assert {name: one.epoch for name, one in cells("epochs").items()} == {
        **{str(epoch): epoch for epoch in (75, 150, 300, 600, 900)},
        "1200": None,  # the finished one
    }
    assert len({one.target for one in cells("epochs").values()}) == 1
    assert cells("baselines")["everything"].has_shadow_probe


def test_an_encoder_is_kept_at_the_epochs_that_are_looked_at(paper):
    plan = planned(only(paper, "epochs"), seeds=(0,))
    (target,) = (one for one in plan.units.values() if one.role == "target")
    (shadow,) = (one for one in plan.units.values() if one.role == "shadow")
    assert target.snapshots == (75, 150, 300, 600, 900)
    assert set(target.probes) == {None, 75, 150, 300, 600, 900}
    assert shadow.snapshots == ()
    assert shadow.probes == ()


# --- strangers -----------------------------------------------------------------------------------


def test_target_and_shadow_have_other_pictures_and_begin_with_other_weights(paper):
    splits = made_up_splits(paper)
    plan = planned(paper, splits=splits)
    for cell in plan.cells:
        target, shadow = plan.units[cell.target], plan.units[cell.shadow]
        assert (target.role, shadow.role) == ("target", "shadow")
        seen, learnt = (
            set(splits[one.data, one.seed].pictures(one.role, one.n_members)[0])
            for one in (target, shadow)
        )
        assert len(seen) == 2 * target.n_members
        assert not seen & learnt
        assert target.pretrain.seed != shadow.pretrain.seed
        assert target.seed == shadow.seed == cell.seed
    begun = {
        role: {one.pretrain.seed for one in plan.units.values() if one.role == role}
        for role in ("target", "shadow")
    }
    assert len(begun["target"]) == len(begun["shadow"]) == 3
    assert not begun["target"] & begun["shadow"]


def test_a_shadow_is_like_the_target_in_what_is_known_and_in_nothing_else(paper, plan):
    for cell in plan.cells:
        if not cell.experiment.startswith("background"):
            continue
        target, shadow = plan.units[cell.target], plan.units[cell.shadow]
        known = set() if cell.setting == NOTHING else set(cell.setting.split(" + "))
        alike = {
            "data": target.data == shadow.data,
            "architecture": target.pretrain.architecture == shadow.pretrain.architecture,
            "algorithm": target.pretrain.algorithm == shadow.pretrain.algorithm,
        }
        assert {name for name, is_alike in alike.items() if is_alike} == known
    settings = {one.setting for one in plan.cells if one.experiment == "background-cifar10"}
    assert {NOTHING, EVERYTHING} <= settings
    assert len(settings) == 8
    assert setting_of(()) == NOTHING
    assert paper.experiment[0].unknown_data == "tiny-imagenet"


def test_all_cells_of_a_background_look_at_one_target(plan):
    targets = {
        (one.experiment, one.seed, one.target)
        for one in plan.cells
        if one.experiment.startswith("background")
    }
    assert len(targets) == 2 * 3


# --- keys ----------------------------------------------------------------------------------------


def small(tmp_path, *changes, scale="cpu", splits=None):
    text = SMALL
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    return planned(matrix_of(tmp_path, text), scale, splits)


CHANGES = {
    "members": ("members = 10", "members = 12"),
    "seed": ("seeds = [0]", "seeds = [1]"),
    "epochs": ("epochs = 120", "epochs = 121"),
    "batch size": ("batch_size = 10", "batch_size = 5"),
    "learning rate": ("2e-3", "1e-3"),
    "size of the pictures": ("size_px = 16", "size_px = 24"),
    "the target's own choice": (
        '"resnet-tiny", algorithm = "simclr"',
        '"vgg11", algorithm = "byol"',
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_matters_to_an_encoder_is_in_its_key(tmp_path, change):
    matrix = matrix_of(tmp_path)
    splits = made_up_splits(matrix)
    splits |= {(data, 1): replace(split) for (data, _), split in splits.items()}
    plain, other = (small(tmp_path, *some, splits=splits) for some in ((), (change,)))
    targets = [
        {key for key, one in plan.units.items() if one.role == "target"} for plan in (plain, other)
    ]
    assert not targets[0] & targets[1]


def test_other_pictures_are_in_the_key_of_an_encoder(tmp_path):
    matrix = matrix_of(tmp_path)
    splits = made_up_splits(matrix)
    changed = dict(splits)
    one = splits["drawn", 0]
    ids = one.groups["target-nonmembers"]
    changed["drawn", 0] = replace(
        one, groups=one.groups | {"target-nonmembers": ("0" * 64, *ids[1:])}
    )
    plain, other = (planned(matrix, splits=some) for some in (splits, changed))
    differ = {plain.units[key].role for key in plain.units.keys() - other.units.keys()}
    assert differ == {"target"}
    assert len(plain.units.keys() & other.units.keys()) == 2


def test_recipe_and_initial_seed_are_in_the_key_of_an_encoder(tmp_path):
    matrix = matrix_of(tmp_path)
    split = made_up_splits(matrix)["drawn", 0]
    how = matrix.scale["cpu"].options("resnet-tiny", "simclr", ENCODERMI.id, 0)
    others = [how, replace(how, recipe=OVERLAPS[0].id), replace(how, seed=1)]
    keys = {encoder_key(split, "target", 10, one, 16) for one in others}
    assert len(keys) == 3
    assert all(len(key) == 16 and int(key, 16) >= 0 for key in keys)


UNCHANGED = {
    "name of the matrix": ('name = "small"', 'name = "other"'),
    "name of the scale": ("scale.cpu", "scale.gpu"),
    "inferrers": ('kinds = ["V", "T"]', 'kinds = ["S"]'),
    "views": ("views = 3", "views = 7"),
    "draws": ("draws = 2", "draws = 1"),
    "sweeps": ("views = [2, 3]", "views = [5]"),
    "options of another algorithm": (
        *("[scale.cpu.sweeps]", "[scale.cpu.algorithm.byol]\nepochs = 9\n[scale.cpu.sweeps]"),
    ),
    "order of the experiments": ('kind = "views"\ndata', 'kind = "similarity"\ndata'),
}


@pytest.mark.parametrize("change", UNCHANGED.values(), ids=UNCHANGED)
def test_what_is_asked_of_an_encoder_is_not_in_its_key(tmp_path, change):
    scale = "gpu" if "gpu" in change[1] else "cpu"
    plain, other = small(tmp_path), small(tmp_path, change, scale=scale)
    assert plain.units.keys() == other.units.keys()


def test_keys_do_not_depend_on_the_order_of_seeds_or_experiments(paper):
    turned = paper.model_copy(update={"experiment": paper.experiment[::-1]})
    splits = made_up_splits(paper)
    plain = planned(paper, splits=splits)
    other = planned(turned, splits=splits, seeds=(2, 0, 1))
    assert plain.units.keys() == other.units.keys()
    assert set(plain.cells) == set(other.cells)
    for key, unit in plain.units.items():
        also = other.units[key]
        assert (set(unit.looks), unit.fits) == (set(also.looks), also.fits)
        assert unit.probes == also.probes


def test_a_seed_more_leaves_the_others_as_they_are(paper):
    splits = made_up_splits(paper)
    fewer = planned(paper, splits=splits, seeds=(0, 1))
    more = planned(paper, splits=splits)
    assert {key for key, unit in more.units.items() if unit.seed < 2} == fewer.units.keys()


# --- what is wanted of an encoder ----------------------------------------------------------------


def test_a_target_is_looked_at_once_and_a_shadow_as_often_as_views_are_drawn(tmp_path):
    plan = small(tmp_path)
    for unit in plan.units.values():
        draws = {look.draw for look in unit.looks}
        assert draws == ({0} if unit.role == "target" else {0, 1})
        assert {look.output for look in unit.looks} == {"embedding", "trunk"}
        assert {look.n_views for look in unit.looks} == {3}
        assert len(set(unit.looks)) == len(unit.looks)


def test_every_fit_that_a_cell_reads_is_wanted_of_its_shadow(paper, plan):
    for cell in plan.cells:
        shadow = plan.units[cell.shadow]
        for output in paper.outputs:
            assert Look(output, cell.epoch, 0, 20) in replace_views(plan.units[cell.target], 20)
            for kind in paper.kinds:
                assert Fit(output, kind, cell.similarity, cell.n_views, 4) in shadow.fits
        assert plan.units[cell.target].fits == ()
        most = max(look.n_views for look in shadow.looks)
        assert all(fit.n_views <= most for fit in shadow.fits)
    views = {fit.n_views for unit in plan.units.values() for fit in unit.fits}
    assert views == {2, 4, 6, 8, 10, 14, 20}


def replace_views(unit, n_views):
    """The looks of a unit, which has no more views than that, as if all had so many."""
    assert all(10 <= look.n_views <= n_views for look in unit.looks)
    return {replace(look, n_views=n_views) for look in unit.looks}


def test_no_probe_is_wanted_where_there_are_no_classes(tmp_path):
    matrix = matrix_of(tmp_path)
    with_classes = planned(matrix)
    assert {unit.role: unit.probes for unit in with_classes.units.values() if unit.probes} == {
        "target": (None, 2),
        "shadow": (None,),
    }
    without = planned(matrix, splits=made_up_splits(matrix, has_labels=False))
    assert without.units.keys() == with_classes.units.keys()
    assert not any(unit.probes for unit in without.units.values())
    assert not any(cell.has_probe for cell in without.cells)
    assert not any(cell.has_shadow_probe for cell in without.cells)
    assert any(cell.kind == "baselines" for cell in without.cells)
    assert any(cell.epoch == 2 for cell in without.cells)


def test_data_sets_are_those_that_experiments_name(paper):
    assert data_sets(paper) == ("cifar10", "tiny-imagenet")
    assert data_sets(only(paper, "views")) == ("cifar10",)


def test_an_option_that_cannot_work_is_an_error_of_ours(tmp_path):
    matrix = matrix_of(tmp_path)
    scale = matrix.scale["cpu"]
    broken = scale.model_copy(
        update={"pretrain": scale.pretrain.model_copy(update={"batch_size": 1})}
    )
    with pytest.raises(UsageError, match="batch_size"):
        make_plan(matrix, broken, LAB, made_up_splits(matrix))


# --- units ---------------------------------------------------------------------------------------


def test_a_unit_survives_the_way_to_a_worker(plan):
    for unit in plan.units.values():
        assert Unit.from_json(unit.as_json()) == unit


def test_files_of_a_unit_have_names_of_their_own_below_its_folder(plan):
    for unit in plan.units.values():
        products = list(unit.products())
        assert (
            len(set(products))
            == len(products)
            == sum(map(len, (unit.looks, unit.fits, unit.probes)))
        )
        assert all(path.is_relative_to(LAB / "encoders" / unit.key) for path in products)
    assert len({unit.folder for unit in plan.units.values()}) == len(plan.units)


def test_a_unit_without_an_encoder_is_not_done(plan):
    assert not any(unit.is_trained or unit.is_done for unit in plan.units.values())


def test_a_smaller_target_is_a_part_of_a_larger_one(paper):
    splits = made_up_splits(paper)
    split = splits["cifar10", 0]
    sizes = SplitSizes(target=400, shadow=400, probe=1000)
    assert {name: len(ids) for name, ids in split.groups.items()} == sizes.counts
    small, large = (set(split.pictures("target", n)[0]) for n in (50, 100))
    assert small < large
