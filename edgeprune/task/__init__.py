"""What the model is trained for: loss, optimizer and the metric it is judged by."""
