"""The servers that a stack brings along, and what a database needs before services start."""
