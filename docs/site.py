"""What mkdocs needs for pages that are written to be read in the repository too."""

from __future__ import annotations

import re
from typing import Any

_LINK = re.compile(r"\[([^\]]+)\]\(\.\./[^)]*\)")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Leave the text of links to files of the checkout, which the site does not have."""
    depth = page.file.src_uri.count("/")

    def shorten(found: re.Match[str]) -> str:
        leads_out = found[0].partition("](")[2].count("../") > depth
        return found[1] if leads_out else found[0]

    return _LINK.sub(shorten, markdown)
