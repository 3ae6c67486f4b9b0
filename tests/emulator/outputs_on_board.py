"""Run by the board's own Python: writes the outputs of each model named in the arguments to MODEL.npz.

The first argument is the runtime's package. A line on stdout tells which model begins, so that a crash can be placed.
"""

import importlib
import sys

import numpy as np


def main(package: str, paths: list[str]) -> None:
    interpreter = importlib.import_module(f"{package.replace('-', '_')}.interpreter").Interpreter
    for path in paths:
        print(path, flush=True)
        try:
            model = interpreter(model_path=path, num_threads=1)
            model.allocate_tensors()
            for port in model.get_input_details():
                values = np.random.default_rng(0).normal(size=port["shape"]).astype(port["dtype"])
                model.set_tensor(port["index"], values)
            model.invoke()
            outputs = [model.get_tensor(port["index"]) for port in model.get_output_details()]
        except (RuntimeError, ValueError):
            continue  # it does not load: no outputs
        np.savez(path + ".npz", *outputs)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
