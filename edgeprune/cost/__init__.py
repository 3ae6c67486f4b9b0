"""What a network costs on a target: MACs, memory, file size, latency."""
