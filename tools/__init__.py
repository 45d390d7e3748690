"""What writes the generated files of the repository; run from its root: `python -m tools.openapi`."""
