"""Free ports: distinct, really free, and stable across a restart."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stack.errors import StackError
from stack.ports import EPHEMERAL, HOST, Ports, check_free


def test_distinct_and_outside_the_range_of_outgoing_connections() -> None:
    ports = Ports({8000})
    picked = [ports.pick() for _ in range(50)]

    assert len(set(picked)) == 50
    assert 8000 not in picked
    assert max(picked) < int(EPHEMERAL.read_text().split()[0])


def picked_for(owner: str) -> int:
    """What a new process picks."""
    code = "import sys; from stack.ports import Ports; print(Ports().pick(sys.argv[1]))"
    return int(subprocess.run([sys.executable, "-c", code, owner], check=True, capture_output=True).stdout)


def test_an_owner_gets_its_port_again_while_that_is_free(tmp_path: Path) -> None:
    port = picked_for(f"{tmp_path}")
    assert picked_for(f"{tmp_path}") == port
    assert picked_for(f"{tmp_path}/other") != port
    with socket.create_server((HOST, port)):
        assert picked_for(f"{tmp_path}") != port


def test_a_taken_port_is_refused_with_a_free_one_to_use_instead() -> None:
    with socket.create_server((HOST, 0)) as server:
        taken = server.getsockname()[1]
        with pytest.raises(StackError, match=rf"port {taken} is taken; .* PORT=\d+ make run"):
            check_free(taken)
    check_free(Ports().pick())
