"""Every branch of a tree has its test, and every test of a function its branch.

Fuzz tests, and tests of no function in particular (`test_the_golden_rules`), stand beside them.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TREES = sorted(HERE.rglob("*.tree"))
NODE = re.compile(r"^(?P<indent>[│ ]*)[├└]── (?P<words>.*)$")


def branches(tree: str) -> Iterator[str]:
    """The names of the tests that a tree asks for.

    A line at the margin names a function; each `when` above an `it` is a test of it, `RevertWhen`
    if that says so. A `given` groups branches.
    """
    function = condition = ""
    for line in tree.splitlines():
        node = NODE.match(line)
        if node is None:
            function = line.strip() or function
            continue
        words = node["words"].split()
        if words[0] == "when":
            condition = camel(words[1:])
        elif words[0] == "it":
            kind = "RevertWhen" if words[1] == "reverts" else "When"
            yield f"test_{camel([function])}_{kind}_{condition}".replace("_When_", "_When")


def camel(words: list[str]) -> str:
    letters = (re.sub(r"[^A-Za-z0-9]", "", word) for word in words)
    return "".join(word[:1].upper() + word[1:] for word in letters)


@pytest.mark.parametrize("path", TREES, ids=lambda path: path.stem)
def test_a_tree_and_its_tests_have_the_same_branches(path: Path) -> None:
    wanted = set(branches(path.read_text(encoding="utf-8")))
    source = path.with_suffix(".t.sol").read_text(encoding="utf-8")
    written = set(re.findall(r"function (test_[A-Z]\w+)\(", source))
    assert written == wanted


def test_there_are_trees() -> None:
    assert TREES
