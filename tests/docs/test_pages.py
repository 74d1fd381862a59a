"""Links lead somewhere, every page is in the index, pictures are small and shown."""

import re
from importlib import import_module
from pathlib import Path

from tests.pages import DOCS, FENCE, PAGES, ROOT, prose


def anchors(page: Path) -> set[str]:
    """The anchors that a Markdown page's headings get."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


def broken_links(page: Path, root: Path = ROOT) -> list[str]:
    wrong = []
    text = prose(page.read_text("utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)
    for target in targets:
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        inside = file.is_relative_to(root) and file.exists()
        if not inside or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            wrong.append(target)
    return wrong


def test_links_lead_somewhere() -> None:
    assert {page.name: broken for page in PAGES if (broken := broken_links(page))} == {}


def test_a_planted_broken_link_is_caught(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Here\n[a](nowhere.md) [b](#here) [c](#there)", encoding="utf-8")
    assert broken_links(page, tmp_path) == ["nowhere.md", "#there"]


def test_pictures_are_small_and_used() -> None:
    text = "".join(page.read_text("utf-8") for page in PAGES)
    for picture in (ROOT / "docs" / "images").iterdir():
        assert picture.stat().st_size < 300_000, picture.name
        assert f"images/{picture.name}" in text, f"{picture.name} is shown nowhere"


def test_no_page_names_a_package_index() -> None:
    # Installing is pip's business: which index it asks is the reader's.
    hosts = re.compile(r"pypi\.org|pythonhosted|--index-url|--extra-index|download\.pytorch", re.IGNORECASE)
    assert [page.name for page in PAGES if hosts.search(page.read_text("utf-8"))] == []


def test_the_index_has_every_page_with_a_sentence() -> None:
    index = (DOCS / "README.md").read_text("utf-8")
    listed = dict(re.findall(r"^\| \[[^\]]+\]\(([\w-]+\.md)\) \| (.+) \|$", index, re.MULTILINE))
    assert set(listed) == {page.name for page in DOCS.glob("*.md")} - {"README.md"}
    assert all(len(sentence.split()) > 4 for sentence in listed.values())
    assert "(docs/README.md)" in (ROOT / "README.md").read_text("utf-8")


def exists(dotted: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    module, found = dotted, None
    while found is None and module:
        try:
            found = import_module(module)
        except ModuleNotFoundError:
            module = module.rpartition(".")[0]
    for name in dotted.removeprefix(module).split(".")[1:]:
        found = getattr(found, name, None)
    return found is not None


def test_modules_and_files_that_the_text_names_exist() -> None:
    assert exists("refit_mv.body.files.load_body")
    assert not exists("refit_mv.body.flies")
    texts = {page.name: prose(page.read_text("utf-8")) for page in PAGES}
    commands = "".join(code for page in PAGES for kind, code in FENCE.findall(page.read_text("utf-8")) if not kind)
    everything = "".join([*texts.values(), commands, *(path.read_text("utf-8") for path in DOCS.glob("tables/*.csv"))])
    dotted = set(re.findall(r"\brefit_mv(?:\.\w+)+", everything))
    assert dotted
    assert [name for name in sorted(dotted) if not exists(name)] == []
    files = set(re.findall(r"`((?:refit_mv|calib|tests|docs|recipes)/[\w/]+\.\w+)`", everything))
    assert len(files) > 5
    assert [name for name in sorted(files) if not (ROOT / name).exists()] == []
