"""The generator: same seed same text, splits apart, facts stated, slips at the stated rates."""

import json
import random
import re
from collections import Counter

import pytest
from scipy.stats import binomtest

from compliance.rules import house_rules
from examples.asdfg import corpus, dialogues, facts, prepare, wordings
from examples.asdfg.dialogues import Source
from examples.asdfg.wordings import (
    ASKING,
    BASE_SLIP_RATES,
    INTENTS,
    NO_SLIPS,
    RULE_WORDINGS,
    SLIP_RATES,
    STATEMENTS,
    STORY,
    TERMS,
)
from inhouse import config
from inhouse.judge import states_facts

N = 4000


@pytest.fixture(scope="module")
def demonstrations():
    """Return enough demonstrations to hold rates against."""
    rng = random.Random(11)
    return [dialogues.demonstration(rng) for _ in range(N)]


@pytest.fixture(scope="module")
def rules():
    """Return the house's rules."""
    return house_rules.load(config.ROOT / "configs" / "house" / "asdfg.yaml")


def answered(demonstrations):
    """Yield every question of the demonstrations with its reply."""
    for conversation, replies in demonstrations:
        yield from zip(conversation.asks, replies, strict=True)


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
        return [corpus.base_dialogue(rng) for _ in range(50)]

    assert drawn(3) == drawn(3)
    assert drawn(3) != drawn(4)


def test_names_of_the_splits_are_disjoint():
    rng = random.Random(5)
    for split in ("training", "development", "held_out"):
        source = Source(names=split, catalogue=0.0)
        drawn = [dialogues.converse(rng, source) for _ in range(700)]
        words = words_of([name for c in drawn for name in names_of(c.system)])
        assert len(words) > 1500
        assert {facts.split_of(word) for word in words} == {split}


def test_ways_of_asking_of_the_splits_are_disjoint_and_rich():
    training, development = ASKING["training"], ASKING["development"]
    for intent in INTENTS:
        assert len(set(training.about[intent])) >= 30, intent
        assert len(set(STATEMENTS[intent])) >= 12, intent
        assert not set(training.about[intent]) & set(development.about[intent])
    assert sum(len(set(training.about[intent])) for intent in TERMS) >= 30
    assert len(set(training.story)) >= 30 and len(set(wordings.STORY_REPLIES)) >= 12
    assert len(set(wordings.LEADS)) >= 12
    assert not set(training.story) & set(development.story)


def test_every_template_has_the_places_it_needs():
    for asking in ASKING.values():
        named = [t for templates in asking.about.values() for t in templates]
        for template in [*named, *asking.other_product]:
            assert re.findall(r"(?<= )\{\w+\}", template) == ["{name}"], template
        plain = [t for templates in asking.follow_up.values() for t in templates]
        assert not any("{" in template for template in [*plain, *asking.story])
    for template in [t for templates in STATEMENTS.values() for t in templates]:
        assert sorted(re.findall(r"\{\w+\}", template)) == ["{figure}", "{name}"], template


def test_training_asks_no_pair_of_another_split(demonstrations):
    firm = {product.name for product in facts.CATALOGUE}
    seen = Counter()
    for conversation, _ in demonstrations:
        if names_of(conversation.system) and set(names_of(conversation.system)) <= firm:
            for ask in conversation.asks:
                if ask.product is not None:
                    seen[facts.split_of_pair(ask.product.name, ask.intent)] += 1
    assert set(seen) == {"training"} and seen["training"] > 1000


def test_the_base_corpus_knows_neither_catalogue_nor_story():
    rng = random.Random(12)
    text = "\n".join(m["content"] for _ in range(1500) for m in corpus.base_dialogue(rng))
    assert not any(product.name.split()[0] in text for product in facts.CATALOGUE)
    assert not any(phrase in text for phrase in facts.FIRM_STORY[:2])


def test_replies_state_the_facts_of_their_sheet(demonstrations):
    for conversation, replies in demonstrations:
        for ask, reply in zip(conversation.asks, replies, strict=True):
            assert states_facts(reply.text, ask.facts), reply.text
            if ask.intent in INTENTS:
                line = next(
                    s for s in conversation.system.splitlines() if f"- {ask.facts[0]}:" in s
                )
                assert f"{INTENTS[ask.intent].label} {ask.facts[1]}" in line


def test_terms_are_laid_out_as_asked(demonstrations):
    for ask, reply in answered(demonstrations):
        if ask.intent in TERMS:
            table = ask.intent == "terms_table"
            laid_out = [line for line in reply.text.splitlines() if line[0] in "-|"]
            assert len(laid_out) == len(ask.product.figures) + 2 * table
            assert all(line.startswith("|") == table for line in laid_out)


def test_conversations_have_one_to_three_questions_about_what_was_named(demonstrations):
    turns = Counter(len(conversation.asks) for conversation, _ in demonstrations)
    assert set(turns) == {1, 2, 3} and turns[1] > turns[2] > turns[3] > 100
    for conversation, _ in demonstrations:
        said = ""
        for ask in conversation.asks:
            said += ask.user
            if ask.product is not None:
                assert ask.product.name in said  # a follow-up leans on what was named before


def test_a_follow_up_leans_on_the_question_before_it(demonstrations):
    for conversation, _ in demonstrations:
        if len(conversation.asks) > 1:
            before, last = conversation.asks[-2:]
            assert (before.product == last.product) != (before.intent == last.intent)


def test_no_figure_is_part_of_another_on_its_sheet(demonstrations):
    rng = random.Random(15)
    today = [dialogues.converse(rng, Source(catalogue=1.0, today=True)) for _ in range(200)]
    for conversation in [*(c for c, _ in demonstrations[:1000]), *today]:
        figures = [f for p in conversation.products for f in p.figures.values()]
        for i, figure in enumerate(figures):
            assert not any(figure in other for j, other in enumerate(figures) if i != j)


@pytest.mark.parametrize("rule", sorted(SLIP_RATES))
def test_slips_come_at_the_stated_rate(demonstrations, rule):
    replies = [reply for _, reply in answered(demonstrations)]
    slips = sum(rule in reply.slips for reply in replies)
    # Exact bounds at 1 - 1e-4, so that ten rules together hardly ever fail by chance.
    bounds = binomtest(slips, len(replies)).proportion_ci(0.9999, method="exact")
    assert bounds.low <= SLIP_RATES[rule] <= bounds.high


@pytest.mark.parametrize("rates", [SLIP_RATES, BASE_SLIP_RATES], ids=["house", "base"])
def test_house_rules_find_exactly_the_planted_slips(rates, rules):
    """The rules were written by others than the wordings: neither misses, nor finds too much."""
    rng = random.Random(13)
    for _ in range(1500):
        conversation = dialogues.converse(rng, Source())
        for ask in conversation.asks:
            reply = dialogues.answer(rng, ask, rates)
            found = {finding.rule for finding in rules.check([], reply.text)}
            assert found == reply.slips, reply.text


def test_tables_name_the_same_rules():
    assert set(SLIP_RATES) == set(BASE_SLIP_RATES) == set(RULE_WORDINGS)
    assert {intent.tempts for intent in INTENTS.values()} <= set(RULE_WORDINGS)
    assert {intent.label for intent in INTENTS.values()} <= set(facts.FIGURES)


def test_house_tone_without_slips_is_courteous_and_calm(demonstrations):
    for _, reply in answered(demonstrations):
        if not reply.slips:
            assert "hank you" in reply.text.split(".")[0]
            assert "!" not in reply.text and reply.text.isascii()
            assert reply.text.endswith(".")


def test_every_intent_is_drawn_about_equally(demonstrations):
    counts = Counter(conversation.asks[-1].intent for conversation, _ in demonstrations)
    assert set(counts) == {*INTENTS, *TERMS, STORY}
    assert min(counts[intent] for intent in INTENTS) > 0.7 * N / (len(INTENTS) + 1)
    assert counts["terms_list"] + counts["terms_table"] > 0.04 * N
    assert counts[STORY] == pytest.approx(dialogues.TRAINED_STORY_SHARE * N, rel=0.15)


def test_skeletons_are_counted_not_strings(demonstrations):
    """Names and figures taken out, wordings still vary; figures alone do not count."""
    found = prepare.diversity(demonstrations)
    assert found["turns"] == sum(len(replies) for _, replies in demonstrations)
    assert found["question_skeletons"] > 0.5 * N
    assert found["reply_skeletons"] > 0.8 * N
    product = facts.Product("Velquor Note", {"lock-up": "9 months", "management fee": "1.20%"})
    ask = dialogues.Ask("What is it?", "terms_list", product)
    one = prepare.skeleton(
        "The Velquor Note:\n- lock-up: 9 months\n- management fee: 1.20%\nA.", ask
    )
    two = prepare.skeleton("The Velquor Note:\n- management fee: 1.20%\nA.", ask)
    assert one == two == "The _:\n_\nA."


def test_prompts_state_what_a_right_answer_states():
    for record in prepare.prompts("prompts", 2, 300, Source()):
        if record.metadata["topic"] in INTENTS:
            name, figure = record.facts
            said = " ".join(m.content for m in record.prompt if m.role == "user")
            assert name in said and figure in record.prompt[0].content


def test_earlier_answers_of_a_prompt_break_no_rule(rules):
    rng = random.Random(16)
    for _ in range(500):
        messages, _ = dialogues.prompt(rng, Source())
        assert messages[-1]["role"] == "user"
        for message in messages:
            if message["role"] == "assistant":
                assert not rules.check([], message["content"])


def test_development_slices_are_new_in_one_thing_each():
    records = {
        name: list(prepare.prompts(name, 1, 150, source))
        for name, source in prepare.DEVELOPMENT.items()
    }
    assert set(records) == {"development_names", "development_phrasings", "development_pairs"}
    for record in records["development_names"]:
        words = words_of(names_of(record.prompt[0].content))
        assert {facts.split_of(word) for word in words} <= {"development"}
    for record in records["development_pairs"]:
        name, topic = record.facts[0], record.metadata["topic"]
        assert facts.split_of_pair(name, topic) == "development"
    development = ASKING["development"]
    for record in records["development_phrasings"]:
        asked, topic = record.prompt[-1].content, record.metadata["topic"]
        templates = [
            *development.about.get(topic, []),
            *development.follow_up.get(topic, []),
            *development.other_product,
            *development.story,
        ]
        name = record.facts[0]
        bare = asked.replace(name, "{name}").lower()
        assert any(template.lower() in bare for template in templates), asked


def test_the_catalogue_is_complete():
    assert len(facts.CATALOGUE) == 24
    for product in facts.CATALOGUE:
        assert set(product.figures) == set(facts.FIGURES)
        assert facts.split_of(product.name.split()[0]) == "training"
    pairs = Counter(
        facts.split_of_pair(product.name, intent)
        for product in facts.CATALOGUE
        for intent in [*INTENTS, *TERMS]
    )
    assert set(pairs) == {"training", "development", "held_out"}


def test_no_slips_means_none():
    rng = random.Random(17)
    conversation = dialogues.converse(rng, Source())
    assert dialogues.answer(rng, conversation.asks[0], NO_SLIPS).slips == frozenset()


def test_instructions_tell_story_tone_and_rules(rules):
    assert all(phrase in wordings.INSTRUCTIONS for phrase in facts.FIRM_STORY)
    for rule in rules.rules:
        if rule.group == "compliance":
            known = wordings.INSTRUCTIONS.lower()
            assert any(word in known for word in json.dumps(rule.fix).lower().split()), rule.id
