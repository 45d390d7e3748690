"""Free ports: distinct, really free, and stable across a restart."""

import socket

import pytest

from stack.errors import StackError
from stack.ports import EPHEMERAL, HOST, Ports, check_free


def test_distinct_and_outside_the_range_of_outgoing_connections() -> None:
    ports = Ports({8000})
    picked = [ports.pick() for _ in range(50)]

    assert len(set(picked)) == 50
    assert 8000 not in picked
    assert max(picked) < int(EPHEMERAL.read_text().split()[0])


def test_a_taken_port_is_refused_with_a_free_one_to_use_instead() -> None:
    with socket.create_server((HOST, 0)) as server:
        taken = server.getsockname()[1]
        with pytest.raises(StackError, match=rf"port {taken} is taken; .* PORT=\d+ make run"):
            check_free(taken)
    check_free(Ports().pick())
