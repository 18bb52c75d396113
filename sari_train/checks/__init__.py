"""The checks of ``preflight``, one subject a file; each check is a function from a setting to a verdict."""
