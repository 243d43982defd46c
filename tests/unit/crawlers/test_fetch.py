"""What a request may come to, in words."""

import ast
import pickle
from pathlib import Path

import clipaudit_crawlers
import pytest
from clipaudit_crawlers.fetch import REASONS, DeferredError, DownloadFailed, RefusedError
from clipaudit_crawlers.web.config import WebConfig
from clipaudit_crawlers.web.failures import duration

PACKAGE = Path(clipaudit_crawlers.__file__).parent


def test_every_reason_in_the_code_is_explained():
    used = set()
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args:
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                first = node.args[0]
                if name in {"Broken", "broken", "DownloadFailed"} and isinstance(
                    first, ast.Constant
                ):
                    used.add(first.value)
    words = {reason for reason in REASONS if not reason.startswith("http-")}
    assert used - {"busy"} == words  # of services alone: never a reason of a picture


@pytest.mark.parametrize("reason", ["http-403", "http-404", "http-429", "http-503"])
def test_statuses_are_explained_too(reason):
    assert REASONS[reason]


def test_an_explanation_is_a_phrase_for_a_table():
    for meaning in REASONS.values():
        assert meaning[0].islower()
        assert meaning[-1] not in ".\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 seconds"),
        (45, "45 seconds"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (7199, "120 minutes"),
        (99_999, "28 hours"),
        (86_400 * 2, "2 days"),
        (86_400 * 3650, "3,650 days"),
    ],
)
def test_a_length_of_time_is_told_in_one_unit(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    "error",
    [
        RefusedError("said", "do", 404, {"a": 1}),
        DeferredError("said", "do", "x.example", 60.0),
        DownloadFailed("http-404", "said", is_transient=False, status=404),
    ],
)
def test_errors_survive_the_way_from_another_process(error):
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_a_failed_download_says_why():
    failed = DownloadFailed("timeout", "x.example was silent", is_transient=True)
    assert str(failed) == "timeout: x.example was silent"


def test_the_limits_are_those_that_the_documentation_promises():
    config = WebConfig()
    assert (config.connect_timeout_s, config.read_timeout_s, config.total_timeout_s) == (5, 10, 60)
    assert (config.least_bytes_per_s, config.most_image_bytes) == (1024, 30_000_000)
    assert (config.ports, config.allow_private) == ((80, 443), False)
    assert (config.longest_wait_s, config.per_host, config.most_redirects) == (120, 2, 5)


def test_the_crawlers_need_nothing_of_clipaudit_but_its_errors():
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                if name.partition(".")[0] == "clipaudit":
                    assert name == "clipaudit.errors", f"{file.name} imports {name}"
