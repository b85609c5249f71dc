"""What records cost: the worker's part, the log thread to a file and to a collector, and a search."""

import re
import shlex
import subprocess
import time

from .common import Failed, count_text, first_priority, middle, say, table

# What `bench_records stream` is asked for, and the target in M records/s.
STREAMS = (("file, text", ["--to", "file"], "1.0"),
           ("file, JSON", ["--to", "file", "--format", "json"], "1.0"),
           ("IPFIX, UDP", ["--to", "ipfix-udp"], "0.5"),
           ("IPFIX, TCP", ["--to", "ipfix-tcp"], "0.5"))


def output_of(command):
    say("bench: " + shlex.join([command[0].rsplit("/", 1)[-1], *command[1:]]))
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, preexec_fn=first_priority)
    if done.returncode != 0 or "it is no measurement" in done.stdout:
        raise Failed(f"{shlex.join(command)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def run_streams(options, results, directory):
    records = 2_000_000 if options.quick else 5_000_000
    rows = []
    for name, words, target in STREAMS:
        text = output_of([str(options.build / "bin" / "bench_records"), "stream", "--records",
                          str(records), "--runs", "3", *words, str(directory)])
        rates = [float(rate) for rate in re.findall(r"([\d.]+) M records/s", text)]
        for segment in directory.glob("records-*"):
            segment.unlink()
        rows.append([name, *[f"{each(rates):.2f}" for each in (min, lambda r: sorted(r)[1], max)],
                     target])
        results["cells"].append({"table": "records", "to": name, "unit": "M records/s",
                                 **middle(rates)})
    table("The log thread, from a worker's ring to the end of a sink: M records/s",
          ["to", "lowest of 3", "median", "highest", "target"], rows)


def run_find(options, results, directory):
    """Each question as often as asked: the first time the files may be in no cache."""
    records = (100_000_000 if options.hundred_million else
               2_000_000 if options.quick else 10_000_000)
    # Of the most they are 30 GB: not in a file system of memory.
    place = options.build / "bench-records"
    place.mkdir(exist_ok=True)
    try:
        text = output_of([str(options.build / "bin" / "bench_records"), "write", "--records",
                          str(records), str(place)])
        question = shlex.split(re.search(r"lsnctl (find .*)", text).group(1))
        size = sum(f.stat().st_size for f in place.iterdir() if f.suffix != ".idx")
        rows = []
        for what, words in (("an address and a port", question),
                            ("a port that nobody had", [*question[:4], "1023", *question[5:]])):
            took = []
            for _ in range(3):
                begin = time.monotonic()
                answer = output_of([str(options.build / "bin" / "lsnctl"), *words])
                took.append(time.monotonic() - begin)
            read = re.search(r"([\d,]+) of ([\d,]+) blocks read", answer)
            rows.append([count_text(records), what, f"{took[0]:.2f}", f"{min(took[1:]):.2f}",
                         f"{read.group(1)} of {read.group(2)}"])
            results["cells"].append({"table": "find", "what": what, "records": records, "unit": "s",
                                     **middle(took)})
        table(f"lsnctl find, {size / 1e9:.0f} GB of text in segments of 1 GB: s",
              ["records", "question", "first", "again", "blocks read"], rows)
    finally:
        for file in place.iterdir():
            file.unlink()
        place.rmdir()


def run_statics(options, results, directory):
    count = 100_000 if options.quick else 1_000_000
    file = directory / "statics.conf"
    with open(file, "w") as out:
        out.write('''interfaces = (
  { name = "inside"; role = "inside"; device = "net_null0"; address = "10.0.0.1/15"; },
  { name = "outside"; role = "outside"; device = "net_null1"; address = "198.51.100.1/24"; });
routes = ( { prefix = "0.0.0.0/0"; via = "198.51.100.10"; } );
lsn: {
  client = ( { name = "C"; network = [ "10.1.0.0/16" ]; } );
  pool = ( { name = "P"; lsnip = [ "203.1.0.0-203.1.15.255" ]; } );
  group = ( { name = "G"; clientname = "C"; poolname = [ "P" ]; } );
  static = (''')
        for n in range(count):
            out.write(f'''{"," if n else ""}
{{name="s{n}";transportprotocol="TCP";subscrIP="10.1.{n >> 8 & 255}.{n & 255}";\
subscrPort="{1 + (n >> 16)}";natIP="203.1.{n >> 8 & 15}.{n & 255}";natPort="{1 + (n >> 12)}";}}''')
        out.write("\n);\n};\n")
    took = []
    for _ in range(3):
        begin = time.monotonic()
        output_of([str(options.build / "bin" / "lsnd"), "--config", str(file), "--check"])
        took.append(time.monotonic() - begin)
    results["cells"].append({"table": "statics", "count": count, "unit": "s", **middle(took)})
    table("lsnd --check, a file of static mappings: read, checked, and made into tables: s",
          ["mappings", "MB", "lowest of 3", "highest", "target"],
          [[count_text(count), f"{file.stat().st_size / 1e6:.0f}", f"{min(took):.2f}",
            f"{max(took):.2f}", "-" if options.quick else "10"]])


def run_records(options, results, directory):
    run_streams(options, results, directory)
    run_find(options, results, directory)
    run_statics(options, results, directory)
