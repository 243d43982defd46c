import sys

import pytest


@pytest.mark.parametrize("arguments", [[], ["list"]])
def test_a_pipe_gets_a_line_an_encoder(command, arguments):
    code, out, err = command("encoders", *arguments)
    assert (code, err) == (0, "")
    lines = [line.split("\t") for line in out.splitlines()]
    assert {len(line) for line in lines} == {4}
    specs = [line[0] for line in lines]
    cutoffs = {line[0]: line[3] for line in lines}
    assert cutoffs["ViT-B-32/openai"] == "2021-02-01"
    assert cutoffs["ViT-B-16-SigLIP/webli"] == ""
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


def test_show_takes_a_slip_for_one(command):
    code, out, err = command("encoders", "show", "ViT-B-32/opnai\x1b")
    assert (code, out) == (4, "")
    assert "Did you mean ViT-B-32/openai" in err
    assert "\x1b" not in err


def test_show_draws_a_table_on_a_terminal(command, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    _, out, _ = command("encoders", "show", "RN50-quickgelu/yfcc15m")
    assert "trained on" in out
    assert "encoder: " not in out
