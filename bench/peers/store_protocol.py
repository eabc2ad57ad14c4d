"""The lines that `reprise bench rpc` and a peer that stores blocks exchange, on stdin and stdout.

The peer starts with `ready NAME`. Then, for each line it reads, it answers one with the seconds of
the storing or fetching alone:

    put NUMBER      store all blocks as round NUMBER
    get NUMBER      fetch them again, and compare them (not timed)

or `error MESSAGE`. A peer is an object with `name`, `put(number) -> seconds` and
`get(number) -> seconds`.
"""
import peer_protocol


def _answer(peer, command, numbers):
    return repr({"put": peer.put, "get": peer.get}[command](*numbers))


def serve(make_peer):
    """Makes the peer and answers until stdin ends."""
    peer_protocol.serve(make_peer, _answer)
