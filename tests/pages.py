"""The documentation's pages, for the tests that read them."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "THIRD_PARTY.md", *DOCS.glob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    """A page without its code blocks."""
    return FENCE.sub("", text)


def python_blocks(page: Path) -> list[str]:
    """A page's Python, block after block."""
    return [code for kind, code in FENCE.findall(page.read_text("utf-8")) if kind == "python"]
