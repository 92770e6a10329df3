"""Findings: what the numbers say, in sentences, wins and losses alike.

Every sentence is computed. One arm is said to be ahead of another only if it is so in every seed.
"""

from __future__ import annotations

from collections.abc import Iterator

from net2net_lab.experiments.plan import TEACHER
from net2net_lab.experiments.show.formats import called, flops, percent, saved, steps
from net2net_lab.experiments.show.summary import Question, Row, Saving, Stat, StepsTo, Summary


def findings(summary: Summary) -> dict[str, list[str]]:
    """For every question, what was found."""
    return {question.name: list(_of(summary, question)) for question in summary.questions}


def _of(summary: Summary, question: Question) -> Iterator[str]:
    if not question.rows:
        return
    if summary.shares:
        yield from _life(summary, question)
    else:
        yield from _start(summary, question)
    for arm, others in question.final_leads.items():
        for other, leads in others.items():
            if leads:
                other = "its teacher" if other == TEACHER else called(question.label(other))
                yield _verdict(question.label(arm), other, leads)
    for row in question.rows:
        if row.saving is not None and row.to_scratch is not None:
            yield from _compute(summary, question, row, row.to_scratch, row.saving)


def _start(summary: Summary, question: Question) -> Iterator[str]:
    starts = [f"{row.label} {percent(row.start)} %" for row in question.rows]
    yield (
        f"Before training: {', '.join(starts)}. "
        f"The teacher had reached {percent(summary.teacher)} %."
    )
    speeds = [f"{row.label} {steps(row.to_teacher)}" for row in question.rows]
    yield f"Steps to the teacher's accuracy: {', '.join(speeds)}."


def _life(summary: Summary, question: Question) -> Iterator[str]:
    for share, step in zip(summary.shares, summary.checkpoints, strict=True):
        ends = [f"{row.label} {percent(row.accuracy[step])} %" for row in question.rows]
        yield f"After the stage with {100 * share:g} % of the data: {', '.join(ends)}."
    spent = [f"{row.label} {flops(row.flops)}FLOP" for row in question.rows]
    yield f"Compute of all stages: {', '.join(spent)}."


def _compute(
    summary: Summary, question: Question, row: Row, to: StepsTo, saving: Saving
) -> Iterator[str]:
    best = f"the best accuracy of {called(question.reference)}"
    if to.reached == 0:
        yield f"{row.label} never reached {best}."
    elif saving.without_teacher is not None:
        reached = "" if to.reached == to.seeds else f" in {to.reached} of {to.seeds} seeds"
        counted = f", or {saved(saving.with_teacher)} if the teacher's training counts"
        yield (
            f"{row.label} reached {best}{reached}; that saved {saved(saving.without_teacher)} of "
            f"its compute{'' if summary.shares else counted}."
        )


def _verdict(label: str, other: str, leads: list[float]) -> str:
    points = 100 * Stat.of(leads).mean
    where = "above" if points >= 0 else "below"
    ahead, behind = sum(lead > 0 for lead in leads), sum(lead < 0 for lead in leads)
    if len(leads) in (ahead, behind):
        seeds = "in every seed" if len(leads) > 1 else "in the only seed"
    else:
        seeds = f"on average: above it in {ahead} of {len(leads)} seeds, below it in {behind}"
    return f"{label} ended {abs(points):.1f} points {where} {other}, {seeds}."
