"""Tables from files: what is right is read, and what is wrong is named with its line and column."""

from __future__ import annotations

import gzip
import io
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollc.errors import InputError
from rollc.network.arrays import Spec
from rollc.tools import datafiles, tables
from rollc.tools.columns import Arranged, Columns, arrange
from rollc.tools.tables import read_table, write_table


def slot(name: str, *shape: int, bound: int | None = None, static: bool = False) -> Spec:
    kind = "float" if bound is None else "index"
    return Spec(name, kind, shape, "float64", () if static else ("t",), True, bound)


SLOTS = {"x": slot("x", 2), "y": slot("y")}


def read(content: bytes, file: str = "f.csv", slots: Any = SLOTS, **columns: Any) -> Arranged:
    return arrange(read_table(content, file), slots, Columns(**columns))


def test_columns_are_found_by_their_heads() -> None:
    found = read(b"year,x.1,y,x.0\r\n1700,1,2,3\r\n\r\n1701,4,5e0,6\r\n").arrays
    np.testing.assert_array_equal(found["x"], [[3, 1], [6, 4]])
    np.testing.assert_array_equal(found["y"], [2, 5])


def test_without_heads_the_columns_are_in_order() -> None:
    found = read(b"1,2,3\n4,5,-inf\n").arrays
    np.testing.assert_array_equal(found["x"], [[1, 2], [4, 5]])
    np.testing.assert_array_equal(found["y"], [3, -np.inf])


def test_the_heads_of_a_matrix() -> None:
    found = read(b"z.0.0,z.0.1,z.1.0,z.1.1\n1,2,3,4\n", slots={"z": slot("z", 2, 2)}).arrays
    np.testing.assert_array_equal(found["z"], [[[1, 2], [3, 4]]])


def test_what_is_not_there_is_left_out() -> None:
    assert read(b"y\n1\n").arrays.keys() == {"y"}


def test_columns_have_names_of_their_own() -> None:
    mapping = {"x": ("pressure", "temp; C"), "y": ("pressure",)}
    found = read(b'pressure,"temp; C"\n1,2\n3,4\n', mapping=mapping).arrays
    np.testing.assert_array_equal(found["x"], [[1, 2], [3, 4]])
    np.testing.assert_array_equal(found["y"], [1, 3])


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_any_separator(separator: str) -> None:
    text = "x.0,x.1,y\n1,2,3\n".replace(",", separator).encode()
    for content, file in ((text, "f.csv"), (gzip.compress(text), "f.csv.gz"), (text, "-")):
        np.testing.assert_array_equal(read(content, file).arrays["y"], [3])


def test_the_same_table_in_every_format() -> None:
    numbers = np.arange(6.0).reshape(2, 3) + 0.5
    frame = pl.DataFrame(dict(zip(("x.0", "x.1", "y"), numbers.T, strict=True)))
    parquet, npy = io.BytesIO(), io.BytesIO()
    frame.write_parquet(parquet)
    np.save(npy, numbers)
    columns = dict(zip(frame.columns, numbers.T, strict=True))
    for content, file in (
        (parquet.getvalue(), "f.parquet"),
        (npy.getvalue(), "f.npy"),
        *((write_table(columns, file), file) for file in ("f.csv", "f.tsv", "f.parquet")),
    ):
        found = read(content, file).arrays
        np.testing.assert_array_equal(np.c_[found["x"], found["y"]], numbers)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"", "`f.csv` is empty"),
        (b"\n \n", "`f.csv` is empty"),
        (b"x.0,y\n1,2\n", "`f.csv` has no column `x.1`"),
        (b"a,b\n1,2\n", "no column of `f.csv` has a name that was looked for, such as `x.0`, `y`"),
        (b"1,2\n", "has 2 columns without heads, where 3 were expected: x.0, x.1, y"),
        (
            b"x.0;x.1;y\n1,5;2;3\n",
            "(`x.0`): expected a number, found `1,5`; the decimal point is `.`, and this file has"
            " commas",
        ),
        (b"y\n1\ntwo\n", "`f.csv`, line 3, column 1 (`y`): expected a number, found `two`"),
        (b"\n\ny\n1\n\ntwo\n", "`f.csv`, line 6, column 1 (`y`): expected a number, found `two`"),
        (b'a,y\n"1\n2",1\n3,two\n', "`f.csv`, line 4, column 2 (`y`): expected a number"),
        (b"a,y\n1,2\n3,\n", "`f.csv`, line 3, column 2 (`y`): the cell is missing; say what to do"),
        (b"a,y\n1,2\n3\n", "line 3 has 1 cell, where the first row has 2; a cell that is missing"),
        (b"\xef\xbb\xbfa,b,y\r\n1,2,3\r\n\r\n4,5\r\n6,7,8", "line 4 has 2 cells, where the first"),
        (b'a,y\n"1\n2",3\n"4"', "line 4 has 1 cell, where the first row has 2"),
        (b"x.0,y,x.1\n1,2", "line 2 has 2 cells, where the first row has 3"),
        (b"a,y\n1,2,", "line 2 has 3 cells, where the first row has 2"),
        (b"y\n1\n\n2\n\n", "`f.csv`, line 3, column 1 (`y`): the cell is missing; say what"),
        (b"a,y\n", "`f.csv` has no rows"),
        (b"a,y", "`f.csv` has no rows"),
        (b"a,y\n1,2\n,\n4,NaN\n", "line 3, column 2 (`y`): the cell is missing (2 such cells"),
        (b"1,2,3\n4,5,nan\n", "`f.csv`, line 2, column 3: the cell is missing"),
        (b"y,a\n1,2\n3,4,5\n", "line 3 has 3 cells, where the first row has 2"),
        (b"y,y\n1,2\n", "`f.csv` has more than one column `y`"),
        ("a,y\n1,2\n".encode("utf-16"), "it is UTF-16; save it as UTF-8"),
        (b"RIFF\xa4\xff\x00\x00WAVEfmt ", "it is a sound; read it with `scipy.io.wavfile.read`"),
        (b"y\n\xff\n", "cannot read `f.csv` as a table: line 2 is not UTF-8"),
        (b'y\n"1\n', "cannot read `f.csv` as a table"),
        (b'y\n"1"2\n', "`f.csv`"),
        (b'y\n"' + b"1" * 200_000 + b'"\n', "`f.csv`"),
        (b"x\x01\n1\n", "cannot read `f.csv` as a table: it begins with a control character"),
        (b"\x1f\x8bnot", "cannot read `f.csv` as a gzipped file"),
        (b"PAR1PAR1", "cannot read `f.csv` as Parquet"),
    ],
)
def test_a_bad_table_is_named(table: bytes, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read(table)
    assert message in str(caught.value)


@pytest.mark.parametrize("missing", ["error", "drop", "hold"])
def test_a_row_that_was_cut_off_is_no_missing_cell(missing: str) -> None:
    """Whatever is to be done with those."""
    for row in (b"7", b"7\n8,9\n", b'"7"\n8,9\n'):
        with pytest.raises(InputError, match="line 3 has 1 cell, where the first row has 2"):
            read(b"a,y\n1,2\n" + row, missing=missing)


def test_lines_end_in_many_ways() -> None:
    for content in (
        b"a,y\n1,2\n3,4",
        b"\xef\xbb\xbfa,y\r\n1,2\r\n3,4\r\n\r\n",
        b"a,y\r1,2\r3,4\r",
        b'\n"a","y"\n"1","2"\n  \n"3","4"\n\n',
    ):
        np.testing.assert_array_equal(read(content).arrays["y"], [2, 4])
    assert read_table(b"a,y\n1,2\n\n  \n3,\n\n", "f.csv").blank == 2
    gaps = read(b"y\n1\n\n3\n\n", slots={"y": slot("y")}, missing="hold")
    np.testing.assert_array_equal(gaps.arrays["y"], [1, 1, 3])


def test_quotes_hold_separators() -> None:
    table = b'"temp; C; mean","y, in mm"\n1,"2"\n'
    mapping = {"x": ("temp; C; mean", "temp; C; mean"), "y": ("y, in mm",)}
    np.testing.assert_array_equal(read(table, mapping=mapping).arrays["y"], [2])


def test_no_row_is_left() -> None:
    with pytest.raises(InputError, match="has no rows left: each lacks a cell"):
        read(b"a,y\n1,\n2,NA\n", missing="drop")


def test_tables_have_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datafiles, "LONGEST_TABLE", 200)
    monkeypatch.setattr(datafiles, "LONGEST_LINE", 100)
    assert len(read(b"y\n" + b"1\n" * 90).arrays["y"]) == 90
    for long in (b"y\n" + b"1\n" * 100, gzip.compress(b"y\n" + b"1\n" * 9999)):
        with pytest.raises(InputError, match=r"`f\.csv` is a table of more than"):
            read(long)
    with pytest.raises(InputError, match=r"`f\.csv` has a line of more than"):
        read(b"y\n" + b"1," * 60)


def test_a_parquet_file_that_unpacks_to_more_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    pl.DataFrame({"y": np.zeros(100_000)}).write_parquet(content)
    assert len(content.getvalue()) < 10_000
    monkeypatch.setattr(tables, "most_bytes", lambda: 100_000)
    with pytest.raises(InputError, match="that is too much to read"):
        read(content.getvalue(), "f.parquet")


GAPS = b"x.0,x.1,y\n1,2,3\n4,,6\n7,8,NA\n10,11,12\n"


def test_rows_with_missing_cells_are_dropped() -> None:
    found = read(GAPS, missing="drop")
    np.testing.assert_array_equal(found.arrays["x"], [[1, 2], [10, 11]])
    assert found.dropped == 2
    assert found.table.where(1, 0) == "`f.csv`, line 5, column 1 (`x.0`)"


def test_the_cell_before_is_held() -> None:
    found = read(GAPS, missing="hold").arrays
    np.testing.assert_array_equal(found["x"], [[1, 2], [4, 2], [7, 8], [10, 11]])
    np.testing.assert_array_equal(found["y"], [3, 6, 6, 12])
    shops = b"id,y\na,1\nb,2\na,\nb,\n"
    by_shop = read(shops, missing="hold", sequence="id").arrays["y"]
    np.testing.assert_array_equal(by_shop, [[1, 2], [1, 2]])
    with pytest.raises(InputError, match=r"line 3, column 2 \(`y`\).*none is before it"):
        read(shops.replace(b"b,2", b"b,"), missing="hold", sequence="id")
    with pytest.raises(InputError, match=r"line 2, column 2 \(`x\.1`\).*none is before it"):
        read(b"x.0,x.1\n1,\n2,3\n", missing="hold")


def test_missing_cells_are_masked() -> None:
    slots = {**SLOTS, "m": slot("m"), "mx": slot("mx", 2)}
    found = read(GAPS, slots=slots, missing="mask", masks={"m": "", "mx": "x"}).arrays
    np.testing.assert_array_equal(found["m"], [1, 0, 0, 1])
    np.testing.assert_array_equal(found["mx"], [[1, 1], [1, 0], [1, 1], [1, 1]])
    np.testing.assert_array_equal(found["x"], [[1, 2], [4, np.nan], [7, 8], [10, 11]])
    for masks, message in (
        ({"mx": ""}, "give `--mask mx=OF`"),
        ({"q": ""}, "`q` is no input or target"),
    ):
        with pytest.raises(InputError, match=message):
            read(GAPS, slots=slots, missing="mask", masks=masks)


def test_a_column_tells_sequences_apart() -> None:
    slots = {"y": slot("y"), "k": slot("k", bound=3, static=True)}
    table = b"id,y,k\na,1,2\nb,5,0\na,2,2\na,3,2\n"
    found = read(table, slots=slots, sequence="id")
    np.testing.assert_array_equal(found.arrays["y"], [[1, 5], [2, 0], [3, 0]])
    np.testing.assert_array_equal(found.arrays["k"], [2, 0])
    assert found.lengths is not None and found.lengths.tolist() == [3, 1]
    with pytest.raises(InputError, match=r"line 4, column 3 \(`k`\): the network reads one value"):
        read(table.replace(b"a,2,2", b"a,2,1"), slots=slots, sequence="id")
    with pytest.raises(InputError, match=r"line 3, column 1 \(`id`\): the cell is missing"):
        read(table.replace(b"b,5", b",5"), slots=slots, sequence="id")


@pytest.mark.parametrize("cell", ["3", "-1", "0.5", "inf"])
def test_an_index_is_one_of_its_values(cell: str) -> None:
    with pytest.raises(InputError, match=r"line 3, column 1 \(`k`\): expected an integer from 0"):
        read(f"k\n1\n{cell}\n".encode(), slots={"k": slot("k", bound=3)})


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_table_is_an_input_error(data: st.DataObject) -> None:
    """Whatever is read has a number for each cell."""
    frame, parquet = pl.DataFrame({"y": [1.0, 2.5], "a": ["b", "c"]}), io.BytesIO()
    frame.write_parquet(parquet)
    whole = data.draw(st.sampled_from([b'y,a\n1,"b"\n2.5,c\n', parquet.getvalue()]))
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    try:
        found = read(bytes(content))
    except InputError:
        return
    assert all(array.dtype == np.float64 for array in found.arrays.values())


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.floats(allow_nan=False, width=64) | st.integers(-(2**60), 2**60), min_size=1, max_size=20
    ),
    st.sampled_from([repr, lambda x: f"{x:+.17e}", lambda x: f' "{float(x)!r}"']),
)
def test_numbers_are_those_that_are_written(numbers: list[float], written: Any) -> None:
    table = "y\n" + "".join(f"{written(number).strip()}\n" for number in numbers)
    found = read(table.encode()).arrays["y"]
    np.testing.assert_array_equal(found, np.array([float(number) for number in numbers]))


def test_a_table_that_is_one_column_may_have_another_separator() -> None:
    with pytest.raises(
        InputError, match=r"has no column `a`; it has `a b`; where .* `--separator`"
    ):
        read_table(b"a b\n1 2\n", "f.csv", None).place("a")
