"""The one error that people see: a sentence, never a traceback."""

__all__ = ["StackError"]


class StackError(Exception):
    """Something the person at the keyboard can act on; printed as one line, exit code `code`."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code
