"""Importance criteria, one per file."""
