"""Starting: torch and the encoders' libraries are loaded where they are used, and not before."""

from __future__ import annotations

from benchmarks.cases.processes import python, require_equal
from benchmarks.contest import Case, Contest, Way, Workplace

_LIBRARIES = "import torch, open_clip, timm, torchvision, sklearn, scipy.stats"
_BARE = Way("floor", "Python alone", python("-c", "pass"))


def _help(size: int, place: Workplace) -> Contest:
    main = "import sys; sys.argv[0] = 'clipaudit'; from clipaudit.cli.app import main; "
    call = "main(['--help'])"
    return Contest(
        (
            Way("product", "`clipaudit --help`", python("-c", main + call)),
            Way("naive", "with all libraries loaded", python("-c", f"{_LIBRARIES}; {main}{call}")),
            _BARE,
        ),
        require_equal,
    )


def _import(size: int, place: Workplace) -> Contest:
    names = "import clipaudit; print(sorted(clipaudit.__all__))"
    return Contest(
        (
            Way("product", "`import clipaudit`", python("-c", names)),
            Way("naive", "with all libraries loaded", python("-c", f"{_LIBRARIES}; {names}")),
            _BARE,
        ),
        require_equal,
    )


HELP = Case("`clipaudit --help`, from process to process", "run", (1,), (1,), _help)
IMPORT = Case("`import clipaudit` in a new process", "run", (1,), (1,), _import)
