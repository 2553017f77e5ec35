"""Functions that the tests of lanes ask processes to run."""

import os
import signal
import time

import numpy as np

from galaxy_da.errors import CutoutError
from galaxy_da.service.errors import RequestError


def pid(service):
    return os.getpid()


def cores(service):
    return os.sched_getaffinity(0)


def loop(service):
    while True:
        pass


def multiply(service):
    """Hold the interpreter's lock in one long operation of C."""
    return pow(3, 10**8) % 7


def sleep(service):
    time.sleep(600)


def allocate(service, number):
    return np.ones(number).nbytes


def refuse(service):
    raise CutoutError("no such thing", status="no_data")


def refuse_request(service):
    raise RequestError(418, "teapot", {"A": "b"})


def divide(service):
    return 1 // 0


def kill(service):
    os.kill(os.getpid(), signal.SIGKILL)
