"""What every model is asked, and by whom it is answered.

plan        all of it, before any: rounds of prompts, and general questions
panel       the models, how a prompt becomes a question, and who answers (a ``Speaker``)
answer      every model answers the plan, batch by batch into two journals
progress    one bar over all of it
"""
