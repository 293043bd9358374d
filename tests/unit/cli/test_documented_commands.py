"""Every `flo` command in the documentation and in the examples exists, with its options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from fl_orchestrator.cli.main import app

CHECKOUT = Path(__file__).resolve().parents[3]
PAGES = sorted(
    path
    for pattern in (
        *("*.md", "docs/*.md", "examples/**/*.md", "examples/operation/*"),
        *("fl_orchestrator/**/*.md", "fl_orchestrator/**/*.service"),
    )
    for path in CHECKOUT.glob(pattern)
    if path.name != "CHANGELOG.md"
)
FENCED = re.compile(r"^```[a-z]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`]+)`")
FLO = re.compile(r"(?:^|[\s/])flo ((?:-|[a-z]).*)")
# The units of systemd have the name of a role in place of it.
ROLES = ("party", "aggregator", "watcher", "keeper")


def commands_in(path: Path) -> Iterator[str]:
    """What follows `flo` in the code of a page, or in an example."""
    text = path.read_text()
    if path.suffix == ".md":
        fenced = FENCED.findall(text)
        inline = INLINE.findall(re.sub(r"\s*\n\s*", " ", FENCED.sub("", text)))
        text = "\n".join([*fenced, *inline])
    for line in text.replace("\\\n", " ").splitlines():
        if not line.lstrip().startswith("#") and (found := FLO.search(line.split(" # ")[0])):
            yield from (found[1].replace("%i", role) for role in ROLES[: 4 if "%i" in line else 1])


def problem(arguments: str) -> str:
    """What is wrong with the arguments of `flo`; empty if nothing is."""
    command: Any = get_command(app)
    known = {option for parameter in command.params for option in parameter.opts}
    words = arguments.split()
    while words:
        word = words.pop(0)
        if word.startswith("-"):
            if (option := word.split("=")[0]) not in {*known, "--help"}:
                return f"no option {option}"
        elif (commands := getattr(command, "commands", None)) and not re.search(r"[/.…]", word):
            if word not in commands:
                return f"no command {word}"
            command = commands[word]
            known |= {option for p in command.params for option in (*p.opts, *p.secondary_opts)}
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_every_documented_command_exists(page: Path) -> None:
    assert {c: why for c in commands_in(page) if (why := problem(c))} == {}


def test_commands_are_found_in_the_documentation() -> None:
    found = [command for page in PAGES for command in commands_in(page)]
    assert len(found) > 30
    assert problem("party explode") == "no command explode"
    assert problem("keeper run --key k.json --explode") == "no option --explode"
