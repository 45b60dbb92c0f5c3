"""Talking in the terminal: whole conversations through piped input, and what is marked."""

import io
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inhouse import chat
from inhouse.generation import sample
from inhouse.models.load import load_causal_lm
from inhouse.records import Finding, Message
from review import chat as chat_command
from review.chat import PLAIN, RED, Said, coloured, marked, show, wrap

ROOT = Path(__file__).parents[2]
RULES = """\
house: Test
rules:
  - id: T-01
    title: No letter e
    severity: major
    group: tone
    kind: existence
    match: ["e"]
    bad: ["one"]
    good: ["two"]
    fix: Leave it out.
"""


@pytest.fixture
def talk(run_stage, monkeypatch, tiny_model):
    """Pipe lines into a conversation with the tiny model; return how it ended."""
    monkeypatch.setenv("TQDM_DISABLE", "1")  # the command sets it for its process

    def run(lines: str, *words: object, model: object = tiny_model):
        monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
        return run_stage("review.chat", model, *words)

    return run


@pytest.fixture
def prompts_seen(monkeypatch):
    """The token ids that each model was asked with, in order."""
    seen: list[list[int]] = []
    own = sample.replies

    def spy(model, tokenizer, prompts, **settings):
        seen.extend(prompts)
        return own(model, tokenizer, prompts, **settings)

    monkeypatch.setattr(sample, "replies", spy)
    return seen


SHORT = ("--max_new_tokens", 6, "--temperature", 0)


# --- a conversation -----------------------------------------------------------------------------


def test_each_question_is_answered_until_the_input_ends(talk, tiny_model):
    ended = talk("What is it?\nWhy?\n", *SHORT)
    assert ended.code == 0, ended.err
    assert ended.out.count(f"{tiny_model}> ") == 2
    assert "you> What is it?\n" in ended.out and "you> Why?\n" in ended.out


def test_an_empty_line_ends_it(talk, tiny_model):
    ended = talk("What is it?\n\nWhy?\n", *SHORT)
    assert ended.code == 0 and ended.out.count(f"{tiny_model}> ") == 1 and "Why?" not in ended.out


def test_a_model_remembers_what_was_said(talk, prompts_seen, tokenizer, tiny_model):
    ended = talk("What is it?\nWhy?\n", *SHORT, "--system", "Be brief.")
    assert ended.code == 0, ended.err
    reply = Said(ended.out.split(f"{tiny_model}> ")[1].split(" (cut after")[0])
    assert len(prompts_seen) == 2
    expected = [
        Message(role="system", content="Be brief."),
        Message(role="user", content="What is it?"),
    ]
    assert prompts_seen[0] == chat.prompt_ids(tokenizer, expected)
    text = tokenizer.decode(prompts_seen[1])
    assert text.startswith(tokenizer.decode(prompts_seen[0]) + reply.text + "<|im_end|>")
    assert text.endswith("<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n")


def test_two_models_are_asked_the_same_and_remember_each_their_own(
    talk, prompts_seen, tokenizer, tiny_model, copy_of_tiny
):
    other = load_causal_lm(str(copy_of_tiny))
    other.model.norm.weight.data.neg_()  # now its likeliest words are the other's least likely
    other.save_pretrained(copy_of_tiny)
    ended = talk("What is it?\nWhy?\n", "--also", copy_of_tiny, *SHORT)
    assert ended.code == 0, ended.err
    first, second, third, fourth = prompts_seen
    assert first == second and third != fourth
    for folder in (tiny_model, copy_of_tiny):
        assert ended.out.count(f"{folder}> ") == 2
    assert tokenizer.decode(third).startswith(tokenizer.decode(first))


def test_the_same_seed_gives_the_same_conversation(talk):
    settings = ("--max_new_tokens", 6, "--seed")
    one = talk("What?\nWhy?\n", *settings, 1).out
    assert talk("What?\nWhy?\n", *settings, 1).out == one
    assert talk("What?\nWhy?\n", *settings, 2).out != one


def test_what_breaks_a_rule_is_marked(talk, tmp_path, monkeypatch):
    (tmp_path / "rules.yaml").write_text(RULES)

    def say(*_, **__):
        yield {0: [sample.Reply("two, then six", [5], True)]}

    monkeypatch.setattr(sample, "replies", say)
    ended = talk("What?\n", "--house_rules", tmp_path / "rules.yaml")
    assert ended.code == 0, ended.err
    assert "two, th[[e]] T-01n six" in ended.out


def test_a_context_that_is_full_says_so_and_ends_it(talk, prompts_seen):
    # The tiny model takes 512 tokens.
    ended = talk("word " * 600 + "\nWhy?\n", *SHORT)
    assert ended.code == 0 and "the context is full" in ended.out and "512" in ended.out
    assert "Why?" not in ended.out and not prompts_seen


def test_a_reply_is_cut_where_the_context_ends(talk, tokenizer, prompts_seen):
    length = len(chat.prompt_ids(tokenizer, [Message(role="user", content="a")]))
    asked = "a" + " a" * (508 - length)
    assert len(chat.prompt_ids(tokenizer, [Message(role="user", content=asked)])) == 508
    ended = talk(f"{asked}\nWhy?\n", "--max_new_tokens", 50, "--temperature", 0)
    assert ended.code == 0 and "cut: the context is full" in ended.out
    assert len(prompts_seen) == 1


def test_a_question_with_the_templates_own_tokens_is_refused_and_forgotten(talk, prompts_seen):
    ended = talk("Hi <|im_end|>\nWhy?\n", *SHORT)
    assert ended.code == 0 and "which is the chat template's own" in ended.out
    assert len(prompts_seen) == 1


def test_a_reply_without_words_is_not_remembered(talk, monkeypatch):
    asked = []

    def say(model, tokenizer, prompts, **_):
        asked.extend(prompts)
        yield {0: [sample.Reply("", [5], True)]}

    monkeypatch.setattr(sample, "replies", say)
    ended = talk("What?\nWhat?\n")
    assert ended.code == 0 and "(the model ended at once: an empty answer)" in ended.out
    assert asked[0] == asked[1]


def test_an_interrupt_ends_it_without_a_traceback(talk, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(sample, "replies", interrupt)
    ended = talk("What?\n")
    assert ended.code == 0 and "Traceback" not in ended.err + ended.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--temperature", "-1"), "--temperature -1"),
        (("--temperature", "nan"), "--temperature nan"),
        (("--max_new_tokens", "0"), "--max_new_tokens 0"),
        (("--seed", "-1"), "--seed -1"),
        (("--temp", "1"), "did you mean --temperature?"),
        (("--house_rules", "nowhere.yaml"), "nowhere.yaml"),
        (("--also", "./nowhere"), "no model folder ./nowhere"),
        (("--system", " "), "is empty"),
        (("--system", "<|im_end|>"), "the chat template's own"),
    ],
)
def test_what_cannot_be_is_refused(talk, words, said):
    ended = talk("What?\n", *words)
    assert ended.code == 3 and said in ended.err and "Traceback" not in ended.err


def test_a_stage_that_has_not_finished_is_refused(talk, copy_of_tiny):
    (copy_of_tiny / "begun.json").write_text("{}")
    ended = talk("What?\n", model=copy_of_tiny)
    assert ended.code == 3 and "not finished" in ended.err


def test_input_that_is_not_utf8_is_refused(run_stage, monkeypatch, tiny_model):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9\n"), "utf-8"))
    ended = run_stage("review.chat", tiny_model)
    assert ended.code == 3 and "not UTF-8 at byte 3" in ended.err


@pytest.mark.slow
def test_the_command_itself_with_a_pipe(tiny_model):
    words = ["-m", "review.chat", str(tiny_model), "--max_new_tokens", "4"]
    ended = subprocess.run(
        [sys.executable, *words], cwd=ROOT, input="What?\n", capture_output=True, text=True
    )
    assert ended.returncode == 0 and f"{tiny_model}> " in ended.stdout
    assert "sampling" not in ended.stderr  # a bar for each reply would be in the way


def test_help_answers_in_a_second():
    seconds = []
    for _ in range(5):  # the best of five: other processes may have the cores
        before = time.monotonic()
        words = [sys.executable, "-m", "review.chat", "--help"]
        ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        seconds.append(time.monotonic() - before)
        assert ended.returncode == 0 and "--also" in ended.stdout
        if seconds[-1] <= 1:
            break
    assert min(seconds) <= 1, seconds


# --- marks and columns --------------------------------------------------------------------------


def finding(rule: str, start: int, end: int) -> Finding:
    return Finding(rule=rule, severity="major", start=start, end=end, text="")


def test_findings_stand_in_brackets_with_their_rules():
    said = Said("We guarantee it, act now!", [finding("B", 17, 24), finding("A", 3, 12)])
    assert marked(said) == "We [[guarantee]] A it, [[act now]] B!"


def test_overlapping_findings_are_one_mark_with_both_rules():
    said = Said("We guarantee it.", [finding("A", 3, 12), finding("B", 10, 15)])
    assert marked(said) == "We [[guarantee it]] A, B."
    again = Said("We guarantee it.", [finding("A", 3, 12), finding("A", 4, 5)])
    assert marked(again) == "We [[guarantee]] A it."


def test_a_note_stands_behind_the_reply_or_alone():
    assert marked(Said("Yes", note="cut")) == "Yes (cut)"
    assert marked(Said(note="says nothing")) == "(says nothing)"


def test_a_model_cannot_steer_the_terminal():
    said = Said("a\x1b[2Jb\tc\x9bd\r", [finding("A", 5, 6)])
    assert marked(said) == "a�[2J[[b]] A c�d�"
    assert "\x1b[2J" not in "".join(coloured(said, 20))


def test_lines_are_broken_at_spaces_and_long_words_where_they_must():
    def lines(text: str, width: int) -> list[str]:
        rows = wrap([(character, False) for character in text], width)
        return ["".join(character for character, _ in row) for row in rows]

    assert lines("one two three", 7) == ["one two", "three"]
    assert lines("one two three", 8) == ["one two", "three"]
    assert lines("abcdefgh ij", 4) == ["abcd", "efgh", "ij"]
    assert lines("a\n\nb", 4) == ["a", "", "b"]


def test_a_mark_is_red_on_every_line_it_covers():
    rows = coloured(Said("We guarantee it.", [finding("A", 3, 15)]), 12)
    assert rows == [
        f"We {RED}guarantee{PLAIN}",
        f"{RED}it A{PLAIN}.       ",
    ]


def test_two_models_stand_side_by_side_where_the_terminal_is_wide_enough():
    said = [Said("one two"), Said("x" * 45)]
    wide = show(["left", "right"], said, 82).split("\n")
    assert wide[0] == f"{'left':40}  {'right'}"
    assert wide[1] == f"{'one two':40}  {'x' * 40}"
    assert wide[2] == f"{'':40}  {'x' * 5}"
    narrow = show(["left", "right"], said, 60).split("\n")
    assert [row for row in narrow if row] == ["left", "one two", "right", "x" * 45]
    assert show(["left", "right"], said, 0) == f"left> one two\nright> {'x' * 45}\n"


def test_colour_is_for_terminals_and_can_be_turned_off(talk, monkeypatch):
    widths = []
    monkeypatch.setattr(chat_command, "show", lambda names, said, width: widths.append(width) or "")
    talk("What?\n", *SHORT)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "97")
    talk("What?\n", *SHORT)
    monkeypatch.setenv("NO_COLOR", "1")
    talk("What?\n", *SHORT)
    assert widths == [0, 97, 0]
