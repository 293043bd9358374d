"""docs/threat-model.md and tests/attacks name each other."""

import re
from pathlib import Path

ROW = re.compile(r"^\| (?!Threat |Attack )(?P<threat>[^|]+?) \|(?P<rest>.+)\|$", re.MULTILINE)
LINK = re.compile(r"\[(?P<name>\w+)\]\(\.\./(?P<path>tests/[\w/.]+)\)")
TEST = re.compile(r"^ *(?:def|function) test_", re.MULTILINE)


def rows(checkout: Path) -> dict[str, list[str]]:
    """The paths that each row of each table names."""
    text = (checkout / "docs" / "threat-model.md").read_text(encoding="utf-8")
    return {
        row["threat"]: [link["path"] for link in LINK.finditer(row["rest"])]
        for row in ROW.finditer(text)
    }


def test_every_threat_names_a_test(checkout: Path) -> None:
    table = rows(checkout)
    assert len(table) > 50
    assert [threat for threat, paths in table.items() if not paths] == []
    for path in {path for paths in table.values() for path in paths}:
        assert TEST.search((checkout / path).read_text(encoding="utf-8")), path


def test_a_link_is_called_what_its_file_is_called(checkout: Path) -> None:
    text = (checkout / "docs" / "threat-model.md").read_text(encoding="utf-8")
    links = {(link["name"], Path(link["path"]).name.split(".")[0]) for link in LINK.finditer(text)}
    assert [name for name, stem in links if name != stem] == []


def test_every_attack_has_its_threat(checkout: Path) -> None:
    attacks = [*(checkout / "tests/attacks").glob("*.t.sol")]
    attacks += (checkout / "tests/attacks").glob("test_*.py")
    named = {path for paths in rows(checkout).values() for path in paths}
    assert len(attacks) > 50
    assert {str(path.relative_to(checkout)) for path in attacks} - named == set()
