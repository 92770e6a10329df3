"""What the documents say: snippets run (a document's, in order, as one program) and print what is
shown, commands are understood, calls have the arguments that are shown, what is named exists."""

import importlib
import inspect
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import torchvision

import net2net
from net2net import cli
from net2net_lab import cli as lab_cli

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "lab" / "README.md",
    ROOT / "benchmarks" / "README.md",
]
PROGRAMS = {"net2net": cli.main, "net2net-lab": lab_cli.main}
SNIPPET = re.compile(r"```python\n(.*?)```(?:\n\n```\n(.*?)```)?", re.DOTALL)
"""A program, and what it prints, if a block without a language comes next."""
NAMED = re.compile(r"\[`([\w.]+)`\]\(([\w./]*src/(net2net[\w/]*)\.py)\)")
"""A link to the file of what it names."""
WITH_SNIPPETS = {
    document.relative_to(ROOT).as_posix(): found
    for document in DOCUMENTS
    if (found := SNIPPET.findall(document.read_text("utf-8")))
}

COMMANDS = {
    line.partition("#")[0].strip()
    for document in DOCUMENTS
    for block in re.findall(r"```sh\n(.*?)```", document.read_text("utf-8"), re.DOTALL)
    for line in block.splitlines()
    if line.partition(" ")[0] in PROGRAMS
}


@pytest.fixture
def output(registry, monkeypatch, tmp_path, capsys) -> Iterator[pytest.CaptureFixture[str]]:
    """Somewhere to run: no downloads, no files, rules and methods that stay."""
    resnet18 = torchvision.models.resnet18
    monkeypatch.setattr(torchvision.models, "resnet18", lambda weights: resnet18(weights=None))
    monkeypatch.chdir(tmp_path)
    methods = dict(net2net.METHODS)
    yield capsys
    net2net.METHODS.clear()
    net2net.METHODS.update(methods)


def test_these_documents_have_snippets():
    counts = {name: len(found) for name, found in WITH_SNIPPETS.items()}
    assert counts == {
        "README.md": 9,
        "docs/howto-folders.md": 2,
        "docs/howto-training.md": 6,
        "docs/howto-transformers.md": 8,
        "docs/limits.md": 2,
        "docs/methods.md": 5,
        "docs/rules.md": 4,
        "docs/worked-example.md": 17,
    }
    shown = {name: sum(out != "" for _, out in found) for name, found in WITH_SNIPPETS.items()}
    assert shown["docs/worked-example.md"] == 17 and shown["docs/rules.md"] == 1
    assert shown["docs/methods.md"] == 2


@pytest.mark.parametrize("name", WITH_SNIPPETS)
def test_snippets(name, output):
    names, everything = {"__name__": "snippet"}, ""
    for number, (snippet, shown) in enumerate(WITH_SNIPPETS[name], start=1):
        exec(compile(snippet, f"{name}, snippet {number}", "exec"), names)
        printed = output.readouterr().out
        assert not shown or printed.strip() == shown.strip()
        everything += printed
    assert "verified" in everything or name != "README.md"


def test_the_table_of_calls_is_that_of_the_library():
    table = dict(re.findall(r"^\| `(\w+)\((.*?)\)` \|", DOCUMENTS[0].read_text("utf-8"), re.M))
    assert table == {
        name: arguments(getattr(net2net, name))
        for name in net2net.__all__
        if inspect.isfunction(getattr(net2net, name))
    }


def test_what_rules_may_say_is_there():
    text = (ROOT / "docs" / "rules.md").read_text("utf-8")
    for owner, kind in (("site", net2net.OpSite), ("value", net2net.Value)):
        called = set(re.findall(rf"`{owner}\.(\w+)\(", text))
        assert len(called) >= 4 and all(hasattr(kind, name) for name in called)


@pytest.mark.parametrize("page", ["api", "maps"])
def test_what_is_made_is_current(page):
    """Else: make docs."""
    written = (ROOT / "docs" / f"{page}.md").read_text("utf-8")
    assert runpy.run_path(str(ROOT / "docs" / f"make_{page}.py"))["page"]() == written


def arguments(function):
    names = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and "*" not in names:
            names.append("*")
        stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
        names.append(f"{stars.get(parameter.kind, '')}{name}")
    return ", ".join(names)


@pytest.mark.parametrize("line", sorted(COMMANDS))
def test_commands_are_understood(line, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("plan.json", "edited.json", "model.safetensors"):
        (tmp_path / name).touch()
    for name in ("gpt2", "gpt2-medium"):
        (tmp_path / name).mkdir()
    name, *words = shlex.split(line)
    command = PROGRAMS[name]
    while isinstance(command, click.Group):
        name, command, words = command.resolve_command(click.Context(command), words)
    command.make_context(name, words)


def test_make_knows_what_the_documents_make():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    text = "\n".join(document.read_text("utf-8") for document in DOCUMENTS)
    named = set(re.findall(r"(?:^|`)make (\w+)(?: |`|$)", text, re.MULTILINE))
    assert {"demo", "test", "docs"} <= named <= targets


def test_every_command_is_in_the_readme():
    def paths(command, path):
        if not isinstance(command, click.Group):
            return [path]
        parts = command.commands.items()
        return [found for name, part in parts for found in paths(part, f"{path} {name}")]

    text = DOCUMENTS[0].read_text("utf-8")
    known = [path for name, program in PROGRAMS.items() for path in paths(program, name)]
    assert [path for path in known if path not in text] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document):
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", document.read_text("utf-8"))
    assert document.name != "README.md" or links
    for path, _, section in (link.partition("#") for link in links):
        target = document.parent / path if path else document
        assert target.exists(), path
        assert not section or section in sections(target.read_text("utf-8"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_is_named_is_there(document):
    for name, path, module in NAMED.findall(document.read_text("utf-8")):
        if name.endswith(".py"):
            assert Path(path).name == name
            continue
        found = importlib.import_module(module.removesuffix("/__init__").replace("/", "."))
        for part in name.split("."):
            fields = getattr(found, "__dataclass_fields__", ())
            assert hasattr(found, part) or part in fields, f"{name} is not in {path}"
            found = getattr(found, part, None)


def test_every_word_of_the_glossary_says_what_it_is_in_the_code():
    text = (ROOT / "docs" / "glossary.md").read_text("utf-8")
    entries = re.findall(r"^- \*\*(.+?)\*\*(.*?)(?=^- |^#|\Z)", text, re.M | re.S)
    assert len(entries) > 50
    assert [word for word, said in entries if not NAMED.search(said)] == ["balanced"]


def sections(text):
    """What links call them: words of the heading, joined by hyphens."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
