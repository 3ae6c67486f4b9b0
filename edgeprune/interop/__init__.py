"""Models made by other toolkits become Keras 3 models."""
