"""Let a model answer development prompts at temperature 1 and count what came out.

    python -m examples.asdfg.measure --model_name_or_path examples/asdfg/model

Records in: none (prompts are drawn from a seed; held-out ones are for `python -m review`). Out: a
line of JSON a slice on the standard output. Free generation, not teacher forcing: in a spike the
latter read .995 where a third of the names came out wrong.
"""

import argparse
import json
import random

from transformers import PreTrainedTokenizerBase

from compliance.rules import house_rules
from examples.asdfg import dialogues
from examples.asdfg.dialogues import DEVELOPMENT, Ask, Message, Source
from inhouse import chat, config
from inhouse.generation import sample
from inhouse.judge import states_facts
from inhouse.models.load import Model, load_causal_lm, load_tokenizer
from inhouse.records import Message as Turn
from inhouse.run import command

SLICES = {"training": Source(story=0.0), **DEVELOPMENT, "story": Source(story=1.0)}
RULES = config.ROOT / "configs" / "house" / "asdfg.yaml"


def answer(
    model: Model,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[list[Message]],
    seed: int,
    max_new_tokens: int = 200,
) -> list[sample.Reply]:
    """Sample one reply a prompt, at temperature 1."""
    rows = [
        chat.prompt_ids(tokenizer, [Turn.model_validate(turn) for turn in prompt])
        for prompt in prompts
    ]
    replies: dict[int, sample.Reply] = {}
    for batch in sample.replies(model, tokenizer, rows, max_new_tokens=max_new_tokens, seed=seed):
        replies |= {index: said[0] for index, said in batch.items()}
    return [replies[index] for index in range(len(prompts))]


def rates(
    asks: list[Ask], replies: list[sample.Reply], rules: house_rules.HouseRules
) -> dict[str, float]:
    """Shares of replies that state the first fact, all facts, end, are helpful, break a rule."""
    n = len(asks)
    pairs = list(zip(asks, replies, strict=True))
    groups = [
        {rules.group_of(finding.rule) for finding in rules.check([], reply.text)}
        for reply in replies
    ]
    return {
        "n": n,
        "name": sum(states_facts(reply.text, ask.facts[:1]) for ask, reply in pairs) / n,
        "facts": sum(states_facts(reply.text, ask.facts) for ask, reply in pairs) / n,
        "end_token": sum(reply.ended for reply in replies) / n,
        "helpful": sum(r.ended and states_facts(r.text, a.facts) for a, r in pairs) / n,
        "any_violation": sum("compliance" in broken for broken in groups) / n,
        "tone_violation": sum("tone" in broken for broken in groups) / n,
        "tokens": sum(len(reply.ids) for reply in replies) / n,
    }


def main() -> None:
    """Load the model, ask, count, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--model_name_or_path", required=True)
    parser.add_argument("--n", type=int, default=200, help="prompts a slice")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--slices", nargs="+", choices=SLICES, default=list(SLICES))
    parser.add_argument("--show", type=int, default=0, help="replies to print a slice")
    arguments = parser.parse_args()
    rules = house_rules.load(RULES)
    tokenizer = load_tokenizer(arguments.model_name_or_path)
    model = load_causal_lm(arguments.model_name_or_path)
    for name in arguments.slices:
        rng = random.Random(f"measure-{arguments.seed}-{name}")
        drawn = [dialogues.prompt(rng, SLICES[name]) for _ in range(arguments.n)]
        asks = [ask for _, ask in drawn]
        replies = answer(model, tokenizer, [prompt for prompt, _ in drawn], arguments.seed)
        for ask, reply in list(zip(asks, replies, strict=True))[: arguments.show]:
            print(f"? {ask.user} {ask.facts}\n  {reply.text}")
        print(json.dumps({"slice": name, **rates(asks, replies, rules)}), flush=True)


if __name__ == "__main__":
    command(main)
