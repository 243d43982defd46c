"""What can be expected before the run: no figure without its source."""

import pytest

from clipaudit.encoders.expectation import AUCS, expect, expectation_line
from clipaudit.encoders.published_names import names_at_release


def ways(found):
    return {way.name: way for way in found.ways}


def test_of_openais_clip_a_folder_needs_ten_thousand_pictures():
    found = expect("ViT-B-32/openai", 200)
    assert found.hope.value == pytest.approx(0.51)
    assert "doi:10.1609/aaai.v40i25.39276" in found.hope.source
    assert found.needed == pytest.approx(10_300, rel=0.01)
    assert found.power == pytest.approx(0.097, abs=0.005)
    outlooks = {name: way.outlook for name, way in ways(found).items()}
    assert outlooks == {
        "look-up in its list": "possible",
        "folder with control": "out of reach",
        "captions": "out of reach",
        "picture by picture": "out of reach",
        "fine-tune against base": "closed",
    }
    assert "10,305" in ways(found)["folder with control"].text


def test_enough_pictures_make_a_folder_promising():
    assert ways(expect("ViT-B-32/openai", 12_000))["folder with control"].outlook == "promising"
    assert ways(expect("ViT-B-32/openai", 5_000))["folder with control"].outlook == "possible"


def test_a_list_with_hashes_is_the_most_promising_way():
    first = expect("ViT-B-32/commonpool_s_s13m_b4k").ways[0]
    assert (first.name, first.outlook) == ("look-up in its list", "promising")
    assert first.command == "clipaudit lookup ./images --metadata small/"


def test_where_each_picture_was_seen_once_the_figure_is_the_most_there_can_be():
    found = expect("ViT-B-32/commonpool_s_s13m_b4k", 100)
    assert found.hope.low is None
    assert "at most" in found.hope.words
    assert "at least 24 pictures" in ways(found)["folder with control"].text
    assert not {way.outlook for way in found.ways if way.name != "look-up in its list"} & {
        "promising"
    }


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("ViT-B-16-SigLIP/webli", "how many pairs it was trained on is not published"),
        ("timm:vit_base_patch16_224.mae", "published figures are of encoders of images and text"),
        ("shadow:mine", "published figures are of encoders of images and text"),
        ("ViT-B-32/./mine.pt", "how many pairs it was trained on is not published"),
        ("ViT-B-32/commonpool_s_clip_s13m_b4k", "a filter kept is not known here"),
        ("timm:vit_base_patch32_clip_224.laion2b_ft_in1k", "without a text tower"),
    ],
)
def test_nobody_knows_is_an_answer(spec, words):
    found = expect(spec, 100)
    assert found.hope.words == "nobody knows which AUC can be hoped for"
    assert words in found.hope.source
    assert (found.hope.value, found.needed, found.power) == (None, None, None)
    assert ways(found)["folder with control"].outlook == "unknown"


def test_a_fine_tune_is_best_held_against_its_base(tmp_path):
    found = expect(f"local-dir:{tmp_path}", base="ViT-B-32/openai")
    first = found.ways[0]
    assert (first.name, first.outlook) == ("fine-tune against base", "promising")
    assert "--reference ViT-B-32/openai --captions auto" in first.command
    assert (found.hope.low, found.hope.high) == (0.78, 0.87)
    assert found.needed is not None
    assert found.needed < 20


def test_the_user_can_say_how_many_pairs_there_were(tmp_path):
    few = expect(f"local-dir:{tmp_path}", n_pairs=1_000)
    assert (few.hope.low, few.hope.high) == (0.94, None)
    many = expect(f"local-dir:{tmp_path}", n_pairs=40_000_000)
    assert many.hope.value == pytest.approx(0.578, abs=0.001)


def test_the_table_is_of_all_aucs():
    assert [auc for auc, _ in expect("ViT-B-32/openai").table] == list(AUCS)


def test_the_line_of_the_summary_fits_every_published_encoder():
    for spec in names_at_release():
        line = expectation_line(spec)
        assert line.startswith(("AUC ", "nobody knows")), spec
    assert "10,305 pictures" in expectation_line("ViT-B-32/openai")


@pytest.mark.parametrize("spec", ["nosuch:a", "", "a\0b", "a\udcff", "[red]\x1b[2J"])
def test_a_name_of_another_package_has_a_line_too(spec):
    assert expectation_line(spec).startswith("nobody knows")
