"""The one error that users see: a sentence, never a traceback."""

__all__ = ["StackError"]


class StackError(Exception):
    """Something that the user can act on; printed without a traceback, and `code` is the exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code
