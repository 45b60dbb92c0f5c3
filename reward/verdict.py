"""Moved to :mod:`reward.report`; here until `reward/train.py` imports it from there."""

from reward.report import verdict

__all__ = ["verdict"]
