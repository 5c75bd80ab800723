"""Charts as files: names that every system takes, whole files or none, the same bytes every time."""

import sys
from pathlib import Path

import pytest

from fanin.report import pictures
from fanin.report.charts import Axis, Chart, Marks

CHART = Chart("a", "<A> & $b$", "", Axis("x"), Axis("y"), (Marks.of("line", [0, 1], [1, 2]),))


def test_names() -> None:
    """Names differ also where case does not count, stay in the folder, and are not hidden."""
    given = [
        "h.0.w density",
        "H.0.W density",
        "../../etc/passwd",
        "a/b\\c:d*e",
        ".hidden",
        "",
        "名前",
        "x" * 300,
        "x" * 301,
    ]
    names = pictures.file_names(dict.fromkeys(given))
    assert len({each.lower() for each in names}) == len(given)
    assert not any(set(each) & set('/\\:*?"<>| ') or each.startswith(".") or len(each) > 110 for each in names)


def test_written(tmp_path: Path) -> None:
    """Each chart is a PNG and an SVG with a white background, in a folder that is made; nothing else is left."""
    pytest.importorskip("matplotlib")
    folder = tmp_path / "out"
    paths = pictures.write_pictures({"a <b>": CHART}, folder)
    assert sorted(folder.iterdir()) == sorted(paths) == [folder / "a_b_.png", folder / "a_b_.svg"]
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    svg = paths[1].read_text()
    assert "&lt;A&gt; &amp; $b$" in svg
    assert "#ffffff" in svg


def test_the_same_bytes(tmp_path: Path) -> None:
    """Equal charts are equal files, at any time of day."""
    pytest.importorskip("matplotlib")
    first, second = (pictures.write_pictures({"a": CHART}, tmp_path / name) for name in ("1", "2"))
    assert [each.read_bytes() for each in first] == [each.read_bytes() for each in second]


def test_nothing_half_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a file cannot be written, no part of it stays."""
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    def fail(self: Figure, path: Path, **options: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("full")

    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="full"):
        pictures.write_pictures({"a": CHART}, tmp_path)
    assert not [*tmp_path.iterdir()]


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without matplotlib, nothing is made, not even the folder."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"pip install 'fanin\[plot\]'"):
        pictures.write_pictures({"a": CHART}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_folder(tmp_path: Path) -> None:
    """A file, and a folder within one that is not there, are refused."""
    pytest.importorskip("matplotlib")
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match=r"Pictures must go into a folder\. Received: .*file"):
        pictures.check_folder(tmp_path / "file")
    with pytest.raises(FileNotFoundError, match="of one that exists"):
        pictures.check_folder(tmp_path / "no" / "out")
