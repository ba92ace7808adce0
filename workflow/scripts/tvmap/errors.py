"""The one kind of error a user can mend."""


class StudyError(Exception):
    """A wrong input, setting or environment. The message names the file or key and says what to do."""
