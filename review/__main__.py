"""``python -m review``."""

from inhouse.run import command
from review.evaluate import main

command(main)
