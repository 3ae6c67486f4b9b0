"""Packaging. Board files live in targets/ at the top of the repository and ship inside the package.

In a wheel they are installed as edgeprune/_targets; in an editable install edgeprune reads the
repository's own targets/ folder.
"""

import pathlib
import shutil

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = pathlib.Path(__file__).parent

# Reads Keras 2 models. A tf_keras goes with the TensorFlow of the same number.
KERAS2 = ["tensorflow-model-optimization>=0.8", "tf_keras>=2.21"]


class BuildWithTargets(build_py):
    """Copies targets/*.toml into the built package."""

    def run(self):
        super().run()
        if not self.editable_mode:
            destination = pathlib.Path(self.build_lib, "edgeprune", "_targets")
            destination.mkdir(parents=True, exist_ok=True)
            for board in sorted(HERE.glob("targets/*.toml")):
                shutil.copy(board, destination)


setup(
    name="edgeprune",
    version="0.1.0",
    description="Prunes Keras models until they are measurably smaller and faster on a board",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["edgeprune", "edgeprune.*"]),
    package_data={"edgeprune": ["py.typed", "report/templates/*", "device/*.py", "boards/counter.c"]},
    install_requires=[
        "ai-edge-litert>=2.1",
        "click>=8.1",
        "jinja2>=3.1",
        "keras>=3.10",
        "numpy>=1.26",
        "pillow>=10",
        "rich>=13",
        "scipy>=1.11",
        "tensorflow>=2.21",
        "tomli>=2; python_version < '3.11'",
    ],
    extras_require={
        "test": [
            *KERAS2,
            "build",
            "hypothesis>=6",
            "import-linter>=2",
            "mypy==2.4.*",
            "pytest>=8",
            "ruff==0.17.*",
            "scikit-learn>=1.4",
            "tensorboard>=2.16",
        ],
        "examples": ["scikit-learn>=1.4"],
        "keras2": KERAS2,
    },
    cmdclass={"build_py": BuildWithTargets},
    entry_points={"console_scripts": ["edgeprune = edgeprune.cli.main:main"]},
)
