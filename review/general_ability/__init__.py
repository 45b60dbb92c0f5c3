"""What a model could do before it learned the house's tone, and whether it still can.

200 questions with checked answers ship with the suite (:mod:`.items`). Every model answers the same
ones (:mod:`.answering`), no judge is needed to score them (:mod:`.scorers`), and a trained model is
set against its base question by question (:mod:`.comparing`).
"""
