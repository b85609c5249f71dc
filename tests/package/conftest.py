"""The laboratory of the end-to-end tests, with a machine in the place of the router."""

import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

from lab import Lab                                                        # noqa: E402
from machine import Machine, debian, package                               # noqa: E402
from netns import require, sh                                              # noqa: E402


@pytest.fixture(scope="session")
def deb():
    require("dpkg-deb", "mmdebstrap", "nsenter", "unshare", "systemd-analyze", "zsh")
    return package()


@pytest.fixture(scope="session")
def base(deb, tmp_path_factory):
    directory = tmp_path_factory.mktemp("debian")
    sh("tar", "-xf", debian(deb), "-C", directory, "--exclude=./dev/*", timeout=300)
    (directory / "etc/machine-id").write_text("")
    yield directory
    sh("rm", "-rf", "--one-file-system", directory, timeout=120)


@pytest.fixture(scope="session")
def lab():
    laboratory = Lab()
    yield laboratory
    laboratory.delete()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.call_failed = outcome.get_result().failed


@pytest.fixture
def machine(base, tmp_path, request):
    new = Machine(base, tmp_path)
    try:
        yield new
        if getattr(request.node, "call_failed", False):
            print(new.diagnosis())
    finally:
        new.give_back()
