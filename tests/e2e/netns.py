"""A network namespace as a host: run programs in it, open sockets in it.

A socket belongs for ever to the namespace in which it was created, so the test process itself can
hold sockets of every host: it enters the namespace, makes the socket, and goes back.
"""

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess

CLONE_NEWNET = 0x40000000
IP_MTU_DISCOVER, IP_PMTUDISC_DONT, IP_PMTUDISC_DO = 10, 0, 2
IP_RECVERR = 11
_libc = ctypes.CDLL(None, use_errno=True)


def _setns(fd):
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def require(*programs):
    """A missing tool is an error, not a skipped test."""
    missing = [p for p in programs if shutil.which(p) is None]
    if missing:
        raise RuntimeError(f"not installed: {', '.join(missing)} (scripts/setup installs them)")


def sh(*argv, check=True, timeout=60, **kwargs):
    """Runs a program to its end; its output is text; failing is an error that shows the output."""
    done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=timeout, **kwargs)
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, argv))}: exit code {done.returncode}\n"
                             f"{done.stdout}{done.stderr}")
    return done


class Namespace:
    def __init__(self, name):
        self.name = name
        self.processes = []
        self.sockets = []
        sh("ip", "netns", "add", name)
        self.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
                 "net.ipv6.conf.default.disable_ipv6=1", "net.ipv4.ping_group_range=0 2147483647",
                 "net.ipv4.icmp_ratelimit=0", "net.ipv4.tcp_no_metrics_save=1")
        self.ip("link", "set", "lo", "up")

    # programs -------------------------------------------------------------------------------

    def ip(self, *args):
        sh("ip", "-n", self.name, *args)

    def argv(self, *argv):
        return ["ip", "netns", "exec", self.name, *[str(a) for a in argv]]

    def run(self, *argv, **kwargs):
        return sh(*self.argv(*argv), **kwargs)

    def start(self, *argv, **kwargs):
        """Starts a program that the namespace's end (or stop_all) also ends."""
        kwargs.setdefault("stdout", subprocess.PIPE)
        kwargs.setdefault("stderr", subprocess.STDOUT)
        process = subprocess.Popen(self.argv(*argv), stdin=subprocess.DEVNULL, text=True, **kwargs)
        self.processes.append(process)
        return process

    def stop_all(self):
        """Ends what start() started and closes what socket() opened."""
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout:
                process.stdout.close()
        self.processes.clear()
        for s in self.sockets:
            s.close()
        self.sockets.clear()

    def delete(self):
        self.stop_all()
        sh("ip", "netns", "del", self.name, check=False)

    # sockets --------------------------------------------------------------------------------

    @contextlib.contextmanager
    def entered(self):
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            _setns(there)
            yield
        finally:
            _setns(home)
            os.close(there)
            os.close(home)

    def socket(self, family, kind, protocol=0, timeout=3.0):
        with self.entered():
            s = socket.socket(family, kind, protocol)
        s.settimeout(timeout)
        self.sockets.append(s)
        return s

    def udp(self, port=0, address="0.0.0.0", timeout=3.0):
        s = self.socket(socket.AF_INET, socket.SOCK_DGRAM, timeout=timeout)
        s.bind((address, port))
        return s

    def tcp_server(self, port=0, timeout=5.0):
        s = self.socket(socket.AF_INET, socket.SOCK_STREAM, timeout=timeout)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("0.0.0.0", port))
        s.listen(64)
        return s

    def tcp_client(self, address, port, timeout=5.0):
        s = self.socket(socket.AF_INET, socket.SOCK_STREAM, timeout=timeout)
        s.connect((address, port))
        return s

    def raw(self, protocol, timeout=3.0):
        """A raw IP socket: sees and sends every packet of an IP protocol."""
        return self.socket(socket.AF_INET, socket.SOCK_RAW, protocol, timeout=timeout)

    def packet(self, interface="eth0", ethertype=0x0003, timeout=3.0):
        """A packet socket: whole Ethernet frames."""
        s = self.socket(socket.AF_PACKET, socket.SOCK_RAW, 0, timeout=timeout)
        s.bind((interface, ethertype))
        return s

    def mac(self, interface="eth0"):
        with self.entered():
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
                s.bind((interface, 0))
                return ":".join(f"{b:02x}" for b in s.getsockname()[4])
