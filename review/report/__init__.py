"""The page by which a compliance reviewer decides, drawn from whatever of a campaign is there.

    python -m review.report --run_dir runs/asdfg           # review/report.html, drawn again
    python -m review.report --run_dir runs/asdfg --pdf     # and its first pages as report.pdf

campaign    everything that the campaign has, read once
decision    the gate's criteria in words
by_rule     findings with rule, authority, fix and nearest training example
nearest     which training example an answer is nearest to
rows        every answer as data for the list
page        the templates, the script, the style: one file that fetches nothing
"""

from review.report.page import write_report

__all__ = ["write_report"]
