"""Pictures that others made to break decoders: fetch them, and say what becomes of each.

    python tests/integration/corpora.py fetch     # some seconds, about 60 MB; again: nothing to do
    python tests/integration/corpora.py golden    # rewrites tests/golden/corpora.json

They lie in $CLIPAUDIT_TEST_CORPORA, else in the user's cache folder, and never in the repository.
`golden` is for a new Pillow or a deliberate change: read the difference before you commit it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "golden" / "corpora.json"
PILLOW = "pillow-13.0.0"
GDK_PIXBUF = "gdk-pixbuf-tests-2.42.10"
CORPORA = (PILLOW, GDK_PIXBUF)

PILLOW_SHA256 = "cdcd1ba258178f7356d74170c9a81ba4eab6a5d55748bc402a5a2a6fe6be3510"


def home() -> Path:
    """The folder that holds a folder of pictures for each corpus."""
    if chosen := os.environ.get("CLIPAUDIT_TEST_CORPORA"):
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_cache_dir("clipaudit")) / "test-corpora"


def fetch() -> None:
    """Fetch what is not there yet; what cannot be had here is said on stderr."""
    for corpus, how in ((PILLOW, _fetch_pillow), (GDK_PIXBUF, _fetch_gdk_pixbuf)):
        target = home() / corpus
        if target.is_dir():
            continue
        home().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home()) as scratch:
            pictures = how(Path(scratch))
            if pictures is not None:
                pictures.rename(target)
                print(f"{corpus}: {target}")


def _fetch_pillow(scratch: Path) -> Path:
    """The pictures of Pillow's source distribution, from PyPI."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "pillow"]
    name, version = PILLOW.split("-")
    subprocess.run([*command, "--quiet", "-d", scratch, f"{name}=={version}"], check=True)
    archive = scratch / f"{PILLOW}.tar.gz"
    if hashlib.sha256(archive.read_bytes()).hexdigest() != PILLOW_SHA256:
        raise SystemExit(f"{archive.name} is not the file that the table was made from")
    folder = f"{PILLOW}/Tests/images"
    with tarfile.open(archive) as files:
        wanted = [member for member in files if member.name.startswith(folder + "/")]
        files.extractall(scratch, members=wanted, filter="data")
    return scratch / folder


def _fetch_gdk_pixbuf(scratch: Path) -> Path | None:
    """The pictures of Debian's package of gdk-pixbuf's tests; None where they cannot be had."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        print(f"{GDK_PIXBUF}: needs Debian's apt-get and dpkg-deb", file=sys.stderr)
        return None
    package, version = GDK_PIXBUF.rsplit("-", 1)
    command = ["apt-get", "download", "--quiet=2", package]
    answer = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
    archives = list(scratch.glob(f"{package}_{version}*.deb"))
    if not archives:
        print(f"{GDK_PIXBUF}: apt-get has none; {answer.stderr.strip()}", file=sys.stderr)
        return None
    subprocess.run(["dpkg-deb", "-x", archives[0], scratch / "x"], check=True)
    (pictures,) = (scratch / "x").rglob("test-images")
    return pictures


def outcomes(corpus: str) -> tuple[dict[str, str], int]:
    """What becomes of each file, and the memory that the worker processes took for it.

    Returns:
        Path below the corpus, with slashes → `ok` or the reason why not; and the highest
        resident memory of all workers together, in bytes (0 where the system does not say).
    """
    import psutil

    from clipaudit.pictures.base import BadImage, Frame, Limits
    from clipaudit.pictures.decoder_pool import DecoderPool
    from clipaudit.pictures.finding import find_images
    from clipaudit.pictures.preparing import Wanted
    from clipaudit.pictures.reading import read_file

    folder = home() / corpus
    limits = Limits()
    wanted = Wanted((Frame(224, "bicubic"),))
    found: dict[str, str] = {}
    futures = {}
    peak_bytes: dict[int, int] = {}
    with DecoderPool(2, limits) as pool:
        for file in find_images([folder], include_hidden=True):
            name = Path(file.path).relative_to(folder).as_posix()
            try:
                if file.problem:
                    raise file.problem
                futures[name] = pool.submit(read_file(file.path, limits), wanted)
            except BadImage as bad:
                found[name] = bad.reason
        for name, future in futures.items():
            try:
                future.result(timeout=120)
                found[name] = "ok"
            except BadImage as bad:
                found[name] = bad.reason
        for pid in pool.pids:
            memory = psutil.Process(pid).memory_info()
            peak_bytes[pid] = getattr(memory, "peak_wset", memory.rss)
            status = Path(f"/proc/{pid}/status")
            if status.exists():
                peaks = [line for line in status.read_text().splitlines() if "VmHWM" in line]
                peak_bytes[pid] = int(peaks[0].split()[1]) * 1024
    return dict(sorted(found.items())), sum(peak_bytes.values())


def write_golden() -> None:
    """Write the table of outcomes, file names grouped by outcome."""
    import PIL

    table: dict[str, dict[str, list[str]]] = {}
    for corpus in CORPORA:
        groups: dict[str, list[str]] = {}
        for name, outcome in outcomes(corpus)[0].items():
            groups.setdefault(outcome, []).append(name)
        table[corpus] = dict(sorted(groups.items()))
    document = {
        "made_by": "python tests/integration/corpora.py golden",
        "pillow": PIL.__version__,
        "tolerance": "none: every file has the outcome that is written here",
        "outcomes": table,
    }
    GOLDEN.write_text(json.dumps(document, indent=1) + "\n")
    for corpus, groups in table.items():
        print(corpus, {outcome: len(names) for outcome, names in groups.items()})


if __name__ == "__main__":
    actions = {"fetch": fetch, "golden": write_golden}
    if len(sys.argv) != 2 or sys.argv[1] not in actions:
        raise SystemExit(__doc__)
    actions[sys.argv[1]]()
