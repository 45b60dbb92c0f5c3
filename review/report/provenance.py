"""Where a report comes from: who ran what, who rated and who read, and the hash of every part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inhouse.files import sha256
from inhouse.run import MANIFEST
from review.report.campaign import Campaign

# Of what a stage made: what a reviewer can compare by its hash, by the end of its name.
WORTH = ("safetensors", "chat_template.jinja", "tokenizer.json", "jsonl", "summary.json")


@dataclass(frozen=True)
class StageRun:
    """One stage's run: who, when, by which code, and its manifest's hash."""

    name: str
    operator: str
    at: str
    commit: str
    digest: str


@dataclass(frozen=True)
class Part:
    """A file or a folder by its hash."""

    of: str
    path: str
    digest: str


@dataclass(frozen=True)
class Provenance:
    """``raters``: with how many of the pairs that each voted with the majority, R."""

    stages: list[StageRun]
    inputs: list[Part]
    outputs: list[Part]
    raters: dict[str, Any]
    drawn_from: list[Part]


def provenance(campaign: Campaign) -> Provenance:
    """Of the campaign and of the review itself."""
    at = campaign.folder
    manifests = sorted(campaign.manifests.items(), key=lambda item: item[1].get("created_at", ""))
    agreement = campaign.agreement or {}
    later = [at / "review/gate.json", at / "memorisation/summary.json"]
    later += [campaign.verdicts.folder / "verdicts.jsonl"] if campaign.verdicts else []
    return Provenance(
        stages=[_stage(at / name / MANIFEST, name, each) for name, each in manifests],
        inputs=[
            Part(entry["name"], entry["path"], entry["sha256"])
            for entry in campaign.manifest.get("inputs", [])
        ],
        outputs=[
            Part(name, entry["path"], entry["sha256"])
            for name, each in manifests
            for entry in each.get("outputs", [])
            if entry["path"].endswith(WORTH)
        ],
        raters=agreement.get("with_majority", {}),
        drawn_from=[
            Part("read for this page", str(path.relative_to(at)), sha256(path))
            for path in later
            if path.is_file()
        ],
    )


def _stage(path: Path, name: str, manifest: dict[str, Any]) -> StageRun:
    code = manifest.get("code") or {}
    commit = (code.get("commit") or "unknown")[:12] + (" and changes" if code.get("dirty") else "")
    return StageRun(
        name, manifest.get("operator", ""), manifest.get("created_at", ""), commit, sha256(path)
    )
