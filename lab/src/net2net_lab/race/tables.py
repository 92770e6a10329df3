"""The race as tables in Markdown, from the records alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import fmean, stdev

from net2net_lab.experiments.show.formats import flops, probability
from net2net_lab.race.arms import ARMS, BASELINES, QUESTIONS, REFERENCE, SCRATCH, Arm, family
from net2net_lab.race.choices import CHOICES, effect
from net2net_lab.race.plan import WHOLE
from net2net_lab.race.ranks import AGAIN, HELD_OUT, first, loss, mean_ranks, of_seeds, raced
from net2net_lab.race.rates import SEEDS, settled
from net2net_lab.race.records import Record, Records
from net2net_lab.race.statistics import Comparison, compared, holm
from net2net_lab.race.tasks import TASKS
from net2net_lab.race.verdict import (
    ALPHA,
    THIRD,
    Test,
    behind,
    budgets,
    by_facts,
    to_reach,
    tried,
    verdict,
)

HEAD = """# The race, in numbers

Made by `net2net-lab race --render` from the records beside it. Losses are of validation, mean ±
deviation over the seeds; *jump* is what growing added to the loss at once, on a part of the
validation examples; differences are ours minus theirs, with Cohen's d of the pairs and, in
brackets, p of the paired t-test (Holm's correction over the rows) and of Wilcoxon's test (the
same).

"""


def tables(records: Records) -> str:
    """All that the records say."""
    return HEAD + "\n".join(_lines(records)) + "\n"


def racing(records: Records, task: str | None = None, budget: float | None = None) -> list[Arm]:
    """The arms that have raced (on a task, at a budget), in their order."""
    return list(
        dict.fromkeys(
            spec.arm
            for spec in records
            if spec.seed not in SEEDS
            and task in {None, spec.task}
            and budget in {None, spec.budget}
        )
    )


def ran(records: Records, arms: Sequence[Arm], tasks: Sequence[str], budget: float) -> list[Arm]:
    """Of these, the arms that have run on all tasks that have them."""
    return [
        arm
        for arm in arms
        if all(
            raced(records, task, budget, arm) for task in tasks if arm.on(TASKS[task]) is not None
        )
    ]


def _lines(every: Records) -> Iterator[str]:
    records = first(every)
    tasks = [task for task in TASKS if any(spec.task == task for spec in records)]
    yield from _rates(records, tasks)
    for budget in sorted({spec.budget for spec in records if spec.seed not in SEEDS}):
        yield f"## × {budget:g} of the budget\n"
        there = [task for task in tasks if racing(records, task, budget)]
        yield from _ranks(records, there, budget)
        yield from _choices(records, there, budget)
        for task in there:
            yield from _task(records, task, budget)
    yield from _rules(every, [task for task in tasks if TASKS[task].halving])
    yield from _savings(records, tasks)
    yield from _stopped(every)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def _rates(records: Records, tasks: Sequence[str]) -> Iterator[str]:
    families = list(dict.fromkeys(map(family, racing(records) or BASELINES)))
    tuned = sorted({spec.budget for spec in records if spec.seed in SEEDS})
    if not tuned:
        return
    yield f"## Learning rates, tuned on seeds {' and '.join(map(str, SEEDS))}\n"
    rows = []
    for budget in tuned:
        for one in families:
            rates = [settled(task, one, budget, records) for task in tasks]
            rows.append(
                [
                    f"× {budget:g}",
                    one.name,
                    *("–" if rate is None else f"{rate:g}" for rate in rates),
                ]
            )
    yield from _table(["budget", "family", *tasks], rows)


def _ranks(records: Records, tasks: Sequence[str], budget: float) -> Iterator[str]:
    judges = [task for task in tasks if TASKS[task].halving]
    known = {arm.on(TASKS[task]) for arm in ARMS for task in judges}
    more = [arm for arm in racing(records, budget=budget) if arm not in known]
    for question in QUESTIONS:
        arms = [arm for arm in (*ARMS, *more) if arm.question == question]
        arms = ran(records, arms, judges, budget)
        if not arms:
            continue
        yield f"### Ranks: {question}\n"
        means = mean_ranks(records, judges, budget, arms)
        rows = []
        for arm, mean in means.items():
            losses = [loss(raced(records, task, budget, arm)) for task in judges]
            rows.append(
                [str(arm), f"{mean:.1f}", "yes" if arm.exact else "no",
                 *(f"{one:.4f}" if one < float("inf") else "–" for one in losses)]
            )  # fmt: skip
        yield from _table(["arm", "mean rank", "exact", *judges], rows)
        rival = REFERENCE if question == "width" else SCRATCH
        found = verdict(records, judges, budget, arms, rival)
        if found.first is not None and budget == WHOLE:
            signs = _signs([test for test in found.tests if test.arm == found.first])
            taken = "is the default" if found.default else "is not enough for a new default"
            yield (
                f"By the rule: `{found.first}` has the lowest mean rank of the exact arms, and "
                f"against `{rival}`: {signs}. This {taken}.\n"
            )


def _rules(every: Records, judges: Sequence[str]) -> Iterator[str]:
    """What the seeds say that try rules."""
    widths = ran(first(every), [arm for arm in ARMS if arm.question == "width"], judges, WHOLE)
    arm = verdict(first(every), judges, WHOLE, widths).first
    facts = "where there is a normalised stream or a convolution"
    for seeds, on, where, alpha in (
        (HELD_OUT, by_facts(judges), facts, ALPHA), (AGAIN, judges, "everywhere", THIRD),
    ):  # fmt: skip
        if arm is None or not (records := of_seeds(every, seeds)):
            continue
        yield f"## Seeds {seeds[0]} to {seeds[-1]}: `{arm}` {where}\n"
        rows = []
        for task in judges:
            ours, theirs = (raced(records, task, WHOLE, one) for one in (arm, REFERENCE))
            found = compared(ours, theirs)
            rows.append([task, str(found.seeds), f"{loss(ours):.4f}", f"{loss(theirs):.4f}",
                         probability(found.t)])  # fmt: skip
        yield from _table(["task", "seeds", str(arm), str(REFERENCE), "p, not corrected"], rows)
        tests, won = tried(records, judges, on, arm, alpha)
        yield (
            f"Against `{REFERENCE}`, at p < {alpha:.3g}: {_signs(tests)}. This "
            f"{'wins' if won else 'does not win'}.\n"
        )


def _signs(tests: Sequence[Test]) -> str:
    return ", ".join(
        f"{test.task} {('no difference', 'worse', 'better')[test.sign]} (p {probability(test.p)})"
        for test in tests
    )


def _choices(records: Records, tasks: Sequence[str], budget: float) -> Iterator[str]:
    arms = racing(records, budget=budget)
    effects = {name: effect(records, tasks, budget, arms, other) for name, other in CHOICES.items()}
    found = {name: one for name, one in effects.items() if one is not None}
    if not found:
        return
    yield "### What one choice does\n"
    yield (
        "By how many percent the loss changes where arms differ in it alone (less is better); p of "
        "Wilcoxon's test over tasks and seeds, by Holm's correction over the rows.\n"
    )
    ps = holm([one.p for one in found.values()])
    rows = [
        [name, str(one.pairs), f"{100 * one.mean:+.1f}", probability(p),
         *(f"{100 * one.tasks[task]:+.1f}" if task in one.tasks else "–" for task in tasks)]
        for (name, one), p in zip(found.items(), ps, strict=True)
    ]  # fmt: skip
    yield from _table(["choice", "pairs of arms", "mean", "p", *tasks], rows)


def _task(records: Records, task: str, budget: float) -> Iterator[str]:
    arms = sorted(
        racing(records, task, budget), key=lambda arm: loss(raced(records, task, budget, arm))
    )
    runs = {arm: raced(records, task, budget, arm) for arm in arms}
    allowed = max(record.allowed for found in runs.values() for record in found.values())
    yield f"### {TASKS[task].title} ({flops(allowed)}FLOP)\n"
    columns = []
    for other in (SCRATCH, REFERENCE):
        there = raced(records, task, budget, other)
        rivals = [arm for arm in arms if arm != other.on(TASKS[task])]
        columns.append(_compared([(arm, compared(runs[arm], there)) for arm in rivals]))
    rows = [
        [str(arm), *cells(list(found.values())), *(column.get(arm, "–") for column in columns),
         _deviations(records, task, budget, arm)]
        for arm, found in runs.items()
    ]  # fmt: skip
    yield from _table(
        ["arm", "seeds", "loss", "accuracy", "rate", "jump", "against from scratch",
         "against copies + noise", "of scratch's deviations"],
        rows,
    )  # fmt: skip


def cells(found: Sequence[Record]) -> list[str]:
    """Of an arm's runs: how many ended, loss, accuracy, rates, and by how much growing jumped."""
    losses = [one.loss for one in found if one.loss is not None]
    accuracies = [one.accuracy for one in found if one.accuracy is not None]
    jumps = [
        phase.loss_after - phase.loss_before
        for one in found
        for phase in one.phases
        if phase.loss_before is not None and phase.loss_after is not None
    ]
    rates = dict.fromkeys(one.spec.rate for one in found)
    return [
        f"{len(losses)}",
        "–" if not losses else f"{fmean(losses):.4f}" + (
            f" ± {stdev(losses):.4f}" if len(losses) > 1 else ""
        ),
        f"{100 * fmean(accuracies):.1f}" if accuracies else "–",
        ", ".join(f"{rate:g}" for rate in rates),
        f"{fmean(jumps):+.4f}" if jumps else "–",
    ]  # fmt: skip


def _compared(found: Sequence[tuple[Arm, Comparison]]) -> dict[Arm, str]:
    ts, ranks = holm([one.t for _, one in found]), holm([one.wilcoxon for _, one in found])
    result = {}
    for (arm, one), t, rank in zip(found, ts, ranks, strict=True):
        if one.difference is not None:
            effect = "" if one.effect is None else f", d {one.effect:.1f}"
            tests = f"{probability(t)}; {probability(rank)}"
            result[arm] = f"{one.difference:+.4f}{effect} ({tests})"
    return result


def _deviations(records: Records, task: str, budget: float, arm: Arm) -> str:
    found = behind(records, task, budget, arm)
    return "–" if found is None else f"{found:+.1f}"


def _savings(records: Records, tasks: Sequence[str]) -> Iterator[str]:
    rows = []
    wanted = [one for one in sorted({spec.budget for spec in records}) if one >= WHOLE / 2]
    for task in tasks:
        for arm in racing(records, task):
            points = budgets(records, task, arm)
            if len(points) > 1:
                shown = ", ".join(f"× {budget:g}: {value:.4f}" for budget, value in points)
                cells = [_saved(records, task, points, budget) for budget in wanted]
                rows.append([task, str(arm), shown, *cells])
    if rows:
        yield "## FLOPs saved to what from scratch reaches\n"
        yield "Between budgets, losses are taken to lie on a line in logarithms.\n"
        heads = [f"saved of × {budget:g}" for budget in wanted]
        yield from _table(["task", "arm", "losses", *heads], rows)


def _saved(
    records: Records, task: str, points: Sequence[tuple[float, float]], budget: float
) -> str:
    """What part of a budget is left when an arm has the loss that from scratch has with all of it,
    from the budgets that the arm has run at and its losses."""
    target = loss(raced(records, task, budget, SCRATCH))
    if target == float("inf"):
        return "–"
    least, first_loss = points[0]
    if first_loss < target:
        return f"> {100 * (1 - least / budget):.0f} %" if least < budget else "–"
    at = to_reach(points, target)
    if at is None:
        return "–" if points[-1][0] < budget else "not reached"
    return f"{100 * (1 - at / budget):.0f} %"


def _stopped(records: Records) -> Iterator[str]:
    stopped = [record for record in records.values() if record.fault]
    seconds: dict[tuple[str, float], list[float]] = {}
    for spec, record in records.items():
        seconds.setdefault((spec.task, spec.budget), []).append(record.cpu_seconds)
    yield "## Runs\n"
    rows = [
        [task, f"× {budget:g}", str(len(found)), f"{fmean(found):.0f}", f"{sum(found) / 3600:.1f}"]
        for (task, budget), found in sorted(seconds.items())
    ]
    yield from _table(["task", "budget", "runs", "CPU seconds each", "CPU hours"], rows)
    if stopped:
        yield "Stopped:\n"
        yield from (f"- {record.spec}: {record.fault}" for record in stopped)
        yield ""
