"""Showing a build: terminal and HTML."""
