"""How large what is handed in may be: `labkit grade` takes no more, and `labkit submit` says so in time."""

LARGEST = {"notebook": 50_000_000, "source": 1_000_000, "report": 100_000_000, "record": 4_000_000, "weights": 256_000_000}  # bytes of one file
MOST = {"notebooks": 50, "sources": 50, "runs": 500}
ENTRIES = 2_000  # of a zip
TOTAL = 2 << 30  # bytes of a zip when it is unpacked
MEMORY = 256 << 20  # bytes of its notebooks, sources and report: they are held in memory
