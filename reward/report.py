"""``evaluation.html``: how far a reward model can be trusted, on one page that fetches nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

import numpy as np

from inhouse.plots import lines

Rate = Mapping[str, float]
Evaluation = Mapping[str, Any]
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem;
  color: #222 }
h2 { margin-top: 2.5rem; border-bottom: 2px solid #ddd }
p { max-width: 46rem }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; font-variant-numeric: tabular-nums }
th, td { border-bottom: 1px solid #ddd; padding: .25rem 1.2rem .25rem 0; text-align: left }
th { color: #666; font-weight: normal }
.verdict { border-left: .4rem solid; padding: .5rem 1rem; background: #f5f5f5 }
.no { border-color: #a40000 } .yes { border-color: #006d3c }
"""
WIDE = 160  # pixels of a bar from 0 to 1
HEAD = ("", "rate", "0 to 1", "95 % bounds", "n")


def render(name: str, evaluation: Evaluation) -> str:
    """The whole page as text; every word from outside is escaped."""
    accuracy = evaluation["accuracy"]
    titles = evaluation["rule_titles"]
    rules = {f"{rule} {titles[rule]}": rate for rule, rate in accuracy["by_rule"].items()}
    parts = [
        _verdict(evaluation),
        "<h2>Accuracy</h2>" + _accuracy(evaluation),
        _sliced("By rule: pairs in which only the rejected answer breaks it", rules),
        _sliced("By topic", accuracy["by_topic"]),
        _sliced("By length of both answers, in thirds of the pairs", accuracy["by_length"]),
        "<h2>Calibration</h2>" + _calibration(evaluation),
        "<h2>Where it does not know</h2>" + _abstention(evaluation),
        "<h2>What should not matter</h2>" + _invariance(evaluation),
        "<h2>Scores</h2>" + _scores(evaluation["scores"]),
        _best_of_n(evaluation["best_of_n"]),
        "<p>Every figure stands in <code>evaluation.json</code>.</p>",
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(name)}'
        f"</title><style>{STYLE}</style></head><body>\n<h1>Reward model {escape(name)}</h1>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _verdict(evaluation: Evaluation) -> str:
    fit, reached = evaluation["fit_for_ppo"], evaluation["accuracy"]["held_out_prompts"]
    said = "fit for PPO" if fit else f"not fit for PPO: {evaluation['reason']}"
    notes = "".join(f"<li>{escape(note)}</li>" for note in evaluation["warnings"])
    return (
        f'<div class="verdict {"yes" if fit else "no"}"><b>{escape(said)}</b><br>Accuracy on '
        f"held-out prompts: {_shown(reached)}. The floor is {evaluation['floor']:g}.</div>"
        + (f"<p>To mind:</p><ul>{notes}</ul>" if notes else "")
    )


def _accuracy(evaluation: Evaluation) -> str:
    accuracy, split = evaluation["accuracy"], evaluation["split"]
    rater, ceiling = split["held_out_rater"], evaluation["agreement_ceiling"]
    rows = {
        "votes on held-out prompts": accuracy["held_out_prompts"],
        f"there, votes of the held-out rater ({rater or 'nobody'})": accuracy["held_out_raters"],
        "there, votes of the others on the same pairs": accuracy["other_raters_there"],
        "ceiling: two raters with each other": ceiling,
        "majorities on held-out prompts": accuracy["preferences"],
        "votes on prompts it was trained on": accuracy["trained_on"],
        "control: trained on drawn winners": evaluation["shuffled_control"],
    }
    share = accuracy["held_out_prompts"]["rate"] / ceiling["rate"] if ceiling else None
    return (
        "<p>How often the scorer gives the higher score to the answer that a rater preferred. All "
        "pairs of a prompt are either trained on or measured, and one rater's votes are kept out "
        "of training. Raters differ, so the ceiling is how often two of them choose alike; the "
        "control must find half of its drawn winners, or held-out pairs leak into training. Bars "
        "show a rate and its 95 % bounds; the mark is at 0.5, which is chance.</p>"
        + _table(HEAD, _rates(rows))
        + f"<p>{split['train']} pairs trained, {split['held_out']} measured"
        + (f"; {share:.2f} of the ceiling reached" if share else "")
        + ".</p>"
    )


def _calibration(evaluation: Evaluation) -> str:
    ece = evaluation["ece"]
    points = [(row["confidence"], row["accuracy"]) for row in evaluation["reliability"]]
    claim = f" No claim is made: {ece['claim'].removeprefix('none: ')}." if ece["claim"] else ""
    said = (
        "<p>The probability that one answer is preferred to another is σ(Δ / T), Δ the difference "
        f"of their scores and T = {evaluation['temperature']:.2f} a temperature fitted to the "
        "raters' votes. Its confidence is right where as many votes go to the side that it takes: "
        f"on the dashed line. The expected calibration error, measured on pairs that the "
        f"temperature was not fitted to, is {ece['value']:.3f} ({ece['low']:.3f} to "
        f"{ece['high']:.3f}, {ece['n']} pairs).{escape(claim)}</p>"
    )
    ideal = [(0.5, 0.5), (1.0, 1.0)]
    series = {"measured": points, "ideal": ideal}
    chart = lines(series, "Reliability", "votes for its side", "confidence")
    rows = [
        (f"{r['confidence']:.2f}", f"{r['accuracy']:.2f}", str(r["n"]))
        for r in evaluation["reliability"]
    ]
    return said + chart + _table(("confidence", "votes for its side", "pairs"), rows)


def _abstention(evaluation: Evaluation) -> str:
    known, tied = evaluation["abstention"], evaluation["ties"]
    least = known["min_confidence"]
    rows = {
        f"pairs that it is unsure of (confidence below {least:g})": known["pairs"],
        "accuracy where it is sure": known["accuracy_where_sure"],
        "accuracy where it is unsure": known["accuracy_where_not"],
        "single answers that it abstains on": known["answers"],
    }
    there, elsewhere = (
        "no such pair" if tied[key] is None else f"{tied[key]:.2f}"
        for key in ("confidence_there", "confidence_elsewhere")
    )
    return (
        "<p>Of a pair, confidence is the probability of the side that it takes. Of a single "
        "answer, it tells how well the heads agree; a score outside the range of all answers seen "
        f"counts as a coin. Below {least:g} the scorer says that it does not know.</p>"
        + _table(HEAD, _rates(rows))
        + f"<p>Mean confidence on the {tied['pairs_with_a_tie']} pairs that a rater called a tie: "
        f"{there}; on the others: {elsewhere}. Pairs with equal scores: {tied['equal_scores']}.</p>"
    )


def _invariance(evaluation: Evaluation) -> str:
    kept, bias = evaluation["invariance"], evaluation["length_bias"]
    partial = bias["partial_correlation"]
    moves = [
        ("padding behind the answer", f"{kept['padding']:.1g}"),
        ("other answers in the batch", f"{kept['batch']:.1g}"),
        ("the same said in other words (mean)", f"{kept['paraphrase']['moved']:.2f}"),
    ]
    rates = {
        "order kept when both answers are said in other words": kept["paraphrase"]["order_kept"],
        "right where the shorter answer was preferred": bias["shorter_won"],
        "right where the longer answer was preferred": bias["longer_won"],
    }
    length = "not known, as nothing varies" if partial is None else f"{partial:+.2f}"
    return (
        f"<p>Measured on {kept['pairs']} held-out pairs; length on all of them. Once it is held "
        "fixed which answer raters preferred, the correlation of score and length is "
        f"{length}: 0 means that length itself earns nothing.</p>"
        + _table(("a score moves with", "by standard deviations"), moves)
        + _table(HEAD, _rates(rates))
    )


def _scores(scores: Mapping[str, Sequence[float]]) -> str:
    """The share of answers in each of twelve equal steps of the score."""
    edges = np.linspace(min(map(min, scores.values())), max(map(max, scores.values())), 13)
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    series = {
        side: list(zip(middles, np.histogram(values, edges)[0] / len(values), strict=True))
        for side, values in scores.items()
    }
    return (
        "<p>Held-out answers that raters preferred, and those they did not. 0 is the mean score of "
        "the training answers and 1 their standard deviation.</p>"
        + lines(series, "Share of answers", "share", "score")
    )


def _best_of_n(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    across = "KL from the model that answers, nats"
    scorer = {"scorer": [(row["kl"], row["proxy"]) for row in rows]}
    curves = [lines(scorer, "What is climbed: the scorer's mean", "score", across)]
    judged = [(row["kl"], row["judge"]) for row in rows if row["judge"] is not None]
    if judged:
        title = "What is wanted: how often the judge prefers the chosen answer to another"
        curves.append(lines({"judge": judged}, title, "win rate", across))
    cells = [
        (
            str(row["n"]),
            f"{row['kl']:.2f}",
            f"{row['proxy']:+.2f}",
            "no judge" if row["judge"] is None else f"{row['judge']:.3f}",
        )
        for row in rows
    ]
    return (
        "<h2>Best of n</h2><p>The model that the scorer started from answers held-out prompts, and "
        "the scorer chooses the best of n answers: what a policy becomes that climbs it. While the "
        "judge, which nothing was trained on, prefers the choice more and more often, climbing "
        "helps; where its curve bends and the scorer's goes on, the scorer is being fooled.</p>"
        + "".join(curves)
        + _table(("n", "KL, nats", "scorer's mean", "judge's win rate"), cells)
    )


def _sliced(title: str, rates: Mapping[str, Rate]) -> str:
    return f"<h3>{escape(title)}</h3>" + _table(HEAD, _rates(rates)) if rates else ""


def _rates(rows: Mapping[str, Rate | None]) -> list[tuple[str, ...]]:
    return [
        (name, f"{r['rate']:.3f}", _bar(r), f"{r['low']:.3f} to {r['high']:.3f}", f"{r['n']:.0f}")
        if r
        else (name, "not measured", "", "", "")
        for name, r in rows.items()
    ]


class _Picture(str):
    """Markup of our own, which is not escaped."""


def _bar(r: Rate) -> _Picture:
    low, at, high = (4 + WIDE * r[key] for key in ("low", "rate", "high"))
    return _Picture(
        f'<svg width="{WIDE + 8}" height="14"><path d="M4 7h{WIDE}" stroke="#ddd"/>'
        f'<path d="M{4 + WIDE / 2:g} 2v10" stroke="#aaa"/>'
        f'<path d="M{low:.1f} 7H{high:.1f}" stroke="#0072b2" stroke-width="3" opacity=".4"/>'
        f'<circle cx="{at:.1f}" cy="7" r="3.5" fill="#0072b2"/></svg>'
    )


def _shown(r: Rate) -> str:
    return f"{r['rate']:.3f} ({r['low']:.3f} to {r['high']:.3f})"


def _table(head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    def cell(text: str) -> str:
        return text if isinstance(text, _Picture) else escape(text)

    top = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{cell(text)}</td>" for text in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"
