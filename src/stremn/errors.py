"""The one error that a user of the package meets."""

__all__ = ["StremnError", "one_line"]


class StremnError(Exception):
    """Input that cannot be used: one line that names the file or setting at fault, and the remedy.

    Commands print it without a traceback and exit with status 2; library calls raise it.

    Examples:
        >>> from stremn import create_model
        >>> create_model("stremn-huge")
        Traceback (most recent call last):
            ...
        stremn.errors.StremnError: unknown model 'stremn-huge': choose one of stremn-lite, ...
    """


def one_line(error: BaseException) -> str:
    """The message of an error without line breaks; its kind where there is none."""
    return " ".join(str(error).split()) or type(error).__name__
