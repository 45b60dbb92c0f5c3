"""The records that cross stages: their kinds, and how they are read and written."""

from inhouse.records.files import (
    Journal,
    content_id,
    positions,
    read,
    read_placed,
    to_line,
    write,
)
from inhouse.records.kinds import (
    CandidatePair,
    Demonstration,
    Finding,
    MarkedSpan,
    Output,
    Preference,
    Prompt,
    Rating,
    Verdict,
)
from inhouse.records.turns import Message, Record, check_reply, is_blank, plain

__all__ = [
    "CandidatePair",
    "Demonstration",
    "Finding",
    "Journal",
    "MarkedSpan",
    "Message",
    "Output",
    "Preference",
    "Prompt",
    "Rating",
    "Record",
    "Verdict",
    "check_reply",
    "content_id",
    "is_blank",
    "plain",
    "positions",
    "read",
    "read_placed",
    "to_line",
    "write",
]
