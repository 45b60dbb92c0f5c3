"""``python -m review.memorisation``."""

from inhouse.run import command
from review.memorisation.audit import main

command(main)
