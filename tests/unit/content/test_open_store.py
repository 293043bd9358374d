"""Stores by URL."""

import subprocess
import sys
from pathlib import Path

import pytest

from fl_orchestrator.content.by_url import open_store
from fl_orchestrator.content.local import LocalStore
from fl_orchestrator.content.store import StoreUnavailable, StoreUrlError
from fl_orchestrator.errors import InputError


def test_a_file_url_opens_a_local_store(tmp_path: Path) -> None:
    directory = tmp_path / "with space" / "100%"
    assert isinstance(open_store(directory.as_uri()), LocalStore)
    assert (directory / "pinned").is_dir()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/some/path",
        "store",
        "file:relative",
        "file://relative/path",
        "file:///path?query",
        "file:///path#fragment",
        "file:///nul%00byte",
        "http://127.0.0.1:5001",
        "ftp://host/path",
        "kubo+http://",
        "kubo+http://127.0.0.1",
        "kubo+http://127.0.0.1:5001/api?query",
        "kubo+http://:password@127.0.0.1:5001",
        "kubo+http://127.0.0.1:5001/with%20space",
        "kubo+http://127.0.0.1:99999",
        "kubo+http://127.0.0.1:port",
        "kubo+http://[::1",
    ],
)
def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(StoreUrlError, match="store URL") as caught:
        open_store(url)
    assert isinstance(caught.value, InputError)
    assert "file:///path/to/directory" in str(caught.value)


def test_a_relative_path_is_shown_as_it_was_written() -> None:
    with pytest.raises(StoreUrlError, match="'file:store' has no absolute path"):
        open_store("file:store")


def test_the_kubo_store_is_imported_only_when_it_is_opened(tmp_path: Path) -> None:
    code = (
        "import sys; from fl_orchestrator.content.by_url import open_store;"
        f"open_store({tmp_path.as_uri()!r});"
        "assert not {'ipfshttpclient', 'requests', 'fl_orchestrator.content.kubo'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_missing_client_library_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipfshttpclient", None)
    monkeypatch.delitem(sys.modules, "fl_orchestrator.content.kubo", raising=False)
    with pytest.raises(StoreUnavailable, match=r"pip install 'fl-orchestrator\[kubo\]'"):
        open_store("kubo+http://127.0.0.1:5001")
