"""The HTML report where people open it: in a real browser, from the disk, without a network."""

import os
from dataclasses import replace

import pytest
from PIL import Image

import clipaudit
from clipaudit.reports.formats import write
from tests.made.audits import audit_of, scored
from tests.made.nasty_audits import HOSTILE, hostile
from tests.services import chromium

CANARY = "/canary"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium.Browser(chromium.installed(), tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture(scope="module")
def report(known_truth, tmp_path_factory):
    """Pictures that an encoder was trained on, under hostile names, against a control."""
    cache = tmp_path_factory.mktemp("cache")
    suspects = known_truth.folder.parent / "hostile-suspects"
    (suspects / "and more").mkdir(parents=True, exist_ok=True)
    names = [name for name in HOSTILE if "/" not in name and len(name) < 200]
    for number, source in enumerate(sorted((known_truth.folder / "members").iterdir())):
        name = names[number] if number < len(names) else f"and more/{source.name}"
        (suspects / os.fsdecode(os.fsencode(name))).write_bytes(source.read_bytes())
    (suspects / "no picture.png").write_text("text")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLIPAUDIT_CACHE_DIR", str(cache))
        clipaudit.calibrate(
            known_truth.folder / "others", encoder=known_truth.overfitted, workers=1
        )
        audit = clipaudit.score(
            suspects,
            encoder=known_truth.overfitted,
            control=known_truth.folder / "nonmembers",
            workers=1,
            fpr=0.05,
        )
    path = tmp_path_factory.mktemp("report") / "report.html"
    write(audit, path)
    return path, audit


def test_the_harness_sees_what_a_bad_page_does(browser, tmp_path, httpserver):
    httpserver.expect_request(CANARY).respond_with_data("seen")
    path = tmp_path / "bad.html"
    path.write_text(
        f"<img src='{httpserver.url_for(CANARY)}'><script>alert('boo'); console.error('oh')"
        "</script>"
    )
    seen = browser.open(path.as_uri())
    assert seen.requests == [path.as_uri(), httpserver.url_for(CANARY)]
    assert seen.dialogs == ["boo"]
    assert any("oh" in line for line in seen.complaints)
    assert [request.path for request, _ in httpserver.log] == [CANARY]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1200, 400])
def test_it_opens_offline_says_nothing_asks_for_nothing_and_fits(
    browser, report, tmp_path, width, dark
):
    path, audit = report
    assert audit.comparison.by_inferrer[0].outcome == "higher"
    seen = browser.open(path.as_uri(), width, dark=dark)
    assert {address for address in seen.requests if not address.startswith("data:")} == {
        path.as_uri()
    }
    assert seen.complaints == []
    assert seen.dialogs == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate("document.scripts.length") == 0
    pictures = browser.evaluate(
        "[...document.images].map(one => one.complete && one.naturalWidth > 0)"
    )
    assert pictures == [True] * 10 * 11
    screenshot = tmp_path / "screenshot.png"
    browser.screenshot(screenshot)
    with Image.open(screenshot) as image:
        assert image.width == width
        assert image.height > 3000
        ground = image.convert("L").tobytes()[2 * width + 2]
    assert ground < 64 if dark else ground > 192


def test_what_a_hostile_run_says_stays_text(browser, tmp_path, httpserver):
    beacon = httpserver.url_for(CANARY)
    names = [
        f'"><img src="{beacon}" onerror="alert(1)">',
        f"</style><style>body{{background:url({beacon})}}</style>",
        f"</title><script>fetch('{beacon}');alert(1)</script>",
        f'<meta http-equiv="refresh" content="0;url={beacon}">',
        f"<iframe src={beacon}></iframe><link rel=stylesheet href={beacon}>",
        f'<base href="{beacon}"><svg/onload=alert(1)>',
    ]
    base = hostile()
    rows = (*base.rows, *(scored(name, base.run.inferrers) for name in names))
    run = replace(base.run, command=" ".join(names), config=dict.fromkeys(names, names))
    path = tmp_path / "report.html"
    write(replace(base, run=run, rows=rows), path, paths="full")
    seen = browser.open(path.as_uri())
    assert seen.requests == [path.as_uri()]
    assert seen.complaints == []
    assert seen.dialogs == []
    assert httpserver.log == []
    counted = browser.evaluate(
        "['script','iframe','link','base','img','a','form','object']"
        ".map(tag => document.getElementsByTagName(tag).length)"
    )
    assert counted == [0] * 8
    assert browser.evaluate("document.querySelectorAll('style').length") == 1
    text = browser.evaluate("document.body.textContent")
    for name in names:
        assert name in text


def test_it_prints(browser, report, tmp_path):
    browser.open(report[0].as_uri(), dark=True)
    browser.print(tmp_path / "report.pdf")
    content = (tmp_path / "report.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert 3 <= content.count(b"/Type /Page\n") <= 20


def test_even_a_page_with_a_hole_could_not_run_or_fetch(browser, tmp_path, httpserver):
    """The policy is a second wall: here the first one is torn down on purpose."""
    path = tmp_path / "report.html"
    write(audit_of([scored("HOLE"), scored("b")]), path)
    hole = f"<img src={httpserver.url_for(CANARY)} onerror=alert(1)><script>alert(2)</script>"
    path.write_text(path.read_text().replace("HOLE", hole))
    seen = browser.open(path.as_uri())
    assert seen.dialogs == []
    assert httpserver.log == []
    assert any("Content Security Policy" in line for line in seen.complaints)
