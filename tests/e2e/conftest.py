"""One laboratory for the whole run, one fresh lsnd for each test.

After each test, whatever it was about: the daemon ended as the test said it should (exit code 0
unless told otherwise), and no packet with a subscriber's address was ever seen outside. When a
test failed, its configuration, log, tables, counters and the packets of both sides are printed.
"""

import pathlib
import signal
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from daemon import BIN, Daemon                                             # noqa: E402
from lab import INSIDE_NET, Capture, Lab                                   # noqa: E402
from netns import require                                                  # noqa: E402


def pytest_configure(config):
    """SIGTERM ends the run as Ctrl-C does: with the fixtures' clean-up."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    config.addinivalue_line("markers", "untranslated: a subscriber's own address is to be seen "
                                       "outside, where bypass says so")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call":
        item.call_failed = report.failed


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    require("ip", "ping", "arping", "ethtool", "tcpdump", "curl", "iperf3", "dig", "dnsmasq",
            "nft", "sysctl")
    laboratory = Lab()
    leak = Capture(laboratory, "lsn-out", tmp_path_factory.mktemp("leak") / "leak.pcap",
                   f"ip and net {INSIDE_NET}")
    laboratory.leak = leak
    yield laboratory
    leak.stop()
    laboratory.delete()


@pytest.fixture
def daemon(lab, tmp_path, request):
    """An lsnd that is not started yet."""
    for program in ("lsnd", "lsnctl"):
        if not (BIN / program).is_file():
            raise RuntimeError(f"{BIN / program} is missing: build it, or set LSN_BIN")
    lab.reset()
    before = lab.leak.size()
    inside = Capture(lab, "lsn-in", tmp_path / "inside.pcap", count=20000)
    outside = Capture(lab, "lsn-out", tmp_path / "outside.pcap", count=20000)
    subject = Daemon(lab, tmp_path)
    try:
        yield subject
        if getattr(request.node, "call_failed", False):
            raise _Diagnose()
        subject.stop()
        leaked = lab.leak.size() - before
        if request.node.get_closest_marker("untranslated"):
            assert leaked > 0, "no packet with a subscriber's address was seen outside"
            return
        assert leaked == 0, "packets with a subscriber's address were seen outside:\n" + \
            lab.leak.text(20)
    except BaseException as error:
        inside.stop()
        outside.stop()
        text = (f"{subject.diagnosis()}\n--- inside\n{inside.text()}\n"
                f"--- outside\n{outside.text()}")
        print(text)
        if not isinstance(error, _Diagnose):
            raise
    finally:
        inside.stop()
        outside.stop()
        if subject.running():
            subject.kill()
        lab.reset()


class _Diagnose(Exception):
    pass


@pytest.fixture
def router(daemon):
    """An lsnd with the sample configuration, running."""
    return daemon.start()
