"""Chains the stages; the only place that does."""
