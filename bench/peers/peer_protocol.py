"""The lines that `reprise bench engine` and a peer exchange, on the peer's stdin and stdout.

The peer starts with `ready NAME`. Then, for each line it reads, it answers one:

    prompt COUNT ID ...     COUNT prompts of equal length, one after the other: forget what was,
                            compute them              -> SECONDS, the greedy next token of each
    decode STEPS            go on with each of them   -> SECONDS, STEPS x COUNT tokens, by steps

or `error MESSAGE`. Seconds are of the computation alone. A peer is an object with `name`,
`prompt(prompts) -> tokens` and `decode(steps) -> tokens`.
"""

import os
import sys
import time


def _answer(peer, command, numbers):
    if command == "prompt":
        length = (len(numbers) - 1) // numbers[0]
        prompts = [numbers[1 + i * length:1 + (i + 1) * length] for i in range(numbers[0])]
        peer.reset(prompts)
        work = lambda: peer.prompt(prompts)
    else:
        work = lambda: peer.decode(numbers[0])
    start = time.perf_counter()
    tokens = work()
    seconds = time.perf_counter() - start
    return " ".join([repr(seconds), *map(str, tokens)])


def serve(make_peer, answer=_answer):
    """Makes the peer and answers until stdin ends.

    `answer(peer, command, numbers)` is the answer to a line of a command and numbers.
    """
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    try:
        peer = make_peer()
    except BaseException as error:  # the reader must not wait for ever
        print("error", repr(error).replace("\n", " "), file=out)
        return
    print("ready", peer.name, file=out)
    for line in sys.stdin:
        command, *numbers = line.split()
        try:
            line = answer(peer, command, [int(number) for number in numbers])
        except Exception as error:
            line = "error " + repr(error).replace("\n", " ")
        print(line, file=out)
