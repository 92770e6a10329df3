"""Every Python snippet of the README and of docs/ runs; a document's, in order, as one program."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torchvision

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SNIPPET = re.compile(r"```python\n(.*?)```", re.DOTALL)
WITH_SNIPPETS = {
    document.relative_to(ROOT).as_posix(): found
    for document in DOCUMENTS
    if (found := SNIPPET.findall(document.read_text("utf-8")))
}


@pytest.fixture
def output(registry, monkeypatch, tmp_path, capsys) -> Iterator[pytest.CaptureFixture[str]]:
    """Somewhere to run: no downloads, no files and no rules that stay."""
    resnet18 = torchvision.models.resnet18
    monkeypatch.setattr(torchvision.models, "resnet18", lambda weights: resnet18(weights=None))
    monkeypatch.chdir(tmp_path)
    return capsys


def test_these_documents_have_snippets():
    counts = {name: len(found) for name, found in WITH_SNIPPETS.items()}
    assert counts.items() >= {"README.md": 4, "docs/rules.md": 4}.items()


@pytest.mark.parametrize("name", WITH_SNIPPETS)
def test_snippets(name, output):
    names = {"__name__": "snippet"}
    for number, snippet in enumerate(WITH_SNIPPETS[name], start=1):
        exec(compile(snippet, f"{name}, snippet {number}", "exec"), names)
    printed = output.readouterr().out
    assert "verified" in printed or name != "README.md"


def test_the_error_that_the_rules_show_is_the_one_that_is_raised(output):
    document = "docs/rules.md"
    names = {"__name__": "snippet"}
    for snippet in WITH_SNIPPETS[document][:2]:
        exec(compile(snippet, document, "exec"), names)
    (shown,) = re.findall(
        r"```\n(operation .*?)```", (ROOT / document).read_text("utf-8"), re.DOTALL
    )
    assert output.readouterr().out.strip() == shown.strip()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document):
    links = re.findall(r"\]\((?!https?:|#)([^)]+)\)", document.read_text("utf-8"))
    assert document.name != "README.md" or links
    assert all((document.parent / link).exists() for link in links)
