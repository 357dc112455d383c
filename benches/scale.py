"""What scale.sh does with many applications of a registry in SQLite.

    scale.py fill DATABASE COUNT CLIENT    makes applications, of which the last has the client id
                                           CLIENT; prints how many bytes their names have
    scale.py change DATABASE COUNT         changes so many at once, again each second until killed
    scale.py patch COUNT                   suspends and resumes CLIENT's application over REST, at
                                           ADMIN, until GATEWAY refuses TOKEN and takes it again;
                                           prints the milliseconds of each
"""

import http.client
import os
import random
import sqlite3
import sys
import time
import uuid

NOW = int(time.time() * 1000)

# Ids are not in the order in which they are made, and the same in each run.
chance = random.Random(1)


def make_id():
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def applications(count, client):
    """Rows with two registrations each; name, developer and client id of ordinary length."""
    for number in range(1, count + 1):
        name = f"Application {number}"
        developer = f"developer-{number % (count // 3 + 1)}@example.com"
        yield make_id(), name, developer, client if number == count else make_id()


def fill(path, count, client):
    database = sqlite3.connect(path)
    # As fast as can be; the gateway sets its own again.
    for setting in ("synchronous = OFF", "journal_mode = OFF", "cache_size = -1500000"):
        database.execute(f"PRAGMA {setting}")
    (revision,) = database.execute("SELECT revision + 1 FROM registry").fetchone()
    names = 0

    def rows():
        nonlocal names
        for row in applications(count, client):
            # An id is held as 16 bytes.
            names += 16 + sum(len(name.encode()) for name in row[1:])
            yield row

    database.executemany(
        "INSERT OR IGNORE INTO developers (id, name, created_at) VALUES (?, ?, ?)",
        ((make_id(), f"developer-{number}@example.com", NOW) for number in range(count // 3 + 1)),
    )
    database.executemany(
        "INSERT INTO applications (id, name, folded_name, description, developer, strategy, client_id, origin,"
        " life, status, scopes, labels, credentials_valid_from, created_at, updated_at, revision)"
        " VALUES (?1, ?2, lower(?2), '', ?3, 'partners', ?4, 'given', 'ready', 'active', '[]', '{}', 0,"
        f" {NOW}, {NOW}, {revision})",
        rows(),
    )
    for api, state in (("flights", "approved"), ("hotels", "pending")):
        database.executemany(
            f"INSERT INTO registrations VALUES (?, ?, '{api}', '{state}', {NOW}, {NOW}, {revision})",
            ((make_id(), id) for (id,) in database.execute("SELECT id FROM applications ORDER BY rowid")),
        )
    database.execute("UPDATE registry SET revision = ?", (revision,))
    database.commit()
    print(names)


def change(path, count):
    database = sqlite3.connect(path, isolation_level=None)
    (most,) = database.execute("SELECT MAX(rowid) FROM applications").fetchone()
    while True:
        begun = time.monotonic()
        # Not the last, which is the caller's.
        first = random.randrange(max(1, most - count))
        database.execute("BEGIN IMMEDIATE")
        database.execute("UPDATE registry SET revision = revision + 1")
        database.execute(
            "UPDATE applications SET revision = (SELECT revision FROM registry), name = name || '.'"
            " WHERE rowid >= ? AND rowid < ?",
            (first, first + count),
        )
        database.execute("COMMIT")
        print(f"{time.monotonic() - begun:.3f}", flush=True)
        time.sleep(max(0.0, begun + 1 - time.monotonic()))


def patch(count):
    environment = os.environ
    admin = http.client.HTTPConnection(environment["ADMIN"])
    gateway = http.client.HTTPConnection(environment["GATEWAY"])
    to_admin = {
        "Authorization": f"Bearer {environment['ADMIN_TOKEN']}",
        "Content-Type": "application/json",
    }

    def ask(connection, *request):
        connection.request(*request)
        answer = connection.getresponse()
        return answer.status, answer.read()

    for number in range(count):
        status, passes = ("active", True) if number % 2 else ("suspended", False)
        begun = time.monotonic()
        told, body = ask(
            admin, "PATCH", f"/v2/applications/{environment['APPLICATION']}", f'{{"status": "{status}"}}', to_admin
        )
        taken = time.monotonic() - begun
        if told != 200:
            sys.exit(f"PATCH: {told} {body.decode()}")
        # It is answered when it is live, so that the very next request has to meet it.
        told, body = ask(gateway, "GET", "/flights", None, {"Authorization": f"Bearer {environment['TOKEN']}"})
        if (told == 200) != passes:
            sys.exit(f"{status}, and the next request is answered {told} {body.decode()}")
        print(f"{taken * 1000:.3f}")
        # Operators have a rate limit.
        time.sleep(0.02)


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "fill":
        fill(arguments[0], int(arguments[1]), arguments[2])
    elif command == "change":
        change(arguments[0], int(arguments[1]))
    elif command == "patch":
        patch(int(arguments[0]))
    else:
        sys.exit(__doc__)
