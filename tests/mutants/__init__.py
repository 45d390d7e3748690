"""Whether the tests notice when a guard goes: `python -m tests.mutants --help`."""
