"""`clipaudit expect` and `clipaudit encoders references`."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from tests.made.schemas import strict

SCHEMA = Path(__file__).parents[3] / "docs/schemas/expectation-1.schema.json"


def test_it_says_what_can_be_hoped_for(command):
    code, out, err = command("expect", "--pictures", "300")
    assert (code, err) == (0, "")
    text = " ".join(out.replace("│", " ").split())
    assert "AUC about 0.51, with captions" in text
    assert "doi:10.1609/aaai.v40i25.39276" in text
    assert "10,305 at AUC 0.51" in text
    assert "300 pictures" in text


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--pictures", "50"),
        ("-e", "ViT-B-16-SigLIP/webli"),
        ("-e", "ViT-B-32/commonpool_s_s13m_b4k", "--pictures", "9"),
        ("-e", "local-dir:.", "--base", "RN50/openai"),
        ("-e", "local-dir:.", "--pairs", "100"),
    ],
)
def test_json_is_as_its_schema_says(command, arguments):
    code, out, err = command("expect", "--format", "json", *arguments)
    assert (code, err) == (0, "")
    Draft202012Validator(strict(json.loads(SCHEMA.read_text()))).validate(json.loads(out))


def test_pictures_are_counted_by_their_files(command, tmp_path):
    for name in ("a.png", "b.jpg", "c.png"):
        (tmp_path / name).touch()
    code, out, _ = command("expect", "--format", "json", tmp_path)
    assert code == 0
    assert json.loads(out)["n_pictures"] == 3


def test_paths_and_a_number_contradict_each_other(command, tmp_path):
    code, out, err = command("expect", tmp_path, "--pictures", "3")
    assert (code, out) == (2, "")
    assert "hint:" in err


def test_an_empty_folder_is_an_error(command, tmp_path):
    code, _, err = command("expect", tmp_path)
    assert code == 2
    assert "no pictures" in err


def test_an_unknown_scheme_exits_4(command):
    assert command("expect", "-e", "nosuch:a")[0] == 4


def test_references_are_listed_with_what_could_spoil_them(command, tmp_path):
    (tmp_path / "README.md").write_text("---\nbase_model: openai/clip-vit-base-patch32\n---\n")
    code, out, err = command("encoders", "references", f"local-dir:{tmp_path}")
    assert (code, err) == (0, "")
    spec, where, reason, caveats = out.rstrip("\n").split("\t")
    assert (spec, where) == ("ViT-B-32/openai", "elsewhere")
    assert "README.md" in reason
    assert "nothing of the pictures of the base" in caveats


def test_where_there_is_none_that_is_said(command, tmp_path):
    code, out, err = command("encoders", "references", f"onnx:{tmp_path}/a.onnx")
    assert (code, out) == (0, "")
    assert "see --base" in " ".join(err.split())
