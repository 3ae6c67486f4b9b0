"""ssh://... as text: what is accepted, and what never reaches ssh."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.device.ssh.address import SshAddress, parse_address
from edgeprune.errors import InputError
from edgeprune.target import Runtime

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("spec", "address"),
    [
        ("ssh://pi@raspberrypi.local", SshAddress("raspberrypi.local", "pi")),
        ("ssh://pi@192.168.1.7:2222", SshAddress("192.168.1.7", "pi", 2222)),
        ("ssh://my-alias", SshAddress("my-alias")),
        ("ssh://pi@[fe80::1%25eth0]:22/", SshAddress("fe80::1%eth0", "pi", 22)),
        ("ssh://me@corp@board", SshAddress("board", "me@corp")),
        ("ssh://b?python=/opt/my%20python/bin/python3", SshAddress("b", python="/opt/my python/bin/python3")),
        (
            "ssh://b?runtime=tflite-runtime==2.14.0&python=/usr/bin/python3",
            SshAddress("b", python="/usr/bin/python3", runtime=Runtime("tflite-runtime", "2.14.0")),
        ),
    ],
)
def test_addresses(spec, address):
    assert parse_address(spec) == address


def test_it_is_written_back_without_its_options():
    assert parse_address("ssh://pi@[fe80::1]:22?python=/usr/bin/python3").text == "ssh://pi@[fe80::1]:22"
    assert parse_address("ssh://pi@board:2222").by_hand == "ssh -p 2222 pi@board"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("ssh://", "host is missing"),
        ("ssh://pi@", "host is missing"),
        ("ssh://@board", "is written ssh://"),
        ("ssh:board", "is written ssh://"),
        ("ssh://board/home/pi", "is written ssh://"),
        ("ssh://board:", "is written ssh://"),
        ("ssh://board:ssh", "is written ssh://"),
        ("ssh://board:٢٢", "is written ssh://"),
        ("SSH://board", 'did you mean "ssh://board"'),
        ("ssh://board:0", "from 1 to 65535"),
        ("ssh://board:70000", "from 1 to 65535"),
        ("ssh://-oProxyCommand=touch%20x", 'host can\'t begin with "-"'),
        ("ssh://%2DoProxyCommand", 'host can\'t begin with "-"'),
        ("ssh://-l@board", 'user can\'t begin with "-"'),
        ("ssh://board;reboot", "host can't contain"),
        ("ssh://$(reboot)@board", "user can't contain"),
        ("ssh://a%20b@board", "user can't contain"),
        ("ssh://bo%0Aard", r'host can\'t contain "\\n"'),
        ("ssh://bo\nard", r'host can\'t contain "\\n"'),
        ("ssh://`id`", "host can't contain"),
        ("ssh://" + "a" * 256, "at most 255"),
        ("ssh://board?pyton=/usr/bin/python3", 'did you mean "python"'),
        ("ssh://board?python=python3", "absolute path"),
        ("ssh://board?python=/usr/bin/python3%0Areboot", "absolute path"),
        ("ssh://board?runtime=numpy==2.0", 'unknown runtime "numpy"'),
    ],
)
def test_others_are_refused_in_one_line(spec, message):
    with pytest.raises(InputError, match=message) as caught:
        parse_address(spec)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "spec",
    [
        "ssh://pi:hunter2@board",
        "ssh://pi:hunter2@board:99999",
        "ssh://pi:hunter2;x@board",
        "ssh://pi:hunter2?x@board",
        "ssh://pi:hunter2/x@board",
        "ssh://pi:@board?hunter2",
        "SSH://pi:hunter2@board",
    ],
)
def test_a_password_is_refused_and_not_repeated(spec):
    with pytest.raises(InputError, match="without a password") as caught:
        parse_address(spec)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "spec",
    [
        "ssh://pi@raspberrypi.local",
        "ssh://me@corp@[fe80::1%25eth0]:22?python=/opt/my%20python/bin%26/python3&runtime=tflite-runtime==2.14.0",
        "ssh://board:22?python=/opt/a@b/python",
        "ssh://a%2Fb@board/",
    ],
)
def test_the_advice_to_install_keeps_the_whole_device_and_the_model(spec):
    address = parse_address(spec)
    assert parse_address(address.spec) == address
    words = shlex.split(address.installing(Path("my models/a.tflite")))
    assert words == ["edgeprune", "bench", "my models/a.tflite", "--device", address.spec, "--install"]
    ours = Path(tempfile.gettempdir(), "edgeprune-profile-x", "0.tflite")
    assert "bench MODEL.tflite --device" in address.installing(ours)


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_text_makes_a_name_that_ssh_or_a_shell_could_mistake(user, host):
    try:
        address = parse_address(f"ssh://{user}@{host}")
    except InputError:
        return
    for name in (address.host, address.user or "x"):
        assert name
        assert not name.startswith("-")
        assert name.isprintable()
        assert not set(name) & set(" '`\"$\\;&<>|(){}*?#")
