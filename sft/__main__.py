"""``python -m sft``."""

from inhouse.run import command
from sft.train import main

command(main)
