"""The JSON beside a model file that says what the file does not: `encoder.onnx`, `encoder.json`.

    {"input_size": 224, "mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28],
     "interpolation": "bicubic", "output": "embedding"}

`output` is optional, and so is `output_name`, which picks one of several outputs of an ONNX file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as repr_of
from typing import Any, get_args

from clipaudit.encoders.base import BadInputError, EncoderOptions, InputSpec, Output
from clipaudit.encoders.model_files import read_description
from clipaudit.errors import EncoderError
from clipaudit.pictures.base import Interpolation

_KEYS = {
    "size_px": ("input_size", "--input-size 224"),
    "mean": ("mean", "--mean 0.48 0.46 0.41"),
    "std": ("std", "--std 0.27 0.26 0.28"),
    "interpolation": ("interpolation", "--interpolation bicubic"),
}
_EXAMPLE = {
    "input_size": 224,
    "mean": [0.48145466, 0.4578275, 0.40821073],
    "std": [0.26862954, 0.26130258, 0.27577711],
    "interpolation": "bicubic",
}


@dataclass(frozen=True, slots=True)
class Sidecar:
    """Input and output of a model file.

    Attributes:
        input: What the model is fed.
        output: Which output it gives, as its author or the user says; None where nobody does.
        output_name: Which of several outputs of an ONNX file is meant.
    """

    input: InputSpec
    output: Output | None
    output_name: str | None


def read(model: Path, options: EncoderOptions) -> Sidecar:
    """What the JSON beside a model file says, and the options where it says nothing.

    An option beats the file: the user may know better. Where both name an output, they must
    agree, because a file gives one output only.

    Raises:
        EncoderError: Something is missing, malformed or contradictory; says what, and shows how.
    """
    path = model.with_suffix(".json")
    document = _load(path)
    given = {key: getattr(options.input, key) for key in _KEYS}
    values = {
        key: document.get(name) if given[key] is None else given[key]
        for key, (name, _) in _KEYS.items()
    }
    missing = [key for key in _KEYS if values[key] is None]
    if missing:
        names = ", ".join(_KEYS[key][0] for key in missing)
        example = json.dumps({_KEYS[key][0]: _EXAMPLE[_KEYS[key][0]] for key in missing})
        raise EncoderError(
            f"{model.name} does not say how its pictures were prepared; missing: {names}",
            f"Write {path} with {example} (your model's own values), or pass "
            f"{' '.join(_KEYS[key][1] for key in missing)}.",
        )
    output = _output(document, options, path)
    name = document.get("output_name")
    if name is not None and not isinstance(name, str):
        raise _malformed(path, "output_name", name, "the name of one output")
    try:
        spec = InputSpec(
            size_px=_size(values["size_px"], path),
            mean=three_numbers(values["mean"], "mean", path),
            std=three_numbers(values["std"], "std", path),
            interpolation=interpolation(values["interpolation"], str(path)),
        )
    except BadInputError as error:
        raise EncoderError(f"{path}: {error}", error.hint) from error
    return Sidecar(spec, output, name)


def interpolation(value: object, source: str) -> Interpolation:
    """A way to resize by its name.

    Raises:
        EncoderError: It is none that we have.
    """
    known: tuple[Interpolation, ...] = get_args(Interpolation)
    for name in known:
        if value == name:
            return name
    raise EncoderError(
        f"{source} asks for interpolation {repr_of(value)}", f"Use one of {', '.join(known)}."
    )


def _load(path: Path) -> dict[str, Any]:
    try:
        document = read_description(path)
    except FileNotFoundError:
        return {}
    if not isinstance(document, dict):
        raise EncoderError(f"{path} is no JSON object", f"Write it like {json.dumps(_EXAMPLE)}.")
    return document


def _output(document: dict[str, Any], options: EncoderOptions, path: Path) -> Output | None:
    output: Output | None = None
    if "output" in document:
        for known in get_args(Output):
            if document["output"] == known:
                output = known
        if output is None:
            raise _malformed(path, "output", document["output"], "embedding or trunk")
    if output is not None and options.output not in (None, output):
        raise EncoderError(
            f"{path.name} says that its model gives the {output}, not the {options.output}",
            f"Drop --output, or use a file that gives the {options.output}.",
        )
    return options.output or output


def _size(value: object, path: Path) -> int:
    given = value if isinstance(value, list) else [value]
    sides = [side for side in given if isinstance(side, int) and not isinstance(side, bool)]
    if sides and len(sides) == len(given) <= 3:
        if len(sides) == 3 and sides[0] == 3:
            sides = sides[1:]
        if len(set(sides)) == 1:
            return sides[0]
        raise EncoderError(
            f"{path} asks for pictures of {sides}, and only square ones are made",
            "Use a model with a square input.",
        )
    raise _malformed(path, "input_size", value, "one number of pixels, such as 224")


def three_numbers(value: object, name: str, source: Path | str) -> tuple[float, float, float]:
    """A mean or a standard deviation out of JSON.

    Raises:
        EncoderError: It is none.
    """
    if isinstance(value, list | tuple) and len(value) == 3:
        numbers = [
            float(number)
            for number in value
            if isinstance(number, int | float) and abs(number) < 1e300
        ]
        if len(numbers) == 3:
            return numbers[0], numbers[1], numbers[2]
    raise _malformed(source, name, value, "three numbers, for red, green and blue in 0 to 1")


def _malformed(source: Path | str, name: str, value: object, wanted: str) -> EncoderError:
    return EncoderError(f"{source} says {name} = {repr_of(value)}", f"It must be {wanted}.")
