"""An answer of a model's, as a test says it."""

from inhouse.records import Output


def output(response: str = "Fine.", model: str = "sft", number: int = 1, **changes) -> Output:
    """An answer; ``spans`` are (rule, start, end) of findings."""
    findings = [
        {"rule": rule, "severity": "major", "start": a, "end": b, "text": response[a:b]}
        for rule, a, b in changes.pop("spans", ())
    ]
    return Output.model_validate(
        {
            "id": f"{model}{number}{changes.get('split', '')}",
            "prompt": [{"role": "user", "content": f"question {number}"}],
            "model": {"name": model, "hash": "h"},
            "seed": 0,
            "response": response,
            "tokens": 4,
            "end_token": True,
            "findings": findings,
            "reward": {},
            "facts_ok": True,
            "kl_to_sft": 0.0,
            "metadata": {"facts": ["1%"]},
            **changes,
        }
    )
