"""A responder whose package is not complete: its import fails, as that of a plugin with a missing dependency."""

import a_library_that_is_not_installed

BrokenResponder = a_library_that_is_not_installed.Responder
