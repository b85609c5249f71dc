"""What the parts of scripts/bench share: tables, and programs that are ended with it."""

import contextlib
import os
import shlex
import signal
import statistics
import subprocess
import sys
from pathlib import Path


class Failed(Exception):
    pass


def say(text):
    print(text, file=sys.stderr, flush=True)


def count_text(n):
    for unit, letter in ((1_000_000, "M"), (1_000, "k")):
        if n >= unit and n % unit == 0:
            return f"{n // unit} {letter}"
    return str(n)


def table(title, columns, rows):
    """Markdown, aligned for people: the same form as bench_path's."""
    widths = [max([len(c), 3] + [len(row[i]) for row in rows]) for i, c in enumerate(columns)]
    align = [str.ljust] + [str.rjust] * (len(columns) - 1)

    def line(cells):
        return "| " + " | ".join(a(c, w) for a, c, w in zip(align, cells, widths)) + " |"

    rule = "|" + "|".join("-" * (w + 2 if i == 0 else w + 1) + ("" if i == 0 else ":")
                          for i, w in enumerate(widths)) + "|"
    print(f"\n**{title}**\n", line(columns), rule, *[line(r) for r in rows], sep="\n", flush=True)


def middle(runs):
    return {"median": statistics.median(runs), "low": min(runs), "high": max(runs), "runs": runs}


def first_priority():
    """For child processes: ahead of everybody else, where that is allowed."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)


class Process:
    """A child that is ended with us, whatever happens."""

    patience = 20  # seconds that it may take to end

    def __init__(self, command, log, **more):
        self.command, self.log = command, log
        with open(log, "w") as output:
            # An own session, so that Ctrl-C reaches us first; stdin for programs that want one.
            self.child = subprocess.Popen(command, stderr=output, text=True, bufsize=1,
                                          stdin=subprocess.PIPE, start_new_session=True,
                                          preexec_fn=first_priority,
                                          **{"stdout": output, **more})

    def is_alive(self):
        return self.child.poll() is None

    def stop(self):
        self.child.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.child.send_signal(signal.SIGCONT)

    def end(self):
        if self.child.poll() is None:
            self.go_on()
            self.child.terminate()
            try:
                self.child.wait(self.patience)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()

    def complain(self, what):
        raise Failed(f"{what}: {shlex.join(self.command)}\n{Path(self.log).read_text()[-4000:]}")
