"""The distribution: what it holds, what it needs, and that it stands without the lab."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import net2net

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "net2net"
ELSEWHERE = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
"""Variables of a process that does not see these sources."""


def call(*arguments: str | Path, **options: object) -> str:
    options = {"capture_output": True, "text": True, "check": True, "env": ELSEWHERE, **options}
    return str(subprocess.run(arguments, **options).stdout)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "hatchling", "build", "--directory", folder, cwd=ROOT)
    return folder


def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


def test_the_wheel_holds_the_package_alone(built: Path) -> None:
    names = set(zipfile.ZipFile(wheel(built)).namelist())
    info = {name for name in names if ".dist-info/" in name}
    sources = [*PACKAGE.rglob("*.py"), PACKAGE / "py.typed"]
    assert names - info == {path.relative_to(PACKAGE.parent).as_posix() for path in sources}
    assert {Path(name).name for name in info} == {
        "METADATA", "WHEEL", "RECORD", "entry_points.txt", "LICENSE",
    }  # fmt: skip


def test_the_wheel_needs_five_distributions(built: Path) -> None:
    version = net2net.__version__
    head = zipfile.ZipFile(wheel(built)).read(f"net2net-{version}.dist-info/METADATA")
    needed = message_from_bytes(head).get_all("Requires-Dist", [])
    names = [one.partition(">")[0] for one in needed if "extra ==" not in one]
    assert names == ["click", "numpy", "rich", "safetensors", "torch"]


def test_the_sdist_holds_what_the_wheel_is_built_from(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {name for name in names if not name.startswith("src/net2net/")} == {
        ".gitignore", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml",
    }  # fmt: skip


def test_it_runs_where_nothing_else_is_installed(built: Path, tmp_path: Path) -> None:
    """Dependencies are those of this environment, which come after the new one's own."""
    venv.create(tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python)
    call(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel(built))
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    code = (
        "import net2net, torch; from torch import nn; "
        "layers = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)); "
        "net2net.widen(layers, 2.0, torch.randn(2, 3)); print(net2net.__file__)"
    )
    found = call(python, "-c", code, cwd=tmp_path)
    assert found.strip() == str(site / "net2net" / "__init__.py")
    found = call(python.parent / "net2net", "--version", cwd=tmp_path)
    assert found == f"net2net, version {net2net.__version__}\n"


def test_the_library_imports_neither_the_lab_nor_what_it_needs() -> None:
    code = (
        "import sys, net2net; needed = {'net2net_lab', 'matplotlib', 'sklearn', 'click', 'rich'}; "
        "print(needed & {*sys.modules})"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "set()\n"
    assert [
        path for path in PACKAGE.rglob("*.py") if "net2net_lab" in path.read_text("utf-8")
    ] == []


def test_type_checkers_are_told_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()
