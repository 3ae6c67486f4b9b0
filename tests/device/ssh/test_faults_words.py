"""What OpenSSH's client says, as it says it, and what edgeprune makes of it."""

from __future__ import annotations

import pytest

from edgeprune.device.ssh.address import SshAddress
from edgeprune.device.ssh.faults import Unreachable, last_words, login_error, quoted
from edgeprune.errors import DeviceError

pytestmark = pytest.mark.unit

PI = SshAddress("board", "pi", 2222)


@pytest.mark.parametrize(
    ("words", "message", "transient"),
    [
        ("ssh: connect to host board port 2222: No route to host\r\n", "can't be reached", True),
        ("ssh: connect to host board port 2222: Connection timed out\n", "can't be reached", True),
        ("kex_exchange_identification: Connection closed by remote host\n", 'could not log in to pi@board: "kex', True),
        ("pi@board: Permission denied (publickey,keyboard-interactive).\n", "ssh-copy-id -p 2222 pi@board", False),
        ("Received disconnect from 10.0.0.7: Too many authentication failures\n", "accepts none", False),
        ("/home/u/.ssh/config: line 3: Bad configuration option: forwardx\n", "Bad configuration option", True),
        (
            "@@@@\n@       WARNING: REVOKED HOST KEY DETECTED!               @\n@@@@\n"
            "The ED25519 host key for board is marked as revoked.\nHost key verification failed.\n",
            "marked as @revoked",
            False,
        ),
        (
            "@         WARNING: UNPROTECTED PRIVATE KEY FILE!          @\n"
            "Permissions 0644 for '/home/u/my key' are too open.\n"
            'Load key "/home/u/my key": bad permissions\npi@board: Permission denied (publickey).\n',
            "chmod 600 '/home/u/my key'",
            False,
        ),
        ("", 'could not log in to pi@board: "nothing"', True),
    ],
)
def test_each_becomes_one_line(words, message, transient):
    error = login_error(PI, words)
    assert message in str(error)
    assert isinstance(error, DeviceError)
    assert isinstance(error, Unreachable) == transient
    assert "\n" not in str(error)


def test_words_of_others_are_shown_on_one_printable_line():
    assert quoted("first\n\x1b[31mred\x07\r\n\n") == "?[31mred?"
    assert len(quoted("x" * 5000)) == 200


def test_a_cut_is_explained_by_ssh_and_not_by_the_runtimes_greeting():
    greeting = "INFO: Created TensorFlow Lite XNNPACK delegate for CPU."
    timeout = "Timeout, server board not responding."
    assert last_words(timeout + "\r\n", [greeting, "a warning"]) == timeout
    assert last_words("", [timeout, greeting]) == timeout
    assert last_words(" \n", [greeting]) == "nothing"
