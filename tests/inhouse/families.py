"""Chat templates and special tokens in the shapes that the common families of models ship.

The templates are written here from the families' documented formats, in our own words and as short
as they can be while they do what the family's does: where the beginning stands, what ends a turn,
what becomes of a system turn, of thoughts, of the date. The tokenizers under them are small: one of
bytes, as most families have, and one whose pieces begin with a space, as Llama 2's and Mistral's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

CHATML = (
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DEFAULT_SYSTEM = (
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
)
GEMMA_TURNS = (
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{% if loop.first and ns.told %}{{ ns.told }}{% endif %}{{ m.content | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
DEEPSEEK_TURNS = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}"
    "{% elif m.role == 'user' %}<｜User｜>{{ m.content }}"
    "{% else %}<｜Assistant｜>{{ m.content.split('</think>')[-1] }}"
    "<｜end▁of▁sentence｜>{% endif %}{% endfor %}"
)


@dataclass(frozen=True)
class Family:
    """What a family's chat models ship, and what the suite makes of it.

    ``ends``: how a reply ends, as text; ``also``: what the generation config stops at besides.
    ``padding``: what training pads with. ``opens``: what the prompt has begun of the reply, and
    ``thought``: what a reply begins with. ``rows``: of a demonstration of two questions.
    ``says``: words of the notes. ``refuses``: words about a system turn, if it is refused.
    """

    template: str
    control: tuple[str, ...]
    eos: str
    ends: str
    bos: str | None = None
    pad: str | None = None
    unk: str | None = None
    also: tuple[str, ...] = ()
    padding: str | None = None
    opens: str = ""
    thought: str = ""
    rows: int = 1
    says: tuple[str, ...] = ()
    refuses: str = ""
    spaces: bool = False
    plain: tuple[str, ...] = field(default=())  # added tokens that are not special

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """A small tokenizer with the family's special tokens and template."""
        made = PreTrainedTokenizerFast(tokenizer_object=pieces() if self.spaces else letters())
        made.add_tokens(list(self.plain))
        made.add_special_tokens({"additional_special_tokens": list(self.control)})
        for name in ("eos", "bos", "pad", "unk"):
            if getattr(self, name):
                setattr(made, f"{name}_token", getattr(self, name))
        made.chat_template = self.template
        return made


def letters() -> Tokenizer:
    """Every byte a token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: at for at, letter in enumerate(alphabet)}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    return made


def pieces() -> Tokenizer:
    """Every character a token, and a space before each stretch of text."""
    known = [*(f"<0x{byte:02X}>" for byte in range(256)), "▁", *map(chr, range(33, 127))]
    made = Tokenizer(
        models.BPE({piece: at for at, piece in enumerate(known)}, [], byte_fallback=True)
    )
    made.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return made


FAMILIES = {
    "SmolLM2": Family(
        DEFAULT_SYSTEM + CHATML,
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>"),
        eos="<|im_end|>",
        bos="<|im_start|>",
        pad="<|im_end|>",
        unk="<|endoftext|>",
        ends="<|im_end|>",
        padding="<repo_name>",
    ),
    "Llama 3": Family(
        "{{ bos_token }}{% if messages[0].role != 'system' %}"
        "<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
        "<|eot_id|>{% endif %}{% for m in messages %}"
        "<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>"
        "{% endfor %}{% if add_generation_prompt %}"
        "<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
        (
            *("<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>"),
            *(
                "<|finetune_right_pad_id|>",
                "<|start_header_id|>",
                "<|end_header_id|>",
                "<|eot_id|>",
            ),
        ),
        eos="<|end_of_text|>",
        bos="<|begin_of_text|>",
        ends="<|eot_id|>",
        also=("<|end_of_text|>", "<|eot_id|>"),
        padding="<|finetune_right_pad_id|>",
    ),
    "Qwen 2.5": Family(
        DEFAULT_SYSTEM + CHATML,
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        eos="<|im_end|>",
        pad="<|endoftext|>",
        ends="<|im_end|>",
        also=("<|im_end|>", "<|endoftext|>"),
        padding="<|endoftext|>",
    ),
    "Qwen 3": Family(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n"
        "{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
        "{{ m.content.split('</think>')[-1].lstrip('\n') }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n"
        "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n"
        "{% endif %}{% endif %}",
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        eos="<|im_end|>",
        pad="<|endoftext|>",
        ends="<|im_end|>",
        also=("<|im_end|>", "<|endoftext|>"),
        padding="<|endoftext|>",
        thought="<think>\n\n</think>\n\n",
        rows=2,
        plain=("<think>", "</think>"),
    ),
    "Gemma 2": Family(
        "{{ bos_token }}{% if messages[0].role == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}"
        "{% set ns = namespace(told='') %}{% for m in messages %}" + GEMMA_TURNS,
        ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"),
        eos="<eos>",
        bos="<bos>",
        pad="<pad>",
        unk="<unk>",
        ends="<end_of_turn>",
        padding="<pad>",
        says=("replies end with <end_of_turn>, at which the base does not stop",),
        refuses="System role not supported",
    ),
    "Gemma 3": Family(
        "{{ bos_token }}{% set ns = namespace(told='') %}{% if messages[0].role == 'system' %}"
        "{% set ns.told = messages[0].content + '\n\n' %}{% set messages = messages[1:] %}"
        "{% endif %}{% for m in messages %}" + GEMMA_TURNS,
        ("<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"),
        eos="<eos>",
        bos="<bos>",
        pad="<pad>",
        unk="<unk>",
        ends="<end_of_turn>",
        also=("<eos>", "<end_of_turn>"),
        padding="<pad>",
    ),
    "Mistral v3": Family(
        "{{ bos_token }}{% set ns = namespace(told='') %}{% if messages[0].role == 'system' %}"
        "{% set ns.told = messages[0].content + '\n\n' %}{% set messages = messages[1:] %}"
        "{% endif %}{% for m in messages %}{% if m.role == 'user' %}"
        "[INST] {% if loop.last or loop.index0 + 1 == messages | length - 1 %}{{ ns.told }}"
        "{% endif %}{{ m.content }}[/INST]{% else %} {{ m.content }}{{ eos_token }}{% endif %}"
        "{% endfor %}",
        ("<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[control_8]"),
        eos="</s>",
        bos="<s>",
        unk="<unk>",
        ends="</s>",
        padding="[control_8]",
        spaces=True,
    ),
    "Phi 3": Family(
        "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}",
        (
            *("<unk>", "<s>", "<|endoftext|>", "<|assistant|>", "<|placeholder1|>"),
            *("<|end|>", "<|system|>", "<|user|>"),
        ),
        eos="<|endoftext|>",
        bos="<s>",
        pad="<|endoftext|>",
        unk="<unk>",
        ends="<|end|>",
        also=("<|endoftext|>", "<|assistant|>", "<|end|>"),
        padding="<|placeholder1|>",
        spaces=True,
    ),
    "Phi 4": Family(
        "{% for m in messages %}<|im_start|>{{ m.role }}<|im_sep|>{{ m.content }}<|im_end|>"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant<|im_sep|>{% endif %}",
        ("<|endoftext|>", "<|dummy_85|>", "<|im_start|>", "<|im_end|>", "<|im_sep|>"),
        eos="<|im_end|>",
        bos="<|endoftext|>",
        pad="<|dummy_85|>",
        ends="<|im_end|>",
        padding="<|dummy_85|>",
    ),
    "OLMo 2": Family(
        "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}"
        "{% if m.role == 'assistant' %}{{ eos_token }}{% endif %}"
        "{% if not (loop.last and m.role == 'assistant') %}\n{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
        ("<|endoftext|>", "<|pad|>"),
        eos="<|endoftext|>",
        bos="<|endoftext|>",
        pad="<|pad|>",
        ends="<|endoftext|>",
        padding="<|pad|>",
    ),
    "Granite": Family(
        "{% if messages[0].role != 'system' %}<|start_of_role|>system<|end_of_role|>"
        "Today's Date: {{ strftime_now('%B %d, %Y') }}.<|end_of_text|>\n{% endif %}"
        "{% for m in messages %}<|start_of_role|>{{ m.role }}<|end_of_role|>{{ m.content }}"
        "<|end_of_text|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}",
        ("<|end_of_text|>", "<fim_pad>", "<|start_of_role|>", "<|end_of_role|>"),
        eos="<|end_of_text|>",
        bos="<|end_of_text|>",
        pad="<|end_of_text|>",
        ends="<|end_of_text|>",
        padding="<fim_pad>",
        says=("writes the date of the day",),
    ),
    "DeepSeek V3": Family(
        DEEPSEEK_TURNS + "{% if add_generation_prompt %}<｜Assistant｜>{% endif %}",
        (
            *("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"),
            *("<｜User｜>", "<｜Assistant｜>"),
        ),
        eos="<｜end▁of▁sentence｜>",
        bos="<｜begin▁of▁sentence｜>",
        pad="<｜end▁of▁sentence｜>",
        ends="<｜end▁of▁sentence｜>",
        padding="<｜▁pad▁｜>",
    ),
    "DeepSeek R1": Family(
        DEEPSEEK_TURNS + "{% if add_generation_prompt %}<｜Assistant｜><think>\n{% endif %}",
        (
            *("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"),
            *("<｜User｜>", "<｜Assistant｜>"),
        ),
        eos="<｜end▁of▁sentence｜>",
        bos="<｜begin▁of▁sentence｜>",
        pad="<｜end▁of▁sentence｜>",
        ends="<｜end▁of▁sentence｜>",
        padding="<｜▁pad▁｜>",
        opens="<think>\n",
        thought="\n</think>\n\n",
        rows=2,
        says=("replies are trained behind an empty one",),
        plain=("<think>", "</think>"),
    ),
}
