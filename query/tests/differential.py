"""What CPython's own tracemalloc answers, as JSON lines for the Rust tests to compare with.

    differential.py cases SEED COUNT   random snapshots with the module's answers to random questions
    differential.py dump FILE          traces a little program, dumps the snapshot to FILE, prints its traces
    differential.py load FILE          loads a dump with the module, prints its traces and statistics

Runs on CPython 3.6 and later. Frames are printed most recent first, whatever the order of this Python.
"""

import json
import random
import sys
import tracemalloc
from tracemalloc import DomainFilter, Filter, Snapshot

NEW_ORDER = sys.version_info >= (3, 7)
PARTS = 4 if sys.version_info >= (3, 9) else 3
FILES = [
    "a.py", "b.py", "B.py", "c.pyc", "c.py", "\u00e9.py", "z/\u4e2d\u6587.py", "/usr/lib/x y.py", "[ab].py", "a\nb.py", "",
    "*.py", "it's \"q\".py", "100%_\\.py", "<unknown>", "<frozen importlib._bootstrap>", "\U0001f600.py", "-.py", "a]b",
]
PIECES = ["*", "?", "[a-c]", "[!a-c]", "[]]", "[!]", "[", "]", "-", "a", "b", ".py", ".pyc", "/", "\u00e9", "\n", "[a-", "!", "%", "_", "\\"]


def frames_of(traceback):
    frames = [[frame.filename, frame.lineno] for frame in traceback]
    return frames[::-1] if NEW_ORDER else frames


def random_frame(rng, files):
    filename = rng.choice(files)
    return (filename, 0 if filename == "<unknown>" else rng.choice([0, 1, 2, 10, 578]))


def random_traces(rng, stacks):
    traces = []
    for _ in range(rng.choice([0, 1, 5, 30, 60])):
        domain = rng.choice([0, 0, 0, 1, 2, 389047])
        size = rng.choice([0, 1, 8, 8, 8, 100, 5000, 1 << 20, 1 << 40])
        frames = rng.choice(stacks)
        traces.append((domain, size, frames, len(frames) + rng.choice([0, 0, 3])))
    return traces


def snapshot(traces, limit):
    return Snapshot([trace[:PARTS] for trace in traces], limit)


def random_pattern(rng):
    if rng.random() < 0.4:
        return rng.choice(FILES)
    return "".join(rng.choice(PIECES) for _ in range(rng.randrange(5)))


def random_filters(rng):
    described, filters = [], []
    for _ in range(rng.choice([0, 0, 1, 2, 3])):
        inclusive = rng.random() < 0.5
        if rng.random() < 0.2:
            domain = rng.choice([0, 1, 2])
            described.append({"inclusive": inclusive, "domain": domain})
            filters.append(DomainFilter(inclusive, domain))
            continue
        pattern = random_pattern(rng)
        lineno = rng.choice([None, None, 0, 1, 10])
        every = rng.random() < 0.5
        domain = rng.choice([None, None, None, 0, 1])
        filters.append(Filter(inclusive, pattern, lineno, every, domain))
        described.append(
            {"inclusive": inclusive, "pattern": pattern, "lineno": lineno, "all_frames": every, "domain": domain}
        )
    return described, filters


def ask(rng, new, old):
    described, filters = random_filters(rng)
    new, old = new.filter_traces(filters), old.filter_traces(filters)
    key = rng.choice(["traceback", "lineno", "filename"])
    cumulative = key != "traceback" and rng.random() < 0.5
    result = {"filters": described, "key": key, "cumulative": cumulative}
    statistics = new.statistics(key, cumulative)
    result["statistics"] = [[frames_of(s.traceback), s.size, s.count, str(s)] for s in statistics]
    diffs = new.compare_to(old, key, cumulative)
    result["diffs"] = [
        [frames_of(s.traceback), s.size, s.size_diff, s.count, s.count_diff, str(s)] for s in diffs
    ]
    return result


def case(rng):
    files = rng.sample(FILES, rng.randrange(1, len(FILES)))
    stacks = []
    for _ in range(rng.choice([1, 3, 12])):
        frames = [random_frame(rng, files) for _ in range(rng.randrange(1, 6))]
        if rng.random() < 0.3:
            frames += frames[-1:] * 2
        if rng.random() < 0.1:
            frames = [("<unknown>", 0)]
        stacks.append(tuple(frames))
    limit = rng.choice([1, 2, 25])
    new, old = random_traces(rng, stacks), random_traces(rng, stacks)
    asks = []
    for _ in range(4):
        try:
            asks.append(ask(rng, snapshot(new, limit), snapshot(old, limit)))
        except Exception as error:
            # Before 3.11 a reversed range is an error in the pattern.
            if type(error).__name__ not in ("error", "PatternError"):
                raise
    traceback = tracemalloc.Traceback(stacks[0])
    formats = []
    for bound in [None, 1, 2, 9, 0, -1, -2]:
        formats.append([bound, traceback.format(bound) if NEW_ORDER or bound is None or bound >= 0 else []])
    return {
        "new_order": NEW_ORDER, "limit": limit, "new": new, "old": old, "asks": asks,
        "stack": stacks[0], "formats": formats,
    }


def cases(seed, count):
    rng = random.Random(seed)
    for _ in range(count):
        print(json.dumps(case(rng)))


def describe(loaded):
    traces = []
    for trace in loaded.traces._traces:
        domain, size, frames = trace[:3]
        frames = [[f.encode("utf-8", "surrogateescape").decode("latin-1"), n] for f, n in frames]
        traces.append([domain, size, frames, trace[3] if len(trace) > 3 else None])
    return traces


def dump(path):
    tracemalloc.start(7)
    kept = [bytes(n) for n in range(200)]

    def deeper(n):
        return [bytearray(n)] + (deeper(n - 1) if n else [])

    kept.append(deeper(20))
    # A file name that is no text.
    odd = {}
    exec(compile("kept = [bytearray(9) for _ in range(9)]", b"/srv/\xff\xfe.py".decode("utf-8", "surrogateescape"), "exec"), odd)
    taken = tracemalloc.take_snapshot()
    tracemalloc.stop()
    taken.note = {"why": ["test", 1.5, None, True, b"x", {1, 2}, (1, -5, 1 << 70)]}
    taken.dump(path)
    json.dump({"limit": taken.traceback_limit, "traces": describe(taken)}, sys.stdout)


def load(path):
    loaded = Snapshot.load(path)
    statistics = [str(s) for key in ("lineno", "traceback") for s in loaded.statistics(key)]
    json.dump({"limit": loaded.traceback_limit, "traces": describe(loaded), "statistics": len(statistics)}, sys.stdout)


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "cases":
        cases(int(rest[0]), int(rest[1]))
    else:
        {"dump": dump, "load": load}[command](rest[0])
