import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_docs_cli_md_says_what_help_says():
    """Where this fails: python docs/make_cli.py."""
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "make_cli.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
