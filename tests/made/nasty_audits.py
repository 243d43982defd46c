"""Audits whose names and texts break what is written carelessly."""

from __future__ import annotations

from dataclasses import replace

from tests.made.audits import ENCODER, audit_of, calibrated, controlled, scored, skipped

NASTY = [
    "new\nline.png",
    "carriage\rreturn.png",
    "tab\tand\vmore\f.png",
    "\x1b[2Jclears the screen.png",
    "\x1b]0;title\x07.png",
    "bell\x07 backspace\x08.png",
    "delete\x7f.png",
    "c1\x9b31m.png",
    "not utf-8 \udcff\udcfe.png",
    "latin-1 caf\udce9.jpg",
    "=cmd|' /C calc'!A0.png",
    "+1+1.png",
    "-rf.png",
    "@SUM(1).png",
    "\t=1+1.png",
    "＝1+1.png",
    "'quoted'.png",
    '"double".png',
    'comma, "quote", semicolon;.png',
    "[red]markup[/red].png",
    "[/]broken markup.png",
    "[link=http://example.org]x[/link].png",
    "back\\slash\\x1b\\n.png",
    "%s %d {0} $HOME `id`.png",
    "<script>alert(1)</script>.png",
    "evil\u202egnp.exe",
    "zero\u200bwidth\ufeff.png",
    "line\u2028separator\u2029.png",
    "日本の風景画 🏞️.png",
    "e\u0301 is not é.png",
    " leading and trailing .png ",
    "null.png",
    "nan",
    "x" * 255,
    "folder/" * 40 + "deep.png",
    "#comment.png",
    "\ufeffbom.png",
]


def nasty_audit(names=NASTY):
    """Every third file was skipped; the reasons and notes hold the names again."""
    rows = [
        scored(name, notes=(f"note of {name}",)) if index % 3 else skipped(name, f"why: {name}")
        for index, name in enumerate(names)
    ]
    return audit_of(rows, command=f"clipaudit score {' '.join(names)}")


HOSTILE = [
    '"><img src=x onerror=alert(1)>.png',
    "'><svg onload=alert(1)>.png",
    "</style><script>alert(1)</script>.png",
    "</title></pre></code><h1>Broken out",
    "javascript:alert(1)//.png",
    "{{7*7}}{% for x in range(9) %}x{% endfor %}.png",
    "&lt;b&gt; &amp; <!-- comment",
    "]]><![CDATA[x",
    "evil\u202egnp.exe",
    "new\nline\r.png",
    "not utf-8 \udcff.png",
    "http://example.org/beacon.png",
    "x" * 255,
]


def hostile():
    """Names, notes, errors and every other text of a run, chosen by somebody who means harm."""
    rows = [scored(name, notes=(name,)) for name in HOSTILE]
    rows += [skipped(name, f"{name}: {name}") for name in HOSTILE]
    nasty = HOSTILE[0]
    audit = controlled(calibrated(audit_of(rows)), outcome="different")
    run = audit.run
    run = replace(
        run,
        command=" ".join(HOSTILE),
        config={name: name for name in HOSTILE},
        versions={name: name for name in HOSTILE},
        encoder=replace(ENCODER, spec=nasty, backend=nasty, device=HOSTILE[2]),
        inferrers=tuple(replace(one, trained_on=nasty, evidence=nasty) for one in run.inferrers),
        recipe=nasty,
    )
    return replace(
        audit,
        run=run,
        calibrations=tuple(
            replace(facts, nonmembers=replace(facts.nonmembers, name=nasty))
            for facts in audit.calibrations
        ),
        calibration_notes=(nasty,),
        comparison=replace(audit.comparison, control=nasty),
    )
