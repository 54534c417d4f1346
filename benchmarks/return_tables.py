"""Tables of the returns of baselines on all families in Markdown, as docs/environments.md shows them."""

import json

from stemtwin.benchmarks.return_statistics import EXPERT, LAZY, LEARNER, ORACLE
from stemtwin.twin.envs.making import family_class
from stemtwin.twin.envs.reference import FOLDER, PairedReturn, PolicyReturn, ReturnScale, reference

COLUMNS = (*LAZY, EXPERT, LEARNER, ORACLE)
"""Policies that have a column of their own."""
ERRORS = "Mean distances from the goal at the end, which separate presets with similar returns:"
"""Text above the table of final errors."""


def scales() -> list[ReturnScale]:
    """Return all scales of returns in the package, family by family."""
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        name = f"stemtwin/{path.stem}"
        found += [reference(name, difficulty) for difficulty in json.loads(path.read_text(encoding="utf-8"))["scales"]]
    return found


def form_scales(environment: str) -> list[ReturnScale]:
    """Return the scales of an environment for all forms of observation except the usual one."""
    path = FOLDER / f"{environment.partition('/')[2]}.json"
    told = json.loads(path.read_text(encoding="utf-8")).get("forms", {}) if path.exists() else {}
    return [reference(environment, difficulty, form) for form, scales in told.items() for difficulty in scales]


def form_rows(listed: list[ReturnScale]) -> str:
    """Return a table of returns with a row for each form of observation, preset and policy; ``listed`` is the result of :func:`form_scales`."""
    lines = ["| form | difficulty | episodes | policy | mean return | interquartile mean | success |", "|---" * 7 + "|"]
    for scale in listed:
        head = [f"`{scale.arguments['observation']}`", scale.difficulty, str(len(scale.seeds))]
        for name, policy in scale.policies.items():
            lines.append(f"| {' | '.join([*head, name, mean_cell(policy), _middle(policy), f'{policy.success:.2f}'])} |")
    return "\n".join(lines)


def form_pairs(listed: list[ReturnScale]) -> str:
    """Return a table of mean differences between the returns of two policies over the same episodes.

    The table has a row for each form of observation, preset and compared pair of policies; ``listed`` is the result of :func:`form_scales`.
    """
    lines = ["| form | difficulty | difference | mean |", "|---" * 4 + "|"]
    for scale in listed:
        head = [f"`{scale.arguments['observation']}`", scale.difficulty]
        lines += [f"| {' | '.join([*head, f'{pair.better} minus {pair.other}', _pair(pair)])} |" for pair in scale.paired]
    return "\n".join(lines)


def rows(listed: list[ReturnScale], columns: tuple[str, ...], *, named: bool = True) -> str:
    """Return a table with a row for each preset: mean returns with intervals, and the expert's normalised return."""
    head = [*(("environment",) if named else ()), "difficulty", "episodes", *columns, "expert, normalised"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for scale in listed:
        cells = [mean_cell(scale.policies.get(column)) for column in columns]
        first = [f"`{scale.environment}`"] if named else []
        lines.append(f"| {' | '.join([*first, scale.difficulty, str(len(scale.seeds)), *cells, _normalized(scale)])} |")
    return "\n".join(lines)


def middle_rows(listed: list[ReturnScale], columns: tuple[str, ...], *, named: bool = True) -> str:
    """Return a table with a row for each preset: interquartile means of the returns with intervals, and paired differences."""
    head = [*(("environment",) if named else ()), "difficulty", *columns, "expert minus best of no-op, random and blind", "oracle minus expert"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for scale in listed:
        pairs = {pair.better: pair for pair in scale.paired}
        cells = [*(_middle(scale.policies.get(column)) for column in columns), _pair(pairs.get(EXPERT)), _pair(pairs.get(ORACLE))]
        first = [f"`{scale.environment}`"] if named else []
        lines.append(f"| {' | '.join([*first, scale.difficulty, *cells])} |")
    return "\n".join(lines)


def error_rows(listed: list[ReturnScale], columns: tuple[str, ...], *, named: bool = True) -> str:
    """Return a table of the mean distances from the goal at the end of the episodes, with intervals.

    Each preset with recorded distances has a row. If no preset has recorded distances, the result is empty.
    """
    head = [*(("environment",) if named else ()), "difficulty", "distance", *columns]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for scale in listed:
        told = getattr(family_class(scale.environment), "FINAL_ERROR", None)
        if told is None or all(policy.error is None for policy in scale.policies.values()):
            continue
        cells = [_error(scale.policies.get(column)) for column in columns]
        first = [f"`{scale.environment}`"] if named else []
        lines.append(f"| {' | '.join([*first, scale.difficulty, f'{told.title}, {told.unit}', *cells])} |")
    return "\n".join(lines) if len(lines) > 2 else ""


def others(scale: ReturnScale) -> tuple[str, ...]:
    """Return the names of the policies without a column in the tables: all except no-op, random, blind, expert, learner and oracle."""
    return tuple(name for name in scale.policies if name not in COLUMNS)


def tables() -> str:
    """Return four tables of all scales of returns in the package.

    The first three show mean returns, interquartile means with paired differences, and final distances from the goal. Their
    columns are the policies no-op, random, blind, expert, learner and oracle. The fourth table lists the returns of all other policies.
    """
    found = scales()
    further = ["| environment | difficulty | policy | mean return | interquartile mean |", "|---" * 5 + "|"]
    for scale in found:
        for name in others(scale):
            policy = scale.policies[name]
            further.append(f"| `{scale.environment}` | {scale.difficulty} | {name} | {mean_cell(policy)} | {_middle(policy)} |")
    return "\n".join(
        [
            "Mean returns:\n",
            rows(found, COLUMNS),
            "\nInterquartile means, and mean differences over the same episodes:\n",
            middle_rows(found, COLUMNS),
            f"\n{ERRORS}\n",
            error_rows(found, COLUMNS),
            "\nFurther policies:\n",
            *further,
        ]
    )


def _normalized(scale: ReturnScale) -> str:
    return f"{scale.normalized(scale.policies[EXPERT].mean):.2f}"


def mean_cell(policy: PolicyReturn | None) -> str:
    """Return the text of a policy's mean return with its interval; empty for a missing policy."""
    return "" if policy is None else f"{policy.mean:.3f} ({policy.low:.3f} to {policy.high:.3f})"


def _error(policy: PolicyReturn | None) -> str:
    """Return a mean final error with its interval, nothing where it was not kept."""
    return "" if policy is None or policy.error is None else f"{policy.error:.1f} ({policy.error_low:.1f} to {policy.error_high:.1f})"


def lead_cell(scale: ReturnScale, name: str) -> str:
    """Return the text of the trained policy's mean lead in return over another policy, with its interval; empty if the two were not compared.

    The lead in an episode is the trained policy's return minus the other policy's return.
    """
    return _pair(next((pair for pair in scale.paired if (pair.better, pair.other) == (LEARNER, name)), None))


def _middle(policy: PolicyReturn | None) -> str:
    return "" if policy is None or policy.iqm is None else f"{policy.iqm:.3f} ({policy.iqm_low:.3f} to {policy.iqm_high:.3f})"


def _pair(pair: PairedReturn | None) -> str:
    return "" if pair is None else f"{pair.mean:.3f} ({pair.low:.3f} to {pair.high:.3f})"
