"""The answer of every method of the client: the only module of it that imports pyarrow."""

import importlib
import io
import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radar.errors import QueryFailed, RadarError
from radar.reading.formats.base import replacing

if TYPE_CHECKING:
    import pandas
    import pyarrow

Parts = Callable[[], Iterator[Iterable[bytes]]]
"""Asks the database, and yields the parts of an answer, each an Arrow stream in chunks."""

# A group of rows of a Parquet file is written at once, so it bounds the memory of `to_parquet`.
GROUP_ROWS = 250_000
GROUP_BYTES = 32 * 1024 * 1024


class Answer:
    """The rows of an answer, which are read when you ask for them.

    `to_arrow`, `to_pandas`, `to_polars`, `to_pylist`, `num_rows` and `schema` read all rows into
    memory, once. `batches` and `to_parquet` read them in portions, and keep none of them.

    DuckDB, Polars and pyarrow take an answer as it is: `duckdb.sql("SELECT … FROM answer")`,
    `polars.DataFrame(answer)`, `pyarrow.table(answer)`.
    """

    def __init__(self, about: str, parts: Parts) -> None:
        """Take the function that asks.

        Args:
            about: Words for `repr`: the method, the markets and the period.
            parts: Asks the database; at least one part.
        """
        self._about = about
        self._parts = parts
        self._table: pyarrow.Table | None = None

    @classmethod
    def of(cls, about: str, table: "pyarrow.Table") -> "Answer":
        """Return an answer that is in memory already."""
        answer = cls(about, lambda: iter(()))
        answer._table = table
        return answer

    def __repr__(self) -> str:
        """Return its words, and the number of rows if they were read."""
        rows = "not read yet" if self._table is None else f"{self._table.num_rows:,} rows"
        return f"<{self._about}: {rows}>"

    def batches(self) -> "Iterator[pyarrow.RecordBatch]":
        """Yield the rows in Arrow record batches, as they arrive; blocks.

        Memory holds one part of the answer, whatever the period.

        Raises:
            StoreUnavailable: No server answers and there is no embedded data.
            QueryFailed: ClickHouse refuses the query.
        """
        return self._open()[1]

    def to_arrow(self) -> "pyarrow.Table":
        """Return all rows as an Arrow table; blocks. Errors as in `batches`."""
        if self._table is None:
            schema, batches = self._open()
            self._table = _pyarrow().Table.from_batches(batches, schema)
        return self._table

    def to_pandas(self, **options: Any) -> "pandas.DataFrame":
        """Return all rows as a pandas frame; blocks. Errors as in `batches`.

        Args:
            options: Those of `pyarrow.Table.to_pandas`.
        """
        return self.to_arrow().to_pandas(**options)

    def to_polars(self) -> Any:
        """Return all rows as a Polars frame; blocks. Errors as in `batches`.

        Raises:
            RadarError: Polars is missing; the message names the command that installs it.
        """
        try:
            polars = importlib.import_module("polars")
        except ImportError:
            raise RadarError(_missing("polars")) from None
        return polars.from_arrow(self.to_arrow())

    def to_pylist(self) -> list[dict[str, Any]]:
        """Return all rows as dictionaries; blocks. Errors as in `batches`."""
        return self.to_arrow().to_pylist()

    def to_parquet(self, path: Path | str) -> int:
        """Write all rows to a Parquet file, in portions; blocks. Errors as in `batches`.

        The file appears when it is complete.

        Returns:
            The number of rows.

        Raises:
            RadarError: The file cannot be written.
        """
        _pyarrow()
        from pyarrow import parquet

        written = 0
        with replacing(Path(path)) as place:
            schema, batches = self._open()
            with parquet.ParquetWriter(place, schema) as writer:
                for group in _groups(batches, schema):
                    writer.write_table(group)
                    written += group.num_rows
        return written

    @property
    def schema(self) -> "pyarrow.Schema":
        """The columns with their types."""
        return self.to_arrow().schema

    @property
    def column_names(self) -> list[str]:
        """The names of the columns."""
        return self.to_arrow().column_names

    @property
    def num_rows(self) -> int:
        """The number of rows."""
        return self.to_arrow().num_rows

    def __len__(self) -> int:
        """Return the number of rows."""
        return self.num_rows

    def __getitem__(self, column: str) -> "pyarrow.ChunkedArray[Any]":
        """Return a column."""
        return self.to_arrow()[column]

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Hand the rows to another library, in portions if they were not read yet."""
        schema, batches = self._open()
        reader = _pyarrow().RecordBatchReader.from_batches(schema, batches)
        return reader.__arrow_c_stream__(requested_schema)

    def _open(self) -> "tuple[pyarrow.Schema, Iterator[pyarrow.RecordBatch]]":
        """Begin to read: return the columns, and the rows to come."""
        if self._table is not None:
            return self._table.schema, iter(self._table.to_batches())
        streams = map(_stream, self._parts())
        first = next(streams)
        return first.schema, _batches(itertools.chain((first,), streams))


def check_pyarrow() -> None:
    """Return if pyarrow can be imported.

    Raises:
        RadarError: It cannot; the message names the command that installs it.
    """
    _pyarrow()


def table_of(answer: bytes) -> "pyarrow.Table":
    """Return the table of an answer that is in memory.

    Raises:
        QueryFailed: The statement has no answer.
    """
    table: pyarrow.Table = _stream([answer]).read_all()
    return table


def _stream(chunks: Iterable[bytes]) -> Any:
    arrow = _pyarrow()
    pipe = _Pipe(chunks)
    if pipe.is_empty:
        raise QueryFailed("the statement has no answer")
    with _complete():
        # pyarrow takes a short read for the end of the answer.
        return arrow.ipc.open_stream(io.BufferedReader(pipe))


def _batches(streams: Iterable[Any]) -> "Iterator[pyarrow.RecordBatch]":
    for stream in streams:
        with _complete():
            yield from (batch for batch in stream if batch.num_rows)


@contextmanager
def _complete() -> Iterator[None]:
    """Translate the error of an answer that ends early: ClickHouse failed after its begin."""
    try:
        yield
    except _pyarrow().ArrowInvalid as error:
        raise QueryFailed(f"the answer broke off: {error}") from error


def _groups(
    batches: "Iterator[pyarrow.RecordBatch]", schema: "pyarrow.Schema"
) -> "Iterator[pyarrow.Table]":
    """Join batches to groups of rows for a file."""
    import pyarrow

    waiting: list[pyarrow.RecordBatch] = []
    rows = size_bytes = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        size_bytes += batch.nbytes
        if rows >= GROUP_ROWS or size_bytes >= GROUP_BYTES:
            yield pyarrow.Table.from_batches(waiting, schema)
            waiting, rows, size_bytes = [], 0, 0
    if waiting:
        yield pyarrow.Table.from_batches(waiting, schema)


class _Pipe(io.RawIOBase):
    """Chunks of bytes as a file that can be read once."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = memoryview(next(self._chunks, b""))
        self.is_empty = not self._rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _pyarrow() -> Any:
    try:
        import pyarrow as module
        import pyarrow.ipc
    except ImportError:
        raise RadarError(_missing("pyarrow")) from None
    return module


def _missing(library: str) -> str:
    return f'radar.client needs {library}: in radar\'s folder, run pip install ".[notebook]"'
