"""Whether an aligned model may go to people: pass, fail, or not enough evidence.

limits      configs/gate.yaml: what is asked
evidence    what the stages counted, in one small schema; what is missing never passes
criteria    one kind of question each, answered from counts
decide      every criterion that is asked, and the answer of all
noise       how far two seeds of one model differ
checker     how often the house rules' checker is right, and the rates corrected by it
"""
