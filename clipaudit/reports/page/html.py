"""One HTML file for people: the answer, how it was reached, pictures, limits, how to repeat it.

It opens offline: no script, no link, nothing that is fetched, which its content security policy
enforces. Every text goes through `shown` and is escaped by the template engine, whatever it is, so
no file name breaks out of its place. What is said is in `answer` and `steps_and_limits`,
what is drawn in `plots`, what is shown in `thumbnails`; the look is in `templates/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import PurePath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, BinaryIO

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from clipaudit._version import SCHEMA_VERSION
from clipaudit.reports import answer as page_answers
from clipaudit.reports.page import plots
from clipaudit.reports.page import steps_and_limits as page_words
from clipaudit.reports.page.folders import Folders, shorten, without_folders
from clipaudit.reports.page.thumbnails import MOST_VIEWS, VIEW_PX, Thumbnails, thumbnails
from clipaudit.reports.wording import LIKE, copies
from clipaudit.text.escaping import as_json, common_folder, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from clipaudit.pictures.preparing import Prepared
    from clipaudit.reports.page.plots import Plot
    from clipaudit.results.audit import Audit
    from clipaudit.results.evidence import CalibrationFacts, InferrerComparison
    from clipaudit.results.rows import Place, Row

N_PICTURES = 5
"""Pictures that are shown at each end of the ranking."""

_MOST_ROWS = 500
_MOST_SKIPPED = 100


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture in the report.

    Attributes:
        name: Its path within the folder that all are in.
        rank: Its place, 1 for the one most like a member.
        row: What was found.
        copies: How many more files have its bytes; empty where none has.
        look: What can be shown of it.
    """

    name: str
    rank: int
    row: Row
    copies: str
    look: Thumbnails


def dump(
    audit: Audit,
    file: BinaryIO,
    n_pictures: int = N_PICTURES,
    decoded: Mapping[str, Prepared] = MappingProxyType({}),
    paths: Folders = "names",
) -> None:
    """Write it; see `reports.formats.Dump`.

    Args:
        audit: What to tell.
        file: An open file.
        n_pictures: Pictures to show at each end of the ranking, none where 0. They are read
            again, unless the store knows how they look, and those that have changed are not shown.
        decoded: What the run made of pictures, by SHA-256; these are not read again. See
            `thumbnails.Gallery`.
        paths: How files and folders are named.

    Raises:
        EncoderError: The processes that decode do not start.
    """
    template = _environment().get_template("page.html")
    for part in template.generate(**_context(audit, n_pictures, decoded, paths)):
        file.write(part.encode())


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("clipaudit.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["prose"] = _unbroken
    environment.filters["like"] = LIKE.__getitem__
    return environment


def _unbroken(text: str) -> str:
    """A sentence in which no line ends between a number and its unit."""
    return text.replace(" %", "\u00a0%").replace(" = ", "\u00a0=\u00a0")


def _printable(value: object) -> object:
    """What goes into the page: text with no character that could be taken for another thing."""
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _context(
    audit: Audit, n_pictures: int, decoded: Mapping[str, Prepared], paths: Folders
) -> dict[str, Any]:
    places = audit.places()
    name_of = _names(audit, paths)
    most, least = _ends(places, n_pictures)
    ends_of_ranking = [place.row for place in (*most, *least)]
    looks = thumbnails(ends_of_ranking, audit.run, decoded) if n_pictures else {}
    audit = without_folders(audit, paths)
    run = audit.run
    ends = [
        [
            Picture(
                name_of(row),
                rank,
                row,
                copies(n_copies) if n_copies else "",
                looks.get(row.sha256 or "", Thumbnails()),
            )
            for rank, row, n_copies in end
        ]
        for end in (most, least)
    ]
    return {
        "run": run,
        "schema_version": SCHEMA_VERSION,
        "audit": audit,
        "question": page_answers.question(run),
        "notices": page_answers.notices(audit),
        "answers": page_answers.answers(audit),
        "steps": page_words.steps(audit),
        "limits": tuple(page_words.limits(audit)),
        "plots": tuple(_plots(audit)) if places else (),
        "frame": {"width": plots.WIDTH, "left": plots.LEFT, "right": plots.RIGHT},
        "most": ends[0],
        "least": ends[1],
        "most_views": MOST_VIEWS,
        "view_px": VIEW_PX,
        "table": _table(places, name_of),
        "n_left_out": max(0, len(places) - _MOST_ROWS),
        "skipped": [(name_of(row), row.error or "unknown") for row in audit.skipped],
        "most_skipped": _MOST_SKIPPED,
        "encoders": run.named_encoders,
        "config": as_json(run.config, indent=2).splitlines(),
    }


def _names(audit: Audit, paths: Folders) -> Callable[[Row], str]:
    """What gives a file's name in the report, without the folders above all files."""
    folder = common_folder(row.path for row in audit)
    is_one = all(row.path == audit[0].path for row in audit)

    def name_of(row: Row) -> str:
        name = (PurePath(row.path).name or row.path) if is_one else row.path.removeprefix(folder)
        return shorten(name, paths)

    return name_of


def _ends(places: Sequence[Place], n_pictures: int) -> tuple[Sequence[Place], Sequence[Place]]:
    """The first and the last different pictures; none is in both."""
    n_most = min(n_pictures, (len(places) + 1) // 2)
    n_least = min(n_pictures, len(places) - n_most)
    return places[:n_most], places[len(places) - n_least :]


def _table(
    places: Sequence[Place], name_of: Callable[[Row], str]
) -> list[tuple[int, str, Row, str]]:
    """Every different picture; of too many, as many from each end."""
    if len(places) > _MOST_ROWS:
        places = [*places[: _MOST_ROWS // 2], *places[-_MOST_ROWS // 2 :]]
    return [
        (rank, name_of(row), row, copies(n_copies) if n_copies else "")
        for rank, row, n_copies in places
    ]


def _plots(audit: Audit) -> Iterator[Plot]:
    """The scores of the first inferrer, which ranks the pictures and judges the set."""
    run = audit.run
    if not run.inferrers:
        means = {row.sha256: row.mean_similarity or 0.0 for row in audit.scored}
        sample = plots.Sample("suspects", "these pictures", tuple(means.values()))
        label = f"mean {run.similarity} similarity of the views"
        caption = "How alike the encoder finds the views of each picture, 1 being the same."
        yield plots.histogram([sample], "Similarity of the views", caption, label)
        yield plots.by_rank([sample], "Pictures by similarity", caption, label)
        return
    name = run.inferrers[0].name
    found = _by_inferrer(audit, name)
    calibration = next((facts for facts in audit.calibrations if facts.inferrer == name), None)
    comparison = audit.comparison.by_inferrer[0] if audit.comparison else None
    samples = list(_samples(found, calibration, comparison))
    label = f"score by {name}; higher is more like a member"
    yield plots.histogram(
        samples,
        "How the scores spread",
        _caption(calibration, comparison),
        label,
        _mark(audit, calibration),
    )
    yield plots.by_rank(
        samples,
        "The same, picture by picture",
        "Each set from its highest score to its lowest. "
        + (
            "Where the dots of these pictures run above the others, they score higher."
            if len(samples) > 1
            else "A few dots far above the rest would stand out on the left."
        ),
        "score",
    )
    if calibration is not None:
        yield plots.p_values(
            list(_by_inferrer(audit, name, "p_value").values()),
            "p-values",
            "If none of the pictures had been used, all bars would be about as high as the line. "
            "Used pictures pile up on the left.",
        )


def _by_inferrer(audit: Audit, inferrer: str, field: str = "score") -> dict[str, float]:
    """A number of each different picture, in the order of the rows."""
    return {
        row.sha256 or row.path: value
        for row in audit.scored
        for finding in row.findings
        if finding.inferrer == inferrer and (value := getattr(finding, field)) is not None
    }


def _samples(
    found: dict[str, float],
    calibration: CalibrationFacts | None,
    comparison: InferrerComparison | None,
) -> Iterator[plots.Sample]:
    yield plots.Sample("suspects", "these pictures", tuple(found.values()))
    if comparison is not None and comparison.control_scores:
        yield plots.Sample("control", "control", comparison.control_scores)
    if calibration is not None and calibration.null_scores:
        yield plots.Sample("known", "known non-members", calibration.null_scores)


def _caption(calibration: CalibrationFacts | None, comparison: InferrerComparison | None) -> str:
    others = ["the control"] if comparison else []
    others += ["the known non-members"] if calibration else []
    if not others:
        return "The scores of all pictures. By themselves they do not tell which were used."
    return (
        f"The scores of these pictures, above those of {' and '.join(others)}, which cannot have "
        "been used. All on one scale; bars further to the right are more like members."
    )


def _mark(audit: Audit, calibration: CalibrationFacts | None) -> tuple[float, str] | None:
    """The line that a score must cross: that of the calibration, else that of the inferrer."""
    levels = audit.levels
    if calibration is None or levels is None or not calibration.null_scores:
        return audit.run.inferrers[
            0
        ].threshold, "right of the line: read as members, not calibrated"
    # A member's p, (1 + number of known scores at or above its own) / (n + 1), is at most the FPR.
    n_above = int(levels.fpr * (len(calibration.null_scores) + 1) + 1e-9)
    if n_above < 1 or calibration.is_of_another_kind:
        return None
    return calibration.null_scores[-n_above], "right of the line: called members"
