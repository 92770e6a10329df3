"""The summary as tables on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from net2net_lab.experiments.show.findings import findings
from net2net_lab.experiments.show.formats import (
    called,
    flops,
    flops_to,
    heading,
    loss,
    percent,
    probability,
    saved,
    steps,
)
from net2net_lab.experiments.show.summary import Question, Summary

WIDTH = 110
"""Columns that no table needs more of; a number that is cut off would be worse than a long line."""


def print_tables(summary: Summary) -> None:
    """All questions: accuracies, losses, compute, tests, and what they say."""
    console = Console()
    wide = Console(width=max(console.width, WIDTH))

    def say(text: str) -> None:
        console.print(text, highlight=False)

    say(
        f"Teacher: {percent(summary.teacher)} % validation accuracy, "
        f"{summary.teacher_parameters:,} parameters, {flops(summary.teacher_flops)}FLOP of "
        f"training, seeds {len(summary.seeds)}"
    )
    found = findings(summary)
    for question in summary.questions:
        wide.print(_accuracies(question, summary))
        wide.print(_losses(question, summary))
        wide.print(_compute(question, summary))
        if question.reference:
            wide.print(_to_scratch(question, summary))
        if any(row.tests for row in question.rows):
            wide.print(_tests(question))
        for sentence in found[question.name]:
            say(f"• {sentence}")
    for run, fault in summary.faults.items():
        say(f"Stopped: {run}, {fault}")
    if summary.missing:
        say(f"Not complete: {', '.join(summary.missing)}")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=f"\n{title}", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("student", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _accuracies(question: Question, summary: Summary) -> Table:
    table = _table(
        f"{question.name.capitalize()} students: validation accuracy in %",
        *(heading(summary, step) for step in summary.checkpoints),
        "area",
    )
    for row in question.rows:
        accuracies = [percent(row.accuracy[step]) for step in summary.checkpoints]
        table.add_row(row.label, *accuracies, percent(row.area))
    return table


def _losses(question: Question, summary: Summary) -> Table:
    table = _table("Validation loss", *(heading(summary, step) for step in summary.checkpoints))
    rows = {"(teacher)": summary.teacher_loss} | {row.label: row.loss for row in question.rows}
    for label, losses in rows.items():
        table.add_row(label, *(loss(losses.get(step)) for step in summary.checkpoints))
    return table


def _compute(question: Question, summary: Summary) -> Table:
    columns = ["parameters", "FLOP"]
    if not summary.shares:
        columns += ["a step", "steps to teacher's", "FLOP to it"]
    table = _table("Size and compute", *columns)
    for row in question.rows:
        cells = [
            f"{row.parameters:,}",
            flops(row.flops),
            flops(row.flops_per_step),
            steps(row.to_teacher),
            flops_to(row.to_teacher),
        ]
        table.add_row(row.label, *cells[: len(columns)])
    return table


def _to_scratch(question: Question, summary: Summary) -> Table:
    columns = ["steps", "FLOP", "saved"]
    if not summary.shares:  # there, a life begins with the teacher's
        columns += ["+ teacher's", "with teacher's"]
    table = _table(f"To the best accuracy of {called(question.reference)}", *columns)
    for row in question.rows:
        saving = row.saving
        cells = [
            steps(row.to_scratch),
            flops_to(row.to_scratch),
            saved(saving.without_teacher) if saving else "–",
            flops_to(row.to_scratch, summary.teacher_flops) if saving else "–",
            saved(saving.with_teacher) if saving else "–",
        ]
        table.add_row(row.label, *cells[: len(columns)])
    return table


def _tests(question: Question) -> Table:
    table = _table("Paired t-test over seeds", "against", "p of area", "p of final")
    for row in question.rows:
        for rival, test in row.tests.items():
            table.add_row(
                row.label, question.label(rival), probability(test.area), probability(test.final)
            )
    return table
