"""Reads tables as they come out of other programs: spreadsheets, hospital systems, databases.

The separator and the decimal mark are found from the beginning of the file; a byte order mark is
left out. What cannot be read is named with its file, line and column; the message never shows a
value of the table.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from fl_orchestrator.errors import InputError, TrainingError, install_hint
from fl_orchestrator.training.trainer import FloatArray

#: What stands for an unknown value, besides an empty cell.
MISSING: Final = ("?", "-", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None")

_SAMPLE: Final = 1 << 16  # characters
_SEPARATORS: Final = ";\t,|"
_DECIMAL_COMMA: Final = re.compile(r"[+-]?\d+,\d+")


class PandasMissing(TrainingError):
    """pandas cannot be imported."""


class BadTable(InputError):
    """A table that cannot be read, or a cell that is not what its column says."""


def load_pandas() -> Any:
    """Import pandas. Raises PandasMissing."""
    try:
        import pandas
    except ImportError as error:
        raise PandasMissing(
            f"pandas cannot be imported: {error}.",
            install_hint("tables"),
        ) from error
    return pandas


class CsvTable:
    """A table of texts, whose columns are read as numbers or as categories when they are used."""

    def __init__(self, path: Path, names: Sequence[str] | None = None) -> None:
        """Read a file whose first line has the columns' names, or which has these `names`.

        Raises:
            PandasMissing: pandas is not installed.
            BadTable: the file cannot be read, is empty, or a line has more cells than there are
                columns.
        """
        pandas = load_pandas()
        self.path = path
        self._text = table_text(path)
        self._separator = separator_of(self._text)
        self._first_line = 1 if names is None else 0
        try:
            with warnings.catch_warnings():
                # pandas only warns of cells beyond the last column, and drops them.
                warnings.simplefilter("error", pandas.errors.ParserWarning)
                self.frame: Any = pandas.read_csv(
                    io.StringIO(self._text),
                    sep=r"\s+" if self._separator == " " else self._separator,
                    header=0 if names is None else None,
                    names=None if names is None else list(names),
                    dtype=str,
                    keep_default_na=False,
                    index_col=False,
                    skipinitialspace=True,
                )
        except (ValueError, pandas.errors.ParserWarning) as error:  # its errors are ValueErrors
            found = re.search(r"line (\d+)", str(error))
            where = f", line {found[1]}" if found else ""
            raise BadTable(
                f"{path}{where} is no table separated by {self._separator!r}.",
                "Every line needs as many cells as there are columns.",
            ) from error
        self.frame.columns = [str(name).strip() for name in self.frame.columns]
        if self.frame.empty:
            raise BadTable(f"{path} has no rows.", "Give a table with a line for each row.")

    def __len__(self) -> int:
        return len(self.frame)

    def numbers(
        self, columns: Iterable[str], missing: float | Mapping[str, float] | None = None
    ) -> FloatArray:
        """The columns as float32 (rows, columns), with `missing` (of each column) for no value.

        Raises:
            BadTable: there is no such column, or a cell is no finite number, or has no value and
                `missing` says nothing about its column.
        """
        return np.stack([self._numbers(name, missing) for name in columns], axis=1)

    def _numbers(self, name: str, missing: float | Mapping[str, float] | None) -> FloatArray:
        cells = self._cells(name)
        # 1.234,5 is 1234.5 where commas are decimal marks, which the whole column decides.
        if (cells.str.fullmatch(_DECIMAL_COMMA) & (self._separator != ",")).any():
            cells = cells.str.replace(".", "", regex=False).str.replace(",", ".", regex=False)
        values = load_pandas().to_numeric(cells, errors="coerce").to_numpy(np.float64, copy=True)
        absent = self._absent(cells)
        given = missing.get(name) if isinstance(missing, Mapping) else missing
        if absent.any() and given is not None:
            values[absent] = given
            absent[:] = False
        if absent.any():
            raise self._wrong(name, absent, "has no value", "Give `missing` a value for it.")
        if not np.isfinite(values).all():
            raise self._wrong(
                name, ~np.isfinite(values), "is no number", "Read such a column as a category."
            )
        numbers: FloatArray = values.astype(np.float32)
        return numbers

    def indicators(self, name: str, categories: Sequence[str]) -> FloatArray:
        """One column of 0 and 1 for each category, float32 (rows, categories); a cell may be empty.

        Raises:
            BadTable: there is no such column, or a cell has none of the categories.
        """
        found = self.codes(name, categories, missing="allow")
        indicators: FloatArray = (found[:, None] == np.arange(len(categories))).astype(np.float32)
        return indicators

    def codes(
        self, name: str, categories: Sequence[str], missing: Literal["allow", "refuse"] = "refuse"
    ) -> np.ndarray[Any, np.dtype[np.int32]]:
        """The position of each cell's category, int32 (rows,), for example the label; -1: no value.

        Raises:
            BadTable: there is no such column, or a cell has none of the categories, or no value.
        """
        cells = self._cells(name)
        positions = {category: position for position, category in enumerate(categories)}
        codes = np.array([positions.get(cell, -1) for cell in cells], np.int32)
        absent = self._absent(cells)
        if missing == "refuse" and absent.any():
            raise self._wrong(name, absent, "has no value", "Drop such rows: `without_gaps`.")
        if ((codes < 0) & ~absent).any():
            raise self._wrong(
                name,
                (codes < 0) & ~absent,
                f"is none of {', '.join(map(str, categories))}",
                "Name all categories of all parties.",
            )
        return codes

    def without_gaps(self, columns: Iterable[str]) -> int:
        """Drop the rows that have no value in one of these columns; return how many there were."""
        absent = np.zeros(len(self), bool)
        for name in columns:
            absent |= self._absent(self._cells(name))
        self.frame = self.frame[~absent]
        return int(absent.sum())

    def _cells(self, name: str) -> Any:
        if name not in self.frame:
            raise BadTable(
                f"{self.path} has no column {name!r}.",
                f"Its columns are {', '.join(self.frame.columns[:20])}.",
            )
        return self.frame[name].str.strip()

    def _absent(self, cells: Any) -> np.ndarray[Any, np.dtype[np.bool_]]:
        return np.array((cells == "") | cells.isna() | cells.isin(MISSING))

    def _wrong(self, name: str, where: Any, what: str, hint: str) -> BadTable:
        row = int(self.frame.index[np.flatnonzero(where)[0]])
        others = f" ({int(where.sum())} cells are like it)" if where.sum() > 1 else ""
        return BadTable(f"{self.path}, line {self._line(row)}, {name!r} {what}{others}.", hint)

    def _line(self, row: int) -> int:
        """The line of the file in which a row ends, which cells with line ends move."""
        lines = io.StringIO(self._text, newline="")
        if self._separator == " ":
            kept = (number for number, line in enumerate(lines, start=1) if line.strip())
        else:
            reader = csv.reader(lines, delimiter=self._separator)
            kept = (reader.line_num for cells in reader if cells)
        return next(islice(kept, row + self._first_line, None))


def table_text(path: Path) -> str:
    """The text of a file in UTF-8, UTF-16 with its mark, or Windows-1252. Raises BadTable."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadTable(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ("utf-16",) if marked else ("utf-8-sig", "cp1252"):
        with contextlib.suppress(UnicodeDecodeError):
            if "\0" not in (text := data.decode(encoding)):
                return text
    raise BadTable(f"{path} is no text file.", "Export the table as CSV in UTF-8.")


def separator_of(text: str) -> str:
    """The separator that stands equally often in each of the first lines."""
    lines = [line for line in text[:_SAMPLE].splitlines() if line.strip()][:20]
    counts = {mark: min((line.count(mark) for line in lines), default=0) for mark in _SEPARATORS}
    best = max(_SEPARATORS, key=lambda mark: (counts[mark], mark in ";\t"))
    if counts[best]:
        # Decimal commas may be more frequent than semicolons or tabs.
        return next((mark for mark in ";\t" if counts[mark]), best)
    return " " if lines and all(len(line.split()) > 1 for line in lines) else ","
