"""Frozen records that the stages exchange. No TensorFlow, no behaviour beyond derived values."""
