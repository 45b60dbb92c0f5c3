"""Published tasks by name, where a firm has lm-evaluation-harness and the tasks' data.

    answers = answer_tasks(model, tokenizer, ["arc_easy"], known)
    compare(base_answers, answers)        # paired, by task

The package is an extra (``pip install -e '.[lm-eval]'``), checked with its version 0.4.13. Nothing
is fetched where the command keeps the hub away, as the suite's do: a task's data lies in the cache
of ``datasets``, or the task is the firm's own, a YAML file in ``task_folder`` that names local
files. Such a file may name Python code beside it, which is run: name only folders that you trust.

Deviates from the rest of the suite in two things: the harness renders prompts itself, with the
tokenizer's chat template, and it says which reply is right.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inhouse.errors import InputError, nearest, words_of
from review.general_ability.answering import Answered

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from inhouse.models.load import Model

INSTALL = "pip install -e '.[lm-eval]'"
# What says of one document that the model was right, 1 or 0: the first that a task measures.
MEASURES = ("acc_norm", "acc", "exact_match")


def answer_tasks(
    model: Model,
    tokenizer: PreTrainedTokenizerBase,
    tasks: Sequence[str],
    known: dict[str, str],
    *,
    task_folder: str | Path | None = None,
    limit: int | None = None,
    batch_size: int = 8,
) -> list[Answered]:
    """One model's answers to every document of the named tasks; an answer's kind is its task.

    Args:
        known: the model's ``name`` and ``hash``, as each answer carries them.
        task_folder: task files of the firm's own, beside those that lm-eval ships.
        limit: documents of each task, the first ones.

    Raises:
        InputError: lm-eval is not installed, does not know a task, cannot load its data, or the
            task measures nothing that is right or wrong.
    """
    manager = _manager(tasks, task_folder)
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    try:
        found = simple_evaluate(
            model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size),
            tasks=list(tasks),
            task_manager=manager,
            limit=limit,
            apply_chat_template=True,
            bootstrap_iters=0,
        )
    except (OSError, ValueError, ImportError) as error:  # what datasets raises without its data
        raise InputError(
            f"lm-eval cannot run {', '.join(tasks)} here: {words_of(error)}. Nothing is fetched: "
            "put the tasks' data into the cache of datasets (HF_HOME) first, or name local files "
            "in a task of your own"
        ) from error
    assert found is not None  # it is None on other processes than the first
    return [
        _answered(task, sample, known)
        for task, samples in sorted(found["samples"].items())
        for sample in _once(samples)
    ]


def _once(samples: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each document once: a task may read its replies in several ways, the first is its own."""
    first: dict[int, dict[str, Any]] = {}
    for sample in samples:
        first.setdefault(sample["doc_id"], sample)
    return list(first.values())


def _answered(task: str, sample: dict[str, Any], known: dict[str, str]) -> Answered:
    measure = next((name for name in MEASURES if name in sample["metrics"]), None)
    if measure is None or sample[measure] not in (0, 1):
        raise InputError(
            f"the task {task} measures {', '.join(sample['metrics'])}: expected one of "
            f"{', '.join(MEASURES)}, which say right or wrong of each document; take it out"
        )
    written = [part for part in sample["filtered_resps"] if isinstance(part, str)]
    return Answered(
        item=f"{task}/{sample['doc_id']}",
        kind=task,
        model=known,
        correct=bool(sample[measure]),
        said=written[0] if written else "",  # choices are only scored
    )


def check_tasks(tasks: Sequence[str], task_folder: str | Path | None = None) -> None:
    """Whether lm-eval is there and knows the tasks; their data is not looked for.

    Raises:
        InputError: it is not installed, or does not know a task.
    """
    _manager(tasks, task_folder)


def _manager(tasks: Sequence[str], task_folder: str | Path | None) -> Any:
    if importlib.util.find_spec("lm_eval") is None:
        raise InputError(f"tasks by name need lm-eval, which is not installed: {INSTALL}")
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(task_folder) if task_folder else None)
    _check_tasks(tasks, manager.all_tasks)
    return manager


def _check_tasks(tasks: Sequence[str], known: Sequence[str]) -> None:
    for task in tasks:
        if task not in known:
            meant = nearest(task, known)
            hint = f"did you mean {meant!r}?" if meant else "`lm-eval ls tasks` lists them"
            raise InputError(f"lm-eval has no task {task!r}: {hint}")
