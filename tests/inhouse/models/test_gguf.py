"""A GGUF that somebody has lying about: what becomes of it, and what is refused."""

import errno
import hashlib
import json
import os
import shutil
from collections import namedtuple
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from inhouse import run as runs
from inhouse.models.folder import check_folder
from inhouse.models.gguf import convert as converting
from inhouse.models.gguf import file as reading
from inhouse.models.load import load_causal_lm

COMMANDS = "inhouse.models.__main__"
WRITTEN = {
    *("README.md", "chat_template.jinja", "config.json", "generation_config.json"),
    *("manifest.json", "metrics.json", "model.safetensors"),
    *("tokenizer.json", "tokenizer_config.json"),
}
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
THINK = "<think>"  # always one token, and yet something a text may say
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXTS = (
    "The fee is 1250 euros, 3.5% a year.\n\n1. It's due on 2026-01-31.\n\n\n22  columns   7",
    "naïve café ½ ２ 日本 don't I'LL",
    f"<|im_start|>user\nhi<|im_end|>{THINK}",
)
LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
KINDS = gguf.GGMLQuantizationType


# --- a GGUF made here, by the format's own writer -----------------------------------------------

DIGITS_THEN_GPT2 = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
)


@pytest.fixture(scope="module")
def theirs():
    """The maker's tokenizer: 280 tokens of a byte-level BPE that splits as SmolLM2's does."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = DIGITS_THEN_GPT2
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=280, special_tokens=[*CONTROL, THINK], initial_alphabet=sorted(alphabet)
    )
    backend.train_from_iterator([*TEXTS[:2], "  a\n\n  b\n\n" * 9], trainer)
    named = {"bos_token": CONTROL[1], "eos_token": CONTROL[2], "pad_token": CONTROL[3]}
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token=CONTROL[0], **named)


@pytest.fixture(scope="module")
def llama(theirs):
    """A random Llama of two layers, 64 wide: rows fill whole blocks of 32."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(theirs),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        initializer_range=0.2,
        tie_word_embeddings=True,
        **{f"{name}_token_id": getattr(theirs, f"{name}_token_id") for name in ("bos", "eos")},
    )
    return LlamaForCausalLM(config)


def paired(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of q and k as llama.cpp wants them: a rotated pair side by side, not half a head apart.

    Shape: (heads * size, in), in and out.
    """
    size = len(weight) // heads
    return weight.view(heads, 2, size // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def tensors_of(model) -> dict[str, torch.Tensor]:
    weights = {
        "token_embd.weight": model.model.embed_tokens.weight,
        "output_norm.weight": model.model.norm.weight,
    }
    for number, layer in enumerate(model.model.layers):
        for ours, theirs in LAYER.items():
            weights[f"blk.{number}.{theirs}.weight"] = layer.get_submodule(ours).weight
    for name, weight in weights.items():
        if "attn_q" in name or "attn_k" in name:
            weights[name] = paired(weight, 4 if "attn_q" in name else 2)
    return {name: weight.detach() for name, weight in weights.items()}


def as_stored(weight: torch.Tensor, kind: str) -> tuple[np.ndarray, KINDS]:
    """A tensor in a kind; vectors stay float32, as llama.cpp keeps them."""
    number = KINDS[kind if weight.dim() > 1 else "F32"]
    return gguf.quantize(weight.numpy(), number), number


def seen_through(weight: torch.Tensor, kind: str) -> torch.Tensor:
    """What is left of a tensor once it was stored in a kind."""
    return torch.from_numpy(gguf.dequantize(*as_stored(weight, kind)).copy())


@pytest.fixture
def write(theirs, llama, tmp_path):
    """Write a GGUF of a kind: with other metadata, without some, tensors added or left out."""

    def make(
        name: str = "tiny.gguf",
        kind: str = "F32",
        model=llama,
        architecture: str = "llama",
        without: tuple[str, ...] = (),
        tensors: dict[str, np.ndarray | None] | None = None,
        raw: KINDS | None = None,
        **said: object,
    ) -> Path:
        path = tmp_path / name
        writer = gguf.GGUFWriter(path, architecture)
        writer.add_name("Tiny")
        writer.add_organization("A maker")
        writer.add_license("apache-2.0")
        writer.add_context_length(256)
        writer.add_embedding_length(64)
        writer.add_block_count(2)
        writer.add_feed_forward_length(96)
        writer.add_head_count(4)
        writer.add_head_count_kv(2)
        writer.add_layer_norm_rms_eps(1e-6)
        writer.add_rope_dimension_count(16)
        writer.add_rope_freq_base(model.config.rope_parameters["rope_theta"])
        vocabulary = json.loads(theirs.backend_tokenizer.to_str())["model"]
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("smollm")
        writer.add_token_list(theirs.convert_ids_to_tokens(range(len(theirs))))
        kinds = {**dict.fromkeys(CONTROL, 3), THINK: 4}
        writer.add_token_types([kinds.get(t, 1) for t in writer_tokens(writer)])
        writer.add_token_merges([" ".join(pair) for pair in vocabulary["merges"]])
        writer.add_bos_token_id(theirs.bos_token_id)
        writer.add_eos_token_id(theirs.eos_token_id)
        writer.add_pad_token_id(theirs.pad_token_id)
        writer.add_unk_token_id(theirs.unk_token_id)
        writer.add_add_bos_token(False)
        writer.add_chat_template(TEMPLATE)
        for key, value in said.items():
            key = key.replace("__", ".")
            writer.kv_data[0].pop(key, None)
            {str: writer.add_string, int: writer.add_uint32, bool: writer.add_bool}[type(value)](
                key, value
            )
        for key in without:
            del writer.kv_data[0][key]
        stored = {key: as_stored(weight, kind) for key, weight in tensors_of(model).items()}
        for key, data in (tensors or {}).items():
            stored.pop(key, None)
            if data is not None:
                stored[key] = data, raw or KINDS.F32
        for key, (data, number) in stored.items():
            writer.add_tensor(key, data, raw_dtype=number)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return make


def writer_tokens(writer) -> list[str]:
    return writer.kv_data[0]["tokenizer.ggml.tokens"].value


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "models" / "tiny"


@pytest.fixture
def convert(run_stage, out):
    """Convert as the command does."""

    def run(path: Path, *more: str | Path, out: Path = out):
        return run_stage(COMMANDS, "convert", path, "--output_dir", out, *more)

    return run


@pytest.fixture
def refuse(convert, out):
    """Convert what must be refused with exit 3, in one line, and leave nothing."""

    def check(path: Path, *more: str | Path, says: tuple[str, ...]) -> None:
        ended = convert(path, *more)
        assert ended.code == 3, f"{ended.out}\n{ended.err}"
        assert "Traceback" not in ended.err
        for word in says:
            assert word in ended.err, ended.err
        assert not out.exists()

    return check


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(torch.tensor([[5, 60, 7, 100, 9, 200, 11, 260]])).logits


# --- what it becomes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("F32", torch.float32),
        ("F16", torch.float16),
        ("BF16", torch.bfloat16),
        ("Q8_0", torch.bfloat16),
        ("Q4_1", torch.bfloat16),
    ],
)
def test_the_model_says_what_the_unpacked_weights_say(write, convert, llama, out, kind, dtype):
    ended = convert(write(kind=kind))
    assert ended.code == 0, ended.err
    expected = LlamaForCausalLM(llama.config)
    expected.load_state_dict(
        {
            name: seen_through(weight, kind).to(dtype).float()
            for name, weight in llama.state_dict().items()
        }
    )
    found = load_file(out / "model.safetensors")
    assert {weight.dtype for weight in found.values()} == {dtype}
    for name, weight in found.items():
        assert torch.equal(weight.float(), expected.state_dict()[name]), name
    assert torch.equal(logits(load_causal_lm(str(out))), logits(expected))
    figures = json.loads((out / "metrics.json").read_text())
    # Two layers of seven matrices, and the embeddings; two norms a layer, and the last one.
    assert figures["tensors"] == ({"F32": 20} if kind == "F32" else {kind: 15, "F32": 5})
    assert f"{20 if kind == 'F32' else 15} {kind}" in ended.out
    if kind.startswith("Q"):  # eight bits of bfloat16 are off by 2^-9 at most, by some half of it
        assert 5e-4 < figures["rounded"] < 2**-9
        assert "had rounded the weights already" in ended.out
    else:
        assert figures["rounded"] == 0
        assert "every weight is exactly what the file holds" in ended.out


def test_a_half_file_whose_norms_are_finer_is_not_rounded(write, convert, out):
    finer = np.full(64, 1 + 2**-20, dtype=np.float32)
    path = write(kind="F16", tensors={"output_norm.weight": finer})
    assert convert(path).code == 0
    found = load_file(out / "model.safetensors")
    assert found["model.norm.weight"].dtype == torch.float32
    assert torch.equal(found["model.norm.weight"], torch.from_numpy(finer))


def test_exactly_these_files_come_of_it_with_licence_origin_and_end(write, convert, out, theirs):
    path = write(tokenizer__ggml__eot_token_id=theirs.convert_tokens_to_ids("<|endoftext|>"))
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    ended = convert(path)
    assert ended.code == 0, ended.err
    assert f"next: python -m inhouse.models inspect {out}" in ended.out
    assert files(out) == WRITTEN
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    manifest = json.loads((out / "manifest.json").read_text())
    assert {entry["path"] for entry in manifest["outputs"]} == WRITTEN - {"manifest.json"}
    assert [(i["name"], i["sha256"]) for i in manifest["inputs"]] == [("gguf", before)]
    assert "local" not in (out / "tokenizer_config.json").read_text()  # the same on any machine
    card = (out / "README.md").read_text()
    for part in ("| Licence | apache-2.0 |", "A maker", f"tiny.gguf, sha256 `{before}`"):
        assert part in card
    ends = json.loads((out / "generation_config.json").read_text())
    assert ends["eos_token_id"] == [theirs.eos_token_id, theirs.unk_token_id]
    assert ends["pad_token_id"] == theirs.pad_token_id
    assert ends["bos_token_id"] == theirs.bos_token_id


def test_inspect_names_the_licence_and_the_template(write, convert, run_stage, out):
    path = write()
    for said in ([], ["--json"]):
        ended = run_stage(COMMANDS, "inspect", path, *said)
        assert ended.code == 3 and f"python -m inhouse.models convert {path}" in ended.err
    ended = run_stage(COMMANDS, "inspect", path.parent)
    assert ended.code == 3 and f"python -m inhouse.models convert {path}" in ended.err
    assert convert(path).code == 0
    facts = json.loads(run_stage(COMMANDS, "inspect", out, "--json").out)
    assert facts["licence"] == "apache-2.0" and facts["licence_from"] == "README.md"
    assert facts["chat_template"] and facts["context"] == 256
    assert (facts["end_token"], facts["pad_token"]) == ("<|im_end|>", "<|pad|>")


def test_a_licence_of_its_own_is_named_with_its_text_and_none_is_unknown(
    write, convert, run_stage, tmp_path
):
    own = {"name": "tiny-community", "link": "https://example.org/licence"}
    named = {f"general__license__{key}": value for key, value in own.items()}
    for name, path, licence in (
        ("own", write("own.gguf", general__license="other", **named), "tiny-community"),
        ("none", write("none.gguf", without=("general.license",)), "unknown"),
    ):
        assert convert(path, out=tmp_path / name).code == 0
        facts = json.loads(run_stage(COMMANDS, "inspect", tmp_path / name, "--json").out)
        assert facts["licence"] == licence
        if name == "own":
            assert facts["restrictions"] == f"read {own['link']}"


def test_the_same_again_is_up_to_date_and_another_file_is_not(write, convert, out):
    assert convert(write()).code == 0
    again = convert(write())
    assert again.code == 0 and "up to date" in again.out
    other = write(kind="Q8_0")
    refused = convert(other)
    assert refused.code == 3 and "has other content now" in refused.err
    assert convert(other, "--overwrite").code == 0
    assert json.loads((out / "metrics.json").read_text())["tensors"]["Q8_0"] == 15


def test_llama_3s_positions_are_scaled_as_its_config_says(write, convert, llama, out):
    # Llama 3.1: wavelengths up to 8192 / 4 stay, those from 8192 on are divided by the factor, and
    # between the two it is blended (llama.cpp's convert_hf_to_gguf.py has the same three lines).
    factors = []
    for power in range(0, 16, 2):
        wavelength = 2 * np.pi * 500000.0 ** (power / 16)
        share = np.clip((8192 / wavelength - 1) / (4 - 1), 0, 1)
        factors.append(1 / ((1 - share) / 8 + share))
    config = LlamaConfig(**llama.config.to_dict())
    config.rope_parameters = {"rope_type": "default", "rope_theta": 500000.0}
    far = LlamaForCausalLM(config)
    far.load_state_dict(llama.state_dict())
    factors = np.array(factors, dtype=np.float32)
    assert convert(write(model=far, tensors={"rope_freqs.weight": factors})).code == 0
    said = json.loads((out / "config.json").read_text())["rope_parameters"]
    assert said == {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    rotary = load_causal_lm(str(out)).model.rotary_emb.inv_freq
    torch.testing.assert_close(rotary, far.model.rotary_emb.inv_freq / torch.from_numpy(factors))


# --- its tokenizer ------------------------------------------------------------------------------


def test_texts_are_read_in_the_tokens_that_the_maker_reads_them_in(write, convert, out, theirs):
    assert convert(write()).code == 0
    ours = AutoTokenizer.from_pretrained(out)
    for text in TEXTS:
        assert ours(text).input_ids == theirs(text).input_ids, text
        assert ours.decode(ours(text).input_ids) == text
    # transformers' own reader alone splits by GPT-2's rule: two line ends before a digit part.
    assert ours.tokenize("\n\n1") == ["ĊĊ", "1"]
    assert len(ours) == len(theirs) and ours.model_max_length == 256
    added = ours.added_tokens_decoder
    assert [t.content for t in added.values() if t.special] == CONTROL
    assert [t.content for t in added.values() if not t.special] == [THINK]
    assert ours.chat_template == TEMPLATE
    messages = [{"role": "user", "content": TEXTS[0]}]
    found = ours.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    text = f"<|im_start|>user\n{TEXTS[0]}<|im_end|>\n<|im_start|>assistant\n"
    assert found == theirs(text).input_ids


def test_llama_3s_pieces_that_are_tokens_are_not_merged_first(write, convert, out):
    assert convert(write(tokenizer__ggml__pre="llama-bpe")).code == 0
    backend = json.loads((out / "tokenizer.json").read_text())
    assert backend["model"]["ignore_merges"] is True
    assert Regex(backend["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"])


def test_a_template_can_be_given_and_takes_the_place_of_the_files_own(
    write, convert, refuse, out, tmp_path
):
    bare = write(without=("tokenizer.chat_template",))
    refuse(bare, says=("no chat template", "--chat_template FILE"))
    given = tmp_path / "given.jinja"
    given.write_text(TEMPLATE.replace("user", "asker"))
    assert convert(bare, "--chat_template", given).code == 0
    assert (out / "chat_template.jinja").read_text() == given.read_text()
    inputs = json.loads((out / "manifest.json").read_text())["inputs"]
    assert [entry["name"] for entry in inputs] == ["gguf", "chat_template"]
    given.write_text(TEMPLATE)
    assert convert(bare, "--chat_template", given, "--overwrite").code == 0
    assert (out / "chat_template.jinja").read_text() == TEMPLATE


def test_a_template_that_cannot_be_rendered_is_refused(write, refuse, tmp_path):
    given = tmp_path / "given.jinja"
    given.write_text("{% for m in messages %}")
    refuse(write(), "--chat_template", given, says=(str(given), "chat template"))
    refuse(write(), "--chat_template", tmp_path / "nowhere", says=("nowhere", "does not exist"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"without": ("tokenizer.ggml.tokens",)}, "holds no tokenizer"),
        ({"without": ("tokenizer.ggml.model",)}, "holds no tokenizer"),
        ({"without": ("tokenizer.ggml.eos_token_id",)}, "names no end token"),
        ({"tokenizer__ggml__pre": "superbpe"}, "'superbpe', which transformers does not know"),
        ({"without": ("tokenizer.ggml.pre",)}, "(tokenizer.ggml.pre) is 'nothing'"),
        ({"tokenizer__ggml__model": "rwkv"}, "cannot read the tokenizer"),
        ({"without": ("tokenizer.ggml.merges",)}, "cannot read the tokenizer"),
    ],
    ids=str,
)
def test_a_tokenizer_that_would_be_another_is_refused(write, refuse, changes, says):
    refuse(write(**changes), says=(says, "tiny.gguf"))


def test_a_token_that_is_cut_into_pieces_is_refused(write, refuse, monkeypatch):
    # As transformers does with a token that is not spelt in the byte alphabet.
    monkeypatch.setattr(
        "transformers.integrations.gguf.gguf_tokenizer_mapping.add_gguf_special_tokens",
        lambda tokenizer, said: tokenizer,
    )
    refuse(write(), says=("otherwise than it is", "'<think>' is [", "it is 4"))


# --- what is refused ----------------------------------------------------------------------------


def test_what_is_not_there_or_no_gguf_is_refused(refuse, tmp_path):
    other = tmp_path / "model.gguf"
    other.write_bytes(b"PK\x03\x04 a wheel")
    refuse(other, says=("is no GGUF", "b'PK"))
    other.write_bytes(b"")
    refuse(other, says=("is no GGUF",))
    refuse(tmp_path / "nowhere.gguf", says=("no file", "nowhere.gguf"))
    refuse(tmp_path, says=("is a folder: name the .gguf file",))


@pytest.mark.parametrize("kept", [0.999, 0.6, 0.05, 0.001], ids=str)
def test_a_file_that_was_cut_off_is_refused_wherever_it_ends(write, refuse, kept):
    path = write(kind="Q8_0")
    whole = path.read_bytes()
    path.write_bytes(whole[: max(6, int(len(whole) * kept))])
    refuse(path, says=("cut off or damaged", "--expected_sha256"))


def test_an_architecture_that_transformers_does_not_read_is_refused(write, refuse):
    refuse(write(architecture="plamo3"), says=("architecture plamo3 is not supported",))


def test_a_quantisation_that_cannot_be_unpacked_is_refused(write, refuse):
    name = "blk.0.ffn_up.weight"  # Shape: (96, 64), two blocks of 40 bytes a row in Q8_1
    data = np.zeros((96, 80), dtype=np.uint8)
    path = write(tensors={name: data}, raw=KINDS.Q8_1)
    refuse(path, says=("Q8_1", "cannot turn into numbers"))
    # One that no version of ggml had: its number stands behind the name and the two dimensions.
    content = bytearray(path.read_bytes())
    at = content.index(name.encode()) + len(name) + 4 + 2 * 8
    content[at] = 99
    path.write_bytes(content)
    refuse(path, says=("ggml's kind 99", "does not know"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"split__count": 3}, "one of 3 parts"),
        ({"general__type": "adapter"}, "no whole model"),
        ({"llama__rope__scaling__type": "yarn"}, "scales positions (yarn)"),
        ({"tensors": {"blk.1.ffn_up.weight": None}}, "finds no model.layers.1.mlp.up_proj.weight"),
        (
            {"tensors": {"blk.0.attn_q.bias": np.ones(64, np.float32)}},
            "holds 79,744 numbers, transformers takes 79,680",
        ),
        ({"tensors": {"rope_freqs.weight": np.ones(8, np.float32) * 2}}, "otherwise than Llama 3"),
        ({"tensors": {"output_norm.weight": np.full(64, np.nan, np.float32)}}, "are no numbers"),
        ({"tensors": {"output_norm.weight": np.ones(32, np.float32)}}, "cannot read"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_model_that_would_not_be_what_the_file_holds_is_refused(write, refuse, changes, says):
    refuse(write(**changes), says=(says,))


def test_another_file_than_the_one_that_was_meant_is_refused(write, convert, refuse):
    path = write()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    refuse(path, "--expected_sha256", "0" * 64, says=(digest, "expected 000"))
    assert convert(path, "--expected_sha256", digest.upper()).code == 0


def test_a_disk_without_room_is_refused_before_anything_is_written(write, refuse, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 1000))
    refuse(write(), says=("needs 67,", "1,000 are free", "bytes"))


def test_a_disk_that_fills_meanwhile_leaves_nothing(write, refuse, monkeypatch):
    def full(model, spoken, folder):
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(converting, "save_model", full)
    refuse(write(), says=("cannot write", "No space left on device"))


def test_an_output_that_is_in_use_or_a_file_is_left_alone(write, convert, out, tmp_path):
    path = write()
    out.mkdir(parents=True)
    (out / "mine.txt").write_text("mine")
    for more in ((), ("--overwrite",)):
        ended = convert(path, *more)
        assert ended.code == 3 and "name another place" in ended.err
    assert files(out) == {"mine.txt"}
    ended = convert(path, out=path.parent)  # where the GGUF itself lies
    assert ended.code == 3 and "in use" in ended.err
    ended = convert(path, out=out / "mine.txt" / "below")
    assert ended.code == 3 and "mine.txt is a file" in ended.err
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged" / "manifest.json").write_text('{"stage": "merge"}')
    ended = convert(path, "--overwrite", out=tmp_path / "merged")
    assert ended.code == 3 and "was not written by convert" in ended.err


@pytest.mark.parametrize("step", ["save_model", "publish"])
def test_a_conversion_that_is_stopped_looks_unfinished_and_goes_on(
    write, convert, out, monkeypatch, step
):
    path, held = write(), []

    def stop(*_, **__):
        raise KeyboardInterrupt

    def open_run(*words, **settings):
        held.append(runs.open_run(*words, **settings))
        return held[-1]

    with monkeypatch.context() as patch:
        patch.setattr(converting, step, stop)
        patch.setattr(converting, "open_run", open_run)
        assert convert(path).code == 130
    os.close(held[0].lock)  # as the end of its process does
    assert "config.json" not in files(out)
    with pytest.raises(ValueError, match="holds no model"):
        check_folder(str(out))
    ended = convert(path)
    assert ended.code == 0, ended.err
    assert "going on" in ended.out and files(out) == WRITTEN


def test_without_the_package_a_line_says_how_to_get_it(write, refuse, monkeypatch):
    path = write()
    monkeypatch.setattr(reading.importlib.util, "find_spec", lambda _: None)
    refuse(path, says=("pip install -e '.[gguf]'",))
