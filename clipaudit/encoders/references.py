"""Encoders that could stand beside a target as a reference, and what could spoil each of them.

A reference is like the target and was not trained on the suspects. None of what is listed here is
known to meet the second half: every entry says what speaks against it. No network is used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from clipaudit.encoders.model_cards import named_base
from clipaudit.encoders.published_names import names_at_release
from clipaudit.encoders.spec import DEFAULT_SCHEME, SCHEMES, is_on_this_machine, parse
from clipaudit.encoders.training_data import TrainingFacts, is_file, training_facts
from clipaudit.text.numbers import percent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True, slots=True)
class Reference:
    """An encoder that could serve as a reference.

    Attributes:
        spec: What `--reference` takes.
        reason: Why it could serve.
        caveats: What could spoil it.
        is_spoilt: Whether its published training list is the target's own, so that it may have
            seen the suspects as often.
        is_here: Whether its weights are on this machine.
    """

    spec: str
    reason: str
    caveats: tuple[str, ...]
    is_spoilt: bool = False
    is_here: bool = False


_OPENAI = {
    "openai/clip-vit-base-patch32": "ViT-B-32/openai",
    "openai/clip-vit-base-patch16": "ViT-B-16/openai",
    "openai/clip-vit-large-patch14": "ViT-L-14/openai",
    "openai/clip-vit-large-patch14-336": "ViT-L-14-336/openai",
}
"""Repositories on the hub whose weights open_clip publishes too."""

_FEWER_TIMES = (
    "It saw the same pictures, only fewer times: the later it is, the fainter is the difference."
)
_NUMBER = re.compile(r"(.*?)(\d+)(\D*)")


def find_references(spec: str, base: str | None = None) -> tuple[Reference, ...]:
    """Encoders that could serve, the most promising first.

    First the base of a fine-tune, then encoders that `clipaudit train` made beside a shadow
    encoder, the same architecture on other lists, and earlier checkpoints of the same run; those
    that share the target's list come last.

    Args:
        spec: The target.
        base: What it was fine-tuned from, where the user knows.

    Raises:
        EncoderError: No scheme has this name, of the target or of the base.
    """
    scheme, name = parse(spec)
    found: dict[str, Reference] = {}
    for reference in (
        *find_bases(spec, base),
        *_beside(scheme, name),
        *_same_architecture(spec, scheme, name),
        *_earlier(scheme, name),
    ):
        if reference.spec != spec and reference.spec not in found:
            is_here = is_on_this_machine(reference.spec)
            found[reference.spec] = replace(reference, is_here=is_here)
    return tuple(sorted(_best_of_each(found.values()), key=lambda entry: entry.is_spoilt))


def _best_of_each(references: Iterable[Reference]) -> Iterable[Reference]:
    """Of references with the same to be said of them, those on this machine, or else one."""
    groups: dict[tuple[str, tuple[str, ...]], list[Reference]] = {}
    for reference in references:
        groups.setdefault((reference.reason, reference.caveats), []).append(reference)
    for group in groups.values():
        yield from [reference for reference in group if reference.is_here] or group[:1]


def shares_list(target: str, reference: str) -> bool:
    """Whether the published training list of a reference is that of the target."""
    first, second = training_facts(target), training_facts(reference)
    return bool(first.about) and _is_same_list(first, second)


def _is_same_list(first: TrainingFacts, second: TrainingFacts) -> bool:
    return first.members is not None and (first.members, first.n_pairs) == (
        second.members,
        second.n_pairs,
    )


# --- the base of a fine-tune ---------------------------------------------------------------------


def find_bases(spec: str, base: str | None = None) -> Iterator[Reference]:
    """What an encoder was fine-tuned from, as far as its files, its name or the user say.

    Args:
        spec: The encoder.
        base: What the user says.

    Raises:
        EncoderError: No scheme has this name, of the encoder or of the base.
    """
    if base is not None:
        parse(base)
        yield _base(base, "the base that you named")
        return
    if named := named_base(spec):
        name, file = named
        yield _base(_as_spec(name, spec), f"the base of the fine-tune, by its {file}")
    scheme, name = parse(spec)
    before, fine_tuned, _ = name.partition("_ft_")
    if scheme == "timm" and fine_tuned and f"timm:{before}" in names_at_release():
        yield _base(f"timm:{before}", "the base of the fine-tune, by the name of the weights")


def _base(spec: str, reason: str) -> Reference:
    facts = training_facts(spec)
    seen = f" It saw {facts.about}." if facts.about else " What it saw is not published."
    return Reference(
        spec,
        reason,
        (f"It tells what the fine-tuning added, and nothing of the pictures of the base.{seen}",),
    )


def _as_spec(name: str, target: str) -> str:
    """A model's name in a card as `--reference` takes it."""
    if name in _OPENAI and parse(target)[0] != "transformers":
        return _OPENAI[name]
    is_transformers = parse(target)[0] == "transformers"
    if Path(name).expanduser().is_dir():
        return f"{'transformers' if is_transformers else 'local-dir'}:{name}"
    if ":" in name or name in names_at_release():
        return name
    return f"{'transformers' if is_transformers else 'hf-hub'}:{name}"


# --- of the same run -----------------------------------------------------------------------------


def _beside(scheme: str, name: str) -> Iterator[Reference]:
    """Encoders that `clipaudit train --references N` trained beside a shadow encoder."""
    if scheme != "shadow":
        return
    folder = Path(name).expanduser()
    for parent in (folder, folder.parent):
        for other in sorted(parent.glob("reference-*")):
            if other.is_dir():
                yield Reference(
                    f"shadow:{other}",
                    "trained beside it in the same way, on other pictures of the data set",
                    (),
                )


def _earlier(scheme: str, name: str) -> Iterator[Reference]:
    """Checkpoints of a lower number beside a file or folder, the earliest first."""
    prefix, path = f"{scheme}:", Path(name).expanduser()
    if scheme == DEFAULT_SCHEME:
        if not is_file(name):
            return
        model, _, file = name.partition("/")
        prefix, path = f"{model}/", Path(file).expanduser()
    elif SCHEMES[scheme].weights or not SCHEMES[scheme].takes:
        return
    match = _NUMBER.fullmatch(path.name)
    head, number, tail = match.groups() if match else ("", "", "")
    parent = path.parent
    if scheme == "shadow" and not head.startswith("epoch"):  # the last one has no number
        head, number, tail = "epoch-", "", ""
        parent = path.parent if path.name == "encoder" else path
    elif match is None:
        return
    siblings = {}
    for other in parent.iterdir() if parent.is_dir() else ():
        of_other = _NUMBER.fullmatch(other.name)
        if of_other and of_other.group(1, 3) == (head, tail):
            siblings[int(of_other[2])] = other
    for earlier, other in sorted(siblings.items()):
        if not number or earlier < int(number):
            why = f"an earlier checkpoint of the same run, {other.name}"
            yield Reference(f"{prefix}{other}", why, (_FEWER_TIMES,))


# --- the same architecture on another list -------------------------------------------------------


def _same_architecture(spec: str, scheme: str, name: str) -> Iterator[Reference]:
    separator = {"open_clip": "/", "timm": "."}.get(scheme)
    if name in _OPENAI:
        spec = _OPENAI[name]
        scheme, name, separator = *parse(spec), "/"
    if separator is None:
        return
    model, _, own_tag = name.partition(separator)
    model = model.removesuffix("-quickgelu")
    target = training_facts(spec)
    ranked = []
    for other in names_at_release():
        other_scheme, other_name = parse(other)
        other_model, _, tag = other_name.partition(separator)
        is_alike = other_scheme == scheme and other_model.removesuffix("-quickgelu") == model
        if is_alike and tag not in ("", own_tag):  # the same tag names the same weights
            facts = training_facts(other)
            rank, reference = _on_another_list(other, target, facts)
            ranked.append((rank, facts.is_filtered, _number(tag), other, reference))
    for *_, reference in sorted(ranked, key=lambda entry: entry[:4]):
        yield reference


def _number(tag: str) -> int:
    """A number that puts weights that were trained for longer first."""
    numbers = re.findall(r"\d+", tag)
    return -int(numbers[-1]) if numbers else 0


def _on_another_list(
    spec: str, target: TrainingFacts, facts: TrainingFacts
) -> tuple[int, Reference]:
    """A reference of the same architecture, and its rank: 0 for the best."""
    reason = f"the same architecture, trained on {facts.about or 'what is not published'}"
    if _is_same_list(target, facts):
        why = "Its published training list is the target's own: it saw the same pictures."
        return 9, Reference(spec, reason, (why,), is_spoilt=True)
    is_older = bool(target.cutoff and facts.cutoff and facts.cutoff < target.cutoff)
    older = f" It cannot have seen what was first put online on {facts.cutoff} or later."
    if target.source and target.source == facts.source:
        return _of_one_source(spec, reason, target, facts)
    if not facts.about:
        return 5, Reference(spec, reason, ("What it was trained on is not published.",))
    shared = "How many pictures both lists share is not published; both may hold the suspects."
    return (1 if is_older else 2), Reference(spec, reason, (shared + (older if is_older else ""),))


def _of_one_source(
    spec: str, reason: str, target: TrainingFacts, facts: TrainingFacts
) -> tuple[int, Reference]:
    sizes = (facts.n_pairs, target.n_pairs)
    is_part = not (facts.is_filtered or target.is_filtered) and facts.has_hashes
    if is_part and sizes[0] and sizes[1] and sizes[0] < sizes[1] and target.has_hashes:
        share = percent(sizes[0] / sizes[1])
        held = f"Its list is drawn from the same pool ({target.source}): it holds about {share}"
        return 0, Reference(spec, reason, (f"{held} as many pictures, and perhaps a suspect.",))
    if is_part and sizes[0] and sizes[1] and sizes[0] > sizes[1]:
        held = f"Its list holds more of the same pool ({target.source}), so perhaps every suspect."
        return 8, Reference(spec, reason, (held,))
    chosen = (
        f"Both lists were chosen from {target.source}: how many pictures they share is not "
        "published, and may be most."
    )
    return 4, Reference(spec, reason, (chosen,))
