"""Models that share weights: loaded once, and each is what it is alone."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from inhouse.errors import InputError
from inhouse.models.load import load_causal_lm, save_model
from inhouse.models.shared import SharedModels

IDS = torch.tensor([[5, 6, 7, 8, 9]])


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(IDS.to(model.device)).logits.cpu()


def adapter_on(base: Path, folder: Path, tokenizer, seed: int) -> Path:
    """A saved adapter that changes layers and two rows of the vocabulary."""
    torch.manual_seed(seed)
    lora = LoraConfig(
        r=4, target_modules="all-linear", trainable_token_indices=[6, 7], task_type="CAUSAL_LM"
    )
    model = get_peft_model(load_causal_lm(str(base)), lora)
    for name, parameter in model.named_parameters():
        if "lora_B" in name or "trainable_tokens_delta" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    save_model(model, tokenizer, folder)
    return folder


@pytest.fixture
def loads(monkeypatch) -> list[str]:
    """The folder of every model whose weights are read from now on."""
    seen: list[str] = []
    own = AutoModelForCausalLM.from_pretrained

    def read(folder, *args, **settings):
        seen.append(str(folder))
        return own(folder, *args, **settings)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", read)
    return seen


def test_a_base_and_its_adapters_are_loaded_once_and_are_what_they_are_alone(
    tiny_model, tokenizer, tmp_path, loads
):
    folders = {"base": tiny_model, "told": tiny_model}
    folders |= {n: adapter_on(tiny_model, tmp_path / n, tokenizer, s) for s, n in enumerate("ab")}
    alone = {name: logits(load_causal_lm(str(folder))) for name, folder in folders.items()}
    assert not torch.allclose(alone["a"], alone["b"])
    loads.clear()
    models = SharedModels(folders, keep="a")
    for name in ("base", "a", "told", "b", "base"):
        with models.use(name) as model:
            assert torch.equal(logits(model), alone[name]), name
    assert loads == [str(tiny_model)]


def test_a_model_that_is_used_inside_anothers_turn_leaves_it_as_it_was(
    tiny_model, tokenizer, tmp_path
):
    folders = {"base": tiny_model, "a": adapter_on(tiny_model, tmp_path / "a", tokenizer, 0)}
    models = SharedModels(folders, keep="a")
    for outer, inner in (("base", "a"), ("a", "base")):
        with models.use(outer) as model:
            before = logits(model)
            with models.use(inner) as other:
                assert not torch.allclose(logits(other), before)
            assert torch.equal(logits(model), before)


def test_weights_of_their_own_are_loaded_one_at_a_time_beside_those_that_are_kept(
    tiny_model, tokenizer, tmp_path, loads
):
    folders = {"base": tiny_model}
    for name in ("sft", "dpo"):
        save_model(load_causal_lm(str(tiny_model)), tokenizer, tmp_path / name)
        folders[name] = tmp_path / name
    loads.clear()
    models = SharedModels(folders, keep="sft")
    for name in ("base", "sft", "dpo"):
        with models.use(name), models.use("sft"), models.use(name):
            pass
    assert loads == [str(folders[name]) for name in ("base", "sft", "dpo")]
    assert set(models._loaded) == {str(folders["sft"]), str(folders["dpo"])}


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            lambda folder: (folder / "adapter_model.bin").write_bytes(b"\x80\x04."),
            "pickled weights",
        ),
        (lambda folder: (folder / "config.json").write_text('{"auto_map": {}}'), "auto_map"),
        (lambda folder: change_task(folder / "adapter_config.json"), "is a reward model"),
    ],
)
def test_an_adapter_is_refused_as_a_model_is(tiny_model, tokenizer, tmp_path, spoil, says):
    adapter = adapter_on(tiny_model, tmp_path / "a", tokenizer, 0)
    spoil(adapter)
    with pytest.raises(InputError, match=says):
        SharedModels({"base": tiny_model, "a": adapter}, keep="base")


def change_task(path: Path) -> None:
    path.write_text(path.read_text().replace("CAUSAL_LM", "SEQ_CLS"))
