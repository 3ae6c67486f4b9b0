"""Is the TFLite model the Keras model: parity and metric."""
