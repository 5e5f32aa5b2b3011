"""The process that adds noise: ``python -m agent.noise FD``, started only by ``agent.noise.client``.

Noise is discrete Laplace, of OpenDP: a value of its own kind, so that nothing of the true count shows in the lowest
digits of a floating-point number.
"""

import os
import socket
import sys

import opendp.prelude as dp

from agent.noise.message import MESSAGE_MAX_BYTES, Answer, Question, decode_question, encode
from agent.process import harden


def noisy(question: Question) -> Answer:
    """Add noise to each histogram; one line more or less changes one count of each by one."""
    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T=int)), dp.l1_distance(T=int)
    laplace = dp.m.make_laplace(*space, scale=1.0 / question.epsilon)
    told = tuple(tuple(map(int, laplace(list(counts)))) for counts in question.histograms)
    cost: float = laplace.map(1)  # type: ignore[no-untyped-call]  # the library has some types
    return Answer(told, cost * len(told))


def main(channel: socket.socket) -> None:
    """Answer one question."""
    question = decode_question(channel.recv(MESSAGE_MAX_BYTES))
    channel.send(encode(noisy(question)))


if __name__ == "__main__":
    harden()
    main(socket.socket(fileno=int(sys.argv[1])))
    os._exit(0)
