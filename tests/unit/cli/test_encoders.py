import subprocess
import sys

import pytest


@pytest.mark.parametrize("arguments", [[], ["list"]])
def test_a_pipe_gets_a_line_an_encoder(command, arguments):
    code, out, err = command("encoders", *arguments)
    assert (code, err) == (0, "")
    lines = [line.split("\t") for line in out.splitlines()]
    assert {len(line) for line in lines} == {5}
    specs = [line[0] for line in lines]
    cutoffs = {line[0]: line[3] for line in lines}
    assert cutoffs["ViT-B-32/openai"] == "2021-02-01"
    assert cutoffs["ViT-B-16-SigLIP/webli"] == ""
    captions = {line[0]: line[4] for line in lines}
    assert captions["ViT-B-32/openai"] == "captions"
    assert captions["torchvision:resnet50/IMAGENET1K_V2"] == ""
    assert "ViT-B-32/openai" in specs
    assert len(set(specs)) == len(specs) > 1000


@pytest.mark.parametrize("arguments", [[], ["list"]])
def test_search_narrows(command, arguments):
    code, out, err = command("encoders", *arguments, "--search", "vit-b-32 laion")
    assert (code, err) == (0, "")
    for line in out.splitlines():
        assert "vit-b-32" in line.lower()
        assert "laion" in line.lower()


def test_a_slip_gives_the_nearest_and_says_so(command):
    code, out, err = command("encoders", "-s", "ViTB32/opnai")
    assert code == 0
    assert "ViT-B-32" in out
    assert "none holds" in err


def test_nonsense_exits_4_with_a_hint(command):
    code, out, err = command("encoders", "--search", "zzzz qqqq \x1b")
    assert (code, out) == (4, "")
    assert "hint:" in err
    assert "\x1b" not in err


def facts(out):
    """Name → the texts of its lines."""
    found: dict[str, list[str]] = {}
    for line in out.splitlines():
        name, _, text = line.partition(": ")
        found.setdefault(name, []).append(text)
    return found


def test_show_says_what_is_published_and_how_to_use_it(command):
    code, out, err = command("encoders", "show", "ViT-B-32/commonpool_s_s13m_b4k")
    assert (code, err) == (0, "")
    found = facts(out)
    assert found["encoder"] == ["ViT-B-32/commonpool_s_s13m_b4k"]
    assert found["captions"] == ["embedded too, by its text tower"]
    assert "datacomp_pools, small/*.parquet" in found["members"][0]
    assert "medium/*.parquet" in found["non-members"][0]
    assert found["cut-off"][0].startswith("2023-05-01: ")
    assert found["try"] == [
        "clipaudit lookup ./images --metadata small/",
        "clipaudit build-eval --from-metadata small/ --nonmembers-from medium/",
    ]


def test_show_offers_newer_pictures_where_there_is_no_second_list(command):
    found = facts(command("encoders", "show", "ViT-B-32/openai")[1])
    assert found["try"][0].startswith("clipaudit lookup --urls")
    assert "--nonmembers after-cutoff --encoder ViT-B-32/openai" in found["try"][1]


def test_show_says_where_nothing_is_known(command, tmp_path):
    code, out, _ = command("encoders", "show", f"ViT-B-32/{tmp_path}/laion2b.safetensors")
    found = facts(out)
    assert code == 0
    assert found["trained on"][0].startswith("unknown")
    assert found["members"] == ["no list is published"]
    assert found["cut-off"][0].startswith("unknown: ")
    assert "try" not in found


def test_show_says_where_an_encoder_reads_no_captions(command):
    found = facts(command("encoders", "show", "torchvision:resnet50/IMAGENET1K_V2")[1])
    assert found["captions"] == ["not embedded: it has no text tower"]


def test_show_takes_a_slip_for_one(command):
    code, out, err = command("encoders", "show", "ViT-B-32/opnai\x1b")
    assert (code, out) == (4, "")
    assert "Did you mean ViT-B-32/openai" in err
    assert "\x1b" not in err


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("ViT-B-32/laion400m_e32", "ViT-B-32-quickgelu/laion400m_e32"),
        ("ViT-B-32-quickgelu/laion400m_e32", "ViT-B-32-quickgelu/laion400m_e32"),
        ("ViT-B-16/laion400m_e32", "ViT-B-16/laion400m_e32"),
        ("ViT-B-32/LAION2B-S34B-B79K", "ViT-B-32/laion2b_s34b_b79k"),
        ("RN50/yfcc15m", "RN50-quickgelu/yfcc15m"),
        ("RN50/openai", "RN50/openai"),
        ("open_clip:ViT-B-32/openai", "ViT-B-32/openai"),
    ],
)
def test_show_answers_what_is_typed_by_the_name_that_scores(command, typed, name):
    from clipaudit.encoders.backends.open_clip.names import wrong_gelu

    code, out, err = command("encoders", "show", typed)
    assert (code, err) == (0, "")
    assert facts(out)["encoder"] == [name]
    assert not facts(out)["trained on"][0].startswith("unknown")
    assert ("note" in facts(out)) is ("-quickgelu" in name)
    assert not wrong_gelu(*name.split("/"))


def test_the_names_of_this_release_are_those_of_the_libraries(command):
    from clipaudit.encoders.published_names import names_at_release

    listed = {line.partition("\t")[0] for line in command("encoders", "list")[1].splitlines()}
    assert len(listed & names_at_release()) > 0.9 * len(listed), "make names.txt again"


def test_show_needs_no_torch():
    program = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['torch', 'torchvision', 'open_clip', 'timm']))\n"
        "from clipaudit.cli.app import main\n"
        "main(['encoders', 'show', sys.argv[1]])"
    )
    for spec, code in (("ViT-B-32/laion400m_e32", 0), ("timm:vit_base_patch16_224.dino", 0)):
        done = subprocess.run([sys.executable, "-c", program, spec], check=False)
        assert done.returncode == code
    program_line = [sys.executable, "-c", program, "ViT-B-32/opnai"]
    refused = subprocess.run(program_line, capture_output=True, text=True, check=False)
    assert refused.returncode == 4
    assert "Did you mean ViT-B-32/openai" in refused.stderr


def test_show_draws_a_table_on_a_terminal(command, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    _, out, _ = command("encoders", "show", "RN50-quickgelu/yfcc15m")
    assert "trained on" in out
    assert "encoder: " not in out
