"""What this machine has of all that clipaudit needs, and what to do about the rest.

Opens no connection, changes nothing, and looks at everything even where something is broken.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from clipaudit._version import __version__
from clipaudit.errors import EXTRAS, ClipAuditError, MissingExtraError
from clipaudit.files import NoHomeError, cache_dir
from clipaudit.telemetry import load_onnxruntime
from clipaudit.text.numbers import count

State = Literal["ok", "note", "warning", "problem"]
"""`note`: worth knowing; `warning`: something will not work; `problem`: nothing will."""

_NEEDED = (
    "huggingface-hub",
    "numpy",
    "open-clip-torch",
    "pyarrow",
    "safetensors",
    "scikit-learn",
    "scipy",
    "timm",
    "torchvision",
)
_NEEDED_BY = {
    "crawl": "build-eval needs",
    "ray": "--engine ray needs",
    "remote": "pictures at s3://, gs:// and https:// need",
    "train": "the figures of lab and evaluate need",
    "transformers": "encoders of that library and SigLIP's captions need",
}
_CODECS = {
    "jpg": "JPEG",
    "zlib": "PNG",
    "webp": "WebP",
    "avif": "AVIF",
    "jpg_2000": "JPEG 2000",
    "libtiff": "TIFF",
}
_LITTLE_SPACE = 2e9  # the default encoder's weights take 0.6 GB, and as much again as ONNX
_LITTLE_MEMORY = 2e9


@dataclass(frozen=True, slots=True)
class Check:
    """A part of what clipaudit needs, and its state.

    Attributes:
        name: Name of the part.
        state: See `State`.
        found: What there is.
        advice: What to do; empty where there is nothing to do.
    """

    name: str
    state: State
    found: str
    advice: str = ""


def examine() -> tuple[Check, ...]:
    """Look at everything; takes the seconds that torch needs to load."""
    checks: tuple[Callable[[], Iterator[Check]], ...] = (
        _python,
        _packages,
        _extras,
        _torch,
        _onnxruntime,
        _pillow,
        _inferrers,
        _store,
        _hub,
        _space,
        _memory,
        _variables,
    )
    return tuple(check for checks_of_part in checks for check in checks_of_part())


def _python() -> Iterator[Check]:
    where = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield Check("Python", "ok", where)
    yield Check("clipaudit", "ok", __version__)


def _packages() -> Iterator[Check]:
    missing = [name for name in _NEEDED if _version_of(name) is None]
    found = ", ".join(f"{name} {_version_of(name)}" for name in _NEEDED if name not in missing)
    if missing:
        yield Check(
            "packages", "problem", f"missing: {', '.join(missing)}", _install(" ".join(missing))
        )
    if found:
        yield Check("packages", "ok", found)


def _extras() -> Iterator[Check]:
    """Extras that no other check speaks of."""
    for extra, need in _NEEDED_BY.items():
        missing = [module for module in EXTRAS[extra] if find_spec(module) is None]
        if missing:
            found = f"no {', '.join(missing)}, which {need}"
            yield Check("extras", "note", found, f"pip install '.[{extra}]' in the checkout")


def _torch() -> Iterator[Check]:
    try:
        import torch
    except Exception as error:  # noqa: BLE001 - a broken build raises what it likes
        yield _does_not_load("torch", error)
        return
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
    yield Check("torch", "ok", f"{torch.__version__}, built with {built}")
    threads = count(torch.get_num_threads(), "thread")
    if torch.cuda.is_available():
        n_devices = torch.cuda.device_count()
        names = ", ".join(torch.cuda.get_device_name(index) for index in range(n_devices))
        yield Check("device", "ok", f"{n_devices} × CUDA: {names}")
    elif torch.backends.mps.is_available():
        yield Check("device", "ok", f"MPS, and a processor with {threads}")
    elif _has_nvidia_gpu():
        yield Check(
            "device",
            "warning",
            f"a processor with {threads}; there is an NVIDIA GPU that torch cannot use",
            "Update the NVIDIA driver."
            if torch.version.cuda
            else "Install torch with CUDA: pytorch.org says how.",
        )
    else:
        yield Check("device", "ok", f"a processor with {threads}")


def _onnxruntime() -> Iterator[Check]:
    variants = {name: _version_of(name) for name in ("onnxruntime", "onnxruntime-gpu")}
    installed = [name for name, found in variants.items() if found]
    if len(installed) == 2:
        yield Check(
            "onnxruntime",
            "warning",
            "onnxruntime and onnxruntime-gpu are both installed, and one hides the other",
            f"{sys.executable} -m pip uninstall -y onnxruntime onnxruntime-gpu, then "
            f"{sys.executable} -m pip install onnxruntime-gpu (or onnxruntime without a GPU).",
        )
    try:
        module = load_onnxruntime()
        providers = [str(name) for name in module.get_available_providers()]
    except MissingExtraError as error:
        yield Check("onnxruntime", "note", "not installed: torch runs encoders", error.hint)
        return
    except Exception as error:  # noqa: BLE001 - a broken build raises what it likes
        yield _does_not_load("onnxruntime", error)
        return
    names = ", ".join(name.removesuffix("ExecutionProvider") for name in providers)
    variant = " and ".join(installed) or "onnxruntime"
    yield Check("onnxruntime", "ok", f"{variant} {module.__version__}, providers {names}")
    if _has_nvidia_gpu() and "CUDAExecutionProvider" not in providers:
        yield Check(
            "onnxruntime",
            "warning",
            "there is an NVIDIA GPU, and this onnxruntime cannot use it",
            f"{sys.executable} -m pip uninstall -y onnxruntime, then "
            f"{sys.executable} -m pip install --force-reinstall onnxruntime-gpu.",
        )


def _pillow() -> Iterator[Check]:
    try:
        import PIL
        from PIL import features
    except Exception as error:  # noqa: BLE001 - a broken build raises what it likes
        yield _does_not_load("Pillow", error)
        return
    if int(PIL.__version__.partition(".")[0]) < 13:
        yield Check(
            "Pillow",
            "warning",
            f"{PIL.__version__}, which has known security holes in its decoders",
            _install("'pillow>=13'"),
        )
    else:
        yield Check("Pillow", "ok", PIL.__version__)
    has = {name: bool(features.check(feature)) for feature, name in _CODECS.items()}
    yield Check("codecs", "ok", ", ".join(name for name, there in has.items() if there))
    if missing := [name for name, there in has.items() if not there]:
        serious = not (has["JPEG"] and has["PNG"])
        yield Check(
            "codecs",
            "problem" if serious else "warning",
            f"missing: {', '.join(missing)}",
            "Install Pillow's own wheel: "
            + _install("--force-reinstall --only-binary :all: pillow").removesuffix("."),
        )
    if heif := _version_of("pillow-heif"):
        yield Check("codecs", "ok", f"HEIF, by pillow-heif {heif}")
    else:
        yield Check(
            "codecs",
            "note",
            "no HEIF (iPhone photos)",
            f"{sys.executable} -m pip install '.[heif]' in the checkout",
        )


def _inferrers() -> Iterator[Check]:
    from clipaudit.inferrers.library import list_inferrers

    try:
        cards = list_inferrers()
    except ClipAuditError as error:
        yield Check("inferrers", "problem", str(error), error.hint)
        return
    if cards:
        data = ", ".join(dict.fromkeys(card.shadow.data for card in cards))
        yield Check("inferrers", "ok", f"{len(cards)}, trained on {data}")
    else:
        yield Check(
            "inferrers",
            "problem",
            "none came with this package",
            "Install clipaudit again, or make some with `clipaudit train`.",
        )


def _store() -> Iterator[Check]:
    from clipaudit.features import store
    from clipaudit.features.database import StoreUnavailable

    try:
        path = store.default_path()
    except NoHomeError as error:
        yield Check("store", "warning", str(error), error.hint)
        return
    if not path.exists():
        yield Check("store", "ok", f"{path}, not made yet")
        return
    try:
        with store.FeatureStore(path) as opened:
            info = opened.info()
    except StoreUnavailable as error:
        yield Check("store", "warning", str(error), error.hint)
        return
    size = _size(info.size_bytes)
    yield Check("store", "ok", f"{path}, {size}, features of {count(info.n_images, 'image')}")


def _hub() -> Iterator[Check]:
    try:
        from huggingface_hub import CacheNotFound, constants, scan_cache_dir
    except Exception as error:  # noqa: BLE001 - a broken install raises what it likes
        yield _does_not_load("huggingface-hub", error)
        return
    if Path(constants.HF_HUB_CACHE).parts[:1] == ("~",):
        yield Check("weights", "warning", "no home folder to keep them in", "Set HF_HOME.")
        return
    try:
        found = scan_cache_dir()
        n_repos = count(len(found.repos), "repository", "repositories")
        size = f"{_size(found.size_on_disk)} in {n_repos}"
    except CacheNotFound:
        size = "not made yet"
    yield Check("weights", "ok", f"{constants.HF_HUB_CACHE}, {size}")
    if constants.HF_HUB_OFFLINE:
        yield Check(
            "network",
            "note",
            "HF_HUB_OFFLINE is set: weights come from this machine alone",
            "Unset it to download weights.",
        )


def _space() -> Iterator[Check]:
    try:
        folder = cache_dir().absolute()
    except NoHomeError:  # the store has said it
        folder = Path.cwd()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < _LITTLE_SPACE:
        yield Check(
            "disk",
            "warning",
            f"{_size(free)} free for {folder}",
            "Free some space, or move the caches with CLIPAUDIT_CACHE_DIR and HF_HOME.",
        )
    else:
        yield Check("disk", "ok", f"{_size(free)} free for {folder}")


def _memory() -> Iterator[Check]:
    try:
        psutil = import_module("psutil")
    except ImportError as error:
        yield _does_not_load("psutil", error)
        return
    memory = psutil.virtual_memory()
    found = f"{_size(memory.available)} free of {_size(memory.total)}"
    if memory.available < _LITTLE_MEMORY:
        yield Check("memory", "warning", found, "Close other programs; ViT-B/32 needs about 2 GB.")
    else:
        yield Check("memory", "ok", found)


def _variables() -> Iterator[Check]:
    names = ("HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_HUB_OFFLINE", "TORCH_HOME")
    variables = {
        name: value
        for name, value in sorted(os.environ.items())
        if name.startswith("CLIPAUDIT_") or name in names
    }
    if variables:
        yield Check("environment", "note", ", ".join(f"{k}={v}" for k, v in variables.items()))


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _has_nvidia_gpu() -> bool:
    driver = Path("/proc/driver/nvidia/gpus")
    if driver.is_dir():
        return any(driver.iterdir())
    return sys.platform == "win32" and shutil.which("nvidia-smi") is not None


def _does_not_load(package: str, error: Exception) -> Check:
    reason = " ".join(str(error).split()) or type(error).__name__
    return Check(package, "problem", f"does not load: {reason}", _install(package.lower()))


def _install(what: str) -> str:
    return f"{sys.executable} -m pip install {what}"


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"
