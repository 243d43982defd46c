from clipaudit.cli.app import main


def run(capsys, *arguments):
    code = 0
    try:
        main(["encoders", *arguments])
    except SystemExit as end:
        code = end.code or 0
    out, err = capsys.readouterr()
    return code, out, err


def test_a_pipe_gets_a_line_an_encoder(capsys):
    code, out, err = run(capsys)
    assert (code, err) == (0, "")
    lines = [line.split("\t") for line in out.splitlines()]
    assert {len(line) for line in lines} == {3}
    specs = [line[0] for line in lines]
    assert "ViT-B-32/openai" in specs
    assert len(set(specs)) == len(specs) > 1000


def test_search_narrows(capsys):
    code, out, err = run(capsys, "--search", "vit-b-32 laion")
    assert (code, err) == (0, "")
    for line in out.splitlines():
        assert "vit-b-32" in line.lower()
        assert "laion" in line.lower()


def test_a_slip_gives_the_nearest_and_says_so(capsys):
    code, out, err = run(capsys, "-s", "ViTB32/opnai")
    assert code == 0
    assert "ViT-B-32" in out
    assert "none holds" in err


def test_nonsense_exits_4_with_a_hint(capsys):
    code, out, err = run(capsys, "--search", "zzzz qqqq \x1b")
    assert (code, out) == (4, "")
    assert "hint:" in err
    assert "\x1b" not in err
