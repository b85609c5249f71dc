"""Real programs on real stacks, in a line each."""

import json
import tempfile

from lab import wait_until


def _listening(host, port, kind="t"):
    def open_port():
        return host.run("ss", f"-Hln{kind}", "sport", "=", f":{port}").stdout
    wait_until(f"port {port} is open in {host.name}", open_port)


def http(client, server, address, text, port=8080):
    """python's http.server and curl; returns what curl got."""
    with tempfile.TemporaryDirectory() as root:
        with open(f"{root}/file", "w") as f:
            f.write(text)
        process = server.start("/usr/bin/python3", "-m", "http.server", port, "-d", root)
        _listening(server, port)
        done = client.run("curl", "-sS", "--max-time", "20", f"http://{address}:{port}/file")
        process.terminate()
        process.wait(5)
        return done.stdout


def dns(client, server, address, name, answer, *dig_options):
    """dnsmasq and dig; returns dig's answer."""
    process = server.start("dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv",
                           "--no-hosts", "--pid-file", "--user=root", "--bind-interfaces",
                           f"--listen-address={address}", f"--address=/{name}/{answer}")
    _listening(server, 53, "u")
    done = client.run("dig", "+short", "+time=3", "+tries=2", *dig_options, f"@{address}", name)
    process.terminate()
    process.wait(5)
    return done.stdout.strip()


def iperf_server(server, port=5201):
    process = server.start("iperf3", "-s", "-p", port)
    _listening(server, port)
    return process


def iperf_start(client, address, *options, port=5201, seconds=2):
    return client.start("iperf3", "-c", address, "-p", port, "-t", seconds, "-J", *options)


def iperf_result(process, timeout=60):
    """What arrived, from iperf3's own report; an error in it is the test's."""
    out, _ = process.communicate(timeout=timeout)
    report = json.loads(out)
    assert "error" not in report, report["error"]
    end = report["end"]
    total = end["sum_received"] if "sum_received" in end else end["sum"]
    return {"bytes": total["bytes"], "bits_per_second": total["bits_per_second"],
            "lost_percent": end.get("sum", {}).get("lost_percent"), "report": report}


def iperf(client, server, address, *options, port=5201, seconds=2):
    process = iperf_server(server, port)
    try:
        return iperf_result(iperf_start(client, address, *options, port=port, seconds=seconds))
    finally:
        process.terminate()
        process.wait(5)


