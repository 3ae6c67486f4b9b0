"""Getting accuracy back after surgery: fine-tuning and BatchNorm statistics."""
