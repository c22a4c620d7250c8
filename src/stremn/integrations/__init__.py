"""Doors for other programs, each imported by that program alone: what it needs is an extra."""
