"""Keras model to TFLite bytes."""
