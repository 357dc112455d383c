"""Adds to a target's committed corpus the few inputs found that count most.

Usage: keep.py PROGRAM TARGET. libFuzzer's own merge keeps every input that reaches an edge of its own:
thousands. Here each input that is taken reaches the most edges that none before it does, and FEW are
taken; whoever fuzzes on soon has the others again. Inputs that are in the corpus stay, under their names.
"""

import os
import shutil
import subprocess
import sys
import tempfile

FEW = 25
# Largest input that is taken, in bytes.
LARGEST = 2048

program, target = sys.argv[1:]
corpus, found = (f"tests/fuzz/{kind}/{target}" for kind in ("corpus", "found"))
with tempfile.TemporaryDirectory() as scratch:
    control = f"{scratch}/control"
    # The set of edges alone, not how often each is passed. What is merged is not used.
    options = ["-set_cover_merge=1", "-use_counters=0", "-rss_limit_mb=2048", "-timeout=10"]
    options += [f"-merge_control_file={control}", f"{scratch}/merged", corpus, found]
    os.mkdir(f"{scratch}/merged")
    subprocess.run([program, *options], check=True, stderr=subprocess.DEVNULL)
    lines = open(control).read().splitlines()

count = int(lines[0])
files = lines[2 : 2 + count]
edges = [set() for _ in files]
for line in lines[2 + count :]:
    kind, *numbers = line.split()
    if kind == "FT":
        edges[int(numbers[0])] = set(numbers[1:])
reached = set()
new = []
for path, its in zip(files, edges):
    if path.startswith(corpus):
        reached |= its
    elif os.path.getsize(path) <= LARGEST:
        new.append((path, its))
before = len(reached)
taken = 0
while new and taken < FEW:
    path, its = max(new, key=lambda one: (len(one[1] - reached), -os.path.getsize(one[0])))
    if its <= reached:
        break
    reached |= its
    shutil.copy(path, corpus)
    taken += 1
everything = len(set().union(*edges))
print(f"{target}: {taken} taken; {before} edges before, {len(reached)} now, {everything} found in all")
