"""The two exceptions whose sentence the command line prints without a traceback."""


class BadInput(ValueError):
    """What was wrong, where, and what to do, in one sentence."""


class ChapterFailed(RuntimeError):
    """A notebook stopped with an error: which one, at which cell, and what it said."""
