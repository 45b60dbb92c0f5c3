"""``python -m reward``."""

from inhouse.run import command
from reward.train import main

command(main)
