"""The lines that `reprise bench rpc` and a peer that stores blocks exchange, on stdin and stdout.

The peer starts with `ready NAME`. Then, for each line it reads, it answers one with the seconds of
the storing or fetching alone:

    put NUMBER      store all blocks as round NUMBER
    get NUMBER      fetch them again, and compare them (not timed)

or `error MESSAGE`. A peer is an object with `name`, `put(number) -> seconds` and
`get(number) -> seconds`.
"""
import os
import sys


def serve(make_peer):
    """Makes the peer and answers until stdin ends."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    try:
        peer = make_peer()
    except BaseException as error:  # the reader must not wait for ever
        print("error", repr(error).replace("\n", " "), file=out)
        return
    print("ready", peer.name, file=out)
    for line in sys.stdin:
        command, number = line.split()
        try:
            answer = repr({"put": peer.put, "get": peer.get}[command](int(number)))
        except Exception as error:
            answer = "error " + repr(error).replace("\n", " ")
        print(answer, file=out)
