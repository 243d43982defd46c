"""Every command and snippet in README and docs: read from the pages, parsed, and run.

What needs a network, hours or weights runs with a stand-in that is small and made here, or with
--dry-run; training and the lab's matrices are parsed alone, and other tests run them.
"""

import glob
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clipaudit.cli.app import COMMANDS, _load
from clipaudit.encoders.published_names import names_at_release
from clipaudit.pictures.addresses import is_address

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "benchmarks" / "README.md",
    *sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != "cli.md"),
    *sorted((ROOT / "docs" / "tutorials").glob("*.md")),
    ROOT / "docs" / "schemas" / "README.md",
]
WRITTEN = [
    *PAGES,
    *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PARSED_ALONE = {"demo", "train", "lab"}


def blocks(language):
    for page in PAGES:
        for found in FENCE.finditer(page.read_text(encoding="utf-8")):
            if found[1] == language:
                yield page, found[2]


def commands():
    """Page and line of every command of ours in a block, pipes and all."""
    for page, block in blocks(""):
        for line in block.replace("\\\n", " ").splitlines():
            if re.search(r"(^|\| |&& )clipaudit ", line):
                words = shlex.split(line, comments=True)
                yield pytest.param(words, id=f"{page.name}: {' '.join(words)}")


def ours(words):
    """The words after `clipaudit`, and what is piped into it."""
    at = words.index("clipaudit")
    return words[at + 1 :], shlex.join(words[: at - 1]) if words[at - 1 : at] == ["|"] else ""


def leaf(words):
    """The command that words name, and the words after it."""
    assert words[0] in COMMANDS, words
    command, rest = _load(words[0]), words[1:]
    while rest and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]
    return command, rest


def test_there_are_commands_to_look_at():
    assert len(list(commands())) >= 40


@pytest.mark.parametrize("words", [*commands()])
def test_every_command_parses(words):
    typed, _ = ours(words)
    command, rest = leaf(typed)
    command.make_context(typed[0], list(rest))


def test_every_command_in_a_sentence_has_its_options():
    texts = [page.read_text(encoding="utf-8") for page in WRITTEN]
    found = {text for page in texts for text in re.findall(r"`clipaudit ([a-z][^`]*)`", page)}
    assert len(found) >= 20
    for text in sorted(found):
        command, rest = leaf(shlex.split(text))
        known = {"--help"}
        for parameter in command.params:
            known |= {*parameter.opts, *parameter.secondary_opts}
        assert known.issuperset(word.partition("=")[0] for word in rest if word[0] == "-"), text


@pytest.fixture
def place(tmp_path, known_truth, monkeypatch):
    """A working folder with all that the pages name, small."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    monkeypatch.chdir(tmp_path)
    for name in ("images", "my-pictures", "SET/members"):
        shutil.copytree(known_truth.folder / "members", tmp_path / name)
    for name in ("unseen", "never-seen", "my-later-pictures", "fair/control", "SET/nonmembers"):
        shutil.copytree(known_truth.folder / "nonmembers", tmp_path / name)
    shutil.copytree(ROOT / "pretrained_inferrers" / "cifar10-v", tmp_path / "my-run/inferrers/v")
    (tmp_path / "pictures" / "otter").mkdir(parents=True)
    (tmp_path / "words.txt").write_text("otter\nseal\n")
    for number, name in enumerate(("small", "medium", "laion400m")):
        urls = [f"https://{number}.example.org/{row}.jpg" for row in range(40)]
        (tmp_path / name).mkdir()
        columns = {"uid": urls, "url": urls, "sha256": [f"{row:064x}" for row in range(40)]}
        pq.write_table(pa.table(columns), tmp_path / name / "part-0.parquet")
    return tmp_path


@pytest.fixture
def run(place, warm, known_truth):
    """Run a command of a page in that folder, with the encoders of `known_truth`."""

    def call(words, stdin=b""):
        given = list(words)
        for option, spec in (
            ("--encoder", known_truth.overfitted),
            ("--reference", known_truth.stranger),
        ):
            if option in given and given[0] != "build-eval":
                given[given.index(option) + 1] = spec
        if "--ray-address" in given:  # a cluster of this machine alone will do
            pytest.importorskip("ray")
            place_of_address = given.index("--ray-address")
            del given[place_of_address : place_of_address + 2]
        if given[0] == "score":  # test_score_addresses has stores and servers
            given = ["images" if is_address(word) else word for word in given]
        if given[0] == "build-eval" and "--dry-run" not in given:
            given.append("--dry-run")
        given = [path for word in given for path in sorted(glob.glob(word)) or [word]]  # noqa: PTH207
        env = {
            "HOME": str(place),
            "CLIPAUDIT_CACHE_DIR": str(place / "cache"),
            "CLIPAUDIT_ENCODER": known_truth.overfitted,
            "CLIPAUDIT_WORKERS": "0",
            "CLIPAUDIT_CONTACT": "someone@example.org",
            "FLICKR_API_KEY": "key",
            "HF_HUB_OFFLINE": "1",
            "COLUMNS": "100",
        }
        return warm(*given, stdin=stdin, env=env, cwd=place)

    return call


@pytest.mark.parametrize(
    "words",
    [found for found in commands() if ours(found.values[0])[0][0] not in PARSED_ALONE],
)
def test_every_command_runs(run, place, words):
    if "benchmarks" in words or "/usr/share/openclipart/png" in words:
        pytest.skip("needs Debian's openclipart")
    typed, before = ours(words)
    stdin = b""
    if before:
        shutil.copy(place / "images" / "00.png", place / "images" / "00.jpg")
        stdin = subprocess.run(["bash", "-c", before], capture_output=True, check=True).stdout
        assert stdin
    if typed[0] == "report":
        assert run(["score", "images", "-o", typed[1]]).code == 0
    if typed[0] == "control":
        shutil.rmtree(place / "fair")
    if typed[0] == "merge":
        for number, name in enumerate(typed[1 : typed.index("-o")], 1):
            shard = f"--shard={number}/{typed.index('-o') - 1}"
            assert run(["score", "images", shard, "-o", name]).code == 0
    done = run(typed, stdin)
    assert done.code in ({0, 4} if typed[0] == "doctor" else {0}), done.err
    if "-o" in typed and typed[0] != "build-eval":
        assert (place / typed[typed.index("-o") + 1]).stat().st_size


def test_every_encoder_that_a_command_names_is_published():
    for found in commands():
        typed, _ = ours(found.values[0])
        specs = [typed[at + 1] for at, word in enumerate(typed) if word == "--encoder"]
        for spec in specs:
            by_file = spec.startswith(("onnx:", "transformers:", "local-dir:"))
            named_elsewhere = spec == "SPEC" or by_file or "random" in spec
            assert named_elsewhere or spec in names_at_release(), spec


def anchors(page):
    """What a link may name behind `#`: the headings, as hosts and the site spell them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE):
        yield re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("page", sorted(set(WRITTEN)), ids=lambda page: page.name)
def test_every_link_leads_to_a_page_and_a_heading_that_are_there(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            assert link.startswith(("https://", "mailto:")), link
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in set(anchors(target)), link


def test_no_page_and_no_hint_installs_by_a_name_that_is_not_registered():
    sources = [*(ROOT / "clipaudit").rglob("*.py"), *(ROOT / "crawlers").rglob("*.py")]
    for path in [*WRITTEN, *sources]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"(pip|uv) install[^\n`]*\bclipaudit\b(?! demo)", text), path
        assert not re.search(r"clipaudit\[\w+\]", text), path


@pytest.mark.parametrize("snippet", [text for _, text in blocks("python")])
def test_every_snippet_of_python_runs(place, known_truth, monkeypatch, snippet):
    monkeypatch.setenv("CLIPAUDIT_CACHE_DIR", str(place / "cache"))
    assert snippet.count("ViT-B-32/openai") == 1
    program = snippet.replace("ViT-B-32/openai", known_truth.overfitted)
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=place, check=True)


@pytest.mark.parametrize("matrix", [text for _, text in blocks("toml")])
def test_every_matrix_can_be_read(tmp_path, matrix):
    from clipaudit.lab.matrix import read_matrix

    path = tmp_path / "mine.toml"
    path.write_text(matrix, encoding="utf-8")
    assert read_matrix(str(path)).experiment


def test_the_lab_shows_the_tables_that_came_with_it(run):
    for folder in ("lab-cpu", "lab-reference", "lab-clip", "lab-networks"):
        done = run(["lab", "show", str(ROOT / "docs" / folder), "--no-draw"])
        assert done.code == 0, done.err


@pytest.mark.parametrize(
    "script",
    sorted(
        {
            found
            for _, block in blocks("")
            for found in re.findall(r"python ((?:benchmarks|tests|docs)/\S+\.py)", block)
        }
    ),
)
def test_every_script_is_there_and_is_python(script):
    compile((ROOT / script).read_text(encoding="utf-8"), script, "exec")
