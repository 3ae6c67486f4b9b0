"""Sparsity inside training: patterns, schedules, criteria and masks for Keras models."""
