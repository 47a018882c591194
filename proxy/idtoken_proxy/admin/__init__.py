"""Faces the operator: health and status, on a listener of its own (aiohttp)."""
