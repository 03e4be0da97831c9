"""Tables in files: CSV, TSV and what else has separators, gzipped or not, Parquet, and ``.npy``.

polars reads them (``pip install 'rollc[data]'``); here is what it is told, and what a user is told
of what is wrong.  Files are untrusted: whatever is wrong with one is an :class:`InputError` that
names the file and, in a text, the line and the column.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rollc.errors import InputError
from rollc.tools import datafiles
from rollc.tools.datafiles import most_bytes, read_npy

if TYPE_CHECKING:
    import polars as pl

Array = NDArray[Any]

TABLES = (".csv", ".tsv", ".parquet", ".npy")
"""The endings of files that are read as tables, without that of gzip."""

_MISSING = ("", "na", "n/a", "nan", "null", "none")  # what a cell says that holds no number
_NO_WORD = _MISSING[:-1]  # `none` can be a word like others
_SEPARATORS = ",;\t|"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_SOUNDS = (b"RIFF", b"fLaC", b"OggS", b"ID3")
_GZIP, _PARQUET, _NPY = b"\x1f\x8b", b"PAR1", b"\x93NUMPY"


@dataclass(frozen=True)
class Table:
    """Rows and columns: ``heads`` are the names of the columns, None where the file has none.

    ``frame`` has the cells, texts where the file is a text; ``lines`` tells the line of each row,
    and ``blank`` how many lines between them have nothing in them.
    """

    file: str
    heads: tuple[str, ...] | None
    frame: pl.DataFrame
    lines: Array | None = None
    blank: int = 0

    def __len__(self) -> int:
        return self.frame.height

    @property
    def width(self) -> int:
        return self.frame.width

    @cached_property
    def places(self) -> dict[str, int]:
        """Where the column of each head is; the first of those of one name."""
        return {head: place for place, head in reversed([*enumerate(self.heads or ())])}

    def place(self, label: str) -> int:
        """The place of a column, from 0 on."""
        if label not in self.places:
            there = datafiles.names((self.heads or ())[:12])
            apart = ""
            if self.heads is not None and len(self.heads) == 1 and label in self.heads[0]:
                apart = "; where its cells stand apart by something else, say it by `--separator`"
            raise InputError(f"`{self.file}` has no column `{label}`; it has {there}{apart}")
        if self.heads is not None and self.heads.count(label) > 1:
            raise InputError(f"`{self.file}` has more than one column `{label}`")
        return self.places[label]

    def numbers(self, place: int) -> tuple[Array, Array]:
        """The numbers of a column, and where there are any; a missing one is NaN."""
        pl = polars("a table")
        column = self.frame.to_series(place)
        if column.dtype == pl.String:
            cells, missing = _cells(column)
            numbers = cells.cast(pl.Float64, strict=False)
            wrong = numbers.is_null() & ~missing.fill_null(True)
            if wrong.any():
                row = wrong.arg_max() or 0
                found = f"found `{cells[row]:.20}`"
                if re.fullmatch(r"[+-]?\d+,\d+", str(cells[row])):
                    found += "; the decimal point is `.`, and this file has commas"
                raise InputError(f"{self.where(row, place)}: expected a number, {found}")
        elif column.dtype.is_numeric() or column.dtype == pl.Boolean:
            numbers = column.cast(pl.Float64)
            missing = numbers.is_null() | numbers.is_nan()
        else:
            raise InputError(f"{self.where(0, place)}: expected numbers, found {column.dtype}")
        present = ~missing.fill_null(True).to_numpy()
        return np.where(present, numbers.fill_null(np.nan).to_numpy(), np.nan), present

    def has_words(self, place: int) -> bool:
        """Whether a column holds words, and not numbers alone."""
        column = self.frame.to_series(place)
        if column.dtype != polars("a table").String:
            return False
        cells, missing = _cells(column)
        is_number = cells.cast(polars("a table").Float64, strict=False).is_not_null()
        return not bool((is_number | missing).all())

    def words(self, place: int) -> list[str | None]:
        """The words of a column; a missing one is None."""
        column = self.frame.to_series(place).cast(polars("a table").String)
        cells, _ = _cells(column)
        missing = column.is_null() | cells.str.to_lowercase().is_in(_NO_WORD)
        return [None if absent else str(cell) for cell, absent in zip(cells, missing, strict=True)]

    def texts(self, place: int) -> list[str]:
        """The cells of a column as they are written; a missing one is an error."""
        cells = self.frame.to_series(place).cast(polars("a table").String)
        if cells.is_null().any():
            row = cells.is_null().arg_max() or 0
            raise InputError(f"{self.where(row, place)}: the cell is missing")
        return [str(cell).strip() for cell in cells]

    def without(self, rows: Array) -> Table:
        """The table without some rows."""
        lines = None if self.lines is None else self.lines[~rows]
        return replace(self, frame=self.frame.filter(~rows), lines=lines)

    def where(self, row: int, place: int) -> str:
        """A cell in words."""
        line = f"row {row + 1}" if self.lines is None else f"line {self.lines[row]}"
        name = "" if self.heads is None else f" (`{self.heads[place]}`)"
        return f"`{self.file}`, {line}, column {place + 1}{name}"


def _cells(column: pl.Series) -> tuple[pl.Series, pl.Series]:
    """The cells of a text, and whether each says that there is no number."""
    cells = column.str.strip_chars()
    return cells, column.is_null() | cells.str.to_lowercase().is_in(_MISSING)


def polars(what: str) -> ModuleType:
    """The library that reads tables, which is an extra."""
    try:
        import polars as pl
    except ImportError:
        raise InputError(
            f"{what} takes polars, which is not installed: `pip install 'rollc[data]'`"
        ) from None
    return pl


def is_table(content: bytes, file: str) -> bool:
    """Whether a file is meant as a table, and not as named arrays (``.npz``)."""
    return not datafiles.is_npz(content, file) or content.startswith(_NPY)


def read_table(content: bytes, file: str, separator: str | None = None) -> Table:
    """The table of a file; in a text the separator is found in its first line if not given."""
    if content.startswith(_NPY):
        return _from_array(read_npy(content, file), file)
    if content.startswith(_PARQUET):
        return _from_parquet(content, file)
    if content.startswith(_GZIP):
        content = _unpacked(content, file)
    if len(content) > datafiles.LONGEST_TABLE:
        raise InputError(
            f"`{file}` is a table of more than {datafiles.LONGEST_TABLE // 2**20} MB;"
            " save it as Parquet or .npz"
        )
    return _from_text(content, file, separator)


def _unpacked(content: bytes, file: str) -> bytes:
    """What was gzipped, and no more of it than a table may take."""
    try:
        with gzip.open(io.BytesIO(content)) as opened:
            return opened.read(datafiles.LONGEST_TABLE + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read `{file}` as a gzipped file: {error}") from error


def _from_text(content: bytes, file: str, separator: str | None) -> Table:
    content = content.removeprefix(b"\xef\xbb\xbf")
    if b"\n" not in content:
        content = content.replace(b"\r", b"\n")  # lines as they once ended
    body = content.lstrip(b" \r\n")
    if not body:
        raise InputError(f"`{file}` is empty")
    above = content[: len(content) - len(body)].count(b"\n")
    end = body.find(b"\n", len(body.rstrip(b" \r\n")))  # polars takes `1,2,` at the end for two
    body = (body if end < 0 else body[:end]) + b"\n"
    text = _checked(body, file)
    separator = separator or _separator(text, file)
    pl = polars(f"the table `{file}`")
    try:
        frame = pl.read_csv(
            io.BytesIO(body), separator=separator, has_header=False, infer_schema=False
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        wrong = _what_is_wrong(text, separator, above)
        first = str(error).partition("\n")[0]
        raise InputError(f"cannot read `{file}` as a table: {wrong or first}") from None
    top = ["" if cell is None else cell.strip() for cell in frame.row(0)]
    has_heads = any(_number(cell) is None and cell.lower() not in _MISSING for cell in top)
    # Where no last cell is missing, each row is whole, and where nothing is quoted it is a line.
    lines, blank = np.arange(frame.height) + above + 1, np.zeros(frame.height, bool)
    if b'"' in body or frame.to_series(-1).has_nulls():
        lines, blank = _lines(text, separator, frame.shape, above, file)
    drop = blank | (np.arange(frame.height) < has_heads)
    heads = tuple(top) if has_heads else None
    return Table(file, heads, frame.filter(~drop), lines[~drop], int(blank.sum()))


def _lines(
    text: str, separator: str, shape: tuple[int, int], above: int, file: str
) -> tuple[Array, Array]:
    """The line of each row, and whether nothing is in it.

    In a table of one column such a line is a cell that is missing.  Raises :class:`InputError` for
    a row that lacks cells: it may have been cut off.
    """
    lines, blank, (height, width) = [], [], shape
    try:
        for line, row in _rows(text, separator):
            lines.append(line + above)
            blank.append(width > 1 and not "".join(row).strip() and len(row) < width)
            if 0 < len(row) < width and not blank[-1]:
                cells = f"{len(row)} cell{'s' if len(row) > 1 else ''}"
                raise InputError(
                    f"cannot read `{file}` as a table: line {line + above} has {cells}, where the"
                    f" first row has {width}; a cell that is missing is an empty one"
                )
    except csv.Error as error:
        raise InputError(f"cannot read `{file}` as a table: {error}") from None
    if len(lines) != height:
        raise InputError(
            f"cannot read `{file}` as a table: its quotes or the ends of its lines are not in order"
        )
    return np.array(lines), np.array(blank)


def _checked(body: bytes, file: str) -> str:
    """The text of a table, whose lines end somewhere."""
    start = 0
    while start < len(body):
        end = body.find(b"\n", start) + 1 or len(body)
        if end - start > datafiles.LONGEST_LINE:
            limit = datafiles.LONGEST_LINE // 2**20
            raise InputError(f"`{file}` has a line of more than {limit} MB")
        start = end
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        why = f"line {line} is not UTF-8: {error.reason}"
        if body.startswith(_UTF16):
            why = "it is UTF-16; save it as UTF-8"
        elif body.startswith(_SOUNDS):
            why = (
                "it is a sound; read it with `scipy.io.wavfile.read` or `soundfile.read`, and save"
                " its samples with `numpy.save`"
            )
        raise InputError(f"cannot read `{file}` as a table: {why}") from None
    # polars would unpack what begins like a compressed file, without a limit.
    if any(ord(letter) < 32 and letter not in "\t\r\n" for letter in text[:2]):
        raise InputError(f"cannot read `{file}` as a table: it begins with a control character")
    return text


def _separator(text: str, file: str) -> str:
    line = re.sub('"[^"]*("|$)', "", text.partition("\n")[0])
    if file.lower().removesuffix(".gz").endswith(".tsv"):
        return "\t"
    return max(_SEPARATORS, key=line.count)  # the first of those that are as frequent: a comma


def _rows(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The rows, each with the number of its first line, for messages and rare cases."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 1
    for row in reader:
        yield line, row
        line = reader.line_num + 1


def _what_is_wrong(text: str, separator: str, above: int) -> str | None:
    """Why a text is no table; None where it is not found."""
    width, line = None, 0
    try:
        for line, row in _rows(text, separator):
            width = len(row) if width is None else width
            if len(row) > width:
                return f"line {line + above} has {len(row)} cells, where the first row has {width}"
    except csv.Error as error:
        return f"after line {line + above}: {error}"
    return None


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _from_parquet(content: bytes, file: str) -> Table:
    pl = polars(f"the table `{file}`")
    try:
        lazy = pl.scan_parquet(io.BytesIO(content))
        plain = [
            name
            for name, dtype in lazy.collect_schema().items()
            if dtype.is_numeric() or dtype.is_temporal() or dtype in (pl.Boolean, pl.String)
        ]
        size = lazy.select(pl.len()).collect().item() * max(len(plain), 1) * 8
        if size > most_bytes():
            raise InputError(f"`{file}` holds {size / 1e9:,.1f} GB: that is too much to read")
        frame = lazy.select(plain).collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        first = str(error).partition("\n")[0]
        raise InputError(f"cannot read `{file}` as Parquet: {first}") from None
    if not plain:
        raise InputError(f"`{file}` has no columns of numbers")
    return Table(file, tuple(plain), frame)


def _from_array(array: Array, file: str) -> Table:
    pl = polars(f"the array of `{file}`")
    if array.ndim not in (1, 2):
        raise InputError(
            f"`{file}` has an array of {array.ndim} dimensions: expected a row a step and a"
            " column a number; save it with a name by `numpy.savez`"
        )
    return Table(file, None, pl.DataFrame(array.reshape(len(array), -1).astype(np.float64)))


def write_table(columns: Mapping[str, Sequence[Any] | Array], file: str) -> bytes:
    """The content of a table with these columns: Parquet, TSV or CSV by the name of the file."""
    pl = polars(f"`{file}`")
    frame, content = pl.DataFrame(dict(columns)), io.BytesIO()
    if file.lower().endswith(".parquet"):
        frame.write_parquet(content)
    else:
        frame.write_csv(content, separator="\t" if file.lower().endswith(".tsv") else ",")
    return content.getvalue()
