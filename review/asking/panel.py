"""Who is asked, and how a prompt becomes a question.

Questions are the same for all models, but that one of them may be told more in its system turn. Who
answers is a :class:`Speaker`: a model on this machine (:func:`local`), or whatever else yields
replies to questions, as a server that holds the model would.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from compliance.rules.house_rules import HouseRules
from inhouse import chat
from inhouse.errors import InputError
from inhouse.generation import sample
from inhouse.generation.sample import Reply
from inhouse.models.folder import context_length, find_base, load_config
from inhouse.models.load import load_tokenizer
from inhouse.records import Message, Prompt, content_id, plain
from review.asking.plan import ABILITY, Plan, Round, words_of
from review.general_ability.answering import MAX_NEW_TOKENS
from review.general_ability.items import Item

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from inhouse.models.load import Model

REFERENCE = "sft"  # whose tokenizer asks, and from whom the others' distance is measured


class Question(NamedTuple):
    """A prompt as one model is asked it in a round.

    ``ids`` are the tokens that every model is asked, ``given`` those that this one is, which
    ``messages`` say in words: they differ by what base_prompted is told. Shape: (tokens,) each.
    """

    output_id: str
    record: Prompt
    messages: list[Message]
    ids: list[int]
    given: list[int]


class Speaker(Protocol):
    """Who answers for a model."""

    def __call__(
        self, questions: Sequence[Question], asked: Round, done: Collection[int]
    ) -> Iterator[dict[int, Reply]]:
        """Replies by the question's place, a batch at a time, the same whatever is ``done``.

        Batches of which every question is done are passed over.
        """
        ...


@dataclass(frozen=True)
class Panel:
    """The models that are asked, how, and what their answers are checked and scored by.

    ``folders``: of the models by name. ``hashes``: twelve digits of each. ``told``: what a model is
    told beyond each prompt.
    """

    folders: Mapping[str, str | Path]
    hashes: Mapping[str, str]
    told: Mapping[str, str]
    tokenizer: PreTrainedTokenizerBase
    rules: HouseRules
    max_new_tokens: int
    batch_size: int

    @classmethod
    def of(
        cls,
        folders: Mapping[str, str | Path],
        inputs: Sequence[Mapping[str, str]],
        told: Mapping[str, str],
        rules: HouseRules,
        max_new_tokens: int,
        batch_size: int,
    ) -> Panel:
        """With the hashes that the run's ``inputs`` have, and the tokenizer that asks all."""
        known = {entry["name"]: entry["sha256"][:12] for entry in inputs}
        tokenizer = load_tokenizer(str(folders[REFERENCE]))
        return cls(folders, known, told, tokenizer, rules, max_new_tokens, batch_size)

    def known(self, name: str) -> dict[str, str]:
        """A model as its answers carry it."""
        return {"name": name, "hash": self.hashes[name]}

    def questions(self, asked: Round, name: str) -> list[Question]:
        """A round's prompts as one model is asked them."""
        made, known, told = [], self.known(name), self.told.get(name)
        for record in asked.prompts:
            what = (name, known["hash"], asked.split, plain(record.prompt), asked.seed)
            ids = given = chat.prompt_ids(self.tokenizer, record.prompt)
            messages = record.prompt
            if told is not None:
                messages = instructed(record.prompt, told)
                given = chat.prompt_ids(self.tokenizer, messages)
            made.append(Question(content_id(*what), record, messages, ids, given))
        return made

    def check_room(self, plan: Plan) -> None:
        """Refuse what a model has no room for before anything is asked: that may be hours in.

        Raises:
            InputError: names the kind of prompt, the longest, and what the model takes.
        """
        rounds = {each.split: each for each in plan.rounds}.values()
        rows: dict[str | None, dict[str, list[list[int]]]] = {}
        items = longest_of(self.tokenizer, plan.items)
        for name, folder in self.folders.items():
            context = context_length(load_config(find_base(str(folder))))
            told = self.told.get(name)
            if told not in rows:
                rows[told] = {each.split: self._given(each, name) for each in rounds}
            for split, given in rows[told].items():
                try:
                    sample.check_room(context, given, self.max_new_tokens)
                except InputError as error:
                    raise InputError(f"{name}, {words_of(split)}: {error}") from None
            if context is not None and items > context:
                raise InputError(
                    f"{name}, {words_of(ABILITY)}: an item has up to {items} tokens with its "
                    f"answer, and the model takes {context}: set --ability 0"
                )

    def _given(self, asked: Round, name: str) -> list[list[int]]:
        return [question.given for question in self.questions(asked, name)]


def local(panel: Panel, model: Model) -> Speaker:
    """The speaker of a model on this machine."""

    def speak(
        questions: Sequence[Question], asked: Round, done: Collection[int]
    ) -> Iterator[dict[int, Reply]]:
        for batch in sample.replies(
            model,
            panel.tokenizer,
            [question.given for question in questions],
            max_new_tokens=panel.max_new_tokens,
            temperature=asked.temperature,
            seed=asked.seed,
            batch_size=panel.batch_size,
            done=done,
            title=None,
        ):
            yield {at: replies[0] for at, replies in batch.items()}

    return speak


def instructed(prompt: Sequence[Message], told: str) -> list[Message]:
    """The prompt with ``told`` above its system turn, or as its system turn where it has none."""
    first, *others = prompt
    if first.role != "system":
        return [Message(role="system", content=told), *prompt]
    return [Message(role="system", content=f"{told}\n\n{first.content}"), *others]


def longest_of(tokenizer: PreTrainedTokenizerBase, items: Sequence[Item]) -> int:
    """Tokens of the longest general item with its answer; 0 without items."""
    chosen = [
        (item.prompt, Message(role="assistant", content=choice))
        for item in items
        for choice in item.choices
    ]
    written = [chat.prompt_ids(tokenizer, item.prompt) for item in items if item.accept]
    return max(
        [len(before) + len(reply) for before, reply in chat.replies_ids(tokenizer, chosen)]
        + [len(ids) + MAX_NEW_TOKENS for ids in written],
        default=0,
    )


def tokens_of(text: str, tokenizer: PreTrainedTokenizerBase) -> int:
    """Tokens that a text takes in a prompt."""
    return len(tokenizer(text, add_special_tokens=False).input_ids)
