"""The errors callers may meet, in one small tree.

Each message is one sentence: what was wrong, with the value, and what would be right.

CodebyteError
|- ConfigError      a setting that cannot work
|- CheckpointError  a file or folder that is not a usable checkpoint
|- CorpusError      training data that is missing, empty or damaged
|- RepoError        a repository that cannot be opened or read
|- StaleIndexError  an index that no longer fits its model or its files
`- InputError       any other input that cannot be used (a file, a position, a request)
"""


class CodebyteError(Exception):
    """The root: catching it catches every error codebyte raises on purpose."""


class ConfigError(CodebyteError):
    """A setting, or a combination of settings, that cannot work."""


class CheckpointError(CodebyteError):
    """A checkpoint that is truncated, too new, or not one of ours."""


class CorpusError(CodebyteError):
    """Training data that is missing, empty or damaged."""


class RepoError(CodebyteError):
    """A repository that cannot be opened, cloned or read."""


class StaleIndexError(CodebyteError):
    """An index made by another model, or from files that have changed since."""


class InputError(CodebyteError):
    """Any other input that cannot be used."""
