import json
import subprocess
import sys

import pytest

from clipaudit.features.store import default_path
from clipaudit.pipelines import doctor


@pytest.fixture(scope="module")
def checks():
    return doctor.examine()


def states(checks, name):
    return [check.state for check in checks if check.name == name]


def test_it_looks_at_everything(checks):
    names = {check.name for check in checks}
    assert names >= {
        *("Python", "clipaudit", "packages", "torch", "device", "onnxruntime", "Pillow"),
        *("codecs", "inferrers", "store", "weights", "disk", "memory"),
    }


def test_everything_that_is_wrong_comes_with_advice(checks):
    for check in checks:
        assert check.found
        assert check.advice or check.state in {"ok", "note"}


def test_both_runtimes_at_once_are_told_apart(monkeypatch):
    monkeypatch.setattr(doctor, "_version_of", lambda name: "1.0")
    (warning, *_) = doctor._onnxruntime()
    assert warning.state == "warning"
    assert "both installed" in warning.found
    assert "uninstall" in warning.advice


def test_a_package_that_is_missing_is_a_problem(monkeypatch):
    real = doctor._version_of
    monkeypatch.setattr(doctor, "_version_of", lambda name: None if name == "timm" else real(name))
    (problem, rest) = doctor._packages()
    assert problem.state == "problem"
    assert problem.found == "missing: timm"
    assert problem.advice.endswith("-m pip install timm")
    assert "timm" not in rest.found.replace("pytorch-image", "")


def test_a_package_that_does_not_load_is_a_problem(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (problem,) = doctor._torch()
    assert problem.state == "problem"
    assert "does not load" in problem.found


def test_missing_codecs_are_told(monkeypatch):
    from PIL import features

    monkeypatch.setattr(features, "check", lambda name: name != "webp")
    assert "warning" in states(tuple(doctor._pillow()), "codecs")
    monkeypatch.setattr(features, "check", lambda name: name != "jpg")
    assert "problem" in states(tuple(doctor._pillow()), "codecs")


def test_an_old_pillow_is_told(monkeypatch):
    import PIL

    monkeypatch.setattr(PIL, "__version__", "12.1.0")
    (check, *_) = doctor._pillow()
    assert check.state == "warning"
    assert "security" in check.found


def test_a_broken_store_is_a_warning():
    default_path().parent.mkdir(parents=True)
    default_path().write_bytes(b"broken" * 1000)
    (check,) = doctor._store()
    assert check.state == "warning"
    assert "cache clear" in check.advice


def test_a_gpu_that_torch_cannot_use_is_told(monkeypatch):
    monkeypatch.setattr(doctor, "_has_nvidia_gpu", lambda: True)
    import torch

    if torch.cuda.is_available():
        pytest.skip("torch can use it")
    assert states(tuple(doctor._torch()), "device") == ["warning"]


def test_it_prints_and_its_exit_code_says_whether_something_is_broken(command, monkeypatch):
    fine = (doctor.Check("Python", "ok", "3.11"), doctor.Check("HEIF", "note", "none", "pip"))
    monkeypatch.setattr(doctor, "examine", lambda: fine)
    code, out, _ = command("doctor")
    assert code == 0
    assert "ok      Python  3.11" in out
    assert "→ pip" in out
    broken = (*fine, doctor.Check("torch", "problem", "gone [red]\x1b", "pip install torch"))
    monkeypatch.setattr(doctor, "examine", lambda: broken)
    code, out, _ = command("doctor")
    assert code == 4
    assert "gone [red]\\x1b" in out
    code, out, _ = command("doctor", "--json")
    assert code == 4
    assert json.loads(out)["checks"][2]["state"] == "problem"


def test_it_opens_no_connection():
    program = (
        "import socket\n"
        "def no(*a, **k): raise AssertionError('a socket')\n"
        "socket.socket.connect = no\n"
        "from clipaudit.pipelines.doctor import examine\n"
        "examine()\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)


def test_inferrers_are_counted_and_not_listed():
    (check,) = doctor._inferrers()
    assert check.found.endswith(", trained on cifar10, openclipart, tiny-imagenet")
    assert len(check.found) < 60
