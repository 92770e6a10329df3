"""Findings: what the numbers say, in sentences, wins and losses alike.

Every sentence is computed. One arm is said to be ahead of another only if it is so in every seed.
"""

from __future__ import annotations

from collections.abc import Iterator

from net2net.experiments.arms import ARMS, Role
from net2net.experiments.plan import TEACHER
from net2net.experiments.summary import Question, Stat, StepsTo, Summary


def percent(stat: Stat) -> str:
    """Mean ± deviation of an accuracy, in percent."""
    text = f"{100 * stat.mean:.1f}"
    return text if stat.deviation is None else f"{text} ± {100 * stat.deviation:.1f}"


def steps(to: StepsTo | None) -> str:
    """Steps to an accuracy, and in how many seeds it was reached if not in all."""
    if to is None:
        return "–"
    if to.steps is None:
        return "never"
    text = f"{to.steps.mean:.0f}"
    if to.steps.deviation is not None:
        text += f" ± {to.steps.deviation:.0f}"
    return text if to.reached == to.seeds else f"{text} ({to.reached}/{to.seeds})"


def findings(summary: Summary) -> dict[str, list[str]]:
    """For every question, what was found."""
    return {question.name: list(_of(summary, question)) for question in summary.questions}


def _of(summary: Summary, question: Question) -> Iterator[str]:
    if not question.rows:
        return
    starts = [f"{row.label} {percent(row.start)} %" for row in question.rows]
    yield (
        f"Before training: {', '.join(starts)}. "
        f"The teacher had reached {percent(summary.teacher)} %."
    )
    speeds = [f"{row.label} {steps(row.to_teacher)}" for row in question.rows]
    yield f"Steps to the teacher's accuracy: {', '.join(speeds)}."
    for arm, others in question.final_leads.items():
        for other, leads in others.items():
            if leads:
                yield _verdict(ARMS[arm].label, _called(other), leads)


def _called(other: str) -> str:
    if other == TEACHER:
        return "its teacher"
    arm = ARMS[other]
    return "the student from scratch" if arm.role is Role.SCRATCH else arm.label


def _verdict(label: str, other: str, leads: list[float]) -> str:
    points = 100 * Stat.of(leads).mean
    every = "in every seed" if len(leads) > 1 else "in the only seed"
    if all(lead > 0 for lead in leads):
        return f"{label} ended {points:.1f} points above {other}, {every}."
    if all(lead < 0 for lead in leads):
        return f"{label} ended {-points:.1f} points below {other}, {every}."
    ahead = sum(lead > 0 for lead in leads)
    return (
        f"{label} and {other} ended without a consistent difference: {points:+.1f} points on "
        f"average, above in {ahead} of {len(leads)} seeds."
    )
