"""Knows which files the server sends by itself, and that what is sent is what reading the file would have given."""

from __future__ import annotations

import gzip
import io
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from gateway_client import RecordingSink, Told, ask

DATA = bytes(range(256)) * 40


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "data"
    file.write_bytes(DATA)
    return file


def send(file: Any, *headers: tuple[str, str], method: str = "GET", status: str = "200 OK", **options: Any) -> Told:
    def application(environ: Any, start_response: Any) -> Any:
        start_response(status, list(headers))
        return environ["wsgi.file_wrapper"](file, 4096)

    return ask(application, method, **options)


def kinds(told: Told) -> list[str]:
    return [event[0] for event in told.events]


class TestPlainFiles:
    @pytest.mark.parametrize("mode", [{"mode": "rb"}, {"mode": "rb", "buffering": 0}, {"mode": "r+b"}])
    def test_a_file_is_sent_by_its_descriptor_with_its_length(self, path: Path, mode: dict[str, Any]):
        file = path.open(**mode)
        told = send(file)
        assert kinds(told) == ["part", "file", "last"]
        assert told.body == DATA
        assert told.values("Content-Length") == [str(len(DATA))]
        assert told.keeps_alive
        assert told.response.sent == len(DATA)
        assert file.closed

    def test_it_is_sent_from_where_it_stands(self, path: Path):
        file = path.open("rb")
        file.read(1000)
        told = send(file)
        assert told.events[1] == ("file", DATA[1000:])
        assert told.values("Content-Length") == [str(len(DATA) - 1000)]

    def test_no_more_of_it_is_sent_than_the_content_length(self, path: Path):
        told = send(path.open("rb"), ("Content-Length", "100"))
        assert told.events[1] == ("file", DATA[:100])
        assert told.values("Content-Length") == ["100"]
        assert told.keeps_alive

    def test_a_range_of_it_can_be_sent(self, path: Path):
        file = path.open("rb")
        file.seek(256)
        told = send(file, ("Content-Length", "256"), status="206 Partial Content")
        assert told.body == bytes(range(256))

    def test_a_file_shorter_than_its_content_length_ends_the_connection(self, path: Path):
        told = send(path.open("rb"), ("Content-Length", str(len(DATA) + 1)))
        assert told.body == DATA
        assert not told.keeps_alive
        assert f"sent {len(DATA)} bytes but stated a Content-Length of {len(DATA) + 1}" in told.log

    def test_1_0_gets_a_length_too(self, path: Path):
        told = send(path.open("rb"), minor=0)
        assert told.values("Content-Length") == [str(len(DATA))]
        assert told.keeps_alive

    @pytest.mark.parametrize("make", [tempfile.TemporaryFile, tempfile.NamedTemporaryFile])
    def test_temporary_files_are_plain_files(self, make: Any):
        file = make()
        file.write(DATA)
        file.seek(10)
        told = send(file)
        assert told.events[1] == ("file", DATA[10:])
        assert file.closed

    @pytest.mark.parametrize("beyond", [0, 10])
    def test_the_end_of_a_file_is_an_empty_answer(self, path: Path, beyond: int):
        file = path.open("rb")
        file.seek(beyond, os.SEEK_END)
        told = send(file)
        assert told.body == b""
        assert told.values("Content-Length") == ["0"]

    @pytest.mark.parametrize(
        ("method", "status"), [("HEAD", "200 OK"), ("GET", "304 Not Modified"), ("GET", "204 No Content")]
    )
    def test_nothing_of_it_is_sent_where_there_is_no_body(self, path: Path, method: str, status: str):
        file = path.open("rb")
        told = send(file, method=method, status=status)
        assert told.body == b""
        assert told.keeps_alive
        assert file.closed

    @pytest.mark.parametrize("patience", [0, 1, 2])
    def test_it_is_closed_when_the_client_is_gone(self, path: Path, patience: int):
        file = path.open("rb")
        send(file, sink=RecordingSink(patience=patience))
        assert file.closed

    def test_behind_what_was_written_it_is_read(self, path: Path):
        def application(environ: Any, start_response: Any) -> Any:
            start_response("200 OK", [("Content-Length", str(2 + len(DATA)))])(b"ab")
            return environ["wsgi.file_wrapper"](path.open("rb"))

        told = ask(application)
        assert told.body == b"ab" + DATA
        assert "file" not in kinds(told)


class Upper:
    """Gives out other bytes than the file that it holds, as a decrypting or decompressing reader does."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.fileno = file.fileno
        self.close = file.close

    def read(self, size: int = -1) -> bytes:
        return bytes(self.file.read(size)).upper()


class UpperFile(io.FileIO):
    def read(self, size: int | None = -1) -> bytes:
        return bytes(super().read(size) or b"").upper()


class TestOtherFiles:
    def body(self, told: Told) -> bytes:
        """The body of a chunked answer, which must not have been sent by descriptor."""
        assert "file" not in kinds(told)
        assert told.values("Transfer-Encoding") == ["chunked"]
        parts = [event[1] for event in told.events]
        parts[0] = parts[0].partition(b"\r\n\r\n")[2]
        return b"".join(part[part.index(b"\r\n") + 2 : -2] for part in parts[:-1])

    def test_a_compressed_file_is_read(self, tmp_path: Path):
        path = tmp_path / "data.gz"
        path.write_bytes(gzip.compress(DATA))
        with gzip.open(path) as file:
            assert self.body(send(file)) == DATA
            assert file.closed

    def test_what_is_in_memory_is_read(self):
        file = io.BytesIO(DATA)
        assert self.body(send(file)) == DATA
        assert file.closed

    def test_a_spooled_file_is_read(self):
        with tempfile.SpooledTemporaryFile() as file:
            file.write(DATA)
            file.seek(0)
            assert self.body(send(file)) == DATA

    def test_what_only_has_read_is_read(self):
        class Reader:
            def __init__(self) -> None:
                self.blocks = [DATA[:10], DATA[10:20]]

            def read(self, size: int) -> bytes:
                assert size == 4096
                return self.blocks.pop(0) if self.blocks else b""

        assert self.body(send(Reader())) == DATA[:20]

    def test_a_pipe_is_read(self):
        read, write = os.pipe()
        os.write(write, b"from a pipe")
        os.close(write)
        assert self.body(send(os.fdopen(read, "rb"))) == b"from a pipe"

    def test_a_reader_that_changes_the_bytes_is_read_although_it_holds_a_file(self, tmp_path: Path):
        path = tmp_path / "data"
        path.write_bytes(b"abc")
        assert self.body(send(Upper(path.open("rb")))) == b"ABC"

    def test_a_file_whose_read_is_its_own_is_read(self, tmp_path: Path):
        path = tmp_path / "data"
        path.write_bytes(b"abc")
        assert self.body(send(UpperFile(path))) == b"ABC"

    def test_an_error_while_reading_cuts_the_answer(self):
        class Reader:
            blocks = [b"abc"]

            def read(self, size: int) -> bytes:
                return self.blocks.pop()

        assert send(Reader()).was_cut

    def test_a_closed_file_is_an_error(self, path: Path):
        file = path.open("rb")
        file.close()
        assert send(file).status == "500 Internal Server Error"


def test_a_wrapper_is_an_iterable_like_any_other(path: Path):
    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        with path.open("rb") as file:
            return [b"".join(environ["wsgi.file_wrapper"](file, 100))]

    assert ask(application).body == DATA
