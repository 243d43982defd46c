"""Every table for people at every width: it fits, and no cell is narrower than its least."""

import re
from functools import partial

import pytest
from rich.cells import cell_len
from rich.text import Text

from clipaudit.cli.calibrations import calibrations_table
from clipaudit.cli.encoders import encoders_table, references_table
from clipaudit.encoders.catalog import EncoderEntry, list_encoders
from clipaudit.encoders.expectation import expect
from clipaudit.encoders.references import find_references
from clipaudit.reports import expectation
from clipaudit.reports.audit import table as audit_table
from clipaudit.reports.evaluation import table as evaluation_table
from clipaudit.reports.lookup import table as lookup_table
from clipaudit.reports.tables import LEAST_NAME, Column, FileName, fitted_table, plain_text
from tests.made.audits import (
    INFERRERS,
    audit_of,
    calibrated,
    controlled,
    kept,
    realistic,
    scored,
    with_reference,
)
from tests.made.evaluations import evaluation
from tests.unit.reports.lookup.test_files import FOUND

WIDTHS = (40, 60, 80, 100, 200)
LONG = "a folder with a long name/" * 4 + "the name of a picture that is long.png"


def audits():
    """What a run may give: calibrated or not, by no, one or several inferrers, with all else."""
    for n in (0, 1, 3):
        yield realistic(40, INFERRERS[:n])
    yield controlled(calibrated(realistic(40)))
    yield with_reference()
    one_picture = scored(LONG, INFERRERS[:1])
    yield audit_of([one_picture, one_picture, scored("x/b.png", INFERRERS[:1])], INFERRERS[:1])


def tables():
    for number, audit in enumerate(audits()):
        for details in (False, True):
            name = f"score {number}{', details' if details else ''}"
            yield name, partial(audit_table.show, audit, details=details)
    yield "lookup", partial(lookup_table.show, FOUND)
    for confounded in (False, True):
        found = evaluation(is_confounded=confounded)
        yield f"evaluate, {confounded}", partial(evaluation_table.show, found)
    yield "expect", partial(expectation.show, expect("ViT-B-32/openai", 200))
    entries = [entry for entry in list_encoders() if "ViT" in entry.spec][:60]
    yield "encoders", lambda page: page.print(encoders_table(entries, page.width))
    near = find_references("ViT-B-32/laion400m_e32")
    yield "references", lambda page: page.print(references_table(near, page.width))
    run = realistic(3).run
    files = [kept(run, facts, [0.1, 0.2]) for facts in INFERRERS]
    yield "calibrations", lambda page: page.print(calibrations_table(files, page.width))


TABLES = dict(tables())


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", TABLES)
def test_no_line_is_wider_than_the_screen(name, width):
    text = plain_text(TABLES[name], width)
    assert max(map(cell_len, text.splitlines())) <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_every_file_shows_twenty_cells_of_its_end_at_least(width):
    for audit in audits():
        text = plain_text(partial(audit_table.show, audit), width)
        lines = text.rpartition("━\n")[2]
        places = audit.places()
        for place in places if len(places) <= 20 else (*places[:10], *places[-10:]):
            end = place.row.path
            while cell_len(end) > 20:
                end = end[1:]
            assert end in lines, (width, place.row.path)


@pytest.mark.parametrize("width", WIDTHS)
def test_scores_stand_below_one_another(width):
    text = plain_text(partial(audit_table.show, realistic(40, INFERRERS[:1])), width)
    scores = re.findall(r"^(.*\.(?:png|jpg|webp) .*\d\.\d{3})(?!\d)", text, re.MULTILINE)
    assert len(scores) == 20
    assert len(set(map(cell_len, scores))) == 1


def columns_at(width, columns):
    text = plain_text(lambda page: page.print(fitted_table(columns, page.width)), width)
    return text.splitlines()[0].split()


def test_columns_leave_in_their_order_and_the_others_keep_their_least():
    columns = [
        Column("file", [FileName(LONG)], least=LEAST_NAME),
        Column("first", ["f" * 12], leaves=1),
        Column("third", ["t" * 12], leaves=3),
        Column("second", ["s" * 12], leaves=2),
        Column("stays", ["1.234"], is_number=True),
    ]
    least = LEAST_NAME + 5 + 3 * 12 + 4
    assert columns_at(least, columns) == ["file", "first", "third", "second", "stays"]
    assert columns_at(least - 1, columns) == ["file", "third", "second", "stays"]
    assert columns_at(least - 14, columns) == ["file", "third", "stays"]
    assert columns_at(40, columns) == ["file", "stays"]
    assert "1.234" in plain_text(lambda page: page.print(fitted_table(columns, page.width)), 40)


@pytest.mark.parametrize("width", [*WIDTHS, 41, 59, 61, 79, 99])
@pytest.mark.parametrize("number", range(6))
def test_no_cell_is_narrower_than_its_least(width, number):
    audit = list(audits())[number]
    columns = audit_table.picture_columns(audit.places(), audit, "")
    for column, cells in fitted_widths(columns, width):
        assert cells >= column.narrowest


def fitted_widths(columns, width):
    from clipaudit.reports.tables import fit

    staying, widths, gap = fit(columns, width)
    assert sum(widths) + gap * len(widths) - 1 <= width
    return zip(staying, widths, strict=True)


@pytest.mark.parametrize("width", [80, 100, 200])
@pytest.mark.parametrize("number", range(6))
def test_the_summary_has_twelve_lines_at_most(width, number):
    text = plain_text(partial(audit_table.show, list(audits())[number]), width)
    summary = text[text.index("╭─ Summary") :]
    assert len(summary.splitlines()) <= 12
    assert "--details" in summary


def test_an_encoder_of_any_name_is_listed_whole():
    name = "transformers:" + "long" * 20
    entry = EncoderEntry(name, "transformers", "embedding", False, "", None)
    text = plain_text(lambda page: page.print(encoders_table([entry], page.width)), 40)
    assert "".join(line.split(" ")[0] for line in text.splitlines()[2:]) == name


def test_markup_and_text_of_others_stay_text():
    columns = [Column("[red]", ["[bold]a[/]", Text("[b]")])]
    text = plain_text(lambda page: page.print(fitted_table(columns, page.width)), 40)
    assert "[red]" in text
    assert "[bold]a[/]" in text
