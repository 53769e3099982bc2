"""The process of a check, with the papers made for tests."""

from paretolm.bench.workers.worker import serve
from paretolm.papers import check as checking
from paretolm.papers.worker import Checker
from tests.papers import made

if __name__ == "__main__":
    checking.find, checking.source = made.find, made.source
    serve(Checker)
