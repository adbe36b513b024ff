"""The one exception that bad input raises; the command line prints its sentence without a traceback."""


class BadInput(ValueError):
    """What was wrong, where, and what to do, in one sentence."""
