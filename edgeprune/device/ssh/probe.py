"""Runs on the board before anything is pushed and says what Python has there. Imports nothing from edgeprune.

    python -c 'read LENGTH bytes from stdin and run them' LENGTH NONCE

Prints "NONCE {json}": {"version": [3, 11, 2], "executable", "modules": {name: {"state": "works" | "missing" | "broken",
"version", "words": why}}} with numpy, and the runtimes up to the first that works. A Python 3 that is too old can say
so.
"""

# ruff: noqa: UP031 - an old Python must be able to say its version

import json
import sys

MODULES = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}
IMPORT_SECS = 120


def main(nonce: str) -> None:
    """Print what was found."""
    found: dict[str, object] = {"version": list(sys.version_info[:3]), "executable": sys.executable, "modules": {}}
    if sys.version_info >= (3, 9):  # noqa: UP036 - this runs elsewhere
        modules: dict[str, dict[str, object]] = {}
        for name, module in MODULES.items():
            modules[name] = tried(name, module)
            if modules[name]["state"] == "works":
                break
        # A runtime that works has imported numpy: that is one import less, a second on a slow card.
        works = any(one["state"] == "works" for one in modules.values())
        modules["numpy"] = (
            {"state": "works", "version": installed("numpy"), "words": ""} if works else tried("numpy", "numpy")
        )
        found["modules"] = modules
    print("\n%s %s" % (nonce, json.dumps(found)))


def installed(name: str) -> str:
    """The version of an installed package, "unknown" where it was unpacked without pip."""
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"


def tried(name: str, module: str) -> "dict[str, object]":
    """Import a module in a process of its own: a runtime may crash on a CPU it does not know."""
    import importlib.util
    import subprocess

    version = installed(name)
    top = module.partition(".")[0]
    if importlib.util.find_spec(top) is None:
        return {"state": "missing", "version": None, "words": ""}
    try:
        done = subprocess.run(
            [sys.executable, "-c", "import sys; sys.path=[p for p in sys.path if p]; import " + module],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=IMPORT_SECS,
        )
    except subprocess.TimeoutExpired:
        return {"state": "broken", "version": version, "words": "importing it takes longer than %d s" % IMPORT_SECS}
    if done.returncode == 0:
        return {"state": "works", "version": version, "words": ""}
    if done.returncode < 0:
        return {"state": "broken", "version": version, "words": "importing it ends with signal %d" % -done.returncode}
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return {"state": "broken", "version": version, "words": lines[-1] if lines else "importing it fails"}


if __name__ == "__main__":
    main(sys.argv[2])
