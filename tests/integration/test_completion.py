"""Words that a shell completes: asked in bash, zsh and fish themselves, as a user's Tab does."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BASH = """
source <(clipaudit --show-completion bash)
COMP_WORDS=({words}) COMP_CWORD={last}
_clipaudit_completion clipaudit
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
LINES = [
    (["cali"], {"calibrate", "calibrations"}),
    (["encoders", "re"], {"references"}),
    (["score", "--enc"], {"--encoder"}),
    (["score", "--encoder", "ViT-B-32/op"], {"ViT-B-32/openai"}),
    (["score", "--reference", "au"], {"auto"}),
    (["score", "--method", "ca"], {"caption", "caption-loss"}),
    (["calibrate", "--recipe", "clip"], {"clip@1"}),
    (["score", "--backend", "t"], {"torch"}),
]


def bash(words):
    return BASH.format(words=" ".join(["clipaudit", *words]), last=len(words))


def fish(words):
    line = " ".join(["clipaudit", *words])
    return f'clipaudit --show-completion fish | source; complete -C "{line}"'


@pytest.fixture
def complete(tmp_path):
    """What a shell proposes for the last of the words, in a folder with a picture."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "otter.png").touch()
    scripts = str(Path(sys.executable).parent)
    path = os.pathsep.join([scripts, os.environ["PATH"]])

    def ask(shell, script):
        if not shutil.which(shell):
            pytest.skip(f"{shell} is not installed")
        done = subprocess.run(
            [shell, "-c", script],
            cwd=tmp_path,
            env={**os.environ, "PATH": path, "SHELL": shell, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return {line.partition("\t")[0] for line in done.stdout.splitlines() if line}

    return ask


@pytest.mark.parametrize(("words", "proposed"), LINES, ids=[" ".join(words) for words, _ in LINES])
@pytest.mark.parametrize(("shell", "script"), [("bash", bash), ("fish", fish)])
def test_words_are_completed(complete, shell, script, words, proposed):
    assert complete(shell, script(words)) == proposed


def test_fish_still_completes_files(complete):
    assert complete("fish", fish(["score", "pictures/o"])) == {"pictures/otter.png"}


def test_zsh_takes_the_script(complete):
    """Its completion runs in its line editor alone; here it is loaded, and asked for its words."""
    script = """
    autoload -Uz compinit && compinit -u -D
    source <(clipaudit --show-completion zsh)
    print ${_comps[clipaudit]}
    _TYPER_COMPLETE_ARGS='clipaudit score --method ca' _CLIPAUDIT_COMPLETE=complete_zsh clipaudit
    """
    told = " ".join(complete("zsh", script))
    assert "_clipaudit_completion" in told
    assert '"caption"' in told
    assert '"caption-loss"' in told
