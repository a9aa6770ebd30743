"""Search roles, one a file: what to try next, from memory alone. None of them keeps state or does I/O."""
