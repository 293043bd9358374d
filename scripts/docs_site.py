"""Makes the documentation's site: `docs_site.py prepare FOLDER` and `docs_site.py check SITE`.

`prepare` copies the pages, the examples and every file that they link to into a folder of the same
shape, so that all links stay as they are, and generates the reference from the code: the commands
from Typer's, the contracts from their NatSpec, a page of mkdocstrings for the public Python API,
and llms.txt. `check` makes sure that no page of a built site asks another host for anything.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final

CHECKOUT: Final = Path(__file__).resolve().parents[1]
PAGES: Final = ("*.md", "docs/*.md", "examples/**/*.md")
REFERENCE: Final = "docs/reference"

_LINK: Final = re.compile(r"(!?\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^)\s#]+)(#[^)\s]*)?\)")
_FENCE: Final = re.compile(r"\s*(```|~~~)")
_ITEM: Final = re.compile(r"( *)(?:[-*] |\d+\. )")
_WIDTH: Final = 96


def prepare(folder: Path) -> None:
    """Fill a folder with all pages and what they link to; it must not exist or be ours."""
    shutil.rmtree(folder, ignore_errors=True)
    sources = sorted(path for pattern in PAGES for path in CHECKOUT.glob(pattern))
    done: set[Path] = set()
    while sources:
        source = sources.pop()
        if source in done:
            continue
        done.add(source)
        target = folder / source.relative_to(CHECKOUT)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix != ".md":
            shutil.copyfile(source, target)
            continue
        text, linked = page(source)
        target.write_text(text, encoding="utf-8")
        sources += linked
    reference = folder / REFERENCE
    reference.mkdir(parents=True)
    (reference / "commands.md").write_text(commands_page(), encoding="utf-8")
    (reference / "contracts.md").write_text(contracts_page(), encoding="utf-8")
    (reference / "python.md").write_text(python_page(), encoding="utf-8")
    (folder / "llms.txt").write_text(llms_text(), encoding="utf-8")


def page(source: Path) -> tuple[str, list[Path]]:
    """A page for the site, and the files that it links to.

    A link to a folder becomes one to its README; without one, and for what no file is, its text
    stays. Lists are separated and indented as Python-Markdown wants it. Raises SystemExit for a
    link to nothing.
    """
    linked: list[Path] = []

    def replaced(found: re.Match[str]) -> str:
        text, target, anchor = found[1], found[2], found[3] or ""
        if re.match(r"[a-z]+:", target):
            return found[0]
        path = Path(os.path.normpath(source.parent / target))
        if not path.exists() or not path.is_relative_to(CHECKOUT):
            raise SystemExit(f"{source.relative_to(CHECKOUT)} links to {target}, which is no file.")
        if path.is_dir():
            if not (path / "README.md").is_file():
                return text[1:-1]
            path, target = path / "README.md", target.rstrip("/") + "/README.md"
        linked.append(path)
        return f"{text}({target}{anchor})"

    lines: list[str] = []
    for line, in_code in _marked(source.read_text(encoding="utf-8")):
        item = _ITEM.match(line)
        if not in_code and item and lines and _is_paragraph(lines[-1]):
            lines.append("")
        lines.append(_indented(line, in_code) if in_code else _LINK.sub(replaced, _indented(line)))
    return "\n".join(lines) + "\n", linked


def _marked(text: str) -> Iterator[tuple[str, bool]]:
    """The lines, and whether each is in a block of code; a link over two lines becomes one line."""
    text = re.sub(r"\[([^\[\]`]*)\n *([^\[\]`]*)\]\(", r"[\1 \2](", text)
    fence = False
    for line in text.splitlines():
        edge = _FENCE.match(line) is not None
        yield line, fence or edge
        fence ^= edge


def _is_paragraph(line: str) -> bool:
    return bool(line.strip()) and not _ITEM.match(line) and not line.startswith((" ", "#", "|"))


def _indented(line: str, in_code: bool = False) -> str:
    """A line inside a list's item, with the four spaces that Python-Markdown asks for."""
    spaces = len(line) - len(line.lstrip(" "))
    return "    " + line.lstrip(" ") if spaces in (2, 3) and not in_code else line


# ---------------------------------------------------------------------- the command line


def commands_page() -> str:
    """The help of every command, as `flo … --help` prints it."""
    for name in [name for name in os.environ if name.startswith("FLO_")]:
        del os.environ[name]  # it would be shown as a default
    from typer.main import get_command

    from fl_orchestrator.cli.main import app

    parts = [
        "# Command line",
        "Generated from the commands; each says the same with `--help`. Options of a site can "
        "stand in `flo.toml`: see [settings](../operating-a-party.md#2-settings-and-key).",
    ]
    for words, help_text in _helps(get_command(app), ("flo",)):
        parts.append(
            f"{'#' * min(len(words) + 1, 4)} {' '.join(words)}\n\n```text\n{help_text}\n```"
        )
    return "\n\n".join(parts) + "\n"


def _helps(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    context = command.context_class(
        command, info_name=" ".join(words), terminal_width=_WIDTH, max_content_width=_WIDTH
    )
    yield words, command.get_help(context).rstrip()
    for name, inner in getattr(command, "commands", {}).items():
        yield from _helps(inner, (*words, name))


# ---------------------------------------------------------------------- Python


def python_page() -> str:
    """A page for mkdocstrings, with every public name where it is defined."""
    import fl_orchestrator

    homes = fl_orchestrator._HOMES
    parts = ["# Python API", "Generated from the docstrings. [How to use it](../python-api.md)."]
    parts += [f"::: fl_orchestrator.{homes[name]}.{name}" for name in fl_orchestrator.__all__]
    return "\n\n".join(parts) + "\n"


# ---------------------------------------------------------------------- contracts

_DECLARATION: Final = re.compile(
    r"((?:^[ ]*///.*\n)*)^[ ]*((?:interface|struct|enum|event|error|function)\b[^;{]*)([;{])",
    re.MULTILINE,
)
_BODY: Final = re.compile(r"[^}]*\}")


def contracts_page() -> str:
    """The interfaces' declarations with their NatSpec, in the order of the sources."""
    parts = [
        "# Contracts",
        "Generated from `contracts/interfaces/`, with their NatSpec. "
        "Ownership is OpenZeppelin's `Ownable2Step`. "
        "[The protocol](../protocol.md) says what it means.",
    ]
    for path in sorted((CHECKOUT / "contracts" / "interfaces").glob("*.sol")):
        text = path.read_text(encoding="utf-8")
        parts.append(f"## {path.stem}")
        for found in _DECLARATION.finditer(text):
            kind, name = re.match(r"(\w+)\s+(\w+)", found[2]).groups()  # type: ignore[union-attr]
            code = found[2].rstrip() + found[3]
            if found[3] == "{" and kind in ("struct", "enum"):
                code = code[:-1] + " {" + _BODY.match(text, found.end())[0]  # type: ignore[index]
            elif kind == "interface":
                code = code[:-1].rstrip()
            shown = re.sub(r"^    (?=    |\})", "", code, flags=re.MULTILINE)
            said = f"{natspec}\n\n" if (natspec := _natspec(found[1])) else ""
            parts.append(f"### {kind} {name}\n\n{said}```solidity\n{shown}\n```")
    return "\n\n".join(parts) + "\n"


def _natspec(comment: str) -> str:
    """A comment's tags as Markdown: notices and notes as text, parameters as a list."""
    text = " ".join(line.strip().removeprefix("///").strip() for line in comment.splitlines())
    texts: list[str] = []
    rows: list[str] = []
    for tag, said in re.findall(r"(?:@(\w+) )?([^@]*)", text):
        said = re.sub(r"\{([\w-]+)\}", r"`\1`", said.strip()).replace("<", "&lt;")
        if tag == "param":
            name, _, meaning = said.partition(" ")
            rows.append(f"- `{name}`: {meaning}")
        elif tag == "return":
            rows.append(f"- returns {said}")
        elif said:
            texts.append(said)
    return "\n\n".join([*texts, "\n".join(rows)] if rows else texts)


# ---------------------------------------------------------------------- llms.txt


def llms_text() -> str:
    """What the project is, and where each page is, for programs that read."""
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    lines = [f"# {_title(readme)}", "", f"> {_first_paragraph(readme)}", "", "## Documentation", ""]
    for path in sorted((CHECKOUT / "docs").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        lines.append(f"- [{_title(text)}](docs/{path.stem}/): {_first_paragraph(text)}")
    lines += ["", "## Reference", ""]
    for name, what in (
        ("commands", "every command with its options"),
        ("python", "the public Python API"),
        ("contracts", "the contracts' interfaces"),
    ):
        lines.append(f"- [{name}]({REFERENCE}/{name}/): {what}")
    return "\n".join(lines) + "\n"


def _title(text: str) -> str:
    return re.search(r"^# (.+)$", text, re.MULTILINE)[1]  # type: ignore[index]


def _first_paragraph(text: str) -> str:
    after = text[text.index("\n", text.index("# ")) :].strip()
    paragraphs = (p for p in after.split("\n\n") if re.match(r"[A-Za-z`*]", p))
    plain = _LINK.sub(lambda found: found[1][1:-1], next(paragraphs))
    return " ".join(plain.split())


# ---------------------------------------------------------------------- the built site


class _Requests(HTMLParser):
    """Collects the URLs on other hosts that a browser fetches by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        urls = [given.get("src"), given.get("srcset"), given.get("data")]
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            urls.append(given.get("href"))
        self.found += [url for url in urls if url and re.match(r"(?:[a-z]+:)?//", url)]


def outside_requests(site: Path) -> list[str]:
    """Each page with a URL on another host that it fetches, and each style sheet with one."""
    found = []
    for path in sorted(site.rglob("*.html")):
        parser = _Requests()
        parser.feed(path.read_text(encoding="utf-8"))
        found += [f"{path.relative_to(site)}: {url}" for url in parser.found]
    for path in sorted(site.rglob("*.css")):
        urls = re.findall(r"url\([\"']?((?:https?:)?//[^)]*)", path.read_text(encoding="utf-8"))
        found += [f"{path.relative_to(site)}: {url}" for url in urls]
    return found


def main() -> None:
    match sys.argv[1:]:
        case ["prepare", folder]:
            prepare(Path(folder))
        case ["check", site]:
            if not (Path(site) / "index.html").is_file():
                raise SystemExit(f"{site} has no index.html.")
            if found := outside_requests(Path(site)):
                raise SystemExit("The site asks other hosts:\n" + "\n".join(found))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
