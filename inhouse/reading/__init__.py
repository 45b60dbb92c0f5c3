"""Users' files become rows with places, whatever kind of file they are.

``strict_json`` and ``tables`` take bytes apart, ``rows`` chooses between them by a file's ending,
``shapes`` turns the shapes that others publish into ours. Nothing here guesses: what could be read
in two ways is refused by its line.
"""
