"""The examples of docs/contributing, as those who read them would put them to work."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGES = Path(__file__).parents[2] / "docs" / "contributing"


@dataclass(frozen=True, slots=True)
class Example:
    """A module and the line that names it.

    Attributes:
        file: Where the page puts the module.
        text: The module.
        line: The line for the table of its kind.
    """

    file: str
    text: str
    line: str

    def install(self, folder: Path) -> str:
        """Write the module into a folder of `sys.path`; the line then names it there."""
        name = f"{Path(self.file).stem}_example"
        (folder / f"{name}.py").write_text(self.text, encoding="utf-8")
        module = self.file.removeprefix("crawlers/").removesuffix(".py").replace("/", ".")
        assert module in self.line
        return self.line.replace(module, name)


def example(page: str) -> Example:
    """The example of a page."""
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    (file,) = re.findall(r"^`([\w/]+\.py)`:$", text, re.MULTILINE)
    module, line = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return Example(file, module, line)


def entry(line: str, **names: object) -> tuple[str, Any]:
    """Name and value of a line of a table, which may use these names."""
    ((name, value),) = eval(f"{{{line}}}", names).items()  # a page of ours
    return name, value
