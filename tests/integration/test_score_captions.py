"""`clipaudit score --captions`: an encoder that was trained on pictures with captions."""

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import clipaudit
from clipaudit.errors import EncoderError, InferrerError, InputError, UsageError
from clipaudit.inferrers import reads_of
from clipaudit.inferrers.base import Inferrer
from clipaudit.inferrers.caption import CaptionLossRule
from clipaudit.inferrers.library import save
from clipaudit.inferrers.norm import NormRule
from clipaudit.inferrers.threshold import MeanRule
from clipaudit.pictures.reading import content_id
from clipaudit.reports.audit.saved import read
from clipaudit.reports.formats import render, write
from clipaudit.seeding import stream
from clipaudit.shadow.procedural import draw_picture
from clipaudit.statistics.metrics import auc
from tests.made import lists
from tests.made.inferrers import toy_card
from tests.made.present import present
from tests.made.text_towers import open_clip_folder

N = 24
SIDE = 32
GROUPS = ("members", "nonmembers")
WORDS = ("red", "blue", "green", "small", "large", "round", "flat", "cat", "dog", "tree", "house")


@pytest.fixture(autouse=True)
def _own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIPAUDIT_CACHE_DIR", str(tmp_path / "cache"))
    torch.set_num_threads(1)


def captions_of(group):
    words = [stream(0, f"{group} {n}", "caption").choice(WORDS, 4) for n in range(N)]
    return [" ".join(chosen) for chosen in words]


def draw_group(folder, group):
    """Pictures of a group in a folder of its own, and their pixels."""
    (folder / group).mkdir(parents=True)
    pictures = [draw_picture(stream(1, f"{group} {n}", "picture"), SIDE) for n in range(N)]
    for n, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / group / f"{n:03}.png")
    return np.stack(pictures)


def overfit(model, tokenizer, pixels, captions, steps=30):
    """Train a CLIP of open_clip's on some pictures until it knows them by heart."""
    from open_clip.loss import ClipLoss

    mean, std = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.25, 0.3])
    images = (torch.from_numpy(pixels).float() / 255 - mean) / std
    images, texts = images.permute(0, 3, 1, 2).contiguous(), tokenizer(captions)
    model.requires_grad_(requires_grad=True).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loss = ClipLoss()
    for _ in range(steps):
        seen, read_, scale = model(images, texts)[:3]
        optimiser.zero_grad()
        loss(seen, read_, scale).backward()
        optimiser.step()
    model.eval().requires_grad_(requires_grad=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Pictures, captions in a table, and an encoder that was trained on the first group."""
    import open_clip

    folder = tmp_path_factory.mktemp("captioned")
    pixels = {group: draw_group(folder / "set", group) for group in GROUPS}
    rows = ["file_name,text"]
    for group in pixels:
        rows += [f"{group}/{n:03}.png,{text}" for n, text in enumerate(captions_of(group))]
    (folder / "captions.csv").write_text("\n".join(rows))
    torch.set_num_threads(1)

    def train(model):
        tokenizer = open_clip.SimpleTokenizer(context_length=12)
        overfit(model, tokenizer, pixels["members"], captions_of("members"))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        trained = open_clip_folder(folder / "encoder", train)
    other = open_clip_folder(folder / "other", lambda _: None)
    for name, kind, rule, threshold in (
        ("loss", "caption-loss", CaptionLossRule(), -2.0),
        ("length", "norm", NormRule(), 0.0),
        ("mean", "T", MeanRule(), 0.9),
    ):
        for form in (False, True) if name == "loss" else (False,):
            reads = reads_of(kind, "cosine", 4, "encodermi@1", "embedding", has_reference=form)
            own = f"{name}-reference" if form else name
            save(Inferrer(toy_card(own, kind, reads, threshold), rule), folder / own)
    return folder, trained.spec, other.spec


@pytest.fixture
def run(made):
    folder, spec, _ = made

    def call(*names, encoder=spec, paths=None, **options):
        options = {
            "captions": str(folder / "captions.csv"),
            "n_views": 4,
            "workers": 0,
            "device": "cpu",
            "backend": "torch",
            **options,
        }
        inferrers = [folder / name for name in names]
        paths = paths or [folder / "set"]
        return clipaudit.score(paths, encoder=encoder, inferrers=inferrers, **options)

    return call


def scores_by(audit, inferrer):
    found = {row.path: row.finding(inferrer) for row in audit.scored}
    return {path: finding.score for path, finding in found.items() if finding}


def auc_of(audit, inferrer):
    scores = scores_by(audit, inferrer)
    is_member = np.array(["nonmembers" not in path for path in scores])
    return auc(np.array([*scores.values()]), is_member).value


def test_captions_tell_members_of_an_encoder_that_learned_them(run):
    audit = run("loss", "length")
    assert auc_of(audit, "loss") > 0.95
    assert audit.run.captions.n_with == 2 * N
    assert audit.run.captions.n_without == audit.run.captions.n_cut == 0
    assert audit.run.captions.bank.n_pictures == 0
    assert audit.run.captions.source == "captions.csv"


def test_what_reads_no_views_makes_none_and_a_second_run_embeds_nothing(run, made, tmp_path):
    first, second = run("loss", "length"), run("loss", "length")
    assert first.run.n_views == 0
    assert all(row.mean_similarity is None for row in first)
    assert (first.run.n_from_store, second.run.n_from_store) == (0, 2 * N)
    assert [row.findings for row in first] == [row.findings for row in second]


def test_pictures_without_a_caption_have_no_score_by_what_reads_them(run, made, tmp_path):
    folder = made[0]
    lines = (folder / "captions.csv").read_text().splitlines()
    few = tmp_path / "few.csv"
    lines = [line.replace("members/", f"{folder}/set/members/", 1) for line in lines[:11]]
    few.write_text("\n".join(lines))
    audit = run("loss", "length", captions=str(few))
    assert len(scores_by(audit, "loss")) == 10
    assert len(scores_by(audit, "length")) == 2 * N
    facts = audit.run.captions
    assert (facts.n_with, facts.n_without) == (10, 2 * N - 10)
    assert len(audit.ranked()) == 2 * N
    assert all(row.finding("loss") for row in audit.ranked()[:10])
    for style in ("table", "json", "csv", "jsonl"):
        assert render(audit, style)
    assert "38 of 48 pictures have no caption" in render(audit, "table")
    for ending in ("json", "csv", "parquet", "html", "jsonl"):
        write(audit, tmp_path / f"out.{ending}")
    assert read(tmp_path / "out.json").rows == audit.rows


def test_pictures_that_are_known_cost_one_pass_for_new_captions(run):
    run("mean", captions="none")
    audit = run("mean", "loss")
    assert audit.run.n_views == 4
    assert audit.run.n_from_store == 0
    assert auc_of(audit, "loss") > 0.95
    again = run("mean", "loss")
    assert again.run.n_from_store == 2 * N
    assert [row.findings for row in again] == [row.findings for row in audit]


def test_a_reference_reads_the_captions_too(run, made):
    audit = run("loss-reference", "loss", references=[made[2]])
    assert auc_of(audit, "loss-reference") > 0.8


def test_captions_of_the_list_that_pictures_are_found_in_are_read(run, made, tmp_path):
    files = {group: sorted((made[0] / "set" / group).glob("*.png")) for group in GROUPS}
    columns = {
        "sha256": [content_id(file.read_bytes()) for group in GROUPS for file in files[group]],
        "text": [text for group in GROUPS for text in captions_of(group)],
    }
    for column in columns.values():
        column.pop()
    listing = lists.write(tmp_path / "list.parquet", columns)
    by_table = scores_by(run("loss"), "loss")
    audit = run("loss", captions=f"lookup:{listing}")
    assert scores_by(audit, "loss") == {path: by_table[path] for path in [*by_table][:-1]}
    facts = audit.run.captions
    assert facts.source == "the list list.parquet"
    assert facts.notes == ("list.parquet: 1 picture not found",)
    assert (facts.n_with, facts.n_without) == (2 * N - 1, 1)


def test_no_word_of_a_caption_is_in_the_store_or_in_a_result(run, tmp_path):
    audit = run("loss")
    write(audit, tmp_path / "out.json")
    kept = b"".join(path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file())
    for text in captions_of("members"):
        assert text.encode() not in kept
        assert text not in (tmp_path / "out.json").read_text()


def test_captions_for_an_encoder_without_a_text_tower_are_refused(run, known_truth):
    with pytest.raises(EncoderError, match="has no text tower"):
        run("length", encoder=known_truth.overfitted)


def test_an_inferrer_that_reads_captions_needs_some(run):
    with pytest.raises(InferrerError, match="reads captions, and there are none"):
        run("loss", captions="none")


def test_a_calibration_is_for_one_bank(run, made, tmp_path):
    folder, spec, _ = made
    options = {
        "encoder": spec,
        "inferrers": [folder / "loss"],
        "captions": str(folder / "captions.csv"),
        "workers": 0,
        "device": "cpu",
        "backend": "torch",
    }
    calibrated = clipaudit.calibrate([folder / "set" / "nonmembers"], **options)
    made_by = calibrated.calibrations[0].calibration.scored_by
    assert (made_by.n_views, made_by.recipe) == (0, "none")
    members = [folder / "set" / "members"]
    audit = run("loss", paths=members)
    assert audit.calibrations
    assert all(row.finding("loss").p_value is not None for row in audit)
    assert audit.calibrations[0].captions.outcome == "alike"
    table = (folder / "captions.csv").read_text()
    other_way = tmp_path / "other.csv"
    other_way.write_text(re.sub(r"(?<=png),(.*)", r",Photo: © 2019 by Anna Keller - \1.", table))
    differs = run("loss", paths=members, captions=str(other_way))
    assert differs.calibrations[0].captions.outcome == "different"
    assert {row.finding("loss").verdict for row in differs} == {"can't tell"}
    words = tmp_path / "bank.txt"
    words.write_text("a red ball\na blue hat\n")
    other = run("loss", paths=members, bank=str(words))
    assert not other.calibrations
    assert "the bank of captions" in other.calibration_notes[0]
    assert other.run.captions.bank.n_captions == 2


def test_the_control_is_held_against_the_same_bank(run, made, tmp_path):
    folder = made[0]
    paths = {"paths": [folder / "set" / "members"], "control": [folder / "set" / "nonmembers"]}
    audit = run("loss", **paths)
    result = audit.comparison.by_inferrer[0]
    assert result.unpaired.effect.value > 0.9
    few = tmp_path / "few.csv"
    few.write_text(f"file_name,text\n{folder}/set/members/000.png,a red cat\n")
    with pytest.raises(InputError, match="loss gives no score to any picture of the control"):
        run("loss", **paths, captions=str(few))


def test_a_bank_of_pictures_with_captions_works_in_both_directions(run, made):
    folder = made[0]
    bank = folder / "bank"
    if not bank.exists():
        draw_group(folder, "bank")
        rows = [f"{n:03}.png,{text}" for n, text in enumerate(captions_of("bank"))]
        (bank / "metadata.csv").write_text("\n".join(["file_name,text", *rows]))
    audit = run("loss", bank=str(bank))
    facts = audit.run.captions.bank
    assert (facts.n_pictures, facts.n_captions) == (N, len(set(captions_of("bank"))))
    assert auc_of(audit, "loss") > 0.9


def test_evaluate_counts_pictures_with_captions_alone_where_they_are_read(made, tmp_path):
    folder, spec, _ = made
    lines = (folder / "captions.csv").read_text().splitlines()
    few = tmp_path / "few.csv"
    rows = [f"{folder}/set/{line}" for line in [*lines[1:13], *lines[-12:]]]
    few.write_text("\n".join([lines[0], *rows]))
    evaluation = clipaudit.evaluate(
        folder / "set",
        encoder=spec,
        inferrers=[folder / "loss", folder / "length"],
        captions=str(few),
        workers=0,
        device="cpu",
        backend="torch",
        blind=False,
    )
    by_name = {method.inferrer.name: method.figures for method in evaluation.methods}
    assert by_name["loss"].auc.n == 24
    assert by_name["length"].auc.n == 2 * N
    assert by_name["loss"].auc.value > 0.9
    assert evaluation.similarity is None
    for style in ("table", "json"):
        assert render(evaluation, style)


def test_the_installed_command_says_what_it_read(made, tmp_path):
    folder, spec, _ = made
    clipaudit_command = Path(sys.executable).parent / "clipaudit"
    command = [clipaudit_command, "score", folder / "set", "--encoder", spec, "--device", "cpu"]
    command += ["--backend", "torch", "--captions", folder / "captions.csv", "--workers", "0"]
    command += ["--inferrer", folder / "loss", "-f", "csv", "-o", tmp_path / "out.json"]
    done = subprocess.run([*map(str, command)], check=True, capture_output=True, text=True)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == 2 * N
    assert {row["n_views"] for row in rows} == {"0"}
    run = json.loads((tmp_path / "out.json").read_text())["run"]
    assert run["captions"]["n_with"] == 2 * N


def test_a_recipe_that_is_not_known_is_refused_and_the_nearest_is_offered(run):
    with pytest.raises(UsageError, match="--recipe clip@2 is not known") as refusal:
        run("mean", recipe="clip@2")
    assert "clip@1" in refusal.value.hint


@pytest.fixture
def leaking(made, tmp_path):
    """A caption file in which the captions of members alone name a photographer."""
    lines = (made[0] / "captions.csv").read_text().splitlines()
    named = [f"{line} by Anna Keller" if line.startswith("members/") else line for line in lines]
    path = tmp_path / "leaking.csv"
    path.write_text("\n".join([named[0], *(f"{made[0]}/set/{line}" for line in named[1:])]))
    return str(path)


def test_captions_that_tell_suspects_from_control_allow_no_conclusion(run, made, leaking):
    folder = made[0]
    paths = {"paths": [folder / "set" / "members"], "control": [folder / "set" / "nonmembers"]}
    fair, unfair = run("loss", **paths), run("loss", **paths, captions=leaking)
    assert fair.comparison.captions.outcome == "alike"
    assert unfair.comparison.captions.outcome == "different"
    assert "a baseline that reads nothing but captions" in unfair.comparison.sentence
    assert "allows no conclusion" in unfair.comparison.sentence
    without = run("length", **paths, captions="none")
    assert without.comparison.captions is None


def test_captions_that_tell_the_sides_of_a_set_apart_confound_it(made, leaking):
    folder, spec, _ = made
    options = {"workers": 0, "device": "cpu", "backend": "torch", "encoder": spec}
    options["inferrers"] = [folder / "loss", folder / "length"]
    evaluation = clipaudit.evaluate(folder / "set", captions=leaking, **options)
    assert present(evaluation.blind_captions).is_confounded
    assert evaluation.is_confounded
    assert "by captions alone" in render(evaluation, "table")
    assert json.loads(render(evaluation, "json"))["blind_captions"]["auc"]["value"] > 0.9
    fair = clipaudit.evaluate(folder / "set", captions=str(folder / "captions.csv"), **options)
    assert not present(fair.blind_captions).is_confounded
