"""Text as data: the standard library's sources, and a user's own file."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from net2net_lab.experiments.data.data import DataError
from net2net_lab.experiments.data.texts import UNKNOWN, stdlib_text, text_file


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def test_every_position_is_to_be_followed_by_the_next_character(tmp_path: Path) -> None:
    letters = random.Random(0).choices("abc", k=1000)
    path = write(tmp_path / "mine.txt", "".join(letters))
    data = text_file(path, context=9)
    assert data.train_x.shape == (99, 9) and data.val_x.shape == (11, 9)
    numbers = torch.tensor(["abc".index(letter) + 1 for letter in letters])  # 0 is for unknown ones
    assert torch.equal(data.train_x.flatten(), numbers[:891])
    assert torch.equal(data.train_y.flatten(), numbers[1:892])
    assert torch.equal(data.val_x.flatten(), numbers[900:999])
    assert torch.equal(data.val_y.flatten(), numbers[901:1000])
    assert data.classes == 4

    x, y = next(data.epochs(5, seed=0))
    assert x.shape == y.shape == (5, 9)
    assert torch.equal(x[:, 1:], y[:, :-1])
    assert torch.equal(x, next(data.epochs(5, seed=0))[0])
    assert not torch.equal(x, next(data.epochs(5, seed=1))[0])


def test_rare_characters_and_those_of_the_validation_part_alone_are_unknown(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.txt", "é" + "ab" * 500 + "𝄞" + UNKNOWN + "b" * 60)
    data = text_file(path, context=4)
    assert data.classes == 3
    assert (data.train_x == 0).nonzero().tolist() == [[0, 0]]
    assert (data.val_x == 0).sum() == 2


def test_long_texts_are_validated_on_parts_from_everywhere(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.txt", "x" * 90_000 + "x" * 5_000 + "y" * 5_000)
    data = text_file(path, context=2)
    assert data.val_x.shape == (512, 2)
    assert 250 < (data.val_x[:, 0] == 0).sum() < 262


@pytest.mark.parametrize("length", [0, 1, 100])
def test_a_short_text_is_refused(tmp_path: Path, length: int) -> None:
    path = write(tmp_path / "mine.txt", "x" * length)
    with pytest.raises(DataError, match=rf"mine.txt' has {length} characters, too few.* longer"):
        text_file(path)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none.txt' cannot be read as text.* UTF-8"):
        text_file(tmp_path / "none.txt")
    (tmp_path / "image.txt").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"image.txt' cannot be read as text"):
        text_file(tmp_path / "image.txt")
    with pytest.raises(DataError, match="cannot be read as text"):
        text_file(tmp_path)


def test_the_modules_of_the_standard_library_are_split_by_file(tmp_path: Path) -> None:
    for number, name in enumerate(
        ["json/decoder.py", "json/encoder.py", "ast.py", "abc.py", "bisect.py", "heapq.py"]
    ):
        write(tmp_path / name, "abcdef"[number] * 100)
    for name in ["json/tests/a.py", "test/a.py", "site-packages/a.py", "idlelib/a.py", "mine.py"]:
        write(tmp_path / name, "z" * 100)
    write(tmp_path / "json" / "data.txt", "z" * 100)
    data = stdlib_text(context=10, folder=tmp_path)
    assert data.classes == 1 + 5  # the letter of the file held out is unknown, as are line breaks
    assert len(data.train_x) == 50 and len(data.val_x) == 9
    assert (data.val_x == 0).all()
    assert (data.train_x == 0).sum() == 4
    assert torch.equal(data.train_x, stdlib_text(context=10, folder=tmp_path).train_x)


def test_a_python_without_sources(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no sources of the standard library"):
        stdlib_text(folder=tmp_path)


def test_the_standard_library_at_hand() -> None:
    data = stdlib_text()
    assert data.size > 40_000
    assert data.val_x.shape == data.val_y.shape == (512, 64)
    assert 90 < data.classes < 200
    assert (data.val_x == 0).double().mean() < 0.01
    share = data.train_y.flatten().bincount(minlength=data.classes).double() / data.train_y.numel()
    assert share.max() < 0.4  # of the commonest character: a space
