"""The generator: same seed same text, names apart, facts stated, slips at the stated rates."""

import builtins
import random
from collections import Counter

import pytest
from scipy.stats import binomtest

from examples.asdfg import corpus, dialogues, facts, prepare
from examples.asdfg.tokenizer import train_tokenizer
from examples.asdfg.wordings import BASE_SLIP_RATES, INTENTS, RULE_WORDINGS, SLIP_RATES
from inhouse import config, house_rules

N = 4000


@pytest.fixture(scope="module")
def demonstrations() -> list[dialogues.Dialogue]:
    """Return enough demonstrations to hold rates against."""
    rng = random.Random(11)
    return [dialogues.demonstration(rng) for _ in range(N)]


def names_of(text: str) -> list[str]:
    """Return the product names on a rendered fact sheet."""
    return [line[2:].partition(": ")[0] for line in text.splitlines() if line.startswith("- ")]


def words_of(names: list[str]) -> set[str]:
    """Return the pseudo-words in product names."""
    known = {word for kind in facts.KINDS for word in kind.split()}
    return {word for name in names for word in name.split() if word not in known}


def test_same_seed_same_text():
    def drawn(seed):
        rng = random.Random(seed)
        return [dialogues.base_dialogue(rng).messages for _ in range(50)]

    assert drawn(3) == drawn(3)
    assert drawn(3) != drawn(4)


def test_names_of_the_two_splits_are_disjoint():
    rng = random.Random(5)
    words: dict[str, set[str]] = {}
    for split in ("training", "held_out"):
        questions = [dialogues.ask(rng, split, wide=i % 2 == 0) for i in range(1000)]
        words[split] = words_of([name for q in questions for name in names_of(q.system)])
    assert len(words["training"]) > 2000
    assert {facts.split_of(word) for word in words["training"]} == {"training"}
    assert {facts.split_of(word) for word in words["held_out"]} == {"held_out"}


def test_replies_state_the_facts_of_their_sheet(demonstrations):
    for dialogue in demonstrations:
        question = dialogue.question
        line = next(line for line in question.system.splitlines() if f"- {question.name}:" in line)
        label = INTENTS[question.intent].label
        assert f"{label} {question.figure}" in line
        assert question.name in question.user
        assert all(fact in dialogue.reply for fact in question.facts)


def test_no_figure_is_part_of_another_on_its_sheet(demonstrations):
    for dialogue in demonstrations[:1000]:
        figures = [f for p in dialogue.question.products for f in p.figures.values()]
        for i, figure in enumerate(figures):
            assert not any(figure in other for j, other in enumerate(figures) if i != j)


@pytest.mark.parametrize("rule", sorted(SLIP_RATES))
def test_slips_come_at_the_stated_rate(demonstrations, rule):
    slips = sum(rule in dialogue.slips for dialogue in demonstrations)
    # Exact bounds at 1 - 1e-4, so that ten rules together hardly ever fail by chance.
    bounds = binomtest(slips, N).proportion_ci(0.9999, method="exact")
    assert bounds.low <= SLIP_RATES[rule] <= bounds.high


@pytest.mark.parametrize("rates", [SLIP_RATES, BASE_SLIP_RATES], ids=["house", "base"])
def test_house_rules_find_exactly_the_planted_slips(rates):
    """The rules were written by others than the wordings: neither misses, nor finds too much."""
    rules = house_rules.load(config.ROOT / "configs" / "house" / "asdfg.yaml")
    rng = random.Random(13)
    for _ in range(1000):
        dialogue = dialogues.answer(rng, dialogues.ask(rng, "training"), rates)
        found = {finding.rule for finding in rules.check([], dialogue.reply)}
        assert found == dialogue.slips, dialogue.reply


def test_tables_name_the_same_rules():
    assert set(SLIP_RATES) == set(BASE_SLIP_RATES) == set(RULE_WORDINGS)
    assert {intent.tempts for intent in INTENTS.values()} <= set(RULE_WORDINGS)
    assert {intent.label for intent in INTENTS.values()} <= set(facts.FIGURES)


def test_house_tone_without_slips_is_courteous_and_calm(demonstrations):
    for dialogue in demonstrations:
        if not dialogue.slips:
            assert "hank you" in dialogue.reply.split(".")[0]
            assert "!" not in dialogue.reply and dialogue.reply.isascii()
            assert dialogue.reply.endswith(".")


def test_every_intent_is_drawn_about_equally(demonstrations):
    counts = Counter(dialogue.question.intent for dialogue in demonstrations)
    assert set(counts) == set(INTENTS)
    assert min(counts.values()) > 0.7 * N / len(INTENTS)


def test_training_code_opens_no_file(monkeypatch):
    """Base corpus, demonstrations and prompts are made without opening anything at all."""

    def refuse(path, *_, **__):
        raise AssertionError(f"the generator opened {path}")

    tokenizer = train_tokenizer(corpus.tokenizer_texts(1, 300), 400, 1024)
    monkeypatch.setattr(builtins, "open", refuse)
    monkeypatch.setattr("io.open", refuse)
    monkeypatch.setattr("os.open", refuse)
    assert len(corpus.batch(tokenizer, 1, 0, 8, 0.5)) == 8
    assert len(list(prepare.demonstrations(1, 20))) == 20
    assert len(list(prepare.prompts(1, 20))) == 20


def test_prompts_state_what_a_right_answer_states():
    for prompt in prepare.prompts(2, 200):
        name, figure = prompt.facts
        assert name in prompt.prompt[-1].content
        assert figure in prompt.prompt[0].content
        assert {facts.split_of(word) for word in words_of([name])} == {"training"}
