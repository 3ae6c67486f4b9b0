"""Loading TensorFlow without its log noise."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


def silence() -> None:
    """Import TensorFlow with its native log noise muted; call it before the first import of TensorFlow or Keras.

    TensorFlow 2.21 logs before it reads TF_CPP_MIN_LOG_LEVEL: while it is imported and when it first looks for
    devices. Both happen here, with file descriptors 1 and 2 muted; errors still raise.
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import logging
    import warnings

    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("absl").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(tensorflow|keras|google|jax)\b.*")
    with muted_native_output():
        import tensorflow as tf

        tf.config.list_logical_devices()
        tf.constant(0) + 1


@contextlib.contextmanager
def tensorflow_warnings_muted() -> Iterator[None]:
    """Raise the level of TensorFlow's Python logger meanwhile: where the user imported it first, `silence` did not.

    A build makes a new model each round, which TensorFlow takes for needless retracing and warns about at length.
    """
    import logging

    logger = logging.getLogger("tensorflow")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextlib.contextmanager
def muted_native_output() -> Iterator[None]:
    """Send file descriptors 1 and 2 to nowhere meanwhile: the TFLite converter's C++ code prints there.

    What it printed is lost; exceptions still reach the caller.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        os.close(saved[0])
        os.close(saved[1])
