"""A supplied model as a detector: trained here to know one made-up name, then held to its spans.

Two tokenizers, since spans come from them: a byte-level one without special tokens, whose pieces
cut accented letters in two, and a WordPiece one with special tokens, which drops the accents.
"""

import json
import random
import shutil
import traceback
import unicodedata
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForTokenClassification,
    ByT5Tokenizer,
    PreTrainedTokenizerFast,
)

from compliance.privacy import recogniser as recognisers
from compliance.privacy.__main__ import main
from compliance.privacy.entities import Entity
from compliance.privacy.recogniser import Recogniser
from compliance.privacy.scan import TYPES, scan
from inhouse.errors import InputError

NAME = "Zoë Quenbÿ"
LABELS = ("O", "B-PER", "I-PER", "B-LOC", "B-ORG")
# fmt: off
ORDINARY = [
    "please", "call", "the", "bank", "about", "fee", "number", "and", "write", "to", "card",
    "account", "today", "thank", "you", ".", ",", "4",
]
# fmt: on
OTHERS = ["at", "@example.com", "Größe", "Übung", "naı\u0308ve", "é", "\U0001d4d0", "😀", "(", ")"]
TAGGED = {"Zoë": 1, "Quenbÿ": 2, "Leeds": 3, "LS1": 3, "Asdfg": 4}
WINDOW = 64


# --- a model trained for a few seconds -----------------------------------------------------------


def word_pieces() -> PreTrainedTokenizerFast:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "zo", "##e", "quen", "##by", "leeds", "ls"]
    vocabulary += ["##1", "asdfg", *ORDINARY]
    tokenizer = Tokenizer(
        models.WordPiece({piece: at for at, piece in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]"
    )


def example(draw: random.Random, tokenizer) -> tuple[list[int], list[int]]:
    """A row of words, some of them tagged, as ids and labels."""
    words = draw.choices(
        [*ORDINARY, *OTHERS, NAME, NAME, "Leeds", "LS1", "Asdfg"], k=draw.randint(1, 10)
    )
    form = draw.choice(["NFC", "NFD"])
    text, spans = "", []
    for word in " ".join(words).split():
        shown = unicodedata.normalize(form, word)
        text += " " * bool(text)
        spans += [(len(text), len(text) + len(shown), TAGGED.get(word, 0))]
        text += shown
    read = tokenizer(text, return_offsets_mapping=True, truncation=True, max_length=WINDOW)
    labels = [
        next((tag for start, end, tag in spans if start < last and first < end), 0)
        for first, last in read["offset_mapping"]
    ]
    return read["input_ids"], labels


def train(tokenizer, folder: Path) -> None:
    torch.manual_seed(0)
    draw = random.Random(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=WINDOW,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.1,
        id2label=dict(enumerate(LABELS)),
        label2id={label: number for number, label in enumerate(LABELS)},
    )
    model = BertForTokenClassification(config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    while len(losses) < 500 and max(losses[-4:], default=1) > 0.01:
        rows = [example(draw, tokenizer) for _ in range(16)]
        longest = max(len(ids) for ids, _ in rows)
        padded = [(ids + [0] * (longest - len(ids)), len(ids)) for ids, _ in rows]
        labels = [tags + [-100] * (longest - len(tags)) for _, tags in rows]
        mask = [[1] * count + [0] * (longest - count) for _, count in padded]
        loss = model(
            input_ids=torch.tensor([ids for ids, _ in padded]),
            attention_mask=torch.tensor(mask),
            labels=torch.tensor(labels),
        ).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    assert max(losses[-4:]) <= 0.01, "the model has not learnt its words"
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module", params=["bytes", "pieces"])
def folder(request, tokenizer, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("recogniser")
    train(tokenizer if request.param == "bytes" else word_pieces(), folder)
    return folder


@pytest.fixture(scope="module")
def recogniser(folder) -> Recogniser:
    return Recogniser(str(folder))


def told(text: str, entities: list[Entity]) -> list[tuple[str, str]]:
    return [(text[e.start : e.end], e.type) for e in entities]


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "please call {} today",
        "{}, please",
        "😀 thank you ( {} ) 😀",
        "Übung {} Größe : 4.",
        "the bank\n\n\t{}\n",
        "naı\u0308ve e\u0301 \u200b {} \U0001d4d0 call",
    ],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_spans_are_those_of_the_text_as_it_was_written(recogniser, text, form):
    name = unicodedata.normalize(form, NAME)
    text = text.format(name)
    start = text.index(name)
    found = [e for e in recogniser(text) if e.type == "PERSON"]
    assert found == [Entity(start, start + len(name), "PERSON")]


@pytest.mark.slow
@pytest.mark.parametrize("text", ["", " \n", "please call the bank today", ". , .", "😀"])
def test_nothing_is_found_where_nothing_stands(recogniser, text):
    assert recogniser(text) == []


@pytest.mark.slow
def test_a_place_is_an_address_where_it_has_a_number(recogniser):
    text = "write to Leeds LS1 today , the bank Leeds , please"
    assert told(text, recogniser(text)) == [("Leeds LS1", "ADDRESS")]


@pytest.mark.slow
def test_labels_that_are_nobodys_data_are_named_and_not_used(recogniser):
    assert recogniser.types == {"PER": "PERSON", "LOC": recognisers.PLACE}
    assert recogniser.unused == ["ORG"]
    assert recogniser("call Asdfg today") == []


@pytest.mark.slow
def test_a_long_text_is_read_to_its_end_in_windows(recogniser):
    # A name every six words and 600 words: many windows, and names across their edges.
    draw = random.Random(1)
    text = " ".join(
        " ".join([*draw.choices(ORDINARY[:15], k=4 + number % 3), NAME]) for number in range(100)
    )
    assert recogniser._window == WINDOW
    expected, at = [], text.find(NAME)
    while at >= 0:
        expected.append(Entity(at, at + len(NAME), "PERSON"))
        at = text.find(NAME, at + 1)
    assert len(expected) == 100
    assert recogniser(text) == expected


@pytest.mark.slow
def test_every_token_is_judged_once_and_with_its_neighbours_around_it(recogniser):
    text = " ".join(ORDINARY * 20)
    offsets = recogniser._tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    assert [(start, end) for start, end, _ in recogniser._tokens(text)] == offsets["offset_mapping"]


def test_of_tokens_in_two_windows_each_judges_the_half_it_sees_more_around():
    # Windows of 10 tokens that share 4 begin at 0, 6, 12: of 6..9 the first judges 6 and 7.
    tokens = list(range(19))
    windows = [tokens[0:10], tokens[6:16], tokens[12:19]]
    parts = [
        window[recognisers.judged(len(window), 4, at == 0, at == 2)]
        for at, window in enumerate(windows)
    ]
    assert parts == [list(range(0, 8)), list(range(8, 14)), list(range(14, 19))]
    # An odd overlap leaves none out either: 7 tokens with 3 shared, from 0 and 4.
    assert recognisers.judged(7, 3, True, False) == slice(0, 5)
    assert recognisers.judged(7, 3, False, True) == slice(1, 7)
    assert recognisers.judged(7, 3, True, True) == slice(0, 7)


@pytest.mark.slow
def test_the_patterns_and_the_model_share_one_rule_for_overlaps(recogniser):
    # The e-mail is longer than the name in it; the name beside it stands.
    text = f"write to {NAME} at Zoë.Quenbÿ@example.com please"
    found = told(text, scan(text, extra=[recogniser]))
    assert (NAME, "PERSON") in found and ("Zoë.Quenbÿ@example.com", "EMAIL") in found
    assert len(found) == 2


# --- words, and how they join --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("O'Neill, Anna-Lena.", ["O", "Neill", "Anna", "Lena"]),
        ("Jose\u0301 e\u0301", ["Jose\u0301", "e\u0301"]),
        ("Ro\u200bsa\u00adlind", ["Ro\u200bsa\u00adlind"]),
        ("क्षत्रिय जी", ["क्षत्रिय", "जी"]),
        ("王小明です Li", ["王", "小", "明", "で", "す", "Li"]),
        ("", []),
    ],
)
def test_words(text, expected):
    assert [text[start:end] for start, end in recognisers.words(text)] == expected


@pytest.mark.parametrize(
    ("text", "kinds", "expected"),
    [
        ("Ann Lee rang", ["PERSON", "PERSON", ""], ["Ann Lee"]),
        ("O'Neill Anna-Lena", ["PERSON"] * 4, ["O'Neill Anna-Lena"]),
        ("Ann, Lee", ["PERSON"] * 2, ["Ann", "Lee"]),
        ("Ann\nLee", ["PERSON"] * 2, ["Ann", "Lee"]),
        ("Ann or Lee", ["PERSON", "", "PERSON"], ["Ann", "Lee"]),
        ("Ann Leeds", ["PERSON", "ADDRESS"], ["Ann", "Leeds"]),
        ("王小明 a", ["PERSON", "PERSON", "PERSON", ""], ["王小明"]),
    ],
)
def test_neighbours_of_one_kind_are_one_entity(text, kinds, expected):
    found = recognisers.joined(text, recognisers.words(text), kinds)
    assert [text[e.start : e.end] for e in found] == expected


@pytest.mark.parametrize(
    ("labels", "types"),
    [
        (["O", "B-PER", "I-PER", "B-MISC"], {"PER": "PERSON"}),
        (["O", "S-Given_Name", "E-STREET-NAME"], {"Given_Name": "PERSON"}),
        (["O", "NATIONAL_ID", "phone_num"], {"NATIONAL_ID": "NATIONAL_ID", "phone_num": "PHONE"}),
        (["O", "I-street-address"], {"street-address": "ADDRESS"}),
    ],
)
def test_labels_are_read_however_they_are_written(labels, types):
    assert recognisers.types_of(labels, "m") == types


def test_every_label_counts_as_a_type_of_the_suite():
    assert set(recognisers.TYPE_OF.values()) - {recognisers.PLACE} == set(TYPES)


# --- refusals ------------------------------------------------------------------------------------


def untrained(folder: Path, tokenizer, labels=LABELS, **changes) -> Path:
    """A folder with a model that has learnt nothing."""
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1}
    config = BertConfig(
        vocab_size=len(tokenizer),
        num_hidden_layers=1,
        id2label=dict(enumerate(labels)),
        **sizes,
    )
    BertForTokenClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def test_a_model_whose_labels_name_no_personal_data_is_refused_with_them(tokenizer, tmp_path):
    untrained(tmp_path, tokenizer, ["O", "B-ORG", "LABEL_2"])
    with pytest.raises(InputError, match="names personal data: O, ORG, LABEL_2; expected some"):
        Recogniser(str(tmp_path))


def test_pickled_weights_are_refused(tokenizer, tmp_path):
    untrained(tmp_path, tokenizer)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(InputError, match="pickled weights"):
        Recogniser(str(tmp_path))


def test_a_model_with_code_of_its_own_is_refused(tokenizer, tmp_path):
    untrained(tmp_path, tokenizer, auto_map={"AutoModel": "own.Model"})
    with pytest.raises(InputError, match="auto_map"):
        Recogniser(str(tmp_path))


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="no model folder"):
        Recogniser(str(tmp_path / "none"))


def test_a_model_that_writes_is_refused(tiny_model):
    with pytest.raises(InputError, match=r"labels words.*Qwen3ForCausalLM"):
        Recogniser(str(tiny_model))


def test_a_folder_without_a_tokenizer_is_refused(tokenizer, tmp_path):
    untrained(tmp_path, tokenizer)
    for path in tmp_path.iterdir():
        if path.name not in ("config.json", "model.safetensors"):
            path.unlink()
    with pytest.raises(InputError, match="no tokenizer in"):
        Recogniser(str(tmp_path))


def test_a_tokenizer_that_cannot_say_where_tokens_stand_is_refused(tokenizer, tmp_path):
    untrained(tmp_path / "model", tokenizer)
    ByT5Tokenizer().save_pretrained(tmp_path / "slow")
    shutil.copy(tmp_path / "model" / "config.json", tmp_path / "slow")
    with pytest.raises(InputError, match="does not say where its tokens stand"):
        Recogniser(str(tmp_path / "slow"))


def test_another_models_tokenizer_is_refused(tokenizer, tmp_path):
    untrained(tmp_path, word_pieces())
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(InputError, match="not of one model"):
        Recogniser(str(tmp_path))


def test_weights_that_lack_a_part_are_refused(tokenizer, tmp_path):
    from transformers import BertModel

    untrained(tmp_path, tokenizer)
    BertModel(BertConfig.from_pretrained(tmp_path)).save_pretrained(tmp_path / "lower")
    shutil.copy(tmp_path / "lower" / "model.safetensors", tmp_path)
    with pytest.raises(InputError, match=r"lack classifier\.bias"):
        Recogniser(str(tmp_path))


def test_damaged_weights_are_refused(tokenizer, tmp_path):
    untrained(tmp_path, tokenizer)
    (tmp_path / "model.safetensors").write_bytes(b"none")
    with pytest.raises(InputError, match="cannot load a model"):
        Recogniser(str(tmp_path))


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def run(run_main, caplog):
    """Run the command; return what it printed, all that was logged, and how it said no."""

    def call(*words):
        caplog.set_level(0)
        printed, raised = run_main(main, *words)
        return printed.out, printed.err + caplog.text + str(raised or ""), raised

    return call


@pytest.fixture
def data(tmp_path) -> Path:
    turns = [{"role": "user", "content": f"please call {NAME} today"}]
    path = tmp_path / "d.jsonl"
    path.write_text(json.dumps({"messages": turns}) + "\n" + json.dumps({"text": "the bank"}))
    return path


@pytest.mark.slow
def test_scan_says_where_and_never_what(run, folder, data):
    out, said, raised = run("scan", data, "--ner_model", folder, "--json")
    entity = {"start": 12, "end": 12 + len(NAME), "type": "PERSON"}
    assert [json.loads(line)["entities"] for line in out.splitlines()] == [[entity], []]
    assert raised.exit_code == 2
    assert "PER as PERSON" in said and "not used: ORG" in said
    for word in NAME.split():
        assert word not in out + said


@pytest.mark.slow
def test_scrub_replaces_what_the_model_finds(run, folder, data, tmp_path):
    clean = tmp_path / "clean.jsonl"
    out, said, raised = run("scrub", data, "--ner_model", folder, "--out", clean)
    assert raised is None
    made = json.loads(clean.read_text().splitlines()[0])
    assert made["messages"][0]["content"] == "please call [PERSON] today"
    assert "Zoë" not in out + said and "Quenb" not in out + said


@pytest.mark.slow
def test_a_model_that_fails_half_way_does_not_tell_what_it_read(run, folder, data, monkeypatch):
    def fail(self, **inputs):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(BertForTokenClassification, "forward", fail)
    with pytest.raises(RuntimeError) as failure:
        run("scan", data, "--ner_model", folder)
    assert "Quenb" not in "".join(traceback.format_exception(failure.value))


def test_a_missing_model_is_refused_before_anything_is_read(run, data, tmp_path):
    out, said, raised = run("scan", data, "--ner_model", tmp_path / "none")
    assert raised.exit_code == 3 and "no model folder" in said and out == ""


def test_the_trained_models_tokenizers_are_the_two_kinds(tokenizer):
    assert tokenizer.num_special_tokens_to_add() == 0
    assert word_pieces().num_special_tokens_to_add() == 2
