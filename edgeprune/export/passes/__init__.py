"""Rewrites of a Keras model after which XNNPACK runs sparse kernels on the exported file; `apply.py` lists them."""
