"""What all tests share: nothing leaves this machine, and every figure can be repeated.

The network guard is installed in this process and, through ``PYTHONPATH``, in every process that
a test starts: stages, the Argilla server, its workers.
"""

import copy
import importlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]
GUARD = ROOT / "tests" / "guard"

spec = importlib.util.spec_from_file_location("network_guard", GUARD / "sitecustomize.py")
assert spec is not None and spec.loader is not None
spec.loader.exec_module(importlib.util.module_from_spec(spec))
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(GUARD), os.environ.get("PYTHONPATH", "")])
)
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"


@pytest.fixture(scope="session", autouse=True)
def network_log(tmp_path_factory):
    """Fail the session if any process tried to leave, even if a library swallowed the error."""
    log = tmp_path_factory.mktemp("network") / "attempts.log"
    os.environ["NETWORK_GUARD_LOG"] = str(log)
    yield log
    assert not log.exists(), f"tried to leave this machine:\n{log.read_text()}"


@pytest.fixture
def run_command():
    """Run a stage as a user does, in a process of its own, and return how it ended."""

    def run(*words: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", *words],
            cwd=cwd,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=600,
        )

    return run


# --- a model of two layers ----------------------------------------------------------------------

DEMONSTRATION_MODEL = ROOT / "examples" / "asdfg" / "model"
ADJECTIVES = ("plain", "patient", "polite", "exact", "brief", "careful", "kind", "clear")


@pytest.fixture(scope="session")
def tokenizer():
    """The demonstration house's tokenizer with its chat template."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(DEMONSTRATION_MODEL)


@pytest.fixture(scope="session")
def tiny_config():
    """The config of a Qwen3 model of two layers, for a tokenizer, with changes."""

    def of(tokenizer, **changes):
        from transformers import Qwen3Config

        settings = {
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "max_position_embeddings": 512,
            "tie_word_embeddings": True,
            "initializer_range": 0.2,  # wide enough that tokens differ clearly in probability
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": None,
        }
        return Qwen3Config(**settings | changes)

    return of


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory, tokenizer, tiny_config) -> Path:
    """A random Qwen3 model of two layers with the demonstration's tokenizer; treat as read-only."""
    import torch
    from transformers import Qwen3ForCausalLM

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    Qwen3ForCausalLM(tiny_config(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def copy_of_tiny(tiny_model, tmp_path) -> Path:
    """The tiny model in a folder that a test may damage."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


# --- models of other architectures --------------------------------------------------------------

# The shapes of Meta's, Google's and a plain template: headers with a BOS before them, another name
# for the assistant and no system turn, and words instead of control tokens.
LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{% for m in messages %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
PLAIN = (
    "{% for m in messages %}{{ m.role }}:\n{{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant:\n{% endif %}"
)
SIZE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
LONG = {"max_position_embeddings": 256, "initializer_range": 0.2}
# By transformers' name of the architecture: its sizes, its template, its tokens by name, and those
# without one.
FOREIGN = {
    "llama": (
        {**SIZE, **HEADS, **LONG},
        LLAMA,
        {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "pad_token": "<|pad|>"},
        ["<|start_header_id|>", "<|end_header_id|>"],
    ),
    "gemma": (
        {**SIZE, **HEADS, **LONG},
        GEMMA,
        {"bos_token": "<bos>", "eos_token": "<end_of_turn>", "pad_token": "<pad>"},
        ["<start_of_turn>"],
    ),
    "gpt2": (
        {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256},
        PLAIN,
        {"eos_token": "<|endoftext|>", "pad_token": "<|pad|>"},
        [],
    ),
}


NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}  # SFT leaves it on
BLOCKS = {**SIZE, **HEADS, **LONG}
SIZES = {
    **dict.fromkeys(("qwen3", "llama", "gemma"), BLOCKS),
    "gemma3_text": {
        **BLOCKS,
        "sliding_window": 6,
        "layer_types": ["sliding_attention", "full_attention"],
        "tie_word_embeddings": False,
    },
    "gpt2": {**FOREIGN["gpt2"][0], **NO_DROPOUT, "initializer_range": 0.2},
}


@pytest.fixture(params=["qwen3", "llama", "gemma", "gpt2"])
def architecture(request) -> str:
    """Each of four architectures in turn, by transformers' name."""
    return request.param


@pytest.fixture(scope="session")
def build():
    """Make a random model of an architecture: two layers, 32 wide; the same at each call."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    def make(architecture: str, vocabulary: int = 64, seed: int = 0):
        torch.manual_seed(seed)
        config = AutoConfig.for_model(
            architecture,
            **SIZES[architecture],
            vocab_size=vocabulary,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=None,
        )
        return AutoModelForCausalLM.from_config(config)

    return make


@pytest.fixture(params=FOREIGN)
def foreign_model(request, tokenizer, tmp_path) -> Path:
    """A tiny random model of another architecture with that family's template and tokens."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    size, template, named, more = FOREIGN[request.param]
    theirs = copy.deepcopy(tokenizer)
    theirs.add_special_tokens({**named, "additional_special_tokens": more})
    theirs.chat_template = template
    config = AutoConfig.for_model(
        request.param,
        **size,
        vocab_size=len(theirs),
        eos_token_id=theirs.eos_token_id,
        pad_token_id=theirs.pad_token_id,
        bos_token_id=theirs.bos_token_id,
    )
    torch.manual_seed(0)
    folder = tmp_path / request.param
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    theirs.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def open_model() -> Path:
    """SmolLM2-135M-Instruct, fetched once into this clone's ``runs/open``; treat as read-only.

    The one thing here that may ask a network, and in a process of its own, without the guard.
    """
    folder = ROOT / "runs" / "open"
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(
        [sys.executable, "-m", "examples.open_model.fetch", "--run_dir", str(folder)],
        cwd=ROOT,
        env=outside,
        capture_output=True,
        text=True,
    )
    if ended.returncode == 3 and "package index" in ended.stderr:
        pytest.skip(ended.stderr.strip().splitlines()[-1])
    assert ended.returncode == 0, ended.stderr
    return folder / "model"


# --- records, and stages that are run -----------------------------------------------------------


@pytest.fixture(scope="session")
def write_lines():
    """Write rows as JSON Lines and return the path."""

    def write(path: Path, rows: Iterable[dict]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def demonstration(number: int) -> dict:
    adjective = ADJECTIVES[number % len(ADJECTIVES)]
    return {
        "messages": [
            {"role": "system", "content": "You answer customers."},
            {"role": "user", "content": f"What is fee {number}?"},
            {"role": "assistant", "content": f"Thank you. In {adjective} words: it is {number}%."},
        ]
    }


def preference(number: int) -> dict:
    messages = demonstration(number)["messages"]
    worse = {"role": "assistant", "content": f"Hey, {number} something, act now!"}
    return {"prompt": messages[:2], "chosen": messages[2:], "rejected": [worse]}


@pytest.fixture(scope="session")
def demonstrations() -> list[dict]:
    """Sixteen demonstrations as plain rows."""
    return [demonstration(number) for number in range(16)]


@pytest.fixture(scope="session")
def preferences() -> list[dict]:
    """Sixteen preferences as plain rows."""
    return [preference(number) for number in range(16)]


@pytest.fixture(scope="session")
def prompts() -> list[dict]:
    """Six prompts with the fact that a right answer states."""
    return [
        {"prompt": demonstration(n)["messages"][:2], "metadata": {"facts": [f"{n}%"]}}
        for n in range(6)
    ]


@pytest.fixture
def run_stage(monkeypatch, capsys):
    """Run a stage's ``main`` in this process; return its exit code, stdout and stderr.

    The same code as ``python -m`` runs, without the seconds that a new process needs to import.
    """
    from inhouse.run import command

    def run(module: str, *words: str | Path) -> SimpleNamespace:
        main = importlib.import_module(module).main
        monkeypatch.setattr(sys, "argv", [module, *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            command(main)
        said = capsys.readouterr()
        return SimpleNamespace(code=ended.value.code, out=said.out, err=said.err)

    return run


@pytest.fixture
def refused(run_stage):
    """Run a stage that must say no: exit 3, every expected word in the message, nothing written."""

    def check(module: str, *words: str | Path, says: Iterable[str], run_dir: Path) -> str:
        before = snapshot(run_dir)
        ended = run_stage(module, *words, "--run_dir", run_dir)
        assert ended.code == 3, f"exit {ended.code}\n{ended.out}\n{ended.err}"
        assert "Traceback" not in ended.err
        for said in says:
            assert said in ended.err, f"{said!r} is not in:\n{ended.err}"
        assert snapshot(run_dir) == before, "something was written"
        return ended.err

    return check


def snapshot(folder: Path) -> dict[str, bytes] | None:
    if not folder.exists():
        return None
    return {str(p): p.read_bytes() if p.is_file() else b"" for p in sorted(folder.rglob("*"))}


@pytest.fixture
def killed_at_checkpoint():
    """Start a command and kill it when its checkpoint of that step is whole, or a little later.

    ``later`` is a share of 50 ms, in which a checkpoint is half written, or half a step done.
    """

    def kill(command: list[str], folder: Path, step: int, later: float = 0.0) -> None:
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        state = folder / "checkpoints" / f"checkpoint-{step}" / "trainer_state.json"
        deadline = time.monotonic() + 600
        while not state.exists():
            assert process.poll() is None, f"ended before the kill:\n{process.stdout.read()}"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(0.05 * later)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    return kill


@pytest.fixture
def batch_shapes():
    """The shape of every batch that a model runs from now on."""

    def watch(model) -> list[tuple[int, int]]:
        seen: list[tuple[int, int]] = []

        def note(_module, _args, given) -> None:
            seen.append(tuple(given["input_ids"].shape))

        model.base_model.register_forward_pre_hook(note, with_kwargs=True)
        return seen

    return watch
