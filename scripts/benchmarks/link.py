"""The whole program at virtual links: rates, new sessions, IPsec, floods, latency."""

import contextlib
import os
import statistics

from .boxes import Bench, Rings, cpu_seconds
from .common import count_text, middle, say, table

DIRECTIONS = ("outbound", "inbound", "both")


def alone(options, what):
    if options.cpus[1] is None:
        print(f"\n{what} at a link: not measured, it needs two CPUs.")
        return True
    return False


def rounds_of(options):
    return (3, 0.2) if options.quick else (7, 0.4)


def kind_of_link(options):
    return "net_memif, " + ("zero-copy" if options.huge else "copying, no huge pages")


# ── established traffic ──────────────────────────────────────────────────────────────────────────

FORWARDERS = ("io", "macswap")
# Thousands of bits that a frame of simple IMIX takes of a line: (7 x 64 + 4 x 594 + 1518) / 12 + 20 bytes.
IMIX_BITS = ((7 * 64 + 4 * 594 + 1518) / 12 + 20) * 8 / 1000


def flows_of(options):
    some = [1_000, 1_000_000] if options.quick else [1_000, 64_000, 1_000_000]
    return some + ([10_000_000] if options.ten_million else [])


def run_link(options, results, directory):
    if alone(options, "The whole program"):
        return
    flows = flows_of(options)
    opened = {}
    with Bench(options, directory, [*FORWARDERS, *(f"lsnd{n}" for n in flows)]) as bench:
        results.setdefault("environment", bench.generator.environment)
        plain = {mode: (bench, bench.forwarder(mode)) for mode in FORWARDERS}

        @contextlib.contextmanager
        def lsnd(n):
            # One per number of flows, sized for it as its peers are: at 80 % load.
            box = bench.lsnd(f"lsnd{n}", max(2048, n * 5 // 4))
            opened[n] = bench.ask(box, "open", 0, n)
            box.stop()
            yield bench, box
            box.end()

        compare(options, results, "link", kind_of_link(options), plain, lsnd)
    run_new(options, results, directory, opened)


def run_rings(options, results, directory):
    """Packets by pointer, without a driver's copies: what is left is the box and its peer's cache."""
    if alone(options, "The whole program at rings"):
        return
    if not options.huge or os.geteuid() != 0:
        print("\nThe whole program at rings: not measured, it needs root and 256 MB of huge pages.")
        return
    with contextlib.ExitStack() as stack:
        def bench_of(name, kind):
            place = directory / f"rings-{name}"
            place.mkdir()
            return Bench(options, place, [name], Rings(place, kind))

        plain = {}
        for mode in FORWARDERS:
            bench = stack.enter_context(bench_of(mode, "started-ring"))
            results.setdefault("environment", bench.generator.environment)
            plain[mode] = bench, bench.forwarder(mode)

        @contextlib.contextmanager
        def lsnd(n):
            with bench_of(f"lsnd{n}", "ring") as bench:
                box = bench.lsnd(f"lsnd{n}", max(2048, n * 5 // 4))
                bench.ask(box, "open", 0, n)
                box.stop()
                yield bench, box

        compare(options, results, "rings", "net_ring, packets by pointer", plain, lsnd)


def compare(options, results, name, where, plain, lsnd):
    """Boxes in turns: `plain` forwarders by mode, each with its Bench, and for each number of flows what
    `lsnd(n)` gives while it is measured."""
    rounds, seconds = rounds_of(options)
    rows = []
    for n in flows_of(options):
        say(f"bench: {where.split(',')[0]}, {count_text(n)} flows")
        measured = {}
        with lsnd(n) as box:
            boxes = {**plain, "lsnd": box}
            for _ in range(rounds):
                for key, (bench, box) in boxes.items():
                    with bench.turn(box):
                        for direction in DIRECTIONS:
                            measured.setdefault((key, direction), []).append(
                                bench.ask(box, "run", "udp", direction, n, seconds))
        titles = {key: box.title for key, (_, box) in boxes.items()}
        mid, marks = {}, {}
        for (key, direction), answers in measured.items():
            rates = [a["mpps"] for a in answers]
            waited = statistics.median(a["ring_full"] for a in answers)
            results["cells"].append({"table": name, "box": titles[key], "sessions": n,
                                     "direction": direction, "unit": "Mpps", "ring_full": waited,
                                     "checked": sum(a["checked"] for a in answers), **middle(rates)})
            mid[key, direction] = statistics.median(rates)
            # Where the box never let the generator wait, the generator was the slower one.
            marks[key, direction] = ">" if waited < 0.02 else ""
        hz = results["environment"]["tsc_mhz"]
        for key in boxes:
            rates = [mid[key, d] for d in DIRECTIONS]
            rows.append([titles[key], count_text(n)] +
                        [marks[key, d] + f"{mid[key, d]:.2f}" for d in DIRECTIONS] +
                        [" / ".join(f"{hz / rate:.0f}" for rate in rates)] +
                        [" / ".join(f"{mid[key, d] / mid[f, d]:.2f}" for d in DIRECTIONS)
                         for f in plain])
    table(f"The whole program ({where}), one core, 64-byte UDP, random flows: Mpps, "
          f"medians of {rounds} interleaved runs; > : the generator was slower",
          ["box", "sessions", "outbound", "inbound", "both", "clocks per packet", "of io",
           "of macswap"], rows)


def run_imix(options, results, directory):
    """Frames as lines carry them: seven of 64 bytes, four of 594, one of 1,518. The link copies on one
    side, so beside packets per second stands what a plain forwarder does with the same."""
    if alone(options, "IMIX"):
        return
    rounds, seconds = rounds_of(options)
    rows = []
    for n in (1_000, 1_000_000):
        say(f"bench: IMIX, {count_text(n)} flows")
        with Bench(options, directory, ["io", f"imix{n}"]) as bench:
            results.setdefault("environment", bench.generator.environment)
            lsnd = bench.lsnd(f"imix{n}", max(2048, n * 5 // 4))
            bench.ask(lsnd, "open", 0, n)
            lsnd.stop()
            boxes = (bench.forwarder("io"), lsnd)
            measured = {}
            for _ in range(rounds):
                for box in boxes:
                    with bench.turn(box):
                        for direction in DIRECTIONS:
                            measured.setdefault((box.title, direction), []).append(
                                bench.ask(box, "run", "imix", direction, n, seconds)["mpps"])
            titles = dict.fromkeys(title for title, _ in measured)
            mid = {key: statistics.median(rates) for key, rates in measured.items()}
            for title in titles:
                for direction in DIRECTIONS:
                    results["cells"].append({"table": "imix", "box": title, "sessions": n,
                                             "direction": direction, "unit": "Mpps",
                                             **middle(measured[title, direction])})
                rows.append([title, count_text(n)] + [f"{mid[title, d]:.2f}" for d in DIRECTIONS] +
                            [" / ".join(f"{mid[title, d] * IMIX_BITS:.1f}" for d in DIRECTIONS)])
    table(f"IMIX ({kind_of_link(options)}), one core, UDP, random flows: Mpps, medians of {rounds} "
          "interleaved runs; Gbit/s with preamble and gap",
          ["box", "sessions", "outbound", "inbound", "both", "Gbit/s"], rows)


# ── new sessions ─────────────────────────────────────────────────────────────────────────────────

# Bursts of established traffic for each one of new flows.
BESIDE = {"a quarter as many": 0.25, "as many": 1, "four times as many": 4}
# New flows of which fewer have to ask twice are all served. The machine itself stands still now and then:
# only what fails so many times in a row fails.
SERVED, TRIES = 0.001, 3


def run_new(options, results, directory, opened):
    """Into a large table: alone, as many as the box takes; beside established traffic, the most per second
    that it serves without refusing any."""
    rounds, steps = (2, 4) if options.quick else (5, 6)
    capacity = 2_000_000 if options.quick else 10_000_000
    step = capacity // (2 + rounds + len(BESIDE) * steps * TRIES)
    rows = []

    def told(what, rates, traffic=None, again=0.0, sessions=capacity):
        rows.append([what, f"{statistics.median(rates):.2f}",
                     f"{statistics.median(traffic):.2f}" if traffic else "-", f"{again:.1%}"])
        results["cells"].append({"table": "link new", "what": what, "sessions": sessions,
                                 "unit": "M/s", **middle(rates)})
        if traffic:
            results["cells"].append({"table": "link new", "what": f"established: {what}",
                                     "sessions": sessions, "unit": "M/s", **middle(traffic)})

    for n, answer in opened.items():
        if n >= 64_000:
            told(f"filling a table to {count_text(n)}", [answer["mps"]],
                 again=answer["asked_again"], sessions=n)
    say("bench: net_memif, new sessions")
    with Bench(options, directory, ["new"]) as bench:
        lsnd = bench.lsnd("new", capacity)
        bench.ask(lsnd, "open", 0, step)
        at = step

        def new(*beside):
            nonlocal at
            at += step
            return bench.ask(lsnd, "open", at - step, at, *beside)

        answers = [new() for _ in range(rounds)]
        alone_rate = statistics.median(a["mps"] for a in answers)
        told(f"into a table of {count_text(capacity)}, alone", [a["mps"] for a in answers],
             again=statistics.median(a["asked_again"] for a in answers))
        for what, bursts in BESIDE.items():
            served, refused, best = 0.0, alone_rate * 1.2, None
            for _ in range(steps):
                rate = (served + refused) / 2
                for _ in range(TRIES):
                    answer = new(step, bursts, rate * 1e6)
                    if answer["asked_again"] <= SERVED:
                        served, best = rate, answer
                        break
                else:
                    refused = rate
            if best is None:
                lsnd.complain(f"no rate of new flows at which none is refused, {what} established")
            told(f"the same beside {what} established, none refused", [best["mps"]],
                 [best["established_mpps"]], best["asked_again"])
    table(f"New sessions of the whole program ({kind_of_link(options)}), one core",
          ["how", "new, M/s", "established, Mpps", "asked again"], rows)


# ── IPsec ────────────────────────────────────────────────────────────────────────────────────────

def run_esp(options, results, directory):
    if alone(options, "IPsec"):
        return
    counts = [1, 1_000, 64_000]
    rounds, seconds = rounds_of(options)
    rows = []
    with Bench(options, directory, [f"esp{n}" for n in counts]) as bench:
        results.setdefault("environment", bench.generator.environment)
        for n in counts:
            say(f"bench: at the link, {count_text(n)} tunnels")
            # A tunnel is a session of UDP 500 and one of ESP; beside it the UDP flows to compare with.
            lsnd = bench.lsnd(f"esp{n}", max(4096, n * 3 * 5 // 4), tunnels=n * 5 // 4)
            tunnels = bench.ask(lsnd, "tunnels", 0, n)
            bench.ask(lsnd, "open", 0, n)
            rates = {}
            for _ in range(rounds):
                for kind in ("udp", "esp"):
                    for direction in DIRECTIONS:
                        answer = bench.ask(lsnd, "run", kind, direction, n, seconds)
                        rates.setdefault((kind, direction), []).append(answer["mpps"])
            lsnd.end()
            results["cells"].append({"table": "link tunnels", "sessions": n, "unit": "M/s",
                                     **middle([tunnels["mps"]])})
            for (kind, direction), runs in rates.items():
                results["cells"].append({"table": "link esp", "traffic": kind.upper(), "sessions": n,
                                         "direction": direction, "unit": "Mpps", **middle(runs)})
            mid = {key: statistics.median(runs) for key, runs in rates.items()}
            rows.append([count_text(n), f"{tunnels['mps'] * 1e3:.0f}" if n >= 1000 else "-"] +
                        [f"{mid[kind, d]:.2f}" for kind in ("udp", "esp") for d in DIRECTIONS] +
                        [" / ".join(f"{mid['esp', d] / mid['udp', d]:.2f}" for d in DIRECTIONS)])
    table(f"ESP of known SPIs beside UDP ({kind_of_link(options)}), one core, 64-byte packets, random "
          f"tunnels and flows: Mpps, medians of {rounds} interleaved runs",
          ["tunnels, and flows", "thousand tunnels/s", *[f"UDP {d}" for d in DIRECTIONS],
           *[f"ESP {d}" for d in DIRECTIONS], "ESP of UDP"], rows)


# ── floods ───────────────────────────────────────────────────────────────────────────────────────

# What, its direction, and whether into the small table.
FLOODS = {
    "UDP from anywhere to any port": ("tuples", "inbound", False),
    "ESP from anywhere, any SPI": ("spis", "inbound", False),
    "ESP in a tunnel's server's name, any SPI": ("server-spis", "inbound", False),
    "SYNs of subscribers": ("syn", "outbound", False),
    "SYNs of subscribers, the table is full": ("syn", "outbound", True),
}


def run_floods(options, results, directory):
    if alone(options, "Floods"):
        return
    n = 64_000
    rounds, seconds = rounds_of(options)
    say("bench: at the link, floods")
    plain, flooded, reasons = {}, {}, {}
    # Two tables with the same sessions: one has room for what a flood makes, the other one has not.
    for small in (False, True):
        with Bench(options, directory, ["flooded"]) as bench:
            results.setdefault("environment", bench.generator.environment)
            if small:
                box = bench.lsnd("flooded", n * 5 // 4)
                bench.ask(box, "open", 0, n)
                bench.ask(box, "run", "udp", "outbound", n, 0.5, "syn")
            else:
                box = bench.lsnd("flooded", 4_000_000, tunnels=n * 5 // 4)
                bench.ask(box, "tunnels", 0, n)
                bench.ask(box, "open", 0, n)
            for _ in range(rounds):
                for what, (flood, direction, into_small) in FLOODS.items():
                    if into_small != small:
                        continue
                    plain.setdefault(what, []).append(
                        bench.ask(box, "run", "udp", direction, n, seconds))
                    before = box.drops()
                    answer = bench.ask(box, "run", "udp", direction, n, seconds, flood)
                    flooded.setdefault(what, []).append(answer)
                    counts = reasons.setdefault(what, {})
                    for reason, packets in box.drops().items():
                        counts[reason] = counts.get(reason, 0) + packets - before.get(reason, 0)
    rows = []
    for what in FLOODS:
        base = statistics.median(a["mpps"] for a in plain[what])
        kept = [a["mpps"] for a in flooded[what]]
        taken = [a["flood_mpps"] for a in flooded[what]]
        share = [(k + t) / base for k, t in zip(kept, taken)]
        lost = statistics.median(a["lost"] for a in flooded[what])
        sent = sum(a["flood_sent"] for a in flooded[what])
        told = sorted(reasons[what].items(), key=lambda item: -item[1])
        rows.append([what, f"{base:.2f}", f"{statistics.median(kept):.2f}",
                     f"{statistics.median(taken):.2f}", f"{statistics.median(share):.2f}",
                     f"{max(lost, 0):.2%}",
                     ", ".join(f"{reason} {packets / sent:.1%}" for reason, packets in told
                               if packets / sent >= 0.0005) or "-"])
        for name, runs in (("established", kept), ("flood", taken)):
            results["cells"].append({"table": "link flood", "flood": what, "what": name,
                                     "unit": "Mpps", **middle(runs)})
        results["cells"].append({"table": "link flood", "flood": what, "what": "of established alone",
                                 "unit": "ratio", **middle(share)})
    table(f"Floods, mixed one to one with established UDP of {count_text(n)} sessions "
          f"({kind_of_link(options)}), one core: Mpps, medians of {rounds} interleaved runs",
          ["flood", "established alone", "established", "flood", "both, of alone",
           "established lost", "why the flood was dropped"], rows)


# ── latency ──────────────────────────────────────────────────────────────────────────────────────

def run_latency(options, results, directory):
    if alone(options, "Latency"):
        return
    rounds, seconds = (3, 0.2) if options.quick else (7, 1.0)
    flows = 1000
    paces = {"100 k": 1e-5, "10 k": 1e-4}
    say("bench: at the link, latency")
    answers, shares = {}, {}
    with Bench(options, directory, ["io", "macswap", "busy", "save"]) as bench:
        results.setdefault("environment", bench.generator.environment)
        boxes = {box.title: box for box in (bench.forwarder("io"), bench.forwarder("macswap"))}
        for title, name, save in (("lsnd", "busy", False), ("lsnd, powerSave", "save", True)):
            lsnd = boxes[title] = bench.lsnd(name, 2048, power_save=save)
            bench.ask(lsnd, "open", 0, flows)
            lsnd.stop()
        for _ in range(rounds):
            for pace, gap in paces.items():
                for title, box in boxes.items():
                    with bench.turn(box):
                        bench.ask(box, "latency", flows, gap, 0.05)
                        used, began = cpu_seconds(box)
                        answers.setdefault((pace, title), []).append(
                            bench.ask(box, "latency", flows, gap, seconds))
                        used_then, ended = cpu_seconds(box)
                        shares.setdefault((pace, title), []).append(
                            (used_then - used) / (ended - began))
    rows = []
    for pace in paces:
        base = statistics.median(a["p99"] for a in answers[pace, "testpmd macswap"])
        for title in boxes:
            cells = []
            for what in ("p50", "p99", "p999"):
                runs = [a[what] for a in answers[pace, title]]
                cells.append(f"{statistics.median(runs):.1f}")
                results["cells"].append({"table": "link latency", "box": title, "pace": pace,
                                         "what": what, "unit": "us", **middle(runs)})
            share = statistics.median(shares[pace, title])
            results["cells"].append({"table": "link latency", "box": title, "pace": pace,
                                     "what": "CPU", "unit": "of a CPU",
                                     **middle(shares[pace, title])})
            p99 = statistics.median(a["p99"] for a in answers[pace, title])
            rows.append([title, pace, *cells, f"{p99 / base:.2f}", f"{share:.0%}"])
    table(f"Latency through an idle box ({kind_of_link(options)}), single 64-byte UDP packets at random "
          f"moments, of {count_text(flows)} sessions: µs, medians of {rounds} interleaved runs",
          ["box", "packets/s", "p50", "p99", "p99.9", "p99 of macswap's", "of a CPU"], rows)
