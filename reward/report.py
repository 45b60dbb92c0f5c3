"""``evaluation.html``: how far a reward model can be trusted, on one page that fetches nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

import numpy as np

from inhouse.plots import lines

Rate = Mapping[str, float]
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
table { border-collapse: collapse; margin: .5rem 0 1.5rem }
th, td { border-bottom: 1px solid #ddd; padding: .25rem .8rem .25rem 0; text-align: left }
.no { color: #a40000 } .yes { color: #006d3c }
"""


def render(name: str, evaluation: Mapping[str, Any]) -> str:
    """The whole page as text; every word from outside is escaped."""
    fit = evaluation["fit_for_ppo"]
    verdict = "fit for PPO" if fit else f"not fit for PPO: {evaluation['reason']}"
    notes = "".join(f"<li>{escape(said)}</li>" for said in evaluation["warnings"])
    parts = [
        f"<p class={'yes' if fit else 'no'}><b>{escape(verdict)}</b></p><ul>{notes}</ul>",
        "<h2>Accuracy</h2>" + _accuracy(evaluation),
        _sliced("By rule that the rejected answer breaks", evaluation["accuracy"]["by_rule"]),
        _sliced("By topic", evaluation["accuracy"]["by_topic"]),
        _sliced("By length", evaluation["accuracy"]["by_length"]),
        "<h2>Calibration</h2>" + _calibration(evaluation),
        "<h2>What it does when it does not know</h2>" + _abstention(evaluation),
        "<h2>What should not matter</h2>" + _invariance(evaluation),
        "<h2>Scores of held-out answers</h2>" + _scores(evaluation["scores"]),
        _best_of_n(evaluation["best_of_n"]),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(name)}'
        f"</title><style>{STYLE}</style></head><body>\n<h1>Reward model {escape(name)}</h1>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _accuracy(evaluation: Mapping[str, Any]) -> str:
    accuracy, split = evaluation["accuracy"], evaluation["split"]
    rater = split["held_out_rater"] or "nobody held out"
    rows = {
        "held-out prompts, single votes": accuracy["held_out_prompts"],
        f"the same, votes of the held-out rater ({rater})": accuracy["held_out_raters"],
        "two raters with each other (the ceiling)": evaluation["agreement_ceiling"],
        "held-out preferences (the majority's choice)": accuracy["preferences"],
        "prompts it was trained on": accuracy["trained_on"],
        "control: winners drawn by chance (0.5 is due)": evaluation["shuffled_control"],
    }
    counts = f"{split['train']} pairs trained, {split['held_out']} measured."
    return _table(("", "accuracy", "95 % bounds", "n"), _rates(rows)) + f"<p>{counts}</p>"


def _calibration(evaluation: Mapping[str, Any]) -> str:
    ece = evaluation["ece"]
    points = [(row["confidence"], row["accuracy"]) for row in evaluation["reliability"]]
    claim = f" Claim: {ece['claim']}." if ece["claim"] else ""
    said = (
        f"<p>Temperature {evaluation['temperature']:.2f}. Expected calibration error "
        f"{ece['value']:.3f} ({ece['low']:.3f} to {ece['high']:.3f}, {ece['n']} pairs)."
        f"{escape(claim)}</p>"
    )
    ideal = [(0.5, 0.5), (1.0, 1.0)]
    chart = lines({"measured": points, "ideal": ideal}, "Reliability", "accuracy", "confidence")
    rows = [
        (f"{r['confidence']:.2f}", f"{r['accuracy']:.2f}", str(r["n"]))
        for r in evaluation["reliability"]
    ]
    return said + chart + _table(("confidence", "accuracy", "pairs"), rows)


def _abstention(evaluation: Mapping[str, Any]) -> str:
    known, tied = evaluation["abstention"], evaluation["ties"]
    rows = {
        f"pairs below a confidence of {known['min_confidence']}": known["pairs"],
        "accuracy on the others": known["accuracy_where_sure"],
        "accuracy on those": known["accuracy_where_not"],
        "single answers it abstains on": known["answers"],
    }
    there, elsewhere = (
        "none" if tied[key] is None else f"{tied[key]:.2f}"
        for key in ("confidence_there", "confidence_elsewhere")
    )
    return _table(("", "rate", "95 % bounds", "n"), _rates(rows)) + (
        f"<p>Confidence on the {tied['pairs_with_a_tie']} pairs that a rater called a tie: "
        f"{there}; on the others: {elsewhere}. Pairs with equal scores: {tied['equal_scores']}.</p>"
    )


def _invariance(evaluation: Mapping[str, Any]) -> str:
    kept, bias = evaluation["invariance"], evaluation["length_bias"]
    partial = bias["partial_correlation"]
    rates = {
        "order kept when both answers are paraphrased": kept["paraphrase"]["order_kept"],
        "right where the shorter answer won": bias["shorter_won"],
        "right where the longer answer won": bias["longer_won"],
    }
    return (
        f"<p>A score moves by {kept['padding']:.1g} standard deviations with padding, "
        f"{kept['batch']:.1g} with its neighbours, {kept['paraphrase']['moved']:.2f} on average "
        "when the answer is paraphrased. Partial correlation of score and length: "
        f"{'nothing varies' if partial is None else f'{partial:+.2f}'}.</p>"
    ) + _table(("", "rate", "95 % bounds", "n"), _rates(rates))


def _scores(scores: Mapping[str, Sequence[float]]) -> str:
    """The share of answers in each of twelve equal steps of the score."""
    edges = np.linspace(min(map(min, scores.values())), max(map(max, scores.values())), 13)
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    series = {
        side: list(zip(middles, np.histogram(values, edges)[0] / len(values), strict=True))
        for side, values in scores.items()
    }
    return lines(series, "Share of answers", "share", "score in standard deviations")


def _best_of_n(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    curves = [
        lines(
            {"scorer": [(row["kl"], row["proxy"]) for row in rows]},
            "What is climbed: the scorer's mean for the best of n",
            "standard deviations",
            "KL in nats",
        )
    ]
    judged = [(row["kl"], row["judge"]) for row in rows if row["judge"] is not None]
    if judged:
        title = "What is wanted: how often the judge prefers it to another answer"
        curves.append(lines({"judge": judged}, title, "win rate", "KL in nats"))
    cells = [
        (
            str(row["n"]),
            f"{row['kl']:.2f}",
            f"{row['proxy']:+.2f}",
            "" if row["judge"] is None else f"{row['judge']:.3f}",
        )
        for row in rows
    ]
    head = ("n", "KL", "scorer", "judge")
    return "<h2>Best of n</h2>" + "".join(curves) + _table(head, cells)


def _sliced(title: str, rates: Mapping[str, Rate]) -> str:
    if not rates:
        return ""
    head = ("", "accuracy", "95 % bounds", "n")
    return f"<h3>{escape(title)}</h3>" + _table(head, _rates(rates))


def _rates(rows: Mapping[str, Rate | None]) -> list[tuple[str, str, str, str]]:
    return [
        (name, f"{r['rate']:.3f}", f"{r['low']:.3f} to {r['high']:.3f}", f"{r['n']:.0f}")
        if r
        else (name, "not measured", "", "")
        for name, r in rows.items()
    ]


def _table(head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"
