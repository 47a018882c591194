"""The commands that have a file of their own; `cli` puts all of them together."""
