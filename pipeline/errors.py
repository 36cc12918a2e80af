"""The one exception that users see."""


class InputError(Exception):
    """Bad input, told in one line: what is wrong, in which file or image, what to do.

    Every command line of the project prints it without a traceback and exits with status 1.
    """
