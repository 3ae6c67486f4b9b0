"""Measuring on devices."""
