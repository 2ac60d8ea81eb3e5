"""Requests per second of a service, of one client and of many at once. python benchmarks/serve.py BINDER [--clients 32]

BINDER is a run directory or a saved binder. A request embeds a sound of a second, or a text; clients keep their
connections. Rounds of one and of many clients take turns, so that both see the same machine; medians. Where other
work takes the cores, the processor time of the service for a request says more than the rates.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import io
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

SAMPLE_RATE_HZ = 16_000


def main() -> None:
    """Print requests per second by modality and number of clients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binder")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a round")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    bodies = {
        "audio": {"items": [{"modality": "audio", "file": {"data": sound()}}]},
        "text": {"items": [{"text": "a red circle that spins"}]},
    }
    with served(args.binder) as (port, pid):
        print("modality  clients  requests per second  ratio  processor ms of a request")
        for modality, body in bodies.items():
            measure(port, json.dumps(body), 2, 1.0)  # so that nothing is loaded within the rounds
            rates: dict[int, list[float]] = {1: [], args.clients: []}
            costs: dict[int, list[float]] = {1: [], args.clients: []}
            for _ in range(args.rounds):
                for num_clients, of_rounds in rates.items():
                    before, began = processor_seconds(pid), time.monotonic()
                    of_rounds.append(measure(port, json.dumps(body), num_clients, args.seconds))
                    num_requests = of_rounds[-1] * (time.monotonic() - began)
                    costs[num_clients].append((processor_seconds(pid) - before) / num_requests)
            alone = statistics.median(rates[1])
            for num_clients, of_rounds in rates.items():
                rate, cost = statistics.median(of_rounds), statistics.median(costs[num_clients])
                print(f"{modality:<8}  {num_clients:>7}  {rate:>19.1f}  {rate / alone:>5.2f}  {1000 * cost:>25.2f}")


def processor_seconds(pid: int) -> float:
    """What a process has taken of the processors, on Linux."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def served(binder: str) -> Iterator[tuple[int, int]]:
    """The port of a service in a process of its own, which ends with the block, and the number of that process."""
    command = [sys.executable, "-m", "bind", "serve", f"binder={binder}", "port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        try:
            assert service.stdout is not None
            address = next((line for line in service.stdout if line.startswith("serving on ")), None)
            if address is None:
                raise SystemExit("the service has not started")
            yield int(address.split()[2].strip("/").rpartition(":")[2]), service.pid
        finally:
            service.terminate()


def sound() -> str:
    """A second of noise as a WAV in base64."""
    samples = np.random.default_rng(0).normal(0.0, 0.1, SAMPLE_RATE_HZ).astype(np.float32)
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
    return base64.b64encode(file.getvalue()).decode()


def measure(port: int, body: str, num_clients: int, seconds: float) -> float:
    """Requests per second that so many clients get answered, each asking as soon as it was answered."""
    counts = [0] * num_clients
    errors: list[BaseException] = []
    began = time.monotonic()

    def ask(client: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            while time.monotonic() < began + seconds and not errors:
                connection.request("POST", "/embed", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                content = answer.read()
                if answer.status != 200 or b'"vector":[' not in content:
                    raise ValueError(f"{answer.status}: {content[:500]!r}")
                counts[client] += 1
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=ask, args=(client,)) for client in range(num_clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return sum(counts) / (time.monotonic() - began)


if __name__ == "__main__":
    main()
