"""Emulated boards: an arm64 Python with the target's runtime, which sees the board's own CPU under qemu-user."""
