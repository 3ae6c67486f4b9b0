"""Reading TFLite flatbuffers without TensorFlow."""
