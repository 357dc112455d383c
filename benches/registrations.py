"""The clients of registrations.sh: they make applications over the gateways' REST, and look whether
every one is there.

    registrations.py make            one round of APPLICATIONS by CLIENTS, alternating between gateways
    registrations.py check           everything that all rounds made

All settings come from the environment, from registrations.sh. What was made is kept in WORK/made,
a line for each application. Ends with 1, and says why, where anything is not as it has to be.
"""

import base64
import http.client
import itertools
import json
import os
import sys
import threading
import time

WORK = os.environ["WORK"]
ADMINS = os.environ["ADMINS"].split()
GATEWAYS = os.environ["GATEWAYS"].split()
CLIENTS = int(os.environ["CLIENTS"])
# Answers that mean "come again": too many requests, or the registry is busy with this very thing.
AGAIN = {409, 429, 503}
# How long one application may take, with all waiting.
PATIENCE = 60
MADE = os.path.join(WORK, "made")

with open(os.path.join(WORK, "secrets", "admin"), encoding="ascii") as token:
    OPERATOR = {"Authorization": "Bearer " + token.read(), "Content-Type": "application/json"}


class Wrong(Exception):
    """Something is not as it has to be."""


class Connections:
    """One kept connection to each address, of one thread."""

    def __init__(self):
        self.open = {}

    def ask(self, address, method, path, headers, body=None):
        if address not in self.open:
            self.open[address] = http.client.HTTPConnection(address, timeout=30)
        connection = self.open[address]
        try:
            connection.request(method, path, body and json.dumps(body), headers)
            answer = connection.getresponse()
            told = answer.status, answer.headers, answer.read()
        except (OSError, http.client.HTTPException):
            del self.open[address]
            raise
        # Who is told to wait may be told so before the body is read, and loses the connection.
        if answer.status == 429:
            connection.close()
            del self.open[address]
        return told

    def operate(self, address, method, path, key=None, body=None):
        """As the operator, until there is an answer: its body, and how often it had to wait."""
        headers = OPERATOR | ({"Idempotency-Key": key} if key else {})
        deadline = time.monotonic() + PATIENCE
        for waits in itertools.count():
            try:
                status, fields, answer = self.ask(address, method, path, headers, body)
            except (OSError, http.client.HTTPException):
                # The key makes it safe to send it again.
                if not key or time.monotonic() > deadline:
                    raise
                status, fields, answer = 429, {}, b""
            if status not in AGAIN:
                break
            if time.monotonic() > deadline:
                raise Wrong(f"{method} {path} is still {status} after {PATIENCE} s: {answer!r}")
            time.sleep(float(fields.get("Retry-After", "1")))
        if not 200 <= status < 300:
            raise Wrong(f"{method} {path}: {status} {answer!r}")
        return json.loads(answer), waits


def together(work, tasks):
    """Does a list of tasks by all clients at once; what they return, in any order."""
    results, faults, queue = [], [], iter(tasks)
    lock = threading.Lock()

    def client(number):
        connections = Connections()
        while not faults:
            with lock:
                task = next(queue, None)
            if task is None:
                return
            try:
                results.append(work(connections, number, task))
            except Exception as fault:  # Whatever it is, the round has failed.
                faults.append(f"{type(fault).__name__}: {fault}")

    clients = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    if faults:
        raise Wrong(faults[0])
    return results


def median_and_99th(values):
    values = sorted(values)
    return values[(len(values) - 1) // 2], values[(len(values) - 1) * 99 // 100]


def make():
    """Makes applications, registers each for the API, and tells how it went in one line."""
    strategy, api = os.environ["STRATEGY"], os.environ["API"]
    this_round = os.environ["ROUND"]

    def application(connections, number, task):
        address = ADMINS[number % len(ADMINS)]
        name = f"Application {this_round}-{task}"
        new = {
            "name": name,
            "owner": {"type": "developer", "id": f"developer-{task % 100}@example.com"},
            "auth_strategy_id": strategy,
        }
        begun = time.monotonic()
        made, waited = connections.operate(
            address, "POST", "/v2/applications", f"make-{this_round}-{task}", new
        )
        took = time.monotonic() - begun
        if not made.get("client_secret"):
            raise Wrong(f"{name} was made without a secret")
        _, more = connections.operate(
            address,
            "POST",
            f"/v2/applications/{made['id']}/registrations",
            f"register-{this_round}-{task}",
            {"api_id": api, "status": "approved"},
        )
        kept = {name: made[name] for name in ("id", "client_id", "client_secret")}
        return kept, waited + more, None if waited else took

    begun = time.monotonic()
    results = together(application, range(int(os.environ["APPLICATIONS"])))
    took = time.monotonic() - begun
    with open(MADE, "a", encoding="ascii") as made:
        for kept, _, _ in results:
            made.write(json.dumps(kept) + "\n")
    # Of those that were not told to come again: waiting says what the limit is, nothing else.
    usual, slow = median_and_99th([took for _, _, took in results if took is not None] or [0])
    waits = sum(waits for _, waits, _ in results)
    print(f"{took:.1f} {usual * 1000:.0f} {slow * 1000:.0f} {waits}")


def listed(connections, address):
    """Ids and client ids of all applications that a gateway's registry lists."""
    ids, clients = [], []
    for page in itertools.count(1):
        path = f"/v2/applications?page[size]=100&page[number]={page}"
        answer, _ = connections.operate(address, "GET", path)
        ids += [one["id"] for one in answer["data"]]
        clients += [one["client_id"] for one in answer["data"]]
        if len(ids) >= answer["meta"]["page"]["total"] or not answer["data"]:
            return ids, clients


def same(what, found, wanted):
    """Two lists hold the same, each once."""
    if len(set(found)) != len(found):
        raise Wrong(f"{what}: {len(found) - len(set(found))} are double")
    lost, strange = set(wanted) - set(found), set(found) - set(wanted)
    if lost or strange:
        raise Wrong(f"{what}: {len(lost)} are lost, {len(strange)} are there that nobody made")


def revision(connections, address):
    _, _, metrics = connections.ask(address, "GET", "/metrics", {})
    for line in metrics.decode().splitlines():
        if line.startswith("dcr_registry_revision "):
            return line
    raise Wrong(f"{address} tells no revision")


def in_step(connections):
    """Waits until all gateways have the same in force, a second at most, and tells how long."""
    begun = time.monotonic()
    while len({revision(connections, address) for address in ADMINS}) > 1:
        if time.monotonic() > begun + 1:
            raise Wrong("the gateways are not in step after a second")
        time.sleep(0.01)
    return time.monotonic() - begun


def check():
    """Everything that was made: each once, at the registry, at the provider, at every gateway."""
    connections = Connections()
    lag = in_step(connections)
    with open(MADE, encoding="ascii") as lines:
        made = [json.loads(line) for line in lines]
    ids, clients = [one["id"] for one in made], [one["client_id"] for one in made]
    same("ids answered", ids, set(ids))
    same("client ids answered", clients, set(clients))
    for address in ADMINS:
        found = listed(connections, address)
        same(f"ids that {address} lists", found[0], ids)
        same(f"client ids that {address} lists", found[1], clients)
    _, _, answer = connections.ask(os.environ["IDP"], "GET", "/clients", {})
    same("clients at the identity provider", json.loads(answer)["client_ids"], clients)

    def passes(connections, _, one):
        pair = f"{one['client_id']}:{one['client_secret']}".encode()
        headers = {"Authorization": "Basic " + base64.b64encode(pair).decode()}
        for address in GATEWAYS:
            status, _, answer = connections.ask(address, "GET", "/flights", headers)
            if status != 200:
                raise Wrong(f"{one['id']} at {address}: {status} {answer!r}")

    # The last round's: those before were tried in theirs.
    together(passes, made[-int(os.environ["APPLICATIONS"]) :])
    print(f"{lag * 1000:.0f}")


try:
    {"make": make, "check": check}[sys.argv[1]]()
except Wrong as wrong:
    print(f"registrations.py: {wrong}", file=sys.stderr)
    sys.exit(1)
