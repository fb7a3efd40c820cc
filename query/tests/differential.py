"""What CPython's own tracemalloc answers, as JSON lines for the Rust tests to compare with.

    differential.py cases SEED COUNT DIR
        dumps random snapshots to DIR/0-old.pickle, DIR/0-new.pickle, ..., and prints for each pair of them the module's
        answers to random questions
    differential.py dump FILE          traces a little program, dumps the snapshot to FILE, prints its traces
    differential.py load FILE          loads a dump with the module, prints its traces and statistics

Runs on CPython 3.6 and later. Frames are printed most recent first, whatever the order of this Python. Bytes of file
names that are no text (U+DC80 to U+DCFF) are printed as U+EF80 to U+EFFF: single surrogates are no JSON.
"""

import json
import os
import re
import random
import sys
import tracemalloc
from tracemalloc import DomainFilter, Filter, Snapshot

NEW_ORDER = sys.version_info >= (3, 7)
PARTS = 4 if sys.version_info >= (3, 9) else 3
FILES = [
    "a.py", "b.py", "B.py", "c.pyc", "c.py", "\u00e9.py", "z/\u4e2d\u6587.py", "/usr/lib/x y.py", "[ab].py", "a\nb.py", "",
    "*.py", "it's \"q\".py", "100%_\\.py", "<unknown>", "<frozen importlib._bootstrap>", "\U0001f600.py", "-.py", "a]b",
    "/srv/\udcff\udc80.py", "\ud7ff.py", "a.PYC", ".pyc",
]
PIECES = ["*", "?", "[a-c]", "[!a-c]", "[]]", "[!]", "[", "]", "-", "a", "b", ".py", ".pyc", "/", "\u00e9", "\n", "[a-", "!", "%", "_", "\\"]


def text(string):
    return re.sub("[\udc80-\udcff]", lambda match: chr(ord(match[0]) - 0xDC80 + 0xEF80), string)


def frames_of(traceback):
    frames = [[text(frame.filename), frame.lineno] for frame in traceback]
    return frames[::-1] if NEW_ORDER else frames


def random_frame(rng, files):
    filename = rng.choice(files)
    return (filename, 0 if filename == "<unknown>" else rng.choice([0, 1, 2, 10, 578]))


def random_traces(rng, stacks):
    traces = []
    # As many blocks as stacks and more where there are thousands of groups.
    for _ in range(rng.choice([0, 1, 5, 30, 60]) if len(stacks) < 100 else 2 * len(stacks)):
        domain = rng.choice([0, 0, 0, 1, 2, 389047])
        size = rng.choice([0, 1, 8, 8, 8, 100, 5000, 1 << 20, 1 << 40])
        frames = rng.choice(stacks)
        traces.append((domain, size, frames, len(frames) + rng.choice([0, 0, 3])))
    return traces


def snapshot(traces, limit):
    return Snapshot([trace[:PARTS] for trace in traces], limit)


def dump(traces, limit, parts, path):
    """Dumps the traces as the Python with so many parts does: two up to 3.5, three up to 3.8, four since."""
    parts = {2: lambda t: t[1:3], 3: lambda t: t[:3], 4: lambda t: t}[parts]
    Snapshot([parts(trace) for trace in traces], limit).dump(path)


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
            {"inclusive": inclusive, "pattern": text(pattern), "lineno": lineno, "all_frames": every, "domain": domain}
        )
    return described, filters


def ask(rng, new, old):
    described, filters = random_filters(rng)
    new, old = new.filter_traces(filters), old.filter_traces(filters)
    key = rng.choice(["traceback", "lineno", "filename"])
    cumulative = key != "traceback" and rng.random() < 0.5
    result = {"filters": described, "key": key, "cumulative": cumulative}
    statistics = new.statistics(key, cumulative)
    result["statistics"] = [[frames_of(s.traceback), s.size, s.count, text(str(s))] for s in statistics]
    diffs = new.compare_to(old, key, cumulative)
    result["diffs"] = [
        [frames_of(s.traceback), s.size, s.size_diff, s.count, s.count_diff, text(str(s))] for s in diffs
    ]
    return result


def random_stacks(rng, count):
    files = rng.sample(FILES, rng.randrange(1, len(FILES)))
    if count > 100:
        files += ["lib/module_%d.py" % number for number in range(count // 10)]
    stacks = []
    for _ in range(count):
        frames = [random_frame(rng, files) for _ in range(rng.randrange(1, 6))]
        if rng.random() < 0.3:
            frames += frames[-1:] * 2
        if rng.random() < 0.1:
            frames = [("<unknown>", 0)]
        stacks.append(tuple(frames))
    return stacks


def case(rng, number, directory):
    stacks = random_stacks(rng, 2500 if number % 100 == 99 else rng.choice([1, 3, 12]))
    limit = rng.choice([1, 2, 25])
    new, old = random_traces(rng, stacks), random_traces(rng, stacks)
    parts = rng.choice([2, 3, 4, PARTS])
    if parts == 2:
        new, old = ([(0,) + trace[1:] for trace in traces] for traces in (new, old))
    for name, traces in (("new", new), ("old", old)):
        dump(traces, limit, parts, os.path.join(directory, "%d-%s.pickle" % (number, name)))
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
        lines = traceback.format(bound) if NEW_ORDER or bound is None or bound >= 0 else []
        formats.append([bound, [text(line) for line in lines]])
    stack = [[text(filename), lineno] for filename, lineno in stacks[0]]
    return {
        "new_order": NEW_ORDER, "limit": limit, "blocks": [len(old), len(new)], "asks": asks,
        "stack": stack, "formats": formats,
    }


def cases(seed, count, directory):
    rng = random.Random(seed)
    for number in range(count):
        print(json.dumps(case(rng, number, directory)))


def describe(loaded):
    traces = []
    for trace in loaded.traces._traces:
        domain, size, frames = trace[:3]
        frames = [[f.encode("utf-8", "surrogateescape").decode("latin-1"), n] for f, n in frames]
        traces.append([domain, size, frames, trace[3] if len(trace) > 3 else None])
    return traces


def dump_program(path):
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
        cases(int(rest[0]), int(rest[1]), rest[2])
    else:
        {"dump": dump_program, "load": load}[command](rest[0])
