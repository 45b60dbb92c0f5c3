"""What DPO and KTO have in common beside TRL's keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inhouse.config import setting

if TYPE_CHECKING:
    from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer

    # TRL's of whichever method runs.
    OfflineConfig = DPOConfig | KTOConfig
    OfflineTrainer = DPOTrainer | KTOTrainer


@dataclass
class OfflineOptions:
    """What is left out, what is measured along the way, and where the reference is kept."""

    house_rules: str | None = setting(
        None, "House rules: records whose wanted answer breaks a blocker are left out."
    )
    answer_prompts: int = setting(
        16, "Held-out prompts that are answered before and after; 0 for none."
    )
    ref_cache_dir: str | None = setting(
        None, "Reference log-probabilities of all runs; else RUN_DIR/cache."
    )

    def __post_init__(self) -> None:
        if self.answer_prompts < 0:
            raise ValueError(f"answer_prompts is {self.answer_prompts}: give 0 or more")
