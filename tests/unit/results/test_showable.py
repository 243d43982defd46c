"""A result in Python and in a notebook: displayed, printed, kept, and read back."""

from html.parser import HTMLParser

import pytest

import clipaudit
from clipaudit.errors import UsageError
from clipaudit.reports.formats import render
from tests.made.audits import audit_of, calibrated, controlled, realistic, scored
from tests.made.evaluations import evaluation
from tests.made.lists import datacomp, url


class Words(HTMLParser):
    """The text of a page, and the names of its elements."""

    def __init__(self, html):
        super().__init__()
        self.text, self.elements = "", set()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def found(tmp_path):
    datacomp(tmp_path / "list.parquet", range(10))
    return clipaudit.lookup(url(3), metadata=tmp_path / "list.parquet")


@pytest.mark.parametrize("make", [lambda: controlled(calibrated(realistic(30))), evaluation])
def test_a_notebook_displays_what_a_terminal_shows(make):
    result = make()
    words = Words(result._repr_html_())
    assert words.elements <= {"pre", "span"}
    assert words.text.split() == render(result).split()


def test_a_name_that_is_markup_is_text():
    words = Words(audit_of([scored("<script>1</script>[bold]")])._repr_html_())
    assert words.elements <= {"pre", "span"}
    assert "<script>" in words.text
    assert "[bold]" in words.text


def test_show_prints_the_table(capsys):
    realistic(30).show()
    assert "Most like members" in capsys.readouterr().out


@pytest.mark.parametrize("ending", ["html", "json", "csv"])
def test_save_writes_by_the_ending_and_gives_the_file(tmp_path, ending):
    audit = realistic(3)
    path = tmp_path / f"a.{ending}"
    assert audit.save(path) == path
    assert audit.save(str(path)).stat().st_size
    if ending == "json":
        assert clipaudit.read(path) == audit


def test_save_says_what_endings_there_are(tmp_path):
    with pytest.raises(UsageError) as caught:
        realistic(3).save(tmp_path / "a.docx")
    assert ".html" in caught.value.hint


def test_a_link_is_replaced_only_on_demand(tmp_path):
    (tmp_path / "mine").write_text("mine")
    link = tmp_path / "a.json"
    link.symlink_to(tmp_path / "mine")
    with pytest.raises(UsageError, match="is a link"):
        realistic(3).save(link)
    realistic(3).save(link, force=True)
    assert (tmp_path / "mine").read_text() == "mine"
    assert not link.is_symlink()


def test_a_lookup_is_found_displayed_and_kept(found, tmp_path):
    assert [answer.status for answer in found] == ["listed"]
    assert "Listed (1)" in Words(found._repr_html_()).text
    assert found.save(tmp_path / "found.csv").stat().st_size
