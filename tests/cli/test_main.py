"""What `edgeprune` itself answers, before any command runs."""

from __future__ import annotations

import pytest

from edgeprune.cli.main import COMMANDS, LATER, main

pytestmark = pytest.mark.unit


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(list(arguments))
    out, err = capsys.readouterr()
    assert (end.value.code, out) == (2, "")
    return err


@pytest.mark.parametrize("name", ["profile"])
def test_a_command_of_a_later_version(name, capsys):
    assert refused(capsys, name, "model.tflite", "--target", "rpi4") == (
        f'edgeprune: "{name}" is not available in this version\n'
    )


def test_a_mistyped_command_names_the_nearest(capsys):
    assert refused(capsys, "biuld") == 'edgeprune: unknown command "biuld"; did you mean "build"?\n'


def test_no_command_is_both_here_and_to_come():
    assert not set(COMMANDS) & set(LATER)
