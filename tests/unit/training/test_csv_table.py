"""Tables as other programs write them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fl_orchestrator.training.csv_table import BadTable, CsvTable

HEART = "age,pressure,sex,sick\n63,145.5,male,yes\n41,130,female,no\n"


def table(directory: Path, text: str | bytes, **options: object) -> CsvTable:
    path = directory / "rows.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return CsvTable(path, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        HEART,
        "\ufeff" + HEART,
        HEART.encode("utf-16"),
        HEART.replace("\n", "\r\n"),
        HEART.replace(",", ";").replace("145.5", "145,5"),
        HEART.replace(",", "\t").replace("145.5", "145,5"),
        HEART.replace(",", "|"),
        HEART.replace(",", " , "),
        HEART.replace(",", "  "),
        HEART.replace("male", '"male"').replace('fe"male"', '"female"'),
        HEART.replace("\n41", "\n\n41"),
    ],
    ids=["plain", "mark", "utf-16", "crlf", "semicolon", "tab", "bar", "spaces", "blank", "quoted",
         "empty line"],
)  # fmt: skip
def test_a_table_is_read_as_it_comes(tmp_path: Path, text: str | bytes) -> None:
    read = table(tmp_path, text)
    assert len(read) == 2
    np.testing.assert_array_equal(read.numbers(["age", "pressure"]), [[63, 145.5], [41, 130]])
    np.testing.assert_array_equal(read.indicators("sex", ["female", "male"]), [[0, 1], [1, 0]])
    np.testing.assert_array_equal(read.codes("sick", ["no", "yes"]), [1, 0])
    assert read.numbers(["age"]).dtype == np.float32


def test_umlauts_of_an_old_windows_are_read(tmp_path: Path) -> None:
    read = table(tmp_path, "größe;ja\n1,80;x\n".encode("cp1252"))
    np.testing.assert_allclose(read.numbers(["größe"]), [[1.8]])


def test_points_between_thousands_are_left_out_where_commas_are_decimal_marks(
    tmp_path: Path,
) -> None:
    read = table(tmp_path, "amount;n\n1.234,5;1\n12,0;2\n")
    np.testing.assert_array_equal(read.numbers(["amount"]), [[1234.5], [12]])


def test_a_file_without_names_gets_them(tmp_path: Path) -> None:
    read = table(tmp_path, "1,2\n3,4\n", names=["a", "b"])
    np.testing.assert_array_equal(read.numbers(["b"]), [[2], [4]])


@pytest.mark.parametrize("gap", ["", "?", "NA", "nan", " "])
def test_a_cell_without_a_value_is_named_filled_or_dropped(tmp_path: Path, gap: str) -> None:
    text = HEART.replace("130", gap)
    with pytest.raises(BadTable, match=r"rows.csv, line 3, 'pressure' has no value"):
        table(tmp_path, text).numbers(["age", "pressure"])
    filled = table(tmp_path, text).numbers(["pressure"], missing={"pressure": 120})
    np.testing.assert_array_equal(filled, [[145.5], [120]])
    read = table(tmp_path, text)
    assert read.without_gaps(["pressure"]) == 1
    assert len(read) == 1


def test_the_line_is_that_of_the_file(tmp_path: Path) -> None:
    """A cell may have line ends, there may be empty lines, and rows may have been dropped."""
    text = 'note,n\n"two\nlines",1\n\nx,?\ny,many\n'
    read = table(tmp_path, text)
    assert read.without_gaps(["n"]) == 1
    with pytest.raises(BadTable, match="line 6, 'n' is no number") as failure:
        read.numbers(["n"])
    assert "many" not in str(failure.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no table"),
        ("a,b\n", "no rows"),
        ("a,b\n1,2\n1,2,3\n", "no table"),
        (b"PK\x03\x04\x00\x00", "no text file"),
        ("a,b\n1,inf\n", "is no number"),
    ],
)
def test_what_is_no_table_is_refused_in_a_sentence(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadTable, match=words):
        table(tmp_path, text).numbers(["b"])


def test_columns_and_categories_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadTable, match="no column 'weight'"):
        table(tmp_path, HEART).numbers(["weight"])
    with pytest.raises(BadTable, match="line 2, 'sex' is none of female, other"):
        table(tmp_path, HEART).indicators("sex", ["female", "other"])
    with pytest.raises(BadTable, match="cannot be read"):
        CsvTable(tmp_path / "nothing.csv")


@given(
    rows=st.lists(
        st.tuples(st.floats(-1e6, 1e6, width=32), st.integers(-1000, 1000)), min_size=1, max_size=20
    ),
    comma=st.booleans(),
    separator=st.sampled_from([";", "\t"]),
)
def test_whatever_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[float, int]],
    comma: bool,
    separator: str,
) -> None:
    text = f"x{separator}n\n" + "".join(f"{x:.3f}{separator}{n}\n" for x, n in rows)
    text = text.replace(".", ",") if comma else text
    read = table(tmp_path_factory.mktemp("table"), text)
    wanted = np.array([[float(f"{x:.3f}"), n] for x, n in rows], np.float32)
    np.testing.assert_array_equal(read.numbers(["x", "n"]), wanted)
