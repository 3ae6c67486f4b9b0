"""What Keras and TensorFlow raise about a user's data or model, as one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from edgeprune.errors import InputError


@contextlib.contextmanager
def in_one_line(name: str) -> Iterator[None]:
    """Turn an error of the model or the loss on the given data into one line that names the criterion.

    Raises:
        InputError: instead of the error that Keras or TensorFlow raised.
    """
    import tensorflow as tf

    try:
        yield
    except (LookupError, ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
        # "gradient registry has no entry for: ..."
        if type(error) is LookupError:
            raise InputError(
                f'the criterion "{name}" needs a gradient that TensorFlow lacks ({_first_line(error)}); choose the '
                'criterion "snip" or "magnitude"'
            ) from error
        raise InputError(
            f'the criterion "{name}" can\'t run the model and its loss on the data: {_first_line(error)}; '
            "give data that fit() takes"
        ) from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line), type(error).__name__).rstrip(".;:")
